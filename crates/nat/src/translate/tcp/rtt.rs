//! The retransmission timeout (RFC 6298).

use core::time::Duration;

/// Estimates the round trip time, and from it how long an acknowledgment is waited for.
#[derive(Debug)]
pub(super) struct Rtt {
    smoothed: Option<Duration>,
    variation: Duration,
    rto: Duration,
}

impl Rtt {
    /// Before the first measurement (RFC 6298, 2.1).
    const INITIAL: Duration = Duration::from_secs(1);
    /// As Linux; RFC 6298 recommends 1 s, for networks whose clocks tick slowly.
    const MIN: Duration = Duration::from_millis(200);
    /// RFC 6298, 2.5.
    const MAX: Duration = Duration::from_secs(60);

    pub(super) const fn new() -> Self {
        Self { smoothed: None, variation: Duration::ZERO, rto: Self::INITIAL }
    }

    pub(super) fn measured(&mut self, rtt: Duration) {
        let smoothed = match self.smoothed {
            None => {
                self.variation = rtt / 2;
                rtt
            }
            Some(smoothed) => {
                self.variation = self.variation * 3 / 4 + smoothed.abs_diff(rtt) / 4;
                smoothed * 7 / 8 + rtt / 8
            }
        };
        self.smoothed = Some(smoothed);
        self.rto = (smoothed + self.variation * 4).clamp(Self::MIN, Self::MAX);
    }

    /// The timeout after a number of them in a row.
    pub(super) fn timeout(&self, failures: u32) -> Duration {
        self.rto.saturating_mul(1 << failures.min(16)).min(Self::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_timeout_follows_the_round_trip_and_doubles() {
        let mut rtt = Rtt::new();
        assert_eq!(rtt.timeout(0), Duration::from_secs(1));
        for _ in 0..50 {
            rtt.measured(Duration::from_millis(400));
        }
        let settled = rtt.timeout(0);
        assert!((400..420).contains(&settled.as_millis()), "{settled:?}");
        assert_eq!(rtt.timeout(1), settled * 2);
        assert_eq!(rtt.timeout(99), Duration::from_secs(60));
        for _ in 0..50 {
            rtt.measured(Duration::from_micros(50));
        }
        assert_eq!(rtt.timeout(0), Duration::from_millis(200));
    }
}
