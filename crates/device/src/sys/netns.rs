//! Namespaces of the calling thread.

use super::request::number;
use rustix::ioctl::opcode;
use rustix::thread::UnshareFlags;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// Moves the calling thread into a new network namespace.
pub(crate) fn unshare_net() -> io::Result<()> {
    // SAFETY: NEWNET changes only which network the calling thread sees; it does not unshare file
    // descriptors, memory or anything else that safe Rust code relies on.
    Ok(unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNET) }?)
}

/// Moves the calling process, which must have a single thread, into new user and network
/// namespaces.
pub(crate) fn unshare_user_net() -> io::Result<()> {
    // SAFETY: as above; NEWUSER changes credentials only, and the kernel refuses it (EINVAL) to a
    // process with more than one thread.
    Ok(unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWUSER | UnshareFlags::NEWNET) }?)
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

/// `_IO(0xb7, 0x3)` of `linux/nsfs.h`.
const NS_GET_NSTYPE: libc::Ioctl = number(opcode::none(0xb7, 0x3));
