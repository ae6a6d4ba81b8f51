//! Options of netlink sockets.

use std::io;
use std::mem::size_of_val;
use std::os::fd::{AsRawFd, BorrowedFd};

/// `SOL_NETLINK` of `linux/socket.h`.
const SOL_NETLINK: libc::c_int = 270;

/// An option of a netlink socket, as in `linux/netlink.h`.
#[derive(Clone, Copy, Debug)]
#[repr(i32)]
pub(crate) enum NetlinkOption {
    /// Acknowledgements omit the request's body (Linux 4.3).
    CapAck = 10,
    /// Acknowledgements include the kernel's message (Linux 4.12).
    ExtAck = 11,
    /// A dump applies the filters of its request, or rejects them (Linux 4.20).
    GetStrictChk = 12,
}

/// Turns `option` on; ENOPROTOOPT if the kernel is older than the option.
pub(crate) fn enable(fd: BorrowedFd<'_>, option: NetlinkOption) -> io::Result<()> {
    let on: libc::c_int = 1;
    let len = libc::socklen_t::try_from(size_of_val(&on)).expect("four bytes");
    // SAFETY: the kernel reads `len` bytes at `on`, which lives across the call, and keeps neither.
    let result = unsafe {
        libc::setsockopt(fd.as_raw_fd(), SOL_NETLINK, option as i32, (&raw const on).cast(), len)
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
