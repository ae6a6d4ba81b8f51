//! Namespaces of the calling thread.

use super::request::number;
use rustix::ioctl::opcode;
use rustix::thread::UnshareFlags;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// Moves the calling thread into a new network namespace.
pub(crate) fn unshare_net() -> io::Result<()> {
    // SAFETY: NEWNET changes only which network the calling thread sees; it does not unshare file
    // descriptors, memory or anything else that safe Rust code relies on.
    Ok(unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNET) }?)
}

/// Moves the calling process, which must have a single thread, into new namespaces. `flags` are of the
/// kind NEW*, never FILES.
pub(crate) fn unshare(flags: UnshareFlags) -> io::Result<()> {
    // SAFETY: as above; new namespaces change what names refer to, and credentials. No descriptor table
    // or memory is unshared, and the kernel refuses NEWUSER (EINVAL) to a process with more threads.
    Ok(unsafe { rustix::thread::unshare_unsafe(flags) }?)
}

/// The result of [`namespace_type`] for a network namespace: `CLONE_NEWNET`.
pub(crate) const NET: libc::c_int = libc::CLONE_NEWNET;

/// The kind of namespace behind `fd` as its `CLONE_NEW*` flag; EINVAL for any other file.
pub(crate) fn namespace_type(fd: BorrowedFd<'_>) -> io::Result<libc::c_int> {
    // SAFETY: NS_GET_NSTYPE takes no argument and writes to no memory.
    let kind = unsafe { libc::ioctl(fd.as_raw_fd(), NS_GET_NSTYPE) };
    if kind < 0 {
        let error = io::Error::last_os_error();
        // Other kinds of file do not support the request: ENOTTY.
        return Err(if error.raw_os_error() == Some(libc::ENOTTY) {
            io::Error::from_raw_os_error(libc::EINVAL)
        } else {
            error
        });
    }
    Ok(kind)
}

/// The user namespace that owns the namespace behind `fd`; EPERM if that is not the caller's and not
/// below it.
pub(crate) fn owner(fd: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    // SAFETY: NS_GET_USERNS takes no argument and writes to no memory.
    let owner = unsafe { libc::ioctl(fd.as_raw_fd(), NS_GET_USERNS) };
    if owner < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just opened it, with FD_CLOEXEC, and nothing else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(owner) })
}

/// `_IO(0xb7, 0x1)` of `linux/nsfs.h`.
const NS_GET_USERNS: libc::Ioctl = number(opcode::none(0xb7, 0x1));

/// `_IO(0xb7, 0x3)` of `linux/nsfs.h`.
const NS_GET_NSTYPE: libc::Ioctl = number(opcode::none(0xb7, 0x3));
