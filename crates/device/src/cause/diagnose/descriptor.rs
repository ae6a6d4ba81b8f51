//! Why a descriptor from another program cannot be used.

use super::general;
use crate::{Cause, Mode, sys};
use std::fs;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

pub(crate) fn of_descriptor(fd: BorrowedFd<'_>, want: Option<Mode>) -> Option<Cause> {
    let request = match sys::tun::features(fd).and_then(|_| sys::tun::get_iff(fd)) {
        Ok(request) => request,
        Err(error) => return Some(not_a_queue(fd, &error)),
    };
    let tap = request.flags & sys::tun::IFF_TAP != 0;
    let have = if tap { Mode::Tap } else { Mode::Tun };
    want.filter(|&want| want != have).map(|want| Cause::FdMode { have, want })
}

fn not_a_queue(fd: BorrowedFd<'_>, error: &io::Error) -> Cause {
    match error.raw_os_error() {
        Some(libc::EBADFD) => Cause::Unattached,
        Some(libc::EBADF) => Cause::NotOpen,
        // Each kind of file has its own errno for unknown requests.
        Some(libc::ENOTTY | libc::EINVAL | libc::EOPNOTSUPP | libc::EFAULT | libc::EPERM) => {
            let link = fs::read_link(format!("/proc/self/fd/{}", fd.as_raw_fd()));
            Cause::NotTun { file: link.map_or_else(|_| String::new(), |l| l.display().to_string()) }
        }
        _ => general(error),
    }
}
