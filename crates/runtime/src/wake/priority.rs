//! The scheduling priority of a loop: it forwards, as the kernel does elsewhere, ahead of programs.

use rustix::process::{getpriority_process, setpriority_process};
use std::sync::atomic::{AtomicBool, Ordering};

/// A kernel forwards in its softirq, ahead of every program; a thread behind a program that fills a core
/// waits for that program's whole time slice. At -3 a thread gets two thirds of a core if it needs them.
/// More would starve the receivers of its packets: at -10, on two full cores, a flood of datagrams costs
/// it one and a half times as much, and half as many arrive.
const NICE: i32 = -3;

/// Whether a thread has it, and passes it on to those that it starts.
static IS_RAISED: AtomicBool = AtomicBool::new(false);

/// A raised priority of the thread that made it, and of what that thread starts, until it is dropped.
#[derive(Debug)]
pub struct RaisedPriority(());

impl RaisedPriority {
    /// `None` if it is not permitted, or if the process runs with another priority than the default.
    #[must_use]
    pub fn new() -> Option<Self> {
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
