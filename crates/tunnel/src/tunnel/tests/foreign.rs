//! Against boringtun, an implementation that is not ours, in the same process.

use super::*;
use boringtun::noise::errors::WireGuardError;
use boringtun::noise::rate_limiter::RateLimiter;
use boringtun::noise::{Tunn, TunnResult};
use boringtun::x25519;
use std::sync::Arc;

/// A side of ours and a boringtun. Time is ours: theirs is the machine's, which hardly passes.
struct Pair {
    now: Instant,
    ours: Side,
    theirs: Tunn,
    at: Endpoint,
    /// Packets that boringtun gave to its device.
    arrived: Vec<Vec<u8>>,
    /// How many messages of each type we sent and were sent.
    sent: [usize; 5],
    received: [usize; 5],
    /// How many of ours it had no use for.
    refused: usize,
}

impl Pair {
    fn new(preshared: Option<[u8; 32]>, limit: Option<u64>) -> Self {
        let mut ours = Side::new(1, "192.0.2.1:1000", TunnelConfig::default());
        let (at, now) = (udp("192.0.2.2:2000"), Instant::ZERO + seconds(1000));
        let mut peer = PeerConfig::new(key(2).public_key());
        peer.endpoint = Some(at);
        peer.preshared_key = preshared.map(PresharedKey::from_bytes);
        peer.allowed_ips = vec![format_prefix(1), "2001:db8::/32".parse().unwrap()];
        ours.tunnel.set_peer(now, peer);
        let secret = x25519::StaticSecret::from(*key(2).as_bytes());
        let public = x25519::PublicKey::from(&secret);
        let limiter = limit.map(|limit| Arc::new(RateLimiter::new(&public, limit)));
        let theirs = Tunn::new(secret, ours.key().0.into(), preshared, None, 7, limiter);
        Self {
            now,
            ours,
            theirs,
            at,
            arrived: Vec::new(),
            sent: [0; 5],
            received: [0; 5],
            refused: 0,
        }
    }

    /// Carries messages until there are none.
    fn settle(&mut self) {
        loop {
            self.now += millis(1);
            let mut batch = Batch::new();
            let mut datagrams = Vec::new();
            while let Some(to) = self.ours.out.next_group(&mut batch) {
                for packet in batch.drain(..) {
                    if let Endpoint::Port(port) = to {
                        self.ours.arrived.push((port, packet));
                    } else {
                        let len = packet.len().max(1);
                        let size = usize::from(packet.meta.vnet.gso_size);
                        let size = if size == 0 { len } else { size };
                        datagrams.extend(packet.bytes().chunks(size).map(<[u8]>::to_vec));
                    }
                }
            }
            if datagrams.is_empty() {
                return;
            }
            for datagram in datagrams {
                self.sent[usize::from(datagram[0])] += 1;
                self.carry_there(&datagram);
            }
        }
    }

    /// One of our messages comes to boringtun; it is asked until it has nothing more to say.
    fn carry_there(&mut self, datagram: &[u8]) {
        let mut next = datagram;
        loop {
            let mut buffer = vec![0; 2048];
            let source = "192.0.2.1".parse().unwrap();
            match self.theirs.decapsulate(Some(source), next, &mut buffer) {
                TunnResult::WriteToNetwork(message) => {
                    let message = message.to_vec();
                    self.carry_back(&message);
                }
                TunnResult::WriteToTunnelV4(packet, _) | TunnResult::WriteToTunnelV6(packet, _) => {
                    self.arrived.push(packet.to_vec());
                    return;
                }
                TunnResult::Done => return,
                // What only adit knows, it drops.
                TunnResult::Err(WireGuardError::InvalidPacket) => {
                    self.refused += 1;
                    return;
                }
                TunnResult::Err(error) => panic!("boringtun: {error:?}"),
            }
            next = &[];
        }
    }

    fn carry_back(&mut self, message: &[u8]) {
        self.received[usize::from(message[0])] += 1;
        let mut packet = self.ours.out.pool().take(message.len()).unwrap();
        packet.extend(message).unwrap();
        self.ours.tunnel.handle(self.now, self.at, packet, &mut self.ours.out);
    }

