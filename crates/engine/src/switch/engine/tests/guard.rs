//! Guards against frames that claim what their port may not.

use super::*;
use adit_packet::{
    Arp, ArpOperation, Fragment, IcmpHeader, Ipv4Header, Ipv6Header, Neighbour, NeighbourKind,
    UdpHeader, ether_type, icmp, ip_protocol,
};
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

const OURS: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const OTHERS: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 99);
const OURS6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
const LINK_LOCAL: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);
const OTHERS6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x99);
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
const ME: u32 = 1;

/// A net whose port 0 is guarded.
fn net(guard: GuardConfig) -> Net {
    let mut net = Net::new(2);
    net.set_port(0, PortConfig { guard, ..PortConfig::default() });
    net
}

/// Everything on: one MAC address, one address and a prefix, and no servers.
fn strict() -> GuardConfig {
    GuardConfig {
        macs: vec![mac(ME), mac(2)],
        addresses: vec![
            IpPrefix::host(OURS.into()),
            IpPrefix::new([198, 51, 100, 0].into(), 24).unwrap(),
            IpPrefix::host(OURS6.into()),
            IpPrefix::host(LINK_LOCAL.into()),
        ],
        arp: true,
        nd: true,
        no_dhcp_server: true,
        no_router: true,
    }
}

/// The frame in every disguise in which a host would still read it: with it being dropped, so must
/// these be.
fn disguises(bytes: &[u8]) -> Vec<Vec<u8>> {
    let customer = tagged(0x8100, 10, bytes);
    let mut all = vec![bytes.to_vec(), customer.clone(), tagged(0x88a8, 20, &customer)];
    all.push(tagged(0x8100, 0, bytes));
    all.push(tagged(0x8100, 0, &tagged(0x8100, 0, &tagged(0x8100, 0, &customer))));
    all
}

/// That port 0 drops the frame in every disguise, for that reason.
fn refuses(net: &mut Net, why: DropReason, bytes: &[u8]) {
    for bytes in disguises(bytes) {
        assert_eq!(net.dropped(0, &bytes), Some(why), "{bytes:02x?}");
    }
}

/// That port 0 takes the frame in every disguise.
fn takes(net: &mut Net, bytes: &[u8]) {
    for bytes in disguises(bytes) {
        assert_eq!(net.dropped(0, &bytes), None, "{bytes:02x?}");
    }
}

fn ip4(source: Ipv4Addr, protocol: u8, fragment: Option<Fragment>, payload: &[u8]) -> Vec<u8> {
    let header = Ipv4Header {
        tos: 0,
        total_len: u16::try_from(20 + payload.len()).unwrap(),
        id: 1,
        dont_fragment: false,
        fragment,
        ttl: 64,
        protocol,
        source,
        destination: Ipv4Addr::BROADCAST,
    };
    let packet = [&header.to_bytes(), payload].concat();
    framed(mac(ME), MacAddr::BROADCAST, ether_type::IPV4, &packet)
}

fn ip6(source: Ipv6Addr, next_header: u8, payload: &[u8]) -> Vec<u8> {
    let header = Ipv6Header {
        class: 0,
        flow_label: 0,
        payload_len: u16::try_from(payload.len()).unwrap(),
        next_header,
        hop_limit: 255,
        source,
        destination: ALL_NODES,
    };
    let packet = [&header.to_bytes(), payload].concat();
    framed(mac(ME), MacAddr([0x33, 0x33, 0, 0, 0, 1]), ether_type::IPV6, &packet)
}

fn udp(from: u16, to: u16) -> [u8; 8] {
    UdpHeader { source_port: from, destination_port: to, len: 8, checksum: 0 }.to_bytes()
}

fn arp(operation: ArpOperation, sender: (MacAddr, Ipv4Addr), target_ip: Ipv4Addr) -> Vec<u8> {
    let (sender_mac, sender_ip) = sender;
    let arp = Arp { operation, sender_mac, sender_ip, target_mac: mac(9), target_ip };
    framed(mac(ME), MacAddr::BROADCAST, ether_type::ARP, &arp.to_bytes())
}

/// An ICMPv6 message of that type whose options start at `options_at`.
fn message(kind: u8, options_at: usize, options: &[u8]) -> Vec<u8> {
    let mut bytes = IcmpHeader { kind, code: 0, rest: [0; 4] }.to_bytes().to_vec();
    bytes.resize(options_at, 0);
    [bytes, options.to_vec()].concat()
}

