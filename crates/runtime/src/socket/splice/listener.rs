//! The socket to which connections of the inside are led.

use rustix::io::Errno;
use rustix::net::{SocketAddrAny, SocketFlags, acceptfrom_with, getsockname};
use socket2::Socket;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

/// The client's address and the one that it connects to.
pub(crate) type Ends = (SocketAddr, SocketAddr);

/// The congestion control of the accepted: there is no network between them and their clients. A host's own,
/// such as bbr, would pace what a client has room for, at half of the speed.
const CONGESTION: &[u8] = b"reno";

/// A transparent listening socket: those that it accepts have the addresses that their client used.
#[derive(Debug)]
pub(crate) struct Listener(Socket);

impl Listener {
    /// Takes a listening socket; those that it accepts have its options.
    pub(crate) fn new(listener: OwnedFd) -> io::Result<Self> {
        let socket = Socket::from(listener);
        socket.set_nonblocking(true)?;
        socket.set_tcp_nodelay(true)?;
        socket.set_out_of_band_inline(true)?;
        socket.set_tcp_congestion(CONGESTION)?;
        // A client that is not expected, or whose flow fails, sees a RST.
        socket.set_linger(Some(Duration::ZERO))?;
        Ok(Self(socket))
    }

    /// The next connection; `None`: there is none.
    pub(crate) fn accept(&self) -> io::Result<Option<(Socket, Ends)>> {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        loop {
            match acceptfrom_with(&self.0, flags) {
                Ok((socket, Some(client))) => {
                    let Ok(server) = getsockname(&socket) else { continue };
                    if let (Some(client), Some(server)) = (canonical(client), canonical(server)) {
                        return Ok(Some((socket.into(), (client, server))));
                    }
                }
                Err(Errno::AGAIN) => return Ok(None),
                Err(error @ (Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM)) => {
                    return Err(error.into());
                }
                // That connection has ended already.
                Ok(_) | Err(_) => {}
            }
        }
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// An address as the engine writes it: IPv4 is not mapped.
fn canonical(address: SocketAddrAny) -> Option<SocketAddr> {
    let address = SocketAddr::try_from(address).ok()?;
    Some(SocketAddr::new(address.ip().to_canonical(), address.port()))
}
