//! The table of addresses.

use super::*;
use std::collections::BTreeMap;

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn unicast_goes_where_its_destination_was_seen() {
    let mut net = Net::new(4);
    assert_eq!(net.ports(0, &frame(mac(1), mac(2))), [1, 2, 3]);
    assert_eq!(net.ports(2, &frame(mac(2), mac(1))), [0]);
    assert_eq!(net.ports(0, &frame(mac(1), mac(2))), [2]);
    assert_eq!(net.dropped(2, &frame(mac(3), mac(2))), Some(DropReason::SAME_PORT));
    assert_eq!((net.switch.fdb_len(), net.switch.learned(PortId(2))), (3, Some(2)));
}

#[test]
fn pages_of_the_table_are_all_of_it_though_others_go_meanwhile() {
    let mut net = Net::with(SwitchConfig { fdb_limit: 20_000, ..quiet() }, 2);
    let port = PortConfig { fdb_limit: 20_000, ..PortConfig::default() };
    net.set_port(0, port);
    for number in 0..20_000u16 {
        let [high, low] = number.to_be_bytes();
        net.give(0, &frame(MacAddr([2, 0, 0, 1, high, low]), MacAddr::BROADCAST));
    }
    let stays = |mac: MacAddr| mac.0[5].is_multiple_of(2);
    let (mut seen, mut pages, mut from) = (BTreeMap::new(), 0, Some(0));
    while let Some(at) = from {
        let (page, next) = net.switch.fdb_page(at);
        let page: Vec<FdbEntry> = page.collect();
        assert!(page.len() < 2 * 4096, "{}", page.len());
        seen.extend(page.iter().map(|entry| (entry.mac, entry.port)));
        // Those that go make others move back.
        for number in (pages..20_000u16).step_by(9) {
            let [high, low] = number.to_be_bytes();
            let mac = MacAddr([2, 0, 0, 1, high, low]);
            if !stays(mac) {
                net.switch.fdb_del(None, mac);
            }
        }
        (from, pages) = (next, pages + 1);
    }
    assert!(pages >= 8, "{pages}");
    let all = (0..20_000u16).map(|number| {
        let [high, low] = number.to_be_bytes();
        MacAddr([2, 0, 0, 1, high, low])
    });
    for mac in all.filter(|&mac| stays(mac)) {
        assert_eq!(seen.get(&mac), Some(&PortId(0)), "{mac}");
    }
    assert_eq!(net.switch.fdb_page(usize::MAX).1, None);
}

#[test]
fn the_zero_address_is_never_known() {
    let mut net = Net::with(quiet(), 3);
    net.now = Instant::ZERO;
    assert_eq!(net.ports(1, &frame(mac(1), MacAddr::default())), [0, 2]);
    assert!(!net.switch.fdb_del(None, MacAddr::default()));
    assert_eq!(net.switch.fdb_len(), 1);
}

#[test]
fn an_address_ages_unless_it_is_heard() {
    let mut net = Net::new(3);
    net.give(0, &frame(mac(1), MacAddr::BROADCAST));
    net.give(1, &frame(mac(2), mac(1)));
    for _ in 0..400 {
        net.pass(SECOND);
        net.give(1, &frame(mac(2), mac(9)));
    }
    assert_eq!(net.port_of(0, mac(1)), None);
    assert_eq!(net.port_of(0, mac(2)), Some(1));
    assert_eq!(net.switch.fdb_len(), 1, "it was swept out");
    assert_eq!(net.ports(1, &frame(mac(2), mac(1))), [0, 2]);
}

#[test]
fn an_aged_address_is_unknown_before_it_is_swept_out() {
    let mut net = Net::new(3);
    net.give(0, &frame(mac(1), MacAddr::BROADCAST));
    let exchange = frame(mac(2), mac(1));
    assert_eq!(net.ports(1, &exchange), [0]);
    assert_eq!(net.ports(1, &exchange), [0]);
    net.now += Duration::from_secs(300);
    assert_eq!(net.ports(1, &exchange), [0, 2]);
    assert_eq!(net.switch.fdb().count(), 1);
}

