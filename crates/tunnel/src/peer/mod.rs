//! One peer: its endpoint, handshake, sessions and timers.

mod discovery;
mod greet;
mod post_quantum;
pub(crate) mod send;
mod shaping;
pub(crate) mod state;
mod vxlan;

use alloc::collections::VecDeque;
use core::time::Duration;

use adit_packet::{Instant, Layer, PacketBuf};

use crate::config::{PeerConfig, PeerMode};
use crate::frames::plain::FRAME_HEADER_LEN;
use crate::frames::reassembly::Reassembly;
use crate::handshake::cookie::PeerCookie;
use crate::handshake::ikpsk2::{Initiated, Remote};
use crate::handshake::timestamps::PeerTimestamps;
use crate::keys::SharedSecret;
use crate::keys::{KEY_LEN, PresharedKey, PrivateKey, PublicKey};
use crate::message::INITIATION_LEN;
use crate::path::Path;
use crate::post_quantum::{Hybrid, NOT_POST_QUANTUM};
use crate::session::timers::{Attempt, Timers, is_due};
use crate::session::{Session, Sessions};
use crate::shape::Shapers;
use crate::shared::Shared;
use crate::status::{PeerStatus, Totals, TunnelEvent};
use crate::suite::Suite;
use adit_engine::{DropCounts, DropReason, Endpoint, Outbox, Request};

/// Packets that wait for the handshake of one peer: the first window of a connection. The oldest are dropped.
const QUEUE_MAX: usize = 16;
/// Packets that wait for handshakes of all peers: half of the large buffers of the pool.
const QUEUED_MAX: usize = 128;

/// The minimum interval of persistent keepalives. The UAPI has whole seconds.
const KEEPALIVE_MIN: Duration = Duration::from_millis(10);

/// One peer.
#[derive(Debug)]
pub(crate) struct Peer {
    /// Its slot in the tunnel.
    pub(crate) slot: u32,
    pub(crate) config: PeerConfig,
    preshared: PresharedKey,
    /// The shared secret of the static keys; `None` without a private key, or if the result is zero.
    pub(crate) shared_secret: Option<SharedSecret>,
    pub(crate) endpoint: Option<Endpoint>,
    /// Its last UDP endpoint: the fallback when its stream ends.
    last_udp: Option<Endpoint>,
    pub(crate) cookie: PeerCookie,
    pub(crate) initiated: Option<Initiated>,
    last_initiation: Option<Instant>,
    /// The timestamps of its accepted initiations.
    pub(crate) timestamps: PeerTimestamps,
    pub(crate) last_accepted: Option<Instant>,
    pub(crate) sessions: Sessions,
    pub(crate) timers: Timers,
    pub(crate) scheduled: Option<Instant>,
    queue: VecDeque<PacketBuf>,
    pub(crate) shapers: Shapers,
    pub(crate) path: Path,
    /// Sessions in a row in which no hello came.
    ungreeted: u8,
    /// The suite that the owner knows of.
    reported_suite: Suite,
    hybrid: Hybrid,
    pub(crate) reassembly: Reassembly,
    pub(crate) bytes_sent: u64,
    pub(crate) bytes_received: u64,
    last_handshake: Option<Instant>,
    last_authentic: Option<Instant>,
    /// When the last answer to an initiation came, and how long it took.
    round_trip: Option<(Instant, Duration)>,
    /// Whether to report its next message ([`TunnelEvent::Heard`]).
    pub(crate) is_awaited: bool,
    pub(crate) drops: DropCounts,
}

impl Peer {
    pub(crate) fn new(slot: u32, config: PeerConfig, shared: &Shared) -> Self {
        let us = shared.us.as_ref();
        let secret = us.and_then(|us| us.identity.private.agree(&config.public_key));
        Self::with(slot, config, secret, shared)
    }

