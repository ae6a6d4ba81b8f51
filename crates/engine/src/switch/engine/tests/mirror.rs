//! Copies for somebody who watches.

use super::*;
use adit_packet::{Gso, Ipv4Header, UdpHeader, ether_type, ip_protocol};
use alloc::sync::Arc;

const WATCHER: u16 = 9;

fn mirror() -> Mirror {
    Mirror {
        to: PortId(WATCHER),
        ports: Vec::new(),
        direction: MirrorDirection::Both,
        filter: MirrorFilter::All,
        truncate: None,
    }
}

fn net(mirrors: &[Mirror]) -> Net {
    Net::with(SwitchConfig { mirrors: mirrors.to_vec(), ..quiet() }, 3)
}

/// What the watcher gets of that frame.
fn watched(net: &mut Net, port: u16, bytes: &[u8]) -> Vec<Sent> {
    net.give(port, bytes).into_iter().filter(|sent| sent.port == WATCHER).collect()
}

#[test]
fn copies_for_which_there_is_no_room_are_counted() {
    for truncate in [None, Some(60)] {
        let mut net = net(&[Mirror { truncate, ..mirror() }]);
        // The frame itself and its copy for the second port; none is left for a mirror.
        let config = PoolConfig { small_limit: 1, large_limit: 0, ..PoolConfig::default() };
        net.out = Outbox::new(Pool::new(config));
        net.received = 0;
        let mut long = frame(mac(1), MacAddr::BROADCAST);
        long.resize(100, 0);
        assert!(watched(&mut net, 0, &long).is_empty());
        assert!(net.switch.missed_copies(PortId(WATCHER)) >= 1, "{truncate:?}");
        assert_eq!(net.switch.missed_copies(PortId(1)), 0);
        // Another one does not inherit it.
        net.switch.set(quiet()).unwrap();
        assert_eq!(net.switch.missed_copies(PortId(WATCHER)), 0);
    }
}

#[test]
fn each_direction_of_each_port() {
    use MirrorDirection::{Both, Egress, Ingress};
    for (direction, ports, expected) in [
        (Ingress, vec![], [1, 1]),
        (Egress, vec![], [2, 1]),
        (Both, vec![], [3, 2]),
        (Both, vec![PortId(0)], [1, 1]),
        (Ingress, vec![PortId(1)], [0, 0]),
        (Egress, vec![PortId(1), PortId(2)], [2, 1]),
    ] {
        let mut net = net(&[Mirror { direction, ports, ..mirror() }]);
        net.give(1, &frame(mac(2), MacAddr::BROADCAST));
        let flooded = frame(mac(1), MacAddr::BROADCAST);
        let unicast = frame(mac(1), mac(2));
        let counts = [&flooded, &unicast].map(|bytes| watched(&mut net, 0, bytes).len());
        assert_eq!(counts, expected, "{direction:?}");
    }
}

#[test]
fn a_copy_is_as_the_frame_came_or_went() {
    let mut net = net(&[mirror()]);
    net.set_port(0, PortConfig { vlan: VlanMode::Access(vlan(10)), ..PortConfig::default() });
    let plain = frame(mac(1), MacAddr::BROADCAST);
    let ten = tagged(0x8100, 10, &plain);
    let copies: Vec<_> = watched(&mut net, 0, &plain).into_iter().map(|sent| sent.bytes).collect();
    assert_eq!(copies, [plain.clone(), ten.clone(), ten.clone()]);
    // Also what is then dropped, but nothing on a port that is closed.
    assert_eq!(watched(&mut net, 0, &ten).len(), 1);
    net.switch.set_link(PortId(0), false);
    assert_eq!(watched(&mut net, 0, &plain).len(), 0);
}

#[test]
fn the_watchers_port_takes_no_part() {
    let mut net = net(&[mirror()]);
    net.switch.add_port(PortId(WATCHER), PortConfig::default()).unwrap();
    assert_eq!(net.switch.port_state(PortId(WATCHER)), Some(PortState::Mirror));
    assert_eq!(watched(&mut net, 0, &frame(mac(1), MacAddr::BROADCAST)).len(), 3, "copies only");
    assert_eq!(net.dropped(WATCHER, &frame(mac(9), mac(1))), Some(DropReason::FILTERED));
    let counters = net.switch.counters(PortId(WATCHER)).unwrap();
    assert_eq!((counters.egress_frames, counters.egress_bytes), (3, 180));
    net.switch.set(quiet()).unwrap();
    assert_eq!(net.ports(0, &frame(mac(1), MacAddr::BROADCAST)), [1, 2, WATCHER]);
}

