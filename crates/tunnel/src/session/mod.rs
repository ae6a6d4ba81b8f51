//! One session: two keys, a counter, a replay window.

pub(crate) mod greeting;
pub(crate) mod replay;
pub(crate) mod timers;

use alloc::sync::Arc;
use core::sync::atomic::{AtomicU64, Ordering};

use adit_packet::Instant;

use crate::codec::{Codec, Decoder, Encoder, codec};
use crate::handshake::ikpsk2::SessionKeys;
use crate::message::{DATA_HEADER_LEN, DataHeader};
use crate::noise::{CipherKey, Key};
use crate::session::greeting::Greeting;
use crate::session::replay::ReplayWindow;
use crate::suite::Suite;
use crate::timing::Timing;

/// The sending half of a session, usable from any thread.
pub(crate) struct SendKey {
    key: CipherKey,
    /// The key as it is encoded; zeros if it follows from the exporter.
    raw: Key,
    their_index: u32,
    counter: AtomicU64,
}

impl SendKey {
    fn new(raw: Key, their_index: u32, counter: u64) -> Self {
        Self { key: CipherKey::new(&raw), raw, their_index, counter: AtomicU64::new(counter) }
    }

    /// Reserves `count` consecutive counters below `limit`; `None` if there are not enough. No counter is
    /// returned twice (NDSS 2017, 5.4.6).
    pub(crate) fn reserve(&self, count: u64, limit: u64) -> Option<u64> {
        let after = |first: u64| first.checked_add(count).filter(|&next| next <= limit);
        self.counter.fetch_update(Ordering::Relaxed, Ordering::Relaxed, after).ok()
    }

    /// The number of reserved counters.
    pub(crate) fn used(&self) -> u64 {
        self.counter.load(Ordering::Relaxed)
    }

    /// Turns `message` into a data message in place: writes the header to its front, encrypts the rest, and
    /// writes the tag to its last bytes. `counter` must be reserved for it.
    pub(crate) fn seal(&self, counter: u64, message: &mut [u8]) {
        let header = DataHeader { receiver: self.their_index, counter };
        let Some((head, text)) = message.split_first_chunk_mut::<DATA_HEADER_LEN>() else { return };
        *head = header.to_bytes();
        self.key.seal(counter, text);
    }
}

/// The receiving half of a session, usable from any thread. Only one thread updates the replay window.
pub(crate) struct RecvKey {
    key: CipherKey,
    /// The key as it is encoded; zeros if it follows from the exporter.
    raw: Key,
}

impl RecvKey {
    fn new(raw: Key) -> Self {
        Self { key: CipherKey::new(&raw), raw }
    }

    /// See [`CipherKey::open`].
    pub(crate) fn open(&self, counter: u64, buffer: &mut [u8], skip: usize) -> Option<usize> {
        self.key.open(counter, buffer, skip)
    }
}

/// The receiving half under the suite that both ends have agreed on.
pub(crate) struct Upgrade {
    pub(crate) suite: Suite,
    /// Our index of it, which the peer writes to messages under this suite.
    pub(crate) index: u32,
    pub(crate) recv: Arc<RecvKey>,
    /// The least counter that came under this suite; the maximum before the first one.
    since: u64,
}

/// One session with a peer.
pub(crate) struct Session {
    /// Our index of it, which the peer writes to its messages.
    pub(crate) index: u32,
    pub(crate) send: Arc<SendKey>,
    pub(crate) recv: Arc<RecvKey>,
    pub(crate) window: ReplayWindow,
    pub(crate) born: Instant,
    /// Whether we initiated it: only the initiator renews it by time (NDSS 2017, 6.2).
    pub(crate) initiator: bool,
    /// Whether a message near its end has requested a new one.
    pub(crate) asked_late: bool,
    /// The secret that two of adit derive further keys from.
    pub(crate) exporter: Key,
    pub(crate) greeting: Greeting,
    /// The suite that we send with.
    pub(crate) suite: Suite,
    pub(crate) upgrade: Option<Upgrade>,
    /// Bytes sent in it.
    pub(crate) volume: u64,
    /// The number of the post-quantum key of its handshake.
    pub(crate) post_quantum: Option<u32>,
    /// Whether data may cross: a peer that needs a post-quantum key has sessions only to exchange one.
    pub(crate) carries_data: bool,
}

impl core::fmt::Debug for Session {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Session")
            .field("index", &self.index)
            .field("born", &self.born)
            .field("initiator", &self.initiator)
            .finish_non_exhaustive()
    }
}