fn neighbour(kind: NeighbourKind, target: Ipv6Addr, link_address: Option<MacAddr>) -> Vec<u8> {
    let (bytes, len) = Neighbour { kind, target, link_address }.to_bytes();
    bytes[..len].to_vec()
}

const ADVERTISEMENT: NeighbourKind =
    NeighbourKind::Advertisement { router: false, solicited: false, override_cached: true };
const SOLICITATION: NeighbourKind = NeighbourKind::Solicitation;

fn icmp6(source: Ipv6Addr, message: &[u8]) -> Vec<u8> {
    ip6(source, ip_protocol::ICMP6, message)
}

#[test]
fn prefixes() {
    let all = IpPrefix::new(Ipv4Addr::UNSPECIFIED.into(), 0).unwrap();
    assert!(all.contains(OURS.into()) && !all.contains(OURS6.into()));
    let net = IpPrefix::new(OURS6.into(), 64).unwrap();
    assert!(net.contains(OTHERS6.into()) && !net.contains(LINK_LOCAL.into()));
    assert!(IpPrefix::new(OURS.into(), 33).is_err());
    assert!(IpPrefix::new(OURS6.into(), 129).is_err());
    assert_eq!(std::format!("{net} {}", net.len()), "2001:db8::1/64 64");
    let host = IpPrefix::host(IpAddr::from(OURS));
    assert!(host.contains(OURS.into()) && !host.contains(OTHERS.into()));
}

#[test]
fn without_guards_all_may_pass() {
    let mut net = net(GuardConfig::default());
    takes(&mut net, &ip4(OTHERS, ip_protocol::UDP, None, &udp(67, 68)));
    takes(&mut net, &framed(mac(1), MacAddr::BROADCAST, 40, &[0xaa, 0xaa, 3, 0, 0, 0, 8, 0]));
    takes(&mut net, &ip6(OTHERS6, ip_protocol::ICMP6, &[]));
}

#[test]
fn a_mac_address_must_be_listed() {
    let mut net = net(GuardConfig { macs: vec![mac(1), mac(2)], ..GuardConfig::default() });
    for host in [1, 2] {
        takes(&mut net, &frame(mac(host), MacAddr::BROADCAST));
    }
    refuses(&mut net, DropReason::MAC_GUARD, &frame(mac(3), MacAddr::BROADCAST));
    let guarded = |reason| SwitchEvent::Guarded { port: PortId(0), mac: mac(3), reason };
    assert_eq!(net.events(), [guarded(DropReason::MAC_GUARD)], "told once a second");
    assert_eq!(net.port_of(0, mac(3)), None);
}

#[test]
fn an_ipv4_source_must_be_listed() {
    let mut net = net(strict());
    for source in [OURS, Ipv4Addr::new(198, 51, 100, 77)] {
        takes(&mut net, &ip4(source, ip_protocol::UDP, None, &udp(1000, 53)));
        takes(&mut net, &ip4(source, ip_protocol::TCP, None, &[0; 20]));
    }
    let later = Fragment { offset: 1480, more: false, id: 1 };
    for fragment in [None, Some(later)] {
        let spoofed = ip4(OTHERS, ip_protocol::TCP, fragment, &[0; 20]);
        refuses(&mut net, DropReason::IP_GUARD, &spoofed);
    }
    // A host that has no address yet asks for one, and nothing else.
    let unset = Ipv4Addr::UNSPECIFIED;
    takes(&mut net, &ip4(unset, ip_protocol::UDP, None, &udp(68, 67)));
    refuses(&mut net, DropReason::IP_GUARD, &ip4(unset, ip_protocol::UDP, None, &udp(68, 53)));
    refuses(&mut net, DropReason::IP_GUARD, &ip4(unset, ip_protocol::TCP, None, &[0; 20]));
    let first = Fragment { offset: 0, more: true, id: 1 };
    let fragment = ip4(unset, ip_protocol::UDP, Some(first), &udp(68, 67));
    refuses(&mut net, DropReason::IP_GUARD, &fragment);
    for len in 14..34 {
        let cut = &ip4(OURS, ip_protocol::TCP, None, &[0; 20])[..len];
        refuses(&mut net, DropReason::MALFORMED, cut);
    }
}

