//! What went through a port.

use crate::DropReason;

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
    ingress_drops: Drops,
    egress_drops: Drops,
}

type Drops = [u64; DropReason::ALL.len()];

impl PortCounters {
    /// Frames that came in and went nowhere, by reason, those reasons only that occurred.
    pub fn ingress_drops(&self) -> impl Iterator<Item = (DropReason, u64)> + '_ {
        occurred(&self.ingress_drops)
    }

    /// Frames that should have gone out here and did not, by reason, those reasons only that
    /// occurred.
    pub fn egress_drops(&self) -> impl Iterator<Item = (DropReason, u64)> + '_ {
        occurred(&self.egress_drops)
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
        note(&mut self.ingress_drops, why);
    }

    pub(super) fn note_egress_drop(&mut self, why: DropReason) {
        note(&mut self.egress_drops, why);
    }
}

fn occurred(drops: &Drops) -> impl Iterator<Item = (DropReason, u64)> + '_ {
    let counts = drops.iter().copied();
    DropReason::ALL.into_iter().zip(counts).filter(|&(_, count)| count != 0)
}

fn note(drops: &mut Drops, why: DropReason) {
    if let Some(count) = drops.get_mut(why as usize) {
        *count += 1;
    }
}
