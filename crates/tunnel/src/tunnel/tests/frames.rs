//! Layer 2.

use super::*;

/// Each side's port for frames.
const BRIDGE: PortId = PortId(3);

fn bridged() -> Net {
    let mut net = Net::pair_with(TunnelConfig::default(), |peer| {
        peer.mode = PeerMode::Frames(BRIDGE);
        peer.allowed_ips.clear();
        peer.extensions = true;
    });
    net.send_from(0, BRIDGE, &frame(60), VnetHeader::default());
    net.run(seconds(10));
    assert!(net.status(0).extensions && net.status(1).extensions, "they know each other");
    for side in &mut net.sides {
        side.arrived.clear();
    }
    net
}

/// A frame that is not IP.
pub(super) fn frame(len: usize) -> Vec<u8> {
    let mut bytes = vec![0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 1, 0x08, 0x06];
    bytes.extend((0..=250).cycle().take(len - 14));
    bytes
}

pub(super) fn frames(side: &Side) -> Vec<Vec<u8>> {
    assert!(side.arrived.iter().all(|(port, _)| *port == BRIDGE));
    side.arrived.iter().flat_map(|(_, packet)| cut(packet, Layer::Frame)).collect()
}

/// A super-packet with an Ethernet header, and a tag if wanted.
pub(super) fn tcp_frame(len: usize, size: u16, tagged: bool) -> (Vec<u8>, VnetHeader) {
    let (packet, vnet) = tcp_super(inside(0), inside(1), 1, len, size);
    let mut bytes = vec![2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1];
    if tagged {
        bytes.extend([0x81, 0, 0, 7]);
    }
    bytes.extend([8, 0]);
    let link = u16::try_from(bytes.len()).unwrap();
    bytes.extend(packet);
    let vnet =
        VnetHeader { hdr_len: vnet.hdr_len + link, csum_start: vnet.csum_start + link, ..vnet };
    (bytes, vnet)
}

#[test]
fn frames_of_every_length_cross() {
    let mut net = bridged();
    for len in [14, 15, 42, 60, 61, 1400, 1404, 1405, 1419, 1420, 1421, 1514, 1518, 4000, 9014] {
        for us in [0, 1] {
            net.sides[1 - us].arrived.clear();
            net.send_from(us, BRIDGE, &frame(len), VnetHeader::default());
            net.run(millis(10));
            assert_eq!(frames(&net.sides[1 - us]), [frame(len)], "{len}");
        }
    }
    let mtu = usize::from(TunnelConfig::MTU) + 32;
    assert!(net.log.iter().all(|datagram| datagram.bytes.len() <= mtu));
}

#[test]
fn super_packets_cross_as_such() {
    for tagged in [false, true] {
        let mut net = bridged();
        let start = net.log.len();
        let (bytes, vnet) = tcp_frame(40 * 1300, 1300, tagged);
        net.send_from(0, BRIDGE, &bytes, vnet);
        net.run(millis(10));
        assert_eq!(net.log.len() - start, 1, "one train");
        let (_, arrived) = net.sides[1].arrived.last().unwrap();
        assert_eq!((arrived.bytes(), arrived.meta.vnet), (&bytes[..], vnet));
    }
}

#[test]
fn super_packets_of_full_frames_are_cut_shorter() {
    let mut net = bridged();
    let start = net.log.len();
    let (bytes, vnet) = tcp_frame(20_000, 1448, false);
    net.send_from(0, BRIDGE, &bytes, vnet);
    net.run(millis(10));
    let payload: Vec<u8> =
        frames(&net.sides[1]).iter().flat_map(|frame| frame[66..].to_vec()).collect();
    assert_eq!(payload, bytes[66..]);
    assert_eq!(net.log.len() - start, 1, "without a single fragment");
}

