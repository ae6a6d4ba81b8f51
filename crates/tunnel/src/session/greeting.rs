//! Hellos: what two of adit say about one session, until each knows that the other has understood.

use core::time::Duration;

use adit_packet::Instant;

use crate::codec::codec;
use crate::frames::control::{Features, Hello};

/// Hellos that one side sends of itself in one session with a peer that is adit.
const TRIES: u8 = 5;
/// The same with a peer that may be another implementation.
const TRIES_UNKNOWN: u8 = 2;

/// The hellos of one session.
///
/// The initiator of the session says hello at once. The responder answers, and says hello itself only if none came
/// for a while. Each side repeats its hello until the other one shows that it received it.
#[derive(Debug, Default)]
pub(crate) struct Greeting {
    /// What we can do, once it matters, and what the peer can do, once it has said hello.
    ours: Option<Features>,
    theirs: Option<Features>,
    /// Whether the peer has received our hello.
    known: bool,
    /// Hellos that we may still send of ourselves.
    tries: u8,
    /// When the next one is due, and the time after which it is repeated.
    due: Option<Instant>,
    patience: Duration,
}

codec! { Greeting { ours, theirs, known, tries, due, patience } }

impl Greeting {
    /// Begins with the session. `patience` is the time after which the first hello is repeated.
    pub(crate) fn begin(&mut self, now: Instant, initiator: bool, ours: bool, patience: Duration) {
        self.tries = if ours { TRIES } else { TRIES_UNKNOWN };
        self.patience = patience;
        self.due = Some(if initiator { now } else { now + patience });
    }

    pub(crate) const fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Whether to send a hello now; the next one is due after twice the time.
    pub(crate) fn is_due(&mut self, now: Instant) -> bool {
        if self.due.is_none_or(|due| due > now) {
            return false;
        }
        self.tries = self.tries.saturating_sub(1);
        self.due = (self.tries > 0).then_some(now + self.patience);
        self.patience = self.patience.saturating_mul(2);
        true
    }

    /// Takes a hello of the peer. Returns whether it is the first one of this session. Features do not change within a
    /// session.
    pub(crate) fn heard(&mut self, now: Instant, hello: &Hello, patience: Duration) -> bool {
        self.known |= hello.known;
        if self.theirs.is_some() {
            return false;
        }
        self.theirs = Some(hello.features);
        (self.tries, self.patience) = (TRIES, patience);
        self.due = Some(now + patience);
        true
    }

    /// What we can do in this session: `features`, or what they were at first.
    pub(crate) fn ours(&mut self, features: Features) -> Features {
        *self.ours.get_or_insert(features)
    }

    /// What the peer can do in this session; `None` before its hello.
    pub(crate) const fn theirs(&self) -> Option<Features> {
        self.theirs
    }

    /// Whether each side has received the hello of the other.
    pub(crate) const fn is_mutual(&self) -> bool {
        self.known && self.theirs.is_some()
    }

    /// Whether all hellos were sent that this session has.
    pub(crate) const fn is_exhausted(&self) -> bool {
        self.tries == 0
    }

    /// Nothing is left to say: ends the repetition.
    pub(crate) const fn end(&mut self) {
        self.due = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn sent(greeting: &mut Greeting) -> std::vec::Vec<u64> {
        (0..100)
            .filter(|&second| greeting.is_due(Instant::ZERO + SECOND * second))
            .map(u64::from)
            .collect()
    }

    #[test]
    fn a_hello_is_repeated_ever_later_and_not_for_ever() {
        let mut greeting = Greeting::default();
        greeting.begin(Instant::ZERO, true, true, SECOND);
        assert_eq!(sent(&mut greeting), [0, 1, 3, 7, 15]);
        greeting.begin(Instant::ZERO, true, false, SECOND);
        assert_eq!(sent(&mut greeting), [0, 1], "another implementation is not asked for long");
        greeting.begin(Instant::ZERO, false, true, SECOND);
        assert_eq!(sent(&mut greeting), [1, 2, 4, 8, 16], "the responder waits to be greeted");
    }

    #[test]
    fn the_first_hello_of_a_session_counts() {
        let mut greeting = Greeting::default();
        greeting.begin(Instant::ZERO, false, false, SECOND);
        let hello = |known, features| Hello { known, features: Features(features), index: 0 };
        assert!(greeting.heard(Instant::ZERO, &hello(false, 5), SECOND));
        assert_eq!((greeting.theirs(), greeting.is_mutual()), (Some(Features(5)), false));
        assert_eq!(greeting.due(), Some(Instant::ZERO + SECOND), "the answer may be lost");
        assert!(!greeting.heard(Instant::ZERO, &hello(true, 7), SECOND));
        assert_eq!((greeting.theirs(), greeting.is_mutual()), (Some(Features(5)), true));
        greeting.end();
        assert_eq!(sent(&mut greeting), []);
    }
}
