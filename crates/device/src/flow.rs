//! Sockets of flows: reading without taking, and the errors that datagrams met.

use std::io;
use std::os::fd::AsFd;

pub use crate::sys::flow::SocketError;

/// Sets where `MSG_PEEK` reads next (`SO_PEEK_OFF`), in bytes from the first that was not read: reads
/// with it then go on by themselves.
///
/// # Errors
/// EOPNOTSUPP: a TCP socket of a kernel before 6.9.
pub fn set_peek_offset(socket: impl AsFd, offset: i32) -> io::Result<()> {
    crate::sys::flow::set_peek_offset(socket.as_fd(), offset)
}

/// Removes bytes from the receive queue of a TCP socket without reading them; returns how many.
///
/// # Errors
/// EAGAIN: it is empty; those of the connection.
pub fn discard_received(socket: impl AsFd, count: usize) -> io::Result<usize> {
    crate::sys::flow::discard(socket.as_fd(), count)
}

/// How many bytes a TCP socket holds before the peer's urgent byte, which it keeps in its place in the stream
/// (`SO_OOBINLINE`); `None` without one. Moves the offset of [`set_peek_offset`], which must be 0.
///
/// # Errors
/// ENOTCONN; those of the connection.
pub fn received_before_urgent(socket: impl AsFd) -> io::Result<Option<usize>> {
    crate::sys::flow::before_urgent(socket.as_fd())
}

/// Takes an error off the queue of a socket that reports ICMP errors
/// ([`report_icmp_errors`](crate::report_icmp_errors)); `None` for an entry that concerns no datagram.
///
/// # Errors
/// EAGAIN: the queue is empty.
pub fn take_socket_error(socket: impl AsFd) -> io::Result<Option<SocketError>> {
    crate::sys::flow::recv_error(socket.as_fd())
}
