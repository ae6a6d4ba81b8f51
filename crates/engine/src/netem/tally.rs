//! What a link counts as it goes, and the report made of it.

use core::time::Duration;

use super::flow::mix;
use super::profile::Profile;
use super::report::{Counts, Estimate, Histogram, Report};
use adit_packet::units::Bitrate;

/// What a link decided about a packet. The numbers are part of the hash: they never change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Decision {
    Outage = 1,
    Corrupt = 2,
    Lost = 3,
    LostMarked = 4,
    Duplicate = 5,
    QueueFull = 6,
    QueueManaged = 7,
    Limit = 8,
    Due = 9,
    Reorder = 10,
    QueueMarked = 11,
    Cleared = 12,
}

/// What happened since the start.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) counts: Counts,
    pub(super) delay: Histogram,
    pub(super) late: Histogram,
    pub(super) waiting: Histogram,
    /// Nanoseconds in which something was sent or waited for the line.
    pub(super) busy: u64,
    decisions: u64,
}

impl Tally {
    /// Adds a decision about packet `number` to the hash.
    pub(super) const fn note(&mut self, decision: Decision, number: u64, value: u64) {
        let decided = mix(number << 8 | decision as u64) ^ value;
        self.decisions = mix(self.decisions.rotate_left(5) ^ decided);
    }

    pub(super) fn report(&self, asked: &Profile, time: u64, held: usize) -> Report {
        let counts = Counts { held: u64::try_from(held).unwrap_or(u64::MAX), ..self.counts };
        let came = counts.packets - counts.outage;
        let kept = came - counts.lost;
        Report {
            asked: asked.clone(),
            time: Duration::from_nanos(time),
            counts,
            loss: Estimate::new(counts.lost + counts.lost_marked, came, asked.loss.inflation()),
            duplicates: Estimate::new(counts.duplicated, kept, 1.0),
            corrupted: Estimate::new(counts.corrupted, came, 1.0),
            reordered: Estimate::new(counts.reordered, counts.delivered.max(counts.reordered), 1.0),
            delay: self.delay.clone(),
            late: self.late.clone(),
            waiting: self.waiting.clone(),
            line_rate: (self.busy > 0).then(|| rate(counts.line_bytes, self.busy)),
            goodput: rate(counts.delivered_bytes, time),
            decisions: self.decisions,
        }
    }
}

fn rate(bytes: u64, nanos: u64) -> Bitrate {
    let bits = u128::from(bytes) * 8_000_000_000 / u128::from(nanos.max(1));
    Bitrate::from_bits_per_second(u64::try_from(bits).unwrap_or(u64::MAX))
}
