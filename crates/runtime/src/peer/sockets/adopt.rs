//! Sockets that another process opened.

use super::{PeerSocket, PeerSockets};
use rustix::io::Errno;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

impl PeerSockets {
    /// Continues with the sockets of another process, for IPv4 and IPv6.
    ///
    /// # Errors
    /// EINVAL: there is none; those of reading their options.
    pub fn adopt(sockets: [Option<OwnedFd>; 2], mark: u32) -> io::Result<Self> {
        let mut port = 0;
        let [v4, v6] = sockets.map(|socket| {
            let socket = socket.map(|socket| PeerSocket::of(socket.into(), mark)).transpose()?;
            if let Some(socket) = &socket {
                port = socket.socket.local_addr()?.port();
            }
            io::Result::Ok(socket)
        });
        let sockets = [v4?, v6?];
        if sockets.iter().all(Option::is_none) {
            return Err(Errno::INVAL.into());
        }
        Ok(Self { sockets, port, number: 0 })
    }

    /// The sockets for IPv4 and IPv6, for a process that continues with them ([`Self::adopt`]).
    pub fn sockets(&self) -> [Option<BorrowedFd<'_>>; 2] {
        self.sockets.each_ref().map(|socket| socket.as_ref().map(|socket| socket.socket.as_fd()))
    }
}
