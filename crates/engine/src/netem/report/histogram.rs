//! Times counted in buckets of nearly equal relative width.

use alloc::boxed::Box;
use alloc::vec;
use core::time::Duration;

/// Buckets of each power of two: a bucket is at most 1/64 of its values wide.
const SPLIT_BITS: u32 = 6;
const SPLIT: u64 = 1 << SPLIT_BITS;
/// Values from 2^42 ns (73 minutes, above the longest delay) on share the last bucket.
const VALUE_BITS: u32 = 42;
const BUCKETS: usize = 64 * (42 - 6 + 1);

/// How often each time occurred: a fixed 19 KiB, whatever is counted; percentiles are within 0.8 %.
#[derive(Clone, Debug)]
pub struct Histogram {
    buckets: Box<[u64]>,
    count: u64,
    sum: u128,
    min: u64,
    max: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        let buckets = vec![0; BUCKETS].into_boxed_slice();
        Self { buckets, count: 0, sum: 0, min: u64::MAX, max: 0 }
    }
}

impl Histogram {
    /// Counts a time.
    pub fn add(&mut self, time: Duration) {
        self.add_nanos(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
    }

    pub(crate) fn add_nanos(&mut self, nanos: u64) {
        if let Some(bucket) = self.buckets.get_mut(bucket_of(nanos)) {
            *bucket += 1;
        }
        self.count += 1;
        self.sum += u128::from(nanos);
        self.min = self.min.min(nanos);
        self.max = self.max.max(nanos);
    }

    /// Counts the times of `other` too.
    pub(crate) fn merge(&mut self, other: &Self) {
        for (bucket, count) in self.buckets.iter_mut().zip(&other.buckets) {
            *bucket += count;
        }
        self.count += other.count;
        self.sum += other.sum;
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
    }

    /// How many times were counted.
    #[must_use]
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// The lowest; zero if there are none.
    #[must_use]
    pub const fn min(&self) -> Duration {
        Duration::from_nanos(if self.count == 0 { 0 } else { self.min })
    }

    /// The highest; zero if there are none.
    #[must_use]
    pub const fn max(&self) -> Duration {
        Duration::from_nanos(self.max)
    }

    /// The mean, exact; zero if there are none.
    #[must_use]
    pub fn mean(&self) -> Duration {
        let mean = self.sum / u128::from(self.count.max(1));
        Duration::from_nanos(u64::try_from(mean).unwrap_or(u64::MAX))
    }

    /// The time that a share (0 to 1) of all are not above; zero if there are none.
    #[must_use]
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a rank: 53 bits are enough, and it is never negative"
    )]
    pub fn percentile(&self, share: f64) -> Duration {
        let rank = (libm::ceil(share.clamp(0.0, 1.0) * self.count as f64) as u64).max(1);
        let mut passed = 0;
        for (index, &count) in self.buckets.iter().enumerate() {
            passed += count;
            if passed >= rank {
                let middle = middle_of(index).clamp(self.min, self.max);
                return Duration::from_nanos(middle);
            }
        }
        self.max()
    }
}

/// Values below 64 have a bucket each; above, the six bits after the highest one choose.
fn bucket_of(nanos: u64) -> usize {
    let nanos = nanos.min((1 << VALUE_BITS) - 1);
    let index = if nanos < SPLIT {
        nanos
    } else {
        let shift = nanos.ilog2() - SPLIT_BITS;
        (u64::from(shift) << SPLIT_BITS) + (nanos >> shift)
    };
    usize::try_from(index).unwrap_or(usize::MAX)
}

fn middle_of(bucket: usize) -> u64 {
    let bucket = u64::try_from(bucket).unwrap_or(u64::MAX);
    if bucket < 2 * SPLIT {
        return bucket;
    }
    let shift = (bucket >> SPLIT_BITS) - 1;
    let low = (bucket - (shift << SPLIT_BITS)) << shift;
    low + (1 << shift) / 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_has_its_bucket() {
        for value in (0..300).chain([1 << 20, (1 << 42) - 1]) {
            let middle = middle_of(bucket_of(value));
            assert!(middle.abs_diff(value) * 128 <= value.max(1), "{value}: {middle}");
        }
        assert!(bucket_of(u64::MAX) < BUCKETS);
        let indices: vec::Vec<_> = (0..100_000).map(bucket_of).collect();
        assert!(indices.is_sorted(), "buckets are in the order of their values");
    }

    #[test]
    fn two_in_one_are_as_if_counted_by_one() {
        let (mut both, mut low, mut high) =
            (Histogram::default(), Histogram::default(), Histogram::default());
        for micros in 1..=1000 {
            both.add(Duration::from_micros(micros));
            let one = if micros <= 300 { &mut low } else { &mut high };
            one.add(Duration::from_micros(micros));
        }
        low.merge(&high);
        assert_eq!(low.buckets, both.buckets);
        let all = |of: &Histogram| (of.count(), of.min(), of.max(), of.mean());
        assert_eq!(all(&low), all(&both));
    }

    #[test]
    fn percentiles_are_within_a_hundredth() {
        let mut histogram = Histogram::default();
        assert_eq!(histogram.percentile(0.5), Duration::ZERO);
        assert_eq!((histogram.min(), histogram.mean()), (Duration::ZERO, Duration::ZERO));
        for micros in 1..=10_000 {
            histogram.add(Duration::from_micros(micros));
        }
        for (share, micros) in [(0.5, 5000.0), (0.99, 9900.0), (0.999, 9990.0), (1.0, 10_000.0)] {
            let found = histogram.percentile(share).as_secs_f64() * 1e6;
            assert!((found / micros - 1.0).abs() < 0.008, "{share}: {found}");
        }
        assert_eq!(histogram.min(), Duration::from_micros(1));
        assert_eq!(histogram.max(), Duration::from_millis(10));
        assert_eq!(histogram.mean(), Duration::from_nanos(5_000_500));
        assert_eq!(histogram.count(), 10_000);
    }
}
