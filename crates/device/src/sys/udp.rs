//! Options of UDP sockets that rustix does not cover.

use std::io;
use std::os::fd::BorrowedFd;

/// `IPV6_DONTFRAG`, off: allows the kernel to fragment a datagram.
pub(crate) fn allow_fragments(socket: BorrowedFd<'_>) -> io::Result<()> {
    super::packet_socket::set(socket, libc::IPPROTO_IPV6, libc::IPV6_DONTFRAG, &0_i32)
}