#[test]
fn an_ipv6_source_must_be_listed() {
    let mut net = net(strict());
    takes(&mut net, &ip6(OURS6, ip_protocol::UDP, &udp(1000, 53)));
    refuses(&mut net, DropReason::IP_GUARD, &ip6(OTHERS6, ip_protocol::UDP, &udp(1000, 53)));
    refuses(
        &mut net,
        DropReason::IP_GUARD,
        &ip6(OTHERS6, ip_protocol::FRAGMENT, &[6, 0, 5, 0, 0, 0, 0, 1]),
    );
    // The home address of a mobile host is whose packet it is.
    let mut home = vec![ip_protocol::UDP, 2, 1, 2, 0, 0, 201, 16];
    home.extend(OTHERS6.octets());
    let mobile = [&home[..], &udp(1000, 53)].concat();
    refuses(&mut net, DropReason::IP_GUARD, &ip6(OURS6, ip_protocol::DESTINATION_OPTIONS, &mobile));
    let none = Ipv6Addr::UNSPECIFIED;
    refuses(&mut net, DropReason::IP_GUARD, &ip6(none, ip_protocol::UDP, &udp(68, 67)));
    takes(&mut net, &icmp6(none, &message(icmp::v6::ROUTER_SOLICITATION, 8, &[])));
    takes(&mut net, &icmp6(none, &message(143, 8, &[])));
    refuses(&mut net, DropReason::IP_GUARD, &icmp6(none, &message(icmp::v6::ECHO_REQUEST, 8, &[])));
}

#[test]
fn one_family_listed_is_the_only_one() {
    let addresses = vec![IpPrefix::host(OURS.into())];
    let mut net = net(GuardConfig { addresses, ..GuardConfig::default() });
    takes(&mut net, &ip4(OURS, ip_protocol::TCP, None, &[0; 20]));
    refuses(&mut net, DropReason::IP_GUARD, &ip6(OURS6, ip_protocol::UDP, &udp(1000, 53)));
    let dad = icmp6(Ipv6Addr::UNSPECIFIED, &neighbour(SOLICITATION, OURS6, None));
    refuses(&mut net, DropReason::ND_GUARD, &dad);
}

#[test]
fn arp_must_tell_the_truth() {
    use ArpOperation::{Reply, Request};
    let mut net = net(strict());
    let me = mac(ME);
    takes(&mut net, &arp(Request, (me, OURS), OTHERS));
    takes(&mut net, &arp(Reply, (me, OURS), OTHERS));
    takes(&mut net, &arp(Request, (me, OURS), OURS)); // an announcement
    takes(&mut net, &arp(Request, (me, Ipv4Addr::UNSPECIFIED), OURS)); // a probe
    for lie in [
        arp(Reply, (me, OTHERS), OURS),
        arp(Request, (me, OTHERS), OTHERS),
        arp(Request, (mac(2), OURS), OTHERS), // another's MAC address, though a listed one
        arp(Request, (me, Ipv4Addr::UNSPECIFIED), OTHERS),
        arp(Reply, (me, Ipv4Addr::UNSPECIFIED), OURS),
        framed(me, MacAddr::BROADCAST, ether_type::ARP, &[0; 28]),
        arp(Request, (me, OURS), OTHERS)[..41].to_vec(),
    ] {
        refuses(&mut net, DropReason::ARP_GUARD, &lie);
    }
}