#[test]
fn a_host_that_moves_is_followed() {
    let mut net = Net::new(3);
    net.give(0, &frame(mac(1), MacAddr::BROADCAST));
    assert_eq!(net.ports(2, &frame(mac(2), mac(1))), [0]);
    net.give(1, &frame(mac(1), MacAddr::BROADCAST));
    assert_eq!(net.ports(2, &frame(mac(2), mac(1))), [1]);
    let moved = SwitchEvent::MacMoved { vlan: None, mac: mac(1), from: PortId(0), to: PortId(1) };
    assert_eq!(net.events(), [moved]);
    assert_eq!((net.switch.learned(PortId(0)), net.switch.learned(PortId(1))), (Some(0), Some(1)));
}

#[test]
fn an_address_that_moves_too_often_stays_at_home() {
    let mut net = Net::new(3);
    net.give(0, &frame(mac(1), MacAddr::BROADCAST));
    net.pass(SECOND * 40);
    for _ in 0..10 {
        net.give(1, &frame(mac(1), MacAddr::BROADCAST));
        net.give(0, &frame(mac(1), MacAddr::BROADCAST));
    }
    net.give(1, &frame(mac(1), MacAddr::BROADCAST));
    assert_eq!(net.port_of(0, mac(1)), Some(0));
    assert_eq!(net.events().len(), 1, "told once a second");
    net.pass(SECOND);
    net.give(1, &frame(mac(1), MacAddr::BROADCAST));
    assert_eq!(net.port_of(0, mac(1)), Some(1), "a second later it may move again");
}

#[test]
fn an_address_is_at_home_where_it_was_for_a_while() {
    for (stay, home) in [(2, 0), (32, 1)] {
        let mut net = Net::new(3);
        net.give(0, &frame(mac(1), MacAddr::BROADCAST));
        net.pass(SECOND * 40);
        for _ in 0..stay {
            net.give(1, &frame(mac(1), MacAddr::BROADCAST));
            net.pass(SECOND);
        }
        for _ in 0..10 {
            net.give(2, &frame(mac(1), MacAddr::BROADCAST));
            net.give(1, &frame(mac(1), MacAddr::BROADCAST));
        }
        net.give(2, &frame(mac(1), MacAddr::BROADCAST));
        assert_eq!(net.port_of(0, mac(1)), Some(home), "after {stay} s");
    }
}

#[test]
fn an_address_that_shows_again_after_long_has_not_moved() {
    let mut net = Net::new(2);
    net.give(0, &frame(mac(1), MacAddr::BROADCAST));
    net.now += SECOND * 300;
    net.give(1, &frame(mac(1), MacAddr::BROADCAST));
    assert_eq!((net.port_of(0, mac(1)), net.events().len()), (Some(1), 0));
    assert_eq!(net.switch.learned(PortId(0)), Some(0));
}

#[test]
fn static_and_sticky_addresses_do_not_move_and_are_nobody_elses() {
    let mut net = Net::new(3);
    net.set_port(1, PortConfig { sticky: true, ..PortConfig::default() });
    net.switch.fdb_add(None, mac(1), PortId(0)).unwrap();
    net.give(1, &frame(mac(2), MacAddr::BROADCAST));
    net.pass(Duration::from_secs(1000));
    for (owner, address) in [(0, mac(1)), (1, mac(2))] {
        let theft = frame(address, MacAddr::BROADCAST);
        assert_eq!(net.dropped(2, &theft), Some(DropReason::MAC_GUARD));
        assert_eq!(net.port_of(0, address), Some(owner));
    }
    let refused =
        SwitchEvent::MacRefused { vlan: None, mac: mac(1), owner: PortId(0), port: PortId(2) };
    assert_eq!(net.events(), [refused]);
    assert!(net.switch.set_link(PortId(1), false));
    assert_eq!(net.port_of(0, mac(2)), None);
    assert!(net.switch.set_link(PortId(0), false));
    assert_eq!(net.port_of(0, mac(1)), Some(0));
    assert!(net.switch.remove_port(PortId(0)));
    assert_eq!(net.switch.fdb_len(), 0);
}

