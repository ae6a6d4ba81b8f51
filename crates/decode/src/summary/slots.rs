//! Sums over time in a bounded number of slots.

use std::time::Duration;

/// The most slots; a capture that goes on doubles their width.
const SLOTS_MAX: usize = 240;

/// The width of a slot at first.
const WIDTH: Duration = Duration::from_millis(10);

/// Sums over time.
#[derive(Clone, Debug)]
pub(super) struct Slots {
    sums: Vec<u64>,
    width: Duration,
}

impl Default for Slots {
    fn default() -> Self {
        Self { sums: Vec::new(), width: WIDTH }
    }
}

impl Slots {
    pub(super) fn is_empty(&self) -> bool {
        self.sums.is_empty()
    }

    pub(super) const fn width(&self) -> Duration {
        self.width
    }

    /// Adds to the slot of a time since the beginning.
    pub(super) fn add(&mut self, after: Duration, amount: u64) {
        let mut at = self.slot(after);
        while at >= SLOTS_MAX {
            self.double();
            at = self.slot(after);
        }
        if at >= self.sums.len() {
            self.sums.resize(at + 1, 0);
        }
        if let Some(sum) = self.sums.get_mut(at) {
            *sum = sum.saturating_add(amount);
        }
    }

    fn slot(&self, after: Duration) -> usize {
        usize::try_from(after.as_nanos() / self.width.as_nanos().max(1)).unwrap_or(usize::MAX)
    }

    fn double(&mut self) {
        let pairs = self.sums.chunks(2);
        self.sums =
            pairs.map(|pair| pair.iter().fold(0u64, |sum, one| sum.saturating_add(*one))).collect();
        self.width = self.width.saturating_mul(2);
    }

    /// Points (middle of the slot in seconds, sum per second times `factor`) up to `end`, in slots of at least this
    /// width.
    pub(super) fn per_second(
        &self,
        width: Duration,
        end: Duration,
        factor: f64,
    ) -> Vec<(f64, f64)> {
        let mut all = self.clone();
        while all.width < width {
            all.double();
        }
        // Slots of so many bars that a line is readable.
        while all.slot(end) >= SLOTS_MAX / 2 {
            all.double();
        }
        all.sums.resize(all.slot(end) + 1, 0);
        let seconds = all.width.as_secs_f64();
        let last = all.sums.len().saturating_sub(1);
        let mut points = Vec::with_capacity(all.sums.len());
        let mut start = 0.0;
        for (at, sum) in all.sums.iter().enumerate() {
            // The last slot is not over yet.
            let length =
                if at == last { (end.as_secs_f64() - start).max(seconds / 2.0) } else { seconds };
            let middle = (start + length / 2.0).min(end.as_secs_f64());
            points.push((middle, float(*sum) * factor / length));
            start += seconds;
        }
        points
    }
}

#[expect(clippy::cast_precision_loss, reason = "a chart rounds more")]
pub(super) const fn float(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_lost_however_long_it_takes() {
        let mut slots = Slots::default();
        let mut random: u64 = 7;
        let mut sum = 0;
        for turn in 0..10_000_u64 {
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            let after = Duration::from_millis(random % (turn * turn + 1));
            slots.add(after, turn);
            sum += turn;
        }
        assert!(slots.sums.len() <= SLOTS_MAX);
        assert_eq!(slots.sums.iter().sum::<u64>(), sum);
        slots.add(Duration::MAX, 5);
        assert_eq!(slots.sums.iter().sum::<u64>(), sum + 5);
    }

    #[test]
    fn rates_are_per_second() {
        let mut slots = Slots::default();
        for at in 0..100 {
            slots.add(Duration::from_millis(at * 10), 125);
        }
        let points = slots.per_second(WIDTH, Duration::from_millis(1000), 8.0);
        let inner = points.iter().take(99);
        assert!(inner.clone().all(|(_, rate)| (rate - 100_000.0).abs() < 1.0), "{points:?}");
    }
}