    fn send(&mut self, bytes: &[u8], vnet: VnetHeader) {
        let mut packet = self.ours.out.pool().take(bytes.len()).unwrap();
        packet.extend(bytes).unwrap();
        packet.meta.vnet = vnet;
        let from = Endpoint::Port(DEVICE);
        self.ours.tunnel.handle(self.now, from, packet, &mut self.ours.out);
        self.settle();
    }

    fn they_send(&mut self, bytes: &[u8]) {
        let mut buffer = vec![0; 2048];
        if let TunnResult::WriteToNetwork(message) = self.theirs.encapsulate(bytes, &mut buffer) {
            let message = message.to_vec();
            self.carry_back(&message);
        }
        self.settle();
    }

    fn they_initiate(&mut self) {
        let mut buffer = vec![0; 2048];
        let made = self.theirs.format_handshake_initiation(&mut buffer, true);
        let TunnResult::WriteToNetwork(message) = made else { panic!("{made:?}") };
        let message = message.to_vec();
        self.carry_back(&message);
        self.settle();
    }

    /// Packets of all kinds cross in both directions.
    fn assert_passes(&mut self) {
        for len in [20, 33, 576, 1420] {
            self.send(&ipv4(0, len), VnetHeader::default());
            assert_eq!(self.arrived.pop(), Some(ipv4(0, len)));
            self.they_send(&ipv4(1, len));
            assert_eq!(self.ours.packets().last(), Some(&ipv4(1, len)));
        }
        let (bytes, vnet) = tcp_super(inside(0), inside(1), 5, 20_000, 1368);
        self.send(&bytes, vnet);
        let wanted = {
            let mut packet = PacketBuf::new(0, bytes.len());
            packet.extend(&bytes).unwrap();
            packet.meta.vnet = vnet;
            cut(&packet, Layer::Packet)
        };
        assert_eq!(core::mem::take(&mut self.arrived), wanted);
    }
}

#[test]
fn boringtun_answers_and_three_new_sessions_follow() {
    let mut pair = Pair::new(Some([9; 32]), None);
    for round in 1..=4 {
        pair.assert_passes();
        assert_eq!((pair.sent[1], pair.received[2]), (round, round));
        // The session's time has come; the packet that follows asks for a new one.
        pair.now += seconds(121);
    }
    assert_eq!(pair.received[1], 0);
    assert_eq!(pair.refused, 3, "it was asked three times whether it is adit, and not again");
}

#[test]
fn boringtun_initiates_and_three_new_sessions_follow() {
    let mut pair = Pair::new(None, None);
    for round in 1..=4 {
        pair.they_initiate();
        assert_eq!((pair.received[1], pair.sent[2]), (round, round));
        pair.assert_passes();
        pair.now += seconds(60);
    }
    assert_eq!(pair.sent[1], 0);
}

#[test]
fn boringtun_gives_us_a_cookie() {
    // A limit of none: it is always under load.
    let mut pair = Pair::new(None, Some(0));
    pair.send(&ipv4(0, 100), VnetHeader::default());
    assert_eq!((pair.sent[1], pair.received[3]), (1, 1));
    assert_eq!(pair.ours.status(pair.now, &key(2).public_key()).endpoint, Some(pair.at));
    pair.now += millis(400);
    pair.ours.tunnel.handle_timeout(pair.now, &mut pair.ours.out);
    pair.settle();
    assert_eq!((pair.sent[1], pair.received[2]), (2, 1), "the second one has the cookie");
    assert_eq!(pair.arrived, [ipv4(0, 100)]);
}

#[test]
fn boringtun_takes_our_cookie() {
    let mut pair = Pair::new(None, None);
    // Nobody is worked for who has not proved its address.
    pair.ours.tunnel.shared.limiter = crate::handshake::limiter::Limiter::new(20);
    for _ in 0..5 {
        pair.they_initiate();
        pair.now += millis(30);
    }
    assert!(pair.sent[3] >= 1, "a cookie was given");
    assert!(pair.sent[2] >= 2, "and taken: {:?}", pair.sent);
    pair.assert_passes();
}