    fn with(
        slot: u32,
        config: PeerConfig,
        shared_secret: Option<SharedSecret>,
        shared: &Shared,
    ) -> Self {
        Self {
            slot,
            preshared: config.preshared_key.clone().unwrap_or_default(),
            shared_secret,
            endpoint: config.endpoint,
            last_udp: None,
            cookie: PeerCookie::new(&config.public_key),
            initiated: None,
            last_initiation: None,
            timestamps: PeerTimestamps::default(),
            last_accepted: None,
            sessions: Sessions::default(),
            timers: Timers::default(),
            scheduled: None,
            queue: VecDeque::new(),
            shapers: Shapers::default(),
            path: Path::new(shared.config.mtu),
            ungreeted: 0,
            reported_suite: Suite::default(),
            hybrid: Hybrid::default(),
            reassembly: Reassembly::default(),
            bytes_sent: 0,
            bytes_received: 0,
            last_handshake: None,
            last_authentic: None,
            round_trip: None,
            is_awaited: false,
            drops: DropCounts::new(),
            config,
        }
    }

    /// Whether its messages hold frames or packets.
    pub(crate) const fn layer_out(&self) -> Layer {
        match self.config.mode {
            PeerMode::Packets | PeerMode::Vxlan(_) => Layer::Packet,
            PeerMode::Frames(_) => Layer::Frame,
        }
    }

    /// Whether what comes from it is frames or packets; with VXLAN it may be both.
    pub(crate) const fn layer_in(&self) -> Layer {
        match self.config.mode {
            PeerMode::Packets => Layer::Packet,
            PeerMode::Vxlan(_) | PeerMode::Frames(_) => Layer::Frame,
        }
    }

    /// The bytes before a frame in its messages; 0 for packets.
    pub(crate) const fn prefix_len(&self) -> usize {
        match &self.config.mode {
            PeerMode::Packets => 0,
            PeerMode::Vxlan(vxlan) => vxlan.outer_len(),
            PeerMode::Frames(_) => FRAME_HEADER_LEN,
        }
    }

    /// Changes its configuration. Sessions continue unless the preshared key changes.
    pub(crate) fn set(&mut self, now: Instant, config: PeerConfig, shared: &mut Shared) {
        let interval = config.persistent_keepalive.filter(|interval| !interval.is_zero());
        let config = PeerConfig {
            persistent_keepalive: interval.map(|interval| interval.max(KEEPALIVE_MIN)),
            ..config
        };
        if config.preshared_key != self.config.preshared_key {
            self.preshared = config.preshared_key.clone().unwrap_or_default();
            self.end_sessions(shared);
        }
        shared.holds_keys(self.preshared.as_bytes());
        config.preshared_key.iter().for_each(|key| shared.holds_keys(key.as_bytes()));
        if let Some(endpoint) = config.endpoint {
            self.set_endpoint(endpoint, shared);
        }
        if config.persistent_keepalive != self.config.persistent_keepalive {
            // The first one is sent at once, as with `wg set`.
            self.timers.persistent = config.persistent_keepalive.map(|_| now);
        }
        self.shapers.set(config.shape_out, config.shape_in, || shared.random_u64());
        self.config = config;
        self.set_post_quantum(shared);
        self.schedule(shared);
    }

    /// Sets its endpoint. A pending handshake is retried there at once, at the earliest a fifth of Rekey-Timeout
    /// after its last initiation.
    pub(crate) fn set_endpoint(&mut self, endpoint: Endpoint, shared: &mut Shared) {
        if self.endpoint.replace(endpoint) != Some(endpoint) {
            self.path.moved(shared.config.mtu);
            let pause = shared.config.timing.rekey_timeout / 5;
            let earliest = self.last_initiation.map_or(Instant::ZERO, |last| last + pause);
            self.timers.retry = self.timers.retry.map(|due| due.min(earliest));
            if let Some(attempt) = &mut self.timers.attempt {
                attempt.unanswered = 0;
            }
            self.schedule(shared);
        }
    }

    /// Its stream has ended: falls back to the last UDP endpoint, or to the configured one.
    pub(crate) fn forget_endpoint(&mut self, shared: &mut Shared) {
        self.endpoint = None;
        // An earlier stream, which an owner may have set, has ended as well, or its port is that of another host.
        let udp = self.last_udp.or(self.config.endpoint);
        if let Some(endpoint) = udp.filter(|endpoint| matches!(endpoint, Endpoint::Udp(_))) {
            self.set_endpoint(endpoint, shared);
        }
    }

