//! Flows: connections by the host's own sockets, as an engine sees them.
//!
//! The engine opens a flow under a number of its choice, the runtime owns the socket. Three kinds of
//! things cross between the two:
//!
//! ```text
//!            Outbox::request(Request::Flow)  Open, Bind, Credit, Shutdown, Close, Reset, ...
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
//! **Kept bytes.** An engine that may have to send bytes again (a NAT: its own client loses packets) asks
//! with [`FlowRequest::Keep`] that the runtime keeps what it delivered: in the socket's own buffer, so
//! that nobody copies it. [`FlowRequest::Release`] gives bytes up, [`FlowRequest::Seek`] has kept ones
//! delivered again.
//!
//! **Datagrams of many peers.** A flow that was bound ([`FlowRequest::Bind`]) has no remote address: each
//! packet for or from it begins with one ([`push_address`], [`pop_address`]), and errors of the network
//! name it ([`FlowEvent::Icmp`]).
//!
//! **Splicing.** The runtime may move the bytes of a flow itself, to a connection of the engine's client that
//! reaches a listening socket of the runtime ([`FlowRequest::Splice`]): then they do not pass the engine.
//!
//! **Connecting.** The result of a connect is known before the engine answers its own client:
//! [`FlowEvent::Connected`], or [`FlowEvent::Failed`] with the error that the host met.
//!
//! **Order.** The runtime carries out requests in order, before it sends the packets of the same outbox:
//! a flow is open when its first datagram comes. `Shutdown` and `Close` take effect behind the bytes
//! that were sent to the flow before them; an engine sends nothing after them.
//!
//! **End.** After `Close`, `Reset`, `Ended` or `Failed` no event of the flow comes, and requests and packets for it
//! are discarded. A number stands for one flow only: an engine that numbers the slots of a table adds
//! a generation, `FlowId(u64::from(generation) << 32 | u64::from(slot))`.

use core::fmt;
use core::net::{IpAddr, Ipv6Addr, SocketAddr};

