//! Tunnels against each other in virtual time.

use alloc::sync::Arc;
use std::boxed::Box;
use std::collections::VecDeque;
use std::vec;
use std::vec::Vec;

use adit_engine::Request;
use adit_packet::checksum::Sum;
use adit_packet::{
    Batch, Ecn, Gso, Instant, Ipv4Header, Layer, PacketBuf, Pool, PoolConfig, SuperPacket,
    TcpFlags, TcpHeader, VnetHeader,
};
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use core::time::Duration;
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use super::*;
use crate::{IpPrefix, KEY_LEN, PresharedKey, Shape, Timing, Vxlan, gso_len_max, session};

mod congested;
mod data;
mod ecn;
mod foreign;
mod frames;
mod greeting;
mod handover;
mod handshake;
mod hostile;
mod path;
mod post_quantum;
mod recording;
mod regressions;
mod shaping;
mod suite;
mod vxlan;

/// The port of each side's device.
const DEVICE: PortId = PortId(0);

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

fn millis(count: u64) -> Duration {
    Duration::from_millis(count)
}

fn udp(text: &str) -> Endpoint {
    Endpoint::Udp(text.parse::<SocketAddr>().unwrap())
}

fn random(seed: u64) -> Random {
    let mut rng = ChaCha20Rng::seed_from_u64(seed);
    Box::new(move |bytes| rng.fill_bytes(bytes))
}

fn key(seed: u8) -> PrivateKey {
    PrivateKey::from_bytes([seed; KEY_LEN])
}

/// One side: a tunnel, its outbox, where it is and what arrived at its ports.
struct Side {
    tunnel: Tunnel,
    out: Outbox,
    at: Endpoint,
    arrived: Vec<(PortId, PacketBuf)>,
    fed: u64,
    events: Vec<TunnelEvent>,
    requests: Vec<Request>,
    /// What its last packet from the network showed.
    handled: Handled,
    /// Whether the queue stands from which its packets come.
    is_congested: bool,
}

impl Side {
    fn new(seed: u8, at: &str, config: TunnelConfig) -> Self {
        let config = TunnelConfig { private_key: Some(key(seed)), device: Some(DEVICE), ..config };
        let mut tunnel = Tunnel::new(config, random(seed.into()));
        tunnel.set_wall_clock(Instant::ZERO, seconds(1_700_000_000));
        let out = Outbox::new(Pool::new(PoolConfig::default()));
        let at = udp(at);
        Self {
            tunnel,
            out,
            at,
            arrived: Vec::new(),
            fed: 0,
            events: Vec::new(),
            requests: Vec::new(),
            handled: Handled::NOTHING,
            is_congested: false,
        }
    }

    fn key(&self) -> PublicKey {
        self.tunnel.public_key().unwrap()
    }

    /// What arrived at the device, every super-packet cut up again.
    fn packets(&self) -> Vec<Vec<u8>> {
        self.arrived.iter().flat_map(|(_, packet)| cut(packet, Layer::Packet)).collect()
    }

    fn status(&self, now: Instant, peer: &PublicKey) -> PeerStatus {
        self.tunnel.status(now, peer).unwrap()
    }
}

/// The packets that a buffer from a port stands for.
fn cut(packet: &PacketBuf, layer: Layer) -> Vec<Vec<u8>> {
    if !packet.meta.vnet.is_super_packet() {
        return vec![packet.bytes().to_vec()];
    }
    let whole = SuperPacket::parse(packet.bytes(), &packet.meta.vnet, layer).unwrap();
    whole
        .segments()
        .map(|segment| {
            let mut packet = PacketBuf::new(0, 70_000);
            segment.append_to(&mut packet).unwrap();
            packet.bytes().to_vec()
        })
        .collect()
}

/// A datagram under way.
#[derive(Clone, Debug)]
struct Datagram {
    due: Instant,
    from: Endpoint,
    to: Endpoint,
    bytes: Vec<u8>,
    gso_size: u16,
    ecn: Ecn,
    may_fragment: bool,
}

/// What the network does with a datagram.
enum Fate {
    Deliver,
    Drop,
    Late(Duration),
}

type Rule = Box<dyn FnMut(&mut Datagram) -> Fate>;

/// Sides and the network between them.
struct Net {
    now: Instant,
    sides: Vec<Side>,
    wire: VecDeque<Datagram>,
    /// All that was ever sent.
    log: Vec<Datagram>,
    rule: Rule,
    latency: Duration,
}

