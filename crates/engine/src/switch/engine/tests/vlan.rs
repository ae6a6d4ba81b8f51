//! VLANs and tags.

use super::*;
use adit_packet::{Gso, Tunnel};

const CUSTOMER: u16 = 0x8100;
const SERVICE: u16 = 0x88a8;
const VLAN_FILTERED: Option<DropReason> = Some(DropReason::VLAN_FILTERED);

fn mode(vlan: VlanMode) -> PortConfig {
    PortConfig { vlan, ..PortConfig::default() }
}

fn access(number: u16) -> PortConfig {
    mode(VlanMode::Access(vlan(number)))
}

fn tunnel(number: u16) -> PortConfig {
    mode(VlanMode::Tunnel(vlan(number)))
}

fn trunk(allowed: &[u16], native: Option<u16>) -> PortConfig {
    mode(VlanMode::Trunk(Trunk::new(vlans(allowed), native.map(vlan))))
}

fn service_trunk(allowed: &[u16]) -> PortConfig {
    let trunk = Trunk { tag: TagKind::Service, ..Trunk::new(vlans(allowed), None) };
    mode(VlanMode::Trunk(trunk))
}

fn net(ports: &[PortConfig]) -> Net {
    let mut net = Net::new(u16::try_from(ports.len()).unwrap());
    for (port, config) in (0..).zip(ports) {
        net.set_port(port, config.clone());
    }
    net
}

/// A broadcast, whose copies show every form.
fn plain() -> Vec<u8> {
    frame(mac(1), MacAddr::BROADCAST)
}

/// What leaves, as (port, bytes).
fn forms(net: &mut Net, port: u16, bytes: &[u8]) -> Vec<(u16, Vec<u8>)> {
    net.give(port, bytes).into_iter().map(|sent| (sent.port, sent.bytes)).collect()
}

#[test]
fn numbers_of_vlans_and_sets() {
    assert_eq!((VlanId::new(0), VlanId::new(4095)), (None, None));
    let mut set = vlans(&[1, 63, 64, 4094]);
    assert_eq!(set.iter().map(VlanId::number).collect::<Vec<_>>(), [1, 63, 64, 4094]);
    set.remove(vlan(64));
    assert!(!set.contains(vlan(64)) && set.contains(vlan(63)) && !set.is_empty());
    assert!(VlanSet::default().is_empty() && !VlanSet::all().has(0) && !VlanSet::all().has(4095));
    assert_eq!(std::format!("{set:?}"), "{1, 63, 4094}");
}

#[test]
fn transparent_ports_change_nothing_and_keep_vlans_apart() {
    let mut net = Net::new(3);
    let frames = [
        plain(),
        tagged(CUSTOMER, 0xa00a, &plain()),
        tagged(CUSTOMER, 0xa000, &plain()), // a priority only
        tagged(SERVICE, 20, &tagged(CUSTOMER, 10, &plain())),
        tagged(0x9100, 30, &plain()),
    ];
    for bytes in &frames {
        assert_eq!(forms(&mut net, 0, bytes), [(1, bytes.clone()), (2, bytes.clone())]);
    }
    let mut known: Vec<_> = net.switch.fdb().map(|entry| entry.vlan.map(VlanId::number)).collect();
    known.sort_unstable();
    assert_eq!(known, [None, Some(10), Some(20), Some(30)]);
    let answer = frame(mac(2), mac(1));
    assert_eq!(net.ports(1, &tagged(CUSTOMER, 10, &answer)), [0]);
    assert_eq!(net.ports(1, &tagged(CUSTOMER, 11, &answer)), [0, 2]);
    assert_eq!(net.dropped(1, &tagged(CUSTOMER, 4095, &answer)), VLAN_FILTERED);
}

