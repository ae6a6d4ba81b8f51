//! A switch allocates nothing for a frame, once its outbox has seen a flood.

#[path = "../../packet/tests/counting/mod.rs"]
mod counting;

use adit_engine::switch::{
    GuardConfig, IpPrefix, Mirror, MirrorDirection, MirrorFilter, PortConfig, StormConfig,
    StormRate, Switch, SwitchConfig, Trunk, VlanId, VlanMode, VlanSet,
};
use adit_engine::{Endpoint, Engine, Outbox, PortId};
use adit_packet::{Batch, Instant, Pool, PoolConfig};
use std::time::Duration;

/// Everything that looks at a frame, on.
fn busy_switch() -> Switch {
    let mirror = Mirror {
        to: PortId(9),
        ports: Vec::new(),
        direction: MirrorDirection::Both,
        filter: MirrorFilter::All,
        truncate: Some(64),
    };
    let config = SwitchConfig { mirrors: vec![mirror], ..SwitchConfig::default() };
    let mut switch = Switch::new(config).expect("all within its range");
    let rate = StormRate { frames_per_second: 1000, burst: 10 };
    for port in 0..4 {
        let ten = VlanId::new(10).expect("between 1 and 4094");
        let vlan = match port {
            0 => VlanMode::Transparent,
            1 => VlanMode::Access(ten),
            _ => VlanMode::Trunk(Trunk::new(VlanSet::all(), None)),
        };
        let config = PortConfig {
            vlan,
            guard: GuardConfig {
                addresses: vec![IpPrefix::host([192, 0, 2, 1].into())],
                arp: true,
                nd: true,
                no_dhcp_server: true,
                no_router: true,
                ..GuardConfig::default()
            },
            storm: StormConfig {
                broadcast: Some(rate),
                unknown_unicast: Some(rate),
                multicast: None,
            },
            fdb_limit: 100,
            ..PortConfig::default()
        };
        switch.add_port(PortId(port), config).expect("a new port");
    }
    switch
}

#[test]
fn frames_allocate_nothing() {
    let mut switch = busy_switch();
    let mut out = Outbox::new(Pool::new(PoolConfig::default()));
    let mut batch = Batch::new();
    let mut now = Instant::ZERO;
    let mut random = 1_u64;
    let mut before = 0;
    for round in 0..20_000 {
        if round == 10_000 {
            before = counting::allocations();
        }
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let [a, b, c, d, ..] = random.to_be_bytes();
        let mut packet = out.pool().take(64).expect("far from the limit");
        let to = if c & 3 == 0 { 0xff } else { 2 };
        packet.extend(&[to, 0xff, 0xff, 0xff, 0xff, b & 31]).expect("64 bytes");
        packet.extend(&[2, 0, 0, 0, c, a]).expect("64 bytes");
        let tag = [0x81, 0, 0, 10];
        packet.extend(if d & 1 == 0 { &tag } else { &[] }).expect("64 bytes");
        packet.extend(&[8, 0, 0x45, 0, 0, 20, 0, 0, 0, 0, 64, 17]).expect("64 bytes");
        packet.extend(&[0, 0, 192, 0, 2, 1, 192, 0, 2, 2]).expect("64 bytes");
        let from = Endpoint::Port(PortId(u16::from(d >> 6)));
        switch.handle(now, from, packet, &mut out);
        now += Duration::from_millis(1);
        if switch.next_timeout().is_some_and(|due| due <= now) {
            switch.handle_timeout(now, &mut out);
        }
        while out.next_group(&mut batch).is_some() {
            batch.give_all(out.pool());
        }
        while switch.poll_event().is_some() {}
    }
    assert_eq!(counting::allocations() - before, 0);
    assert!(out.counts().sent() > 10_000);
}