#[test]
fn neighbour_discovery_must_tell_the_truth() {
    let mut net = net(strict());
    let me = Some(mac(ME));
    takes(&mut net, &icmp6(LINK_LOCAL, &neighbour(ADVERTISEMENT, OURS6, me)));
    takes(&mut net, &icmp6(LINK_LOCAL, &neighbour(ADVERTISEMENT, OURS6, None)));
    takes(&mut net, &icmp6(OURS6, &neighbour(SOLICITATION, OTHERS6, me)));
    let none = Ipv6Addr::UNSPECIFIED;
    takes(&mut net, &icmp6(none, &neighbour(SOLICITATION, OURS6, None)));
    let two = [[1, 1, 2, 0, 0, 0, 0, 1], [1, 1, 2, 0, 0, 0, 0, 9]].concat();
    for lie in [
        icmp6(LINK_LOCAL, &neighbour(ADVERTISEMENT, OTHERS6, me)),
        icmp6(LINK_LOCAL, &neighbour(ADVERTISEMENT, OURS6, Some(mac(2)))),
        icmp6(OURS6, &neighbour(SOLICITATION, OTHERS6, Some(mac(9)))),
        icmp6(none, &neighbour(SOLICITATION, OTHERS6, None)),
        icmp6(LINK_LOCAL, &message(icmp::v6::ROUTER_SOLICITATION, 8, &two)),
        icmp6(LINK_LOCAL, &message(icmp::v6::ROUTER_SOLICITATION, 8, &[1, 0, 0, 0, 0, 0, 0, 0])),
        icmp6(LINK_LOCAL, &message(icmp::v6::ROUTER_SOLICITATION, 8, &[1, 2, 0, 0, 0, 0, 0, 0])),
        icmp6(LINK_LOCAL, &message(icmp::v6::NEIGHBOUR_SOLICITATION, 8, &[])), // too short
    ] {
        refuses(&mut net, DropReason::ND_GUARD, &lie);
    }
    takes(&mut net, &icmp6(OURS6, &message(icmp::v6::ECHO_REQUEST, 8, &[])));
}

/// A message behind extension headers: hop-by-hop options, destination options, a routing header.
fn behind_extensions(protocol: u8, message: &[u8]) -> (u8, Vec<u8>) {
    let chain = [
        [ip_protocol::DESTINATION_OPTIONS, 0, 1, 4, 0, 0, 0, 0],
        [ip_protocol::ROUTING, 0, 1, 4, 0, 0, 0, 0],
        [protocol, 0, 0, 0, 0, 0, 0, 0],
    ];
    (ip_protocol::HOP_BY_HOP, [&chain.concat(), message].concat())
}

/// A message in a fragment: the first of several, or the only one.
fn in_fragment(protocol: u8, more: bool, message: &[u8]) -> (u8, Vec<u8>) {
    let header = [protocol, 0, 0, u8::from(more), 0, 0, 0, 7];
    (ip_protocol::FRAGMENT, [&header, message].concat())
}

#[test]
fn routers_are_not_let_in_by_any_way() {
    let mut net = net(GuardConfig { no_router: true, ..GuardConfig::default() });
    let advertisement = message(icmp::v6::ROUTER_ADVERTISEMENT, 16, &[]);
    let redirect = message(137, 40, &[]);
    for bytes in [&advertisement, &redirect] {
        refuses(&mut net, DropReason::RA_GUARD, &icmp6(OTHERS6, bytes));
        let icmp = ip_protocol::ICMP6;
        let (first, behind) = behind_extensions(icmp, bytes);
        refuses(&mut net, DropReason::RA_GUARD, &ip6(OTHERS6, first, &behind));
        for more in [false, true] {
            let (first, whole) = in_fragment(icmp, more, bytes);
            refuses(&mut net, DropReason::RA_GUARD, &ip6(OTHERS6, first, &whole));
            let (first, nested) = in_fragment(first, more, &whole);
            refuses(&mut net, DropReason::RA_GUARD, &ip6(OTHERS6, first, &nested));
            let (inner, behind) = behind_extensions(icmp, bytes);
            let (first, both) = in_fragment(inner, more, &behind);
            refuses(&mut net, DropReason::RA_GUARD, &ip6(OTHERS6, first, &both));
        }
    }
    // The type hidden in a second fragment: the first one shows no message, and is dropped.
    let (first, nothing) = in_fragment(ip_protocol::ICMP6, true, &[]);
    refuses(&mut net, DropReason::MALFORMED, &ip6(OTHERS6, first, &nothing));
    let (first, cut) =
        in_fragment(ip_protocol::DESTINATION_OPTIONS, true, &[58, 9, 0, 0, 0, 0, 0, 0]);
    refuses(&mut net, DropReason::MALFORMED, &ip6(OTHERS6, first, &cut));
    let long: Vec<u8> = [[60, 0, 1, 4, 0, 0, 0, 0]; 9].concat();
    refuses(&mut net, DropReason::MALFORMED, &ip6(OTHERS6, 60, &long));
    takes(&mut net, &icmp6(OTHERS6, &message(icmp::v6::ROUTER_SOLICITATION, 8, &[])));
    takes(&mut net, &icmp6(OTHERS6, &neighbour(ADVERTISEMENT, OTHERS6, Some(mac(9)))));
    let later = [ip_protocol::ICMP6, 0, 5, 0xc8, 0, 0, 0, 7, 134, 0];
    takes(&mut net, &ip6(OTHERS6, ip_protocol::FRAGMENT, &later));
}