impl Session {
    pub(crate) fn new(now: Instant, keys: &SessionKeys, index: u32, initiator: bool) -> Self {
        Self {
            index,
            send: Arc::new(SendKey::new(keys.send.clone(), keys.their_index, 0)),
            recv: Arc::new(RecvKey::new(keys.recv.clone())),
            window: ReplayWindow::new(),
            born: now,
            initiator,
            asked_late: false,
            exporter: keys.exporter.clone(),
            greeting: Greeting::default(),
            suite: Suite::default(),
            upgrade: None,
            volume: 0,
            post_quantum: None,
            carries_data: true,
        }
    }

    /// Whether a message to us with this index belongs to it.
    fn has_index(&self, index: u32) -> bool {
        self.index == index || self.upgrade.as_ref().is_some_and(|upgrade| upgrade.index == index)
    }

    /// All its indices.
    pub(crate) fn indices(&self) -> [Option<u32>; 2] {
        [Some(self.index), self.upgrade.as_ref().map(|upgrade| upgrade.index)]
    }

    /// Prepares to receive under a suite with that index of ours.
    pub(crate) fn accept_suite(&mut self, suite: Suite, index: u32) -> &Upgrade {
        let [initiator, responder] = suite.keys(&self.exporter);
        let key = if self.initiator { responder } else { initiator };
        let recv = Arc::new(RecvKey { key, raw: Key::default() });
        self.upgrade.insert(Upgrade { suite, index, recv, since: u64::MAX })
    }

    /// Sends under the accepted suite from now on, to that index of the peer. Returns whether it did not before. The
    /// counters continue.
    pub(crate) fn switch_suite(&mut self, their_index: u32) -> bool {
        let Some(suite) = self.upgrade.as_ref().map(|upgrade| upgrade.suite) else { return false };
        if self.suite == suite {
            return false;
        }
        let [initiator, responder] = suite.keys(&self.exporter);
        let key = if self.initiator { initiator } else { responder };
        let counter = AtomicU64::new(self.send.used());
        self.send = Arc::new(SendKey { key, raw: Key::default(), their_index, counter });
        self.suite = suite;
        true
    }

    /// Whether nothing is left to be said about it: hellos were exchanged, and the peer uses the suite that was agreed
    /// on, if there is one.
    pub(crate) fn is_settled(&self) -> bool {
        let is_used = |upgrade: &Upgrade| upgrade.since != u64::MAX;
        self.greeting.is_mutual() && self.upgrade.as_ref().is_none_or(is_used)
    }

    /// The suite that we send with, once it changes no more in this session.
    pub(crate) fn final_suite(&self) -> Option<Suite> {
        let is_final = self.suite != Suite::default()
            || self.upgrade.is_none() && self.greeting.is_mutual()
            || self.greeting.is_exhausted();
        is_final.then_some(self.suite)
    }

    /// Decrypts `buffer[skip..]`, the rest of a message with this header, to the front of `buffer`. Returns its length;
    /// `None` if it does not authenticate.
    ///
    /// The index gives the suite. The peer never returns to the first one: messages under it are accepted only if they
    /// were sent before all those that came under the second one.
    pub(crate) fn open(
        &mut self,
        header: DataHeader,
        buffer: &mut [u8],
        skip: usize,
    ) -> Option<usize> {
        let DataHeader { receiver, counter } = header;
        let len = match &mut self.upgrade {
            Some(upgrade) if upgrade.index == receiver => {
                let len = upgrade.recv.open(counter, buffer, skip)?;
                upgrade.since = upgrade.since.min(counter);
                len
            }
            Some(upgrade) if counter > upgrade.since => return None,
            _ => self.recv.open(counter, buffer, skip)?,
        };
        self.window.note(counter);
        Some(len)
    }

    /// Whether it still accepts packets (NDSS 2017, 6.2).
    pub(crate) fn is_alive(&self, now: Instant, timing: &Timing) -> bool {
        now.since(self.born) < timing.reject_after_time
    }

    /// Whether it can still send packets.
    pub(crate) fn can_send(&self, now: Instant, timing: &Timing) -> bool {
        self.is_alive(now, timing)
            && self.send.used() < timing.reject_after_messages
            && !self.has_sent(timing.reject_after_bytes)
    }

    /// Whether that many bytes were sent under a suite whose keys have a limit.
    fn has_sent(&self, bytes: u64) -> bool {
        self.suite != Suite::ChaCha20Poly1305 && self.volume >= bytes
    }

    /// Whether to start a new session after sending (NDSS 2017, 6.2): by count on both sides, by time only on
    /// the initiator, so that the two do not start at once.
    pub(crate) fn is_worn(&self, now: Instant, timing: &Timing) -> bool {
        self.send.used() >= timing.rekey_after_messages
            || self.has_sent(timing.rekey_after_bytes)
            || self.initiator && now.since(self.born) >= timing.rekey_after_time
    }

