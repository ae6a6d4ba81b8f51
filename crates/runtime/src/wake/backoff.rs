//! Pauses of something that fails again and again, so that a permanent error costs no time.

use adit_packet::Instant;
use std::time::Duration;

/// How many failures in a row cost no pause: errors that are reported once come in bursts.
const FREE: u8 = 16;

/// The first pause, doubled up to the last.
const FIRST: Duration = Duration::from_millis(1);
const LAST: Duration = Duration::from_secs(1);

/// When a read that failed is repeated.
#[derive(Debug, Default)]
pub(crate) struct Backoff {
    failures: u8,
    delay: Duration,
    until: Option<Instant>,
}

impl Backoff {
    /// It failed; from [`FREE`] failures in a row on it is paused.
    pub(crate) fn failed(&mut self, now: Instant) {
        self.failures = self.failures.saturating_add(1);
        if self.failures > FREE {
            self.pause(now);
        }
    }

    /// Pauses it at once.
    pub(crate) fn pause(&mut self, now: Instant) {
        self.delay = (self.delay * 2).clamp(FIRST, LAST);
        self.until = Some(now + self.delay);
    }

    /// It worked.
    #[inline]
    pub(crate) fn succeeded(&mut self) {
        if self.failures != 0 {
            *self = Self::default();
        }
    }

    /// The end of the pause, while it is paused.
    pub(crate) fn until(&self) -> Option<Instant> {
        self.until
    }

    /// Ends a pause that is over; whether there was one.
    pub(crate) fn resume(&mut self, now: Instant) -> bool {
        let is_over = self.until.is_some_and(|until| until <= now);
        if is_over {
            self.until = None;
        }
        is_over
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pauses_grow_to_a_second_and_end_with_a_success() {
        let (mut backoff, mut now) = (Backoff::default(), Instant::ZERO);
        let mut tries = 0;
        while now < Instant::ZERO + Duration::from_secs(60) {
            backoff.failed(now);
            tries += 1;
            if let Some(until) = backoff.until() {
                assert!(until - now <= LAST);
                now = until;
                assert!(backoff.resume(now));
            }
        }
        assert!(tries < 100, "{tries} tries in a minute");
        backoff.succeeded();
        backoff.failed(now);
        assert_eq!(backoff.until(), None);
    }
}
