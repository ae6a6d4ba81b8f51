//! What a link counts as it goes, and the reports made of it.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use core::time::Duration;

use super::profile::Profile;
use super::report::{Counts, Estimate, Histogram, Report};
use crate::flow_hash::mix;
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

/// The most settings with a report of their own: each has 57 KiB of histograms. Earlier ones are in the
/// sum only.
const PAST_MAX: usize = 16;

/// What happened since the profile was last changed, and before.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) counts: Counts,
    pub(super) delay: Histogram,
    pub(super) late: Histogram,
    pub(super) waiting: Histogram,
    /// Nanoseconds in which something was sent or waited for the line.
    pub(super) busy: u64,
    decisions: u64,
    /// When the profile was last changed.
    from: u64,
    /// The sum of all that was before.
    before: Option<Box<Self>>,
    /// The reports of earlier profiles.
    past: VecDeque<Report>,
}

impl Tally {
    /// Adds a decision about packet `number` to the hash.
    pub(super) const fn note(&mut self, decision: Decision, number: u64, value: u64) {
        let decided = mix(number << 8 | decision as u64) ^ value;
        self.decisions = mix(self.decisions.rotate_left(5) ^ decided);
    }

    /// The number of the next packet.
    pub(super) fn number(&self) -> u64 {
        self.before.as_ref().map_or(0, |before| before.counts.packets) + self.counts.packets
    }

    /// The profile `asked` ends at `now`; `started` is when the first packet came.
    pub(super) fn change(&mut self, asked: &Profile, (started, now): (u64, u64), held: usize) {
        if self.counts != Counts::default() {
            if self.past.len() == PAST_MAX {
                self.past.pop_front();
            }
            self.past.push_back(self.report_of(asked, now - self.from.max(started), held));
            let ended = core::mem::take(self);
            self.decisions = ended.decisions;
            self.before = Some(Box::new(ended.sum()));
            self.past = ended.past;
        }
        self.from = now;
    }

    /// All that happened in `time` since the first packet.
    pub(super) fn report(&self, asked: &Profile, time: u64, held: usize) -> Report {
        match &self.before {
            None => self.report_of(asked, time, held),
            Some(_) => self.sum().report_of(asked, time, held),
        }
    }

    /// The counts of all that happened.
    pub(super) fn counts(&self, held: usize) -> Counts {
        let held = u64::try_from(held).unwrap_or(u64::MAX);
        let mut counts = self.counts;
        self.before.iter().for_each(|before| counts.add(&before.counts));
        Counts { held, ..counts }
    }

    /// A report for each profile, the last one being `asked`; `started` is when the first packet came.
    pub(super) fn reports(
        &self,
        asked: &Profile,
        (started, now): (u64, u64),
        held: usize,
    ) -> impl Iterator<Item = Report> {
        let last = self.report_of(asked, now.saturating_sub(self.from.max(started)), held);
        self.past.iter().cloned().chain(core::iter::once(last))
    }

    /// What was before and what is now, as one.
    fn sum(&self) -> Self {
        let mut sum = Self {
            counts: self.counts,
            delay: self.delay.clone(),
            late: self.late.clone(),
            waiting: self.waiting.clone(),
            busy: self.busy,
            decisions: self.decisions,
            ..Self::default()
        };
        if let Some(before) = &self.before {
            sum.counts.add(&before.counts);
            sum.delay.merge(&before.delay);
            sum.late.merge(&before.late);
            sum.waiting.merge(&before.waiting);
            sum.busy += before.busy;
        }
        sum
    }

    fn report_of(&self, asked: &Profile, time: u64, held: usize) -> Report {
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