    /// Starts a handshake at another endpoint; the peer moves there if it answers. Does nothing while another
    /// handshake is under way.
    ///
    /// The peer sends to us by the new path once it received the initiation. If its answer is lost, the next
    /// initiation goes to the current endpoint after a fifth of Rekey-Timeout, which limits the loss.
    pub(crate) fn probe(
        &mut self,
        shared: &mut Shared,
        now: Instant,
        elsewhere: Endpoint,
        out: &mut Outbox,
    ) {
        if self.timers.retry.is_some() {
            return;
        }
        let here = self.endpoint.replace(elsewhere);
        self.initiate(shared, now, out);
        self.endpoint = here;
        self.timers.retry = Some(now + shared.config.timing.rekey_timeout / 5);
        self.schedule(shared);
    }

    /// Our private key has changed.
    pub(crate) fn set_identity(&mut self, shared: &mut Shared, out: &mut Outbox) {
        self.end_sessions(shared);
        self.drop_queue(shared, out, DropReason::NO_SESSION);
        let us = shared.us.as_ref();
        self.shared_secret = us.and_then(|us| us.identity.private.agree(&self.config.public_key));
    }

    /// Ends the handshake and all sessions, and erases their keys.
    pub(crate) fn end_sessions(&mut self, shared: &mut Shared) {
        self.abandon_handshake(shared);
        shared.end(self.sessions.clear());
        self.hybrid.exchange.clear();
        self.timers = Timers { persistent: self.timers.persistent, ..Timers::default() };
    }

    /// Erases the ephemeral key of our own initiation: no response to it is accepted any more.
    fn abandon_handshake(&mut self, shared: &mut Shared) {
        shared.free([self.initiated.take().map(|initiated| initiated.index)]);
    }

    /// Discards the packets that wait for a handshake.
    pub(crate) fn drop_queue(&mut self, shared: &mut Shared, out: &mut Outbox, why: DropReason) {
        while let Some(packet) = self.queue.pop_front() {
            shared.queued = shared.queued.saturating_sub(1);
            self.discard(packet, why, out);
        }
    }

    /// Discards a packet and counts it as a drop of this peer.
    pub(crate) fn discard(&mut self, packet: PacketBuf, why: DropReason, out: &mut Outbox) {
        self.drops.note(why);
        out.discard(packet, why);
    }

    pub(crate) fn remote<'a>(&'a self, secret: &'a SharedSecret) -> Remote<'a> {
        Remote { public: &self.config.public_key, shared: secret }
    }

    pub(crate) const fn preshared(&self) -> &PresharedKey {
        &self.preshared
    }

    /// Sends a packet or frame now, or queues it until a session exists.
    pub(crate) fn send(
        &mut self,
        shared: &mut Shared,
        now: Instant,
        packet: PacketBuf,
        out: &mut Outbox,
    ) {
        if self.can_send_data(now, shared) {
            return self.send_now(shared, now, packet, out);
        }
        if self.endpoint.is_none() || self.shared_secret.is_none() {
            return self.discard(packet, DropReason::NO_DESTINATION, out);
        }
        if self.is_refused() {
            self.discard(packet, NOT_POST_QUANTUM, out);
            return self.want_session(shared, now, out);
        }
        if self.queue.len() >= QUEUE_MAX
            && let Some(oldest) = self.queue.pop_front()
        {
            shared.queued = shared.queued.saturating_sub(1);
            self.discard(oldest, DropReason::QUEUE_FULL, out);
        }
        if shared.queued < QUEUED_MAX {
            shared.queued += 1;
            self.queue.push_back(packet);
        } else {
            self.discard(packet, DropReason::QUEUE_FULL, out);
        }
        self.want_session(shared, now, out);
    }

    pub(crate) fn can_send(&self, now: Instant, shared: &Shared) -> bool {
        let timing = &shared.config.timing;
        self.endpoint.is_some()
            && self.sessions.current.as_ref().is_some_and(|session| session.can_send(now, timing))
    }

    fn can_send_data(&self, now: Instant, shared: &Shared) -> bool {
        self.can_send(now, shared)
            && self.sessions.current.as_ref().is_some_and(|session| session.carries_data)
    }

    /// Sends the queued packets.
    fn send_queue(&mut self, shared: &mut Shared, now: Instant, out: &mut Outbox) {
        while let Some(packet) = self.queue.pop_front() {
            shared.queued = shared.queued.saturating_sub(1);
            self.send_now(shared, now, packet, out);
        }
    }

