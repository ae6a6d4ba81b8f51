use super::{Plan, Station};
use crate::model::{Kind, Lab, Link, Node, NodeName};
use proptest::prelude::{Strategy, any, prop, proptest};
use proptest::prop_assert;
use std::collections::{HashMap, HashSet};
use std::net::IpAddr;

fn name(text: &str) -> NodeName {
    text.parse().unwrap()
}

fn link(lab: &mut Lab, a: &str, b: &str, cost: u32) {
    let text = format!("{a}-{b}-{}", lab.links.len());
    let mut link = Link::new(text.parse().unwrap(), name(a), name(b));
    link.cost = cost;
    lab.links.push(link);
}

/// The stations that are neighbours at each interface, by the address that they have there.
fn neighbours(plan: &Plan) -> HashMap<(usize, IpAddr), usize> {
    let mut found = HashMap::new();
    for (number, station) in plan.stations.iter().enumerate() {
        for interface in &station.interfaces {
            for address in &interface.addresses {
                found.insert((number, address.ip()), number);
            }
        }
    }
    found
}

/// The best route of a station to an address: the longest prefix, connected networks included.
enum Next {
    Here,
    Connected,
    Via(IpAddr),
    Nowhere,
}

fn next(station: &Station, to: IpAddr) -> Next {
    let all = station.interfaces.iter().flat_map(|interface| &interface.addresses);
    if all.clone().chain(&station.loopback).any(|own| own.ip() == to) {
        return Next::Here;
    }
    let connected = all.filter(|own| own.contains(to)).map(|own| (own.len(), None));
    let routes = station.routes.iter().filter(|route| route.to.contains(to));
    let best = connected.chain(routes.map(|route| (route.to.len(), route.via)));
    match best.max_by_key(|(len, via)| (*len, via.is_none())) {
        Some((_, None)) => Next::Connected,
        Some((_, Some(via))) => Next::Via(via),
        None => Next::Nowhere,
    }
}

/// Walks the tables from one station to an address; `Err` says where the way ends.
fn walk(plan: &Plan, from: usize, to: IpAddr) -> Result<usize, String> {
    let owner: HashMap<IpAddr, usize> =
        neighbours(plan).into_iter().map(|((station, ip), _)| (ip, station)).collect();
    let mut at = from;
    for hops in 0..=plan.stations.len() {
        let host = plan.lab.nodes[plan.stations[at].node].as_host().unwrap();
        assert!(at == from || host.forward || matches!(next(&plan.stations[at], to), Next::Here));
        match next(&plan.stations[at], to) {
            Next::Here => return Ok(hops),
            Next::Connected => at = owner[&to],
            Next::Via(via) => at = owner[&via],
            Next::Nowhere => return Err(format!("station {at} has no route to {to}")),
        }
    }
    Err(format!("a circle on the way from {from} to {to}"))
}

/// A lab in which every host has a link to one of the routers, directly or over a switch, and the routers are a tree
/// with more links.
fn labs() -> impl Strategy<Value = Lab> {
    let routers = 1..8_usize;
    routers
        .prop_flat_map(|routers| {
            let tree = prop::collection::vec((any::<prop::sample::Index>(), 1..5_u32), routers);
            let more = prop::collection::vec((0..routers, 0..routers, 1..5_u32), 0..6);
            let hosts = prop::collection::vec((0..routers, any::<bool>()), 1..8);
            (tree, more, hosts)
        })
        .prop_map(|(tree, more, hosts)| {
            let mut lab = Lab::default();
            for (router, (parent, cost)) in tree.iter().enumerate() {
                lab.nodes.push(Node::router(name(&format!("r{router}"))));
                lab.nodes.push(Node::switch(name(&format!("s{router}"))));
                link(&mut lab, &format!("r{router}"), &format!("s{router}"), 1);
                if router > 0 {
                    let parent = format!("r{}", parent.index(router));
                    link(&mut lab, &format!("r{router}"), &parent, *cost);
                }
            }
            for (a, b, cost) in more.into_iter().filter(|(a, b, _)| a != b) {
                link(&mut lab, &format!("r{a}"), &format!("r{b}"), cost);
            }
            for (number, (router, by_switch)) in hosts.into_iter().enumerate() {
                let host = format!("h{number}");
                lab.nodes.push(Node::host(name(&host)));
                let kind = if by_switch { 's' } else { 'r' };
                link(&mut lab, &host, &format!("{kind}{router}"), 1);
            }
            lab
        })
}

proptest! {
    #[test]
    fn routes_lead_from_every_node_to_every_address(lab in labs(), nat in any::<bool>()) {
        let mut lab = lab;
        if nat {
            lab.nodes.push(Node { name: name("out"), kind: Kind::Nat(Box::default()) });
            link(&mut lab, "r0", "out", 1);
        }
        let plan = Plan::with_seed(lab, 1).unwrap();
        for from in 0..plan.stations.len() {
            for station in &plan.stations {
                for address in station.interfaces.iter().flat_map(|of| &of.addresses) {
                    let walked = walk(&plan, from, address.ip());
                    prop_assert!(walked.is_ok(), "{:?}", walked);
                }
            }
        }
    }

    #[test]
    fn what_is_filled_in_is_different_for_each(lab in labs(), seed in any::<u64>()) {
        let plan = Plan::with_seed(lab, seed).unwrap();
        let (mut macs, mut ips, mut names) = (HashSet::new(), HashSet::new(), HashSet::new());
        for (number, station) in plan.stations.iter().enumerate() {
            for interface in &station.interfaces {
                prop_assert!(macs.insert(interface.mac.0));
                prop_assert!(interface.mac.0[0] & 3 == 2, "locally administered, no group");
                prop_assert!(names.insert((number, interface.name)));
                for address in &interface.addresses {
                    prop_assert!(ips.insert(address.ip()));
                }
                prop_assert!(interface.addresses.len() == 2, "one of each family");
            }
        }
        for cable in &plan.cables {
            prop_assert!(cable.seed < Lab::SEED_LIMIT);
        }
    }
}
