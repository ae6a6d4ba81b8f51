use super::program::{Answer, assemble};
use super::*;
use crate::cases::cases;
use adit_packet::{Endian, HashReport, Headers, Toeplitz, VnetHash, VnetHeader, VnetLen, rss_hash};
use proptest::prelude::*;
use std::net::IpAddr;

/// Source, destination, hash over the addresses, hash over addresses and ports: "Verifying the RSS
/// hash calculation" of Microsoft's documentation for drivers.
const VECTORS: [(&str, u16, &str, u16, u32, u32); 8] = [
    ("66.9.149.187", 2794, "161.142.100.80", 1766, 0x323e_8fc2, 0x51cc_c178),
    ("199.92.111.2", 14230, "65.69.140.83", 4739, 0xd718_262a, 0xc626_b0ea),
    ("24.19.198.95", 12898, "12.22.207.184", 38024, 0xd2d0_a5de, 0x5c2b_394a),
    ("38.27.205.30", 48228, "209.142.163.6", 2217, 0x8298_9176, 0xafc7_327f),
    ("153.39.163.191", 44251, "202.188.127.2", 1303, 0x5d18_09c5, 0x10e8_28a2),
    ("3ffe:2501:200:1fff::7", 2794, "3ffe:2501:200:3::1", 1766, 0x2cc1_8cd5, 0x4020_7d3d),
    ("3ffe:501:8::260:97ff:fe40:efab", 14230, "ff02::1", 4739, 0x0f0c_461c, 0xdde5_1bbf),
    (
        "3ffe:1900:4545:3:200:f8ff:fe21:67cf",
        44251,
        "fe80::200:f8ff:fe21:67cf",
        38024,
        0x4b61_e985,
        0x02d1_feef,
    ),
];

/// A packet of 20 bytes of transport header for each vector and protocol, with what is to come out.
fn vectors() -> impl Iterator<Item = (Vec<u8>, VnetHash)> {
    VECTORS.into_iter().flat_map(|(source, source_port, destination, port, address_hash, hash)| {
        [tuple::TCP, tuple::UDP, 1].map(|protocol| {
            let (source, destination) = (source.parse().unwrap(), destination.parse().unwrap());
            let report = match (source, protocol) {
                (IpAddr::V4(_), tuple::TCP) => HashReport::Tcp4,
                (IpAddr::V4(_), tuple::UDP) => HashReport::Udp4,
                (IpAddr::V4(_), _) => HashReport::Ipv4,
                (IpAddr::V6(_), tuple::TCP) => HashReport::Tcp6,
                (IpAddr::V6(_), tuple::UDP) => HashReport::Udp6,
                (IpAddr::V6(_), _) => HashReport::Ipv6,
            };
            let value = if protocol == 1 { address_hash } else { hash };
            let mut packet = ip_header(source, destination, protocol);
            packet.extend(source_port.to_be_bytes());
            packet.extend(port.to_be_bytes());
            packet.extend([0; 16]);
            (packet, VnetHash { value, report: report.to_wire() })
        })
    })
}

fn ip_header(source: IpAddr, destination: IpAddr, protocol: u8) -> Vec<u8> {
    match (source, destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            let mut header = vec![0x45, 0, 0, 40, 0, 0, 0, 0, 64, protocol, 0, 0];
            header.extend(source.octets());
            header.extend(destination.octets());
            header
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            let mut header = vec![0x60, 0, 0, 0, 0, 20, protocol, 64];
            header.extend(source.octets());
            header.extend(destination.octets());
            header
        }
        _ => panic!("one family"),
    }
}

/// `packet` behind an Ethernet header with these tags.
fn in_ethernet(tags: &[u16], packet: &[u8]) -> Vec<u8> {
    let mut frame = vec![2; 12];
    for tag in tags {
        frame.extend(tag.to_be_bytes());
        frame.extend([0, 5]);
    }
    let ipv4 = packet.first().is_some_and(|byte| byte >> 4 == 4);
    frame.extend(if ipv4 { tuple::ETHERTYPE_IPV4 } else { tuple::ETHERTYPE_IPV6 }.to_be_bytes());
    frame.extend(packet);
    frame
}

fn table(queues: u16) -> IndirectionTable {
    IndirectionTable::even(queues).unwrap()
}

#[test]
fn hasher_passes_microsofts_verification_suite() {
    let tun = PacketHasher::new(Mode::Tun, &ToeplitzKey::MICROSOFT, HashTypes::PLAIN);
    let tap = PacketHasher::new(Mode::Tap, &ToeplitzKey::MICROSOFT, HashTypes::PLAIN);
    for (packet, hash) in vectors() {
        assert_eq!(tun.hash(&packet), Some(hash));
        for tags in [&[][..], &[0x8100], &[0x88a8, 0x8100]] {
            assert_eq!(tap.hash(&in_ethernet(tags, &packet)), Some(hash));
        }
        assert_eq!(tap.hash(&in_ethernet(&[0x8100; 3], &packet)), None, "three tags");
    }
}

