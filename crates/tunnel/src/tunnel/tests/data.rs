use super::*;
use crate::cases::cases;
use adit_packet::Coalescer;
use proptest::prelude::*;

/// Cuts a super-packet as an oracle: the library's own segments.
fn segments(bytes: &[u8], vnet: &VnetHeader) -> Vec<Vec<u8>> {
    let mut packet = PacketBuf::new(0, bytes.len());
    packet.extend(bytes).unwrap();
    packet.meta.vnet = *vnet;
    cut(&packet, Layer::Packet)
}

#[test]
fn a_super_packet_crosses_as_one_train_and_comes_out_whole() {
    let mut net = Net::pair();
    net.assert_passes(0);
    let start = net.log.len();
    let (bytes, vnet) = tcp_super(inside(0), inside(1), 1, 45 * 1368, 1368);
    net.send_from(0, DEVICE, &bytes, vnet);
    assert_eq!(net.log.len() - start, 1, "one train");
    let train = &net.log[start];
    assert_eq!((train.gso_size, train.bytes.len()), (1452, 45 * 1452));
    net.run(millis(10));
    assert_eq!(net.sides[1].arrived.len(), 2, "one super-packet");
    let (_, arrived) = net.sides[1].arrived.last().unwrap();
    assert_eq!(arrived.bytes(), bytes);
    assert_eq!(arrived.meta.vnet, vnet);
}

#[test]
fn a_batch_longer_than_a_train_becomes_two() {
    let mut net = Net::pair();
    net.assert_passes(0);
    let start = net.log.len();
    let (bytes, vnet) = tcp_super(inside(0), inside(1), 1, 65_000, 1368);
    net.send_from(0, DEVICE, &bytes, vnet);
    let lens: Vec<_> = net.log[start..].iter().map(|train| train.bytes.len()).collect();
    assert_eq!(lens.len(), 2);
    assert!(lens.iter().all(|&len| len <= 65_507));
    net.run(millis(10));
    let wanted = segments(&bytes, &vnet);
    assert_eq!(net.sides[1].packets()[1..], wanted);
}

#[test]
fn a_super_packet_of_the_longest_kind_is_one_train() {
    for mtu in [576, 1280, 1420, 1440, 9000, 65_535] {
        let mut net = Net::pair_with(TunnelConfig { mtu, ..TunnelConfig::default() }, |_| {});
        net.assert_passes(0);
        let start = net.log.len();
        let len = gso_len_max(mtu).min(65_535) - 52;
        let (bytes, vnet) = tcp_super(inside(0), inside(1), 1, len, mtu - 52);
        net.send_from(0, DEVICE, &bytes, vnet);
        assert_eq!(net.log.len() - start, 1, "{mtu}");
    }
}

#[test]
fn tcp_that_does_not_fit_is_cut_shorter() {
    let mut net = Net::pair();
    net.assert_passes(0);
    let (bytes, vnet) = tcp_super(inside(0), inside(1), 77, 20_000, 1448);
    net.send_from(0, DEVICE, &bytes, vnet);
    net.run(millis(10));
    let packets = net.sides[1].packets();
    assert!(packets.iter().all(|packet| packet.len() <= 1420));
    let payload: Vec<u8> = packets[1..].iter().flat_map(|packet| packet[52..].to_vec()).collect();
    assert_eq!(payload, bytes[52..]);
}

#[test]
fn single_packets_are_finished_and_not_joined_across_datagrams() {
    let mut net = Net::pair();
    net.assert_passes(0);
    let (bytes, vnet) = tcp_super(inside(0), inside(1), 1, 100, 0);
    let vnet = VnetHeader { gso: Gso::None, gso_size: 0, hdr_len: 0, ..vnet };
    net.send_from(0, DEVICE, &bytes, vnet);
    net.run(millis(10));
    let arrived = net.sides[1].packets().pop().unwrap();
    let headers = adit_packet::Headers::parse_packet(&arrived).unwrap();
    let sum = Sum::pseudo_v4(inside(0), inside(1), 6, 132);
    assert_eq!(sum.add_bytes(&arrived[headers.transport().unwrap()..]).finish(), 0);
    assert_eq!(arrived[40..], bytes[40..]);
}

/// A train of the packets given, sealed by one side of a session.
fn train(net: &Net, us: usize, packets: &[Vec<u8>], len: usize) -> Vec<u8> {
    let peer = net.sides[us].tunnel.peers[0].as_ref().unwrap();
    let send = &peer.sessions.current.as_ref().unwrap().send;
    let mut train = Vec::new();
    for packet in packets {
        let counter = send.reserve(1, u64::MAX).unwrap();
        let mut message = vec![0; len + 32];
        message[16..16 + packet.len()].copy_from_slice(packet);
        send.seal(counter, &mut message);
        train.extend(message);
    }
    train
}

