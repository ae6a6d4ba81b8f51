//! Descriptors that systemd leaves open for the program (sd_listen_fds(3)).

use std::collections::BTreeSet;
use std::env;
use std::io;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::sync::{Mutex, PoisonError};

/// Where they start (`SD_LISTEN_FDS_START`).
const FIRST: RawFd = 3;
/// Our limit on how many are looked at.
const COUNT_MAX: RawFd = 1024;

/// Those that were taken: each can have one owner only.
static TAKEN: Mutex<BTreeSet<RawFd>> = Mutex::new(BTreeSet::new());

/// Takes the descriptor with this name, or the first that is left; ENOENT if there is none.
pub(crate) fn take(name: Option<&str>) -> io::Result<OwnedFd> {
    let none = || io::Error::from_raw_os_error(libc::ENOENT);
    let number = |key| env::var(key).ok().and_then(|text| text.parse::<i64>().ok());
    if number("LISTEN_PID") != Some(i64::from(std::process::id())) {
        return Err(none());
    }
    let count = number("LISTEN_FDS").and_then(|count| RawFd::try_from(count).ok());
    let count = count.unwrap_or(0).clamp(0, COUNT_MAX);
    let names = env::var("LISTEN_FDNAMES").unwrap_or_default();
    let mut names = names.split(':');
    let mut taken = TAKEN.lock().unwrap_or_else(PoisonError::into_inner);
    for fd in FIRST..FIRST + count {
        let this = names.next().unwrap_or("");
        if name.is_some_and(|name| name != this) || taken.contains(&fd) {
            continue;
        }
        // SAFETY: F_GETFD only asks; EBADF tells that the environment promised too much.
        if unsafe { libc::fcntl(fd, libc::F_GETFD) } < 0 {
            return Err(io::Error::last_os_error());
        }
        taken.insert(fd);
        // SAFETY: systemd opened it for this process (LISTEN_PID) to own, and TAKEN sees to it
        // that nobody else has got it from here.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        rustix::io::fcntl_setfd(&fd, rustix::io::FdFlags::CLOEXEC)?;
        return Ok(fd);
    }
    Err(none())
}
