//! Many peers of one tunnel server, in one program and without devices.
//!
//! ```text
//! bench-peers config COUNT                     the server's configuration
//! bench-peers send COUNT SERVER RATE SECONDS   all connect; then RATE datagrams of 200 bytes a second, in turn
//! ```
//!
//! The keys are no secrets: they follow from the numbers of the peers.

use adit_engine::{Endpoint, Engine, Outbox, PortId, datagrams};
use adit_packet::{Batch, Instant, Ipv4Header, Pool, PoolConfig, ip_protocol};
use adit_tunnel::{PeerConfig, PrivateKey, Tunnel, TunnelConfig};
use std::error::Error;
use std::io::Read;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::Duration;

const DEVICE: PortId = PortId(0);
const LEN: usize = 200;

fn key(number: u16) -> PrivateKey {
    let [high, low] = number.to_be_bytes();
    let mut bytes = [7; 32];
    [bytes[1], bytes[2]] = [high, low];
    PrivateKey::from_bytes(bytes)
}

fn address(number: u16) -> Ipv4Addr {
    let [high, low] = number.to_be_bytes();
    Ipv4Addr::new(10, 98, high, low)
}

struct Peer {
    number: u16,
    tunnel: Tunnel,
    socket: UdpSocket,
    refused: u64,
}

impl Peer {
    fn new(number: u16, server: SocketAddr) -> Result<Self, Box<dyn Error>> {
        let config = TunnelConfig {
            private_key: Some(key(number)),
            device: Some(DEVICE),
            ..TunnelConfig::default()
        };
        let mut source = std::fs::File::open("/dev/urandom")?;
        let random = Box::new(move |bytes: &mut [u8]| source.read_exact(bytes).expect("endless"));
        let mut tunnel = Tunnel::new(config, random);
        let mut peer = PeerConfig::new(key(0).public_key());
        peer.endpoint = Some(Endpoint::Udp(server));
        peer.allowed_ips = vec!["0.0.0.0/0".parse()?];
        let unix = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
        tunnel.set_wall_clock(Instant::ZERO, unix);
        tunnel.set_peer(Instant::ZERO, peer);
        let socket = UdpSocket::bind(("0.0.0.0", 0))?;
        socket.connect(server)?;
        socket.set_nonblocking(true)?;
        Ok(Self { number, tunnel, socket, refused: 0 })
    }

    /// Sends one datagram through the tunnel.
    fn send(&mut self, now: Instant, out: &mut Outbox) {
        let header = Ipv4Header {
            tos: 0,
            total_len: u16::try_from(LEN).expect("200"),
            id: 0,
            dont_fragment: true,
            fragment: None,
            ttl: 64,
            protocol: ip_protocol::UDP,
            source: address(self.number),
            destination: Ipv4Addr::new(10, 99, 0, 9),
        };
        let mut packet = out.pool().take(LEN).expect("a free buffer");
        packet.extend(&header.to_bytes()).expect("room");
        packet.grow(LEN - Ipv4Header::LEN).expect("room").fill(9);
        self.tunnel.handle(now, Endpoint::Port(DEVICE), packet, out);
        self.flush(out);
    }

    fn receive(&mut self, now: Instant, out: &mut Outbox) {
        let mut bytes = [0; 2048];
        while let Ok(len) = self.socket.recv(&mut bytes) {
            let mut packet = out.pool().take(len).expect("a free buffer");
            packet.extend(&bytes[..len]).expect("room");
            let from = self.socket.peer_addr().expect("it is connected");
            self.tunnel.handle(now, Endpoint::Udp(from), packet, out);
        }
        self.tunnel.handle_timeout(now, out);
        self.flush(out);
    }

    fn flush(&mut self, out: &mut Outbox) {
        while out.next_request().is_some() {}
        let mut batch = Batch::new();
        while let Some(to) = out.next_group(&mut batch) {
            for packet in batch.drain(..) {
                if matches!(to, Endpoint::Udp(_)) {
                    for datagram in datagrams(&packet) {
                        self.refused += u64::from(self.socket.send(datagram).is_err());
                    }
                }
                out.pool().give(packet);
            }
        }
    }

    fn is_connected(&self, now: Instant) -> bool {
        let status = self.tunnel.status(now, &key(0).public_key());
        status.is_some_and(|status| status.last_handshake.is_some())
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    match *words.as_slice() {
        ["config", count] => {
            println!("[Interface]\nPrivateKey = {}", key(0).to_base64().as_str());
            println!("ListenPort = 51820\nAddress = 10.99.0.1/16\nMTU = 1420\nTable = off");
            for number in 1..=count.parse()? {
                println!("[Peer]\nPublicKey = {}", key(number).public_key());
                println!("AllowedIPs = {}/32", address(number));
            }
            Ok(())
        }
        ["send", count, server, rate, seconds] => {
            send(count.parse()?, server.parse()?, rate.parse()?, seconds.parse()?)
        }
        _ => Err("see the first lines of main.rs".into()),
    }
}

fn send(count: u16, server: SocketAddr, rate: u64, seconds: u64) -> Result<(), Box<dyn Error>> {
    let start = std::time::Instant::now();
    let now = || Instant::ZERO + start.elapsed();
    let mut out = Outbox::new(Pool::new(PoolConfig::default()));
    let mut peers = Vec::new();
    for number in 1..=count {
        let mut peer = Peer::new(number, server)?;
        peer.tunnel.connect(now(), &key(0).public_key(), &mut out);
        peer.flush(&mut out);
        peers.push(peer);
        // A server under load answers with cookies.
        std::thread::sleep(Duration::from_millis(2));
        let recent = peers.len().saturating_sub(50);
        peers.iter_mut().skip(recent).for_each(|peer| peer.receive(now(), &mut out));
    }
    while !peers.iter().all(|peer| peer.is_connected(now())) {
        peers.iter_mut().for_each(|peer| peer.receive(now(), &mut out));
        std::thread::sleep(Duration::from_millis(1));
        if start.elapsed() > Duration::from_secs(120) {
            return Err("not all peers connected within 120 s".into());
        }
    }
    // Sessions with post-quantum keys follow; a server that knows that a peer has had them drops data before.
    let settled = start.elapsed() + Duration::from_millis(500);
    while start.elapsed() < settled {
        peers.iter_mut().for_each(|peer| peer.receive(now(), &mut out));
        std::thread::sleep(Duration::from_millis(1));
    }
    println!("connected");
    let (begin, mut sent, all) = (std::time::Instant::now(), 0_u64, rate * seconds);
    let (mut latest, mut polled) = (0, 0);
    while sent < all {
        let due = all.min(u64::try_from(begin.elapsed().as_nanos())? * rate / 1_000_000_000);
        latest = latest.max(due - sent);
        while sent < due {
            let at = usize::try_from(sent % u64::from(count))?;
            peers[at].send(now(), &mut out);
            sent += 1;
        }
        // What the server sends is little: keepalives.
        let at = polled % peers.len();
        peers[at].receive(now(), &mut out);
        polled += 1;
        std::thread::sleep(Duration::from_micros(100));
    }
    let refused: u64 = peers.iter().map(|peer| peer.refused).sum();
    println!(
        "sent {sent} refused {refused} burst {latest} seconds {:.2}",
        begin.elapsed().as_secs_f64()
    );
    Ok(())
}
