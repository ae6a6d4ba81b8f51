//! The source address for each peer: the local address that received its last authenticated message.
//!
//! By default the kernel uses the address of the outgoing route. On a machine with several addresses it
//! may differ from the one that the peer sent to, and a firewall or NAT on the path drops the answer.
//! Only then is the source address set explicitly. For all other peers the kernel chooses, so a machine
//! that moves to another network sends from its new address at once.

use adit_device::broker::InetSocket;
use adit_device::rights::open_inet;
use rustix::net::sockopt;
use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::OwnedFd;

/// The number of peers whose source address is stored: as many as have sessions on the largest servers.
/// When the table is full, it is cleared, and each peer is learned again from its next message.
const PEERS_MAX: usize = 4096;

/// The source addresses of all peers.
#[derive(Debug, Default)]
pub(crate) struct Sources {
    known: BTreeMap<SocketAddr, Known>,
    /// The number of peers with an explicit source address.
    named: usize,
    /// The last peer and local address: most messages repeat them.
    last: Option<(SocketAddr, IpAddr)>,
}

#[derive(Clone, Copy, Debug)]
struct Known {
    at: IpAddr,
    is_named: bool,
}

impl Sources {
    /// Learns from an authenticated message of a peer to a local address. `chosen` returns the source
    /// address that the kernel would choose.
    #[inline]
    pub(crate) fn heard(
        &mut self,
        peer: SocketAddr,
        at: IpAddr,
        chosen: impl FnOnce() -> Option<IpAddr>,
    ) {
        if self.last != Some((peer, at)) {
            self.last = Some((peer, at));
            if self.known.get(&peer).is_none_or(|known| known.at != at) {
                self.learn(peer, at, chosen() != Some(at));
            }
        }
    }

    /// Returns the explicit source address for a peer, if it needs one.
    #[inline]
    pub(crate) fn of(&self, peer: SocketAddr) -> Option<IpAddr> {
        if self.named == 0 {
            return None;
        }
        self.known.get(&peer).filter(|known| known.is_named).map(|known| known.at)
    }

    /// Forgets a peer when a handshake begins: a wrong source address must not make it fail again.
    pub(crate) fn forget(&mut self, peer: SocketAddr) {
        self.last = None;
        if self.known.remove(&peer).is_some_and(|known| known.is_named) {
            self.named -= 1;
        }
    }

    #[cold]
    fn learn(&mut self, peer: SocketAddr, at: IpAddr, is_named: bool) {
        self.forget(peer);
        if self.known.len() >= PEERS_MAX {
            *self = Self::default();
        }
        self.named += usize::from(is_named);
        self.known.insert(peer, Known { at, is_named });
    }
}

/// Returns the source address that the kernel chooses for a peer; `None` without a route.
pub(crate) fn chosen(peer: SocketAddr, mark: u32) -> Option<IpAddr> {
    Some(UdpSocket::from(probe(peer, mark).ok()?).local_addr().ok()?.ip())
}

/// A socket that is connected, and sends nothing.
fn probe(to: SocketAddr, mark: u32) -> io::Result<OwnedFd> {
    let any: IpAddr = match to {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let at = SocketAddr::new(any, 0);
    open_inet(&InetSocket { mark, to: Some(to), ..InetSocket::udp(at) })
}

/// Returns the path MTU that the kernel knows. The kernel reports it for connected sockets only.
///
/// # Errors
/// ENETUNREACH: there is no route.
pub fn path_mtu(to: SocketAddr) -> io::Result<u32> {
    let probe = probe(to, 0)?;
    let mtu = if to.is_ipv4() { sockopt::ip_mtu(&probe)? } else { sockopt::ipv6_mtu(&probe)? };
    Ok(mtu)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_address_that_the_kernel_would_not_take_is_named() {
        let [a, b]: [IpAddr; 2] = ["192.0.2.1", "192.0.2.2"].map(|text| text.parse().unwrap());
        let peer = |port| SocketAddr::new("198.51.100.1".parse().unwrap(), port);
        let mut sources = Sources::default();
        sources.heard(peer(1), a, || Some(a));
        assert_eq!(sources.of(peer(1)), None);
        sources.heard(peer(2), b, || Some(a));
        assert_eq!(sources.of(peer(2)), Some(b));
        sources.heard(peer(2), b, || unreachable!("it is known"));
        sources.heard(peer(1), a, || unreachable!("it is known"));
        sources.heard(peer(2), a, || Some(a));
        assert_eq!((sources.of(peer(2)), sources.named), (None, 0));
        sources.heard(peer(2), b, || None);
        sources.forget(peer(2));
        assert_eq!((sources.of(peer(2)), sources.named), (None, 0));
        for port in 0..=u16::MAX {
            sources.heard(peer(port), b, || Some(a));
            assert!(sources.known.len() <= PEERS_MAX && sources.named <= PEERS_MAX);
        }
        assert_eq!(sources.of(peer(u16::MAX)), Some(b));
    }
}
