use crate::reply::*;
use etherparse::{PacketBuilder, PacketHeaders};
use proptest::prelude::any;
use proptest::test_runner::{Config, TestRunner};

const HOST: [u8; 6] = [2, 0, 0, 0, 0, 1];
const OWN_V6: [u8; 16] = [0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
const OTHER_V6: [u8; 16] = [0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x4d];

fn responder(link: LinkType) -> Responder {
    let addresses = ["192.0.2.1/24", "fd00::1/64", "fe80::1/64"].map(|a| a.parse().unwrap());
    Responder::new(link, addresses, Some(MacAddr(HOST)))
}

fn ping_v4(source: [u8; 4], destination: [u8; 4]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let builder = PacketBuilder::ipv4(source, destination, 64).icmpv4_echo_request(3, 1);
    builder.write(&mut bytes, b"abcdefgh").unwrap();
    bytes
}

fn ping_v6(source: [u8; 16], destination: [u8; 16]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let builder = PacketBuilder::ipv6(source, destination, 64).icmpv6_echo_request(3, 1);
    builder.write(&mut bytes, b"abcdefgh").unwrap();
    bytes
}

fn frame(destination: [u8; 6], kind: [u8; 2], payload: &[u8]) -> Vec<u8> {
    [destination.as_slice(), &HOST, &kind, payload].concat()
}

fn reply(link: LinkType, packet: &[u8]) -> Option<Vec<u8>> {
    responder(link).reply(packet, &mut Vec::new()).map(<[u8]>::to_vec)
}

#[test]
fn ping_over_both_versions_is_answered_with_right_checksums() {
    let answer = reply(LinkType::Raw, &ping_v4([192, 0, 2, 1], [192, 0, 2, 77])).unwrap();
    let mut expected = Vec::new();
    PacketBuilder::ipv4([192, 0, 2, 77], [192, 0, 2, 1], 64)
        .icmpv4_echo_reply(3, 1)
        .write(&mut expected, b"abcdefgh")
        .unwrap();
    assert_eq!(answer, expected);
    let answer = reply(LinkType::Raw, &ping_v6(OWN_V6, OTHER_V6)).unwrap();
    expected.clear();
    PacketBuilder::ipv6(OTHER_V6, OWN_V6, 64)
        .icmpv6_echo_reply(3, 1)
        .write(&mut expected, b"abcdefgh")
        .unwrap();
    assert_eq!(answer, expected);
}

#[test]
fn frames_go_to_the_mac_that_answers_only() {
    let ping = ping_v4([192, 0, 2, 1], [192, 0, 2, 77]);
    let answer = reply(LinkType::Ethernet, &frame(MAC.0, [8, 0], &ping)).unwrap();
    assert_eq!(answer[..14], [&HOST, &MAC.0, [8, 0].as_slice()].concat());
    for destination in [[0xff; 6], [1, 0, 0x5e, 0, 0, 1], [2, 0, 0, 0, 0, 9]] {
        assert_eq!(reply(LinkType::Ethernet, &frame(destination, [8, 0], &ping)), None);
    }
}

#[test]
fn unusable_addresses_are_not_answered() {
    for (source, destination) in [
        ([192, 0, 2, 1], [192, 0, 2, 1]),
        ([192, 0, 2, 9], [192, 0, 2, 1]),
        ([192, 0, 2, 1], [192, 0, 2, 0]),
        ([192, 0, 2, 1], [192, 0, 2, 255]),
        ([192, 0, 2, 1], [198, 51, 100, 1]),
        ([192, 0, 2, 1], [224, 0, 0, 1]),
        ([192, 0, 2, 1], [255, 255, 255, 255]),
        ([224, 0, 0, 1], [192, 0, 2, 77]),
        ([255, 255, 255, 255], [192, 0, 2, 77]),
        ([0, 0, 0, 0], [192, 0, 2, 77]),
        ([127, 0, 0, 1], [192, 0, 2, 77]),
        ([192, 0, 2, 77], [192, 0, 2, 77]),
    ] {
        let answer = reply(LinkType::Raw, &ping_v4(source, destination));
        assert_eq!(answer, None, "{source:?} {destination:?}");
    }
    let mut link_local = OTHER_V6;
    (link_local[0], link_local[1]) = (0xfe, 0x80);
    for (source, destination) in
        [(OWN_V6, OWN_V6), (OWN_V6, link_local), ([0; 16], OTHER_V6), ([0xff; 16], OTHER_V6)]
    {
        assert_eq!(reply(LinkType::Raw, &ping_v6(source, destination)), None);
    }
}

#[test]
fn broken_packets_are_not_answered() {
    let good = ping_v4([192, 0, 2, 1], [192, 0, 2, 77]);
    for bit in 0..good.len() * 8 {
        let mut bad = good.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(reply(LinkType::Raw, &bad), None, "bit {bit}");
    }
    for len in 0..good.len() {
        assert_eq!(reply(LinkType::Raw, &good[..len]), None, "{len} bytes");
    }
    let good = ping_v6(OWN_V6, OTHER_V6);
    for bit in 0..good.len() * 8 {
        let mut bad = good.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        // No checksum covers traffic class, flow label and hop limit.
        let is_uncovered = matches!(bit / 8, 1..=3 | 7) || (bit / 8 == 0 && bit % 8 < 4);
        assert_eq!(reply(LinkType::Raw, &bad).is_some(), is_uncovered, "bit {bit}");
    }
    // A fragment with a right header checksum.
    let mut fragment = ping_v4([192, 0, 2, 1], [192, 0, 2, 77]);
    (fragment[6], fragment[10], fragment[11]) = (0x20, 0, 0);
    let sum = checksum::of(&fragment[..20]);
    put(&mut fragment, 10, sum);
    assert_eq!(reply(LinkType::Raw, &fragment), None);
    // What is behind the packet (padding of a frame) stays behind.
    let mut padded = ping_v4([192, 0, 2, 1], [192, 0, 2, 77]);
    padded.extend([0; 20]);
    assert_eq!(reply(LinkType::Raw, &padded).unwrap().len(), padded.len() - 20);
}

fn who_has(sender: [u8; 4], target: [u8; 4]) -> Vec<u8> {
    [&[0, 1, 8, 0, 6, 4, 0, 1], HOST.as_slice(), &sender, &[0; 6], &target].concat()
}

#[test]
fn arp_is_answered_but_for_probes_and_announcements() {
    let ask = |to, sender, target| {
        reply(LinkType::Ethernet, &frame(to, [8, 6], &who_has(sender, target)))
    };
    let answer = ask([0xff; 6], [192, 0, 2, 1], [192, 0, 2, 77]).unwrap();
    let message =
        [&[0, 1, 8, 0, 6, 4, 0, 2], MAC.0.as_slice(), &[192, 0, 2, 77], &HOST, &[192, 0, 2, 1]];
    assert_eq!(answer[14..], message.concat());
    assert!(ask(MAC.0, [192, 0, 2, 1], [192, 0, 2, 77]).is_some());
    assert_eq!(ask([0xff; 6], [0, 0, 0, 0], [192, 0, 2, 77]), None);
    assert_eq!(ask([0xff; 6], [192, 0, 2, 77], [192, 0, 2, 77]), None);
    assert_eq!(ask([0xff; 6], [192, 0, 2, 9], [192, 0, 2, 1]), None);
    assert_eq!(ask([2, 0, 0, 0, 0, 7], [192, 0, 2, 1], [192, 0, 2, 77]), None);
}

fn solicitation(source: [u8; 16], destination: [u8; 16], options: &[u8], hops: u8) -> Vec<u8> {
    let mut out = Vec::new();
    let len = 24 + options.len();
    let (source, destination) = (source.into(), destination.into());
    let start = begin_icmp_v6(&mut out, source, destination, len, hops).unwrap();
    out.extend([135, 0, 0, 0, 0, 0, 0, 0]);
    out.extend(OTHER_V6);
    out.extend(options);
    finish_icmp_v6(&mut out, start, source, destination).unwrap();
    out
}

#[test]
fn neighbor_solicitations_are_answered_but_for_duplicate_address_detection() {
    let group = solicited_node(OTHER_V6.into()).octets();
    let to = [0x33, 0x33, 0xff, 0, 0, 0x4d];
    let address = [&[1, 1], HOST.as_slice()].concat();
    let ask = |to, source, destination, options: &[u8], hops| {
        let packet = solicitation(source, destination, options, hops);
        reply(LinkType::Ethernet, &frame(to, [0x86, 0xdd], &packet))
    };
    let answer = ask(to, OWN_V6, group, &address, 255).unwrap();
    let headers = PacketHeaders::from_ethernet_slice(&answer).unwrap();
    assert!(headers.transport.is_some());
    assert_eq!(answer[54], 136);
    assert_eq!(answer[62..78], OTHER_V6);
    assert_eq!(answer[78..], [&[2, 1], MAC.0.as_slice()].concat());
    assert!(icmp_v6(&answer[14..]).is_some(), "the checksum is right");
    // Asked alone and without an address, it answers without one: no more bytes than it got.
    assert_eq!(ask(MAC.0, OWN_V6, OTHER_V6, &[], 255).unwrap().len(), 14 + 40 + 24);
    assert_eq!(ask(to, [0; 16], group, &[], 255), None, "duplicate address detection");
    assert_eq!(ask(to, OWN_V6, group, &[], 255), None);
    assert_eq!(ask(to, OWN_V6, group, &address, 254), None, "from beyond a router");
    assert_eq!(ask(to, OWN_V6, group, &[1, 0, 0, 0, 0, 0, 0, 0], 255), None);
}

#[test]
fn no_bytes_make_it_panic_or_answer_with_more() {
    let mut runner = TestRunner::new(Config { cases: 100_000, ..Config::default() });
    let seeds = vec![
        frame([0xff; 6], [8, 6], &who_has([192, 0, 2, 1], [192, 0, 2, 77])),
        frame(MAC.0, [0x86, 0xdd], &ping_v6(OWN_V6, OTHER_V6)),
        frame(MAC.0, [8, 0], &ping_v4([192, 0, 2, 1], [192, 0, 2, 77])),
        ping_v4([192, 0, 2, 1], [192, 0, 2, 77]),
        vec![],
    ];
    let strategy = (
        proptest::sample::select(seeds),
        proptest::collection::vec((any::<usize>(), any::<u8>()), 0..4),
        proptest::collection::vec(any::<u8>(), 0..40),
        any::<bool>(),
    );
    runner
        .run(&strategy, |(mut packet, changes, tail, raw)| {
            packet.extend(tail);
            for (at, byte) in changes {
                let len = packet.len().max(1);
                if let Some(place) = packet.get_mut(at % len) {
                    *place = byte;
                }
            }
            let link = if raw { LinkType::Raw } else { LinkType::Ethernet };
            if let Some(answer) = reply(link, &packet) {
                assert!(answer.len() <= packet.len());
            }
            Ok(())
        })
        .unwrap();
}
