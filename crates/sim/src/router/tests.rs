use super::*;
use crate::{HostConfig, HostId, Sim};
use adit_engine::netem::Profile;
use core::time::Duration;
use std::vec;
use std::vec::Vec;

fn prefix(text: &str) -> IpPrefix {
    text.parse().unwrap()
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// Interfaces with these addresses, each a list separated by spaces, and routes `to via`.
fn router(number: u8, interfaces: &[&str], routes: &[(&str, &str, usize)]) -> RouterConfig {
    let interface = |(at, addresses): (usize, &&str)| RouterInterface {
        mac: Some(MacAddr([2, 0, 0, 0xff, number, u8::try_from(at).unwrap()])),
        mtu: 1500,
        addresses: addresses.split(' ').map(prefix).collect(),
    };
    let route = |&(to, via, interface): &(&str, &str, usize)| RouterRoute {
        to: prefix(to),
        via: Some(ip(via)),
        interface,
        metric: 0,
    };
    RouterConfig {
        interfaces: interfaces.iter().enumerate().map(interface).collect(),
        routes: routes.iter().map(route).collect(),
        own: Vec::new(),
        sockets: Vec::new(),
        forward: true,
    }
}

fn host(address: &str, gateway: &str) -> HostConfig {
    HostConfig { gateway: Some(ip(gateway)), ..HostConfig::new(address) }
}

/// `a - r1 - r2 - b`, both families; `r1` has a stack of its own.
fn chain(seed: u64) -> (Sim, [HostId; 4], HostId) {
    let mut sim = Sim::new(seed);
    let r1 = Router::new(router(
        1,
        &["10.0.1.1/24 fd00:1::1/64", "10.0.2.1/24 fd00:2::1/64"],
        &[
            ("10.0.3.0/24", "10.0.2.2", 1),
            ("fd00:3::/64", "fd00:2::2", 1),
            ("10.9.0.0/16", "10.0.2.9", 1),
        ],
    ));
    let r2 = Router::new(router(
        2,
        &["10.0.2.2/24 fd00:2::2/64", "10.0.3.1/24 fd00:3::1/64"],
        &[("10.0.1.0/24", "10.0.2.1", 0), ("fd00:1::/64", "fd00:2::1", 0)],
    ));
    let local = r1.local();
    let (r1, r2) = (sim.engine("r1", r1), sim.engine("r2", r2));
    let hosts = [
        sim.host("a", host("10.0.1.2/24", "10.0.1.1")),
        sim.host("b", host("10.0.3.2/24", "10.0.3.1")),
        sim.host("a6", host("fd00:1::2/64", "fd00:1::1")),
        sim.host("b6", host("fd00:3::2/64", "fd00:3::1")),
    ];
    let mut stack = HostConfig::new("10.0.1.1/24").without_ethernet();
    let more = ["10.0.2.1/24", "fd00:1::1/64", "fd00:2::1/64"].map(prefix);
    stack.addresses.extend(more.map(|address| (address.ip(), address.len())));
    let stack = sim.host("r1-stack", stack);
    let lan = |sim: &mut Sim, name: &str| sim.engine(name, adit_engine::Hub::new(3));
    let (left, right) = (lan(&mut sim, "left"), lan(&mut sim, "right"));
    sim.wire(hosts[0], left.port(0));
    sim.wire(hosts[2], left.port(1));
    sim.wire(left.port(2), r1.port(0));
    sim.wire(hosts[1], right.port(0));
    sim.wire(hosts[3], right.port(1));
    sim.wire(right.port(2), r2.port(1));
    sim.wire_through(r1.port(1), r2.port(0), [&Profile::default(), &Profile::default()]);
    sim.wire(stack, r1.port(local.0));
    (sim, hosts, stack)
}

#[test]
fn packets_cross_routers_and_each_hop_is_seen() {
    let (mut sim, [a, b, a6, b6], stack) = chain(1);
    let pings = [
        sim.ping(a, ip("10.0.3.2")),
        sim.ping(b, ip("10.0.1.2")),
        sim.ping(a6, ip("fd00:3::2")),
        sim.ping(b6, ip("fd00:1::2")),
        // The router itself answers, on each of its addresses, and asks.
        sim.ping(a, ip("10.0.2.1")),
        sim.ping(b6, ip("fd00:1::1")),
        sim.ping(stack, ip("10.0.3.2")),
        sim.ping(stack, ip("fd00:3::2")),
        sim.ping(stack, ip("10.0.2.1")),
    ];
    let hops = [sim.hops(a, ip("10.0.3.2"), 4), sim.hops(a6, ip("fd00:3::2"), 4)];
    let local = sim.hops(stack, ip("10.0.3.2"), 2);
    sim.run_for(Duration::from_secs(3));
    let answered: Vec<bool> = pings.iter().map(|&ping| sim.rtt(ping).is_some()).collect();
    assert_eq!(answered, [true; 9], "{}", sim.trace());
    let seen = |list: &[&str]| list.iter().map(|text| Some(ip(text))).collect::<Vec<_>>();
    assert_eq!(sim.hops_seen(hops[0]), seen(&["10.0.1.1", "10.0.2.2", "10.0.3.2", "10.0.3.2"]));
    assert_eq!(sim.hops_seen(hops[1]), seen(&["fd00:1::1", "fd00:2::2", "fd00:3::2", "fd00:3::2"]));
    assert_eq!(sim.hops_seen(local), seen(&["10.0.2.2", "10.0.3.2"]));
}

#[test]
fn what_cannot_be_forwarded_is_reported() {
    let (mut sim, [a, ..], _) = chain(2);
    // No route at r2; no neighbour 10.0.2.9 at r1.
    let hops = [sim.hops(a, ip("10.8.0.1"), 1), sim.hops(a, ip("10.9.0.1"), 2)];
    sim.run_for(Duration::from_secs(1));
    assert_eq!(sim.hops_seen(hops[1])[0], Some(ip("10.0.1.1")), "its hop limit ends here");
    assert_eq!(sim.hops_seen(hops[1])[1], None, "the neighbour is still asked");
    sim.run_for(Duration::from_secs(5));
    assert_eq!(sim.hops_seen(hops[1])[1], Some(ip("10.0.1.1")));
    let losses = sim.losses();
    assert_eq!(losses.get(&NO_NEIGHBOUR), Some(&1), "{losses:?}");
    assert_eq!(losses.get(&HOP_LIMIT), Some(&2), "{losses:?}");

    let mut sim = Sim::new(3);
    let config = router(1, &["10.0.1.1/24", "10.0.2.1/24"], &[]);
    let r = sim.engine("r", Router::new(config));
    let a = sim.host("a", host("10.0.1.2/24", "10.0.1.1"));
    sim.wire(a, r.port(0));
    let hops = sim.hops(a, ip("10.8.0.1"), 2);
    sim.run_for(Duration::from_secs(1));
    assert_eq!(sim.hops_seen(hops), vec![Some(ip("10.0.1.1")); 2]);
    assert_eq!(sim.losses().get(&NO_ROUTE), Some(&1));
}

#[test]
fn packets_that_are_too_long_are_refused_with_the_mtu() {
    let mut sim = Sim::new(4);
    let mut config = router(1, &["10.0.1.1/24", "10.0.2.1/24"], &[]);
    config.interfaces[1].mtu = 1000;
    let r = sim.engine("r", Router::new(config));
    let a = sim.host("a", host("10.0.1.2/24", "10.0.1.1"));
    sim.wire(a, r.port(0));
    let socket = sim.udp_bind(a, 5000);
    assert!(sim.udp_send(socket, "10.0.2.2:9".parse().unwrap(), &[0; 1200]));
    sim.run_for(Duration::from_secs(1));
    assert_eq!(sim.losses().get(&DropReason::TOO_BIG), Some(&1), "{}", sim.trace());
    // Type 3, code 4: the error has 576 bytes, and a frame's header.
    assert!(sim.trace().lines().any(|line| line.contains("r:0 > a:0 590")), "{}", sim.trace());
}

#[test]
fn frames_of_any_bytes_are_harmless() {
    crate::for_each_seed(50, |seed| {
        let mut sim = Sim::new(seed);
        let r = sim
            .engine("r", Router::new(router(1, &["10.0.1.1/24 fd00:1::1/64", "10.0.2.1/24"], &[])));
        let (probe, other) = (sim.probe("probe"), sim.probe("other"));
        sim.wire(probe, r.port(0));
        sim.wire(other, r.port(1));
        for _ in 0..200 {
            let len = sim.random().below(120);
            let mut frame = vec![0; len];
            sim.random().fill(&mut frame);
            if sim.random().chance(90) && len > 34 {
                frame[..6].copy_from_slice(&[2, 0, 0, 0xff, 1, 0]);
                let (kind, first) =
                    sim.random().pick(&[(0x0800u16, 0x45), (0x86dd, 0x60), (0x0806, 0)]);
                frame[12..14].copy_from_slice(&kind.to_be_bytes());
                frame[14] = first;
                let header = Ipv4::parse(&frame[14..]).is_ok();
                if header && sim.random().chance(50) {
                    frame[30..34].copy_from_slice(&[10, 0, 2, 9]);
                }
            }
            sim.send(probe, &frame, adit_packet::Meta::default());
        }
        // Each step checks that no packet is lost uncounted.
        sim.run_for(Duration::from_secs(10));
    });
}
