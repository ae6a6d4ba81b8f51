//! What was asked of one direction of a link, and what happened.

use core::time::Duration;

use super::profile::Profile;
use crate::counter::counters;
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

counters! {
    /// What happened to the packets of one direction of a link.
    ///
    /// *received + made = delivered + dropped + held* at any moment; a super-packet that is cut up is
    /// received once and makes the packets that it stands for but one.
    pub struct Counts {
        /// Packets that came, super-packets as one.
        received,
        /// Bytes that came.
        received_bytes,
        /// Super-packets that were cut up.
        cut,
        /// Packets after cutting: what loss, duplication and corruption are shares of.
        packets,
        /// Packets made: by cutting, and duplicates.
        made,
        /// Packets that came out.
        delivered,
        /// Bytes that came out.
        delivered_bytes,
        /// Packets in the link now.
        held,
        /// Super-packets whose headers were wrong, dropped.
        malformed drop "malformed",
        /// Packets that came during an outage.
        outage drop "in outages",
        /// Packets corrupted.
        corrupted,
        /// Bits of them that were inverted.
        bit_errors,
        /// Packets lost as asked for.
        lost,
        /// Packets marked with ECN in place of being lost.
        lost_marked,
        /// Packets duplicated.
        duplicated,
        /// Packets dropped because the queue was full.
        queue_full drop "queue full",
        /// Packets dropped by the discipline of the queue: `CoDel`, FQ-CoDel.
        queue_managed drop "by the queue's discipline",
        /// Bytes of the packets that the queue dropped, overhead included.
        queue_dropped_bytes,
        /// Packets marked with ECN by the discipline of the queue.
        queue_marked,
        /// Packets dropped because the link held all that it may.
        limit drop "over the link's limits",
        /// Packets dropped because the link was removed while they were in it.
        cleared drop "as the link was removed",
        /// Packets made to wait for later ones.
        reordered,
        /// Packets dropped because the pool had no buffer left.
        no_buffer drop "without a buffer",
        /// Bytes that the line sent, overhead included.
        line_bytes,
    }
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
