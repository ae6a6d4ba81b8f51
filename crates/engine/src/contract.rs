//! What every engine promises and every loop may rely on.

use adit_packet::{Instant, PacketBuf};

use crate::endpoint::Endpoint;
use crate::fast_path::FastPath;
use crate::flow::{FlowEvent, FlowId};
use crate::outbox::Outbox;

/// A state machine for packets.
///
/// Every packet that comes in leaves by [`Outbox::send`] or [`Outbox::discard`], has served its purpose
/// ([`Outbox::absorb`]), or is held and counted by [`Self::held`]: *in and made = sent, discarded,
/// absorbed and held* at any moment between two calls ([`Counts::balance`](crate::Counts::balance)).
/// The simulator (adit-sim) checks it. Input from a peer never causes an error or a panic.
pub trait Engine {
    /// Takes a packet that came `from` at `now`. Never fails: a packet that cannot be used goes to
    /// [`Outbox::discard`].
    ///
    /// Returns what handling the packet showed about its sender; most engines return
    /// [`Handled::NOTHING`]. `now` never goes back from one call to the next.
    fn handle(
        &mut self,
        now: Instant,
        from: Endpoint,
        packet: PacketBuf,
        out: &mut Outbox,
    ) -> Handled;

    /// The time at which [`Self::handle_timeout`] must be called; `None` while no timer runs.
    ///
    /// The loop asks again after every other call. An engine without timers leaves this and
    /// [`Self::handle_timeout`] as they are.
    fn next_timeout(&self) -> Option<Instant> {
        None
    }

    /// Does the work that is due at `now`. An early or late call does no harm.
    fn handle_timeout(&mut self, now: Instant, out: &mut Outbox) {
        let _ = (now, out);
    }

    /// Takes an event of a flow that the engine opened ([`Outbox::request`]). Bytes of a flow come by
    /// [`Self::handle`] as packets from [`Endpoint::Flow`].
    ///
    /// An engine without flows leaves this as it is.
    fn handle_flow(&mut self, now: Instant, flow: FlowId, event: FlowEvent, out: &mut Outbox) {
        let _ = (now, flow, event, out);
    }

    /// What the engine leaves to something faster than itself; `None` if it must handle every packet.
    fn fast_path(&mut self) -> Option<&mut dyn FastPath> {
        None
    }

    /// How many packets the engine keeps for later.
    fn held(&self) -> usize {
        0
    }
}

/// What handling a packet showed about its sender.
///
/// A loop with several local addresses answers a peer from the address that its last authenticated
/// packet was sent to. It must not learn that from a forged packet, and only the engine knows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Handled {
    /// The packet proved that it is from a peer of the engine.
    pub authenticated: bool,
    /// The packet began an exchange with that peer: what was learned about the way to it before no
    /// longer counts.
    pub began: bool,
    /// The packet proved no identity, but a peer may have sent it: it was valid as far as it was checked before
    /// a limit dropped it. A stream whose sender did not authenticate stays open for its next packet.
    pub plausible: bool,
}

impl Handled {
    /// Nothing: the engine authenticates nobody, or the packet did not authenticate.
    pub const NOTHING: Self = Self { authenticated: false, began: false, plausible: false };
    /// The packet authenticated, within an exchange that goes on.
    pub const AUTHENTICATED: Self = Self { authenticated: true, ..Self::NOTHING };
    /// The packet authenticated and began an exchange.
    pub const BEGAN: Self = Self { authenticated: true, began: true, ..Self::NOTHING };
}
