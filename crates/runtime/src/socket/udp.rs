//! UDP sockets: several datagrams a system call, both ways.

use adit_device::broker::InetSocket;
use adit_device::rights::open_inet;
use quinn_udp::{RecvMeta, Transmit, UdpSockRef, UdpSocketState};
use rustix::net::sockopt::{self, Ipv4PathMtuDiscovery, Ipv6PathMtuDiscovery};
use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd};

/// Has quinn-udp ask for the version of the kernel (`uname`), which it does once: before a sandbox forbids it.
pub fn ask_for_the_kernel() {
    if let Ok(socket) = std::net::UdpSocket::bind("0.0.0.0:0") {
        // What else it finds is that of another socket.
        let _ = UdpSocketState::new(UdpSockRef::from(&socket));
    }
}

/// The system calls of an open socket; quinn-udp sets its options.
pub(crate) const SYSCALLS: &[&str] =
    &["getsockname", "getsockopt", "recvmmsg", "recvmsg", "sendmsg", "setsockopt"];

/// How many bytes of datagrams may wait in the kernel each way: 64 trains of 64 KiB. It is the queue
/// of a port that is behind the socket; past it, datagrams are dropped and counted.
const SOCKET_BUFFER_LEN: usize = 4 << 20;

/// The longest payload of a datagram, and of a train of them (IPv4; IPv6 allows 20 bytes more).
pub(crate) const TRAIN_LEN_MAX: usize = 65_507;

/// How many datagrams one call sends (`UDP_MAX_SEGMENTS` of kernels before 6.9).
pub(crate) const TRAIN_COUNT_MAX: usize = 64;

/// A socket and what the kernel can do with it, for all who send by it.
#[derive(Debug)]
pub(crate) struct UdpIo {
    socket: std::net::UdpSocket,
    state: UdpSocketState,
}

impl UdpIo {
    pub(crate) fn new(socket: std::net::UdpSocket) -> io::Result<Self> {
        let state = UdpSocketState::new(UdpSockRef::from(&socket))?;
        for (force, ask) in [
            (
                sockopt::set_socket_send_buffer_size_force::<&std::net::UdpSocket> as fn(_, _) -> _,
                sockopt::set_socket_send_buffer_size::<&std::net::UdpSocket> as fn(_, _) -> _,
            ),
            (
                sockopt::set_socket_recv_buffer_size_force::<&std::net::UdpSocket>,
                sockopt::set_socket_recv_buffer_size::<&std::net::UdpSocket>,
            ),
        ] {
            // No more than `net.core.[rw]mem_max` without privilege.
            if force(&socket, SOCKET_BUFFER_LEN).is_err() {
                ask(&socket, SOCKET_BUFFER_LEN)?;
            }
        }
        Ok(Self { socket, state })
    }

    /// A socket for VXLAN. Its datagrams may be cut into fragments, for a frame of a full MTU does not
    /// fit an underlay of the same: over IPv4 by any router, as those of Linux's own device; over
    /// IPv6 by this host, as soon as it knows how narrow the path is.
    pub(crate) fn bind_vxlan(local: SocketAddr) -> io::Result<Self> {
        let buffers = Some((SOCKET_BUFFER_LEN, SOCKET_BUFFER_LEN));
        let wanted = InetSocket { only_v6: true, buffers, ..InetSocket::udp(local) };
        let fd = open_inet(&wanted)?;
        let io = Self::new(fd.into())?;
        if local.is_ipv4() {
            sockopt::set_ip_mtu_discover(&io.socket, Ipv4PathMtuDiscovery::DONT)?;
        } else {
            sockopt::set_ipv6_mtu_discover(&io.socket, Ipv6PathMtuDiscovery::DONT)?;
            adit_device::allow_ipv6_fragments(&io.socket)?;
        }
        Ok(io)
    }

    /// Sends one datagram, or several of `stride` bytes each but the last.
    pub(crate) fn send(&self, to: SocketAddr, bytes: &[u8], stride: usize) -> io::Result<()> {
        let transmit = Transmit {
            destination: to,
            ecn: None,
            contents: bytes,
            segment_size: Some(stride),
            src_ip: None,
        };
        self.state.try_send(UdpSockRef::from(&self.socket), &transmit)
    }

    /// Receives into `bytes`: from whom, how many bytes, and the length of each datagram in them.
    pub(crate) fn recv(&self, bytes: &mut [u8]) -> io::Result<(SocketAddr, usize, usize)> {
        let mut meta = [RecvMeta::default()];
        let mut bufs = [IoSliceMut::new(bytes)];
        self.state.recv(UdpSockRef::from(&self.socket), &mut bufs, &mut meta)?;
        let [meta] = meta;
        // A v4 peer of a v6 socket is one and the same peer.
        let from = SocketAddr::new(meta.addr.ip().to_canonical(), meta.addr.port());
        Ok((from, meta.len, meta.stride))
    }
}

impl AsFd for UdpIo {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
