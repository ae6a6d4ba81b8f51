use crate::hex_dump;
use crate::packet::*;
use adit_runtime::format::pcapng::{self, LinkType, Meta};
use etherparse::{PacketBuilder, TcpOptionElement};
use proptest::prelude::{Strategy, any};
use proptest::test_runner::{Config, TestRunner};
use schemars::generate::SchemaSettings;
use std::time::Duration;

const NOON: Duration = Duration::new(1_795_262_400, 123_456_789);

fn decode(link: LinkType, data: &[u8]) -> Packet {
    let meta = Meta {
        time: NOON,
        direction: Some(pcapng::Direction::Out),
        original_len: data.len(),
        lost_before: 0,
    };
    Packet::decode("tun0", link, &meta, data)
}

/// The packet that `builder` makes.
macro_rules! built {
    ($builder:expr, $payload:expr) => {{
        let mut bytes = Vec::new();
        $builder.write(&mut bytes, $payload).unwrap();
        bytes
    }};
}

#[test]
fn lines() {
    let v4 = || PacketBuilder::ipv4([192, 0, 2, 1], [192, 0, 2, 77], 64);
    let syn = v4().tcp(4711, 443, 12_345, 64_240).syn();
    let syn = syn.options(&[TcpOptionElement::MaximumSegmentSize(1460)]).unwrap();
    let mut v6 = [0; 32];
    (v6[15], v6[31], v6[0], v6[16]) = (1, 77, 0xfd, 0xfd);
    let (source, target) = v6.split_at(16);
    let (source, target) = (source.try_into().unwrap(), target.try_into().unwrap());
    let cases = [
        (
            built!(v4().icmpv4_echo_request(3, 1), &[0; 56]),
            "12:00:00.123456 > ICMP   192.0.2.1 > 192.0.2.77  echo request, id 3, seq 1, 84 bytes",
        ),
        (
            built!(v4().udp(4711, 53), &[0; 12]),
            "12:00:00.123456 > UDP    192.0.2.1:4711 > 192.0.2.77:53  length 12, 40 bytes",
        ),
        (
            built!(syn, &[]),
            "12:00:00.123456 > TCP    192.0.2.1:4711 > 192.0.2.77:443  [S] seq 12345, win 64240 \
             <mss 1460>, length 0, 44 bytes",
        ),
        (
            built!(PacketBuilder::ipv6(source, target, 64).icmpv6_echo_reply(3, 9), &[0; 8]),
            "12:00:00.123456 > ICMPv6 fd00::1 > fd00::4d  echo reply, id 3, seq 9, 56 bytes",
        ),
        (vec![], "12:00:00.123456 > ?      not an IP packet, 0 bytes [malformed: "),
    ];
    for (bytes, expected) in cases {
        let line = decode(LinkType::Raw, &bytes).to_string();
        assert!(line.starts_with(expected), "{line}");
    }
}

/// Who has 192.0.2.77? Tell 192.0.2.1.
const WHO_HAS: [u8; 42] = [
    255, 255, 255, 255, 255, 255, 2, 0, 0, 0, 0, 1, 8, 6, //
    0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, 1, 192, 0, 2, 1, 0, 0, 0, 0, 0, 0, 192, 0, 2, 77,
];

#[test]
fn frames() {
    let packet = decode(LinkType::Ethernet, &WHO_HAS);
    let expected = "12:00:00.123456 > ARP    who has 192.0.2.77? tell 192.0.2.1, 42 bytes";
    assert_eq!(packet.to_string(), expected);
    let mut tree = String::new();
    packet.tree(&mut tree);
    assert!(
        tree.contains("Ethernet  02:00:00:00:00:01 > ff:ff:ff:ff:ff:ff, type 0x0806"),
        "{tree}"
    );

    let mut reply = WHO_HAS;
    reply[21] = 2;
    let line = decode(LinkType::Ethernet, &reply).to_string();
    assert!(line.contains("192.0.2.1 is at 02:00:00:00:00:01"), "{line}");

    let mut tagged = WHO_HAS[..12].to_vec();
    tagged.extend([0x81, 0, 0x20, 5]);
    tagged.extend(&WHO_HAS[12..]);
    let line = decode(LinkType::Ethernet, &tagged).to_string();
    assert!(line.contains("ARP    vlan 5 who has"), "{line}");
}

#[test]
fn a_neighbor_solicitation_shows_target_and_address() {
    let mut message = vec![135, 0, 0, 0, 0, 0, 0, 0];
    message.extend([0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x4d]);
    message.extend([1, 1, 2, 0, 0, 0, 0, 1]);
    let builder = PacketBuilder::ipv6([0xfd; 16], [0xff; 16], 255);
    let mut bytes = Vec::new();
    builder.write(&mut bytes, etherparse::IpNumber::IPV6_ICMP, &message).unwrap();
    let line = decode(LinkType::Raw, &bytes).to_string();
    assert!(line.contains("neighbor solicitation, fd00::4d, 02:00:00:00:00:01"), "{line}");
    // An option of length 0 must not loop.
    *bytes.iter_mut().rev().nth(6).unwrap() = 0;
    assert_eq!(decode(LinkType::Raw, &bytes).icmp.unwrap().link_address, None);
}

