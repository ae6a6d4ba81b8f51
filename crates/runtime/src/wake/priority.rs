//! A loop that does what the kernel does elsewhere goes before programs.

use rustix::process::{getpriority_process, setpriority_process};

/// A kernel forwards in its softirq, ahead of every program; who waits behind a program that fills a core
/// has a queue of its whole time slice before it. At -3 a thread has 2 parts of a core in 3 where it
/// wants them. More would starve those who take what it brings: at -10, on two full cores, a flood of
/// datagrams costs it one and a half times as much and half as many arrive.
const NICE: i32 = -3;

/// Goes before programs until it is dropped: the thread that made it, and what that starts.
#[derive(Debug)]
pub struct RaisedPriority(());

impl RaisedPriority {
    /// Nothing where that is not allowed, or where another priority was chosen for us.
    pub fn new() -> Option<Self> {
        let is_chosen = getpriority_process(None).ok()? != 0;
        // Of the calling thread alone, whatever POSIX says (setpriority(2)).
        (!is_chosen && setpriority_process(None, NICE).is_ok()).then_some(Self(()))
    }

    /// For a thread that one ahead has started: back to where programs are.
    pub fn lower() {
        if getpriority_process(None) == Ok(NICE) {
            let _ = setpriority_process(None, 0);
        }
    }
}

impl Drop for RaisedPriority {
    fn drop(&mut self) {
        Self::lower();
    }
}
