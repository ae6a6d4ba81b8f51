//! Who gets what is flooded, and who does not; links; counters.

use super::*;

fn isolated() -> PortConfig {
    PortConfig { isolated: true, ..PortConfig::default() }
}

fn grouped(group: u16) -> PortConfig {
    PortConfig { group: Some(GroupId(group)), ..PortConfig::default() }
}

#[test]
fn isolated_ports_see_no_foreign_frame() {
    let mut net = Net::new(4);
    net.set_port(0, isolated());
    net.set_port(1, isolated());
    assert_eq!(net.ports(0, &frame(mac(1), MacAddr::BROADCAST)), [2, 3]);
    assert_eq!(net.ports(2, &frame(mac(3), MacAddr::BROADCAST)), [0, 1, 3]);
    assert_eq!(net.ports(2, &frame(mac(3), mac(99))), [3], "unknown");
    assert_eq!(net.ports(2, &frame(mac(3), mac(1))), [0]);
    net.give(1, &frame(mac(2), MacAddr::BROADCAST));
    assert_eq!(net.dropped(1, &frame(mac(2), mac(1))), Some(DropReason::ISOLATED));
    assert_eq!(net.ports(1, &frame(mac(2), mac(3))), [2]);
}

#[test]
fn groups_split_the_horizon() {
    let mut net = Net::new(5);
    for (port, group) in [(0, 1), (1, 1), (2, 2), (3, 2)] {
        net.set_port(port, grouped(group));
    }
    assert_eq!(net.ports(0, &frame(mac(1), MacAddr::BROADCAST)), [2, 3, 4]);
    assert_eq!(net.ports(4, &frame(mac(5), MacAddr::BROADCAST)), [0, 1, 2, 3]);
    assert_eq!(net.dropped(1, &frame(mac(2), mac(1))), Some(DropReason::ISOLATED));
    assert_eq!(net.ports(2, &frame(mac(3), mac(1))), [0]);
}

#[test]
fn a_port_that_goes_down_loses_what_it_learned() {
    let mut net = Net::new(3);
    net.give(0, &frame(mac(1), MacAddr::BROADCAST));
    assert_eq!(net.ports(1, &frame(mac(2), mac(1))), [0]);
    assert!(net.switch.set_link(PortId(0), false) && !net.switch.set_link(PortId(9), false));
    assert_eq!(net.switch.port_state(PortId(0)), Some(PortState::Down));
    assert_eq!(net.ports(1, &frame(mac(2), mac(1))), [2]);
    assert_eq!(net.dropped(0, &frame(mac(1), mac(2))), Some(DropReason::PORT_DOWN));
    net.switch.fdb_add(None, mac(7), PortId(0)).unwrap();
    assert_eq!(net.dropped(1, &frame(mac(2), mac(7))), Some(DropReason::PORT_DOWN));
    assert!(net.switch.set_link(PortId(0), true));
    assert_eq!(net.switch.port_state(PortId(0)), Some(PortState::Forwarding));
    assert_eq!(net.ports(1, &frame(mac(2), mac(7))), [0]);
    assert_eq!(net.switch.port_state(PortId(9)), None);
}

#[test]
fn ports_come_and_go() {
    let mut net = Net::new(3);
    net.give(0, &frame(mac(1), MacAddr::BROADCAST));
    for (port, host) in [(1, 2), (2, 3)] {
        assert_eq!(net.ports(port, &frame(mac(host), mac(1))), [0]);
    }
    assert!(net.switch.remove_port(PortId(1)));
    assert_eq!(net.ports(2, &frame(mac(3), mac(1))), [0]);
    assert_eq!(net.ports(0, &frame(mac(1), mac(2))), [2], "unknown again");
    net.switch.add_port(PortId(1), PortConfig::default()).unwrap();
    assert_eq!(net.ports(0, &frame(mac(1), mac(2))), [1, 2]);
    assert_eq!(net.ports(0, &frame(mac(1), mac(3))), [2]);
    assert_eq!(net.switch.ports().collect::<Vec<_>>(), [PortId(0), PortId(1), PortId(2)]);
    assert_eq!(net.switch.port_config(PortId(1)), Some(&PortConfig::default()));
    assert_eq!(net.switch.port_config(PortId(9)), None);
}