#[test]
fn fragments_of_both_versions() {
    let mut v4 = built!(PacketBuilder::ipv4([1; 4], [2; 4], 64).udp(1, 2), &[0; 16]);
    (v4[5], v4[6], v4[7]) = (7, 0x20, 0);
    let line = decode(LinkType::Raw, &v4).to_string();
    assert!(line.contains("1.1.1.1 > 2.2.2.2  fragment 0x7@0+"), "{line}");
    // Hop-by-hop options, then a fragment at byte 1448, the last one.
    let mut v6 = vec![0x60, 0, 0, 0, 0, 24, 0, 64];
    v6.extend([0xfd; 32]);
    v6.extend([44, 0, 1, 4, 0, 0, 0, 0, 17, 0, 0x05, 0xa8, 0, 0, 0, 9, 1, 2, 3, 4, 5, 6, 7, 8]);
    let line = decode(LinkType::Raw, &v6).to_string();
    assert!(line.contains("fragment 0x9@1448"), "{line}");
    // A chain that breaks off within the options.
    assert!(decode(LinkType::Raw, &v6[..44]).malformed.is_some());
}

#[test]
fn a_packet_cut_by_the_snap_length_is_not_malformed() {
    let meta = Meta { time: NOON, original_len: 1500, ..Meta::default() };
    let mut bytes = [0; 24];
    (bytes[0], bytes[3], bytes[9]) = (0x45, 100, 6);
    let line = Packet::decode("x", LinkType::Raw, &meta, &bytes).to_string();
    assert!(line.ends_with("1500 bytes (24 captured)"), "{line}");
}

#[test]
fn super_packets_and_losses_show() {
    let bytes = built!(PacketBuilder::ipv4([1; 4], [2; 4], 64).udp(1, 2), &[0; 100]);
    let mut packet = decode(LinkType::Raw, &bytes);
    packet.gso = Some(Gso { size: 1448, segments: 45 });
    packet.lost_before = 7;
    assert!(packet.to_string().ends_with(", gso 1448 x 45, 128 bytes [7 lost before]"));
}

#[test]
fn json_has_the_time_and_no_empty_fields() {
    let json = serde_json::to_value(decode(LinkType::Ethernet, &WHO_HAS)).unwrap();
    assert_eq!(json["time"], "2026-11-21T12:00:00.123456789+00:00");
    assert_eq!(json["arp"]["target"], "192.0.2.77");
    assert_eq!(json["direction"], "out");
    assert!(json.get("tcp").is_none());
    let settings = SchemaSettings::default().for_serialize();
    let schema = settings.into_generator().into_root_schema_for::<Packet>().to_value();
    let properties = schema["properties"].as_object().unwrap();
    for key in json.as_object().unwrap().keys() {
        assert!(properties.contains_key(key), "{key} is not in the schema");
    }
}

#[test]
fn bytes_in_hex() {
    let mut dump = String::new();
    hex_dump(b"\x1b[31mHello, world!", &mut dump);
    let expected = "    0x0000:  1b5b 3331 6d48 656c 6c6f 2c20 776f 726c  .[31mHello, worl\n    \
                    0x0010:  6421                                     d!\n";
    assert_eq!(dump, expected);
}

/// Bytes that get past the first checks of the parsers.
fn plausible() -> impl Strategy<Value = Vec<u8>> {
    let starts: [&[u8]; 7] = [
        &[],
        &[0x45, 0, 0, 60, 0, 0, 0, 0, 64, 6],
        &[0x4f, 0, 0, 90, 0, 0, 0, 0, 64, 1],
        &[0x45, 0, 0, 60, 0, 0, 0x20, 0, 64, 17],
        &[0x60, 0, 0, 0, 0, 40, 58, 64],
        &[0x60, 0, 0, 0, 0, 40, 0, 64],
        &[0x60, 0, 0, 0, 0, 40, 44, 64],
    ];
    let start = proptest::sample::select(starts.to_vec());
    (start, proptest::collection::vec(any::<u8>(), 0..120), any::<bool>()).prop_map(
        |(start, rest, ethernet)| {
            let mut bytes = Vec::new();
            if ethernet {
                let kind: &[u8] = match start.first() {
                    Some(0x60) => &[0x86, 0xdd],
                    Some(_) => &[8, 0],
                    None => &[],
                };
                bytes.extend([2; 12]);
                bytes.extend(kind);
            }
            bytes.extend(start);
            bytes.extend(rest);
            bytes
        },
    )
}

#[test]
fn no_bytes_make_it_panic_or_print_a_control_character() {
    let mut runner = TestRunner::new(Config { cases: 300_000, ..Config::default() });
    let links = proptest::sample::select(vec![LinkType::Raw, LinkType::Ethernet]);
    let strategy = (links, plausible(), 0_usize..2000);
    runner
        .run(&strategy, |(link, bytes, original_len)| {
            let meta = Meta { original_len, ..Meta::default() };
            let packet = Packet::decode("x", link, &meta, &bytes);
            let mut text = packet.to_string();
            assert!(!text.contains(char::is_control), "{text:?}");
            assert!(text.len() < 1000, "{text}");
            packet.tree(&mut text);
            assert!(!text.replace('\n', "").contains(char::is_control), "{text:?}");
            serde_json::to_string(&packet).unwrap();
            Ok(())
        })
        .unwrap();
}
