//! Token buckets: for the ICMP errors that the NAT sends, and for the flows that a source begins.

use alloc::collections::BTreeMap;
use core::net::IpAddr;

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

/// Sources of which a number is kept. With more of them, all begin with a full bucket again.
const SOURCES_MAX: usize = 1024;

/// A bucket for each source.
#[derive(Debug)]
pub(super) struct PerSource {
    /// `None`: no limit.
    per_second: Option<u32>,
    sources: BTreeMap<IpAddr, Limiter>,
}

impl PerSource {
    pub(super) const fn new(per_second: Option<u32>) -> Self {
        Self { per_second, sources: BTreeMap::new() }
    }

    /// Whether an event of a source may happen now.
    pub(super) fn pass(&mut self, source: IpAddr, now: Instant) -> bool {
        let Some(per_second) = self.per_second else { return true };
        if self.sources.len() >= SOURCES_MAX && !self.sources.contains_key(&source) {
            self.sources.clear();
        }
        self.sources.entry(source).or_insert_with(|| Limiter::new(per_second)).pass(now)
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

    #[test]
    fn each_source_has_its_own() {
        let mut limits = PerSource::new(Some(2));
        let now = Instant::ZERO + Duration::from_secs(5);
        let source = |number: u32| core::net::Ipv4Addr::from_bits(number).into();
        let passed = [1, 1, 1, 2].map(|number| limits.pass(source(number), now));
        assert_eq!(passed, [true, true, false, true]);
        (0..5000).for_each(|number| assert!(limits.pass(source(10 + number), now)));
        assert!(limits.sources.len() <= SOURCES_MAX);
        assert!((0..1000).all(|_| PerSource::new(None).pass(source(1), now)));
    }
}