/// The parser of whole packets finds the same in sound ones.
#[test]
fn hasher_agrees_with_the_parser_of_packets() {
    let hasher = PacketHasher::new(Mode::Tap, &ToeplitzKey::SYMMETRIC, HashTypes::PLAIN);
    let toeplitz = Toeplitz::new(&ToeplitzKey::SYMMETRIC);
    for (packet, hash) in vectors() {
        let mut frame = in_ethernet(&[0x88a8, 0x8100], &packet);
        // What a vector leaves out: TCP's header length, UDP's length.
        frame[22 + packet.len() - 8] = 0x50;
        let udp = packet.len() - 20 + 22;
        if [HashReport::Udp4, HashReport::Udp6].map(HashReport::to_wire).contains(&hash.report) {
            frame[udp + 4..udp + 6].copy_from_slice(&[0, 20]);
        }
        let headers = Headers::parse_frame(&frame).unwrap();
        let wanted = rss_hash(&headers, &frame, HashTypes::PLAIN, &toeplitz).map(VnetHash::from);
        assert!(wanted.is_some());
        assert_eq!(hasher.hash(&frame), wanted);
    }
}

#[test]
fn header_carries_hash_and_report() {
    let hasher = PacketHasher::new(Mode::Tun, &ToeplitzKey::MICROSOFT, HashTypes::PLAIN);
    let (packet, _) = vectors().next().unwrap();
    let mut header = VnetHeader::default();
    let mut bytes = [0; 20];
    hasher.fill(&mut header, &packet);
    header.encode(&mut bytes, VnetLen::Hash, Endian::Native).unwrap();
    assert_eq!(bytes[12..], [0x78, 0xc1, 0xcc, 0x51, 2, 0, 0, 0]);
    hasher.fill(&mut header, &[0; 40]);
    header.encode(&mut bytes, VnetLen::Hash, Endian::Native).unwrap();
    assert_eq!(bytes[12..], [0; 8]);
}

#[test]
fn types_left_out_fall_back_to_addresses_or_to_nothing() {
    let hasher = |types| PacketHasher::new(Mode::Tun, &ToeplitzKey::MICROSOFT, types);
    let (packet, _) = vectors().next().unwrap();
    let addresses = VnetHash { value: 0x323e_8fc2, report: HashReport::Ipv4.to_wire() };
    assert_eq!(hasher(HashTypes::IPV4 | HashTypes::UDP4).hash(&packet), Some(addresses));
    assert_eq!(hasher(HashTypes::UDP4).hash(&packet), None);
    assert_eq!(hasher(HashTypes::PLAIN).hash(&packet[..20]), Some(addresses), "no port");
    assert_eq!(hasher(HashTypes::PLAIN).hash(&packet[..19]), None);
    for bits in [[0x20, 0], [0, 1], [0x1f, 0xff]] {
        let mut fragment = packet.clone();
        fragment[6..8].copy_from_slice(&bits);
        assert_eq!(hasher(HashTypes::PLAIN).hash(&fragment), Some(addresses), "{bits:?}");
    }
    let mut whole = packet.clone();
    whole[6] = 0x40;
    assert_eq!(hasher(HashTypes::PLAIN).hash(&whole).unwrap().report, HashReport::Tcp4.to_wire());
}

#[test]
fn extension_headers_are_passed_over_and_fragments_are_not() {
    let hasher = PacketHasher::new(Mode::Tun, &ToeplitzKey::MICROSOFT, HashTypes::PLAIN);
    let (plain, hash) = vectors().nth(15).unwrap();
    assert_eq!(hash.report, HashReport::Tcp6.to_wire());
    let with = |headers: &[(u8, u8, usize)]| {
        let mut packet = plain[..40].to_vec();
        let mut at = 6;
        for &(kind, length_field, len) in headers {
            packet[at] = kind;
            at = packet.len();
            packet.extend([0, length_field]);
            packet.resize(at + len, 0);
        }
        packet[at] = tuple::TCP;
        packet.extend(&plain[40..]);
        packet
    };
    for headers in [
        &[(0, 0, 8)][..],
        &[(60, 2, 24), (43, 1, 16), (60, 0, 8)],
        &[(51, 4, 24)],
        &[(60, 0, 8); tuple::EXTENSIONS_MAX],
    ] {
        assert_eq!(hasher.hash(&with(headers)), Some(hash), "{headers:?}");
    }
    let addresses = VnetHash { value: 0x2cc1_8cd5, report: HashReport::Ipv6.to_wire() };
    for headers in [&[(44, 0, 8)][..], &[(60, 0, 8); tuple::EXTENSIONS_MAX + 1], &[(59, 0, 8)]] {
        assert_eq!(hasher.hash(&with(headers)), Some(addresses), "{headers:?}");
    }
}

