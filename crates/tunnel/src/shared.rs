//! The state that all peers of a tunnel share.

use alloc::collections::{BTreeMap, VecDeque};
use core::time::Duration;

use adit_engine::{Endpoint, Handled, PortId};
use adit_packet::Instant;

use crate::codec::{Codec, Decoder, Encoder};
use crate::config::{Random, TunnelConfig};
use crate::handshake::cookie::CookieChecker;
use crate::handshake::ikpsk2::{Identity, SessionKeys};
use crate::handshake::limiter::Limiter;
use crate::handshake::source::Source;
use crate::keys::PrivateKey;
use crate::session::Session;
use crate::shape::waiting::Waiting;
use crate::status::TunnelEvent;
use crate::tai64n::Tai64n;
use crate::wakes::WakeQueue;

/// The state that all peers of a tunnel share.
pub(crate) struct Shared {
    pub(crate) config: TunnelConfig,
    pub(crate) random: Random,
    /// The state of the generator of [`Self::jitter`]; 0 before the first call.
    jitter: u64,
    pub(crate) us: Option<LocalIdentity>,
    pub(crate) limiter: Limiter,
    /// The hosts behind streams.
    pub(crate) streams: BTreeMap<PortId, Source>,
    pub(crate) wakes: WakeQueue,
    /// From our indices, of handshakes and sessions, to peers.
    indices: BTreeMap<u32, u32>,
    events: VecDeque<TunnelEvent>,
    clock: Option<(Instant, Duration)>,
    /// Packets that wait for handshakes, of all peers.
    pub(crate) queued: usize,
    /// Packets that wait in shapers, of all peers.
    pub(crate) shaped: Waiting,
    /// Whether the next packet that fills a queue must be marked as congested, or dropped.
    pub(crate) congested: Congested,
    /// The result of handling the current packet so far.
    pub(crate) handled: Handled,
}

/// Whether the next packet that fills a queue must be marked as congested, or dropped: to the peers and from them.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Congested {
    pub(crate) out: Pending,
    pub(crate) inward: Pending,
}

/// A mark that the next suitable packet gets, unless that comes too late.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Pending(Instant);

impl Pending {
    /// Afterwards the queue may be empty.
    const VALID: Duration = Duration::from_millis(20);

    /// Takes the request of a packet; returns whether there is one.
    #[inline]
    pub(crate) fn renew(&mut self, now: Instant, congested: bool) -> bool {
        if congested {
            self.0 = now + Self::VALID;
        }
        now < self.0
    }

    pub(crate) const fn clear(&mut self) {
        self.0 = Instant::ZERO;
    }
}

/// The length of packets that fill a queue. A shorter one answers, asks or acknowledges: to drop it helps nobody.
pub(crate) const BULK_LEN: usize = 512;

/// Our key, and the state derived from it.
#[derive(Debug)]
pub(crate) struct LocalIdentity {
    pub(crate) identity: Identity,
    pub(crate) checker: CookieChecker,
}

impl LocalIdentity {
    pub(crate) fn new(private: PrivateKey) -> Self {
        let identity = Identity::new(private);
        Self { checker: CookieChecker::new(&identity.public), identity }
    }
}

impl Shared {
    /// The maximum number of events that wait for the owner; beyond it the oldest are lost. Three for each of
    /// 300 peers that return at once.
    const EVENTS_MAX: usize = 1024;

    pub(crate) fn new(config: TunnelConfig, random: Random) -> Self {
        Self {
            us: config.private_key.clone().map(LocalIdentity::new),
            limiter: Limiter::new(config.handshakes_per_second),
            config,
            random,
            jitter: 0,
            streams: BTreeMap::new(),
            wakes: WakeQueue::default(),
            indices: BTreeMap::new(),
            events: VecDeque::new(),
            clock: None,
            queued: 0,
            shaped: Waiting::default(),
            congested: Congested::default(),
            handled: Handled::NOTHING,
        }
    }

    /// Encodes our key and the state that follows from it.
    pub(crate) fn encode(&self, to: &mut Encoder) {
        self.config.private_key.encode(to);
        (self.config.mtu, self.config.last_timestamp).encode(to);
        self.jitter.encode(to);
        self.us.iter().for_each(|us| us.checker.encode(to));
    }

    /// The state of [`Self::encode`]; `config` has the rest.
    pub(crate) fn decode(
        config: TunnelConfig,
        random: Random,
        from: &mut Decoder<'_>,
    ) -> Option<Self> {
        let private_key = Codec::decode(from)?;
        let (mtu, last_timestamp) = Codec::decode(from)?;
        let config = TunnelConfig { private_key, mtu, last_timestamp, ..config };
        let mut shared = Self { jitter: Codec::decode(from)?, ..Self::new(config, random) };
        if let Some(us) = &mut shared.us {
            us.checker.restore(from)?;
        }
        Some(shared)
    }

