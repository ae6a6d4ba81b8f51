//! UDP sockets: several datagrams a system call, both ways.

use crate::format::vxlan_header;
use crate::port::PortCounters;
use adit_engine::PortId;
use quinn_udp::{RecvMeta, Transmit, UdpSockRef, UdpSocketState};
use rustix::io::Errno;
use rustix::net::sockopt::{self, Ipv4PathMtuDiscovery, Ipv6PathMtuDiscovery};
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, socket_with};
use std::io::{self, IoSliceMut};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

/// How many bytes of datagrams may wait in the kernel each way: 64 trains of 64 KiB. It is the queue
/// of a port that is behind the socket; past it, datagrams are dropped and counted.
const SOCKET_BUFFER_LEN: usize = 4 << 20;

/// The longest payload of a datagram, and of a train of them (IPv4; IPv6 allows 20 bytes more).
pub const TRAIN_LEN_MAX: usize = 65_507;

/// How many datagrams one call sends (`UDP_MAX_SEGMENTS` of kernels before 6.9).
pub const TRAIN_COUNT_MAX: usize = 64;

/// A socket and what the kernel can do with it, for all who send by it.
#[derive(Debug)]
pub struct UdpIo {
    socket: std::net::UdpSocket,
    state: UdpSocketState,
}

impl UdpIo {
    pub fn new(socket: std::net::UdpSocket) -> io::Result<Self> {
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
    /// fit an underlay of the same: over IPv4 by whoever needs to, as those of Linux's own device; over
    /// IPv6 by this host, as soon as it knows how narrow the path is.
    pub fn bind_vxlan(local: SocketAddr) -> io::Result<Self> {
        let family = if local.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let fd = socket_with(family, SocketType::DGRAM, flags, None)?;
        if local.is_ipv6() {
            sockopt::set_ipv6_v6only(&fd, true)?;
        }
        bind(&fd, &local)?;
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
    pub fn send(&self, to: SocketAddr, bytes: &[u8], stride: usize) -> io::Result<()> {
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
    pub fn recv(&self, bytes: &mut [u8]) -> io::Result<(SocketAddr, usize, usize)> {
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

/// What an error of [`UdpIo::send`] means for `count` frames.
pub fn count_unsent(counters: &mut PortCounters, count: u64, error: &io::Error) {
    *match Errno::from_io_error(error) {
        Some(Errno::AGAIN | Errno::NOBUFS | Errno::NOMEM) => &mut counters.queue_full,
        Some(
            Errno::NETUNREACH
            | Errno::HOSTUNREACH
            | Errno::NETDOWN
            | Errno::ADDRNOTAVAIL
            | Errno::NODEV,
        ) => &mut counters.link_down,
        Some(Errno::MSGSIZE) => &mut counters.too_big,
        _ => &mut counters.refused,
    } += count;
}

/// A UDP socket for VXLAN.
pub struct UdpSocket {
    pub io: Arc<UdpIo>,
    /// Where it is bound.
    pub local: SocketAddr,
    /// The ports by segment and remote.
    pub members: Vec<(u32, IpAddr, PortId)>,
    /// Where the last datagram's port stands.
    pub last: usize,
    /// Datagrams that nobody here wants: no VXLAN, or of strangers.
    pub refused: u64,
}

impl UdpSocket {
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.io.as_fd()
    }

    /// The port of a segment and remote.
    pub fn find(&mut self, vni: u32, remote: IpAddr) -> Option<PortId> {
        let Self { members, last, .. } = self;
        let is_it = |&(v, r, _): &(u32, IpAddr, PortId)| (v, r) == (vni, remote);
        if !members.get(*last).is_some_and(is_it) {
            *last = members.iter().position(is_it)?;
        }
        members.get(*last).map(|&(_, _, id)| id)
    }

    /// Whether nobody is left for whom it is there, now that `id` has gone.
    pub fn leave(&mut self, id: PortId) -> bool {
        let before = self.members.len();
        self.members.retain(|&(_, _, member)| member != id);
        before > 0 && self.members.is_empty()
    }
}

/// Each VXLAN frame of what was received, with its segment; `None` for what is no such frame.
pub fn frames(bytes: &[u8], stride: usize) -> impl Iterator<Item = Option<(u32, &[u8])>> {
    bytes.chunks(stride.max(1)).map(vxlan_header::parse)
}
