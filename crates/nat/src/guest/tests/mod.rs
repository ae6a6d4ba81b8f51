//! The gateway on frames: those that real clients sent, and forged ones.

use super::{AddressPool, GuestConfig, GuestConfigError, Guests};
use adit_engine::{DropReason, Endpoint, Outbox, PortId};
use adit_packet::checksum::Sum;
use adit_packet::{
    Arp, ArpOperation, Batch, EthernetHeader, Instant, Ipv4Header, Ipv6Header, MacAddr, Neighbour,
    NeighbourKind, PacketBuf, Pool, PoolConfig, UdpHeader, ether_type, icmp, ip_protocol,
};
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::time::Duration;
use std::vec::Vec;

mod dhcp;

const ONE: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
const TWO: MacAddr = MacAddr([2, 0, 0, 0, 0, 2]);
const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 2);

/// A gateway and what it has sent.
struct World {
    guests: Guests,
    out: Outbox,
    now: Instant,
    received: u64,
    /// Packets that went to the NAT.
    passed: Vec<Vec<u8>>,
}

impl World {
    fn new(config: GuestConfig) -> Self {
        Self {
            guests: Guests::new(PortId(0), config).unwrap(),
            out: Outbox::new(Pool::new(PoolConfig::default())),
            now: Instant::ZERO + Duration::from_secs(1000),
            received: 0,
            passed: Vec::new(),
        }
    }

    fn buffer(&mut self, bytes: &[u8]) -> PacketBuf {
        let mut packet = self.out.pool().take(bytes.len()).unwrap();
        packet.extend(bytes).unwrap();
        self.received += 1;
        packet
    }

    /// A frame comes; the frames that are sent for it.
    fn give(&mut self, frame: &[u8]) -> Vec<Vec<u8>> {
        let packet = self.buffer(frame);
        self.give_buffer(packet)
    }

    fn give_buffer(&mut self, frame: PacketBuf) -> Vec<Vec<u8>> {
        if let Some(packet) = self.guests.ingress(self.now, frame, &mut self.out) {
            self.passed.push(packet.bytes().to_vec());
            self.out.absorb(packet);
        }
        self.take()
    }

    /// A packet of the NAT comes.
    fn send(&mut self, packet: &[u8]) -> Vec<Vec<u8>> {
        let packet = self.buffer(packet);
        self.guests.egress(self.now, packet, &mut self.out);
        self.take()
    }

    fn wait(&mut self, time: Duration) -> Vec<Vec<u8>> {
        self.now += time;
        self.guests.handle_timeout(self.now, &mut self.out);
        self.take()
    }

    fn take(&mut self) -> Vec<Vec<u8>> {
        let (mut batch, mut sent) = (Batch::new(), Vec::new());
        while let Some(to) = self.out.next_group(&mut batch) {
            assert_eq!(to, Endpoint::Port(PortId(0)));
            sent.extend(batch.iter().map(|packet| packet.bytes().to_vec()));
            batch.give_all(self.out.pool());
        }
        assert!(self.out.counts().balance(self.received, self.guests.held()));
        sent
    }

    fn drops(&self, why: DropReason) -> u64 {
        self.out.counts().discarded_for(why)
    }

    /// Asserts that a frame is dropped for this reason, and that nothing is sent for it.
    fn refuses(&mut self, frame: &[u8], why: DropReason) {
        let before = self.drops(why);
        assert_eq!(self.give(frame), Vec::<Vec<u8>>::new(), "{why}");
        assert_eq!(self.drops(why), before + 1, "{why}: {:?}", self.out.counts());
    }

    /// The station has this address from now on.
    fn settle(&mut self, mac: MacAddr, ip: Ipv4Addr) {
        let before = self.passed.len();
        assert!(self.give(&udp_v4(mac, ip, [192, 0, 2, 1].into(), 9, b"x")).is_empty());
        assert_eq!(self.passed.len(), before + 1, "{:?}", self.out.counts());
    }
}

fn config() -> GuestConfig {
    GuestConfig::default()
}