#[test]
fn a_flood_copies_and_the_last_port_gets_the_original() {
    let mut net = Net::new(4);
    assert_eq!(net.give(0, &frame(mac(1), MacAddr::BROADCAST)).len(), 3);
    assert_eq!((net.out.counts().made(), net.out.counts().sent()), (2, 3));
    let mut alone = Net::new(1);
    let only = frame(mac(1), MacAddr::BROADCAST);
    assert_eq!(alone.dropped(0, &only), Some(DropReason::NO_DESTINATION));
}

#[test]
fn a_copy_without_a_buffer_is_counted_at_its_egress_port() {
    let mut net = Net::new(4);
    let config = PoolConfig { small_limit: 2, large_limit: 0, ..PoolConfig::default() };
    net.out = Outbox::with_limit(Pool::new(config), 1);
    net.received = 0;
    assert_eq!(net.ports(0, &frame(mac(1), MacAddr::BROADCAST)), [1]);
    let drops = |port| {
        let counters = net.switch.counters(PortId(port)).unwrap();
        (counters.egress_frames, counters.egress_drops().collect::<Vec<_>>())
    };
    assert_eq!(drops(1), (1, vec![]));
    assert_eq!(drops(2), (0, vec![(DropReason::NO_BUFFER, 1)]));
    assert_eq!(drops(3), (0, vec![(DropReason::OUTBOX_FULL, 1)]));
}

#[test]
fn a_copy_that_a_full_outbox_refuses_had_a_buffer() {
    let mut net = Net::new(4);
    net.out = Outbox::with_limit(Pool::new(PoolConfig::default()), 1);
    net.received = 0;
    assert_eq!(net.ports(0, &frame(mac(1), MacAddr::BROADCAST)), [1]);
    for port in [2, 3] {
        let counters = net.switch.counters(PortId(port)).unwrap();
        let drops: Vec<_> = counters.egress_drops().collect();
        assert_eq!(drops, [(DropReason::OUTBOX_FULL, 1)], "port {port}");
    }
}

#[test]
fn each_frame_is_dropped_or_forwarded() {
    let storm = StormConfig {
        broadcast: Some(StormRate { frames_per_second: 2, burst: 5 }),
        ..StormConfig::default()
    };
    let guard = GuardConfig { macs: (1..20).map(mac).collect(), ..GuardConfig::default() };
    let mut net = Net::with(SwitchConfig { fdb_limit: 30, ..quiet() }, 6);
    net.set_port(0, isolated());
    net.set_port(1, PortConfig { storm, isolated: true, ..PortConfig::default() });
    net.set_port(2, PortConfig { guard, ..PortConfig::default() });
    net.set_port(3, PortConfig { vlan: VlanMode::Access(vlan(10)), ..PortConfig::default() });
    net.set_port(4, PortConfig { vlan: VlanMode::Access(vlan(20)), ..PortConfig::default() });
    net.switch.set_link(PortId(5), false);
    let (mut random, mut passed) = (1_u64, 0);
    for _ in 0..20_000 {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let [from, to, port, tag, ..] = random.to_be_bytes();
        let to = if to < 32 { MacAddr::BROADCAST } else { mac(u32::from(to % 24)) };
        let plain = frame(mac(u32::from(from % 24)), to);
        let bytes = if tag & 1 == 1 { tagged(0x8100, 10, &plain) } else { plain };
        passed += u64::from(!net.give(u16::from(port % 6), &bytes).is_empty());
        net.now += Duration::from_millis(3);
    }
    let all: Vec<_> = (0..6).map(|port| net.switch.counters(PortId(port)).unwrap()).collect();
    let sum =
        |part: fn(&PortCounters) -> u64| all.iter().map(|counters| part(counters)).sum::<u64>();
    assert_eq!(sum(|counters| counters.ingress_frames), 20_000);
    let drops = sum(|counters| counters.ingress_drops().map(|(_, count)| count).sum());
    assert_eq!(drops + passed, 20_000);
    assert_eq!(sum(|counters| counters.egress_frames), net.out.counts().sent());
    assert_eq!(drops, net.out.counts().discarded());
    let mut reasons: Vec<_> = all.iter().flat_map(|counters| counters.ingress_drops()).collect();
    reasons.sort_unstable();
    reasons.dedup_by_key(|&mut (reason, _)| reason);
    assert!(reasons.len() >= 7, "{reasons:?}");
    assert_eq!(all[5].egress_frames, 0);
}
