//! TCP sockets that listen and UDP sockets of servers, from sock_diag(7).

use super::message::{Message, Request, attributes};
use super::socket::{SOCK_DIAG, Socket};
use super::{ANSWER_TIME_MAX, Netlink};
use netlink_packet_core::NLM_F_DUMP;
use rustix::net::sockopt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::os::fd::OwnedFd;

/// `SOCK_DIAG_BY_FAMILY` (`sock_diag.h`).
const BY_FAMILY: u16 = 20;

/// `INET_DIAG_SKV6ONLY` (`inet_diag.h`).
const V6_ONLY: u16 = 11;

/// `TCP_LISTEN` as a bit of `idiag_states`.
const LISTEN: u32 = 1 << 10;

/// `TCP_CLOSE` as a bit of `idiag_states`: the state of UDP sockets that are not connected.
const UNCONNECTED: u32 = 1 << 7;

/// The length of `struct inet_diag_req_v2`.
///
/// ```text
/// | family u8 | protocol u8 | extensions u8 | 0 | states u32 | socket: 48 bytes |
/// ```
const REQUEST_LEN: usize = 56;

/// The length of `struct inet_diag_msg`, behind which attributes follow.
///
/// ```text
/// | family u8 | state u8 | timer u8 | retransmits u8 | source port be16 | port be16 | source 16 bytes | ...
/// ```
const ANSWER_LEN: usize = 72;

/// A socket that lists the TCP sockets that listen in one network namespace: that of the thread that opened it.
/// It needs no privilege. The kernel has no event for listen(2).
#[derive(Debug)]
pub struct Listeners {
    netlink: Netlink,
    /// UDP sockets, but those at these ports, which are of clients; `None`: TCP.
    datagrams: Option<RangeInclusive<u16>>,
}

impl Listeners {
    /// A socket in the network namespace of the calling thread.
    ///
    /// # Errors
    /// EPROTONOSUPPORT on a kernel without sock_diag.
    pub fn open() -> io::Result<Self> {
        let socket = Socket::open(None, SOCK_DIAG, 0)?;
        sockopt::set_socket_timeout(&socket.fd, sockopt::Timeout::Recv, Some(ANSWER_TIME_MAX))?;
        Ok(Self { netlink: Netlink { socket, sequence: 0, stale: false }, datagrams: None })
    }

    /// The socket that another process opened by [`Self::open`] and passed on.
    #[must_use]
    pub fn adopt(fd: OwnedFd) -> Self {
        Self { netlink: Netlink::adopt(fd), datagrams: None }
    }

    /// The same socket for UDP sockets that are bound and not connected, without those at the ports that the system
    /// gives to clients. The kernel does not tell servers from clients otherwise.
    ///
    /// # Errors
    /// EMFILE.
    pub fn of_datagrams(&self, clients: RangeInclusive<u16>) -> io::Result<Self> {
        let fd = self.netlink.socket.fd.try_clone()?;
        Ok(Self { netlink: Netlink::adopt(fd), datagrams: Some(clients) })
    }

    /// The addresses at which sockets listen now. One that listens for both families (`[::]`) is there twice.
    ///
    /// # Errors
    /// ENOENT on a kernel without tcp_diag, or udp_diag.
    pub fn list(&mut self) -> io::Result<Vec<SocketAddr>> {
        let mut all = Vec::new();
        let (protocol, states) = match self.datagrams {
            None => (libc::IPPROTO_TCP, LISTEN),
            Some(_) => (libc::IPPROTO_UDP, UNCONNECTED),
        };
        for family in [libc::AF_INET, libc::AF_INET6] {
            let mut header = [0; REQUEST_LEN];
            header[0] = u8::try_from(family).unwrap_or(0);
            header[1] = u8::try_from(protocol).unwrap_or(0);
            header[4..8].copy_from_slice(&states.to_ne_bytes());
            let mut request = Request::new(BY_FAMILY, NLM_F_DUMP, &header);
            all.extend(self.netlink.list(&mut request, listener)?.into_iter().flatten());
        }
        if let Some(clients) = &self.datagrams {
            all.retain(|at| !clients.contains(&at.port()));
        }
        Ok(all)
    }
}

impl From<Listeners> for OwnedFd {
    /// The socket, for [`Listeners::adopt`] in another process.
    fn from(listeners: Listeners) -> Self {
        listeners.netlink.into()
    }
}

/// The addresses of a listening socket: a second one if it takes IPv4 as well.
fn listener(message: &Message<'_>) -> Option<impl Iterator<Item = SocketAddr> + use<>> {
    let body: &[u8; ANSWER_LEN] = message.body.first_chunk()?;
    let port = u16::from_be_bytes([body[4], body[5]]);
    let (v4, v6): (&[u8; 4], &[u8; 16]) = (body[8..].first_chunk()?, body[8..].first_chunk()?);
    let ip = match i32::from(body[0]) {
        libc::AF_INET => IpAddr::V4(Ipv4Addr::from(*v4)),
        libc::AF_INET6 => Ipv6Addr::from(*v6).to_canonical(),
        _ => return None,
    };
    let is_v6_only = attributes(message.body.get(ANSWER_LEN..)?)
        .any(|(kind, value)| kind == V6_ONLY && value != [0]);
    let is_dual = ip == Ipv6Addr::UNSPECIFIED && !is_v6_only;
    let other = is_dual.then_some(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
    Some([Some(ip), other].into_iter().flatten().map(move |ip| SocketAddr::new(ip, port)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, UdpSocket};

    #[test]
    fn sockets_that_listen_are_listed() {
        let mut listeners = Listeners::open().unwrap();
        let one = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = one.local_addr().unwrap();
        assert!(listeners.list().unwrap().contains(&address));
        let dual = TcpListener::bind("[::]:0").unwrap();
        let port = dual.local_addr().unwrap().port();
        let found = listeners.list().unwrap();
        for text in [format!("[::]:{port}"), format!("0.0.0.0:{port}")] {
            assert!(found.contains(&text.parse().unwrap()), "{text}: {found:?}");
        }
        drop(one);
        assert!(!listeners.list().unwrap().contains(&address));
        // The same of UDP, and both lists in turn.
        let server = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = server.local_addr().unwrap();
        let mut all = listeners.of_datagrams(0..=0).unwrap();
        let mut others = listeners.of_datagrams(address.port()..=address.port()).unwrap();
        for _ in 0..3 {
            let found = listeners.list().unwrap();
            assert!(found.iter().any(|at| at.port() == port) && !found.contains(&address));
            assert!(all.list().unwrap().contains(&address));
            assert!(!others.list().unwrap().contains(&address));
        }
        drop(server);
        assert!(!all.list().unwrap().contains(&address));
    }
}