/// A router advertisement in an IPv6 packet, without a frame.
fn advertisement_packet() -> Vec<u8> {
    icmp6(LINK_LOCAL, &message(icmp::v6::ROUTER_ADVERTISEMENT, 16, &[]))[14..].to_vec()
}

#[test]
fn the_other_messages_of_routers_are_dropped_too() {
    let mut net = net(GuardConfig { no_router: true, ..GuardConfig::default() });
    for kind in [130, 138, 151, 153] {
        refuses(&mut net, DropReason::RA_GUARD, &icmp6(LINK_LOCAL, &message(kind, 24, &[])));
    }
    for kind in [5, 9] {
        let routers = ip4(OURS, ip_protocol::ICMP, None, &message(kind, 8, &[]));
        refuses(&mut net, DropReason::RA_GUARD, &routers);
    }
    for kind in [0x11, 0x30, 0x32] {
        refuses(&mut net, DropReason::RA_GUARD, &ip4(OURS, 2, None, &[kind, 0, 0, 0, 0, 0, 0, 0]));
    }
    takes(&mut net, &icmp6(LINK_LOCAL, &message(143, 8, &[])));
    takes(&mut net, &ip4(OURS, ip_protocol::ICMP, None, &message(8, 8, &[])));
    takes(&mut net, &ip4(OURS, 2, None, &[0x22, 0, 0, 0, 0, 0, 0, 0]));
}

#[test]
fn routers_do_not_hide_behind_unknown_headers_or_in_tunnels() {
    let mut net = net(GuardConfig { no_router: true, ..GuardConfig::default() });
    let inner = advertisement_packet();
    // RFC 7113: HIP, Shim6, experiments, compression, Ethernet in IP, and any number without a use.
    for unknown in [139, 140, 253, 254, 108, 97, 143, 200] {
        let chain = [&[ip_protocol::ICMP6, 0, 0, 0, 0, 0, 0, 0], &inner[40..]].concat();
        refuses(&mut net, DropReason::FILTERED, &ip6(OTHERS6, unknown, &chain));
    }
    refuses(&mut net, DropReason::FILTERED, &ip6(LINK_LOCAL, ip_protocol::ESP, &[0; 24]));
    takes(&mut net, &ip6(OURS6, ip_protocol::ESP, &[0; 24]));

    let mut nested = inner.clone();
    for _ in 0..3 {
        refuses(&mut net, DropReason::RA_GUARD, &ip4(OURS, 41, None, &nested));
        refuses(&mut net, DropReason::RA_GUARD, &ip6(OURS6, 41, &nested));
        nested = ip6(OURS6, 41, &nested)[14..].to_vec();
    }
    refuses(&mut net, DropReason::FILTERED, &ip6(OURS6, 41, &ip6(OURS6, 41, &nested)[14..]));
    let unknown = ip6(OURS6, 139, &[ip_protocol::ICMP6, 0, 0, 0, 0, 0, 0, 0]);
    refuses(&mut net, DropReason::FILTERED, &ip4(OURS, 41, None, &unknown[14..]));
    let redirect = ip4(OURS, ip_protocol::ICMP, None, &message(5, 8, &[]));
    refuses(&mut net, DropReason::RA_GUARD, &ip4(OURS, 4, None, &redirect[14..]));
    let honest = ip6(OURS6, ip_protocol::UDP, &udp(1000, 53));
    takes(&mut net, &ip4(OURS, 41, None, &honest[14..]));

    let session = |protocol: &[u8]| {
        let head: &[u8] = &[0x11, 0, 0, 1, 0, 0];
        let ppp = [head, protocol, &inner].concat();
        framed(mac(ME), mac(9), 0x8864, &ppp)
    };
    refuses(&mut net, DropReason::RA_GUARD, &session(&[0, 0x57]));
    refuses(&mut net, DropReason::RA_GUARD, &session(&[0x57]));
    takes(&mut net, &session(&[0xc0, 0x21])); // link control
    let discovery = |code| framed(mac(ME), mac(9), 0x8863, &[0x11, code, 0, 0, 0, 0]);
    takes(&mut net, &discovery(0x09));
    refuses(&mut net, DropReason::RA_GUARD, &discovery(0x07));
    for hiding in [0x8847, 0x8848, 0x9200, 0x9300] {
        refuses(&mut net, DropReason::FILTERED, &framed(mac(ME), mac(9), hiding, &inner));
    }
}