/// That of the recorded frames.
fn recorded() -> GuestConfig {
    let search = ["lan.example", "example.net"].map(|name| name.parse().unwrap()).to_vec();
    GuestConfig { mtu: 1400, search, ..config() }
}

fn frame(destination: MacAddr, source: MacAddr, ether_type: u16, payload: &[u8]) -> Vec<u8> {
    let header = EthernetHeader { destination, source, ether_type }.to_bytes();
    [&header[..], payload].concat()
}

fn udp(sum: impl Fn(u16) -> Sum, ports: (u16, u16), payload: &[u8]) -> Vec<u8> {
    let (source_port, destination_port) = ports;
    let len = u16::try_from(payload.len() + 8).unwrap();
    let header = UdpHeader { source_port, destination_port, len, checksum: 0 };
    let sum = sum(len).add_bytes(&header.to_bytes()).add_bytes(payload);
    let header = UdpHeader { checksum: sum.finish_udp(), ..header };
    [&header.to_bytes()[..], payload].concat()
}

fn packet_v4(
    source: Ipv4Addr,
    destination: Ipv4Addr,
    ports: (u16, u16),
    payload: &[u8],
) -> Vec<u8> {
    let sum = |len| Sum::pseudo_v4(source, destination, ip_protocol::UDP, len);
    let datagram = udp(sum, ports, payload);
    let header = Ipv4Header {
        tos: 0,
        total_len: u16::try_from(20 + datagram.len()).unwrap(),
        id: 7,
        dont_fragment: false,
        fragment: None,
        ttl: 64,
        protocol: ip_protocol::UDP,
        source,
        destination,
    };
    [&header.to_bytes()[..], &datagram].concat()
}

/// A datagram to the gateway's MAC address, or to that of a broadcast.
fn udp_v4(mac: MacAddr, from: Ipv4Addr, to: Ipv4Addr, port: u16, payload: &[u8]) -> Vec<u8> {
    let to_mac = if to.is_broadcast() { MacAddr::BROADCAST } else { config().mac };
    let packet = packet_v4(from, to, (port + 1, port), payload);
    frame(to_mac, mac, ether_type::IPV4, &packet)
}

fn ipv6(
    source: Ipv6Addr,
    destination: Ipv6Addr,
    next_header: u8,
    hop_limit: u8,
    payload: &[u8],
) -> Vec<u8> {
    let header = Ipv6Header {
        class: 0,
        flow_label: 0,
        payload_len: u16::try_from(payload.len()).unwrap(),
        next_header,
        hop_limit,
        source,
        destination,
    };
    [&header.to_bytes()[..], payload].concat()
}

fn udp_v6(
    mac: MacAddr,
    from: Ipv6Addr,
    to: Ipv6Addr,
    ports: (u16, u16),
    payload: &[u8],
) -> Vec<u8> {
    let sum = |len: u16| Sum::pseudo_v6(from, to, ip_protocol::UDP, len.into());
    let packet = ipv6(from, to, ip_protocol::UDP, 64, &udp(sum, ports, payload));
    let to_mac = if to.is_multicast() { MacAddr([0x33, 0x33, 0, 1, 0, 2]) } else { config().mac };
    frame(to_mac, mac, ether_type::IPV6, &packet)
}

fn nd(mac: MacAddr, from: Ipv6Addr, to: Ipv6Addr, message: &[u8]) -> Vec<u8> {
    let mut message = message.to_vec();
    icmp::fill_checksum_v6(from, to, &mut message);
    let packet = ipv6(from, to, ip_protocol::ICMP6, 255, &message);
    frame(MacAddr([0x33, 0x33, 0, 0, 0, 1]), mac, ether_type::IPV6, &packet)
}

fn solicit(mac: MacAddr, from: Ipv6Addr, target: Ipv6Addr) -> Vec<u8> {
    let link_address = Some(mac).filter(|_| !from.is_unspecified());
    let message = Neighbour { kind: NeighbourKind::Solicitation, target, link_address };
    let (bytes, len) = message.to_bytes();
    nd(mac, from, super::nd::solicited_node(target), &bytes[..len])
}

