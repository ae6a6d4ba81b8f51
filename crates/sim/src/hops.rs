//! Datagrams that find out which routers are on a way, as `traceroute` does.

use alloc::vec;
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};

use smoltcp::iface::{SocketHandle, SocketSet};
use smoltcp::socket::{icmp, udp};
use smoltcp::wire::{Icmpv4Packet, Icmpv6Packet, IpListenEndpoint};

/// The port to which they are sent: nobody listens there.
const PORT: u16 = 33_434;
/// Bytes of an error with the datagram that it quotes.
const ERROR_LEN_MAX: usize = 1280;

/// A way that is found out.
pub(crate) struct Hops {
    seen: Vec<Option<IpAddr>>,
    /// The sockets of each datagram that is not answered: its own, and the one for errors about it.
    waiting: Vec<(usize, SocketHandle, SocketHandle)>,
}

impl Hops {
    /// Sends a datagram with each hop limit from 1 to `count`, from as many ports from `first` on.
    pub(crate) fn start(
        to: IpAddr,
        count: u8,
        first: u16,
        sockets: &mut SocketSet<'static>,
    ) -> Self {
        let mut waiting = Vec::new();
        for hop in 0..count {
            let port = first.saturating_add(u16::from(hop));
            let buffer = || udp::PacketBuffer::new(vec![udp::PacketMetadata::EMPTY; 1], vec![0; 8]);
            let mut socket = udp::Socket::new(buffer(), buffer());
            socket.bind(port).expect("a port that is not 0");
            socket.set_hop_limit(Some(hop + 1));
            let to = smoltcp::wire::IpEndpoint::from(SocketAddr::new(to, PORT));
            // Without an address of the family nothing is sent, and nobody answers.
            let _ = socket.send_slice(&[hop], to);
            let buffer = || {
                icmp::PacketBuffer::new(
                    vec![icmp::PacketMetadata::EMPTY; 1],
                    vec![0; ERROR_LEN_MAX],
                )
            };
            let mut errors = icmp::Socket::new(buffer(), buffer());
            errors
                .bind(icmp::Endpoint::Udp(IpListenEndpoint { addr: None, port }))
                .expect("a new socket");
            waiting.push((usize::from(hop), sockets.add(socket), sockets.add(errors)));
        }
        Self { seen: vec![None; usize::from(count)], waiting }
    }

    /// Who answered, by hop limits from 1 on.
    pub(crate) fn seen(&self) -> &[Option<IpAddr>] {
        &self.seen
    }

    pub(crate) fn read(&mut self, sockets: &mut SocketSet<'static>) {
        let seen = &mut self.seen;
        self.waiting.retain(|&(hop, datagram, errors)| {
            let socket: &mut icmp::Socket<'_> = sockets.get_mut(errors);
            let Ok((message, from)) = socket.recv() else { return true };
            let from = IpAddr::from(from);
            let is_valid = match from {
                IpAddr::V4(_) => Icmpv4Packet::new_checked(message).is_ok(),
                IpAddr::V6(_) => Icmpv6Packet::new_checked(message).is_ok(),
            };
            if let (true, Some(seen)) = (is_valid, seen.get_mut(hop)) {
                *seen = Some(from);
            }
            sockets.remove(datagram);
            sockets.remove(errors);
            false
        });
    }
}
