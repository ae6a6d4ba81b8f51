//! Rate limits of handshakes from unauthenticated senders (NDSS 2017, 5.3), shared fairly by source.
//!
//! There are two budgets: one for senders that proved their address, by a cookie or by a TCP connection, and a
//! quarter of that for the others. Each is a token bucket, and each has a table of its sources, the same for
//! UDP and TCP:
//!
//! ```text
//! message -> limit of its source -> budget -> process it
//!
//! tokens in the budget   |---|---|---|---|---|---|---|---|---|---|---|---|---|
//!                        0   8  15  23  31                           93  101
//! a new source           may take all of them
//! 1/8 recent message         may take those above 8
//! 1 recent message                       may take those above 31
//! 2 recent messages                          may take those above 39
//! 512 and more                                                    waits for a full bucket
//! ```
//!
//! The busier a source was lately, the fuller the bucket must be for it. So under a flood from many addresses
//! the bucket stays as full as their load requires, and a quiet source still finds tokens: a flood gets what
//! quiet sources leave. The load of a source includes messages that were dropped. Otherwise all sources of a
//! flood would count as new until each had one handshake.

use alloc::collections::BTreeMap;
use core::time::Duration;

use adit_packet::Instant;

use crate::handshake::cookie::Standing;
use crate::handshake::source::Source;

/// What to do with a handshake message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Process it.
    Work,
    /// Ask the sender to prove its address first.
    Cookie,
    /// Drop it.
    Drop,
}

/// Decides which handshake messages are processed: by source, and by the total cost.
///
/// A source that exceeds its limit must prove its address with a cookie. All sources must, once messages from
/// unproven addresses exceed their budget. So one sender cannot block others, unless it forges their
/// addresses; a cookie then helps them.
#[derive(Debug)]
pub(crate) struct Limiter {
    unproven: Budget,
    proven: Budget,
    replies: Bucket,
    per_second: u32,
}

/// The handshakes of all senders with the same proof.
#[derive(Debug)]
struct Budget {
    sources: BTreeMap<Source, Load>,
    sources_max: usize,
    /// The limit of one source.
    each: Rate,
    /// The limit of all of them.
    total: Rate,
    tokens: Bucket,
}

impl Budget {
    const fn new(sources_max: usize, each: Rate, total: Rate) -> Self {
        Self { sources: BTreeMap::new(), sources_max, each, total, tokens: Bucket::FULL }
    }

    /// Counts a message; returns whether it is within the limits.
    fn admits(&mut self, now: Instant, source: Source) -> bool {
        let (each, total, tokens) = (self.each, self.total, self.tokens);
        let load = self.load(now, source);
        let reserved = total.depth() / Load::LEVELS * load.level(now);
        load.note(now);
        // The first token of a full bucket is for everybody.
        let usable = total.depth().saturating_sub(reserved).max(total.interval());
        let (own, shared) = (
            load.tokens.without_one(now, each, each.depth()),
            tokens.without_one(now, total, usable),
        );
        let (Some(own), Some(shared)) = (own, shared) else { return false };
        load.tokens = own;
        self.tokens = shared;
        true
    }

    /// One message more of this source is within the limits.
    fn expect(&mut self, source: Source) {
        if let Some(load) = self.sources.get_mut(&source) {
            load.tokens = load.tokens.with_one(self.each);
            load.messages = load.messages.saturating_sub(Load::MESSAGE);
            self.tokens = self.tokens.with_one(self.total);
        }
    }

    /// The load of a source, which is added if the source is new.
    fn load(&mut self, now: Instant, source: Source) -> &mut Load {
        if self.sources.len() >= self.sources_max && !self.sources.contains_key(&source) {
            self.make_room(now);
        }
        self.sources.entry(source).or_insert(Load::NONE)
    }

    /// Forgets at least a quarter of the sources: those with the least load, as that changes the least for them.
    fn make_room(&mut self, now: Instant) {
        let mut quiet = Load::LEAST;
        while self.sources.len() > self.sources_max - self.sources_max / 4 {
            self.sources.retain(|_, load| load.messages(now) >= quiet);
            quiet = quiet.saturating_mul(2);
            if quiet == u32::MAX {
                self.sources.clear();
            }
        }
    }
}

