//! UDP sockets: options that rustix does not cover, and datagrams with all that the kernel reports of them.

use crate::{control, sys};
use std::io::{self, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::AsFd;
use std::time::Duration;

/// How many datagrams or trains [`recv_datagrams`] receives in one call.
pub const DATAGRAMS_MAX: usize = sys::udp::MESSAGES_MAX;

/// The place of `SK_MEMINFO_DROPS`.
const DROPS: usize = 8;

/// A received datagram, or a train of datagrams of one length (`UDP_GRO`).
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct ReceivedDatagrams {
    /// The sender.
    pub from: SocketAddr,
    /// The local address that it was sent to (`IP_PKTINFO`).
    pub to: Option<IpAddr>,
    /// Its length in bytes.
    pub len: usize,
    /// The length of each datagram of it but the last.
    pub stride: usize,
    /// The traffic class of its IP header (`IP_RECVTOS`); 0 if it is unknown.
    pub traffic_class: u8,
    /// When the kernel received it, since 1970 (`SO_TIMESTAMPNS`).
    pub time: Option<Duration>,
}

/// Receives datagrams or trains, each into a buffer of its own; does not block. `take` gets each with the index of its
/// buffer. Returns their number. The socket reports what its options request.
///
/// # Errors
/// EAGAIN: there is none. ECONNREFUSED and others, once: an ICMP error for a datagram sent before.
pub fn recv_datagrams(
    socket: impl AsFd,
    bufs: &mut [IoSliceMut<'_>],
    mut take: impl FnMut(usize, ReceivedDatagrams),
) -> io::Result<usize> {
    let mut messages = [sys::udp::Message::default(); DATAGRAMS_MAX];
    let count = sys::udp::receive(socket.as_fd(), bufs, &mut messages)?;
    for (at, message) in messages.iter().take(count).enumerate() {
        let mut received = ReceivedDatagrams {
            from: address(&message.name),
            to: None,
            len: message.len,
            stride: message.len,
            traffic_class: 0,
            time: None,
        };
        control::each(&message.control, message.control_len, |level, kind, data| {
            received.note(level, kind, data);
        });
        take(at, received);
    }
    Ok(count)
}

impl ReceivedDatagrams {
    #[inline]
    fn note(&mut self, level: i32, kind: i32, data: &[u8]) {
        match (level, kind) {
            (libc::SOL_SOCKET, libc::SCM_TIMESTAMPNS) => self.time = control::time(data),
            (libc::SOL_UDP, libc::UDP_GRO) => {
                let stride = data.first_chunk().map(|data| i32::from_ne_bytes(*data));
                self.stride = stride.and_then(|len| usize::try_from(len).ok()).unwrap_or(self.len);
            }
            // struct in_pktinfo { int index; struct in_addr local, destination; }
            (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
                let to = data.get(8..).and_then(|data| data.first_chunk::<4>());
                self.to = to.map(|to| Ipv4Addr::from(*to).into());
            }
            // struct in6_pktinfo { struct in6_addr address; int index; }
            (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
                self.to = data.first_chunk::<16>().map(|to| Ipv6Addr::from(*to).into());
            }
            // One byte of IPv4, an int of IPv6.
            (libc::IPPROTO_IP, libc::IP_TOS) => {
                self.traffic_class = data.first().copied().unwrap_or(0);
            }
            (libc::IPPROTO_IPV6, libc::IPV6_TCLASS) => {
                let class = data.first_chunk().map_or(0, |data| i32::from_ne_bytes(*data));
                self.traffic_class = u8::try_from(class).unwrap_or(0);
            }
            _ => {}
        }
    }
}

/// `struct sockaddr_in` or `struct sockaddr_in6`.
fn address(name: &[u8; 28]) -> SocketAddr {
    let [f0, f1, p0, p1, rest @ ..] = *name;
    let port = u16::from_be_bytes([p0, p1]);
    let [a, b, c, d, rest @ ..] = rest;
    if i32::from(u16::from_ne_bytes([f0, f1])) == libc::AF_INET {
        return SocketAddrV4::new(Ipv4Addr::new(a, b, c, d), port).into();
    }
    let [ip @ .., s0, s1, s2, s3] = rest;
    let scope = u32::from_ne_bytes([s0, s1, s2, s3]);
    SocketAddrV6::new(Ipv6Addr::from(ip), port, 0, scope).into()
}

/// Returns how many datagrams or trains the socket dropped since it was opened, because its receive buffer was full: what
/// `SO_RXQ_OVFL` reports with each datagram, modulo 2^32.
///
/// # Errors
/// ENOPROTOOPT before Linux 4.12.
pub fn dropped_datagrams(socket: impl AsFd) -> io::Result<u32> {
    Ok(sys::udp::memory_info(socket.as_fd())?[DROPS])
}

/// Allows the kernel to fragment the datagrams of an IPv6 socket (turns `IPV6_DONTFRAG` off).
///
/// The kernel still does not fragment them if `IPV6_MTU_DISCOVER` forbids it (ipv6(7), RFC 3542,
/// section 11.2).
///
/// # Errors
/// ENOPROTOOPT: the socket is not an IPv6 socket.
pub fn allow_ipv6_fragments(socket: impl AsFd) -> io::Result<()> {
    sys::udp::allow_fragments(socket.as_fd())
}

/// Sets whether ICMP errors that packets of a socket meet are reported as errors of the socket (`IP_RECVERR`,
/// `IPV6_RECVERR`), those of the path MTU included. Each is also in the socket's error queue, which
/// epoll reports until it is read.
///
/// # Errors
/// ENOPROTOOPT: the socket is of the other family.
pub fn report_icmp_errors(socket: impl AsFd, is_ipv4: bool, on: bool) -> io::Result<()> {
    sys::udp::report_errors(socket.as_fd(), is_ipv4, on)
}
