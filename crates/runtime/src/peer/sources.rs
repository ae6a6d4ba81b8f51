//! From which of our addresses each peer is answered: the one that its last authentic message came to.
//!
//! The kernel takes the address of the way out. Where a machine has several, that is another one than
//! the peer wrote to, and a firewall or NAT on the way lets no such answer pass. Only where the two
//! differ is the address named with what is sent: elsewhere the kernel goes on choosing, so that a
//! machine that moves sends from its new address at once.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr, UdpSocket};

/// Peers of which it is known: as many as have sessions on the largest servers. With more, all are
/// learnt again, each from its next message.
const PEERS_MAX: usize = 4096;

/// The addresses by which peers are answered.
#[derive(Debug, Default)]
pub(crate) struct Sources {
    known: BTreeMap<SocketAddr, Known>,
    /// How many are named to the kernel.
    named: usize,
    /// Who was heard last, and where: most often it is the same again.
    last: Option<(SocketAddr, IpAddr)>,
}

#[derive(Clone, Copy, Debug)]
struct Known {
    at: IpAddr,
    is_named: bool,
}

impl Sources {
    /// An authentic message came from a peer to an address of ours; `chosen` is asked for the address
    /// that the kernel takes by itself.
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

    /// The address to name for a peer, if any.
    #[inline]
    pub(crate) fn of(&self, peer: SocketAddr) -> Option<IpAddr> {
        if self.named == 0 {
            return None;
        }
        self.known.get(&peer).filter(|known| known.is_named).map(|known| known.at)
    }

    /// A handshake begins: whatever was the cause of the last one's end is not to be that of this one's.
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

/// The address from which the kernel reaches a peer; `None` if it does not.
pub(crate) fn chosen(peer: SocketAddr, mark: u32) -> Option<IpAddr> {
    let any = if peer.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let probe = UdpSocket::bind(any).ok()?;
    if mark != 0 {
        socket2::SockRef::from(&probe).set_mark(mark).ok()?;
    }
    probe.connect(peer).ok()?;
    Some(probe.local_addr().ok()?.ip())
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
