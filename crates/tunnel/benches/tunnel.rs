//! What a train costs in the tunnel, beside the bare cipher: `cargo bench -p adit-tunnel`.
//!
//! Times are for a super-packet of 45 segments, each a packet of 1420 bytes: `cipher_*` is ring alone on
//! as many bytes in place, `tunnel_*` the whole engine from the device's buffer to the datagrams and back.
//! The part of the cipher's speed that the tunnel reaches is the quotient of the two.

use std::cell::RefCell;

use adit_engine::{Endpoint, Engine, Outbox, PortId};
use adit_packet::checksum::Sum;
use adit_packet::{
    Batch, Gso, Instant, Ipv4Header, Layer, PacketBuf, Pool, PoolConfig, TcpFlags, TcpHeader,
    VnetHeader, ip_protocol,
};
use adit_tunnel::{PeerConfig, PeerMode, PostQuantum, PrivateKey, Tunnel, TunnelConfig};
use core::net::{Ipv4Addr, SocketAddr};
use divan::counter::{BytesCount, ItemsCount};
use divan::{Bencher, black_box};
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};

const SEGMENTS: usize = 45;
const MTU: usize = 1420;
/// Payload of a full segment with timestamps.
const SEGMENT: usize = MTU - 52;
const DEVICE: Endpoint = Endpoint::Port(PortId(0));
const INSIDE: [Ipv4Addr; 2] = [Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(10, 0, 1, 1)];

fn main() {
    divan::main();
}

fn cipher_key() -> LessSafeKey {
    LessSafeKey::new(UnboundKey::new(&CHACHA20_POLY1305, &[7; 32]).expect("32 bytes"))
}

fn nonce(counter: u64) -> Nonce {
    let mut bytes = [0; 12];
    bytes[4..].copy_from_slice(&counter.to_le_bytes());
    Nonce::assume_unique_for_key(bytes)
}

#[divan::bench]
fn cipher_seal(bencher: Bencher<'_, '_>) {
    let (key, mut buffer) = (cipher_key(), vec![0; SEGMENTS * (MTU + 32)]);
    bencher
        .counter(ItemsCount::new(SEGMENTS))
        .counter(BytesCount::new(SEGMENTS * MTU))
        .bench_local(|| {
            for message in buffer.chunks_mut(MTU + 32) {
                let text = &mut message[16..16 + MTU];
                let tag = key.seal_in_place_separate_tag(nonce(1), Aad::empty(), text);
                let _ = black_box(tag);
            }
        });
}

#[divan::bench]
fn cipher_open(bencher: Bencher<'_, '_>) {
    let (key, mut sealed) = (cipher_key(), vec![0; SEGMENTS * (MTU + 32)]);
    for message in sealed.chunks_mut(MTU + 32) {
        let tag = key
            .seal_in_place_separate_tag(nonce(1), Aad::empty(), &mut message[16..16 + MTU])
            .expect("it is short");
        message[16 + MTU..].copy_from_slice(tag.as_ref());
    }
    bencher
        .counter(ItemsCount::new(SEGMENTS))
        .counter(BytesCount::new(SEGMENTS * MTU))
        .with_inputs(|| sealed.clone())
        .bench_local_refs(|buffer| {
            for message in buffer.chunks_mut(MTU + 32) {
                let plain = key.open_in_place(nonce(1), Aad::empty(), &mut message[16..]);
                assert!(plain.is_ok());
            }
        });
}

#[divan::bench(args = [Layer::Packet, Layer::Frame])]
fn tunnel_seal(bencher: Bencher<'_, '_>, layer: Layer) {
    let mut pair = Pair::new(layer);
    let (bytes, vnet) = super_packet(layer);
    bencher
        .counter(ItemsCount::new(SEGMENTS))
        .counter(BytesCount::new(SEGMENTS * MTU))
        .bench_local(|| {
            let packet = fill(&mut pair.ours.out, &bytes, vnet);
            pair.ours.tunnel.handle(pair.now, DEVICE, packet, &mut pair.ours.out);
            pair.ours.drop_all()
        });
}