fn arp(mac: MacAddr, sender: Ipv4Addr, target: Ipv4Addr) -> Vec<u8> {
    let request = Arp {
        operation: ArpOperation::Request,
        sender_mac: mac,
        sender_ip: sender,
        target_mac: MacAddr::default(),
        target_ip: target,
    };
    frame(MacAddr::BROADCAST, mac, ether_type::ARP, &request.to_bytes())
}

fn v6(text: &str) -> Ipv6Addr {
    text.parse().unwrap()
}

fn unhex(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for word in text.split_ascii_whitespace() {
        match word.strip_prefix('z') {
            Some(zeros) => bytes.resize(bytes.len() + zeros.parse::<usize>().unwrap(), 0),
            None => bytes.extend(
                (0..word.len() / 2)
                    .map(|at| u8::from_str_radix(&word[2 * at..2 * at + 2], 16).unwrap()),
            ),
        }
    }
    bytes
}

/// Frames that busybox, dhclient, dhcpcd, ndisc6 and the kernel sent, and each answer to the byte.
#[test]
fn real_clients_get_the_recorded_answers() {
    let (mut world, mut sent, mut frames) = (World::new(recorded()), Vec::new(), 0);
    let text = include_str!("clients.txt").replace("\n  ", " ");
    for line in text.lines() {
        match line.split_once(' ') {
            Some(("#", _)) => world = World::new(recorded()),
            Some(("<", answer)) => {
                assert!(!sent.is_empty(), "an answer is missing: {line}");
                assert_eq!(sent.remove(0), unhex(answer), "{line}");
            }
            Some((mark, request)) => {
                assert!(sent.is_empty(), "there is no recorded answer: {sent:02x?}");
                let mut packet = world.buffer(&unhex(request));
                if mark == ">p" {
                    packet.meta.vnet.flags = adit_packet::VnetHeader::NEEDS_CSUM;
                }
                sent = world.give_buffer(packet);
                frames += 1;
                assert_eq!(world.out.counts().discarded(), 0, "{line}: {:?}", world.out.counts());
            }
            None => {}
        }
    }
    assert!(sent.is_empty() && frames > 30, "{frames}");
}

#[test]
fn packets_pass_in_place_without_padding() {
    let mut world = World::new(config());
    let packet = packet_v4([10, 0, 2, 15].into(), [192, 0, 2, 1].into(), (1, 2), b"hi");
    let mut bytes = frame(config().mac, ONE, ether_type::IPV4, &packet);
    bytes.resize(60, 0xee);
    let mut buffer = world.buffer(&bytes);
    buffer.meta.vnet.flags = adit_packet::VnetHeader::NEEDS_CSUM;
    buffer.meta.vnet.csum_start = 34;
    let at = buffer.bytes().as_ptr().wrapping_add(14);
    let passed = world.guests.ingress(world.now, buffer, &mut world.out).unwrap();
    assert_eq!((passed.bytes(), passed.bytes().as_ptr()), (&packet[..], at));
    assert_eq!(passed.meta.vnet.csum_start, 20);
    // And back: its source is known now.
    let mut back = passed;
    back.bytes_mut()[12..20].copy_from_slice(&[192, 0, 2, 1, 10, 0, 2, 15]);
    world.guests.egress(world.now, back, &mut world.out);
    let mut batch = Batch::new();
    world.out.next_group(&mut batch).unwrap();
    let sent = &batch.as_slice()[0];
    assert_eq!((sent.bytes().as_ptr(), sent.meta.vnet.csum_start), (at.wrapping_sub(14), 34));
    assert_eq!(sent.bytes()[..14], frame(ONE, config().mac, ether_type::IPV4, &[]));
    batch.give_all(world.out.pool());
}

