//! The listening socket of a flow.

use crate::socket::flow_event::FlowRecv;
use crate::socket::tcp_flow::TcpFlow;
use adit_engine::FlowEvent;
use rustix::io::Errno;
use socket2::{Domain, Protocol, Socket, Type};
use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

/// Connections that wait in the kernel: as many as Linux allows by default.
const BACKLOG: i32 = 4096;

/// Connections that are accepted in one go, and wait for the engine at most.
const ACCEPTS_MAX: usize = 64;

/// A listening socket.
#[derive(Debug)]
pub(crate) struct ListenFlow {
    socket: Socket,
    local: SocketAddr,
    /// Connections for the engine to accept or refuse.
    waiting: VecDeque<Socket>,
}

impl ListenFlow {
    pub(crate) fn open(local: SocketAddr) -> io::Result<Self> {
        let kind = Type::STREAM.nonblocking().cloexec();
        let socket = Socket::new(Domain::for_address(local), kind, Some(Protocol::TCP))?;
        if local.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        // Past connections in TIME-WAIT do not keep the port.
        socket.set_reuse_address(true)?;
        socket.bind(&local.into())?;
        socket.listen(BACKLOG)?;
        let local = socket.local_addr()?.as_socket().unwrap_or(local);
        Ok(Self { socket, local, waiting: VecDeque::new() })
    }

    /// Takes over a socket that another program has opened.
    ///
    /// # Errors
    /// EINVAL: it does not listen for TCP; EAFNOSUPPORT: it takes IPv4 on an IPv6 address, so that nobody knows
    /// the family of the next client.
    pub(crate) fn adopt(socket: OwnedFd) -> io::Result<Self> {
        let socket = Socket::from(socket);
        let local = socket.local_addr()?.as_socket().ok_or(Errno::INVAL)?;
        if !socket.is_listener()? || socket.protocol()? != Some(Protocol::TCP) {
            return Err(Errno::INVAL.into());
        }
        if local.is_ipv6() && local.ip().is_unspecified() && !socket.only_v6()? {
            return Err(Errno::AFNOSUPPORT.into());
        }
        socket.set_nonblocking(true)?;
        Ok(Self { socket, local, waiting: VecDeque::new() })
    }

    pub(crate) const fn local(&self) -> SocketAddr {
        self.local
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// The event of its opening.
    pub(crate) const fn connected(&self) -> FlowEvent {
        FlowEvent::Connected { local: self.local, path_mtu: 0 }
    }

    /// Accepts what waits in the kernel.
    pub(crate) fn recv(&mut self, events: &mut impl FnMut(FlowEvent)) -> FlowRecv {
        while self.waiting.len() < ACCEPTS_MAX {
            match self.socket.accept() {
                Ok((socket, from)) => {
                    let Some(from) = from.as_socket() else { continue };
                    if socket.set_nonblocking(true).is_ok() {
                        self.waiting.push_back(socket);
                        events(FlowEvent::Incoming { from });
                    }
                }
                Err(error) => match Errno::from_io_error(&error) {
                    Some(Errno::AGAIN) => break,
                    // No descriptor or memory: it stays readable, so it must rest.
                    Some(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM) => {
                        return FlowRecv::NoBuffer;
                    }
                    // That connection has ended already.
                    _ => {}
                },
            }
        }
        FlowRecv::Nothing
    }

    /// The connection that waits longest, as a flow.
    pub(crate) fn accept(&mut self) -> io::Result<TcpFlow> {
        TcpFlow::accepted(self.waiting.pop_front().ok_or(Errno::AGAIN)?)
    }

    /// Resets the connection that waits longest.
    pub(crate) fn refuse(&mut self) {
        if let Some(socket) = self.waiting.pop_front() {
            // Without it the client sees a FIN.
            let _ = socket.set_linger(Some(Duration::ZERO));
        }
    }
}
