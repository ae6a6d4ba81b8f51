//! What every engine promises and every loop may rely on.

use core::fmt;
use core::net::SocketAddr;

use adit_packet::{Instant, PacketBuf};

use crate::Outbox;

/// A state machine for packets.
///
/// Every packet that comes in leaves by [`Outbox::send`] or [`Outbox::discard`], has served its purpose
/// ([`Outbox::absorb`]), or is held and counted by [`Self::held`]: *in and made = sent, discarded,
/// absorbed and held* at any moment between two calls ([`Counts::balance`](crate::Counts::balance)).
/// The simulator (feature `sim`) checks it. What comes from a peer is never an error and never a panic.
pub trait Engine {
    /// Takes a packet that came `from` at `now`; what cannot be used goes to `out.discard`.
    ///
    /// `now` never goes back from one call to the next.
    fn handle(&mut self, now: Instant, from: Endpoint, packet: PacketBuf, out: &mut Outbox);

    /// When [`Self::handle_timeout`] is to be called; `None` if there is nothing to wait for.
    ///
    /// It is asked for again after every other call.
    fn next_timeout(&self) -> Option<Instant>;

    /// Does what is due at `now`; being called early or late does no harm.
    fn handle_timeout(&mut self, now: Instant, out: &mut Outbox);

    /// How many packets the engine keeps for later.
    fn held(&self) -> usize {
        0
    }

    /// How many messages have proved to be a peer's, for an engine that can tell: only those say
    /// anything about the way to it.
    fn authenticated(&self) -> u64 {
        0
    }
}

/// Where a packet comes from or goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Endpoint {
    /// A port: a device's queue, as the engine's owner numbered it.
    Port(PortId),
    /// A peer on the network, reached by UDP.
    Udp(SocketAddr),
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Port(port) => write!(f, "port {port}"),
            Self::Udp(address) => write!(f, "{address}"),
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