#[test]
fn a_sticky_port_cannot_take_what_another_port_has() {
    let mut net = Net::new(3);
    net.set_port(1, PortConfig { sticky: true, ..PortConfig::default() });
    net.give(0, &frame(mac(1), MacAddr::BROADCAST));
    net.give(1, &frame(mac(1), MacAddr::BROADCAST));
    assert_eq!(net.dropped(0, &frame(mac(1), MacAddr::BROADCAST)), None);
    assert_eq!(net.port_of(0, mac(1)), Some(0));
    let kind = |net: &Net| net.switch.fdb().next().map(|entry| (entry.port, entry.kind));
    net.give(1, &frame(mac(1), MacAddr::BROADCAST));
    net.pass(SECOND * 31);
    net.give(1, &frame(mac(1), MacAddr::BROADCAST));
    assert_eq!(kind(&net), Some((PortId(1), FdbKind::Dynamic)), "two frames are no proof");
    for _ in 0..31 {
        net.pass(SECOND);
        net.give(1, &frame(mac(1), MacAddr::BROADCAST));
    }
    assert_eq!(kind(&net), Some((PortId(1), FdbKind::Sticky)), "the host is there now");
}

#[test]
fn addresses_are_added_and_taken_out_by_hand() {
    let mut net = Net::new(2);
    let ten = Some(vlan(10));
    assert_eq!(net.switch.fdb_add(None, mac(1), PortId(9)), Err(ConfigError::NoPort(PortId(9))));
    let group = MacAddr::BROADCAST;
    assert_eq!(net.switch.fdb_add(None, group, PortId(0)), Err(ConfigError::NotAStation));
    net.give(0, &frame(mac(1), MacAddr::BROADCAST));
    net.give(0, &tagged(0x8100, 10, &frame(mac(1), MacAddr::BROADCAST)));
    net.give(0, &tagged(0x8100, 11, &frame(mac(1), MacAddr::BROADCAST)));
    net.switch.fdb_add(ten, mac(1), PortId(1)).unwrap();
    assert_eq!(net.switch.learned(PortId(0)), Some(2));
    assert_eq!(net.port_of(10, mac(1)), Some(1));
    assert!(net.switch.fdb_del(None, mac(1)) && !net.switch.fdb_del(None, mac(1)));
    let flush = FdbFlush { vlan: Some(vlan(11)), ..FdbFlush::default() };
    assert_eq!((net.switch.fdb_flush(flush), net.switch.fdb_len()), (1, 1));
    assert_eq!(net.switch.fdb_flush(FdbFlush::default()), 0);
    assert_eq!(net.switch.fdb_flush(FdbFlush { with_static: true, ..FdbFlush::default() }), 1);
    assert_eq!((net.switch.fdb_len(), net.switch.learned(PortId(0))), (0, Some(0)));
}

