//! The TCP listener: each connection becomes the port of an unauthenticated host.

use crate::file::values::canonical;
use adit_device::broker::InetSocket;
use adit_device::rights::open_inet;
use adit_runtime::PeerOptions;
use adit_runtime::port::messages::MessagePort;
use adit_runtime::port::{Hub, HubCx, HubRecv};
use rustix::io::Errno;
use rustix::net::{SocketFlags, acceptfrom_with};
use socket2::{Socket, TcpKeepalive};
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

/// How many connections may wait to be accepted: the kernel's default maximum, so that a flood from one host does
/// not delay others by a second, after which TCP tries again.
const BACKLOG: i32 = 4096;

/// A connection counts as dead when sent data is not acknowledged for this time; idle connections are probed
/// as often. TCP's own 15 minutes would keep a place occupied, and a peer waiting.
const DEAD_AFTER: Duration = Duration::from_secs(30);

/// How many bytes may wait in the kernel: with more, a packet would be old when it leaves.
const NOT_SENT_MAX: u32 = 64 * 1024;

/// A listening socket.
#[derive(Debug)]
pub(super) struct Listener {
    socket: Socket,
    name: String,
}

impl Listener {
    /// Listens on a port, in both families where the machine has both.
    ///
    /// # Errors
    /// EADDRINUSE, EACCES for a port below 1024.
    pub(super) fn bind(port: u16, options: &PeerOptions) -> io::Result<Self> {
        let any_v6 = SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), port);
        let any_v4 = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), port);
        let socket = match options.source {
            Some(source) => open(SocketAddr::new(source, port), None, options)?,
            None => match open(any_v6, None, options) {
                // A machine without IPv6.
                Err(error) if error.raw_os_error() == Some(Errno::AFNOSUPPORT.raw_os_error()) => {
                    open(any_v4, None, options)?
                }
                opened => opened?,
            },
        };
        socket.listen(BACKLOG)?;
        Ok(Self { socket, name: format!("tcp:{port}") })
    }

    /// Continues with the listening socket of another process.
    pub(super) fn adopt(port: u16, socket: OwnedFd) -> Self {
        Self { socket: socket.into(), name: format!("tcp:{port}") }
    }
}

impl Hub for Listener {
    fn name(&self) -> &str {
        &self.name
    }

    fn fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    fn recv(&mut self, _: &mut HubCx<'_>) -> HubRecv {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        match acceptfrom_with(&self.socket, flags) {
            Ok((socket, from)) => {
                let from = from.and_then(|from| SocketAddr::try_from(from).ok());
                let name = from.map_or_else(String::new, stream_name);
                match MessagePort::unauthenticated(name, socket) {
                    Ok(port) => HubRecv::Accepted(Box::new(port)),
                    Err(error) => HubRecv::Failed(error),
                }
            }
            Err(Errno::AGAIN) => HubRecv::Nothing,
            // The connection was closed before accept(2).
            Err(Errno::CONNABORTED | Errno::INTR) => HubRecv::Some,
            Err(error @ (Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM)) => {
                HubRecv::Exhausted(error.into())
            }
            // accept(2) reports errors of the network as well.
            Err(error) => HubRecv::Failed(error.into()),
        }
    }
}

/// The name of the port of a TCP connection, which [`crate::address::address`] reads.
pub(super) fn stream_name(far: SocketAddr) -> String {
    format!("tcp:{}", canonical(far))
}

/// A non-blocking TCP socket, bound, marked, and connecting to an address. Accepted connections inherit its options.
pub(super) fn open(
    at: SocketAddr,
    to: Option<SocketAddr>,
    options: &PeerOptions,
) -> io::Result<Socket> {
    let only_v6 = at.is_ipv6() && at.port() != 0 && !at.ip().is_unspecified();
    let socket = Socket::from(open_inet(&InetSocket {
        is_stream: true,
        only_v6,
        reuse: true,
        mark: options.mark,
        to,
        ..InetSocket::udp(at)
    })?);
    socket.set_tcp_nodelay(true)?;
    // Old kernels do not have it: then more waits.
    let _ = socket.set_tcp_notsent_lowat(NOT_SENT_MAX);
    socket.set_tcp_user_timeout(Some(DEAD_AFTER))?;
    let keepalive = TcpKeepalive::new().with_time(DEAD_AFTER).with_interval(DEAD_AFTER / 3);
    socket.set_tcp_keepalive(&keepalive)?;
    Ok(socket)
}