#[test]
fn forged_sources_are_dropped() {
    let mut world = World::new(GuestConfig { stations_max: 2, ..config() });
    let (mine, outside) = (Ipv4Addr::new(10, 0, 2, 15), Ipv4Addr::new(192, 0, 2, 1));
    world.settle(ONE, mine);
    let wrong =
        [outside, GATEWAY, [10, 0, 2, 3].into(), [10, 0, 2, 0].into(), [10, 0, 2, 255].into()];
    for from in wrong.into_iter().chain([Ipv4Addr::UNSPECIFIED, [127, 0, 0, 1].into()]) {
        world.refuses(&udp_v4(ONE, from, outside, 9, b"x"), DropReason::IP_GUARD);
        if !from.is_unspecified() {
            world.refuses(&arp(ONE, from, GATEWAY), DropReason::ARP_GUARD);
        }
    }
    // The address of another station, and its MAC address in a message.
    world.refuses(&udp_v4(TWO, mine, outside, 9, b"x"), DropReason::IP_GUARD);
    world.refuses(&arp(TWO, mine, GATEWAY), DropReason::ARP_GUARD);
    let mut lie = arp(TWO, [10, 0, 2, 16].into(), GATEWAY);
    lie[6..12].copy_from_slice(&ONE.0);
    world.refuses(&lie, DropReason::ARP_GUARD);
    // A third station, the gateway's own MAC address, a group's.
    for mac in [MacAddr([2, 0, 0, 0, 0, 3]), config().mac, MacAddr([3, 0, 0, 0, 0, 1])] {
        world.refuses(&udp_v4(mac, [10, 0, 2, 20].into(), outside, 9, b"x"), DropReason::MAC_GUARD);
    }
    for (from, to) in [
        ("2001:db8::1", "2001:db8::2"),
        ("fd00::2", "2001:db8::2"),
        ("::1", "2001:db8::2"),
        ("ff02::1", "2001:db8::2"),
        ("::", "2001:db8::2"),
        // Link-local addresses stay on the link.
        ("fe80::1", "2001:db8::2"),
    ] {
        let packet = udp_v6(ONE, v6(from), v6(to), (1, 2), b"x");
        world.refuses(&packet, DropReason::IP_GUARD);
    }
    world.refuses(
        &udp_v6(ONE, v6("fd00::1"), v6("fe80::77"), (1, 2), b"x"),
        DropReason::NO_DESTINATION,
    );
    assert!(world.passed.len() == 1 && world.guests.addresses().count() <= 3);
    // To a list of MAC addresses, nothing can be added.
    let mut world = World::new(GuestConfig { macs: [ONE].to_vec(), ..config() });
    world.settle(ONE, mine);
    world.refuses(&udp_v4(TWO, [10, 0, 2, 16].into(), outside, 9, b"x"), DropReason::MAC_GUARD);
}

#[test]
fn frames_for_others_and_groups_stay_on_the_link() {
    let mut world = World::new(config());
    let mine = Ipv4Addr::new(10, 0, 2, 15);
    let packet = packet_v4(mine, [192, 0, 2, 1].into(), (1, 2), b"x");
    world.refuses(&frame(TWO, ONE, ether_type::IPV4, &packet), DropReason::NO_DESTINATION);
    world
        .refuses(&frame(MacAddr::BROADCAST, ONE, ether_type::IPV4, &packet), DropReason::MULTICAST);
    world.refuses(&frame(config().mac, ONE, 0x88b5, &packet), DropReason::NO_DESTINATION);
    let group = MacAddr([3, 0, 0, 0, 0, 1]);
    world.refuses(&frame(group, ONE, 0x88b5, &packet), DropReason::MULTICAST);
    let tag = [&[0, 7][..], &ether_type::IPV4.to_be_bytes(), &packet].concat();
    world.refuses(&frame(config().mac, ONE, ether_type::VLAN, &tag), DropReason::VLAN_FILTERED);
    world.refuses(&udp_v4(ONE, mine, Ipv4Addr::BROADCAST, 9, b"x"), DropReason::MULTICAST);
    world.refuses(&udp_v4(ONE, mine, [239, 1, 1, 1].into(), 9, b"x"), DropReason::MULTICAST);
    world.refuses(&udp_v6(ONE, v6("fd00::9"), v6("ff02::fb"), (9, 9), b"x"), DropReason::MULTICAST);
    let short = frame(config().mac, ONE, ether_type::IPV4, &packet[..19]);
    world.refuses(&short, DropReason::MALFORMED);
    let mut world = World::new(GuestConfig { v6: None, ..config() });
    world.refuses(
        &udp_v6(ONE, v6("fd00::9"), v6("2001:db8::1"), (9, 9), b"x"),
        DropReason::FILTERED,
    );
}

