//! Options of UDP sockets that rustix does not cover.

use std::io;
use std::os::fd::BorrowedFd;

/// `IPV6_DONTFRAG`, off: allows the kernel to fragment a datagram.
pub(crate) fn allow_fragments(socket: BorrowedFd<'_>) -> io::Result<()> {
    super::packet_socket::set(socket, libc::IPPROTO_IPV6, libc::IPV6_DONTFRAG, &0_i32)
}

/// `IP_RECVERR` or `IPV6_RECVERR`.
pub(crate) fn report_errors(socket: BorrowedFd<'_>, is_ipv4: bool, on: bool) -> io::Result<()> {
    let (level, option) = if is_ipv4 {
        (libc::IPPROTO_IP, libc::IP_RECVERR)
    } else {
        (libc::IPPROTO_IPV6, libc::IPV6_RECVERR)
    };
    super::packet_socket::set(socket, level, option, &i32::from(on))
}
