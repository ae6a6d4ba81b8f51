//! How long a packet may be.

use super::*;
use adit_packet::{Icmp, Ipv4, icmp};

/// Two of our own, and a path that carries datagrams of at most `limit`.
fn narrow(limit: usize) -> Net {
    let mut net = Net::pair_with(TunnelConfig::default(), |peer| peer.extensions = true);
    net.rule = rule(limit);
    net.send(0, &ipv4(0, 100));
    net.run(seconds(60));
    net
}

fn rule(limit: usize) -> Rule {
    Box::new(move |datagram| {
        let size = usize::from(datagram.gso_size);
        let longest = if size == 0 { datagram.bytes.len() } else { size };
        if longest > limit && !datagram.may_fragment { Fate::Drop } else { Fate::Deliver }
    })
}

#[test]
fn the_path_is_found() {
    for (limit, least) in
        [(1500, 1420), (1452, 1420), (1451, 1404), (1400, 1353), (1280, 1233), (1232, 1200)]
    {
        let net = narrow(limit);
        for us in [0, 1] {
            let mtu = usize::from(net.status(us).path_mtu);
            assert!(mtu <= limit - 32 && mtu >= least, "{limit}: {mtu}");
        }
    }
}

#[test]
fn a_black_hole_is_noticed_and_its_end_as_well() {
    let mut net = narrow(1500);
    assert_eq!(net.status(0).path_mtu, 1420);
    net.rule = rule(1300);
    for _ in 0..700 {
        net.send(0, &ipv4(0, 100));
        net.run(seconds(1));
    }
    let mtu = net.status(0).path_mtu;
    assert!((1252..=1268).contains(&mtu), "{mtu}");
    net.rule = rule(1500);
    for _ in 0..700 {
        net.send(0, &ipv4(0, 100));
        net.run(seconds(1));
    }
    assert_eq!(net.status(0).path_mtu, 1420);
}

#[test]
fn a_sender_of_packets_too_big_gets_an_icmp_error() {
    let mut net = narrow(1400);
    let mtu = net.status(0).path_mtu;
    let start = net.sides[0].arrived.len();
    net.send(0, &ipv4(0, 1420));
    let (port, answer) = &net.sides[0].arrived[start];
    assert_eq!(*port, DEVICE);
    let ip = Ipv4::parse(answer.bytes()).unwrap();
    assert_eq!(Icmp::parse(ip.payload()).unwrap().header().mtu_v4(), Some(mtu));
    assert!(icmp::has_valid_checksum_v4(ip.payload()));
    assert_eq!(net.status(0).drops.count(DropReason::TOO_BIG), 1);
    // What fits crosses, and TCP is cut to fit.
    let before = net.sides[1].packets().len();
    net.send(0, &ipv4(0, mtu.into()));
    let (bytes, vnet) = tcp_super(inside(0), inside(1), 1, 30_000, 1368);
    net.send_from(0, DEVICE, &bytes, vnet);
    net.run(millis(10));
    let packets = net.sides[1].packets();
    let payload: Vec<u8> =
        packets[before + 1..].iter().flat_map(|packet| packet[52..].to_vec()).collect();
    assert_eq!(payload, bytes[52..]);
}

#[test]
fn a_path_mtu_hint_lowers_the_path_mtu() {
    let mut net = Net::pair();
    net.assert_passes(0);
    let at = net.sides[1].at;
    net.sides[0].tunnel.path_mtu_hint(net.now, at, 1300);
    assert_eq!(net.status(0).path_mtu, 1268);
    net.sides[0].tunnel.path_mtu_hint(net.now, at, 1400);
    assert_eq!(net.status(0).path_mtu, 1268, "it is not raised so");
    net.sides[0].tunnel.path_mtu_hint(net.now, at, 5);
    assert_eq!(net.status(0).path_mtu, 516, "nor lowered beyond reason");
    let events = net.sides[0].tunnel.poll_event();
    assert!(matches!(events, Some(TunnelEvent::PathMtu { mtu: 1268, .. })), "{events:?}");
}

#[test]
fn the_path_mtu_of_a_roaming_peer_is_measured_again() {
    let mut net = narrow(1300);
    assert!(net.status(1).path_mtu < 1300);
    net.rule = rule(1500);
    net.sides[0].at = udp("198.51.100.1:1");
    net.send(0, &ipv4(0, 100));
    net.run(seconds(10));
    assert_eq!(net.status(1).path_mtu, 1420);
}

#[test]
fn a_foreign_peer_is_asked_twice_in_three_sessions_and_not_again() {
    let timing = Timing::STANDARD.faster(10);
    let mut first = true;
    let config = TunnelConfig { timing, ..TunnelConfig::default() };
    let mut net = Net::pair_with(config, |peer| {
        peer.extensions = core::mem::take(&mut first);
    });
    let mut lens = BTreeMap::new();
    for _ in 0..1000 {
        net.send(0, &ipv4(0, 100));
        net.run(millis(100));
    }
    for datagram in net.log.iter().filter(|datagram| datagram.from == net.sides[0].at) {
        *lens.entry(datagram.bytes.len()).or_insert(0) += 1;
    }
    assert_eq!(lens.get(&48), Some(&6), "{lens:?}");
    assert!(!net.status(0).extensions);
    assert_eq!(net.status(0).path_mtu, 1420);
}

