//! A token bucket for the ICMP errors that the NAT sends.

use adit_packet::Instant;

/// Lets a number of events a second pass, as many at once.
#[derive(Debug)]
pub(super) struct Limiter {
    per_second: u32,
    tokens: u32,
    since: Instant,
}

impl Limiter {
    pub(super) const fn new(per_second: u32) -> Self {
        Self { per_second, tokens: per_second, since: Instant::ZERO }
    }

    /// Whether an event may happen now.
    pub(super) fn pass(&mut self, now: Instant) -> bool {
        if self.tokens == 0 {
            let elapsed = now.since(self.since).as_millis();
            let fresh = elapsed * u128::from(self.per_second) / 1000;
            if fresh == 0 {
                return false;
            }
            self.tokens = u32::try_from(fresh).unwrap_or(u32::MAX).min(self.per_second);
        }
        if self.tokens == self.per_second {
            self.since = now;
        }
        self.tokens = self.tokens.saturating_sub(1);
        if self.tokens == 0 {
            self.since = now;
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::time::Duration;

    #[test]
    fn so_many_a_second_pass() {
        let mut limiter = Limiter::new(10);
        let mut now = Instant::ZERO + Duration::from_secs(5);
        let burst = |limiter: &mut Limiter, now| (0..100).filter(|_| limiter.pass(now)).count();
        assert_eq!(burst(&mut limiter, now), 10);
        now += Duration::from_millis(99);
        assert_eq!(burst(&mut limiter, now), 0);
        now += Duration::from_millis(901);
        assert_eq!(burst(&mut limiter, now), 10);
        assert!(!Limiter::new(0).pass(now));
    }
}
