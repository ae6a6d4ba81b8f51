use super::*;
use crate::{Fragment, Ipv4Header, Ipv6Header, TcpFlags, TcpHeader};
use core::net::{Ipv4Addr, Ipv6Addr};
use proptest::prelude::*;
use std::vec::Vec;

/// Microsoft, "Verifying the RSS hash calculation": destination, source, their ports, the hash over
/// the addresses and that with TCP ports.
type Vector = (&'static str, u16, &'static str, u16, u32, u32);

const V4: [Vector; 5] = [
    ("161.142.100.80", 1766, "66.9.149.187", 2794, 0x323e_8fc2, 0x51cc_c178),
    ("65.69.140.83", 4739, "199.92.111.2", 14230, 0xd718_262a, 0xc626_b0ea),
    ("12.22.207.184", 38024, "24.19.198.95", 12898, 0xd2d0_a5de, 0x5c2b_394a),
    ("209.142.163.6", 2217, "38.27.205.30", 48228, 0x8298_9176, 0xafc7_327f),
    ("202.188.127.2", 1303, "153.39.163.191", 44251, 0x5d18_09c5, 0x10e8_28a2),
];
const V6: [Vector; 3] = [
    ("3ffe:2501:200:3::1", 1766, "3ffe:2501:200:1fff::7", 2794, 0x2cc1_8cd5, 0x4020_7d3d),
    ("ff02::1", 4739, "3ffe:501:8::260:97ff:fe40:efab", 14230, 0x0f0c_461c, 0xdde5_1bbf),
    (
        "fe80::200:f8ff:fe21:67cf",
        38024,
        "3ffe:1900:4545:3:200:f8ff:fe21:67cf",
        44251,
        0x4b61_e985,
        0x02d1_feef,
    ),
];

/// The definition: for each set bit of the input the 32 key bits that start there.
fn plain_hash(key: &ToeplitzKey, input: &[u8]) -> u32 {
    let key_bit = |at: usize| u32::from(key.0[at / 8] >> (7 - at % 8) & 1);
    let mut hash = 0;
    for at in (0..input.len() * 8).filter(|at| input[at / 8] >> (7 - at % 8) & 1 != 0) {
        hash ^= (0..32).fold(0, |word, bit| word << 1 | key_bit(at + bit));
    }
    hash
}

fn tcp(source_port: u16, destination_port: u16) -> [u8; 20] {
    TcpHeader {
        source_port,
        destination_port,
        sequence: 0,
        acknowledgment: 0,
        flags: TcpFlags::ACK,
        window: 0,
        checksum: 0,
        urgent: 0,
    }
    .to_bytes(0)
}

fn ipv4(source: Ipv4Addr, destination: Ipv4Addr, protocol: u8, payload: &[u8]) -> Vec<u8> {
    let header = Ipv4Header {
        tos: 0,
        total_len: u16::try_from(20 + payload.len()).unwrap(),
        id: 0,
        dont_fragment: true,
        fragment: None,
        ttl: 64,
        protocol,
        source,
        destination,
    };
    [&header.to_bytes(), payload].concat()
}

fn ipv6(source: Ipv6Addr, destination: Ipv6Addr, next_header: u8, payload: &[u8]) -> Vec<u8> {
    let header = Ipv6Header {
        class: 0,
        flow_label: 0,
        payload_len: payload.len().try_into().unwrap(),
        next_header,
        hop_limit: 64,
        source,
        destination,
    };
    [&header.to_bytes(), payload].concat()
}

fn hash(packet: &[u8], types: HashTypes, key: &ToeplitzKey) -> Option<(u32, HashReport)> {
    rss_hash(&Headers::parse_packet(packet).unwrap(), packet, types, &Toeplitz::new(key))
}

#[test]
fn microsofts_vectors_over_ipv4() {
    for (destination, to, source, from, addresses, ports) in V4 {
        let addr = |text: &str| text.parse().unwrap();
        let packet = ipv4(addr(source), addr(destination), ip_protocol::TCP, &tcp(from, to));
        let hash = |types| hash(&packet, types, &ToeplitzKey::MICROSOFT);
        assert_eq!(hash(HashTypes::ALL), Some((ports, HashReport::Tcp4)));
        assert_eq!(hash(HashTypes::IPV4), Some((addresses, HashReport::Ipv4)));
        assert_eq!(hash(HashTypes::UDP4 | HashTypes::IPV6), None);
    }
}

#[test]
fn microsofts_vectors_over_ipv6() {
    for (destination, to, source, from, addresses, ports) in V6 {
        let addr = |text: &str| text.parse().unwrap();
        let packet = ipv6(addr(source), addr(destination), ip_protocol::TCP, &tcp(from, to));
        let hash = |types| hash(&packet, types, &ToeplitzKey::MICROSOFT);
        assert_eq!(hash(HashTypes::ALL), Some((ports, HashReport::Tcp6)));
        assert_eq!(hash(HashTypes::IPV6), Some((addresses, HashReport::Ipv6)));
    }
}

