//! What went through a port.

use crate::drop_counts::DropCounts;
use crate::drop_reason::DropReason;

/// What went through a port since it was added.
///
/// Of the frames that came in each was dropped ([`Self::ingress_drops`]), or went on to at least one
/// port, where it was sent or dropped ([`Self::egress_drops`]), or was a probe of our own that came
/// back. Bytes are those of the frames, tags included, headers of the device not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PortCounters {
    /// Frames that came in; a super-packet is one.
    pub ingress_frames: u64,
    /// Their bytes.
    pub ingress_bytes: u64,
    /// Frames that went out.
    pub egress_frames: u64,
    /// Their bytes.
    pub egress_bytes: u64,
    ingress_drops: DropCounts,
    egress_drops: DropCounts,
}

impl PortCounters {
    /// Frames that came in and went nowhere, by reason, those reasons only that occurred.
    pub fn ingress_drops(&self) -> impl Iterator<Item = (DropReason, u64)> + '_ {
        self.ingress_drops.iter()
    }

    /// Frames that should have gone out here and did not, by reason, those reasons only that
    /// occurred.
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