/// The oracle's answer: the same packets joined by the library's coalescer.
fn coalesced(packets: &[Vec<u8>]) -> Vec<(Vec<u8>, VnetHeader)> {
    let bufs: Vec<PacketBuf> = packets
        .iter()
        .map(|bytes| {
            let mut packet = PacketBuf::new(0, bytes.len());
            packet.extend(bytes).unwrap();
            packet
        })
        .collect();
    let mut coalescer = Coalescer::new(Layer::Packet);
    coalescer
        .join(&bufs)
        .iter()
        .map(|train| (train.pieces().collect::<Vec<_>>().concat(), train.vnet()))
        .collect()
}

#[test]
fn a_corrupt_packet_is_not_repaired_by_joining() {
    let mut net = Net::pair();
    net.assert_passes(0);
    let (bytes, vnet) = tcp_super(inside(0), inside(1), 1, 5 * 1000, 1000);
    let mut packets = segments(&bytes, &vnet);
    packets[2][500] ^= 1;
    let train = train(&net, 0, &packets, 1052);
    let from = net.sides[0].at;
    net.inject(1, from, &train, 1084);
    assert_eq!(net.sides[1].packets()[1..], packets, "as it came, wrong checksum and all");
    assert_eq!(net.sides[1].arrived.len(), 1 + 3);
}

#[test]
fn a_forged_datagram_in_a_train_harms_no_other() {
    let mut net = Net::pair();
    net.assert_passes(0);
    let (bytes, vnet) = tcp_super(inside(0), inside(1), 1, 6 * 1000, 1000);
    let packets = segments(&bytes, &vnet);
    for forged in 0..6 {
        let mut train = train(&net, 0, &packets, 1052);
        train[forged * 1084 + 300] ^= 4;
        let (from, before) = (net.sides[0].at, net.sides[1].packets().len());
        net.inject(1, from, &train, 1084);
        let wanted: Vec<_> =
            (0..6).filter(|&at| at != forged).map(|at| packets[at].clone()).collect();
        assert_eq!(net.sides[1].packets()[before..], wanted, "{forged}");
    }
    assert_eq!(net.status(1).drops.count(DropReason::NOT_AUTHENTIC), 6);
}

#[test]
fn a_train_is_not_accepted_twice() {
    let mut net = Net::pair();
    net.assert_passes(0);
    let (bytes, vnet) = tcp_super(inside(0), inside(1), 1, 10 * 1000, 1000);
    net.send_from(0, DEVICE, &bytes, vnet);
    let train = net.wire.back().unwrap().clone();
    net.run(millis(10));
    let before = net.sides[1].packets().len();
    net.inject(1, udp("203.0.113.1:1"), &train.bytes, train.gso_size);
    assert_eq!(net.sides[1].packets().len(), before);
    assert_eq!(net.status(1).drops.count(DropReason::REPLAYED), 10);
    assert_eq!(net.status(1).endpoint, Some(net.sides[0].at), "and moves nobody");
}

/// Packets of a few flows, most of them the next one of theirs.
fn flows() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let step = (0_u8..3, 0_u8..12, prop_oneof![Just(600_usize), 1_usize..600]);
    prop::collection::vec(step, 1..40).prop_map(|steps| {
        let mut next = [1_u32, 1_000_000, u32::MAX - 900];
        let (mut packets, mut ids) = (Vec::new(), [1_u16; 3]);
        for (flow, oddity, len) in steps {
            let at = usize::from(flow);
            let source = Ipv4Addr::new(10, 0, 0, flow);
            let (bytes, vnet) = tcp_super(source, inside(1), next[at], len, 1460);
            let mut packet = segments(&bytes, &vnet).remove(0);
            // Identifications that count up, as those of a super-packet cut up do.
            ids[at] += 1;
            packet[4..6].copy_from_slice(&u16::to_be_bytes(ids[at]));
            packet[10..12].fill(0);
            let check = adit_packet::checksum::of(&packet[..20]);
            packet[10..12].copy_from_slice(&check.to_be_bytes());
            match oddity {
                0 => packet[33] = 0x18, // PSH stays
                1 => packet[35] ^= 7,   // another window, and so a wrong checksum
                2 => packet[8] = 3,     // TTL, and so a wrong header checksum
                3 => next[at] = next[at].wrapping_add(5),
                _ => {
                    // No PSH: most packets have none.
                    packet[33] = 0x10;
                    let check = u16::from_be_bytes([packet[36], packet[37]]);
                    let check = adit_packet::checksum::update16(check, 0x8018, 0x8010);
                    packet[36..38].copy_from_slice(&check.to_be_bytes());
                }
            }
            next[at] = next[at].wrapping_add(u32::try_from(len).unwrap());
            packets.push(packet);
        }
        packets
    })
}