#[test]
fn symmetric_key_hashes_both_directions_alike() {
    let config = RssConfig::symmetric(table(4));
    let hasher = PacketHasher::new(Mode::Tun, &config.key, config.types);
    for (packet, _) in vectors() {
        let back = reversed(&packet);
        assert_ne!(packet, back);
        assert_eq!(hasher.hash(&packet), hasher.hash(&back));
    }
}

/// The packet of the other direction, for packets without options.
fn reversed(packet: &[u8]) -> Vec<u8> {
    let (addresses, len) = if packet[0] >> 4 == 4 { (12, 4) } else { (8, 16) };
    let mut back = packet.to_vec();
    back[addresses..addresses + 2 * len].rotate_left(len);
    back[addresses + 2 * len..addresses + 2 * len + 4].rotate_left(2);
    back
}

#[test]
fn tables_are_checked_and_repeated() {
    for len in [0, 3, 129, 256] {
        assert_eq!(IndirectionTable::new(vec![0; len]), Err(IndirectionError::Len { len }));
    }
    assert_eq!(IndirectionTable::new([0, 256]), Err(IndirectionError::Queue { queue: 256 }));
    for queues in [0, 257] {
        assert_eq!(IndirectionTable::even(queues), Err(IndirectionError::Queues { queues }));
    }
    assert_eq!(table(3).as_slice()[..5], [0, 1, 2, 0, 1]);
    let short = IndirectionTable::new([7, 9]).unwrap();
    let long = IndirectionTable::new([7, 9].repeat(64)).unwrap();
    assert_eq!(short.value(), long.value());
    assert!((0..300).all(|hash| short.queue(hash) == long.queue(hash)));
}

/// Toeplitz as Microsoft words it: the leftmost 32 bits of the key for each bit, which then shifts.
fn reference(key: &[u8; ToeplitzKey::LEN], input: &[u8]) -> u32 {
    let bit = |bytes: &[u8], at: usize| bytes[at / 8] >> (7 - at % 8) & 1;
    let mut sum = 0;
    for at in (0..input.len() * 8).filter(|&at| bit(input, at) == 1) {
        sum ^= (at..at + 32).fold(0, |window, at| window << 1 | u32::from(bit(key, at)));
    }
    sum
}

/// Packets from sound to broken: tags, options, extension headers, fragments, cut off anywhere.
fn frame() -> impl Strategy<Value = (Vec<u8>, Vec<u8>)> {
    let kinds = vec![0, 43, 60, 51, 44, 6, 17, 59, 135];
    let extensions = proptest::collection::vec((proptest::sample::select(kinds), 0..4_u8), 0..10);
    let protocol = prop_oneof![4 => Just(6), 4 => Just(17), 1 => any::<u8>()];
    let tag = proptest::sample::select(vec![0x8100, 0x88a8, 0x9100, 0x0800]);
    let tags = prop_oneof![2 => Just(vec![]), 1 => proptest::collection::vec(tag, 1..4)];
    let noise = proptest::collection::vec(any::<u8>(), 80);
    let words = prop_oneof![6 => 5..=15_u8, 1 => 0..=4_u8];
    let fragment = prop_oneof![4 => Just(0x4000), 1 => any::<u16>()];
    let cut = prop_oneof![3 => Just(usize::MAX), 1 => 1..120_usize];
    (any::<bool>(), noise, extensions, protocol, tags, words, fragment, cut).prop_map(
        |(ipv4, noise, extensions, protocol, tags, words, fragment, cut)| {
            let mut packet = noise[..40].to_vec();
            if ipv4 {
                packet[0] = 0x40 | words;
                packet[6..8].copy_from_slice(&fragment.to_be_bytes());
                packet[9] = protocol;
            } else {
                packet[0] = 0x60 | (packet[0] & 15);
                let mut at = 6;
                for (kind, length) in extensions {
                    packet[at] = kind;
                    at = packet.len();
                    packet.extend([0, length]);
                    let len = if kind == 51 { 8 + 4 * length } else { 8 + 8 * length };
                    packet.extend(noise.iter().cycle().take(usize::from(len) - 2));
                }
                packet[at] = protocol;
            }
            packet.extend(&noise[40..]);
            packet.truncate(cut);
            let mut frame = in_ethernet(&tags, &packet);
            frame.truncate(cut);
            (packet, frame)
        },
    )
}