#[test]
fn access_ports_are_untagged_and_trunks_tagged() {
    let mut net = net(&[
        access(10),
        access(10),
        access(20),
        trunk(&[10, 20], None),
        trunk(&[20], Some(10)),
        trunk(&[30], None),
        PortConfig::default(),
    ]);
    let ten = tagged(CUSTOMER, 10, &plain());
    let expected = [(1, plain()), (3, ten.clone()), (4, plain()), (6, ten.clone())];
    assert_eq!(forms(&mut net, 0, &plain()), expected);
    let expected = [(0, plain()), (1, plain()), (4, plain()), (6, ten.clone())];
    assert_eq!(forms(&mut net, 3, &ten), expected);
    assert_eq!(forms(&mut net, 4, &plain())[..2], [(0, plain()), (1, plain())]);
    let twenty = tagged(CUSTOMER, 20, &plain());
    let expected = [(2, plain()), (3, twenty.clone()), (4, twenty.clone())];
    assert_eq!(forms(&mut net, 6, &twenty), expected);

    assert_eq!(net.dropped(3, &plain()), VLAN_FILTERED, "no pvid");
    assert_eq!(net.dropped(3, &tagged(CUSTOMER, 30, &plain())), VLAN_FILTERED);
    assert_eq!(net.dropped(6, &plain()), Some(DropReason::NO_DESTINATION));
    for tag in [10, 20, 4095] {
        assert_eq!(net.dropped(0, &tagged(CUSTOMER, tag, &plain())), VLAN_FILTERED);
    }
}

#[test]
fn a_priority_is_kept_and_its_tag_taken_off() {
    let mut net = net(&[access(10), trunk(&[10], None), trunk(&[], Some(10)), access(10)]);
    let priority = tagged(CUSTOMER, 0xb000, &plain());
    let expected = [(1, tagged(CUSTOMER, 0xb00a, &plain())), (2, plain()), (3, plain())];
    assert_eq!(forms(&mut net, 0, &priority), expected);
    let expected = [(0, plain()), (1, tagged(CUSTOMER, 0xb00a, &plain())), (3, plain())];
    assert_eq!(forms(&mut net, 2, &priority), expected);
    assert_eq!(net.dropped(0, &tagged(SERVICE, 0, &plain())), VLAN_FILTERED);
}

#[test]
fn no_frame_hops_to_another_vlan() {
    let mut net = net(&[access(10), trunk(&[10, 20], None), trunk(&[20], Some(10)), access(10)]);
    // Under a tag of its own VLAN or of none, one of another.
    let inner = tagged(CUSTOMER, 20, &plain());
    assert_eq!(net.dropped(0, &tagged(CUSTOMER, 10, &inner)), VLAN_FILTERED);
    assert_eq!(net.dropped(0, &tagged(CUSTOMER, 0, &inner)), VLAN_FILTERED);
    assert_eq!(net.dropped(2, &tagged(CUSTOMER, 0, &inner)), VLAN_FILTERED);
    // From a trunk such a frame may come, but it does not leave where the inner tag would be read.
    assert_eq!(forms(&mut net, 1, &tagged(CUSTOMER, 10, &inner)), []);
    for port in [0, 2, 3] {
        let drops = net.switch.counters(PortId(port)).unwrap().egress_drops();
        assert_eq!(drops.collect::<Vec<_>>(), [(DropReason::VLAN_FILTERED, 1)]);
    }
}

#[test]
fn a_provider_carries_its_customers_tags() {
    let mut net = net(&[
        tunnel(100),
        tunnel(100),
        service_trunk(&[100, 200]),
        trunk(&[100], None),
        access(100),
        PortConfig::default(),
        tunnel(200),
    ]);
    let inner = tagged(CUSTOMER, 0xa00a, &plain());
    let outer = tagged(SERVICE, 0xa064, &inner);
    let expected = [
        (1, inner.clone()),
        (2, outer.clone()),
        (3, tagged(CUSTOMER, 0xa064, &inner)),
        (5, outer.clone()),
    ];
    assert_eq!(forms(&mut net, 0, &inner), expected);
    let drops = net.switch.counters(PortId(4)).unwrap().egress_drops().collect::<Vec<_>>();
    assert_eq!(drops, [(DropReason::VLAN_FILTERED, 1)], "it would look tagged");
    let expected = [(0, inner.clone()), (1, inner.clone()), (3, tagged(CUSTOMER, 0xa064, &inner))];
    assert_eq!(forms(&mut net, 2, &outer)[..3], expected);
    // Whatever the customer's tag is, it is payload.
    let strange = tagged(SERVICE, 200, &plain());
    let expected = [(1, strange.clone()), (2, tagged(SERVICE, 100, &strange))];
    assert_eq!(forms(&mut net, 0, &strange)[..2], expected);
    assert_eq!(net.dropped(2, &inner), VLAN_FILTERED, "no service tag and no pvid");
    assert_eq!(
        forms(&mut net, 4, &plain())[..3],
        [(0, plain()), (1, plain()), (2, tagged(SERVICE, 100, &plain()))]
    );
}