/// Tokens per second, and how many there are at most.
#[derive(Clone, Copy, Debug)]
struct Rate {
    per_second: u32,
    burst: u32,
}

impl Rate {
    /// A rate with a burst of a tenth of a second.
    const fn with_tenth(per_second: u32) -> Self {
        Self { per_second, burst: per_second / 10 + 1 }
    }

    /// The time in which one token is added.
    fn interval(self) -> Duration {
        Duration::from_secs(1) / self.per_second.max(1)
    }

    /// The time in which an empty bucket becomes full.
    fn depth(self) -> Duration {
        self.interval() * self.burst
    }
}

/// What one source sent lately.
#[derive(Clone, Copy, Debug)]
struct Load {
    tokens: Bucket,
    /// Its messages at `since`, in units of 1/256, each of which counts half after [`Self::HALF_LIFE`].
    messages: u32,
    since: Instant,
}

impl Load {
    const NONE: Self = Self { tokens: Bucket::FULL, messages: 0, since: Instant::ZERO };

    /// If all sources of a full table share the default budget, each has one handshake in 16 s. Even then they
    /// count as busier than a new source.
    const HALF_LIFE: Duration = Duration::from_secs(20);

    const MESSAGE: u32 = 256;

    /// The least load that counts: after three half-lives a message is forgotten.
    const LEAST: u32 = Self::MESSAGE / 8;

    /// Eight for each doubling, from 1/8 message to 512 messages: 18 a second.
    const LEVELS: u32 = 8 * 13;

    /// The load now. Within a half-life it decreases evenly.
    fn messages(&self, now: Instant) -> u32 {
        let (age, half) = (now.since(self.since).as_millis(), Self::HALF_LIFE.as_millis());
        let halved =
            u32::try_from(age / half).ok().and_then(|halves| self.messages.checked_shr(halves));
        let rest = u32::try_from(age % half).unwrap_or(0);
        let half = u32::try_from(half).unwrap_or(u32::MAX);
        let halved = u64::from(halved.unwrap_or(0));
        let left = halved - halved * u64::from(rest) / (2 * u64::from(half));
        u32::try_from(left).unwrap_or(u32::MAX)
    }

    /// From 0 to [`Self::LEVELS`], by the logarithm of the load.
    fn level(&self, now: Instant) -> u32 {
        let messages = self.messages(now);
        let Some(doublings) = (messages / Self::LEAST).checked_ilog2() else { return 0 };
        // The three bits after the first one.
        let part = (messages >> (messages.ilog2() - 3)) & 7;
        (8 * (doublings + 1) + part).min(Self::LEVELS)
    }

    fn note(&mut self, now: Instant) {
        self.messages = self.messages(now).saturating_add(Self::MESSAGE);
        self.since = now;
    }
}

/// A token bucket, stored as the time at which it will be full.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    full: Instant,
}

impl Bucket {
    const FULL: Self = Self { full: Instant::ZERO };

    /// The bucket after a token was taken; `None` if none is left of those that are added within `usable`: with
    /// the depth of the bucket these are all, with less only the topmost.
    fn without_one(self, now: Instant, rate: Rate, usable: Duration) -> Option<Self> {
        let full = self.full.max(now) + rate.interval();
        (full.since(now) <= usable).then_some(Self { full })
    }

    /// The bucket after a token was added.
    fn with_one(self, rate: Rate) -> Self {
        let full = self.full.since_origin().saturating_sub(rate.interval());
        Self { full: Instant::ZERO + full }
    }
}

impl Limiter {
    /// The maximum number of counted sources that did not prove their address: 256 KiB. Any of them may be
    /// forged.
    pub(crate) const UNPROVEN_MAX: usize = 4096;
    /// The maximum number of counted sources that did: 1 MiB.
    pub(crate) const PROVEN_MAX: usize = 16_384;
    /// The limit per source, as in the kernel's WireGuard.
    const PER_SOURCE: Rate = Rate { per_second: 20, burst: 5 };
    /// The limit per source with a proven address: enough for a building behind one NAT after a power cut, and
    /// 5 % of a core.
    const PER_PROVEN_SOURCE: Rate = Rate { per_second: 200, burst: 100 };
    /// A cookie reply costs a sixtieth of a handshake.
    const REPLIES: u32 = 60;