    /// Whether to start a new session after receiving, because this one expires before a side that only
    /// receives would send a keepalive (NDSS 2017, 6.2).
    pub(crate) fn is_ending(&self, now: Instant, timing: &Timing) -> bool {
        let rest = timing.keepalive_timeout + timing.rekey_timeout;
        self.initiator && now.since(self.born) >= timing.reject_after_time.saturating_sub(rest)
    }

    /// Sets the counter of messages sent, for tests of its end.
    #[cfg(test)]
    pub(crate) fn set_counter(&self, counter: u64) {
        self.send.counter.store(counter, Ordering::Relaxed);
    }
}

impl Codec for Session {
    fn encode(&self, to: &mut Encoder) {
        (self.index, self.initiator).encode(to);
        self.exporter.encode(to);
        self.send.raw.encode(to);
        (self.send.their_index, self.send.used()).encode(to);
        self.recv.raw.encode(to);
        self.window.encode(to);
        (self.born, self.asked_late).encode(to);
        self.greeting.encode(to);
        let upgrade = self.upgrade.as_ref();
        upgrade.map(|upgrade| ((upgrade.suite, upgrade.index), upgrade.since)).encode(to);
        self.suite.encode(to);
        (self.volume, self.post_quantum).encode(to);
        self.carries_data.encode(to);
    }

    fn decode(from: &mut Decoder<'_>) -> Option<Self> {
        let (index, initiator) = Codec::decode(from)?;
        let (exporter, raw) = Codec::decode(from)?;
        let (their_index, counter) = Codec::decode(from)?;
        let mut session = Self {
            index,
            initiator,
            exporter,
            send: Arc::new(SendKey::new(raw, their_index, counter)),
            recv: Arc::new(RecvKey::new(Codec::decode(from)?)),
            window: Codec::decode(from)?,
            born: Codec::decode(from)?,
            asked_late: Codec::decode(from)?,
            greeting: Codec::decode(from)?,
            suite: Suite::default(),
            upgrade: None,
            volume: 0,
            post_quantum: None,
            carries_data: true,
        };
        if let Some(((suite, index), since)) = Codec::decode(from)? {
            session.accept_suite(suite, index);
            session.upgrade.iter_mut().for_each(|upgrade| upgrade.since = since);
        }
        let suite = Suite::decode(from)?;
        if suite != session.suite {
            session.switch_suite(their_index);
        }
        (session.volume, session.post_quantum) = Codec::decode(from)?;
        session.carries_data = Codec::decode(from)?;
        // Counters that are added to must not overflow.
        (session.suite == suite && session.volume <= COUNT_MAX).then_some(session)
    }
}

/// No count of bytes comes near it: it takes 100 years at 10 Gbit/s.
pub(crate) const COUNT_MAX: u64 = 1 << 62;

codec! { Sessions { current, previous, next } }

/// The sessions with one peer.
///
/// A responder must not send in a new session before the initiator: until then the session is `next`. Packets
/// of the previous session may still be under way (NDSS 2017, 6.3).
#[derive(Debug, Default)]
pub(crate) struct Sessions {
    pub(crate) current: Option<Session>,
    previous: Option<Session>,
    next: Option<Session>,
}

impl Sessions {
    /// Begins a session that we initiated, which is confirmed. Returns the sessions that it ends.
    pub(crate) fn begin(&mut self, session: Session) -> [Option<Session>; 2] {
        // A session that was never confirmed is newer than the current one.
        let unconfirmed = self.next.take();
        let current = self.current.replace(session);
        let (kept, gone) = match unconfirmed {
            Some(next) => (Some(next), current),
            None => (current, None),
        };
        [self.retire(kept), gone]
    }

    /// Keeps a session as the previous one; returns the one that ends. One that carries no data does not take the place
    /// of one that does.
    fn retire(&mut self, session: Option<Session>) -> Option<Session> {
        match session {
            Some(session) if !session.carries_data && self.previous.is_some() => Some(session),
            session => core::mem::replace(&mut self.previous, session),
        }
    }

    /// Stores a session that the peer initiated, which is not confirmed yet.
    pub(crate) fn await_confirmation(&mut self, session: Session) -> [Option<Session>; 2] {
        let next = self.next.replace(session);
        let is_needed = self.current.as_ref().is_some_and(|current| !current.carries_data);
        [next, self.previous.take_if(|_| !is_needed)]
    }

    /// Notes a message in the session of that index: `next` becomes the current session. Returns whether it did,
    /// and the session that it ends.
    pub(crate) fn confirm(&mut self, index: u32) -> (bool, Option<Session>) {
        let Some(next) = self.next.take_if(|next| next.index == index) else {
            return (false, None);
        };
        let current = self.current.replace(next);
        (true, self.retire(current))
    }

