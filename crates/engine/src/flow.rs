//! Flows: connections by the host's own sockets, as an engine sees them.
//!
//! The engine opens a flow under a number of its choice, the runtime owns the socket. Three kinds of
//! things cross between the two:
//!
//! ```text
//!            Outbox::request(Request::Flow)  Open, Credit, Shutdown, Close, Reset
//! engine  -> Outbox::send(Endpoint::Flow)    bytes of the stream, or a datagram            -> socket
//!         <- Engine::handle(Endpoint::Flow)  bytes of the stream, or a datagram           <-
//!         <- Engine::handle_flow             Connected, Credit, Finished, Failed, ...
//! ```
//!
//! **Bytes.** A packet for or from a TCP flow is a piece of its stream, in order, of any length; a packet
//! of a UDP flow is one datagram, or a train of them ([`datagrams`](crate::datagrams)).
//!
//! **Credit.** Neither side of a TCP flow is ever sent more than it can keep. Each direction has a
//! limit, counted in bytes since the flow connected, and the receiver of the bytes raises it: the
//! runtime by [`FlowEvent::Credit`] as far as the socket's buffer has room, the engine by
//! [`FlowRequest::Credit`] as far as its own client can take. Both begin at 0. So a NAT advertises
//! exactly the window that the socket has, and no byte inside it is dropped; an engine that stops
//! raising its credit stops the runtime's reads. The runtime raises the engine's credit also when
//! the peer's acknowledgements make room, not only when a full socket becomes writable. UDP flows have
//! no credit: a datagram that does not fit is dropped and counted.
//!
//! **Connecting.** The result of a connect is known before the engine answers its own client:
//! [`FlowEvent::Connected`], or [`FlowEvent::Failed`] with the error that the host met.
//!
//! **Order.** The runtime carries out requests in order, before it sends the packets of the same outbox:
//! a flow is open when its first datagram comes. `Shutdown` and `Close` take effect behind the bytes
//! that were sent to the flow before them; an engine sends nothing after them.
//!
//! **End.** After `Close`, `Reset` or `Failed` no event of the flow comes, and requests and packets for it
//! are discarded. A number stands for one flow only: an engine that numbers the slots of a table adds
//! a generation, `FlowId(u64::from(generation) << 32 | u64::from(slot))`.

use core::fmt;
use core::net::SocketAddr;

/// The number of a flow, chosen by the engine, and used for one flow only: see the [module](self).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FlowId(pub u64);

impl fmt::Display for FlowId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What an engine wants of the runtime, beside sending packets: see [`Outbox::request`].
///
/// [`Outbox::request`]: crate::Outbox::request
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Request {
    /// Something of a flow.
    Flow(FlowId, FlowRequest),
    /// An exchange with this peer ([`Endpoint::Udp`](crate::Endpoint::Udp)) begins: choose the local
    /// address and route again, since the learned ones may be why the last exchange ended.
    Reroute(SocketAddr),
}

/// What an engine wants of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FlowRequest {
    /// Opens the flow. The answer is [`FlowEvent::Connected`] or [`FlowEvent::Failed`].
    Open {
        /// TCP or UDP.
        transport: Transport,
        /// The remote address.
        to: SocketAddr,
    },
    /// The runtime may deliver the bytes of the stream before this offset. Never decreases;
    /// [`u64::MAX`] lifts the limit.
    Credit {
        /// In bytes since the flow connected.
        until: u64,
    },
    /// Ends our direction of the stream (FIN) behind the bytes sent so far; the other one goes on.
    Shutdown,
    /// Ends the flow as a program that exits does: bytes sent so far still go out, what comes
    /// in is discarded.
    Close,
    /// Ends the flow at once (RST); bytes that the socket did not take yet are discarded.
    Reset,
}

/// The transport of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Transport {
    /// A stream of bytes.
    Tcp,
    /// Datagrams to and from one remote address.
    Udp,
}

/// What happened to a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FlowEvent {
    /// The flow is open. For TCP a first [`Self::Credit`] follows at once.
    Connected {
        /// The address and port that the socket has.
        local: SocketAddr,
        /// The path MTU that the kernel knows (`IP_MTU`), in bytes of the IP packet; 0 if none.
        path_mtu: u16,
    },
    /// The engine may send the bytes of the stream before this offset. Never decreases.
    Credit {
        /// In bytes since the flow connected.
        until: u64,
    },
    /// The peer has ended its direction of the stream (FIN), all bytes of it were delivered. The other
    /// direction goes on.
    Finished,
    /// The path MTU has changed, in bytes of the IP packet.
    PathMtu(u16),
    /// UDP: the network answered a datagram with an error. The flow goes on.
    Error(FlowError),
    /// The flow could not be opened, or has ended by an error: no event of it follows.
    Failed(FlowError),
}

/// Why a flow failed, or why the network refused a datagram of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum FlowError {
    /// Nothing listens there (ECONNREFUSED): a RST, or ICMP "port unreachable".
    Refused,
    /// The peer reset the connection (ECONNRESET, EPIPE).
    Reset,
    /// No route to the network (ENETUNREACH).
    NetUnreachable,
    /// The host does not answer (EHOSTUNREACH).
    HostUnreachable,
    /// A firewall, ours or one on the path, prohibits it (EACCES, EPERM, ICMP "prohibited").
    Prohibited,
    /// No answer in time (ETIMEDOUT).
    TimedOut,
    /// The runtime had no descriptor, port or memory left for the flow (EMFILE, EADDRNOTAVAIL, ENOBUFS).
    Exhausted,
    /// Any other error.
    Other,
}

impl FlowError {
    /// The text of its `Display`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Refused => "connection refused",
            Self::Reset => "connection reset",
            Self::NetUnreachable => "network unreachable",
            Self::HostUnreachable => "host unreachable",
            Self::Prohibited => "administratively prohibited",
            Self::TimedOut => "timed out",
            Self::Exhausted => "out of sockets",
            Self::Other => "other error",
        }
    }
}

impl fmt::Display for FlowError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl core::error::Error for FlowError {}