#[test]
fn arp_and_neighbour_discovery_answer_for_the_nat_alone() {
    let own = ["10.0.2.200".parse().unwrap(), "fd00::200".parse().unwrap()].to_vec();
    let mut world = World::new(GuestConfig { own, ..config() });
    let mine = Ipv4Addr::new(10, 0, 2, 15);
    for (last, is_answered) in [(2, true), (3, true), (200, true), (16, false), (15, false)] {
        let sent = world.give(&arp(ONE, mine, [10, 0, 2, last].into()));
        assert_eq!(sent.len(), usize::from(is_answered), "{last}");
        // A probe hears that the NAT has the address (RFC 5227).
        let sent = world.give(&arp(ONE, Ipv4Addr::UNSPECIFIED, [10, 0, 2, last].into()));
        assert_eq!(sent.len(), usize::from(is_answered), "{last}");
    }
    for (target, is_answered) in [
        ("fe80::2", true),
        ("fd00::2", true),
        ("fd00::3", true),
        ("fd00::200", true),
        ("fd00::16", false),
        ("fe80::16", false),
    ] {
        let sent = world.give(&solicit(ONE, v6("fe80::1"), v6(target)));
        assert_eq!(sent.len(), usize::from(is_answered), "{target}");
        let sent = world.give(&solicit(ONE, Ipv6Addr::UNSPECIFIED, v6(target)));
        assert_eq!(sent.len(), usize::from(is_answered), "{target}");
        if let [told] = &sent[..] {
            assert_eq!(told[..6], [0x33, 0x33, 0, 0, 0, 1], "all hear that it is taken");
        }
    }
}

#[test]
fn neighbour_solicitations_may_be_ignored() {
    let mut world = World::new(GuestConfig { solicited: false, advertises: false, ..config() });
    world.refuses(&solicit(ONE, v6("fe80::1"), v6("fe80::2")), DropReason::FILTERED);
    assert_eq!(world.give(&arp(ONE, [10, 0, 2, 15].into(), [10, 0, 2, 2].into())).len(), 1);
}

#[test]
fn off_link_every_address_without_a_guest_is_answered() {
    let mut world = World::new(GuestConfig { off_link: true, ..config() });
    world.settle(TWO, [10, 0, 2, 16].into());
    let mine = Ipv4Addr::new(10, 0, 2, 15);
    let answers = |world: &mut World, sender, target: [u8; 4]| {
        world.give(&arp(ONE, sender, target.into())).len()
    };
    assert_eq!(answers(&mut world, mine, [10, 0, 2, 77]), 1);
    assert_eq!(answers(&mut world, mine, [198, 51, 100, 1]), 1);
    assert_eq!(answers(&mut world, mine, [10, 0, 2, 16]), 0, "a guest has it");
    assert_eq!(answers(&mut world, mine, [10, 0, 2, 15]), 0, "it announces itself");
    assert_eq!(answers(&mut world, mine, [255; 4]), 0);
    assert_eq!(answers(&mut world, Ipv4Addr::UNSPECIFIED, [10, 0, 2, 99]), 0, "it probes");
    let mut solicits =
        |from: &str, target: &str| world.give(&solicit(ONE, v6(from), v6(target))).len();
    assert_eq!(solicits("fd00::15", "fd00::77"), 1);
    assert_eq!(solicits("::", "fd00::78"), 0, "duplicate address detection");
    assert_eq!(solicits("fd00::15", "fe80::77"), 0);
}

