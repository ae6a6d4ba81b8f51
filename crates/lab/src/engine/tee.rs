//! A cable of which a port gets copies.

use adit_engine::{DropReason, Endpoint, Engine, Handled, Outbox, PortId};
use adit_packet::{Instant, PacketBuf};

/// The ports of a member in a cable: towards its first end, and its second.
pub(super) const SIDES: [PortId; 2] = [PortId(0), PortId(1)];

/// Passes packets on between [`SIDES`], and copies each to [`Self::COPIES`].
#[derive(Debug)]
pub(super) struct Tee;

impl Tee {
    /// The port for copies.
    pub(super) const COPIES: PortId = PortId(2);
}

impl Engine for Tee {
    fn handle(
        &mut self,
        _: Instant,
        from: Endpoint,
        packet: PacketBuf,
        out: &mut Outbox,
    ) -> Handled {
        let [left, right] = SIDES.map(Endpoint::Port);
        let to = match from {
            from if from == left => right,
            from if from == right => left,
            _ => {
                out.discard(packet, DropReason::NO_DESTINATION);
                return Handled::NOTHING;
            }
        };
        out.send_copy(Endpoint::Port(Self::COPIES), &packet);
        out.send(to, packet);
        Handled::NOTHING
    }

    fn next_timeout(&self) -> Option<Instant> {
        None
    }

    fn handle_timeout(&mut self, _: Instant, _: &mut Outbox) {}
}
