//! The counters of a port.

use crate::drop_counts::DropCounts;
use crate::drop_reason::DropReason;

/// The counters of a port since it was added.
///
/// Each ingress frame was dropped ([`Self::ingress_drops`]), or forwarded to at least one port, where it was
/// sent or dropped ([`Self::egress_drops`]), or was one of our own loop probes. Bytes count whole frames
/// with their tags, without the headers of the device.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PortCounters {
    /// Ingress frames; a super-packet counts as one.
    pub ingress_frames: u64,
    /// Their bytes.
    pub ingress_bytes: u64,
    /// Egress frames.
    pub egress_frames: u64,
    /// Their bytes.
    pub egress_bytes: u64,
    ingress_drops: DropCounts,
    egress_drops: DropCounts,
}

impl PortCounters {
    /// Ingress frames that were dropped, by reason; only the reasons that occurred.
    pub fn ingress_drops(&self) -> impl Iterator<Item = (DropReason, u64)> + '_ {
        self.ingress_drops.iter()
    }

    /// Egress frames that were dropped, by reason; only the reasons that occurred.
    pub fn egress_drops(&self) -> impl Iterator<Item = (DropReason, u64)> + '_ {
        self.egress_drops.iter()
    }

    pub(super) fn note_ingress(&mut self, len: usize) {
        self.ingress_frames += 1;
        self.ingress_bytes += u64::try_from(len).unwrap_or(0);
    }

    pub(super) fn note_egress(&mut self, len: usize) {
        self.egress_frames += 1;
        self.egress_bytes += u64::try_from(len).unwrap_or(0);
    }

    pub(super) fn note_ingress_drop(&mut self, why: DropReason) {
        self.ingress_drops.note(why);
    }

    pub(super) fn note_egress_drop(&mut self, why: DropReason) {
        self.egress_drops.note(why);
    }
}