#[test]
fn neighbour_discovery_must_be_true_and_whole() {
    let mut world = World::new(config());
    let mine = v6("fe80::1");
    let advertise = |target, link_address| {
        let kind =
            NeighbourKind::Advertisement { router: false, solicited: false, override_cached: true };
        let (bytes, len) = Neighbour { kind, target, link_address: Some(link_address) }.to_bytes();
        bytes[..len].to_vec()
    };
    let all = super::nd::ALL_NODES;
    for (message, why) in [
        (advertise(v6("fe80::2"), ONE), DropReason::ND_GUARD),
        (advertise(v6("2001:db8::1"), ONE), DropReason::ND_GUARD),
        (advertise(mine, TWO), DropReason::ND_GUARD),
        ([134, 0, 0, 0, 64, 0, 7, 8, 0, 0, 0, 0, 0, 0, 0, 0].to_vec(), DropReason::RA_GUARD),
        ([137, 0, 0, 0].iter().copied().chain([0; 36]).collect(), DropReason::RA_GUARD),
        ([135, 0, 0, 0, 0, 0, 0, 0].to_vec(), DropReason::MALFORMED),
        ([133, 0, 0, 0, 0, 0, 0, 0, 1, 0].to_vec(), DropReason::MALFORMED),
        ([133, 1, 0, 0, 0, 0, 0, 0].to_vec(), DropReason::ND_GUARD),
    ] {
        world.refuses(&nd(ONE, mine, all, &message), why);
    }
    let good = nd(ONE, mine, all, &advertise(mine, ONE));
    let mut bad = good.clone();
    bad[21] = 254;
    world.refuses(&bad, DropReason::ND_GUARD);
    let mut bad = good.clone();
    bad[60] ^= 1;
    world.refuses(&bad, DropReason::ND_GUARD);
    // Behind an extension header (RFC 6980).
    let mut message = advertise(mine, ONE);
    icmp::fill_checksum_v6(mine, all, &mut message);
    let fragment = [&[58, 0, 0, 0, 0, 0, 0, 1][..], &message].concat();
    let packet = ipv6(mine, all, ip_protocol::FRAGMENT, 255, &fragment);
    world.refuses(
        &frame(MacAddr([0x33, 0x33, 0, 0, 0, 1]), ONE, ether_type::IPV6, &packet),
        DropReason::ND_GUARD,
    );
    assert!(world.give(&good).is_empty());
    assert_eq!(world.guests.addresses().collect::<Vec<_>>(), [(IpAddr::from(mine), ONE)]);
    // Listener reports are nobody's business here.
    assert!(world.give(&nd(ONE, mine, all, &[143, 0, 0, 0, 0, 0, 0, 0])).is_empty());
    assert_eq!(world.drops(DropReason::MULTICAST), 0);
}

#[test]
fn a_packet_waits_for_its_guest_and_not_for_ever() {
    let mut world = World::new(config());
    let to = |last| packet_v4([192, 0, 2, 1].into(), [10, 0, 2, last].into(), (1, 2), b"x");
    let sent = world.send(&to(50));
    let request = Arp::parse(&sent[0][14..]).unwrap();
    assert_eq!((request.target_ip, request.sender_ip), ([10, 0, 2, 50].into(), GATEWAY));
    // The second packet takes the place of the first, and nobody is asked again so soon.
    assert!(world.send(&to(50)).is_empty());
    assert_eq!((world.guests.held(), world.drops(DropReason::NO_NEIGHBOUR)), (1, 1));
    let reply = Arp { sender_ip: [10, 0, 2, 50].into(), ..request.reply_from(ONE) };
    let sent = world.give(&frame(config().mac, ONE, ether_type::ARP, &reply.to_bytes()));
    assert_eq!(sent, [frame(ONE, config().mac, ether_type::IPV4, &to(50))]);
    // The same for IPv6.
    let six = ipv6(v6("2001:db8::1"), v6("fd00::50"), 17, 64, &[0; 8]);
    assert_eq!(world.send(&six)[0][..6], [0x33, 0x33, 0xff, 0, 0, 0x50]);
    let sent = world.give(&solicit(ONE, v6("fd00::50"), v6("fd00::2")));
    assert_eq!(sent[0], frame(ONE, config().mac, ether_type::IPV6, &six));
    // Nobody is there, and more wait than can.
    for last in 100..130 {
        world.send(&to(last));
    }
    assert_eq!(world.guests.held(), 16);
    let mut asked = 0;
    while world.guests.held() > 0 {
        asked += world.wait(Duration::from_millis(500)).len();
    }
    // The two more times that each is asked for, and a router advertisement.
    assert_eq!((asked, world.drops(DropReason::NO_NEIGHBOUR)), (33, 31));
    // No guest can have such an address.
    world.send(&to(2));
    world.send(&packet_v4(GATEWAY, [192, 0, 2, 1].into(), (1, 2), b"x"));
    assert_eq!(world.drops(DropReason::NO_DESTINATION), 2);
    world.send(&to(60));
    world.guests.clear(&mut world.out);
    assert_eq!((world.guests.held(), world.drops(DropReason::PORT_DOWN)), (0, 1));
}