    /// Sends a keepalive, or starts a handshake that ends with one.
    pub(crate) fn send_keepalive(&mut self, shared: &mut Shared, now: Instant, out: &mut Outbox) {
        if self.can_send(now, shared) {
            self.send_message(shared, now, &[], 0, out);
        } else {
            self.want_session(shared, now, out);
        }
    }

    /// Starts a handshake, at most one per Rekey-Timeout (NDSS 2017, 6.4).
    pub(crate) fn want_session(&mut self, shared: &mut Shared, now: Instant, out: &mut Outbox) {
        if self.timers.retry.is_some() {
            // One is under way: this new demand restarts its Rekey-Attempt-Time.
            if let Some(attempt) = &mut self.timers.attempt {
                attempt.since = now;
            }
            return;
        }
        if let Some(due) = self.exchange_deadline(now, &shared.config.timing) {
            // A session with a post-quantum key follows from the one that there is.
            self.timers.retry = Some(due);
            *self.timers.attempt(now) = Attempt::new(now);
            return self.schedule(shared);
        }
        let earliest = self.last_initiation.map(|last| last + shared.config.timing.rekey_timeout);
        match earliest.filter(|&earliest| earliest > now) {
            None => {
                self.timers.attempt = None;
                self.initiate(shared, now, out);
            }
            Some(earliest) => {
                self.timers.retry = Some(earliest + shared.jitter());
                *self.timers.attempt(now) = Attempt::new(now);
            }
        }
        self.schedule(shared);
    }

    /// Moves to a new stream, which begins with an initiation whenever the last one was: the other side closes a
    /// stream that begins with a packet of a session that it does not have any more.
    pub(crate) fn connect_by(
        &mut self,
        shared: &mut Shared,
        now: Instant,
        stream: Endpoint,
        out: &mut Outbox,
    ) {
        self.set_endpoint(stream, shared);
        self.initiate(shared, now, out);
        self.schedule(shared);
    }

    /// Sends an initiation.
    pub(crate) fn initiate(&mut self, shared: &mut Shared, now: Instant, out: &mut Outbox) {
        let (Some(endpoint), Some(secret)) = (self.endpoint, self.shared_secret.clone()) else {
            return;
        };
        let timestamp = shared.timestamp(now);
        self.abandon_handshake(shared);
        let (ephemeral, index) = self.begin_handshake(shared);
        let Some(us) = &shared.us else { return shared.free([Some(index)]) };
        shared.holds_keys(ephemeral.as_bytes());
        let remote = self.remote(&secret);
        let made = Initiated::new(&us.identity, &remote, ephemeral, index, timestamp);
        let Some((initiated, message)) = made else { return shared.free([Some(index)]) };
        self.initiated = Some(initiated);
        self.last_initiation = Some(now);
        let timing = shared.config.timing;
        let is_first = self.timers.attempt(now).unanswered == 0;
        // A peer that is adit gets the second initiation soon: it follows from an exchange, or from a restart.
        let is_ours = self.path.is_ours() || self.had_post_quantum();
        let patience = timing.rekey_timeout / if is_first && is_ours { 5 } else { 1 };
        let jitter = shared.jitter();
        self.timers.retry = Some(now + patience + jitter);
        self.timers.sent(now, self.config.persistent_keepalive);
        if let Endpoint::Udp(address) = endpoint {
            // If the queue of requests is full, the next initiation repeats it.
            let _ = out.request(Request::Reroute(address));
        }
        let mut bytes: [u8; INITIATION_LEN] = message.to_bytes();
        self.send_handshake(shared, now, endpoint, &mut bytes, out);
    }

    /// Signs a handshake message and sends it.
    pub(crate) fn send_handshake(
        &mut self,
        shared: &Shared,
        now: Instant,
        to: Endpoint,
        bytes: &mut [u8],
        out: &mut Outbox,
    ) {
        self.cookie.sign(now, shared.config.timing.cookie_lifetime, bytes);
        if let Some(mut packet) = out.make(bytes.len()) {
            // It has that much room.
            let _ = packet.extend(bytes);
            self.bytes_sent += count(bytes.len());
            out.send(to, packet);
        }
    }