#[test]
fn a_million_sources_neither_fill_nor_empty_the_table() {
    let mut net = Net::with(SwitchConfig { fdb_limit: 2000, ..quiet() }, 4);
    let hosts = [(0_u16, mac(1)), (1, mac(2))];
    for (port, address) in hosts {
        net.give(port, &frame(address, MacAddr::BROADCAST));
    }
    let mut random = 1_u64;
    for round in 0..1_000_000_u32 {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let [a, b, c, d, e, ..] = random.to_be_bytes();
        // One port alone first, then two.
        let port = 2 + u16::from(round > 500_000 && e & 1 == 1);
        let mut packet = net.out.pool().take(60).unwrap();
        packet.extend(&frame(MacAddr([6, a, b, c, d, e]), mac(1))).unwrap();
        net.received += 1;
        net.switch.handle(net.now, Endpoint::Port(PortId(port)), packet, &mut net.out);
        net.now += Duration::from_micros(10);
        if round % 1000 == 0 {
            assert!(net.take().iter().all(|sent| sent.port == 0));
            assert!(net.switch.fdb_len() <= 2000 && net.switch.learned(PortId(2)) <= Some(1024));
            for ((port, from), (to, destination)) in [(hosts[0], hosts[1]), (hosts[1], hosts[0])] {
                assert_eq!(net.ports(port, &frame(from, destination)), [to], "round {round}");
            }
        }
    }
    net.take();
    let events = net.events();
    assert!(events.contains(&SwitchEvent::PortLimit { port: PortId(2), limit: 1024 }));
    assert!(events.contains(&SwitchEvent::TableFull));
    assert!(events.len() < 40, "in ten seconds, told once a second");
}

/// The switch is a map from (VLAN, address) to a port, as long as nothing is limited.
#[test]
fn the_table_is_a_map() {
    let config = SwitchConfig { fdb_limit: 64, moves_per_second: 255, ..quiet() };
    let mut net = Net::with(config, 5);
    let mut model = BTreeMap::new();
    let mut random = 3_u64;
    for round in 0..100_000 {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let [what, host, number, port, ..] = random.to_be_bytes();
        let (port, number) = (u16::from(port % 5), u16::from(number % 3));
        let address = mac(u32::from(host % 40));
        let key = (number, address);
        net.now += Duration::from_millis(100);
        match what % 16 {
            0 => assert_eq!(
                net.switch.fdb_del(VlanId::new(number), address),
                model.remove(&key).is_some()
            ),
            1 if what > 240 => {
                let which = FdbFlush { port: Some(PortId(port)), ..FdbFlush::default() };
                net.switch.fdb_flush(which);
                model.retain(|_, &mut at| at != port);
            }
            _ => {
                let plain = frame(address, MacAddr::BROADCAST);
                let bytes = if number == 0 { plain } else { tagged(0x8100, number, &plain) };
                assert_eq!(net.give(port, &bytes).len(), 4);
                if model.len() < 64 || model.contains_key(&key) {
                    model.insert(key, port);
                }
            }
        }
        assert_eq!(net.switch.fdb_len(), model.len(), "round {round}");
        if round % 64 == 0 {
            let table = net.switch.fdb();
            let table = table
                .map(|entry| ((entry.vlan.map_or(0, VlanId::number), entry.mac), entry.port.0));
            assert_eq!(table.collect::<BTreeMap<_, _>>(), model, "round {round}");
            for port in 0..5 {
                let count = model.values().filter(|&&at| at == port).count();
                assert_eq!(net.switch.learned(PortId(port)), Some(count));
            }
        }
    }
}

#[test]
fn a_large_table_is_swept_in_steps() {
    let mut net = Net::with(SwitchConfig { fdb_limit: 100_000, ..quiet() }, 2);
    net.set_port(0, PortConfig { fdb_limit: 50_000, ..PortConfig::default() });
    for host in 1..=50_000 {
        net.give(0, &frame(mac(host), MacAddr::BROADCAST));
    }
    assert_eq!(net.switch.fdb_len(), 50_000);
    let mut lens = vec![net.switch.fdb_len()];
    let end = net.now + Duration::from_secs(340);
    while let Some(due) = net.switch.next_timeout().filter(|&due| due < end) {
        net.now = due;
        net.run();
        lens.push(net.switch.fdb_len());
    }
    assert_eq!(net.switch.fdb_len(), 0);
    let most = lens.windows(2).map(|pair| pair[0] - pair[1]).max();
    assert!(most < Some(4096), "{most:?} at once");
    assert_eq!(net.switch.next_timeout(), None, "an empty table waits for nothing");
}
