//! Sockets with a mark, which needs a privilege.

use crate::sys;
use adit_broker::InetSocket;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

pub use adit_broker::{
    absolute, create_recording, open_recording, open_unix, remove_socket, stat_of,
};

/// Opens a UDP or TCP socket.
///
/// # Errors
/// EADDRINUSE, EADDRNOTAVAIL, EACCES for a port below 1024; EPERM: a mark needs `CAP_NET_ADMIN`; ENETUNREACH.
pub fn open_inet(wanted: &InetSocket) -> io::Result<OwnedFd> {
    adit_broker::open_inet(wanted, sys::udp::set_mark)
}

/// Sets the mark of what a socket sends from now on.
///
/// # Errors
/// EPERM without `CAP_NET_ADMIN`.
pub fn set_mark(socket: impl AsFd, mark: u32) -> io::Result<()> {
    adit_broker::set_mark(socket.as_fd(), mark, sys::udp::set_mark)
}
