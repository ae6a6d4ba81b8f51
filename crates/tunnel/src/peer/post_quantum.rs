//! Post-quantum keys for the sessions with a peer: when they are exchanged, and what is refused without them.

use alloc::sync::Arc;

use adit_engine::Outbox;
use adit_packet::Instant;

use crate::config::PostQuantum;
use crate::frames::control::Features;
use crate::keys::PrivateKey;
use crate::noise::Hash;
use crate::peer::{Peer, new_key};
use crate::post_quantum::Hybrid;
use crate::post_quantum::exchange::{Ends, Overdue};
use crate::post_quantum::key::HandshakeKey;
use crate::post_quantum::message::{ExchangeMessage, accept, offer};
use crate::session::Session;
use crate::shared::Shared;
use crate::status::{PostQuantumStatus, TunnelEvent};
use crate::timing::Timing;

/// An exchange that takes so many fifths of Rekey-Timeout has failed; the responder of its session waits for one more.
const PATIENCE: u32 = 3;
/// Failed exchanges in a row after which a session that carries data stays as it is.
const FAILURES_MAX: u8 = 2;

impl Peer {
    /// What the configuration says. It is nothing for another implementation.
    const fn post_quantum(&self) -> PostQuantum {
        if self.config.extensions { self.config.post_quantum } else { PostQuantum::Off }
    }

    pub(super) const fn has_post_quantum(&self) -> bool {
        !matches!(self.post_quantum(), PostQuantum::Off)
    }

    /// Whether no data may cross without a post-quantum key.
    const fn needs_post_quantum(&self) -> bool {
        match self.post_quantum() {
            PostQuantum::Off => false,
            PostQuantum::Prefer => self.hybrid.had,
            PostQuantum::Require => true,
        }
    }

    /// Whether a session with the peer ever had a post-quantum key.
    pub(crate) const fn had_post_quantum(&self) -> bool {
        self.hybrid.had
    }

    /// The peer had one before a restart.
    pub(crate) const fn remember_post_quantum(&mut self) {
        self.hybrid.had = self.has_post_quantum();
    }

    pub(super) fn post_quantum_status(&self) -> PostQuantumStatus {
        let current = self.sessions.current.as_ref();
        if current.is_some_and(|session| session.post_quantum.is_some()) {
            PostQuantumStatus::Active
        } else if self.hybrid.refused {
            PostQuantumStatus::Refused
        } else if self.has_post_quantum() {
            PostQuantumStatus::Inactive
        } else {
            PostQuantumStatus::Off
        }
    }

    /// The configuration was changed.
    pub(super) fn set_post_quantum(&mut self, shared: &mut Shared) {
        if !self.has_post_quantum() {
            self.hybrid = Hybrid::default();
        }
        let current = self.sessions.current.as_ref();
        if !self.needs_post_quantum() {
            self.hybrid.refused = false;
            self.sessions.all().for_each(|session| session.carries_data = true);
        } else if current.is_some_and(|it| it.carries_data && it.post_quantum.is_none()) {
            self.end_sessions(shared);
        }
    }

    /// Notes with which key a session began, and whether it carries data.
    pub(crate) fn mark(&self, session: &mut Session, key: Option<u32>) {
        session.post_quantum = key;
        session.carries_data = key.is_some() || !self.needs_post_quantum();
    }

    /// The ephemeral key and the index of our next initiation, and the preshared key that the index stands for.
    pub(super) fn begin_handshake(&mut self, shared: &mut Shared) -> (PrivateKey, u32) {
        let key = self.hybrid.exchange.begin_handshake();
        loop {
            let ephemeral = new_key(shared);
            let Some(key) = key else { return (ephemeral, shared.new_index(self.slot)) };
            let index = key.index_of(&ephemeral.public_key().0);
            if shared.take_index(index, self.slot) {
                return (ephemeral, index);
            }
        }
    }

    /// The post-quantum key of our initiation under way.
    pub(crate) const fn initiated_with(&self) -> Option<&HandshakeKey> {
        self.hybrid.exchange.initiated_with()
    }

