//! The tunnel on any bytes: what must hold whatever they are. The property tests and the fuzz targets
//! call the same functions.

use adit_engine::{Endpoint, Engine, Outbox, PortId};
use adit_packet::{Batch, Endian, Gso, Instant, PacketBuf, Pool, PoolConfig, VnetHeader, VnetLen};
use adit_tunnel::{KEY_LEN, PeerConfig, PeerMode, PrivateKey, Tunnel, TunnelConfig};
use boringtun::noise::{Tunn, TunnResult};
use boringtun::x25519;
use core::net::SocketAddr;

const DEVICE: PortId = PortId(0);
const BRIDGE: PortId = PortId(1);
const NOW: Instant = Instant::from_nanos(1_000_000_000_000);

/// Bytes as datagrams from an unknown sender: as they are, and as messages of a session. The first two say how
/// long each is in its train. Nothing is answered and nothing comes through.
pub(crate) fn datagrams(bytes: &[u8]) {
    let Some((&[low, high], train)) = bytes.split_first_chunk() else { return };
    let stride = u16::from_le_bytes([low, high]) % 2048;
    let mut side = Side::new(PeerMode::Packets);
    let peer = side.peer();
    let index = side.index;
    let mut messages = train.to_vec();
    for message in messages.chunks_mut(usize::from(stride).max(16)).filter(|m| m.len() >= 8) {
        message[..4].copy_from_slice(&[4, 0, 0, 0]);
        message[4..8].copy_from_slice(&index);
    }
    for bytes in [train, &messages] {
        let vnet = VnetHeader { gso: Gso::UdpL4, gso_size: stride, ..VnetHeader::default() };
        let from = Endpoint::Udp(SocketAddr::from(([203, 0, 113, 1], 9)));
        let out = side.handle(from, bytes, vnet);
        assert!(out.is_empty(), "an unknown sender was answered");
    }
    let status = side.tunnel.status(NOW, &peer).expect("the peer is there");
    assert_eq!(status.endpoint, Some(at()), "an unknown sender moved the peer");
}

/// Bytes as what a peer that knows the keys puts inside its messages: the first byte of each piece says
/// how long it is. The keys are boringtun's, which encrypts any plaintext.
pub(crate) fn inside(bytes: &[u8]) {
    for mode in [PeerMode::Packets, PeerMode::Frames(BRIDGE)] {
        let mut side = Side::new(mode);
        let mut rest = bytes;
        let mut train = Vec::new();
        while let Some((&len, after)) = rest.split_first() {
            let (plain, after) = after.split_at(usize::from(len).min(after.len()));
            rest = after;
            let mut plain = plain.to_vec();
            plain.resize(256, 0);
            train.extend(side.seal(&plain));
        }
        let vnet = VnetHeader { gso: Gso::UdpL4, gso_size: 288, ..VnetHeader::default() };
        for train in train.chunks(288 * 64) {
            for (to, packet) in side.handle(at(), train, vnet) {
                // What comes through goes to the device, and what is answered is an answer to a question.
                assert!(to == Endpoint::Port(DEVICE) || to == Endpoint::Port(BRIDGE) || to == at());
                assert!(packet.len() <= 65_535 + 14);
            }
        }
    }
}

/// Bytes as control messages of a peer that knows the keys, one after another: each piece begins with its length in
/// two bytes. Each is answered by at most two messages, none of them longer than a datagram, and packets still cross.
pub(crate) fn control(bytes: &[u8]) {
    let mut side = Side::new(PeerMode::Packets);
    let mut rest = bytes;
    while let Some((&[low, high], after)) = rest.split_first_chunk() {
        let len = usize::from(u16::from_le_bytes([low, high]) % 1400);
        let (text, after) = after.split_at(len.min(after.len()));
        rest = after;
        let padding = text.len().wrapping_neg() & 15;
        let first = 0x30 | u8::try_from(padding).expect("below 16");
        let plain = [&[first], text, &[0; 15][..padding]].concat();
        let message = side.seal(&plain);
        let sent = side.handle(at(), &message, VnetHeader::default());
        assert!(sent.len() <= 2, "{}", sent.len());
        for (to, packet) in sent {
            assert_eq!(to, at());
            assert!(packet.len() <= 1420 + 32);
        }
    }
    let mut packet = vec![0x45, 0, 0, 60, 0, 1, 0x40, 0, 64, 253, 0, 0, 10, 0, 0, 1, 10, 0, 1, 1];
    packet.resize(60, 7);
    let message = side.seal(&packet);
    let sent = side.handle(at(), &message, VnetHeader::default());
    assert!(sent.iter().any(|(to, came)| *to == Endpoint::Port(DEVICE) && came.len() == 60));
}