impl Net {
    fn new(sides: Vec<Side>) -> Self {
        Self {
            now: Instant::ZERO + seconds(100),
            sides,
            wire: VecDeque::new(),
            log: Vec::new(),
            rule: Box::new(|_| Fate::Deliver),
            latency: millis(1),
        }
    }

    /// Two sides that know each other; only the first knows where the second is.
    fn pair() -> Self {
        Self::pair_with(TunnelConfig::default(), |_| {})
    }

    fn pair_with(config: TunnelConfig, mut set: impl FnMut(&mut PeerConfig)) -> Self {
        let mut net = Self::new(vec![
            Side::new(1, "192.0.2.1:1000", config.clone()),
            Side::new(2, "192.0.2.2:2000", config),
        ]);
        for (us, them) in [(0, 1), (1, 0)] {
            let mut peer = PeerConfig::new(net.sides[them].key());
            peer.allowed_ips = vec![
                format_prefix(them),
                IpPrefix::new("2001:db8::".parse().unwrap(), 32).unwrap(),
            ];
            peer.endpoint = (us == 0).then_some(net.sides[them].at);
            peer.extensions = false;
            set(&mut peer);
            let now = net.now;
            net.sides[us].tunnel.set_peer(now, peer);
        }
        net
    }

    fn peer_of(&self, us: usize) -> PublicKey {
        self.sides[1 - us].key()
    }

    fn status(&self, us: usize) -> PeerStatus {
        self.sides[us].status(self.now, &self.peer_of(us))
    }

    /// A packet comes from a side's device.
    fn send(&mut self, us: usize, bytes: &[u8]) {
        self.send_from(us, DEVICE, bytes, VnetHeader::default());
    }

    fn send_from(&mut self, us: usize, port: PortId, bytes: &[u8], vnet: VnetHeader) {
        let side = &mut self.sides[us];
        let mut packet = side.out.pool().take(bytes.len()).unwrap();
        packet.extend(bytes).unwrap();
        packet.meta.vnet = vnet;
        packet.meta.congested = side.is_congested;
        side.fed += 1;
        side.tunnel.handle(self.now, Endpoint::Port(port), packet, &mut side.out);
        self.collect(us);
    }

    /// A datagram comes to a side.
    fn inject(&mut self, us: usize, from: Endpoint, bytes: &[u8], gso_size: u16) {
        self.inject_marked(us, from, bytes, gso_size, Ecn::NotEct);
    }

    fn inject_marked(&mut self, us: usize, from: Endpoint, bytes: &[u8], gso_size: u16, ecn: Ecn) {
        let side = &mut self.sides[us];
        let mut packet = side.out.pool().take(bytes.len()).unwrap();
        packet.extend(bytes).unwrap();
        packet.meta.ecn = ecn;
        packet.meta.congested = side.is_congested;
        if gso_size != 0 {
            packet.meta.vnet.gso = Gso::UdpL4;
            packet.meta.vnet.gso_size = gso_size;
        }
        side.fed += 1;
        side.handled = side.tunnel.handle(self.now, from, packet, &mut side.out);
        self.collect(us);
    }

    /// Takes what a side sent: to its device, or onto the wire.
    fn collect(&mut self, us: usize) {
        let side = &mut self.sides[us];
        side.requests.extend(core::iter::from_fn(|| side.out.next_request()));
        let mut batch = Batch::new();
        while let Some(to) = side.out.next_group(&mut batch) {
            for mut packet in batch.drain(..) {
                if let Endpoint::Port(port) = to {
                    side.out.pool().release(&mut packet);
                    side.arrived.push((port, packet));
                    continue;
                }
                let mut datagram = Datagram {
                    due: self.now + self.latency,
                    from: side.at,
                    to,
                    bytes: packet.bytes().to_vec(),
                    gso_size: packet.meta.vnet.gso_size,
                    ecn: packet.meta.ecn,
                    may_fragment: packet.meta.may_fragment,
                };
                side.out.pool().give(packet);
                self.log.push(datagram.clone());
                match (self.rule)(&mut datagram) {
                    Fate::Drop => continue,
                    Fate::Late(by) => datagram.due += by,
                    Fate::Deliver => {}
                }
                self.wire.push_back(datagram);
            }
        }
        side.events.extend(core::iter::from_fn(|| side.tunnel.poll_event()));
        let held = side.tunnel.held();
        assert!(side.out.counts().balance(side.fed, held), "{:?} {held}", side.out.counts());
    }

