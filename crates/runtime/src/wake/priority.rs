//! The scheduling priority of a loop: it forwards, as the kernel does elsewhere, ahead of programs.

use adit_device::process::shorten_time_slice;
use rustix::process::{getpriority_process, setpriority_process};
use std::sync::atomic::{AtomicBool, Ordering};

/// A kernel forwards in its softirq, ahead of every program; a thread behind a program that fills a core
/// waits for that program's whole time slice. At -3 a thread gets two thirds of a core if it needs them.
/// More would starve the receivers of its packets: at -10, on two full cores, a flood of datagrams costs
/// it one and a half times as much, and half as many arrive. Beside a program that fills one of two cores, -3 gives CUBIC
/// 1.02 to 1.07 of the rate of 0, and 1.1 to 1.2 beside many builds, with a short time slice in both cases.
const NICE: i32 = -3;

/// Whether a thread has it, and passes it on to those that it starts.
static IS_RAISED: AtomicBool = AtomicBool::new(false);

/// A raised priority of the thread that made it, and of what that thread starts, until it is dropped.
#[derive(Debug)]
pub struct RaisedPriority(());

impl RaisedPriority {
    /// Raises it, and gives the thread a short time slice, which needs no permission and stays. `None` if the nice value may
    /// not be changed, or if another one than the default was chosen.
    #[must_use]
    pub fn new() -> Option<Self> {
        let _ = shorten_time_slice();
        let is_chosen = getpriority_process(None).ok()? != 0;
        // Of the calling thread alone, whatever POSIX says (setpriority(2)).
        let is_raised = !is_chosen && setpriority_process(None, NICE).is_ok();
        IS_RAISED.fetch_or(is_raised, Ordering::Relaxed);
        is_raised.then_some(Self(()))
    }

    /// Takes the default priority again: for a thread that was started with a raised one.
    pub fn lower() {
        if IS_RAISED.load(Ordering::Relaxed) {
            let _ = setpriority_process(None, 0);
        }
    }
}

impl Drop for RaisedPriority {
    fn drop(&mut self) {
        Self::lower();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use adit_device::process::time_slice;
    use std::thread::spawn;
    use std::time::Duration;

    #[test]
    fn a_loop_has_a_short_slice_and_what_it_starts_has_not() {
        let check = || {
            let before = time_slice().unwrap();
            let raised = RaisedPriority::new();
            // Kernels before 6.12 have no slices.
            let short = if before.is_zero() { before } else { Duration::from_micros(100) };
            assert_eq!(time_slice().unwrap(), short);
            assert_eq!(spawn(|| time_slice().unwrap()).join().unwrap(), before);
            drop(raised);
        };
        spawn(check).join().unwrap();
    }
}