/// Bytes as changes to the state of a tunnel with a session that another process takes over, and as the whole of it: what is
/// restored can be used, and gives a state again.
pub(crate) fn state(bytes: &[u8]) {
    let mut side = Side::new(PeerMode::Packets);
    let mut changed = side.tunnel.state().to_vec();
    for change in bytes.chunks_exact(3) {
        let at = usize::from(u16::from_le_bytes([change[0], change[1]])) % changed.len();
        changed[at] = change[2];
    }
    for state in [&changed[..], bytes] {
        let config = TunnelConfig { device: Some(DEVICE), ..TunnelConfig::default() };
        let Some(restored) = Tunnel::restore(config, Box::new(|bytes| bytes.fill(3)), state) else {
            continue;
        };
        side.tunnel = restored;
        side.handle(at(), &[4; 64], VnetHeader::default());
        side.tunnel.handle_timeout(NOW + core::time::Duration::from_secs(400), &mut side.out);
        assert!(!side.tunnel.state().is_empty());
    }
}

/// Bytes as messages of an exchange of post-quantum keys from a peer that knows the keys of the session. The first byte
/// of each piece says which message it is, and whether its numbers are below the modulus of ML-KEM. An offer has at most one
/// answer, and an answer to an offer that was not made has none.
pub(crate) fn exchange(bytes: &[u8]) {
    let mut side = Side::new(PeerMode::Packets);
    for piece in bytes.chunks(700) {
        let Some((&kind, rest)) = piece.split_first() else { continue };
        let (is_offer, len) = if kind & 1 == 0 { (true, 1184) } else { (false, 1088) };
        let mut plain = vec![0x30, if is_offer { 8 } else { 9 }, 0, 1];
        plain.extend(rest.iter().cycle().take(len));
        plain.resize(4 + len + usize::from(kind >> 4), 0);
        if kind & 2 == 0 {
            let highest = plain.iter_mut().skip(4).zip([0xff, 0x77, 0x7f].into_iter().cycle());
            highest.take(1152).for_each(|(byte, mask)| *byte &= mask);
        }
        let message = side.seal(&plain);
        let sent = side.handle(at(), &message, VnetHeader::default());
        let lens: Vec<usize> = sent.iter().map(|(_, packet)| packet.len()).collect();
        assert!(sent.iter().all(|(to, _)| *to == at()));
        assert!(lens.is_empty() || is_offer && lens == [1124], "{lens:?}");
    }
}

/// Bytes as a packet from the device, the first 24 of them its virtio-net header, to a peer of packets
/// and to one of frames. No datagram is longer than the MTU allows, unless the network may cut it.
pub(crate) fn device(bytes: &[u8]) {
    let Some((head, packet)) = bytes.split_first_chunk::<24>() else { return };
    let vnet = VnetHeader::decode(head, VnetLen::Tunnel, Endian::Little).unwrap_or_default();
    for (mode, port) in [(PeerMode::Packets, DEVICE), (PeerMode::Frames(BRIDGE), BRIDGE)] {
        let mut side = Side::new(mode);
        for (to, sent) in side.handle(Endpoint::Port(port), packet, vnet) {
            if to == at() && port == BRIDGE {
                let size = usize::from(sent.meta.vnet.gso_size);
                let len = if size == 0 { sent.len() } else { size };
                assert!(len <= 1420 + 32, "{len}");
            }
            assert!(sent.len() <= 65_535 + 64);
        }
    }
}

/// Bytes laid over each kind of handshake message that was right, the first one choosing it. Nothing
/// is answered, unless all that they change is mac2.
pub(crate) fn handshake(bytes: &[u8]) {
    let Some((&kind, changes)) = bytes.split_first() else { return };
    let mut side = Side::fresh(PeerMode::Packets);
    let mut message = if kind & 1 == 0 {
        initiation(&mut tunn())
    } else {
        let peer = side.peer();
        side.tunnel.connect(NOW, &peer, &mut side.out);
        let (_, mut initiation) = side.take().pop().expect("an initiation");
        side.out.pool().release(&mut initiation);
        answer(&mut tunn(), initiation.bytes())
    };
    let mac2 = message.len() - 16;
    let before = message.clone();
    message.iter_mut().zip(changes).for_each(|(byte, change)| *byte ^= change);
    let sent = side.handle(at(), &message, VnetHeader::default());
    assert!(sent.is_empty() || message[..mac2] == before[..mac2]);
}