#[test]
fn a_cut_copy_says_how_much_is_missing() {
    let mut net =
        net(&[Mirror { truncate: Some(20), direction: MirrorDirection::Ingress, ..mirror() }]);
    let vnet = VnetHeader {
        flags: VnetHeader::NEEDS_CSUM,
        gso: Gso::Tcp4,
        gso_size: 10,
        csum_start: 34,
        csum_offset: 16,
        ..VnetHeader::default()
    };
    let bytes = frame(mac(1), MacAddr::BROADCAST);
    let sent = net.give_with(0, &bytes, vnet);
    let copy = sent.iter().find(|sent| sent.port == WATCHER).unwrap();
    assert_eq!(copy.bytes, bytes[..20]);
    assert_eq!((copy.meta.truncated, copy.meta.vnet), (40, VnetHeader::default()));
    assert!(sent.iter().filter(|sent| sent.port != WATCHER).all(|sent| sent.meta.vnet == vnet));
    let short = &bytes[..20];
    assert_eq!(watched(&mut net, 0, short)[0].meta.truncated, 0);
}

fn udp(from: u16, to: u16) -> Vec<u8> {
    let ip = Ipv4Header {
        tos: 0,
        total_len: 28,
        id: 0,
        dont_fragment: true,
        fragment: None,
        ttl: 64,
        protocol: ip_protocol::UDP,
        source: [192, 0, 2, 1].into(),
        destination: [192, 0, 2, 2].into(),
    };
    let udp = UdpHeader { source_port: from, destination_port: to, len: 8, checksum: 0 };
    let packet = [&ip.to_bytes()[..], &udp.to_bytes()].concat();
    framed(mac(1), mac(2), ether_type::IPV4, &packet)
}

#[test]
fn a_filter_agrees_in_every_part() {
    let dns = tagged(0x8100, 10, &udp(5000, 53));
    let any = FrameMatch::default();
    let yes = [
        any,
        FrameMatch { vlan: Some(vlan(10)), ..any },
        FrameMatch { mac: Some(mac(1)), ..any },
        FrameMatch { mac: Some(mac(2)), ether_type: Some(ether_type::IPV4), ..any },
        FrameMatch { protocol: Some(ip_protocol::UDP), port: Some(53), ..any },
        FrameMatch { port: Some(5000), ..any },
    ];
    let no = [
        FrameMatch { vlan: Some(vlan(11)), ..any },
        FrameMatch { mac: Some(mac(3)), ..any },
        FrameMatch { ether_type: Some(ether_type::ARP), ..any },
        FrameMatch { protocol: Some(ip_protocol::TCP), ..any },
        FrameMatch { vlan: Some(vlan(10)), port: Some(54), ..any },
    ];
    for (wanted, expected) in
        yes.map(|one| (one, true)).into_iter().chain(no.map(|one| (one, false)))
    {
        assert_eq!(wanted.agrees(&dns), expected, "{wanted:?}");
        let filter = MirrorFilter::Match(wanted);
        let mut net = net(&[Mirror { filter, direction: MirrorDirection::Ingress, ..mirror() }]);
        assert_eq!(watched(&mut net, 0, &dns).len(), usize::from(expected));
    }
    assert!(any.agrees(&[]) && !FrameMatch { port: Some(53), ..any }.agrees(&dns[..30]));
}

#[derive(Debug)]
struct FirstBytes(u8, usize);

impl FrameFilter for FirstBytes {
    fn keep(&self, frame: &[u8]) -> usize {
        if frame.first() == Some(&self.0) { self.1 } else { 0 }
    }
}

#[test]
fn a_program_chooses_frames_and_how_much_of_them() {
    let program: Arc<dyn FrameFilter> = Arc::new(FirstBytes(0xff, 30));
    let filter = MirrorFilter::Program(program);
    assert_eq!(filter, filter.clone());
    assert_ne!(filter, MirrorFilter::Program(Arc::new(FirstBytes(0xff, 30))));
    let direction = MirrorDirection::Ingress;
    let mut net = net(&[Mirror { filter, direction, truncate: Some(50), ..mirror() }]);
    assert_eq!(watched(&mut net, 0, &frame(mac(1), mac(2))).len(), 0);
    let copies = watched(&mut net, 0, &frame(mac(1), MacAddr::BROADCAST));
    assert_eq!((copies.len(), copies[0].bytes.len()), (1, 30));
}