    /// The session of that index.
    pub(crate) fn by_index(&mut self, index: u32) -> Option<&mut Session> {
        self.all().find(|session| session.has_index(index))
    }

    /// All sessions, the one that is used most first.
    pub(crate) fn all(&mut self) -> impl Iterator<Item = &mut Session> {
        [&mut self.current, &mut self.next, &mut self.previous].into_iter().flatten()
    }

    /// Ends all sessions; returns them.
    pub(crate) fn clear(&mut self) -> [Option<Session>; 3] {
        [self.current.take(), self.previous.take(), self.next.take()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::KEY_LEN;
    use zeroize::Zeroizing;

    fn session(index: u32) -> Session {
        let key = || Zeroizing::new([3; KEY_LEN]);
        let keys = SessionKeys { send: key(), recv: key(), exporter: key(), their_index: 9 };
        Session::new(Instant::ZERO, &keys, index, true)
    }

    #[test]
    fn counters_end_before_they_wrap() {
        let session = session(1);
        let limit = Timing::STANDARD.reject_after_messages;
        assert_eq!(limit, u64::MAX - (1 << 13), "2^64 - 2^13 - 1");
        session.set_counter(limit - 3);
        assert!(session.can_send(Instant::ZERO, &Timing::STANDARD));
        assert_eq!(session.send.reserve(2, limit), Some(limit - 3));
        assert_eq!(session.send.reserve(2, limit), None, "one is left");
        assert_eq!(session.send.reserve(1, limit), Some(limit - 1));
        assert!(!session.can_send(Instant::ZERO, &Timing::STANDARD));
        for _ in 0..10_000 {
            assert_eq!(session.send.reserve(64, limit), None);
        }
        assert_eq!(session.send.used(), limit);
    }

    #[test]
    fn a_message_is_moved_while_it_is_opened() {
        let session = session(1);
        let mut buffer = [0_u8; 200];
        buffer[100 + 16..100 + 16 + 30].fill(7);
        session.send.seal(5, &mut buffer[100..100 + 62]);
        let header = DataHeader::parse(&buffer[100..162]).unwrap();
        assert_eq!(header, DataHeader { receiver: 9, counter: 5 });
        for target in [60, 99, 116] {
            let mut copy = buffer;
            let len = session.recv.open(5, &mut copy[target..162], 116 - target);
            assert_eq!(len, Some(30));
            assert_eq!(copy[target..target + 30], [7; 30]);
            assert_eq!(copy[..60], buffer[..60]);
        }
        assert_eq!(session.recv.open(6, &mut buffer[116..162], 0), None);
    }

    /// Several threads use one key: each counter is given once, and what one sealed another opens.
    #[test]
    fn a_session_serves_several_threads() {
        let session = session(1);
        let mut all: std::vec::Vec<u64> = std::thread::scope(|scope| {
            let workers: std::vec::Vec<_> = (0..4)
                .map(|_| {
                    let (send, recv) = (Arc::clone(&session.send), Arc::clone(&session.recv));
                    scope.spawn(move || {
                        let mut taken = std::vec::Vec::new();
                        for count in (1..=8).cycle().take(200) {
                            let first = send.reserve(count, u64::MAX).unwrap();
                            for counter in first..first + count {
                                let mut message = [0; 64];
                                send.seal(counter, &mut message);
                                let opened = recv.open(counter, &mut message[16..], 0);
                                assert_eq!(opened, Some(32));
                                taken.push(counter);
                            }
                        }
                        taken
                    })
                })
                .collect();
            workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect()
        });
        all.sort_unstable();
        assert_eq!(all, (0..session.send.used()).collect::<std::vec::Vec<_>>());
    }

    #[test]
    fn the_next_session_becomes_the_current_one_when_it_is_used() {
        let mut sessions = Sessions::default();
        let index = |session: Option<Session>| session.map(|session| session.index);
        assert_eq!(sessions.begin(session(1)).map(index), [None, None]);
        assert_eq!(sessions.await_confirmation(session(2)).map(index), [None, None]);
        assert_eq!(sessions.current.as_ref().unwrap().index, 1);
        assert!(!sessions.confirm(1).0);
        assert!(matches!(sessions.confirm(2), (true, None)));
        assert_eq!(sessions.current.as_ref().unwrap().index, 2);
        assert!(sessions.by_index(1).is_some(), "what is under way still arrives");
        assert_eq!(sessions.begin(session(3)).map(index), [Some(1), None]);
        assert_eq!(sessions.await_confirmation(session(4)).map(index), [None, Some(2)]);
        assert_eq!(sessions.begin(session(5)).map(index), [None, Some(3)]);
        assert_eq!(sessions.clear().map(index), [Some(5), Some(4), None]);
    }
}
