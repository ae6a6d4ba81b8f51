//! Descriptors that systemd passes to the program (sd_listen_fds(3)).

use std::collections::BTreeSet;
use std::env;
use std::io;
use std::os::fd::{BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::sync::{Mutex, PoisonError};

/// The first of them (`SD_LISTEN_FDS_START`).
const FIRST: RawFd = 3;
/// The most descriptors that we look at.
const COUNT_MAX: RawFd = 1024;

/// The device number of `/dev/net/tun` (`Documentation/admin-guide/devices.txt`).
const TUN_DEVICE: (u32, u32) = (10, 200);

/// The descriptors taken so far: each can have one owner only.
static TAKEN: Mutex<BTreeSet<RawFd>> = Mutex::new(BTreeSet::new());

/// Takes the descriptor with this name, or the first that is left, and sets FD_CLOEXEC.
///
/// # Errors
/// ENOENT: none of that name was passed. EBADF: it is not open. EBUSY: it has an owner in this process.
/// ENOTTY: it is not an open file of `/dev/net/tun`; it stays where it is.
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
        check_tun(fd)?;
        return own(fd, &mut taken);
    }
    Err(none())
}

/// Takes an inherited descriptor by its number, and sets FD_CLOEXEC.
///
/// # Errors
/// EBADF: it is not open. EBUSY: it is one of the standard streams, or has an owner in this process.
pub(crate) fn take_number(fd: RawFd) -> io::Result<OwnedFd> {
    let mut taken = TAKEN.lock().unwrap_or_else(PoisonError::into_inner);
    if fd < FIRST || taken.contains(&fd) {
        return Err(io::Error::from_raw_os_error(libc::EBUSY));
    }
    check_ownerless(fd)?;
    own(fd, &mut taken)
}

/// Owns a descriptor that has no owner.
fn own(fd: RawFd, taken: &mut BTreeSet<RawFd>) -> io::Result<OwnedFd> {
    taken.insert(fd);
    // SAFETY: the parent left it open for this process. It has no other owner: TAKEN excludes those from
    // here, and `check_ownerless` every other, because FD_CLOEXEC is not set.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    rustix::io::fcntl_setfd(&fd, rustix::io::FdFlags::CLOEXEC)?;
    Ok(fd)
}

/// Whether `fd` is inherited and has no owner.
///
/// An inherited descriptor cannot have FD_CLOEXEC: exec would have closed it. A descriptor that a part
/// of this process opened or took over does have it: Rust's standard library and sd_listen_fds(3)
/// always set it.
fn check_ownerless(fd: RawFd) -> io::Result<()> {
    // SAFETY: F_GETFD only reads the flags of the descriptor; a number that is not open is EBADF.
    let flags = unsafe { libc::fcntl(fd, libc::F_GETFD) };
    if flags < 0 {
        return Err(io::Error::last_os_error());
    }
    if flags & libc::FD_CLOEXEC != 0 {
        return Err(io::Error::from_raw_os_error(libc::EBUSY));
    }
    Ok(())
}

/// Whether `fd` may be taken as a queue: an inherited, ownerless descriptor of `/dev/net/tun`.
fn check_tun(fd: RawFd) -> io::Result<()> {
    check_ownerless(fd)?;
    // SAFETY: it is open and is only borrowed for statx(2).
    let stat = crate::rights::stat_of(unsafe { BorrowedFd::borrow_raw(fd) })?;
    let is_tun = rustix::fs::FileType::from_raw_mode(stat.stx_mode.into())
        == rustix::fs::FileType::CharacterDevice
        && (stat.stx_rdev_major, stat.stx_rdev_minor) == TUN_DEVICE;
    if is_tun { Ok(()) } else { Err(io::Error::from_raw_os_error(libc::ENOTTY)) }
}
