//! Time: `CLOCK_BOOTTIME`, which goes on while the machine sleeps and is never set.

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

/// The present moment.
pub fn now() -> Instant {
    let now = clock_gettime(ClockId::Boottime);
    let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
    let nanos = u64::try_from(now.tv_nsec).unwrap_or(0);
    Instant::from_nanos(seconds.saturating_mul(NANOS).saturating_add(nanos))
}

/// A timer whose descriptor is readable from a moment on.
///
/// The kernel wakes a thread later than it was asked to, by nearly the same time again and again: what an
/// idle core needs to wake up. The timer is set earlier by that.
#[derive(Debug)]
pub(crate) struct Timer {
    fd: OwnedFd,
    /// What the kernel has been told.
    set: Option<Instant>,
    latency: WakeLatency,
}

impl Timer {
    /// What is due within this time may be done at once: to sleep again would take longer.
    pub(crate) const EARLY_MAX: Duration = Duration::from_micros(5);

    /// One that is not set. Timers of this thread are then exact to the nanosecond rather than to
    /// the 50 us by which the kernel otherwise delays them to join wake-ups.
    pub(crate) fn new() -> io::Result<Self> {
        // A sandbox may forbid it: timers are then late, and nothing worse.
        let _ = rustix::thread::set_current_timer_slack(NonZeroU64::new(1));
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let fd = timerfd_create(TimerfdClockId::Boottime, flags)?;
        Ok(Self { fd, set: None, latency: WakeLatency::default() })
    }

    /// Sees to it that the thread is awake at `at`, as exactly as can be; without `at` it need not be.
    /// Where it is set to an earlier moment that is to come, it is left so: a moment that traffic puts
    /// off again and again then costs one wake in all, not a system call each time.
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

    /// How long ago that which woke the thread came, at least. Half of what timers show: a sender may
    /// have been awake beside it.
    pub(crate) fn wake_age(&self) -> Duration {
        self.latency.0 / 2
    }

    /// To be called at `now` when it is readable: it has to be set again, which also makes it
    /// unreadable.
    pub(crate) fn fired(&mut self, now: Instant) {
        if let Some(set) = self.set.replace(Instant::ZERO) {
            self.latency.learn(now - set);
        }
    }
}

/// By how much a timer is set early: a low estimate of how late it wakes.
#[derive(Debug, Default)]
struct WakeLatency(Duration);

impl WakeLatency {
    /// Longer is not the way of a core that wakes up, but of one that had something else to do.
    const MAX: Duration = Duration::from_micros(50);

    /// Takes in how late a wake was: goes a quarter of the way down to it, or a sixteenth of the way up,
    /// and so stays where few wakes come too early.
    fn learn(&mut self, late: Duration) {
        let late = late.min(Self::MAX);
        if late < self.0 {
            self.0 -= (self.0 - late) / 4;
        } else {
            self.0 += (late - self.0) / 16;
        }
    }

    /// When to set the timer for `at`; with no time left to be early, `at` itself.
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