    /// The post-quantum key that a received initiation stands for, and whether it was never used.
    pub(crate) fn key_of_initiation(
        &self,
        ephemeral: &Hash,
        index: u32,
    ) -> Option<(HandshakeKey, bool)> {
        let (key, is_new) = self.hybrid.exchange.of_initiation(ephemeral, index)?;
        Some((key.clone(), is_new))
    }

    /// At the start of a session: offers a key if nothing crosses without one. Otherwise the hello of the peer shows
    /// first whether it would answer.
    pub(super) fn begin_exchange(&mut self, shared: &mut Shared, now: Instant, out: &mut Outbox) {
        let Some(session) = &self.sessions.current else { return };
        if let Some(number) = session.post_quantum {
            self.hybrid.exchange.confirmed(number);
            (self.hybrid.had, self.hybrid.refused, self.hybrid.failures) = (true, false, 0);
        } else if session.initiator {
            self.hybrid.exchange.lost();
            if self.needs_post_quantum() {
                self.offer(shared, now, out);
            }
        } else if self.hybrid.exchange.has_new_key() {
            // Both sides initiated; the peer's session has ended our handshake.
            self.initiate(shared, now, out);
        }
    }

    /// The first hello of the peer came in the session of that index.
    pub(super) fn greeted(
        &mut self,
        shared: &mut Shared,
        now: Instant,
        index: u32,
        out: &mut Outbox,
    ) {
        let Some(session) = self.sessions.current.as_ref().filter(|it| it.index == index) else {
            return;
        };
        let theirs = session.greeting.theirs().unwrap_or_default();
        let is_free = session.post_quantum.is_none() && !self.hybrid.exchange.is_under_way();
        let offers = session.initiator && is_free && self.hybrid.failures < FAILURES_MAX;
        if !theirs.contains(Features::POST_QUANTUM) {
            if self.needs_post_quantum() {
                self.refuse(shared);
            }
        } else if offers && self.has_post_quantum() {
            self.offer(shared, now, out);
        }
    }

    /// Renews a session. One with a post-quantum key gets a new key first; the handshake follows.
    pub(crate) fn renew(&mut self, shared: &mut Shared, now: Instant, out: &mut Outbox) {
        let session = self.sessions.current.as_ref();
        let has_key = session.is_some_and(|session| session.post_quantum.is_some());
        let goes_on = self.timers.retry.is_some() || self.hybrid.exchange.has_new_key();
        if !has_key || goes_on {
            self.hybrid.failures = 0;
            self.want_session(shared, now, out);
        } else if !self.hybrid.exchange.is_under_way() {
            self.offer(shared, now, out);
        }
    }

    /// Makes a key pair and offers it in the current session.
    fn offer(&mut self, shared: &mut Shared, now: Instant, out: &mut Outbox) {
        let Some(session) = &self.sessions.current else { return };
        let (index, due) = (session.index, now + patience(&shared.config.timing));
        self.hybrid.exchange.begin(due, index, &session.exporter, &mut *shared.random);
        self.send_offer(shared, now, index, out);
        self.schedule(shared);
    }

    fn send_offer(&mut self, shared: &mut Shared, now: Instant, index: u32, out: &mut Outbox) {
        let Some((number, public)) = self.hybrid.exchange.offer() else { return };
        self.send_exchange(shared, now, index, &offer(number, &public), out);
    }

    fn send_exchange(
        &mut self,
        shared: &mut Shared,
        now: Instant,
        index: u32,
        message: &[u8],
        out: &mut Outbox,
    ) {
        let Some(session) = self.sessions.by_index(index) else { return };
        let key = Arc::clone(&session.send);
        self.send_under(&key, shared, now, message, message.len(), out);
    }

    /// Repeats an offer that was not answered.
    pub(super) fn run_exchange(&mut self, shared: &mut Shared, now: Instant, out: &mut Outbox) {
        match self.hybrid.exchange.overdue(now, patience(&shared.config.timing)) {
            None => {}
            Some(Overdue::Repeat(index)) => self.send_offer(shared, now, index, out),
            Some(Overdue::Failed) => self.exchange_failed(shared, now, out),
        }
    }