#[divan::bench(args = [Layer::Packet, Layer::Frame])]
fn tunnel_open(bencher: Bencher<'_, '_>, layer: Layer) {
    let pair = RefCell::new(Pair::new(layer));
    let (bytes, vnet) = super_packet(layer);
    bencher
        .counter(ItemsCount::new(SEGMENTS))
        .counter(BytesCount::new(SEGMENTS * MTU))
        .with_inputs(|| {
            let Pair { now, ours, theirs } = &mut *pair.borrow_mut();
            let packet = fill(&mut ours.out, &bytes, vnet);
            ours.tunnel.handle(*now, DEVICE, packet, &mut ours.out);
            let (_, train) = ours.take().pop().expect("a train");
            let theirs = fill(&mut theirs.out, train.bytes(), train.meta.vnet);
            ours.out.pool().give(train);
            theirs
        })
        .bench_local_values(|train| {
            let Pair { now, ours, theirs } = &mut *pair.borrow_mut();
            theirs.tunnel.handle(*now, ours.at, train, &mut theirs.out);
            theirs.drop_all()
        });
}

/// What an idle tunnel pays for a single small packet, both ways.
#[divan::bench]
fn tunnel_single_64(bencher: Bencher<'_, '_>) {
    let mut pair = Pair::new(Layer::Packet);
    let bytes = ipv4(64, 253);
    bencher.counter(ItemsCount::new(1_usize)).bench_local(|| {
        let Pair { now, ours, theirs } = &mut pair;
        let packet = fill(&mut ours.out, &bytes, VnetHeader::default());
        ours.tunnel.handle(*now, DEVICE, packet, &mut ours.out);
        let mut batch = Batch::new();
        while ours.out.next_group(&mut batch).is_some() {
            for message in batch.drain(..) {
                let copy = fill(&mut theirs.out, message.bytes(), message.meta.vnet);
                ours.out.pool().give(message);
                theirs.tunnel.handle(*now, ours.at, copy, &mut theirs.out);
            }
        }
        theirs.drop_all()
    });
}

/// A handshake, both sides: what an initiation and a response cost together.
#[divan::bench]
fn handshake(bencher: Bencher<'_, '_>) {
    bencher.bench_local(|| Pair::new(Layer::Packet));
}

/// A first connection of two of adit until data can cross, both sides. The difference is what ML-KEM and the second
/// handshake cost.
#[divan::bench(args = [PostQuantum::Off, PostQuantum::Require])]
fn connection(bencher: Bencher<'_, '_>, post_quantum: PostQuantum) {
    bencher.bench_local(|| {
        Pair::with(Layer::Packet, |peer| {
            (peer.extensions, peer.post_quantum) = (true, post_quantum);
        })
    });
}

struct Side {
    tunnel: Tunnel,
    out: Outbox,
    at: Endpoint,
}

impl Side {
    fn new(seed: u8) -> Self {
        let config = TunnelConfig {
            private_key: Some(PrivateKey::from_bytes([seed; 32])),
            device: Some(PortId(0)),
            ..TunnelConfig::default()
        };
        let mut next = u32::from(seed) << 16;
        let random = Box::new(move |bytes: &mut [u8]| {
            for byte in bytes {
                next = next.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                *byte = next.to_be_bytes()[0];
            }
        });
        let at = SocketAddr::from(([192, 0, 2, seed], 1000));
        let mut pool = Pool::new(PoolConfig::default());
        pool.warm_up(16, 4);
        Self { tunnel: Tunnel::new(config, random), out: Outbox::new(pool), at: Endpoint::Udp(at) }
    }

    fn take(&mut self) -> Vec<(Endpoint, PacketBuf)> {
        let (mut batch, mut taken) = (Batch::new(), Vec::new());
        while let Some(to) = self.out.next_group(&mut batch) {
            taken.extend(batch.drain(..).map(|packet| (to, packet)));
        }
        taken
    }

    fn drop_all(&mut self) -> usize {
        let (mut batch, mut count) = (Batch::with_capacity(8), 0);
        while self.out.next_group(&mut batch).is_some() {
            count += batch.len();
            batch.give_all(self.out.pool());
        }
        count
    }
}

/// Two sides with a session.
struct Pair {
    now: Instant,
    ours: Side,
    theirs: Side,
}

impl Pair {
    fn new(layer: Layer) -> Self {
        Self::with(layer, |peer| peer.extensions = false)
    }

