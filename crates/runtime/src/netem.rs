//! Emulated links between a port and the engine, one a direction.

use adit_engine::Outbox;
use adit_engine::netem::Link;
use adit_packet::Instant;

/// The emulated links of one port; a direction without one passes everything at once.
#[derive(Debug, Default)]
pub struct PortNetem {
    /// From the port to the engine.
    pub ingress: Option<Box<Link>>,
    /// From the engine to the port.
    pub egress: Option<Box<Link>>,
}

impl PortNetem {
    /// When the next packet comes out of a link.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Instant> {
        let links = [&self.ingress, &self.egress];
        links.into_iter().filter_map(|link| link.as_ref()?.next_timeout()).min()
    }

    /// Drops what is in the links; their reports count it.
    pub fn clear(&mut self, now: Instant, out: &mut Outbox) {
        for link in [&mut self.ingress, &mut self.egress].into_iter().flatten() {
            link.clear(now, out);
        }
    }
}
