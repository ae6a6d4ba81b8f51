//! Control messages between two of adit: hellos, and which part of the peer handles the others.

use alloc::sync::Arc;

use adit_engine::Outbox;
use adit_packet::Instant;

use crate::frames::control::{Control, Features, Hello};
use crate::peer::Peer;
use crate::post_quantum::message::ExchangeMessage;
use crate::session::Session;
use crate::shared::Shared;
use crate::status::TunnelEvent;
use crate::suite::Suite;

/// Sessions without an answer after which a peer counts as another implementation, and is greeted no more.
const UNGREETED_MAX: u8 = 3;

impl Peer {
    /// What we can do with this peer.
    fn features(&self, shared: &Shared) -> Features {
        let suites = self.config.suite.features(shared.config.aes_is_faster);
        if self.has_post_quantum() { suites.with(Features::POST_QUANTUM) } else { suites }
    }

    /// At the start of a session: says hello to a peer that may be adit.
    pub(super) fn begin_greeting(&mut self, shared: &mut Shared, now: Instant, out: &mut Outbox) {
        let is_ours = self.path.is_ours();
        if !self.config.extensions || !is_ours && self.ungreeted >= UNGREETED_MAX {
            return;
        }
        self.ungreeted = self.ungreeted.saturating_add(1);
        let patience = shared.config.timing.rekey_timeout / 5;
        if let Some(session) = &mut self.sessions.current {
            session.greeting.begin(now, session.initiator, is_ours, patience);
        }
        self.greet(shared, now, out);
    }

    /// Sends a hello if one is due.
    pub(super) fn greet(&mut self, shared: &mut Shared, now: Instant, out: &mut Outbox) {
        let Some(session) = &mut self.sessions.current else { return };
        if session.is_settled() {
            session.greeting.end();
        }
        if session.greeting.is_due(now) && session.can_send(now, &shared.config.timing) {
            let index = session.index;
            self.say_hello(shared, now, index, out);
            self.report_suite(shared);
        }
    }

    /// Reports the suite of the current session, if it is another one than before.
    fn report_suite(&mut self, shared: &mut Shared) {
        let current = self.sessions.current.as_ref();
        if let Some(suite) = current.and_then(Session::final_suite)
            && core::mem::replace(&mut self.reported_suite, suite) != suite
        {
            shared.event(TunnelEvent::Cipher { peer: self.config.public_key, suite });
        }
    }

    /// Sends a hello in the session of that index.
    fn say_hello(&mut self, shared: &mut Shared, now: Instant, session: u32, out: &mut Outbox) {
        let features = self.features(shared);
        let Some(session) = self.sessions.by_index(session) else { return };
        let hello = Control::Hello(Hello {
            known: session.greeting.theirs().is_some(),
            features: session.greeting.ours(features),
            index: session.upgrade.as_ref().map_or(0, |upgrade| upgrade.index),
        });
        let hello = hello.to_bytes();
        let key = Arc::clone(&session.send);
        self.send_under(&key, shared, now, &hello, hello.len(), out);
    }

    /// Handles a control message, without its first byte and padding, that came in the session of that index.
    pub(crate) fn handle_control(
        &mut self,
        shared: &mut Shared,
        now: Instant,
        session: u32,
        text: &[u8],
        out: &mut Outbox,
    ) {
        if !self.config.extensions {
            return;
        }
        // A session may have two indices.
        let session = self.sessions.by_index(session).map_or(session, |session| session.index);
        match Control::parse(text) {
            Some(Control::Hello(hello)) => self.handle_hello(shared, now, session, &hello, out),
            Some(Control::Probe { number, len }) => {
                let answer = Control::Answer { number, len }.to_bytes();
                self.send_message(shared, now, &answer, answer.len(), out);
            }
            Some(Control::Answer { number, .. }) => self.probe_answered(shared, now, number),
            None => {
                if let Some(message) = ExchangeMessage::parse(text) {
                    self.handle_exchange(shared, now, session, &message, out);
                }
            }
        }
        self.schedule(shared);
    }

    /// Handles a hello. It is about the session that it came in, which need not be the current one: if both sides
    /// initiated at the same time, each sends in another session.
    fn handle_hello(
        &mut self,
        shared: &mut Shared,
        now: Instant,
        index: u32,
        hello: &Hello,
        out: &mut Outbox,
    ) {
        self.path.found_ours(now);
        self.ungreeted = 0;
        let timing = shared.config.timing;
        let features = self.features(shared);
        let Some(session) = self.sessions.by_index(index) else { return };
        let is_first = session.greeting.heard(now, hello, timing.rekey_timeout / 5);
        let ours = session.greeting.ours(features);
        if is_first && let Some(suite) = Suite::agreed(ours, hello.features) {
            let ours = shared.new_index(self.slot);
            shared.holds_keys(&*session.accept_suite(suite, ours).recv);
        }
        if hello.index != 0 && session.switch_suite(hello.index) {
            shared.holds_keys(&*session.send);
        }
        if !session.can_send(now, &timing) {
            return;
        }
        if is_first || !hello.known {
            self.say_hello(shared, now, index, out);
        } else if hello.index != 0 && session.suite != Suite::default() {
            // Shows the peer that its index has arrived.
            let key = Arc::clone(&session.send);
            self.send_under(&key, shared, now, &[], 0, out);
        }
        self.report_suite(shared);
        if is_first {
            self.greeted(shared, now, index, out);
        }
    }
}
