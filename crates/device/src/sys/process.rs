//! Processes and their signals.

use rustix::process::Pid;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::Command;

/// The exit status after a panic in the child.
const PANICKED: u8 = 101;

/// Starts a copy of this process, which must have a single thread. The copy does `work`, and exits
/// with its result; nothing of the caller is dropped there.
pub(crate) fn fork(work: impl FnOnce() -> u8) -> io::Result<Pid> {
    // SAFETY: the process has one thread, so the child is a whole copy: no lock is held by a thread
    // that the child lacks.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => {
            let status = catch_unwind(AssertUnwindSafe(work)).unwrap_or(PANICKED);
            // SAFETY: it ends the process and has no precondition.
            unsafe { libc::_exit(i32::from(status)) }
        }
        pid => Pid::from_raw(pid).ok_or_else(|| io::Error::from_raw_os_error(libc::ESRCH)),
    }
}

/// Closes all descriptors of this process but these: for a copy of a process, which must not use the others.
pub(crate) fn close_all_but(kept: &[RawFd]) -> io::Result<()> {
    let entries = std::fs::read_dir("/proc/self/fd")?;
    let numbers: Vec<RawFd> =
        entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect();
    for number in numbers.into_iter().filter(|number| !kept.contains(number)) {
        // SAFETY: it touches no memory, and a number that is not open is EBADF.
        unsafe { libc::close(number) };
    }
    Ok(())
}

/// `SO_PEERGROUPS`: writes the supplementary groups of the peer of a unix socket to `groups`, and returns their number;
/// ERANGE if there are more.
pub(crate) fn peer_groups(socket: BorrowedFd<'_>, groups: &mut [u32]) -> io::Result<usize> {
    super::packet_socket::get(socket, libc::SOL_SOCKET, libc::SO_PEERGROUPS, groups)
}

/// `SO_PEERNAME`: ENOTCONN without a peer.
pub(crate) fn require_peer(socket: BorrowedFd<'_>) -> io::Result<()> {
    // No part of the name.
    super::packet_socket::get(socket, libc::SOL_SOCKET, libc::SO_PEERNAME, &mut []).map(drop)
}

/// A set of these signals, or of all of them.
fn set_of(signals: Option<&[i32]>) -> io::Result<libc::sigset_t> {
    let mut set = MaybeUninit::<libc::sigset_t>::uninit();
    let fill = if signals.is_some() { libc::sigemptyset } else { libc::sigfillset };
    // SAFETY: either call initialises the whole set, which has the size that the C library defines.
    let done = unsafe { fill(set.as_mut_ptr()) };
    if done < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: initialised above.
    let mut set = unsafe { set.assume_init() };
    for signal in signals.unwrap_or_default() {
        // SAFETY: the set is initialised; an invalid number is EINVAL.
        if unsafe { libc::sigaddset(&raw mut set, *signal) } < 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(set)
}

/// `sched_getattr` of the calling thread.
pub(crate) fn scheduling() -> io::Result<libc::sched_attr> {
    let mut attr = MaybeUninit::<libc::sched_attr>::zeroed();
    let len = size_of::<libc::sched_attr>();
    // SAFETY: the kernel writes at most `len` bytes.
    let result = unsafe { libc::syscall(libc::SYS_sched_getattr, 0, attr.as_mut_ptr(), len, 0) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: any bytes are valid integers.
    Ok(unsafe { attr.assume_init() })
}

/// `sched_setattr` of the calling thread.
pub(crate) fn set_scheduling(attr: &libc::sched_attr) -> io::Result<()> {
    // SAFETY: the kernel reads `attr.size` bytes, which `sched_getattr` wrote: no more than the structure has.
    let result = unsafe { libc::syscall(libc::SYS_sched_setattr, 0, std::ptr::from_ref(attr), 0) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// The signals that a thread blocks.
#[derive(Clone, Copy)]
pub(crate) struct Mask(libc::sigset_t);

/// Blocks these signals, or all of them, in the calling thread and those that it starts; returns the mask
/// before.
pub(crate) fn block_signals(signals: Option<&[i32]>) -> io::Result<Mask> {
    change_mask(libc::SIG_BLOCK, &set_of(signals)?)
}

/// Blocks no signal.
pub(crate) fn unblock_signals() -> io::Result<()> {
    change_mask(libc::SIG_SETMASK, &set_of(Some(&[]))?).map(drop)
}

/// Has a program start with no signal blocked.
pub(crate) fn unblock_signals_of(command: &mut Command) {
    // SAFETY: the copy of this process only sets its mask before it becomes the program: neither memory nor locks.
    unsafe { command.pre_exec(unblock_signals) };
}

/// Blocks exactly the signals of a mask.
pub(crate) fn restore_signals(mask: &Mask) -> io::Result<()> {
    change_mask(libc::SIG_SETMASK, &mask.0).map(drop)
}

fn change_mask(how: i32, set: &libc::sigset_t) -> io::Result<Mask> {
    let mut old = set_of(Some(&[]))?;
    // SAFETY: it reads one initialised set and writes another.
    match unsafe { libc::pthread_sigmask(how, set, &raw mut old) } {
        0 => Ok(Mask(old)),
        errno => Err(io::Error::from_raw_os_error(errno)),
    }
}

/// A descriptor from which these signals, which must be blocked, are read; it never blocks.
pub(crate) fn signal_descriptor(signals: &[i32]) -> io::Result<OwnedFd> {
    let set = set_of(Some(signals))?;
    // SAFETY: it reads the set; -1 asks for a new descriptor.
    let fd = unsafe { libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just opened it, and nothing else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// The number of a signal, and whether the kernel sent it.
pub(crate) fn decode_signal(record: &[u8; SIGNAL_LEN]) -> (i32, bool) {
    let number = |at: usize| {
        let bytes = record.get(at..at + 4).and_then(|bytes| bytes.try_into().ok());
        i32::from_ne_bytes(bytes.unwrap_or_default())
    };
    // struct signalfd_siginfo: ssi_signo, ssi_errno, ssi_code, each of 4 bytes.
    (number(0), number(8) == libc::SI_KERNEL)
}

/// The length of a record that a signal descriptor returns.
pub(crate) const SIGNAL_LEN: usize = size_of::<libc::signalfd_siginfo>();
