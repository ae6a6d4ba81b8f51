//! How long the turns of a loop take.

use adit_packet::Instant;
use std::time::Duration;

/// The times of all turns since the start: from one look at the descriptors to the next one, without the sleep
/// between. Something that becomes ready waits at most for one turn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TurnTimes {
    /// The turns of up to 1 us, 4 us, 16 us and so on, each without the shorter ones; the last has all others.
    counts: [u64; Self::BOUNDS + 1],
    /// The time of all turns.
    sum: Duration,
    began: Option<Instant>,
}

impl TurnTimes {
    /// How many bounds there are: the last is 1.05 s.
    pub const BOUNDS: usize = 11;

    /// The turns by their time: an upper bound, `None` for the last, and how many took at most so long and longer
    /// than the bound before.
    pub fn counts(&self) -> impl Iterator<Item = (Option<Duration>, u64)> {
        let bound = |at: usize| {
            let shift = 2 * u32::try_from(at).unwrap_or(0);
            (at < Self::BOUNDS).then(|| Duration::from_micros(1 << shift))
        };
        self.counts.into_iter().enumerate().map(move |(at, count)| (bound(at), count))
    }

    /// The time of all turns.
    #[must_use]
    pub const fn sum(&self) -> Duration {
        self.sum
    }

    /// A turn begins.
    pub(super) const fn begin(&mut self, now: Instant) {
        self.began = Some(now);
    }

    /// The turn ends.
    pub(super) fn end(&mut self, now: Instant) {
        let Some(began) = self.began.take() else { return };
        let time = now.since(began);
        self.sum += time;
        // Up to a bound, which belongs to it.
        let micros = time.as_nanos().saturating_sub(1) / 1000;
        let at = if micros == 0 { 0 } else { usize::try_from(micros.ilog2() / 2 + 1).unwrap_or(0) };
        if let Some(count) = self.counts.get_mut(at.min(Self::BOUNDS)) {
            *count += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_turn_is_below_the_bound_that_it_is_counted_at() {
        let bounds =
            [0, 1, 999, 1000, 1001, 4000, 4001, 63_999, 1_048_576_000, 1_048_576_001, u64::MAX / 4];
        for nanos in bounds {
            let mut times = TurnTimes::default();
            times.begin(Instant::from_nanos(5));
            times.end(Instant::from_nanos(5 + nanos));
            times.end(Instant::from_nanos(6 + nanos));
            let time = Duration::from_nanos(nanos);
            assert_eq!(times.sum(), time);
            let mut before = None;
            for (bound, count) in times.counts() {
                let is_in = before.is_none_or(|before| time > before)
                    && bound.is_none_or(|bound| time <= bound);
                assert_eq!(count, u64::from(is_in), "{nanos} {bound:?}");
                before = bound;
            }
        }
    }
}