#[test]
fn hybrid_ports_have_several_untagged_vlans() {
    let hybrid = Trunk {
        tagged: vlans(&[30]),
        untagged: vlans(&[10, 20]),
        pvid: Some(vlan(20)),
        tag: TagKind::Customer,
    };
    let mut net = net(&[mode(VlanMode::Trunk(hybrid)), access(10), access(20), access(30)]);
    assert_eq!(forms(&mut net, 1, &plain()), [(0, plain())]);
    assert_eq!(forms(&mut net, 2, &plain()), [(0, plain())]);
    assert_eq!(forms(&mut net, 3, &plain()), [(0, tagged(CUSTOMER, 30, &plain()))]);
    assert_eq!(forms(&mut net, 0, &plain()), [(2, plain())]);
    assert_eq!(forms(&mut net, 0, &tagged(CUSTOMER, 10, &plain())), [(1, plain())]);
}

#[test]
fn a_unicast_that_is_known_stays_in_its_vlan() {
    let mut net = net(&[access(10), access(20), trunk(&[10, 20], None)]);
    net.give(0, &frame(mac(1), MacAddr::BROADCAST));
    assert_eq!(net.ports(1, &frame(mac(2), mac(1))), [2], "unknown in VLAN 20");
    let answer = frame(mac(3), mac(1));
    for _ in 0..2 {
        assert_eq!(forms(&mut net, 2, &tagged(CUSTOMER, 10, &answer)), [(0, answer.clone())]);
    }
    net.switch.fdb_add(Some(vlan(20)), mac(9), PortId(0)).unwrap();
    assert_eq!(net.dropped(1, &frame(mac(2), mac(9))), VLAN_FILTERED);
    net.set_port(0, access(11));
    assert_eq!(net.port_of(10, mac(1)), None, "what it learned was of its old VLAN");
}

#[test]
fn the_offsets_of_a_super_packet_follow_its_tags() {
    let mut net = net(&[access(10), trunk(&[10], None), tunnel(10), PortConfig::default()]);
    let mut long = frame(mac(1), MacAddr::BROADCAST);
    long.resize(60_000, 0x5a);
    let vnet = VnetHeader {
        flags: VnetHeader::NEEDS_CSUM,
        gso: Gso::Tcp4,
        gso_size: 1448,
        hdr_len: 66,
        csum_start: 34,
        csum_offset: 16,
        ..VnetHeader::default()
    };
    let shifted = VnetHeader { hdr_len: 70, csum_start: 38, ..vnet };
    let sent = net.give_with(0, &long, vnet);
    let got: Vec<_> =
        sent.iter().map(|sent| (sent.port, sent.bytes.len(), sent.meta.vnet)).collect();
    assert_eq!(got, [(1, 60_004, shifted), (2, 60_000, vnet), (3, 60_004, shifted)]);
    let sent = net.give_with(1, &tagged(CUSTOMER, 10, &long), shifted);
    let got: Vec<_> =
        sent.iter().map(|sent| (sent.port, sent.bytes.len(), sent.meta.vnet)).collect();
    assert_eq!(got, [(0, 60_000, vnet), (2, 60_000, vnet), (3, 60_004, shifted)]);
    assert_eq!(sent[0].bytes, long);

    let tunnel =
        VnetHeader { tunnel: Some(Tunnel::Ipv4), outer_th_offset: 34, inner_nh_offset: 64, ..vnet };
    let sent = net.give_with(0, &long, tunnel);
    let got = sent[0].meta.vnet;
    assert_eq!((got.outer_th_offset, got.inner_nh_offset), (38, 68));
    // What has no meaning is not touched, and what points into the tag is no header.
    let verified = VnetHeader { flags: VnetHeader::DATA_VALID, ..VnetHeader::default() };
    assert_eq!(net.give_with(0, &long, verified)[0].meta.vnet, verified);
    let wrong = VnetHeader { csum_start: 3, ..vnet };
    let sent = net.give_with(1, &tagged(CUSTOMER, 10, &long), wrong);
    assert_eq!(sent.iter().map(|sent| sent.port).collect::<Vec<_>>(), [3]);
}
