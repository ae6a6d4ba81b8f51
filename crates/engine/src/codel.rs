//! Controlled delay: which packets of a queue must be dropped or marked, so that the queue does not stand.
//!
//! The queue itself is elsewhere: in a list, in a shaper, in a socket. Time is an argument.

use adit_packet::Instant;
use core::time::Duration;

/// The parameters of `CoDel` (RFC 8289, 4.2 and 4.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CoDel {
    /// The target queueing delay.
    pub target: Duration,
    /// The time above the target before the first drop: a typical round trip time.
    pub interval: Duration,
}

impl Default for CoDel {
    /// 5 ms and 100 ms.
    fn default() -> Self {
        Self { target: Duration::from_millis(5), interval: Duration::from_millis(100) }
    }
}

impl CoDel {
    /// When the next packet is dropped: sooner with each that was.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "nanoseconds, divided by at least 1; a float cast saturates"
    )]
    fn next(self, from: Instant, count: u32) -> Instant {
        let interval = u64::try_from(self.interval.as_nanos()).unwrap_or(u64::MAX);
        let part = (interval as f64 / libm::sqrt(f64::from(count.max(1)))) as u64;
        Instant::from_nanos(from.as_nanos().saturating_add(part))
    }
}

/// The state of `CoDel` on one queue (RFC 8289, 5).
#[derive(Clone, Copy, Debug, Default)]
pub struct Sojourn {
    /// Until when the delay must stay above the target for the first drop.
    first_above: Option<Instant>,
    dropping: bool,
    drop_next: Instant,
    count: u32,
    last_count: u32,
}

impl Sojourn {
    /// Takes a packet that leaves the queue at `now` after it `waited`. Returns whether to drop it, or to mark it in its
    /// place. If it is dropped, pass the packet after it to this method as well.
    #[inline]
    pub fn must_drop(&mut self, now: Instant, waited: Duration, law: CoDel) -> bool {
        if waited < law.target {
            self.rest();
            return false;
        }
        let until = *self.first_above.get_or_insert(now + law.interval);
        if now < until {
            self.dropping = false;
            return false;
        }
        if !self.dropping {
            self.dropping = true;
            // If it dropped not long ago it starts where the rate of drops was right.
            let new = self.count.saturating_sub(self.last_count);
            let recent = now.since(self.drop_next) < law.interval * 16;
            self.count = if new > 1 && recent { new } else { 1 };
            self.last_count = self.count;
            self.drop_next = law.next(now, self.count);
            return true;
        }
        if now < self.drop_next {
            return false;
        }
        self.count = self.count.saturating_add(1);
        self.drop_next = law.next(self.drop_next, self.count);
        true
    }

    /// Whether the queue has been above the target for an interval, up to the last packet.
    #[must_use]
    pub const fn stands(&self) -> bool {
        self.dropping
    }

    /// Notes that the queue does not stand: it is empty, or holds no more than a full packet.
    #[inline]
    pub const fn rest(&mut self) {
        self.first_above = None;
        self.dropping = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    fn drops(law: CoDel, waits: impl Fn(u64) -> u64) -> std::vec::Vec<u64> {
        let mut sojourn = Sojourn::default();
        let waits = |at: u64| Duration::from_millis(waits(at));
        (0..1000)
            .filter(|&at| sojourn.must_drop(Instant::from_nanos(at * MS), waits(at), law))
            .collect()
    }

    /// After an interval above the target the first drop, then each an interval divided by the root of their number after
    /// the one before.
    #[test]
    fn drops_come_sooner_and_sooner() {
        let times = drops(CoDel::default(), |_| 1000);
        let mut expected = 100.0;
        for (count, &time) in (1_u32..).zip(&times).take(15) {
            let late = f64::from(u32::try_from(time).unwrap()) - expected;
            assert!((0.0..=1.0).contains(&late), "{count}: {time}, not {expected}");
            expected += 100.0 / f64::from(count).sqrt();
        }
        assert!(times.len() > 15);
    }

    #[test]
    fn a_queue_that_drains_once_in_an_interval_loses_nothing() {
        assert_eq!(drops(CoDel::default(), |at| if at % 99 == 0 { 0 } else { 1000 }), []);
        assert_eq!(drops(CoDel::default(), |_| 4), []);
        let mut sojourn = Sojourn::default();
        for at in 0..1000 {
            if at % 99 == 0 {
                sojourn.rest();
            }
            let (now, waited) = (Instant::from_nanos(at * MS), Duration::from_secs(1));
            assert!(!sojourn.must_drop(now, waited, CoDel::default()));
        }
    }
}
