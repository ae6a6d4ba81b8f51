//! What a scenario names: nodes, the ends of wires, sockets.

use core::marker::PhantomData;
use core::net::SocketAddr;

use adit_engine::{Endpoint, PortId};

/// Where a wire ends: a port of a node, or a node's way to a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct End {
    pub(crate) node: usize,
    pub(crate) at: Endpoint,
}

/// A host of a [`Sim`](crate::Sim).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct HostId(pub(crate) usize);

/// A probe of a [`Sim`](crate::Sim).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ProbeId(pub(crate) usize);

/// An engine of type `E` in a [`Sim`](crate::Sim).
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct EngineId<E>(pub(crate) usize, PhantomData<fn() -> E>);

impl<E> Clone for EngineId<E> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<E> Copy for EngineId<E> {}

impl<E> EngineId<E> {
    pub(crate) const fn new(node: usize) -> Self {
        Self(node, PhantomData)
    }

    /// Its port with that number.
    #[must_use]
    pub const fn port(self, port: u16) -> End {
        End { node: self.0, at: Endpoint::Port(PortId(port)) }
    }

    /// Its way to a peer: what it sends to [`Endpoint::Udp`] with that address leaves here, and what
    /// arrives here comes from that address.
    #[must_use]
    pub const fn peer(self, address: SocketAddr) -> End {
        End { node: self.0, at: Endpoint::Udp(address) }
    }
}

impl From<HostId> for End {
    fn from(host: HostId) -> Self {
        Self { node: host.0, at: Endpoint::Port(PortId(0)) }
    }
}

impl From<ProbeId> for End {
    fn from(probe: ProbeId) -> Self {
        Self { node: probe.0, at: Endpoint::Port(PortId(0)) }
    }
}

/// An echo request of a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PingId(pub(crate) HostId, pub(crate) usize);

/// Packets of a host that find out which routers are on a way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HopsId(pub(crate) HostId, pub(crate) usize);

/// A UDP socket of a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UdpId(pub(crate) HostId, pub(crate) usize);

/// A TCP connection of a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TcpId(pub(crate) HostId, pub(crate) usize);