#[test]
fn a_packet_has_one_home_address() {
    let mut net = net(strict());
    let option = |address: Ipv6Addr| [&[201, 16][..], &address.octets()].concat();
    let header =
        |next: u8, words: u8, options: &[u8]| [&[next, words, 1, 2, 0, 0], options].concat();
    let udp = udp(1000, 53);
    let destination = ip_protocol::DESTINATION_OPTIONS;
    let one = [header(17, 2, &option(OURS6)), udp.to_vec()].concat();
    takes(&mut net, &ip6(OURS6, destination, &one));
    for (first, second) in [(OTHERS6, OURS6), (OURS6, OTHERS6), (OURS6, OURS6)] {
        let first = header(destination, 2, &option(first));
        let two = [first, header(17, 2, &option(second)), udp.to_vec()].concat();
        refuses(&mut net, DropReason::IP_GUARD, &ip6(OURS6, destination, &two));
    }
    let both = [option(OURS6), option(OTHERS6), vec![1, 4, 0, 0, 0, 0]].concat();
    let both = [header(17, 5, &both), udp.to_vec()].concat();
    refuses(&mut net, DropReason::IP_GUARD, &ip6(OURS6, destination, &both));
    let cut = [header(17, 0, &[201, 16]), udp.to_vec()].concat();
    refuses(&mut net, DropReason::IP_GUARD, &ip6(OURS6, destination, &cut));
}

#[test]
fn neighbour_discovery_is_not_fragmented() {
    let mut net = net(strict());
    let honest = neighbour(ADVERTISEMENT, OURS6, Some(mac(ME)));
    for more in [false, true] {
        let (first, whole) = in_fragment(ip_protocol::ICMP6, more, &honest);
        refuses(&mut net, DropReason::ND_GUARD, &ip6(OURS6, first, &whole));
    }
    let (first, behind) = behind_extensions(ip_protocol::ICMP6, &honest);
    takes(&mut net, &ip6(OURS6, first, &behind));
    let lie = neighbour(ADVERTISEMENT, OTHERS6, Some(mac(ME)));
    let (first, behind) = behind_extensions(ip_protocol::ICMP6, &lie);
    refuses(&mut net, DropReason::ND_GUARD, &ip6(OURS6, first, &behind));
}

#[test]
fn dhcp_servers_are_not_let_in_by_any_way() {
    let mut net = net(GuardConfig { no_dhcp_server: true, ..GuardConfig::default() });
    let first = Fragment { offset: 0, more: true, id: 1 };
    let later = Fragment { offset: 8, more: true, id: 1 };
    for ports in [udp(67, 68), udp(1000, 68), udp(67, 67)] {
        for fragment in [None, Some(first)] {
            let offer = ip4(OTHERS, ip_protocol::UDP, fragment, &ports);
            refuses(&mut net, DropReason::DHCP_GUARD, &offer);
        }
    }
    for ports in [udp(547, 546), udp(1000, 546), udp(547, 547)] {
        refuses(&mut net, DropReason::DHCP_GUARD, &ip6(OTHERS6, ip_protocol::UDP, &ports));
        let (next, behind) = behind_extensions(ip_protocol::UDP, &ports);
        refuses(&mut net, DropReason::DHCP_GUARD, &ip6(OTHERS6, next, &behind));
        let (next, fragment) = in_fragment(ip_protocol::UDP, true, &ports);
        refuses(&mut net, DropReason::DHCP_GUARD, &ip6(OTHERS6, next, &fragment));
    }
    // With options in the IPv4 header the ports are elsewhere.
    let mut optioned = ip4(OTHERS, ip_protocol::UDP, None, &[&[1; 4], &udp(67, 68)[..]].concat());
    optioned[14] = 0x46;
    refuses(&mut net, DropReason::DHCP_GUARD, &optioned);
    for len in 0..4 {
        let tiny = ip4(OTHERS, ip_protocol::UDP, Some(first), &udp(67, 68)[..len]);
        refuses(&mut net, DropReason::MALFORMED, &tiny);
    }
    takes(&mut net, &ip4(OTHERS, ip_protocol::UDP, Some(later), &udp(67, 68)));
    takes(&mut net, &ip4(Ipv4Addr::UNSPECIFIED, ip_protocol::UDP, None, &udp(68, 67)));
    takes(&mut net, &ip6(LINK_LOCAL, ip_protocol::UDP, &udp(546, 547)));
}

