//! The timers of one peer (NDSS 2017, 6.1 to 6.5).

use core::time::Duration;

use adit_packet::Instant;

use super::Timing;

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
pub(super) struct Timers {
    pub(super) retry: Option<Instant>,
    pub(super) keepalive: Option<Instant>,
    /// Data came while `keepalive` was set: another one follows.
    pub(super) keepalive_again: bool,
    pub(super) answer: Option<Instant>,
    pub(super) persistent: Option<Instant>,
    pub(super) forget: Option<Instant>,
    /// When the first and the last initiation of this attempt were sent.
    pub(super) attempt: Option<Attempt>,
}

/// A handshake that is being tried.
#[derive(Clone, Copy, Debug)]
pub(super) struct Attempt {
    pub(super) since: Instant,
    /// When the peer was last reported silent, at first the same as `since`.
    pub(super) reported: Instant,
    /// Whether a cookie has brought the next initiation forward.
    pub(super) hurried: bool,
    /// Initiations in a row that were not answered where the peer is thought to be.
    pub(super) unanswered: u8,
}

impl Attempt {
    pub(super) const fn new(now: Instant) -> Self {
        Self { since: now, reported: now, hurried: false, unanswered: 0 }
    }
}

impl Timers {
    /// The next moment at which something is due.
    pub(super) fn next(&self) -> Option<Instant> {
        [self.retry, self.keepalive, self.answer, self.persistent, self.forget]
            .into_iter()
            .flatten()
            .min()
    }

    /// Any message was sent that the peer will authenticate.
    pub(super) fn sent(&mut self, now: Instant, persistent: Option<Duration>) {
        self.keepalive = None;
        self.keepalive_again = false;
        // What is received does not count: it is what we send that keeps a NAT's mapping.
        if let Some(interval) = persistent {
            self.persistent = Some(now + interval);
        }
    }

    /// Data was sent, not only a keepalive: an answer is expected, be it a keepalive.
    pub(super) fn sent_data(&mut self, now: Instant, timing: &Timing, jitter: Duration) {
        if self.answer.is_none() {
            self.answer = Some(now + timing.keepalive_timeout + timing.rekey_timeout + jitter);
        }
    }

    /// Any message came that authenticated.
    pub(super) const fn received(&mut self) {
        self.answer = None;
    }

    /// Data came, not only a keepalive: the peer expects an answer.
    ///
    /// A keepalive is no data, so two peers with nothing to say do not keep each other awake.
    pub(super) fn received_data(&mut self, now: Instant, timing: &Timing) {
        if self.keepalive.is_none() {
            self.keepalive = Some(now + timing.keepalive_timeout);
        } else {
            self.keepalive_again = true;
        }
    }

    /// A session began: it is forgotten three lifetimes later, with whatever is left of handshakes.
    pub(super) fn began(&mut self, now: Instant, timing: &Timing) {
        self.forget = Some(now + timing.reject_after_time * 3);
    }

    /// A handshake was completed, whoever initiated it, or is given up.
    pub(super) fn completed(&mut self) {
        self.retry = None;
        self.attempt = None;
    }
}

/// Whether a timer is due; if so it is unset.
pub(super) fn is_due(timer: &mut Option<Instant>, now: Instant) -> bool {
    timer.take_if(|due| *due <= now).is_some()
}