proptest! {
    #[test]
    fn tables_give_the_bitwise_hash(key: [u8; ToeplitzKey::LEN], (packet, frame) in frame()) {
        for (mode, packet) in [(Mode::Tun, packet), (Mode::Tap, frame)] {
            let hash = PacketHasher::new(mode, &ToeplitzKey(key), HashTypes::PLAIN).hash(&packet);
            let tuple = tuple::Tuple::of(mode, HashTypes::PLAIN, &packet);
            let wanted = tuple.map(|tuple| reference(&key, tuple.as_bytes()));
            prop_assert_eq!(hash.map(|hash| hash.value), wanted);
        }
    }

    #[test]
    fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        for mode in [Mode::Tun, Mode::Tap] {
            let hasher = PacketHasher::new(mode, &ToeplitzKey::MICROSOFT, HashTypes::PLAIN);
            let _ = hasher.hash(&bytes);
        }
    }
}

/// What the program answers to what is not hashed, in the tests that ask for the hash.
const UNCLASSIFIED: u16 = 0xabcd;

/// A program that answers with the hash itself.
fn hash_program(hasher: &PacketHasher, mode: Mode, types: HashTypes) -> EbpfProgram {
    let map = map_with(&hasher.tables_value()).unwrap();
    let instructions = assemble(mode, types, UNCLASSIFIED, &map, Answer::Hash);
    EbpfProgram::from_instructions(&instructions, crate::bpf::LICENCE).unwrap()
}

#[test]
#[ignore = "needs the initial user namespace"]
fn root_program_passes_microsofts_verification_suite() {
    for mode in [Mode::Tun, Mode::Tap] {
        let hasher = PacketHasher::new(mode, &ToeplitzKey::MICROSOFT, HashTypes::PLAIN);
        let program = hash_program(&hasher, mode, HashTypes::PLAIN);
        for (packet, hash) in vectors() {
            let packet = if mode == Mode::Tap { in_ethernet(&[], &packet) } else { packet };
            assert_eq!(program.run(&packet).unwrap(), hash.value);
        }
    }
}

#[test]
#[ignore = "needs the initial user namespace"]
fn root_program_and_hasher_agree_on_every_packet() {
    for mode in [Mode::Tun, Mode::Tap] {
        let hasher = PacketHasher::new(mode, &ToeplitzKey::MICROSOFT, HashTypes::PLAIN);
        let program = hash_program(&hasher, mode, HashTypes::PLAIN);
        proptest!(cases(20_000), |((packet, frame) in frame())| {
            let packet = if mode == Mode::Tap { frame } else { packet };
            let wanted = hasher.hash(&packet).map_or(u32::from(UNCLASSIFIED), |hash| hash.value);
            prop_assert_eq!(program.run(&packet).unwrap(), wanted);
        });
    }
}

#[test]
#[ignore = "needs the initial user namespace"]
fn root_program_loads_for_all_types_and_agrees() {
    for mode in [Mode::Tun, Mode::Tap] {
        for bits in 0..=HashTypes::PLAIN.0 {
            let types = HashTypes(bits);
            let hasher = PacketHasher::new(mode, &ToeplitzKey::SYMMETRIC, types);
            let program = hash_program(&hasher, mode, types);
            for (packet, _) in vectors() {
                let packet = if mode == Mode::Tap { in_ethernet(&[], &packet) } else { packet };
                let hash = hasher.hash(&packet).map_or(u32::from(UNCLASSIFIED), |hash| hash.value);
                assert_eq!(program.run(&packet).unwrap(), hash, "{mode:?} {types:?}");
            }
        }
    }
}

#[test]
#[ignore = "needs the initial user namespace"]
fn root_queue_follows_the_table() {
    let mut config = RssConfig::symmetric(table(8));
    config.unclassified_queue = 5;
    let mut rss = Rss::load(Mode::Tun, &config).unwrap();
    for queues in [table(8), table(3), IndirectionTable::new([200]).unwrap()] {
        rss.set_indirection(queues).unwrap();
        for (packet, _) in vectors() {
            let queue = rss.queue_for(&packet).unwrap();
            assert_eq!(rss.program().run(&packet).unwrap(), u32::from(queue));
            assert_eq!(rss.program().run(&reversed(&packet)).unwrap(), u32::from(queue));
        }
    }
    assert_eq!(rss.queue_for(&[0; 40]), None);
    assert_eq!(rss.program().run(&[0; 40]).unwrap(), 5);
}
