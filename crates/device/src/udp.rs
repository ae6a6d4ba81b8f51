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

/// Sets whether ICMP errors that packets of a socket meet are reported as errors of the socket (`IP_RECVERR`,
/// `IPV6_RECVERR`), those of the path MTU included. Each is also in the socket's error queue, which
/// epoll reports until it is read.
///
/// # Errors
/// ENOPROTOOPT: the socket is of the other family.
pub fn report_icmp_errors(socket: impl AsFd, is_ipv4: bool, on: bool) -> io::Result<()> {
    crate::sys::udp::report_errors(socket.as_fd(), is_ipv4, on)
}