    /// Reports the memory of a value with keys in it. Its place must be its last.
    pub(crate) fn holds_keys<T>(&self, value: &T) {
        let start = core::ptr::from_ref(value).addr();
        (self.config.key_memory)(start..start + size_of::<T>());
    }

    /// A session with these keys.
    pub(crate) fn begin(
        &self,
        now: Instant,
        keys: &SessionKeys,
        index: u32,
        initiator: bool,
    ) -> Session {
        let session = Session::new(now, keys, index, initiator);
        self.holds_keys(&*session.send);
        self.holds_keys(&*session.recv);
        session
    }

    /// A new random index (NDSS 2017, 5.4.2: "randomly"). A counter would reveal the number of peers. It is not 0, which
    /// is none in a hello.
    pub(crate) fn new_index(&mut self, peer: u32) -> u32 {
        loop {
            let mut bytes = [0; 4];
            (self.random)(&mut bytes);
            let index = u32::from_le_bytes(bytes);
            if index != 0
                && let alloc::collections::btree_map::Entry::Vacant(entry) =
                    self.indices.entry(index)
            {
                entry.insert(peer);
                return index;
            }
        }
    }

    /// Takes an index that another secret determines; `false` if it is in use.
    pub(crate) fn take_index(&mut self, index: u32, peer: u32) -> bool {
        let entry = self.indices.entry(index);
        let is_free = matches!(entry, alloc::collections::btree_map::Entry::Vacant(_));
        entry.or_insert(peer);
        is_free
    }

    /// Frees indices.
    pub(crate) fn free(&mut self, indices: impl IntoIterator<Item = Option<u32>>) {
        for index in indices.into_iter().flatten() {
            self.indices.remove(&index);
        }
    }

    /// Ends sessions: frees their indices.
    pub(crate) fn end(&mut self, sessions: impl IntoIterator<Item = Option<Session>>) {
        for session in sessions.into_iter().flatten() {
            self.free(session.indices());
        }
    }

    /// The peer of an index.
    pub(crate) fn peer_of(&self, index: u32) -> Option<u32> {
        self.indices.get(&index).copied()
    }

    /// What the messages from an endpoint count for.
    pub(crate) fn source_of(&self, from: Endpoint) -> Source {
        let known = match from {
            Endpoint::Port(port) => self.streams.get(&port).copied(),
            Endpoint::Udp(_) | Endpoint::Flow(_) => None,
        };
        known.unwrap_or_else(|| from.into())
    }

    pub(crate) fn event(&mut self, event: TunnelEvent) {
        if self.events.len() >= Self::EVENTS_MAX {
            self.events.pop_front();
        }
        self.events.push_back(event);
    }

    pub(crate) fn next_event(&mut self) -> Option<TunnelEvent> {
        self.events.pop_front()
    }

    pub(crate) fn set_clock(&mut self, now: Instant, unix: Duration) {
        self.clock = Some((now, unix));
    }

    /// The wall clock: the time since 1970-01-01 UTC; `None` if it was never set.
    pub(crate) fn unix(&self, now: Instant) -> Option<Duration> {
        self.clock.map(|(at, unix)| unix.saturating_add(now.since(at)))
    }

    /// A timestamp greater than all before, even if the clock goes back (NDSS 2017, 5.1).
    pub(crate) fn timestamp(&mut self, now: Instant) -> Tai64n {
        let unix = self.unix(now).unwrap_or_else(|| now.since_origin());
        let wanted = Tai64n::from_unix(unix);
        let stamp = match self.config.last_timestamp {
            Some(last) if wanted <= last => last.next(),
            _ => wanted,
        };
        self.config.last_timestamp = Some(stamp);
        stamp
    }

    pub(crate) fn random_u64(&mut self) -> u64 {
        let mut bytes = [0; 8];
        (self.random)(&mut bytes);
        u64::from_le_bytes(bytes)
    }

    /// A random time from 0 to the jitter, so that two peers do not retry at the same moment. It is no secret, and
    /// data messages need one: only the seed is a call of [`Random`], which may be a system call.
    pub(crate) fn jitter(&mut self) -> Duration {
        if self.jitter == 0 {
            self.jitter = self.random_u64();
        }
        // SplitMix64.
        self.jitter = self.jitter.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.jitter;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        let most = u64::try_from(self.config.timing.jitter.as_nanos()).unwrap_or(u64::MAX);
        let part = (u128::from(most) * u128::from(mixed)) >> 64;
        Duration::from_nanos(u64::try_from(part).unwrap_or(most))
    }

    #[cfg(test)]
    pub(crate) fn indices(&self) -> impl Iterator<Item = u32> + '_ {
        self.indices.keys().copied()
    }
}