    fn with(layer: Layer, set: impl Fn(&mut PeerConfig)) -> Self {
        let (mut ours, mut theirs) = (Side::new(1), Side::new(2));
        let now = Instant::from_nanos(1_000_000_000);
        let keys = [&ours, &theirs].map(|side| side.tunnel.public_key().expect("it has a key"));
        for (side, key, at, inside) in [
            (&mut ours, keys[1], Some(Endpoint::Udp(([192, 0, 2, 2], 1000).into())), INSIDE[1]),
            (&mut theirs, keys[0], None, INSIDE[0]),
        ] {
            let mut peer = PeerConfig::new(key);
            peer.endpoint = at;
            set(&mut peer);
            if layer == Layer::Frame {
                peer.mode = PeerMode::Frames(PortId(0));
                side.tunnel.set_device(None);
            }
            peer.allowed_ips.extend(adit_packet::IpPrefix::new(inside.into(), 24));
            side.tunnel.set_peer(now, peer);
        }
        ours.tunnel.connect(now, &keys[1], &mut ours.out);
        let mut pair = Self { now, ours, theirs };
        for _ in 0..5 {
            for (_, message) in pair.ours.take() {
                let copy = fill(&mut pair.theirs.out, message.bytes(), message.meta.vnet);
                pair.theirs.tunnel.handle(now, pair.ours.at, copy, &mut pair.theirs.out);
            }
            for (_, message) in pair.theirs.take() {
                let copy = fill(&mut pair.ours.out, message.bytes(), message.meta.vnet);
                pair.ours.tunnel.handle(now, pair.theirs.at, copy, &mut pair.ours.out);
            }
        }
        let status = pair.ours.tunnel.status(now, &keys[1]).expect("the peer is there");
        assert!(status.connected);
        pair
    }
}

fn fill(out: &mut Outbox, bytes: &[u8], vnet: VnetHeader) -> PacketBuf {
    let mut packet = out.pool().take(bytes.len()).expect("buffers are given back");
    packet.extend(bytes).expect("it has room for so many");
    packet.meta.vnet = vnet;
    packet
}

fn ipv4(len: usize, protocol: u8) -> Vec<u8> {
    let ip = Ipv4Header {
        tos: 0,
        total_len: u16::try_from(len).expect("below 64 KiB"),
        id: 1,
        dont_fragment: true,
        fragment: None,
        ttl: 64,
        protocol,
        source: INSIDE[0],
        destination: INSIDE[1],
    };
    let mut bytes = ip.to_bytes().to_vec();
    bytes.resize(len, 0x5a);
    bytes
}

/// A TCP super-packet of [`SEGMENTS`] segments that fill a datagram, as a device gives it.
fn super_packet(layer: Layer) -> (Vec<u8>, VnetHeader) {
    let link: &[u8] = match layer {
        Layer::Packet => &[],
        Layer::Frame => &[2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0],
    };
    // A frame has a byte before it in the tunnel.
    let segment = SEGMENT - if link.is_empty() { 0 } else { link.len() + 1 };
    let len = 52 + SEGMENTS * segment;
    let tcp = TcpHeader {
        source_port: 443,
        destination_port: 50_000,
        sequence: 1,
        acknowledgment: 2,
        flags: TcpFlags::ACK,
        window: 500,
        checksum: 0,
        urgent: 0,
    };
    let mut bytes = ipv4(len, ip_protocol::TCP);
    bytes[20..40].copy_from_slice(&tcp.to_bytes(12));
    bytes[40..52].copy_from_slice(&[1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2]);
    let after = u16::try_from(len - 20).expect("below 64 KiB");
    let pseudo = Sum::pseudo_v4(INSIDE[0], INSIDE[1], ip_protocol::TCP, after);
    bytes[36..38].copy_from_slice(&pseudo.fold().to_be_bytes());
    let link_len = u16::try_from(link.len()).expect("14");
    let vnet = VnetHeader {
        flags: VnetHeader::NEEDS_CSUM,
        gso: Gso::Tcp4,
        hdr_len: link_len + 52,
        gso_size: u16::try_from(segment).expect("a segment"),
        csum_start: link_len + 20,
        csum_offset: 16,
        ..VnetHeader::default()
    };
    ([link, &bytes].concat(), vnet)
}
