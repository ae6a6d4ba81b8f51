//! Descriptors in tokio's reactor.

use crate::Queue;
use std::io;
use std::os::fd::OwnedFd;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Registers a queue with the reactor of the running runtime.
///
/// # Panics
/// Outside a runtime with I/O.
#[track_caller]
pub(crate) fn register_queue(queue: Queue, interest: Interest) -> io::Result<AsyncFd<Queue>> {
    // SAFETY: a `Queue` owns its descriptor, gives the same one on every call of `as_raw_fd`, and
    // has no method that closes or replaces it without consuming the queue.
    let registered = unsafe { AsyncFd::register_with_interest(queue, interest) };
    Ok(registered?)
}

/// Registers a descriptor with the reactor of the running runtime.
///
/// # Panics
/// Outside a runtime with I/O.
#[track_caller]
pub(crate) fn register_fd(fd: OwnedFd, interest: Interest) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an `OwnedFd` is open as long as it lives, and is always the same descriptor.
    let registered = unsafe { AsyncFd::register_with_interest(fd, interest) };
    Ok(registered?)
}