#[test]
fn an_idle_peer_is_not_woken_to_be_measured() {
    let mut net = narrow(1500);
    net.run(seconds(700));
    let start = net.log.len();
    net.run(seconds(3600));
    assert_eq!(net.log.len(), start);
    assert!(net.sides.iter().all(|side| side.tunnel.next_timeout().is_none()));
    net.rule = rule(1300);
    for _ in 0..20 {
        net.send(0, &ipv4(0, 100));
        net.run(seconds(1));
    }
    assert!(net.status(0).path_mtu < 1300, "with the next session the search goes on");
}

/// The packet of [`ipv4`] without DF.
fn ipv4_to_cut(from: usize, len: usize) -> Vec<u8> {
    let mut bytes = ipv4(from, len);
    bytes[6] = 0;
    bytes
}

fn ipv6(len: usize) -> Vec<u8> {
    let header = adit_packet::Ipv6Header {
        class: 0,
        flow_label: 0,
        payload_len: u16::try_from(len - 40).unwrap(),
        next_header: 253,
        hop_limit: 64,
        source: "2001:db8::1".parse().unwrap(),
        destination: "2001:db8::2".parse().unwrap(),
    };
    let mut bytes = header.to_bytes().to_vec();
    bytes.resize(len, 7);
    bytes
}

/// IPv4 without DF and IPv6 up to 1280 bytes pass a path of any width: before the search, after it, and with a peer
/// that cannot be probed. IPv4 with DF passes as well while the path is unknown.
#[test]
fn packets_that_may_be_fragmented_always_pass() {
    for (extensions, limit) in [(true, 1252), (false, 1252), (true, 1000), (false, 1000)] {
        let mut net = Net::pair_with(TunnelConfig::default(), |peer| peer.extensions = extensions);
        net.rule = rule(limit);
        net.send(0, &ipv4(0, 1420));
        net.run(millis(100));
        assert_eq!(net.sides[1].packets().len(), 1, "{extensions} {limit}: DF");
        for round in 0..90 {
            let before = net.sides[1].packets().len();
            for packet in [ipv4_to_cut(0, 1420), ipv4_to_cut(0, 1368), ipv6(1280), ipv4(0, 300)] {
                net.send(0, &packet);
            }
            let (bytes, vnet) = udp_super(4000, 1300);
            net.send_from(0, DEVICE, &bytes, vnet);
            net.run(seconds(1));
            let passed = net.sides[1].packets().len() - before;
            assert_eq!(passed, 8, "{extensions} {limit}: in second {round}");
        }
    }
}

/// A UDP super-packet over IPv4 without DF.
fn udp_super(len: usize, size: u16) -> (Vec<u8>, VnetHeader) {
    let mut bytes = ipv4_to_cut(0, 28 + len);
    bytes[9] = 17;
    let udp_len = u16::try_from(8 + len).unwrap();
    bytes[20..24].copy_from_slice(&[0, 9, 0, 9]);
    bytes[24..26].copy_from_slice(&udp_len.to_be_bytes());
    let vnet = VnetHeader {
        flags: VnetHeader::NEEDS_CSUM,
        gso: Gso::UdpL4,
        hdr_len: 28,
        gso_size: size,
        csum_start: 20,
        csum_offset: 6,
        ..VnetHeader::default()
    };
    (bytes, vnet)
}

#[test]
fn a_path_that_widens_is_used_within_a_minute() {
    let mut net = narrow(1300);
    net.rule = rule(1500);
    for _ in 0..60 {
        net.send(0, &ipv4(0, 100));
        net.run(seconds(1));
    }
    assert_eq!(net.status(0).path_mtu, 1420);
}

/// Forged ICMP reaches us as a path MTU of the kernel. It is believed of a peer that cannot be probed only, and for
/// less than a minute.
#[test]
fn a_forged_path_mtu_does_not_last() {
    for extensions in [true, false] {
        let mut net = Net::pair_with(TunnelConfig::default(), |peer| peer.extensions = extensions);
        net.assert_passes(0);
        net.run(seconds(10));
        let (now, at) = (net.now, net.sides[1].at);
        net.sides[0].tunnel.path_mtu_hint(now, at, 548);
        assert_eq!(net.status(0).path_mtu, if extensions { 1420 } else { 516 });
        net.run(seconds(1));
        assert!(net.status(0).path_mtu > 1400 || !extensions);
        for _ in 0..59 {
            net.send(0, &ipv4(0, 100));
            net.run(seconds(1));
        }
        assert_eq!(net.status(0).path_mtu, 1420);
    }
}
