//! Options of UDP sockets that carry frames.

use std::io;
use std::os::fd::AsFd;

/// Allows the kernel to fragment the datagrams of an IPv6 socket (turns `IPV6_DONTFRAG` off).
///
/// The kernel still does not fragment them if `IPV6_MTU_DISCOVER` forbids it (ipv6(7), RFC 3542,
/// section 11.2).
///
/// # Errors
/// ENOPROTOOPT: the socket is not an IPv6 socket.
pub fn allow_ipv6_fragments(socket: impl AsFd) -> io::Result<()> {
    crate::sys::udp::allow_fragments(socket.as_fd())
}
