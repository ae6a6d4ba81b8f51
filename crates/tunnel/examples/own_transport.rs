//! A WireGuard tunnel over a transport of your own: two tunnels, joined by a pair of channels.
//!
//! The tunnel makes datagrams and takes datagrams; what carries them is yours. Here it is
//! `std::sync::mpsc`; a serial line, a WebSocket or a message queue fits as well, as long as it keeps
//! the bounds of datagrams. Run it: `cargo run -p adit-tunnel --example own_transport`.

#![expect(clippy::print_stdout, reason = "an example prints its result")]

use adit_engine::{Endpoint, Engine, Outbox, PortId, datagrams};
use adit_packet::{Batch, Gso, Instant, Ipv4Header, Pool, PoolConfig, VnetHeader, ip_protocol};
use adit_tunnel::{PeerConfig, PrivateKey, Random, Tunnel, TunnelConfig};
use std::error::Error;
use std::fs::File;
use std::io::Read;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

/// The port of the TUN device, if there were one: IP packets go in and out here.
const DEVICE: PortId = PortId(0);

/// An endpoint is a name for the tunnel: where the transport has no UDP addresses, any address does.
fn far_end() -> Endpoint {
    Endpoint::Udp(SocketAddr::from(([192, 0, 2, 1], 1)))
}

/// One side: a tunnel, and its end of the transport.
struct Side {
    tunnel: Tunnel,
    out: Outbox,
    to_peer: Sender<Vec<u8>>,
    from_peer: Receiver<Vec<u8>>,
    /// IP packets that came out of the tunnel.
    received: Vec<Vec<u8>>,
}

impl Side {
    /// An IP packet from our side, to be sent to the peer; `vnet` marks a super-packet.
    fn send(&mut self, now: Instant, packet: &[u8], vnet: VnetHeader) {
        let mut buffer = self.out.pool().take(packet.len()).expect("a pool with free buffers");
        buffer.extend(packet).expect("a buffer of that length was taken");
        buffer.meta.vnet = vnet;
        self.tunnel.handle(now, Endpoint::Port(DEVICE), buffer, &mut self.out);
        self.flush();
    }

    /// Takes what the transport brought.
    fn receive(&mut self, now: Instant) -> usize {
        let mut count = 0;
        while let Ok(datagram) = self.from_peer.try_recv() {
            let mut buffer = self.out.pool().take(datagram.len()).expect("free buffers");
            buffer.extend(&datagram).expect("a buffer of that length was taken");
            self.tunnel.handle(now, far_end(), buffer, &mut self.out);
            count += 1;
        }
        self.flush();
        count
    }

    /// Sends what the tunnel has put into its outbox.
    fn flush(&mut self) {
        // A loop with several local addresses takes the requests as well.
        while self.out.next_request().is_some() {}
        let mut batch = Batch::new();
        while let Some(to) = self.out.next_group(&mut batch) {
            for packet in batch.drain(..) {
                match to {
                    Endpoint::Port(DEVICE) => self.received.push(packet.bytes().to_vec()),
                    // A packet for a peer may be a train: each datagram of it is sent alone.
                    _ => datagrams(&packet).for_each(|datagram| {
                        // A peer that has gone loses datagrams, as on any network.
                        let _ = self.to_peer.send(datagram.to_vec());
                    }),
                }
                self.out.pool().give(packet);
            }
        }
    }
}

/// Key material comes from the kernel.
fn random() -> std::io::Result<Random> {
    let mut source = File::open("/dev/urandom")?;
    Ok(Box::new(move |bytes| source.read_exact(bytes).expect("it never ends")))
}

fn new_key() -> std::io::Result<PrivateKey> {
    let mut bytes = [0; 32];
    random()?(&mut bytes);
    Ok(PrivateKey::from_bytes(bytes))
}

/// A packet from 10.0.0.1 to 10.0.0.2 with a payload of zeros.
fn ip_packet(protocol: u8, payload: &[u8]) -> Result<Vec<u8>, Box<dyn Error>> {
    let header = Ipv4Header {
        tos: 0,
        total_len: u16::try_from(Ipv4Header::LEN + payload.len())?,
        id: 0,
        dont_fragment: true,
        fragment: None,
        ttl: 64,
        protocol,
        source: Ipv4Addr::new(10, 0, 0, 1),
        destination: Ipv4Addr::new(10, 0, 0, 2),
    };
    Ok([&header.to_bytes(), payload].concat())
}

pub(crate) fn main() -> Result<(), Box<dyn Error>> {
    let keys = [new_key()?, new_key()?];
    let (to_second, from_first) = channel();
    let (to_first, from_second) = channel();
    let ends = [(to_second, from_second, 0), (to_first, from_first, 1)];
    let mut now = Instant::ZERO;
    let mut sides = Vec::new();
    for (to_peer, from_peer, us) in ends {
        let private_key = Some(keys[us].clone());
        let config = TunnelConfig { private_key, device: Some(DEVICE), ..TunnelConfig::default() };
        let mut tunnel = Tunnel::new(config, random()?);
        let mut peer = PeerConfig::new(keys[1 - us].public_key());
        peer.endpoint = Some(far_end());
        peer.allowed_ips = vec!["10.0.0.0/24".parse()?];
        tunnel.set_peer(now, peer);
        let out = Outbox::new(Pool::new(PoolConfig::default()));
        sides.push(Side { tunnel, out, to_peer, from_peer, received: Vec::new() });
    }

    // The first packet makes the handshake; it waits until that is done.
    let hello = ip_packet(ip_protocol::UDP, &[0, 7, 0, 7, 0, 8, 0, 0])?;
    sides[0].send(now, &hello, VnetHeader::default());
    // TCP in one super-packet of 30 segments, as a kernel gives it to a TUN device with offloads.
    let mut tcp = vec![0; 20 + 30 * 1000];
    tcp[12] = 5 << 4;
    let vnet = VnetHeader { gso: Gso::Tcp4, gso_size: 1000, hdr_len: 40, ..VnetHeader::default() };
    sides[0].send(now, &ip_packet(ip_protocol::TCP, &tcp)?, vnet);

    // The loop of a program: move datagrams, then sleep until the next timer.
    for _ in 0..100 {
        while sides.iter_mut().map(|side| side.receive(now)).sum::<usize>() > 0 {}
        let next = sides.iter().filter_map(|side| side.tunnel.next_timeout()).min();
        now = next.unwrap_or(now).max(now + Duration::from_millis(1));
        for side in &mut sides {
            side.tunnel.handle_timeout(now, &mut side.out);
            side.flush();
        }
    }

    let received = &sides[1].received;
    assert!(received.contains(&hello), "the first packet crossed");
    let bytes: usize = received.iter().map(Vec::len).sum();
    println!("{} packets crossed, {bytes} bytes", received.len());
    assert!(bytes >= 30_000, "the super-packet crossed as well");
    for (side, key) in sides.iter().zip(keys.iter().rev()) {
        let peer = side.tunnel.status(now, &key.public_key()).ok_or("no such peer")?;
        println!("{}: sent {}, received {}", peer.public_key, peer.bytes_sent, peer.bytes_received);
    }
    Ok(())
}
