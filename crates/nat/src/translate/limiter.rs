//! Token buckets: for the ICMP errors that the NAT sends, and for the flows and bytes of each source.

use alloc::collections::BTreeMap;
use core::net::IpAddr;
use core::time::Duration;

use adit_packet::Instant;
use adit_packet::units::Bitrate;

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

/// What is kept of each source, for a bounded number of them. With more, all begin afresh.
#[derive(Debug)]
struct Sources<T>(BTreeMap<IpAddr, T>);

impl<T> Sources<T> {
    const COUNT_MAX: usize = 1024;

    /// What is kept of a source; of a new one this.
    fn of(&mut self, source: IpAddr, new: impl FnOnce() -> T) -> &mut T {
        if self.0.len() >= Self::COUNT_MAX && !self.0.contains_key(&source) {
            self.0.clear();
        }
        self.0.entry(source).or_insert_with(new)
    }
}

/// A bucket for each source.
#[derive(Debug)]
pub(super) struct PerSource {
    /// `None`: no limit.
    per_second: Option<u32>,
    sources: Sources<Limiter>,
}

impl PerSource {
    pub(super) const fn new(per_second: Option<u32>) -> Self {
        Self { per_second, sources: Sources(BTreeMap::new()) }
    }

    /// Whether an event of a source may happen now.
    pub(super) fn pass(&mut self, source: IpAddr, now: Instant) -> bool {
        let Some(per_second) = self.per_second else { return true };
        self.sources.of(source, || Limiter::new(per_second)).pass(now)
    }
}

/// The bytes of each source, as a token bucket in each direction.
#[derive(Debug)]
pub(super) struct SourceRates {
    /// `None`: no limit.
    rate: Option<Bitrate>,
    /// When what has passed from the source, and to it, is paid for.
    sources: Sources<[Instant; 2]>,
}

/// What passes at once, as the time in which the rate brings as much: losses reach a TCP sender by then.
const BURST: Duration = Duration::from_millis(250);

impl SourceRates {
    pub(super) const fn new(rate: Option<Bitrate>) -> Self {
        Self { rate, sources: Sources(BTreeMap::new()) }
    }

    /// Whether a packet of a source, of this many bytes, passes now.
    pub(super) fn pass_from(&mut self, source: IpAddr, len: usize, now: Instant) -> bool {
        self.pass(source, 0, len, now)
    }

    /// The same of a packet to the source.
    pub(super) fn pass_to(&mut self, source: IpAddr, len: usize, now: Instant) -> bool {
        self.pass(source, 1, len, now)
    }

    /// A packet passes whole if there is any room: a super-packet may be larger than the bucket, and what follows
    /// waits for it.
    fn pass(&mut self, source: IpAddr, direction: usize, len: usize, now: Instant) -> bool {
        let Some(rate) = self.rate else { return true };
        let Some(paid) = self.sources.of(source, || [now; 2]).get_mut(direction) else {
            return true;
        };
        let begin = (*paid).max(now);
        if begin.since(now) > BURST {
            return false;
        }
        let bits = u64::try_from(len).unwrap_or(0).saturating_mul(8);
        let nanos = bits.saturating_mul(1_000_000_000) / rate.bits_per_second().max(1);
        *paid = begin + Duration::from_nanos(nanos);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        assert!(limits.sources.0.len() <= Sources::<Limiter>::COUNT_MAX);
        assert!((0..1000).all(|_| PerSource::new(None).pass(source(1), now)));
    }

    #[test]
    fn the_bytes_of_a_source_pass_at_its_rate_in_each_direction() {
        let mut rates = SourceRates::new(Some("8mbit".parse().unwrap()));
        let start = Instant::ZERO + Duration::from_secs(5);
        let source = |number: u32| IpAddr::from(core::net::Ipv4Addr::from_bits(number));
        // A megabyte a second, a quarter of it at once: 3 seconds pass 3.25 MB, of 30 MB that are sent.
        let mut passed = 0;
        for at in 0..3000 {
            let now = start + Duration::from_millis(at);
            passed += (0..10).filter(|_| rates.pass_from(source(1), 1000, now)).count();
        }
        assert!((3240..3260).contains(&passed), "{passed}");
        let now = start + Duration::from_secs(3);
        assert!(rates.pass_to(source(1), 1000, now), "the other direction has its own");
        // A super-packet is no more than its bytes.
        let count = |rates: &mut SourceRates, len, now| {
            (0..100).filter(|_| rates.pass_from(source(2), len, now)).count()
        };
        assert_eq!(count(&mut rates, 64_000, now), 4);
        assert_eq!(count(&mut rates, 64_000, now + Duration::from_millis(64)), 1);
        (0..5000).for_each(|number| assert!(rates.pass_from(source(10 + number), 1000, now)));
        assert!(rates.sources.0.len() <= Sources::<[Instant; 2]>::COUNT_MAX);
        assert!((0..1000).all(|_| SourceRates::new(None).pass_from(source(1), 64_000, now)));
    }
}
