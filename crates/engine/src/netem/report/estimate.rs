//! A share that was counted, with its confidence interval.

/// A share of packets that was counted, and between which bounds the true share is, with a confidence
/// of 99.9 %: Wilson's score interval.
///
/// Where losses come in bursts, packets tell less than their number says; then the interval is that
/// of as many independent packets as would tell as much.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    /// How many packets it happened to.
    pub hits: u64,
    /// How many packets there were; at least 1.
    pub of: u64,
    /// The share.
    pub share: f64,
    /// The lower bound.
    pub low: f64,
    /// The upper bound.
    pub high: f64,
}

/// The normal quantile of 99.95 %.
const Z: f64 = 3.290_526_731_491_926;

impl Estimate {
    /// The estimate from counts; `None` if there were no packets.
    ///
    /// `inflation` is how many times larger than that of independent packets the variance of the
    /// count is: 1 for independent ones.
    ///
    /// Source: E. B. Wilson, 1927.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "53 bits are enough for a share")]
    pub fn new(hits: u64, of: u64, inflation: f64) -> Option<Self> {
        if of == 0 {
            return None;
        }
        let share = hits as f64 / of as f64;
        let count = (of as f64 / inflation.max(1.0)).max(1.0);
        let square = Z * Z / count;
        let middle = (share + square / 2.0) / (1.0 + square);
        let spread = libm::sqrt(share * (1.0 - share) / count + square / (4.0 * count));
        let half = Z * spread / (1.0 + square);
        let low = if hits == 0 { 0.0 } else { (middle - half).max(0.0) };
        let high = if hits == of { 1.0 } else { (middle + half).min(1.0) };
        Some(Self { hits, of, share, low, high })
    }

    /// Whether that share is between the bounds.
    #[must_use]
    pub fn contains(&self, share: f64) -> bool {
        (self.low..=self.high).contains(&share)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Wilson's bounds are the shares from which what was counted is `Z` standard deviations away.
    #[test]
    fn the_bounds_are_so_many_deviations_away() {
        for (hits, of) in [(1000, 100_000), (3, 1000), (500, 1000), (19, 20)] {
            let estimate = Estimate::new(hits, of, 1.0).unwrap();
            for bound in [estimate.low, estimate.high] {
                let count = f64::from(u32::try_from(of).unwrap());
                let deviation = (bound * (1.0 - bound) / count).sqrt();
                assert!(
                    ((estimate.share - bound).abs() / deviation - Z).abs() < 1e-9,
                    "{estimate:?}"
                );
            }
        }
        let estimate = Estimate::new(1000, 100_000, 1.0).unwrap();
        assert!(estimate.contains(0.01) && !estimate.contains(0.0115));
    }

    #[test]
    fn the_ends_are_closed() {
        assert_eq!(Estimate::new(0, 0, 1.0), None);
        let none = Estimate::new(0, 1000, 1.0).unwrap();
        assert!(none.low == 0.0 && none.high > 0.009 && none.high < 0.012, "{none:?}");
        let all = Estimate::new(10, 10, 1.0).unwrap();
        assert!(all.high == 1.0 && all.low < 0.6);
    }

    #[test]
    fn bursts_make_it_wider() {
        let single = Estimate::new(1000, 100_000, 1.0).unwrap();
        let bursts = Estimate::new(1000, 100_000, 9.0).unwrap();
        let ratio = (bursts.high - bursts.low) / (single.high - single.low);
        assert!((2.9..3.2).contains(&ratio), "{ratio}");
    }
}
