//! What was asked of one direction of a link, and what happened.

use core::time::Duration;

use super::profile::Profile;
use adit_packet::units::Bitrate;

mod estimate;
mod histogram;

pub use estimate::Estimate;
pub use histogram::Histogram;

/// The report of one direction of a link: what was configured, and what happened since its start.
#[derive(Clone, Debug)]
pub struct Report {
    /// The profile, as last set.
    pub asked: Profile,
    /// The time from the first packet to the last call.
    pub time: Duration,
    /// The counts of packets.
    pub counts: Counts,
    /// The share of packets lost by [`Profile::loss`] or marked in place of it; `None` before the
    /// first packet.
    pub loss: Option<Estimate>,
    /// The share of packets duplicated.
    pub duplicates: Option<Estimate>,
    /// The share of packets corrupted.
    pub corrupted: Option<Estimate>,
    /// The share of packets that later ones could pass.
    pub reordered: Option<Estimate>,
    /// How long packets were in the link, from when they came until they were taken out.
    pub delay: Histogram,
    /// How much later than due packets were taken out: the error of the owner's timer.
    pub late: Histogram,
    /// How long packets waited for the line.
    pub waiting: Histogram,
    /// The rate while the line was busy, overhead included; `None` without a rate or packets.
    pub line_rate: Option<Bitrate>,
    /// The rate of what came out, without overhead, over [`Self::time`].
    pub goodput: Bitrate,
    /// A hash over all decisions in their order: equal for the same seed, profile and packets at the
    /// same times, on every machine.
    pub decisions: u64,
}

/// What happened to the packets of one direction of a link.
///
/// *received + made = delivered + dropped + held* at any moment; a super-packet that is cut up is
/// received once and makes the packets that it stands for but one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Packets that came, super-packets as one.
    pub received: u64,
    /// Bytes that came.
    pub received_bytes: u64,
    /// Super-packets that were cut up.
    pub cut: u64,
    /// Packets after cutting: what loss, duplication and corruption are shares of.
    pub packets: u64,
    /// Packets made: by cutting, and duplicates.
    pub made: u64,
    /// Packets that came out.
    pub delivered: u64,
    /// Bytes that came out.
    pub delivered_bytes: u64,
    /// Packets in the link now.
    pub held: u64,
    /// Super-packets whose headers were wrong, dropped.
    pub malformed: u64,
    /// Packets that came during an outage.
    pub outage: u64,
    /// Packets corrupted.
    pub corrupted: u64,
    /// Bits of them that were turned round.
    pub bit_errors: u64,
    /// Packets lost as asked for.
    pub lost: u64,
    /// Packets marked with ECN in place of being lost.
    pub lost_marked: u64,
    /// Packets duplicated.
    pub duplicated: u64,
    /// Packets dropped because the queue was full.
    pub queue_full: u64,
    /// Packets dropped by `CoDel` or FQ-CoDel.
    pub queue_managed: u64,
    /// Packets marked with ECN by them.
    pub queue_marked: u64,
    /// Packets dropped because the link held all that it may ([`Profile::limits`]).
    pub limit: u64,
    /// Packets thrown away because the link was taken off ([`Link::clear`](super::Link::clear)).
    pub cleared: u64,
    /// Packets made to wait for later ones.
    pub reordered: u64,
    /// Packets dropped because the pool had no buffer left.
    pub no_buffer: u64,
    /// Bytes that the line sent, overhead included.
    pub line_bytes: u64,
}

impl Counts {
    /// All that were dropped.
    #[must_use]
    pub const fn dropped(&self) -> u64 {
        self.malformed
            + self.outage
            + self.lost
            + self.queue_full
            + self.queue_managed
            + self.limit
            + self.cleared
            + self.no_buffer
    }
}