#[test]
fn the_router_is_advertised_before_its_lifetime_ends() {
    let mut world = World::new(config());
    assert_eq!(world.wait(Duration::ZERO).len(), 1, "at the start");
    for _ in 0..50 {
        let next = world.guests.next_timeout().unwrap();
        let gap = next.since(world.now);
        assert!((200..=600).contains(&gap.as_secs()), "{gap:?}");
        let sent = world.wait(gap);
        assert_eq!(
            (sent.len(), &sent[0][..6], sent[0][54]),
            (1, &[0x33, 0x33, 0, 0, 0, 1][..], 134)
        );
        let lifetime = u16::from_be_bytes([sent[0][60], sent[0][61]]);
        assert!(u64::from(lifetime) >= 3 * 600);
    }
    let mut changed = config();
    changed.mtu = 1280;
    world.guests.set(changed).unwrap();
    let sent = world.wait(Duration::ZERO);
    let mtu = [&[5, 1, 0, 0][..], &1280_u32.to_be_bytes()].concat();
    assert!(sent[0].windows(8).any(|option| option == mtu), "{sent:02x?}");
    world.guests.set(GuestConfig { v6: None, ..config() }).unwrap();
    assert_eq!(world.guests.next_timeout(), None);
}

#[test]
fn a_configuration_must_fit() {
    let wrong = |change: fn(&mut GuestConfig)| {
        let mut config = config();
        change(&mut config);
        std::format!("{}", Guests::new(PortId(0), config).unwrap_err())
    };
    let pool = |first: u8, last: u8| {
        let ip = |last| Ipv4Addr::new(10, 0, 2, last);
        Some(AddressPool { first: ip(first), last: ip(last), lease: Duration::from_secs(60) })
    };
    assert!(wrong(|config| config.mac = MacAddr::BROADCAST).contains("ff:ff"));
    assert!(wrong(|config| config.stations_max = 0).contains("at least one"));
    assert!(wrong(|config| config.mtu = 1279).contains("under 1280"));
    assert!(
        wrong(|config| config.v6.as_mut().unwrap().link_local = Ipv6Addr::LOCALHOST)
            .contains("::1")
    );
    let text = wrong(|config| config.v4.as_mut().unwrap().prefix = "10.0.3.0/24".parse().unwrap());
    assert_eq!(text, "10.0.2.15 is outside of 10.0.3.0/24");
    let mut four = config();
    four.v4.as_mut().unwrap().pool = pool(20, 19);
    assert!(Guests::new(PortId(0), four).is_err());
    assert!(
        wrong(|config| config.v4.as_mut().unwrap().dns = [GATEWAY; 5].to_vec())
            .contains("at most 4")
    );
}

