//! The end of a process that has handed its tunnel over.

use crate::upgrade::successor::{Taken, exit_status};
use adit_runtime::{Signal, Signals};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::Signal as SignalNumber;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::process::ExitStatus;

/// Waits until the new process ends, passes signals on to it, and returns how it exited: another process waits for this
/// one. If this one has taken over itself, `before` is the socket to the process that waits for it.
///
/// # Errors
/// EMFILE.
pub fn wait_for(
    taken: &Taken,
    signals: &Signals,
    before: Option<BorrowedFd<'_>>,
) -> io::Result<ExitStatus> {
    // It fails only if the process has ended.
    let send = |number| {
        let _ = taken.child.signal(number);
    };
    let mut before = before;
    loop {
        let watched = [Some(taken.child.as_fd()), Some(signals.as_fd()), before];
        let watched = watched.into_iter().flatten();
        let mut fds: Vec<_> =
            watched.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)).collect();
        rustix::io::retry_on_intr(|| poll(&mut fds, None))?;
        let is_ready = |at| fds.get(at).is_some_and(|fd: &PollFd<'_>| !fd.revents().is_empty());
        if is_ready(0) {
            return Ok(exit_status(&taken.child)?.unwrap_or_default());
        }
        if is_ready(2) {
            before = None;
            send(SignalNumber::TERM);
        }
        for signal in signals.read() {
            send(match signal {
                Signal::Hangup => SignalNumber::HUP,
                Signal::Interrupt => SignalNumber::INT,
                Signal::Terminate => SignalNumber::TERM,
                Signal::User1 => SignalNumber::USR1,
            });
        }
    }
}
