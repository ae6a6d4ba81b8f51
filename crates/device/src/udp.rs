//! UDP sockets that carry frames.

use std::io;
use std::os::fd::AsFd;

/// Lets the kernel cut the datagrams of an IPv6 socket into fragments, which somebody forbade.
///
/// That alone does not do it where `IPV6_MTU_DISCOVER` forbids it as well (ipv6(7), RFC 3542 11.2).
///
/// # Errors
/// ENOPROTOOPT: the socket is none of IPv6.
pub fn allow_ipv6_fragments(socket: impl AsFd) -> io::Result<()> {
    crate::sys::udp::allow_fragments(socket.as_fd())
}
