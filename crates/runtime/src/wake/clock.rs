//! Time: `CLOCK_BOOTTIME`, which continues while the machine sleeps and never jumps.

use adit_packet::Instant;
use rustix::time::{
    ClockId, Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, clock_gettime,
    timerfd_create, timerfd_settime,
};
use std::io;
use std::num::NonZeroU64;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

const NANOS: u64 = 1_000_000_000;

/// The system calls of this file.
pub(crate) const SYSCALLS: &[&str] = &["clock_gettime", "read", "timerfd_settime"];

/// Returns the current time.
pub fn now() -> Instant {
    let now = clock_gettime(ClockId::Boottime);
    let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
    let nanos = u64::try_from(now.tv_nsec).unwrap_or(0);
    Instant::from_nanos(seconds.saturating_mul(NANOS).saturating_add(nanos))
}

/// A timer whose descriptor becomes readable at a given time.
///
/// The kernel wakes a thread late, by a nearly constant time: an idle core needs it to wake up. The timer
/// is set earlier by that time.
#[derive(Debug)]
pub(crate) struct Timer {
    fd: OwnedFd,
    /// The time that is set in the kernel.
    set: Option<Instant>,
    latency: WakeLatency,
}

impl Timer {
    /// Work that is due within this time may be done at once: another sleep would take longer.
    pub(crate) const EARLY_MAX: Duration = Duration::from_micros(5);

    /// Creates a timer that is not set. Also sets the timer slack of this thread to 1 ns: by default the
    /// kernel delays timers by up to 50 us to combine wake-ups.
    pub(crate) fn new() -> io::Result<Self> {
        // A sandbox may forbid it. Timers are then late, nothing else.
        let _ = rustix::thread::set_current_timer_slack(NonZeroU64::new(1));
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let fd = timerfd_create(TimerfdClockId::Boottime, flags)?;
        Ok(Self { fd, set: None, latency: WakeLatency::default() })
    }

    /// Sets the timer so that the thread is awake at `at`; `None` disarms it. A timer that is set to an
    /// earlier time in the future stays as it is: a deadline that traffic postpones again and again then
    /// costs one early wake, not a system call each time.
    pub(crate) fn set(&mut self, at: Option<Instant>, now: Instant) -> io::Result<()> {
        let at = at.map(|at| self.latency.before(at, now));
        let is_early = self.set.is_some_and(|set| set > now && at.is_none_or(|at| set <= at));
        if is_early || self.set == at {
            return Ok(());
        }
        // Zero means never, so the first nanosecond is the earliest.
        let nanos = at.map_or(0, |at| at.as_nanos().max(1));
        let value = Timespec {
            tv_sec: i64::try_from(nanos / NANOS).unwrap_or(i64::MAX),
            tv_nsec: i64::try_from(nanos % NANOS).unwrap_or(0),
        };
        let interval = Timespec { tv_sec: 0, tv_nsec: 0 };
        let spec = Itimerspec { it_interval: interval, it_value: value };
        timerfd_settime(&self.fd, TimerfdTimerFlags::ABSTIME, &spec)?;
        self.set = at;
        Ok(())
    }

    /// Returns the minimum age of the event that woke the thread: half of the estimated latency, because
    /// the sender may have run on a core that was awake.
    pub(crate) fn wake_age(&self) -> Duration {
        self.latency.0 / 2
    }

    /// Measures the latency of a wake. Call it at `now` when the timer is readable, then set the timer
    /// again, which makes it unreadable.
    pub(crate) fn fired(&mut self, now: Instant) {
        if let Some(set) = self.set.replace(Instant::ZERO) {
            self.latency.learn(now - set);
        }
    }
}

/// A low estimate of how late a timer wakes the thread: the timer is set early by it.
#[derive(Debug, Default)]
struct WakeLatency(Duration);

impl WakeLatency {
    /// The maximum. A longer delay means that the core was busy, not that it slept.
    const MAX: Duration = Duration::from_micros(50);

    /// Updates the estimate: a quarter of the way down to a lower value, a sixteenth of the way up to a
    /// higher one. So few wakes are too early.
    fn learn(&mut self, late: Duration) {
        let late = late.min(Self::MAX);
        if late < self.0 {
            self.0 -= (self.0 - late) / 4;
        } else {
            self.0 += (late - self.0) / 16;
        }
    }

    /// Returns the time to set the timer to for `at`: `at` itself if the earlier time has passed.
    fn before(&self, at: Instant, now: Instant) -> Instant {
        let early = at - self.0;
        if early > now { early } else { at }
    }
}

impl AsFd for Timer {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MICRO: Duration = Duration::from_micros(1);

    #[test]
    fn a_timer_is_set_early_by_what_its_wakes_showed() {
        let mut latency = WakeLatency::default();
        let (now, at) = (Instant::ZERO + 100 * MICRO, Instant::ZERO + 1000 * MICRO);
        assert_eq!(latency.before(at, now), at);
        (0..200).for_each(|_| latency.learn(20 * MICRO));
        let early = at - latency.before(at, now);
        assert!(early > 19 * MICRO && early <= 20 * MICRO, "{early:?}");
    }

    #[test]
    fn it_stays_below_most_wakes_and_within_its_limit() {
        let mut latency = WakeLatency::default();
        for round in 0..1000 {
            latency.learn(if round % 5 == 0 { 15 * MICRO } else { 40 * MICRO });
        }
        assert!(latency.0 > 15 * MICRO && latency.0 < 30 * MICRO, "{latency:?}");
        (0..1000).for_each(|_| latency.learn(Duration::from_secs(1)));
        assert!(latency.0 <= WakeLatency::MAX, "{latency:?}");
        (0..20).for_each(|_| latency.learn(Duration::ZERO));
        assert!(latency.0 < MICRO, "{latency:?}");
    }

    #[test]
    fn a_wake_that_came_too_early_is_not_followed_by_another() {
        let latency = WakeLatency(20 * MICRO);
        let at = Instant::ZERO + 1000 * MICRO;
        for left in [0, 1, 19, 20] {
            assert_eq!(latency.before(at, at - left * MICRO), at);
        }
        assert_eq!(latency.before(at, at - 21 * MICRO), at - 20 * MICRO);
        assert_eq!(latency.before(Instant::ZERO + MICRO, Instant::ZERO), Instant::ZERO + MICRO);
    }

    #[test]
    fn a_timer_fires_once_for_what_it_was_set_to() -> io::Result<()> {
        let mut timer = Timer::new()?;
        let at = now() + Duration::from_millis(2);
        timer.set(Some(at), now())?;
        let mut fds = [rustix::event::PollFd::new(&timer, rustix::event::PollFlags::IN)];
        rustix::event::poll(&mut fds, None)?;
        assert!(now() >= at);
        timer.fired(now());
        assert!(timer.latency.0 > Duration::ZERO && timer.latency.0 <= WakeLatency::MAX);
        timer.set(None, now())?;
        let mut fds = [rustix::event::PollFd::new(&timer, rustix::event::PollFlags::IN)];
        let zero = Timespec { tv_sec: 0, tv_nsec: 0 };
        assert_eq!(rustix::event::poll(&mut fds, Some(&zero))?, 0, "it is unreadable again");
        Ok(())
    }
}
