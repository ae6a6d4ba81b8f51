//! The smallest engine.

use adit_packet::{Instant, PacketBuf};
use alloc::vec::Vec;

use crate::contract::{Engine, Handled};
use crate::drop_reason::DropReason;
use crate::endpoint::{Endpoint, PortId};
use crate::outbox::Outbox;

/// Sends each packet to all ports except the one that it came from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hub {
    /// The ports.
    pub ports: Vec<PortId>,
}

impl Hub {
    /// A hub with the ports 0 to `count - 1`.
    #[must_use]
    pub fn new(count: u16) -> Self {
        Self { ports: (0..count).map(PortId).collect() }
    }
}

impl Engine for Hub {
    fn handle(
        &mut self,
        _: Instant,
        from: Endpoint,
        packet: PacketBuf,
        out: &mut Outbox,
    ) -> Handled {
        let ports = self.ports.iter().map(|&port| Endpoint::Port(port));
        let mut others = ports.filter(|&to| to != from);
        let Some(last) = others.next_back() else {
            out.discard(packet, DropReason::NO_DESTINATION);
            return Handled::NOTHING;
        };
        others.for_each(|to| out.send_copy(to, &packet));
        out.send(last, packet);
        Handled::NOTHING
    }
}