    /// Lets time pass.
    fn run(&mut self, duration: Duration) {
        let end = self.now + duration;
        loop {
            let timers = self.sides.iter().filter_map(|side| side.tunnel.next_timeout());
            let wire = self.wire.iter().map(|datagram| datagram.due);
            let Some(next) = timers.chain(wire).min().filter(|&next| next <= end) else { break };
            self.now = self.now.max(next);
            if let Some(at) = self.wire.iter().position(|datagram| datagram.due <= self.now) {
                let datagram = self.wire.remove(at).unwrap();
                if let Some(to) = self.sides.iter().position(|side| side.at == datagram.to) {
                    let Datagram { from, bytes, gso_size, ecn, .. } = datagram;
                    self.inject_marked(to, from, &bytes, gso_size, ecn);
                }
                continue;
            }
            for us in 0..self.sides.len() {
                let side = &mut self.sides[us];
                side.tunnel.handle_timeout(self.now, &mut side.out);
                self.collect(us);
            }
        }
        self.now = end;
    }

    /// How many of the messages sent since `from` in the log have this type.
    fn sent(&self, from: usize, kind: u8) -> usize {
        self.log[from..].iter().filter(|datagram| datagram.bytes[0] == kind).count()
    }

    /// A packet goes from one side to the other and arrives.
    fn assert_passes(&mut self, us: usize) {
        let packet = ipv4(us, 100);
        self.send(us, &packet);
        self.run(millis(100));
        let arrived = self.sides[1 - us].packets();
        assert_eq!(arrived.last(), Some(&packet), "{} arrived", arrived.len());
    }
}

fn format_prefix(side: usize) -> IpPrefix {
    IpPrefix::new(inside(side).into(), 24).unwrap()
}

/// The address of a side inside.
fn inside(side: usize) -> Ipv4Addr {
    Ipv4Addr::new(10, 0, u8::try_from(side).unwrap(), 1)
}

/// A packet of an unknown protocol, `len` bytes long, from one side to the other.
fn ipv4(from: usize, len: usize) -> Vec<u8> {
    ipv4_between(inside(from), inside(1 - from), len)
}

fn ipv4_between(source: Ipv4Addr, destination: Ipv4Addr, len: usize) -> Vec<u8> {
    let header = Ipv4Header {
        tos: 0,
        total_len: u16::try_from(len).unwrap(),
        id: 7,
        dont_fragment: true,
        fragment: None,
        ttl: 64,
        protocol: 253,
        source,
        destination,
    };
    let mut bytes = header.to_bytes().to_vec();
    bytes.extend((0..=250).cycle().take(len - 20));
    bytes
}

/// A TCP super-packet over IPv4 with `len` bytes of payload, `size` in each segment, its checksum left
/// to be finished, as a device gives it.
fn tcp_super(
    from: Ipv4Addr,
    to: Ipv4Addr,
    sequence: u32,
    len: usize,
    size: u16,
) -> (Vec<u8>, VnetHeader) {
    let ip = Ipv4Header {
        tos: 0,
        total_len: u16::try_from(52 + len).unwrap(),
        id: 1,
        dont_fragment: true,
        fragment: None,
        ttl: 64,
        protocol: 6,
        source: from,
        destination: to,
    };
    let tcp = TcpHeader {
        source_port: 5001,
        destination_port: 80,
        sequence,
        acknowledgment: 9,
        flags: TcpFlags::ACK.with(TcpFlags::PSH),
        window: 500,
        checksum: 0,
        urgent: 0,
    };
    let mut bytes =
        [&ip.to_bytes()[..], &tcp.to_bytes(12), &[1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2]].concat();
    bytes.extend((0..=250).cycle().skip(usize::try_from(sequence % 251).unwrap()).take(len));
    let pseudo = Sum::pseudo_v4(from, to, 6, u16::try_from(32 + len).unwrap());
    bytes[36..38].copy_from_slice(&pseudo.fold().to_be_bytes());
    let vnet = VnetHeader {
        flags: VnetHeader::NEEDS_CSUM,
        gso: Gso::Tcp4,
        hdr_len: 52,
        gso_size: size,
        csum_start: 20,
        csum_offset: 16,
        ..VnetHeader::default()
    };
    (bytes, vnet)
}
