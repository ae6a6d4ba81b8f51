//! Limits for what is flooded.

use super::*;

#[test]
fn each_kind_has_its_own_limit() {
    let rate = StormRate { frames_per_second: 10, burst: 3 };
    let kinds = [
        (StormKind::Broadcast, MacAddr::BROADCAST),
        (StormKind::Multicast, MacAddr([0x33, 0x33, 0, 0, 0, 1])),
        (StormKind::UnknownUnicast, mac(99)),
    ];
    for (kind, to) in kinds {
        let mut net = Net::new(3);
        net.give(1, &frame(mac(2), MacAddr::BROADCAST));
        let mut storm = StormConfig::default();
        *match kind {
            StormKind::Broadcast => &mut storm.broadcast,
            StormKind::Multicast => &mut storm.multicast,
            StormKind::UnknownUnicast => &mut storm.unknown_unicast,
        } = Some(rate);
        net.set_port(0, PortConfig { storm, ..PortConfig::default() });
        let passed = (0..100).filter(|_| !net.give(0, &frame(mac(1), to)).is_empty()).count();
        assert_eq!(passed, 3, "{kind}");
        let port = PortId(0);
        assert_eq!(net.events(), [SwitchEvent::Storm { port, kind }]);
        let drops: Vec<_> = net.switch.counters(port).unwrap().ingress_drops().collect();
        assert_eq!(drops, [(DropReason::STORM, 97)]);
        for (_, other) in kinds.into_iter().filter(|&(other, _)| other != kind) {
            assert_eq!(net.ports(0, &frame(mac(1), other)), [1, 2], "{kind} alone is limited");
        }
        assert_eq!(net.ports(0, &frame(mac(1), mac(2))), [1], "known unicast goes on");
        assert_eq!(net.ports(1, &frame(mac(2), to)), [0, 2], "other ports go on");
        net.pass(Duration::from_millis(100));
        assert_eq!(net.ports(0, &frame(mac(1), to)), [1, 2]);
    }
}

#[test]
fn a_limit_stays_as_it_is_when_something_else_changes() {
    let mut net = Net::new(2);
    let rate = StormRate { frames_per_second: 1, burst: 1 };
    let storm = StormConfig { broadcast: Some(rate), ..StormConfig::default() };
    net.set_port(0, PortConfig { storm, ..PortConfig::default() });
    let broadcast = frame(mac(1), MacAddr::BROADCAST);
    assert_eq!(net.ports(0, &broadcast), [1]);
    net.set_port(0, PortConfig { storm, fdb_limit: 5, ..PortConfig::default() });
    assert_eq!(net.dropped(0, &broadcast), Some(DropReason::STORM));
}
