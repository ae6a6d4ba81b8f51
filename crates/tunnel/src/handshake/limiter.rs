//! Rate limits of handshakes from unauthenticated senders (NDSS 2017, 5.3).

use alloc::collections::BTreeMap;
use core::net::IpAddr;
use core::time::Duration;

use adit_packet::Instant;

use crate::handshake::cookie::Standing;
use adit_engine::Endpoint;

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
/// unproven addresses exceed their total limit. So one sender cannot block others, unless it forges their
/// addresses; a cookie then helps them.
#[derive(Debug)]
pub(crate) struct Limiter {
    sources: BTreeMap<(Source, bool), Bucket>,
    /// The shared bucket of sources beyond [`Self::SOURCES_MAX`].
    overflow: Bucket,
    unproven: Bucket,
    proven: Bucket,
    replies: Bucket,
    per_second: u32,
    swept: Option<Instant>,
}

/// A source: an IPv4 address, or an IPv6 /64, since a host can use all addresses of its /64.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Source {
    V4(u32),
    V6(u64),
    Port(u16),
    Flow(u64),
}

/// A token bucket, stored as the time at which it will be full.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    full: Instant,
}

impl Bucket {
    const FULL: Self = Self { full: Instant::ZERO };

    /// Takes a token, if there is one: `per_second` are added, up to `burst`.
    fn take(&mut self, now: Instant, per_second: u32, burst: u32) -> bool {
        let each = Duration::from_secs(1) / per_second.max(1);
        let full = self.full.max(now) + each;
        if full.since(now) > each * burst {
            return false;
        }
        self.full = full;
        true
    }
}

impl Limiter {
    /// The maximum number of counted sources: 256 KiB. Beyond it, quiet sources are removed; if there are none,
    /// new sources share one bucket.
    pub(crate) const SOURCES_MAX: usize = 4096;
    /// The limit per source, as in the kernel's WireGuard.
    const PER_SOURCE: (u32, u32) = (20, 5);
    /// The limit per source with a proven address: enough for a building behind one NAT after a power cut, and
    /// 5 % of a core.
    const PER_PROVEN_SOURCE: (u32, u32) = (200, 100);
    /// A cookie reply costs a sixtieth of a handshake.
    const REPLIES: u32 = 60;

    /// Creates a limiter for `per_second` handshakes, and a quarter of that for unproven senders in addition.
    pub(crate) const fn new(per_second: u32) -> Self {
        Self {
            sources: BTreeMap::new(),
            overflow: Bucket::FULL,
            unproven: Bucket::FULL,
            proven: Bucket::FULL,
            replies: Bucket::FULL,
            per_second,
            swept: None,
        }
    }

    /// Decides about a message from a source with that proof.
    pub(crate) fn decide(&mut self, now: Instant, from: Endpoint, standing: Standing) -> Verdict {
        let proven = match standing {
            Standing::Invalid => return Verdict::Drop,
            Standing::Knows => false,
            Standing::Reachable => true,
        };
        let (each, burst) = if proven { Self::PER_PROVEN_SOURCE } else { Self::PER_SOURCE };
        let own = self.source(now, Source::of(from), proven).take(now, each, burst);
        let (all, total) = if proven {
            (&mut self.proven, self.per_second)
        } else {
            (&mut self.unproven, self.per_second / 4)
        };
        match (own && all.take(now, total, total / 10 + 1), proven) {
            (true, _) => return Verdict::Work,
            (false, true) => return Verdict::Drop,
            (false, false) => {}
        }
        let replies = self.per_second.saturating_mul(Self::REPLIES);
        if self.replies.take(now, replies, replies / 10 + 1) {
            Verdict::Cookie
        } else {
            Verdict::Drop
        }
    }

    fn source(&mut self, now: Instant, source: Source, proven: bool) -> &mut Bucket {
        let key = (source, proven);
        if self.sources.len() >= Self::SOURCES_MAX && !self.sources.contains_key(&key) {
            if self.swept.is_none_or(|swept| now.since(swept) >= Duration::from_secs(1)) {
                self.swept = Some(now);
                self.sources.retain(|_, bucket| bucket.full > now);
            }
            if self.sources.len() >= Self::SOURCES_MAX {
                return &mut self.overflow;
            }
        }
        self.sources.entry(key).or_insert(Bucket::FULL)
    }
}

impl Source {
    fn of(from: Endpoint) -> Self {
        match from {
            Endpoint::Port(port) => Self::Port(port.0),
            Endpoint::Flow(flow) => Self::Flow(flow.0),
            Endpoint::Udp(address) => match address.ip().to_canonical() {
                IpAddr::V4(ip) => Self::V4(ip.to_bits()),
                IpAddr::V6(ip) => {
                    let [a, b, c, d, e, f, g, h, ..] = ip.octets();
                    Self::V6(u64::from_be_bytes([a, b, c, d, e, f, g, h]))
                }
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::net::{Ipv4Addr, SocketAddr};

    fn from(ip: u32) -> Endpoint {
        Endpoint::Udp(SocketAddr::from((Ipv4Addr::from_bits(ip), 1)))
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
            let verdict = limiter.decide(now, from(1 << 24 | message), Standing::Knows);
            worked += u32::from(verdict == Verdict::Work);
            if message % 5000 == 4999 {
                assert_ne!(limiter.decide(now, from(7), Standing::Knows), Verdict::Drop);
                assert_eq!(limiter.decide(now, from(7), Standing::Reachable), Verdict::Work);
            }
            assert!(limiter.sources.len() <= Limiter::SOURCES_MAX);
        }
        assert!(worked <= 276 + 10, "{worked}: a quarter of 1000 a second, and ten proven ones");
    }

    #[test]
    fn strangers_get_nothing_and_a_network_is_one_source() {
        let mut limiter = Limiter::new(1000);
        assert_eq!(limiter.decide(at(0), from(1), Standing::Invalid), Verdict::Drop);
        let mut worked = 0;
        for host in 0..100 {
            let address = SocketAddr::from(([0x2001, 0xdb8, 0, 0, 0, 0, 0, host], 1));
            let verdict = limiter.decide(at(0), Endpoint::Udp(address), Standing::Knows);
            worked += u32::from(verdict == Verdict::Work);
        }
        assert_eq!(worked, 5);
    }
}