#[test]
fn datagrams_keep_their_bounds_in_fragments() {
    let mut net = bridged();
    let (source, destination) = (inside(0), inside(1));
    let header = Ipv4Header {
        tos: 0,
        total_len: 20 + 8 + 3 * 1472,
        id: 1,
        dont_fragment: true,
        fragment: None,
        ttl: 64,
        protocol: 17,
        source,
        destination,
    };
    let len = 8 + 3 * 1472_u16;
    let [l0, l1] = len.to_be_bytes();
    let mut bytes = vec![2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0];
    bytes.extend(header.to_bytes());
    bytes.extend([0, 7, 0, 9, l0, l1, 0, 0]);
    bytes.resize(34 + usize::from(len), 5);
    let pseudo = Sum::pseudo_v4(source, destination, 17, len).fold();
    bytes[40..42].copy_from_slice(&pseudo.to_be_bytes());
    let vnet = VnetHeader {
        flags: VnetHeader::NEEDS_CSUM,
        gso: Gso::UdpL4,
        hdr_len: 42,
        gso_size: 1472,
        csum_start: 34,
        csum_offset: 6,
        ..VnetHeader::default()
    };
    let mut packet = PacketBuf::new(0, 9000);
    packet.extend(&bytes).unwrap();
    packet.meta.vnet = vnet;
    net.send_from(0, BRIDGE, &bytes, vnet);
    net.run(millis(10));
    assert_eq!(frames(&net.sides[1]), cut(&packet, Layer::Frame));
}

#[test]
fn a_syn_is_clamped_to_a_frame() {
    let mut net = bridged();
    let (mut bytes, _) = tcp_frame(0, 0, false);
    // A SYN with a maximum segment size of 1460 in place of the timestamp.
    bytes.truncate(58);
    bytes[54..58].copy_from_slice(&[2, 4, 0x05, 0xb4]);
    (bytes[46], bytes[47]) = (6 << 4, 2);
    bytes[16..18].copy_from_slice(&[0, 44]);
    net.send_from(0, BRIDGE, &bytes, VnetHeader::default());
    net.run(millis(10));
    let arrived = frames(&net.sides[1]).pop().unwrap();
    let mss = u16::from_be_bytes([arrived[56], arrived[57]]);
    assert_eq!(mss, 1420 - 1 - 14 - 40);
}

#[test]
fn packets_and_frames_do_not_mix() {
    let mut net = bridged();
    let peer = net.sides[0].tunnel.peers[0].as_ref().unwrap();
    let send = Arc::clone(&peer.sessions.current.as_ref().unwrap().send);
    let mut message = [&[0; 16][..], &ipv4(0, 96), &[0; 16]].concat();
    send.seal(send.reserve(1, u64::MAX).unwrap(), &mut message);
    let from = net.sides[0].at;
    net.inject(1, from, &message, 0);
    assert!(net.sides[1].arrived.is_empty());
    assert_eq!(net.status(1).drops.count(DropReason::MALFORMED), 1);

    // And a frame to a peer of packets, as a foreign peer would see it.
    let mut net = Net::pair();
    net.assert_passes(0);
    let peer = net.sides[0].tunnel.peers[0].as_ref().unwrap();
    let send = Arc::clone(&peer.sessions.current.as_ref().unwrap().send);
    let mut message = [&[0; 16][..], &[0x10], &frame(63), &[0; 16]].concat();
    send.seal(send.reserve(1, u64::MAX).unwrap(), &mut message);
    let (from, before) = (net.sides[0].at, net.sides[1].arrived.len());
    net.inject(1, from, &message, 0);
    assert_eq!(net.sides[1].arrived.len(), before);
}

#[test]
fn many_clients_have_a_port_each() {
    let mut server = Side::new(9, "192.0.2.9:9000", TunnelConfig::default());
    let now = Instant::ZERO + seconds(100);
    let mut sides = Vec::new();
    for seed in 1..=3_u8 {
        let at = std::format!("192.0.2.{seed}:1000");
        let mut side = Side::new(seed, &at, TunnelConfig::default());
        let mut peer = PeerConfig::new(server.key());
        peer.endpoint = Some(server.at);
        peer.mode = PeerMode::Frames(BRIDGE);
        side.tunnel.set_peer(now, peer);
        let mut peer = PeerConfig::new(side.key());
        peer.mode = PeerMode::Frames(PortId(100 + u16::from(seed)));
        server.tunnel.set_peer(now, peer);
        sides.push(side);
    }
    sides.push(server);
    let mut net = Net::new(sides);
    for us in 0..3 {
        net.send_from(us, BRIDGE, &frame(100 + us), VnetHeader::default());
        net.run(millis(50));
        let port = PortId(101 + u16::try_from(us).unwrap());
        let (at, packet) = net.sides[3].arrived.last().unwrap();
        assert_eq!((*at, packet.len()), (port, 100 + us));
        net.send_from(3, port, &frame(200 + us), VnetHeader::default());
        net.run(millis(50));
        assert_eq!(frames(&net.sides[us]), [frame(200 + us)]);
    }
}