    /// Creates a limiter for `per_second` handshakes, and a quarter of that for unproven senders in addition.
    pub(crate) const fn new(per_second: u32) -> Self {
        Self {
            unproven: Budget::new(
                Self::UNPROVEN_MAX,
                Self::PER_SOURCE,
                Rate::with_tenth(per_second / 4),
            ),
            proven: Budget::new(
                Self::PROVEN_MAX,
                Self::PER_PROVEN_SOURCE,
                Rate::with_tenth(per_second),
            ),
            replies: Bucket::FULL,
            per_second,
        }
    }

    /// A peer that has authenticated will send one handshake message more, which must not cost it one of its host.
    pub(crate) fn expect(&mut self, source: Source) {
        self.unproven.expect(source);
        self.proven.expect(source);
    }

    /// Decides about a message from a source with that proof.
    pub(crate) fn decide(&mut self, now: Instant, source: Source, standing: Standing) -> Verdict {
        let budget = match standing {
            Standing::Invalid => return Verdict::Drop,
            Standing::Knows => &mut self.unproven,
            Standing::Reachable => &mut self.proven,
        };
        if budget.admits(now, source) {
            return Verdict::Work;
        }
        if standing == Standing::Reachable {
            return Verdict::Drop;
        }
        let rate = Rate::with_tenth(self.per_second.saturating_mul(Self::REPLIES));
        match self.replies.without_one(now, rate, rate.depth()) {
            None => Verdict::Drop,
            Some(left) => {
                self.replies = left;
                Verdict::Cookie
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cases::cases;
    use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
    use proptest::prelude::*;

    fn from(ip: u32) -> Source {
        IpAddr::from(Ipv4Addr::from_bits(ip)).into()
    }

    fn at(millis: u64) -> Instant {
        Instant::ZERO + Duration::from_millis(millis)
    }

    #[test]
    fn one_loud_sender_does_not_make_the_others_prove_themselves() {
        let mut limiter = Limiter::new(1000);
        let mut worked = 0;
        for millis in 0..1000 {
            for _ in 0..50 {
                let verdict = limiter.decide(at(millis), from(1), Standing::Knows);
                worked += u32::from(verdict == Verdict::Work);
            }
            if millis % 100 == 0 {
                let other = limiter.decide(at(millis), from(2), Standing::Knows);
                assert_eq!(other, Verdict::Work);
            }
        }
        assert!((20..=25).contains(&worked), "{worked}");
    }

    #[test]
    fn many_senders_cost_no_more_than_the_budget_and_a_cookie_helps() {
        let mut limiter = Limiter::new(1000);
        let mut worked = 0;
        for message in 0..50_000_u32 {
            let now = at(u64::from(message / 50));
            let verdict = limiter.decide(now, from((1 << 24) | message), Standing::Knows);
            worked += u32::from(verdict == Verdict::Work);
            if message % 5000 == 4999 {
                assert_ne!(limiter.decide(now, from(7), Standing::Knows), Verdict::Drop);
                assert_eq!(limiter.decide(now, from(7), Standing::Reachable), Verdict::Work);
            }
            assert!(limiter.unproven.sources.len() <= Limiter::UNPROVEN_MAX);
        }
        assert!(worked <= 276 + 10, "{worked}: a quarter of 1000 a second, and ten proven ones");
    }

    #[test]
    fn strangers_get_nothing_and_a_network_is_one_source() {
        let mut limiter = Limiter::new(1000);
        assert_eq!(limiter.decide(at(0), from(1), Standing::Invalid), Verdict::Drop);
        let mut worked = 0;
        for host in 0..100 {
            let address = IpAddr::from(Ipv6Addr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, host]));
            let verdict = limiter.decide(at(0), address.into(), Standing::Knows);
            worked += u32::from(verdict == Verdict::Work);
        }
        assert_eq!(worked, 5);
    }

    /// A flood with proven addresses: the number of its sources, and messages per second of all of them.
    fn flood(sources: u32, per_second: u32, seconds: u32) -> (Limiter, u32) {
        let (mut limiter, mut worked) = (Limiter::new(1000), 0);
        for message in 0..per_second * seconds {
            let now = at(u64::from(message) * 1000 / u64::from(per_second));
            let verdict =
                limiter.decide(now, from((1 << 24) | (message % sources)), Standing::Reachable);
            worked += u32::from(verdict == Verdict::Work);
        }
        (limiter, worked)
    }

    #[test]
    fn sources_that_proved_their_address_do_not_take_the_budget_from_others() {
        for (sources, per_second) in [(80, 16_000), (5000, 20_000), (16_000, 20_000)] {
            let (mut limiter, worked) = flood(sources, per_second, 10);
            assert!((9000..=10_101).contains(&worked), "{sources}: {worked} of 1000 a second");
            let mut message = 0;
            // A hundred peers a second, each of which connects twice.
            for millis in 10_000..12_000_u64 {
                for _ in 0..per_second / 1000 {
                    message += 1;
                    limiter.decide(
                        at(millis),
                        from((1 << 24) | (message % sources)),
                        Standing::Reachable,
                    );
                }
                if millis % 10 == 0 {
                    let peer = from(u32::try_from(millis % 1000).unwrap());
                    let verdict = limiter.decide(at(millis), peer, Standing::Reachable);
                    assert_eq!(verdict, Verdict::Work, "{sources} sources, {millis} ms");
                }
            }
        }
    }

    #[test]
    fn sources_share_the_budget_fairly() {
        // Twenty that connect ten times a second, and twenty that want all.
        let (mut limiter, mut quiet, mut loud) = (Limiter::new(1000), 0, 0);
        for millis in 0..10_000_u32 {
            let mut works = |source| {
                let verdict = limiter.decide(at(millis.into()), from(source), Standing::Reachable);
                u32::from(verdict == Verdict::Work)
            };
            loud += (0..20).map(|source| works(1000 + source)).sum::<u32>();
            quiet += if millis % 5 == 0 { works(millis / 5 % 20) } else { 0 };
        }
        assert!(quiet == 2000, "{quiet} of 2000");
        assert!((7900..=8101).contains(&loud), "{loud}");
    }

    #[test]
    fn a_building_behind_one_address_connects_at_once() {
        let mut limiter = Limiter::new(1000);
        let verdicts = (0..30).map(|_| limiter.decide(at(0), from(1), Standing::Reachable));
        assert!(verdicts.into_iter().all(|verdict| verdict == Verdict::Work));
    }

    proptest! {
        #![proptest_config(cases(16))]

        /// Whatever is sent, the budgets hold, the tables are bounded, and a new source is processed while
        /// fewer new sources than the budget come.
        #[test]
        fn a_new_source_is_never_behind_busy_ones(
            seed in any::<u32>(),
            sources in 1..20_000_u32,
            per_milli in 1..40_u32,
        ) {
            let (mut limiter, mut worked, mut random) = (Limiter::new(1000), 0, seed);
            for millis in 0..600_u64 {
                for _ in 0..per_milli {
                    random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    let source = from((1 << 24) | ((random >> 8) % sources));
                    let verdict = limiter.decide(at(millis), source, Standing::Reachable);
                    worked += u32::from(verdict == Verdict::Work);
                }
                prop_assert!(limiter.proven.sources.len() <= Limiter::PROVEN_MAX);
            }
            prop_assert!(worked <= 600 + 101, "{worked}");
            // All sources of the flood are known by now: a message more makes each busier than a new one.
            for source in 0..sources.min(16_000) {
                limiter.decide(at(600), from((1 << 24) | source), Standing::Reachable);
            }
            let verdict = limiter.decide(at(601), from(1), Standing::Reachable);
            prop_assert_eq!(verdict, Verdict::Work);
        }
    }
}
