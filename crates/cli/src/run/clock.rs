//! Time: `CLOCK_BOOTTIME`, which goes on while the machine sleeps and is never set.

use adit_packet::Instant;
use rustix::time::{
    ClockId, Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, clock_gettime,
    timerfd_create, timerfd_settime,
};
use std::io;
use std::num::NonZeroU64;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

const NANOS: u64 = 1_000_000_000;

/// The present moment.
pub(crate) fn now() -> Instant {
    let now = clock_gettime(ClockId::Boottime);
    let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
    let nanos = u64::try_from(now.tv_nsec).unwrap_or(0);
    Instant::from_nanos(seconds.saturating_mul(NANOS).saturating_add(nanos))
}

/// A timer whose descriptor is readable from a moment on.
#[derive(Debug)]
pub(super) struct Timer {
    fd: OwnedFd,
    /// What the kernel has been told.
    set: Option<Instant>,
}

impl Timer {
    /// One that is not set. Timers of this thread are then exact to the nanosecond rather than to
    /// the 50 us by which the kernel otherwise delays them to join wake-ups.
    pub(super) fn new() -> io::Result<Self> {
        // A sandbox may forbid it: timers are then late, and nothing worse.
        let _ = rustix::thread::set_current_timer_slack(NonZeroU64::new(1));
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        Ok(Self { fd: timerfd_create(TimerfdClockId::Boottime, flags)?, set: None })
    }

    /// Sees to it that it fires at `at` at the latest; without `at` it need not. Where it is set to
    /// an earlier moment that is to come, it is left so: a moment that traffic puts off again and
    /// again then costs one wake in all, not a system call each time.
    pub(super) fn set(&mut self, at: Option<Instant>, now: Instant) -> io::Result<()> {
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

    /// To be called when it is readable: it has to be set again, which also makes it unreadable.
    pub(super) fn fired(&mut self) {
        self.set = Some(Instant::ZERO);
    }
}

impl AsFd for Timer {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