proptest! {
    #![proptest_config(cases(64))]

    /// What comes out of a train, cut up again, is what went in, each flow in its order; and of one flow
    /// the joints are those of the coalescer.
    #[test]
    fn a_train_comes_out_as_it_went_in(packets in flows()) {
        let mut net = Net::pair();
        net.assert_passes(0);
        let train = train(&net, 0, &packets, 688);
        let from = net.sides[0].at;
        net.inject(1, from, &train, 720);
        prop_assert_eq!(&net.sides[1].packets()[1..], &packets[..]);
        if packets.iter().all(|packet| packet[15] == packets[0][15]) {
            let arrived: Vec<_> = net.sides[1].arrived[1..]
                .iter()
                .map(|(_, packet)| (packet.bytes().to_vec(), packet.meta.vnet))
                .collect();
            prop_assert_eq!(arrived, coalesced(&packets));
        }
    }
}

#[test]
fn without_a_device_that_takes_them_nothing_is_joined() {
    let config = TunnelConfig { join: false, ..TunnelConfig::default() };
    let mut net = Net::pair_with(config, |_| {});
    net.assert_passes(0);
    let (bytes, vnet) = tcp_super(inside(0), inside(1), 1, 10 * 1000, 1000);
    net.send_from(0, DEVICE, &bytes, vnet);
    net.run(millis(10));
    assert_eq!(net.sides[1].arrived.len(), 11);
    assert_eq!(net.sides[1].packets()[1..], segments(&bytes, &vnet));
}

#[test]
fn udp_over_ipv6_crosses_as_a_super_packet() {
    let mut net = Net::pair();
    // Each side may send from all of 2001:db8::/32 here, for it is the other's alone.
    net.assert_passes(0);
    let (source, destination) =
        ("2001:db8::1".parse().unwrap(), "2001:db8::2".parse::<Ipv6Addr>().unwrap());
    let len = 7 * 1200 + 8;
    let ip = adit_packet::Ipv6Header {
        class: 0,
        flow_label: 5,
        payload_len: len,
        next_header: 17,
        hop_limit: 64,
        source,
        destination,
    };
    let [l0, l1] = len.to_be_bytes();
    let mut bytes = [&ip.to_bytes()[..], &[0, 7, 0, 9, l0, l1, 0, 0]].concat();
    bytes.resize(40 + usize::from(len), 9);
    let pseudo = Sum::pseudo_v6(source, destination, 17, len.into());
    bytes[46..48].copy_from_slice(&pseudo.fold().to_be_bytes());
    let vnet = VnetHeader {
        flags: VnetHeader::NEEDS_CSUM,
        gso: Gso::UdpL4,
        hdr_len: 48,
        gso_size: 1200,
        csum_start: 40,
        csum_offset: 6,
        ..VnetHeader::default()
    };
    net.send_from(0, DEVICE, &bytes, vnet);
    net.run(millis(10));
    let (_, arrived) = net.sides[1].arrived.last().unwrap();
    assert_eq!(arrived.bytes(), bytes);
    assert_eq!(arrived.meta.vnet, vnet);
}

#[test]
fn the_queue_for_a_handshake_has_an_end() {
    let mut net = Net::pair();
    net.rule = Box::new(|_| Fate::Drop);
    for _ in 0..40 {
        net.send(0, &ipv4(0, 100));
    }
    assert_eq!(net.status(0).queued, 16);
    assert_eq!(net.status(0).drops.count(DropReason::QUEUE_FULL), 24);
}

#[test]
fn whom_nobody_knows_gets_nothing() {
    let mut net = Net::pair();
    net.send(0, &ipv4_between(inside(0), Ipv4Addr::new(192, 168, 1, 1), 100));
    net.send(0, &[0x45]);
    net.send(0, &[]);
    assert_eq!(net.sides[0].tunnel.drops().count(DropReason::NO_PEER), 1);
    assert_eq!(net.sides[0].tunnel.drops().count(DropReason::MALFORMED), 2);
    assert!(net.log.is_empty());
}