#[test]
fn udp_and_other_protocols() {
    let [a, b] = [Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(10, 0, 0, 2)];
    let udp = ipv4(a, b, ip_protocol::UDP, &[0, 7, 0, 9, 0, 8, 0, 0]);
    let key = &ToeplitzKey::MICROSOFT;
    let input = [10, 0, 0, 1, 10, 0, 0, 2, 0, 7, 0, 9];
    let expected = Some((plain_hash(key, &input), HashReport::Udp4));
    assert_eq!(hash(&udp, HashTypes::PLAIN, key), expected);
    let ping = ipv4(a, b, ip_protocol::ICMP, &[8, 0, 0, 0, 0, 7, 0, 9]);
    let expected = Some((plain_hash(key, &input[..8]), HashReport::Ipv4));
    assert_eq!(hash(&ping, HashTypes::PLAIN, key), expected);
    assert_eq!(hash(&ping, HashTypes::TCP4 | HashTypes::UDP4, key), None);
}

#[test]
fn fragments_are_hashed_over_addresses_only() {
    let [a, b] = [Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(10, 0, 0, 2)];
    let whole = ipv4(a, b, ip_protocol::UDP, &[0, 7, 0, 9, 0, 16, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8]);
    let header = |fragment| {
        let header = crate::Ipv4::parse(&whole).unwrap().header();
        Ipv4Header { fragment: Some(fragment), total_len: 28, ..header }.to_bytes()
    };
    let first = header(Fragment { offset: 0, more: true, id: 0 });
    let last = header(Fragment { offset: 8, more: false, id: 0 });
    let hash = |packet: &[u8]| hash(packet, HashTypes::ALL, &ToeplitzKey::MICROSOFT).unwrap();
    let first = hash(&[&first, &whole[20..28]].concat());
    assert_eq!(first, hash(&[&last, &whole[28..]].concat()));
    assert_eq!(first.1, HashReport::Ipv4);
}

#[test]
fn home_addresses_stand_for_the_headers_own() {
    let [care_of, home, next, last]: [Ipv6Addr; 4] =
        ["2001:db8::c", "2001:db8::1", "2001:db8::d", "2001:db8::2"].map(|a| a.parse().unwrap());
    let mut payload = [43, 2, 1, 2, 0, 0, 201, 16].to_vec(); // destination options: home address
    payload.extend(home.octets());
    payload.extend([ip_protocol::TCP, 2, 2, 1, 0, 0, 0, 0]); // routing header of type 2
    payload.extend(last.octets());
    payload.extend(tcp(7, 9));
    let packet = ipv6(care_of, next, ip_protocol::DESTINATION_OPTIONS, &payload);
    let key = &ToeplitzKey::MICROSOFT;
    let of = |source: Ipv6Addr, destination: Ipv6Addr, ports: &[u8]| {
        plain_hash(key, &[&source.octets(), &destination.octets(), ports].concat())
    };
    let ports = [0, 7, 0, 9];
    let hash = |types| hash(&packet, types, key);
    assert_eq!(hash(HashTypes::ALL), Some((of(home, last, &ports), HashReport::Tcp6Ex)));
    assert_eq!(hash(HashTypes::IPV6_EX), Some((of(home, last, &[]), HashReport::Ipv6Ex)));
    assert_eq!(hash(HashTypes::PLAIN), Some((of(care_of, next, &ports), HashReport::Tcp6)));
}

#[test]
fn a_report_goes_into_the_header() {
    let hash = VnetHash::from((7, HashReport::Udp6Ex));
    assert_eq!(hash, VnetHash { value: 7, report: 9 });
    assert_eq!(HashReport::from_wire(hash.report), Some(HashReport::Udp6Ex));
    assert_eq!(HashReport::from_wire(10), None);
}

proptest! {
    #[test]
    fn tables_equal_the_definition(key: [u8; 32], more: [u8; 8], input in prop::collection::vec(any::<u8>(), 0..=36)) {
        let mut bytes = [0; 40];
        bytes[..32].copy_from_slice(&key);
        bytes[32..].copy_from_slice(&more);
        let key = ToeplitzKey(bytes);
        prop_assert_eq!(Toeplitz::new(&key).hash(&[&input]), plain_hash(&key, &input));
    }

    #[test]
    fn a_symmetric_key_hashes_both_directions_alike(a: [u8; 4], b: [u8; 4], from: u16, to: u16) {
        let there = ipv4(a.into(), b.into(), ip_protocol::TCP, &tcp(from, to));
        let back = ipv4(b.into(), a.into(), ip_protocol::TCP, &tcp(to, from));
        let key = &ToeplitzKey::SYMMETRIC;
        prop_assert_eq!(hash(&there, HashTypes::ALL, key), hash(&back, HashTypes::ALL, key));
    }
}