    /// No answer: most likely the peer has lost the session, which a handshake shows.
    fn exchange_failed(&mut self, shared: &mut Shared, now: Instant, out: &mut Outbox) {
        self.hybrid.failures = self.hybrid.failures.saturating_add(1);
        let Some(session) = &self.sessions.current else { return };
        if session.post_quantum.is_some() {
            self.want_session(shared, now, out);
        } else if session.carries_data
            && self.hybrid.failures < FAILURES_MAX
            && self.timers.retry.is_none()
        {
            self.initiate(shared, now, out);
        }
    }

    /// Handles a message of an exchange, which came in the session of that index.
    pub(super) fn handle_exchange(
        &mut self,
        shared: &mut Shared,
        now: Instant,
        index: u32,
        message: &ExchangeMessage<'_>,
        out: &mut Outbox,
    ) {
        let Some(us) = shared.us.as_ref().filter(|_| self.has_post_quantum()) else { return };
        let (ours, theirs) = (us.identity.public, self.config.public_key);
        let preshared = self.preshared.clone();
        let ends = Ends { ours: &ours, theirs: &theirs, preshared: &preshared };
        match *message {
            ExchangeMessage::Offer { number, public } => {
                let Some(session) = self.sessions.by_index(index) else { return };
                let secret = session.exporter.clone();
                let gap = shared.config.timing.initiation_gap;
                let (exchange, random) = (&mut self.hybrid.exchange, &mut *shared.random);
                match exchange.answer(now, gap, &ends, &secret, public, random) {
                    Ok(ciphertext) => {
                        if let Some(endpoint) = self.endpoint {
                            shared.limiter.expect(shared.source_of(endpoint));
                        }
                        let message = accept(number, &ciphertext);
                        self.send_exchange(shared, now, index, &message, out);
                    }
                    Err(why) => self.drops.note(why),
                }
            }
            ExchangeMessage::Accept { number, ciphertext } => {
                if self.hybrid.exchange.take_answer(&ends, number, ciphertext) {
                    self.initiate(shared, now, out);
                }
            }
        }
    }

    /// When a session that carries no data counts as refused; `None` if it carries data, or does so already.
    pub(super) fn exchange_deadline(&self, now: Instant, timing: &Timing) -> Option<Instant> {
        let session = self.sessions.current.as_ref()?;
        let waits = PATIENCE + u32::from(!session.initiator);
        let time = if self.hybrid.refused { timing.silent_after } else { patience(timing) * waits };
        let due = session.born + time;
        (!session.carries_data && session.is_alive(now, timing) && due > now).then_some(due)
    }

    /// Whether the peer does not answer exchanges.
    pub(super) const fn has_failed(&self) -> bool {
        self.hybrid.failures >= FAILURES_MAX
    }

    /// Whether the peer is known to have no post-quantum key although it must have one.
    pub(super) const fn is_refused(&self) -> bool {
        self.hybrid.refused
    }

    /// Whether the peer has answered our last initiation, but not with a session that carries data.
    pub(super) fn is_held_back(&self, now: Instant, timing: &Timing) -> bool {
        self.sessions.current.as_ref().is_some_and(|session| {
            !session.carries_data
                && session.is_alive(now, timing)
                && self.last_initiation.is_none_or(|last| last <= session.born)
        })
    }

    /// Data came in a session that carries none.
    pub(crate) fn data_refused(&mut self, shared: &mut Shared, now: Instant) {
        let timing = shared.config.timing;
        if self.is_held_back(now, &timing) && self.exchange_deadline(now, &timing).is_none() {
            self.refuse(shared);
        }
    }

    /// The peer must have a post-quantum key, and has none: reports it, once.
    pub(super) fn refuse(&mut self, shared: &mut Shared) {
        if !core::mem::replace(&mut self.hybrid.refused, true) {
            shared.event(TunnelEvent::NotPostQuantum { peer: self.config.public_key });
        }
    }
}

/// The time after which a message of an exchange is repeated.
fn patience(timing: &Timing) -> core::time::Duration {
    timing.rekey_timeout / 5
}