/// Where the peer is.
fn at() -> Endpoint {
    Endpoint::Udp(SocketAddr::from(([192, 0, 2, 2], 2000)))
}

fn tunn() -> Tunn {
    let secret = x25519::StaticSecret::from([2; KEY_LEN]);
    let ours = PrivateKey::from_bytes([1; KEY_LEN]).public_key();
    Tunn::new(secret, ours.0.into(), None, None, 1, None)
}

fn initiation(tunn: &mut Tunn) -> Vec<u8> {
    let mut buffer = [0; 148];
    match tunn.format_handshake_initiation(&mut buffer, true) {
        TunnResult::WriteToNetwork(message) => message.to_vec(),
        other => panic!("{other:?}"),
    }
}

fn answer(tunn: &mut Tunn, message: &[u8]) -> Vec<u8> {
    let mut buffer = [0; 2048];
    match tunn.decapsulate(None, message, &mut buffer) {
        TunnResult::WriteToNetwork(message) => message.to_vec(),
        other => panic!("{other:?}"),
    }
}

/// A tunnel whose one peer is a boringtun.
struct Side {
    tunnel: Tunnel,
    out: Outbox,
    theirs: Tunn,
    /// How the tunnel calls its session.
    index: [u8; 4],
    fed: u64,
}

impl Side {
    fn fresh(mode: PeerMode) -> Self {
        let config = TunnelConfig {
            private_key: Some(PrivateKey::from_bytes([1; KEY_LEN])),
            device: Some(DEVICE),
            ..TunnelConfig::default()
        };
        let mut next = 1_u32;
        let random = Box::new(move |bytes: &mut [u8]| {
            for byte in bytes {
                next = next.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                *byte = next.to_be_bytes()[0];
            }
        });
        let mut tunnel = Tunnel::new(config, random);
        let mut peer = PeerConfig::new(PrivateKey::from_bytes([2; KEY_LEN]).public_key());
        peer.endpoint = Some(at());
        peer.mode = mode;
        peer.allowed_ips =
            ["0.0.0.0/1", "::/1"].map(|text| text.parse().expect("it is one")).into();
        tunnel.set_peer(NOW, peer);
        let out = Outbox::new(Pool::new(PoolConfig::default()));
        Self { tunnel, out, theirs: tunn(), index: [0; 4], fed: 0 }
    }

    /// One with a session that the peer initiated.
    fn new(mode: PeerMode) -> Self {
        let mut side = Self::fresh(mode);
        let message = initiation(&mut side.theirs);
        let sent = side.handle(at(), &message, VnetHeader::default());
        let response = sent[0].1.bytes().to_vec();
        side.index.copy_from_slice(&response[4..8]);
        let keepalive = answer(&mut side.theirs, &response);
        side.handle(at(), &keepalive, VnetHeader::default());
        side
    }

    fn peer(&self) -> adit_tunnel::PublicKey {
        self.tunnel.peers().next().expect("it has one")
    }

    fn seal(&mut self, plain: &[u8]) -> Vec<u8> {
        let mut buffer = [0; 2048];
        match self.theirs.encapsulate(plain, &mut buffer) {
            TunnResult::WriteToNetwork(message) => message.to_vec(),
            other => panic!("{other:?}"),
        }
    }

    /// Gives it a buffer and takes what it sends; every buffer is accounted for.
    fn handle(
        &mut self,
        from: Endpoint,
        bytes: &[u8],
        vnet: VnetHeader,
    ) -> Vec<(Endpoint, PacketBuf)> {
        let Some(mut packet) = self.out.pool().take(bytes.len()) else { return Vec::new() };
        packet.extend(bytes).expect("it has room for so many");
        packet.meta.vnet = vnet;
        self.fed += 1;
        self.tunnel.handle(NOW, from, packet, &mut self.out);
        let mut sent = self.take();
        sent.iter_mut().for_each(|(_, packet)| self.out.pool().release(packet));
        assert!(self.out.counts().balance(self.fed, self.tunnel.held()));
        assert_eq!(self.out.pool().out(), (0, 0), "no buffer is lost");
        sent
    }

    fn take(&mut self) -> Vec<(Endpoint, PacketBuf)> {
        let (mut batch, mut taken) = (Batch::new(), Vec::new());
        while let Some(to) = self.out.next_group(&mut batch) {
            taken.extend(batch.drain(..).map(|packet| (to, packet)));
        }
        taken
    }
}
