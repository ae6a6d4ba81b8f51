//! Where packets come from and go to.

use core::fmt;
use core::net::SocketAddr;

use crate::flow::FlowId;

/// Where a packet comes from or goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Endpoint {
    /// A port: a device's queue, as the engine's owner numbered it.
    Port(PortId),
    /// A peer on the network, reached by UDP.
    ///
    /// A packet for it is one datagram, or a train of datagrams of equal length (the last one may be
    /// shorter) whose length is `meta.vnet.gso_size`, with `meta.vnet.gso` = [`Gso::UdpL4`]: see
    /// [`datagrams`](crate::datagrams).
    ///
    /// [`Gso::UdpL4`]: adit_packet::Gso::UdpL4
    Udp(SocketAddr),
    /// A connection or UDP flow of the host's own sockets, which the runtime owns: see [`FlowId`].
    Flow(FlowId),
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Port(port) => write!(f, "port {port}"),
            Self::Udp(address) => write!(f, "{address}"),
            Self::Flow(flow) => write!(f, "flow {flow}"),
        }
    }
}

/// The number of a port of one engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PortId(pub u16);

impl fmt::Display for PortId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