    /// Counts bytes sent in the current session.
    fn count_sent(&mut self, len: usize) {
        self.bytes_sent += count(len);
        if let Some(session) = &mut self.sessions.current {
            session.volume += count(len);
        }
    }

    /// Begins a session that we initiated.
    pub(crate) fn begin(
        &mut self,
        shared: &mut Shared,
        now: Instant,
        session: Session,
        out: &mut Outbox,
    ) {
        let gone = self.sessions.begin(session);
        shared.end(gone);
        let carries_data = self.sessions.current.as_ref().is_some_and(|it| it.carries_data);
        if carries_data && self.queue.is_empty() {
            // The responder may send once it has heard from us in the session (NDSS 2017, 5.4.6).
            self.send_keepalive(shared, now, out);
        }
        self.connected(shared, now, out);
    }

    /// The handshake is complete on both sides: packets can be sent.
    pub(crate) fn connected(&mut self, shared: &mut Shared, now: Instant, out: &mut Outbox) {
        self.last_handshake = Some(now);
        self.abandon_handshake(shared);
        self.timers.began(now, &shared.config.timing);
        if self.sessions.current.as_ref().is_some_and(|session| session.carries_data) {
            self.timers.completed();
            let peer = self.config.public_key;
            shared.event(TunnelEvent::Connected { peer, endpoint: self.endpoint });
            self.send_queue(shared, now, out);
        } else {
            // The attempt is over with a session that carries data.
            let due = self.exchange_deadline(now, &shared.config.timing).unwrap_or(now);
            self.timers.retry = self.timers.attempt.map(|_| due);
        }
        self.begin_exchange(shared, now, out);
        self.path.begin_session(now);
        self.begin_greeting(shared, now, out);
        self.schedule(shared);
    }

    /// Notes the response to our last initiation.
    pub(crate) fn answered(&mut self, now: Instant) {
        self.initiated = None;
        self.round_trip = self.last_initiation.map(|sent| (now, now.since(sent)));
    }

    /// Notes an authenticated message: the peer moves to its source (NDSS 2017, 2.1).
    pub(crate) fn heard(&mut self, shared: &mut Shared, now: Instant, from: Endpoint) {
        shared.handled.authenticated = true;
        self.last_authentic = Some(now);
        self.timers.received();
        if core::mem::take(&mut self.is_awaited) {
            shared.event(TunnelEvent::Heard { peer: self.config.public_key });
        }
        if self.endpoint != Some(from) {
            if matches!(from, Endpoint::Udp(_)) {
                self.last_udp = Some(from);
            }
            let before = self.endpoint.replace(from);
            let peer = self.config.public_key;
            self.path.moved(shared.config.mtu);
            shared.event(TunnelEvent::Moved { peer, from: before, to: from });
        }
    }

    /// Whether the peer is pinned to another endpoint, so that messages from this one are refused.
    pub(crate) fn refuses_endpoint(&self, now: Instant, from: Endpoint) -> bool {
        let Some(pinned) = self.config.pinned else { return false };
        let is_there = self.last_authentic.is_some_and(|last| now.since(last) < pinned);
        is_there && self.endpoint.is_some_and(|endpoint| endpoint != from)
    }

    /// Runs the timers that are due.
    pub(crate) fn handle_timeout(&mut self, shared: &mut Shared, now: Instant, out: &mut Outbox) {
        if is_due(&mut self.timers.forget, now) {
            let gone = self.sessions.clear();
            shared.end(gone);
            self.abandon_handshake(shared);
            self.hybrid.exchange.clear();
            if self.timers.attempt.is_none() {
                // Nothing was sent to it for minutes.
                self.timers.unanswered = None;
            }
        }
        self.run_exchange(shared, now, out);
        if is_due(&mut self.timers.retry, now) {
            self.retry(shared, now, out);
        }
        if is_due(&mut self.timers.keepalive, now) {
            let again = core::mem::take(&mut self.timers.keepalive_again);
            self.send_keepalive(shared, now, out);
            if again {
                self.timers.keepalive = Some(now + shared.config.timing.keepalive_timeout);
            }
        }
        if is_due(&mut self.timers.answer, now) {
            self.want_session(shared, now, out);
        }
        if is_due(&mut self.timers.persistent, now)
            && let Some(interval) = self.config.persistent_keepalive
        {
            // Sending sets it again, if there is an endpoint.
            self.timers.persistent = Some(now + interval);
            self.send_keepalive(shared, now, out);
        }
        self.greet(shared, now, out);
        self.probe_path(shared, now, out);
        self.run_shapers(shared, now, out);
        self.schedule(shared);
    }