use adit_packet::PacketBuf;

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
        /// The local port, if it is free; otherwise, and with 0, any.
        port: u16,
        /// The hop limit (TTL) of its packets; 0 for the host's.
        hop_limit: u8,
    },
    /// Opens a flow for datagrams to and from any remote address, each of which begins with that
    /// address ([`push_address`]). The answer is [`FlowEvent::Connected`] or [`FlowEvent::Failed`].
    Bind {
        /// [`Transport::Udp`] or [`Transport::Echo`].
        transport: Transport,
        /// The local address, and the port: 0 for any.
        local: SocketAddr,
        /// Whether another port does as well if this one is not free.
        or_any_port: bool,
    },
    /// Waits for TCP connections at a local address. The answer is [`FlowEvent::Connected`] or
    /// [`FlowEvent::Failed`]; each connection is a [`FlowEvent::Incoming`].
    Listen {
        /// The local address and port.
        local: SocketAddr,
    },
    /// Makes a flow of the oldest connection that waits at a listener. What follows is as for
    /// [`Self::Open`].
    Accept {
        /// The flow that listens.
        listener: FlowId,
    },
    /// Of a flow that listens: resets the oldest connection that waits.
    Refuse,
    /// TCP, right behind [`Self::Open`] or before the first credit: the runtime keeps the bytes that it delivers until
    /// [`Self::Release`], and delivers at most `piece_max` of them in one packet.
    Keep {
        /// In bytes.
        piece_max: u32,
    },
    /// The engine needs the kept bytes before this offset no more. Never decreases.
    Release {
        /// In bytes since the flow connected.
        until: u64,
    },
    /// Kept bytes are delivered again: the next packet starts at `to`, and the credit becomes `until`,
    /// which may be less than before.
    Seek {
        /// In bytes since the flow connected: released neither, nor beyond what was delivered.
        to: u64,
        /// As in [`Self::Credit`].
        until: u64,
    },
    /// The runtime may deliver the bytes of the stream before this offset. Never decreases;
    /// [`u64::MAX`] lifts the limit.
    Credit {
        /// In bytes since the flow connected.
        until: u64,
    },
    /// TCP, connected, before any byte of the stream: the client of the engine is about to connect to the
    /// listening socket of the runtime, which joins that connection to the flow. [`FlowEvent::Spliced`]
    /// follows; until then [`Self::Keep`] takes the flow back.
    Splice {
        /// The client's address and port.
        client: SocketAddr,
        /// The address and port that the client connects to.
        server: SocketAddr,
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
    /// ICMP and ICMPv6 echo requests of one identifier, and their answers: whole ICMP messages, whose
    /// checksum and identifier the host fills in. Bound only; ports are 0 but for the local one, which is
    /// the identifier.
    Echo,
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
    /// The runtime moves the bytes from now on, ends and resets included ([`FlowRequest::Splice`]).
    /// [`Self::Ended`] follows.
    Spliced,
    /// Both directions of a spliced flow have ended, or it was reset: no event of it follows.
    Ended {
        /// Bytes from the engine's client.
        sent: u64,
        /// Bytes to it.
        received: u64,
    },
    /// The path MTU has changed, in bytes of the IP packet.
    PathMtu(u16),
    /// UDP: the network answered a datagram with an error. The flow goes on.
    Error(FlowError),
    /// Flows that listen: a connection waits for [`FlowRequest::Accept`] or [`FlowRequest::Refuse`].
    Incoming {
        /// The client's address.
        from: SocketAddr,
    },
    /// Bound flows: a datagram met an error on its way, as an ICMP message describes it. The flow goes on.
    /// TCP: why the connect fails, right before [`Self::Failed`].
    Icmp {
        /// Where the datagram went. The port of an echo request is its sequence number.
        to: SocketAddr,
        /// The router or host that answered; `None`: this host.
        from: Option<IpAddr>,
        /// The ICMP type, of the remote's family.
        kind: u8,
        /// The ICMP code.
        code: u8,
        /// The path MTU, if it was too big; otherwise 0.
        mtu: u16,
    },
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
    /// Flows that bind or listen: another socket has the local port (EADDRINUSE).
    InUse,
    /// Flows that bind or listen: the host has no such address (EADDRNOTAVAIL, EAFNOSUPPORT).
    NoAddress,
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
            Self::InUse => "address in use",
            Self::NoAddress => "no such address",
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

/// The bytes before a datagram of a bound flow.
///
/// ```text
///  0                             16     18
///  | address (IPv4: ::ffff:a.b.c.d) | port | datagram, or a train of them
/// ```
pub const ADDRESS_LEN: usize = 18;

/// Puts the remote's address before a datagram for or from a bound flow. `false`: the buffer has not
/// enough headroom.
#[must_use]
pub fn push_address(packet: &mut PacketBuf, remote: SocketAddr) -> bool {
    let Some(head) = packet.prepend(ADDRESS_LEN) else { return false };
    let ip = match remote.ip() {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    };
    let (to_ip, to_port) = head.split_at_mut(16);
    to_ip.copy_from_slice(&ip.octets());
    to_port.copy_from_slice(&remote.port().to_be_bytes());
    true
}

/// Takes the remote's address off a datagram for or from a bound flow; `None` if it has none.
#[must_use]
pub fn pop_address(packet: &mut PacketBuf) -> Option<SocketAddr> {
    let head: [u8; ADDRESS_LEN] = *packet.bytes().first_chunk()?;
    let (ip, port) = head.split_first_chunk::<16>()?;
    let ip = Ipv6Addr::from(*ip).to_canonical();
    let port = u16::from_be_bytes(port.try_into().ok()?);
    packet.advance(ADDRESS_LEN);
    Some(SocketAddr::new(ip, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_before_a_datagram_comes_back() {
        for remote in ["192.0.2.1:53", "[2001:db8::1]:5353"] {
            let remote = remote.parse().unwrap();
            let mut packet = PacketBuf::new(ADDRESS_LEN, 3);
            packet.extend(b"abc").unwrap();
            assert!(push_address(&mut packet, remote));
            assert_eq!(packet.len(), ADDRESS_LEN + 3);
            assert!(!push_address(&mut packet, remote), "no headroom is left");
            assert_eq!(pop_address(&mut packet), Some(remote));
            assert_eq!(packet.bytes(), b"abc");
            assert_eq!(pop_address(&mut packet), None);
        }
    }
}
