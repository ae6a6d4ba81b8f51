//! The timers of one peer (NDSS 2017, 6.1 to 6.5).

use core::time::Duration;

use adit_packet::Instant;

use crate::codec::codec;
use crate::timing::Timing;

/// What a peer waits for; `None` where it does not.
///
/// | timer        | set                                             | unset                      | when it is due |
/// |--------------|-------------------------------------------------|----------------------------|----------------|
/// | `retry`      | an initiation was sent                          | a response came            | initiate again, or give up |
/// | `keepalive`  | data came, and it is not set                    | anything was sent          | send a keepalive |
/// | `answer`     | data was sent, and it is not set                | anything authentic came    | initiate: nothing comes back |
/// | `persistent` | anything was sent, if wanted                    |                            | send a keepalive |
/// | `forget`     | a session began                                 |                            | end all sessions |
#[derive(Clone, Debug, Default)]
pub(crate) struct Timers {
    pub(crate) retry: Option<Instant>,
    pub(crate) keepalive: Option<Instant>,
    /// Data came while `keepalive` was set: another one follows.
    pub(crate) keepalive_again: bool,
    pub(crate) answer: Option<Instant>,
    pub(crate) persistent: Option<Instant>,
    pub(crate) forget: Option<Instant>,
    /// When the first and the last initiation of this attempt were sent.
    pub(crate) attempt: Option<Attempt>,
    /// Since when the peer owes an answer: to data, or to an initiation.
    pub(crate) unanswered: Option<Instant>,
}

/// A handshake that is being tried.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Attempt {
    pub(crate) since: Instant,
    /// When the peer was last reported silent, at first the same as `since`.
    pub(crate) reported: Instant,
    /// Whether a cookie has brought the next initiation forward.
    pub(crate) hurried: bool,
    /// Initiations in a row that were not answered where the peer is thought to be.
    pub(crate) unanswered: u8,
}

codec! { Attempt { since, reported, hurried, unanswered } }

impl Attempt {
    pub(crate) const fn new(now: Instant) -> Self {
        Self { since: now, reported: now, hurried: false, unanswered: 0 }
    }
}

codec! {
    Timers { retry, keepalive, keepalive_again, answer, persistent, forget, attempt, unanswered }
}

impl Timers {
    /// The next moment at which something is due.
    pub(crate) fn next(&self) -> Option<Instant> {
        [self.retry, self.keepalive, self.answer, self.persistent, self.forget]
            .into_iter()
            .flatten()
            .min()
    }

    /// Any message was sent that the peer will authenticate.
    pub(crate) fn sent(&mut self, now: Instant, persistent: Option<Duration>) {
        self.keepalive = None;
        self.keepalive_again = false;
        // What is received does not count: it is what we send that keeps a NAT's mapping.
        if let Some(interval) = persistent {
            self.persistent = Some(now + interval);
        }
    }

    /// Data was sent, not only a keepalive: an answer is expected, at least a keepalive.
    pub(crate) fn sent_data(&mut self, now: Instant, timing: &Timing, jitter: Duration) {
        if self.answer.is_none() {
            self.answer = Some(now + timing.keepalive_timeout + timing.rekey_timeout + jitter);
            self.unanswered.get_or_insert(now);
        }
    }

    /// A handshake is tried, unless one was already: that attempt, for the caller to note what it did.
    pub(crate) fn attempt(&mut self, now: Instant) -> &mut Attempt {
        self.unanswered.get_or_insert(now);
        self.attempt.get_or_insert(Attempt::new(now))
    }

    /// An authenticated message arrived.
    pub(crate) const fn received(&mut self) {
        self.answer = None;
        self.unanswered = None;
    }

    /// Data came, not only a keepalive: the peer expects an answer.
    ///
    /// A keepalive is not data, so two idle peers do not keep each other awake.
    pub(crate) fn received_data(&mut self, now: Instant, timing: &Timing) {
        if self.keepalive.is_none() {
            self.keepalive = Some(now + timing.keepalive_timeout);
        } else {
            self.keepalive_again = true;
        }
    }

    /// A session began: it is erased three lifetimes later, with all handshake state.
    pub(crate) fn began(&mut self, now: Instant, timing: &Timing) {
        self.forget = Some(now + timing.reject_after_time * 3);
    }

    /// A handshake completed, on either side's initiative, or was given up.
    pub(crate) fn completed(&mut self) {
        self.retry = None;
        self.attempt = None;
    }
}

/// Whether a timer is due; if so it is unset.
pub(crate) fn is_due(timer: &mut Option<Instant>, now: Instant) -> bool {
    timer.take_if(|due| *due <= now).is_some()
}