#[test]
fn guests_may_have_other_networks() {
    let networks = |v4: Option<&str>, v6: Option<&str>| {
        let prefix = |text: &str| text.parse().unwrap();
        GuestConfig::in_networks(v4.map(prefix), v6.map(prefix))
    };
    let usual = networks(Some("10.0.2.0/24"), Some("fd00::/64"));
    assert_eq!(usual, Ok(GuestConfig::default()));
    let other = networks(Some("192.168.7.96/27"), Some("2001:db8::/64")).unwrap();
    other.check().unwrap();
    let (v4, ipv6) = (other.v4.unwrap(), other.v6.unwrap());
    assert_eq!((v4.gateway, v4.dns[0]), ([192, 168, 7, 98].into(), [192, 168, 7, 99].into()));
    let pool = v4.pool.unwrap();
    assert_eq!((pool.first, pool.last), ([192, 168, 7, 111].into(), [192, 168, 7, 126].into()));
    let pool = ipv6.pool.unwrap();
    let expected = ["2001:db8::2", "2001:db8::3", "2001:db8::15"].map(v6);
    assert_eq!([ipv6.gateway, ipv6.dns[0], pool.first], expected);
    assert_eq!(networks(None, Some("fd00::/64")).unwrap().v4, None);
    let first = |texts: &[&str]| {
        let prefixes: Vec<_> = texts.iter().map(|text| text.parse().unwrap()).collect();
        GuestConfig::of(&prefixes).map(|config| config.first_guests())
    };
    let expected = ["10.9.0.15/24", "fd00::15/64"].map(|text| text.parse().unwrap());
    assert_eq!(first(&["10.9.0.0/24"]).unwrap(), expected);
    assert!(matches!(first(&["fd00::/64", "fd01::/64"]), Err(GuestConfigError::Several(..))));
    for (v4, v6) in [(Some("10.0.2.0/28"), None), (None, Some("fd00::/121"))] {
        assert!(matches!(networks(v4, v6), Err(GuestConfigError::Small(_))));
    }
}

#[test]
fn a_router_among_the_guests_leads_to_its_networks() {
    let (router, inner) = (Ipv4Addr::new(10, 0, 2, 20), Ipv4Addr::new(10, 7, 0, 5));
    let network = |text: &str| text.parse().unwrap();
    let routes = std::vec![
        (network("10.7.0.0/16"), router.into()),
        (network("10.7.9.0/24"), Ipv4Addr::new(10, 0, 2, 21).into()),
    ];
    let mut world = World::new(GuestConfig { routes, ..config() });
    let outside = Ipv4Addr::new(192, 0, 2, 1);
    // A packet for the inner host waits for the router, not for the host.
    let asked = world.send(&packet_v4(outside, inner, (9, 9), b"x"));
    let asked = Arp::parse(&asked[0][14..]).unwrap();
    assert_eq!(asked.target_ip, router);
    let waited = world.give(&udp_v4(ONE, router, outside, 9, b"x"));
    assert_eq!(waited[0][..6], ONE.0);
    let sent = world.send(&packet_v4(outside, inner, (9, 9), b"y"));
    assert_eq!(sent[0][..6], ONE.0);
    // The router sends what its network sends; another station does not.
    let before = world.passed.len();
    assert!(world.give(&udp_v4(ONE, inner, outside, 9, b"x")).is_empty());
    assert_eq!(world.passed.len(), before + 1);
    world.refuses(&udp_v4(TWO, inner, outside, 9, b"x"), DropReason::IP_GUARD);
    world.refuses(&udp_v4(ONE, [10, 8, 0, 1].into(), outside, 9, b"x"), DropReason::IP_GUARD);
    // The longest prefix counts, and what no route leads to is dropped.
    let asked = world.send(&packet_v4(outside, [10, 7, 9, 1].into(), (9, 9), b"x"));
    assert_eq!(Arp::parse(&asked[0][14..]).unwrap().target_ip, Ipv4Addr::new(10, 0, 2, 21));
    let before = world.drops(DropReason::NO_DESTINATION);
    assert!(world.send(&packet_v4(outside, [10, 8, 0, 1].into(), (9, 9), b"x")).is_empty());
    assert_eq!(world.drops(DropReason::NO_DESTINATION), before + 1);
}