    /// No response: sends another initiation, or gives up after Rekey-Attempt-Time (NDSS 2017, 6.4).
    fn retry(&mut self, shared: &mut Shared, now: Instant, out: &mut Outbox) {
        let is_held_back = self.is_held_back(now, &shared.config.timing);
        let Some(attempt) = &mut self.timers.attempt else { return };
        if is_held_back {
            // The first time it may have lost the session in which we asked.
            if self.has_failed() {
                self.refuse(shared);
                self.drop_queue(shared, out, NOT_POST_QUANTUM);
            }
        } else {
            attempt.unanswered = attempt.unanswered.saturating_add(1);
            let (peer, count) = (self.config.public_key, attempt.unanswered);
            shared.event(TunnelEvent::Unanswered { peer, count });
            let silent = now.since(attempt.reported) >= shared.config.timing.silent_after;
            if silent {
                attempt.reported = now;
                shared.event(TunnelEvent::Silent { peer: self.config.public_key });
            }
        }
        let Some(attempt) = &self.timers.attempt else { return };
        if now.since(attempt.since) >= shared.config.timing.rekey_attempt_time {
            self.timers.completed();
            self.abandon_handshake(shared);
            self.drop_queue(shared, out, DropReason::NO_SESSION);
            if self.timers.forget.is_none() {
                self.timers.began(now, &shared.config.timing);
            }
        } else {
            self.initiate(shared, now, out);
        }
    }

    /// Schedules the next wake-up for this peer.
    pub(crate) fn schedule(&mut self, shared: &mut Shared) {
        let hello = self.sessions.current.as_ref().and_then(|session| session.greeting.due());
        let offer = self.hybrid.exchange.due();
        let next = [
            self.timers.next(),
            hello,
            offer,
            self.path.next_timeout(),
            self.shapers.next_timeout(),
        ];
        let next = next.into_iter().flatten().min();
        shared.wakes.schedule(self.slot, &mut self.scheduled, next);
    }

    /// Its key, and the bytes received and sent.
    pub(crate) const fn traffic(&self) -> (PublicKey, [u64; 2]) {
        (self.config.public_key, [self.bytes_received, self.bytes_sent])
    }

    /// Adds what it counts to the totals.
    pub(crate) fn add_to(&self, totals: &mut Totals, since: Instant) {
        totals.received = totals.received.saturating_add(self.bytes_received);
        totals.sent = totals.sent.saturating_add(self.bytes_sent);
        totals.dropped = totals.dropped.saturating_add(self.drops.total());
        let answered = self.round_trip.filter(|(at, _)| *at > since).map(|(_, time)| time);
        totals.round_trip = totals.round_trip.max(answered);
    }

    pub(crate) fn status(&self, now: Instant, shared: &Shared) -> PeerStatus {
        PeerStatus {
            public_key: self.config.public_key,
            endpoint: self.endpoint,
            bytes_sent: self.bytes_sent,
            bytes_received: self.bytes_received,
            last_handshake: self.last_handshake,
            last_authentic: self.last_authentic,
            unanswered: self.timers.unanswered,
            round_trip: self.round_trip.map(|(_, time)| time),
            connected: self.can_send_data(now, shared),
            path_mtu: self.path.mtu(),
            extensions: self.path.is_ours(),
            suite: self.sessions.current.as_ref().map(|session| session.suite),
            post_quantum: self.post_quantum_status(),
            queued: self.queue.len() + self.shapers.len(),
            drops: self.drops.clone(),
        }
    }
}

/// A fresh private key.
pub(crate) fn new_key(shared: &mut Shared) -> PrivateKey {
    let mut bytes = zeroize::Zeroizing::new([0; KEY_LEN]);
    (shared.random)(bytes.as_mut_slice());
    PrivateKey::from_bytes(*bytes)
}

/// Converts a length for a counter.
pub(crate) fn count(len: usize) -> u64 {
    u64::try_from(len).unwrap_or(u64::MAX)
}