#[test]
fn an_unreadable_frame_is_dropped() {
    let guard = GuardConfig { arp: true, ..GuardConfig::default() };
    let mut net = net(guard);
    let lie = arp(ArpOperation::Reply, (mac(9), OTHERS), OURS);
    refuses(&mut net, DropReason::ARP_GUARD, &lie);
    // LLC/SNAP, with whatever length (CVE-2021-27854, CVE-2021-27862).
    for length in [0, 36, 1500, 0x05ff] {
        let snap = [&[0xaa, 0xaa, 3, 0, 0, 0, 8, 6], &lie[14..]].concat();
        let hidden = framed(mac(ME), MacAddr::BROADCAST, length, &snap);
        refuses(&mut net, DropReason::FILTERED, &hidden);
    }
    // Its lowest bits say group and response; hosts read it all the same.
    for saps in [[0xaa, 0xab], [0xab, 0xaa], [0xab, 0xab], [0x06, 0x06], [0x06, 0x07]] {
        let snap = [&saps, &[3, 0, 0, 0, 8, 6][..], &lie[14..]].concat();
        let hidden = framed(mac(ME), MacAddr::BROADCAST, 36, &snap);
        refuses(&mut net, DropReason::FILTERED, &hidden);
    }
    let rarp = |operation, sender: MacAddr, ip: Ipv4Addr| {
        let head = [0, 1, 8, 0, 6, 4, 0, operation];
        let rest = [&sender.0[..], &ip.octets(), &sender.0, &[0; 4]].concat();
        framed(mac(ME), MacAddr::BROADCAST, 0x8035, &[&head[..], &rest].concat())
    };
    takes(&mut net, &rarp(3, mac(ME), Ipv4Addr::UNSPECIFIED));
    refuses(&mut net, DropReason::ARP_GUARD, &rarp(3, mac(9), Ipv4Addr::UNSPECIFIED));
    refuses(&mut net, DropReason::ARP_GUARD, &rarp(4, mac(ME), Ipv4Addr::UNSPECIFIED));
    // Other LLC, e.g. IS-IS, passes.
    takes(&mut net, &framed(mac(ME), MacAddr::BROADCAST, 36, &[0xfe, 0xfe, 3]));
    // More tags than there is a use for (CVE-2021-27853).
    let deep = (0..5).fold(lie.clone(), |bytes, _| tagged(0x8100, 0, &bytes));
    assert_eq!(net.dropped(0, &deep), Some(DropReason::FILTERED));
    let cut = &tagged(0x8100, 0, &tagged(0x8100, 0, &lie))[..20];
    assert_eq!(net.dropped(0, cut), Some(DropReason::MALFORMED));
}

#[test]
fn guards_stand_before_the_port_of_an_access_vlan_too() {
    let mut net = net(strict());
    let vlan_10 = VlanMode::Access(vlan(10));
    for port in [0, 1] {
        let guard = if port == 0 { strict() } else { GuardConfig::default() };
        net.set_port(port, PortConfig { vlan: vlan_10.clone(), guard, ..PortConfig::default() });
    }
    let lie = arp(ArpOperation::Reply, (mac(ME), OTHERS), OURS);
    assert_eq!(net.dropped(0, &tagged(0x8100, 0xe000, &lie)), Some(DropReason::ARP_GUARD));
    let honest = arp(ArpOperation::Reply, (mac(ME), OURS), OTHERS);
    assert_eq!(net.ports(0, &tagged(0x8100, 0xe000, &honest)), [1]);
}
