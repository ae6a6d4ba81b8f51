//! Nodes with a routing daemon, and which of them share a network.

use crate::model::Routing;
use crate::plan::Plan;
use adit_packet::IpPrefix;
use std::net::{IpAddr, Ipv4Addr};

/// Seconds between hellos; both daemons must have the same.
pub(super) const HELLO_SECS: u32 = 1;

/// Seconds without a hello after which a neighbour is gone, for links that fail without losing carrier.
pub(super) const DEAD_SECS: u32 = 4;

/// The most equal paths to a destination.
pub(super) const PATHS_MAX: u32 = 16;

/// The first number of an autonomous system: private ones of 32 bits (RFC 6996).
const AS_FIRST: u32 = 4_200_000_001;

/// The largest cost of an interface in OSPF.
const COST_MAX: u32 = 65_535;

/// A node with a routing daemon.
#[derive(Debug)]
pub(super) struct Speaker {
    /// The node, by its place in the lab.
    pub(super) node: usize,
    /// Its name.
    pub(super) name: String,
    pub(super) routing: Routing,
    /// Unique in the lab.
    pub(super) router_id: Ipv4Addr,
    /// Its autonomous system.
    pub(super) system: u32,
    pub(super) interfaces: Vec<Attached>,
    /// Whether it has a default route of its own, for each family.
    pub(super) has_default: [bool; 2],
}

/// An interface of a speaker.
#[derive(Debug)]
pub(super) struct Attached {
    pub(super) name: String,
    pub(super) addresses: Vec<IpPrefix>,
    pub(super) cost: u32,
    /// Whether there is only one other interface in its network.
    pub(super) is_point_to_point: bool,
}

/// A speaker of the same protocol in a network of an interface.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Peer {
    pub(super) name: String,
    /// The interface of ours, by its place.
    pub(super) interface: usize,
    pub(super) system: u32,
    /// Our address and its address, of one family.
    pub(super) addresses: (IpAddr, IpAddr),
}

/// All speakers of a plan.
pub(super) fn all(plan: &Plan) -> Vec<Speaker> {
    let mut sizes = std::collections::BTreeMap::<IpPrefix, usize>::new();
    for interface in plan.stations.iter().flat_map(|station| &station.interfaces) {
        for address in &interface.addresses {
            *sizes.entry(address.network()).or_default() += 1;
        }
    }
    let mut speakers = Vec::new();
    for station in &plan.stations {
        let node = &plan.lab.nodes[station.node];
        let Some(host) = node.as_host() else { continue };
        if matches!(host.routing, Routing::Static | Routing::None) {
            continue;
        }
        let interfaces = station.interfaces.iter().map(|interface| Attached {
            name: interface.name.to_string(),
            addresses: interface.addresses.clone(),
            cost: plan.lab.links[interface.link.0].cost.clamp(1, COST_MAX),
            is_point_to_point: !interface.addresses.is_empty()
                && interface.addresses.iter().all(|address| sizes[&address.network()] == 2),
        });
        let interfaces: Vec<Attached> = interfaces.collect();
        let lo = station.loopback.iter();
        let own = lo.chain(interfaces.iter().flat_map(|interface| &interface.addresses));
        let own = own.map(|prefix| prefix.ip());
        let own = own.filter_map(|ip| if let IpAddr::V4(ip) = ip { Some(ip) } else { None }).next();
        let number = u32::try_from(station.node).unwrap_or(u32::MAX);
        let has_default = |is_v4| {
            let mut routes = station.routes.iter().map(|route| route.to);
            routes.any(|to| to.len() == 0 && to.ip().is_ipv4() == is_v4)
        };
        speakers.push(Speaker {
            node: station.node,
            name: node.name.to_string(),
            routing: host.routing,
            router_id: own.unwrap_or(Ipv4Addr::from(number.saturating_add(1))),
            system: AS_FIRST.saturating_add(number),
            interfaces,
            has_default: [has_default(true), has_default(false)],
        });
    }
    speakers
}

impl Speaker {
    /// The speakers of the same protocol in the networks of its interfaces: one for each pair of addresses.
    pub(super) fn peers(&self, all: &[Self]) -> Vec<Peer> {
        let is_bgp = |routing| matches!(routing, Routing::BirdBgp | Routing::FrrBgp);
        let others = all.iter().filter(|other| {
            other.node != self.node && is_bgp(other.routing) == is_bgp(self.routing)
        });
        let mut peers = Vec::new();
        for other in others {
            for (at, interface) in self.interfaces.iter().enumerate() {
                for ours in &interface.addresses {
                    let theirs = other.interfaces.iter().flat_map(|interface| &interface.addresses);
                    let shared = theirs.filter(|theirs| theirs.network() == ours.network());
                    peers.extend(shared.map(|theirs| Peer {
                        name: other.name.clone(),
                        interface: at,
                        system: other.system,
                        addresses: (ours.ip(), theirs.ip()),
                    }));
                }
            }
        }
        peers
    }
}
