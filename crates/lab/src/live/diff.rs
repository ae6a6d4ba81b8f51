//! What differs between two plans: what a start makes (from nothing), and what a change touches.

use crate::keeper::{InterfaceSpec, RouteSpec};
use adit_engine::switch::SwitchConfig;
use adit_topology::model::{End, Host, Kind, Link, LinkName, Node, NodeName};
use adit_topology::plan::{Cable, Plan, Station};
use std::collections::{BTreeSet, HashMap};

/// What differs, by names and by places in the new plan.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Diff {
    /// Links that are taken away, also those that are made again.
    pub(super) gone_links: Vec<LinkName>,
    /// Those of them that are made again with the same interfaces.
    pub(super) remade_links: BTreeSet<LinkName>,
    /// Nodes that are taken away, also those that are made again.
    pub(super) gone_nodes: Vec<NodeName>,
    /// Nodes that are made.
    pub(super) new_nodes: Vec<usize>,
    /// Links that are made.
    pub(super) new_links: Vec<usize>,
    /// Switches with other settings.
    pub(super) switches: Vec<usize>,
    /// Links with other properties, and ports of switches with other settings.
    pub(super) links: Vec<usize>,
    /// Hosts that stay, of which something differs.
    pub(super) hosts: Vec<HostDiff>,
}

/// What differs of a host that stays.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct HostDiff {
    /// The station in the new plan.
    pub(super) station: usize,
    /// Its files or names.
    pub(super) private: bool,
    /// Its settings of the kernel.
    pub(super) sysctls: bool,
    /// Its interfaces, by their places, with other addresses or another MTU.
    pub(super) interfaces: Vec<usize>,
    /// Addresses of `lo`.
    pub(super) loopback: bool,
    /// Its routes, or interfaces that they use.
    pub(super) routes: bool,
    /// Its programs.
    pub(super) programs: bool,
    /// Whose address its packets get.
    pub(super) masquerade: bool,
}

/// A plan with its parts by name.
struct Index<'a> {
    plan: &'a Plan,
    nodes: HashMap<&'a NodeName, usize>,
    links: HashMap<&'a LinkName, usize>,
    stations: HashMap<usize, usize>,
    /// The interface at an end of a link: its station, and its place there.
    interfaces: HashMap<(usize, usize), (usize, usize)>,
}

impl<'a> Index<'a> {
    fn new(plan: &'a Plan) -> Self {
        let stations = plan.stations.iter().enumerate();
        let interfaces = stations.clone().flat_map(|(at, station)| {
            let all = station.interfaces.iter().enumerate();
            all.map(move |(place, interface)| (interface.link, (at, place)))
        });
        Self {
            plan,
            nodes: plan.lab.nodes.iter().enumerate().map(|(at, node)| (&node.name, at)).collect(),
            links: plan.lab.links.iter().enumerate().map(|(at, link)| (&link.name, at)).collect(),
            interfaces: interfaces.collect(),
            stations: stations.map(|(at, station)| (station.node, at)).collect(),
        }
    }

    fn node(&self, name: &NodeName) -> Option<&'a Node> {
        self.nodes.get(name).map(|&at| &self.plan.lab.nodes[at])
    }

    fn station(&self, node: &NodeName) -> Option<&'a Station> {
        let at = self.stations.get(self.nodes.get(node)?)?;
        Some(&self.plan.stations[*at])
    }

    fn link(&self, name: &LinkName) -> Option<(&'a Link, &'a Cable, usize)> {
        let &at = self.links.get(name)?;
        Some((&self.plan.lab.links[at], &self.plan.cables[at], at))
    }

    /// What cannot change at an end without the link being made again.
    fn identity(&self, link: usize, end: usize) -> (&'a NodeName, Option<(String, String)>) {
        let node = &self.plan.lab.links[link].ends[end].node;
        let interface = self.interfaces.get(&(link, end)).map(|&(station, place)| {
            let interface = &self.plan.stations[station].interfaces[place];
            (interface.name.to_string(), interface.mac.to_string())
        });
        (node, interface)
    }
}

/// The address, MTU and name of each interface of a station.
pub(super) fn interfaces(station: &Station) -> impl Iterator<Item = InterfaceSpec> {
    station.interfaces.iter().map(|interface| InterfaceSpec {
        name: interface.name,
        mac: Some(interface.mac),
        mtu: interface.mtu.into(),
        addresses: interface.addresses.clone(),
    })
}

/// The IP MTU of `lo`: that of the kernel.
const LOOPBACK_MTU: u32 = 65_536;

/// `lo` with the addresses of a station.
pub(super) fn loopback(station: &Station) -> InterfaceSpec {
    let name = "lo".parse().expect("a short name");
    let addresses = station.loopback.clone();
    InterfaceSpec { name, mac: None, mtu: LOOPBACK_MTU, addresses }
}

/// The routes of a station.
pub(super) fn routes(station: &Station) -> Vec<RouteSpec> {
    let routes = station.routes.iter().map(|route| RouteSpec {
        to: route.to,
        via: route.via,
        interface: station.interfaces.get(route.interface).map(|interface| interface.name),
        metric: route.metric,
    });
    routes.collect()
}

impl Diff {
    /// What leads from a plan, or from nothing, to a new one.
    pub(super) fn between(old: Option<&Plan>, new: &Plan) -> Self {
        let new_index = Index::new(new);
        let Some(old) = old else {
            return Self {
                new_nodes: (0..new.lab.nodes.len()).collect(),
                new_links: (0..new.lab.links.len()).collect(),
                ..Self::default()
            };
        };
        let old_index = Index::new(old);
        let mut diff = Self::default();
        for node in &old.lab.nodes {
            let is_kept = new_index.node(&node.name).is_some_and(|new| may_stay(node, new));
            if !is_kept {
                diff.gone_nodes.push(node.name.clone());
            }
        }
        remake_guests(&old_index, &new_index, &mut diff.gone_nodes);
        let gone: BTreeSet<&NodeName> = diff.gone_nodes.iter().collect();
        for (at, node) in new.lab.nodes.iter().enumerate() {
            match old_index.node(&node.name).filter(|_| !gone.contains(&node.name)) {
                None => diff.new_nodes.push(at),
                Some(before) => {
                    if let (Kind::Switch(before), Kind::Switch(now)) = (&before.kind, &node.kind)
                        && before != now
                    {
                        diff.switches.push(at);
                    }
                }
            }
        }
        let mut remade = BTreeSet::new();
        for link in &old.lab.links {
            let is_same = new_index.link(&link.name).map(|(now, cable, at)| {
                let (_, cable_before, at_before) =
                    old_index.link(&link.name).expect("it is one of the old plan");
                let is_same_end = |end| {
                    old_index.identity(at_before, end) == new_index.identity(at, end)
                        && !gone.contains(&now.ends[end].node)
                };
                (is_same_end(0) && is_same_end(1), cable_before.medium == cable.medium)
            });
            if is_same == Some((true, false)) {
                diff.remade_links.insert(link.name.clone());
            }
            if is_same != Some((true, true)) {
                remade.extend(link.ends.iter().map(|end| &end.node));
                diff.gone_links.push(link.name.clone());
            }
        }
        let gone_links: BTreeSet<&LinkName> = diff.gone_links.iter().collect();
        for (at, link) in new.lab.links.iter().enumerate() {
            match old_index.link(&link.name).filter(|_| !gone_links.contains(&link.name)) {
                None => {
                    remade.extend(link.ends.iter().map(|end| &end.node));
                    diff.new_links.push(at);
                }
                Some((before, ..)) => {
                    let ports =
                        |link: &Link| link.ends.each_ref().map(|end: &End| end.port.clone());
                    if before.netem != link.netem || ports(before) != ports(link) {
                        diff.links.push(at);
                    }
                }
            }
        }
        let remade: BTreeSet<NodeName> = remade.into_iter().cloned().collect();
        diff.hosts = hosts(&old_index, &new_index, &diff.new_nodes, &remade);
        diff
    }
}

/// Whether a node can be changed where it differs.
fn may_stay(before: &Node, now: &Node) -> bool {
    match (&before.kind, &now.kind) {
        (Kind::Host(_), Kind::Host(_)) => true,
        // The size of the table and the seed are for life.
        (Kind::Switch(before), Kind::Switch(now)) => {
            let fixed = |config: &SwitchConfig| (config.fdb_limit, config.seed);
            fixed(before) == fixed(now)
        }
        (before, now) => before == now,
    }
}

/// Adds guests that must start again: with other network cards, or a link that is made again.
fn remake_guests(old: &Index<'_>, new: &Index<'_>, gone: &mut Vec<NodeName>) {
    let links = |index: &Index<'_>, guest: &NodeName| {
        let station = index.station(guest)?;
        let link = |(link, end): (usize, usize)| {
            let wanted = &index.plan.lab.links[link];
            (
                wanted.name.clone(),
                index.identity(link, 1 - end).0.clone(),
                index.identity(link, 1 - end).1,
            )
        };
        let links: Vec<_> = station.interfaces.iter().map(|of| link(of.link)).collect();
        Some((links, interfaces(station).collect::<Vec<_>>(), routes(station)))
    };
    let guests = old.plan.lab.nodes.iter().filter(|node| node.is_guest());
    let mut kept: Vec<&NodeName> = guests.map(|node| &node.name).collect();
    kept.retain(|name| !gone.contains(name));
    loop {
        // One that starts again takes those with it that are linked to it.
        let must_go = kept.iter().position(|name| {
            let (before, now) = (links(old, name), links(new, name));
            before != now
                || now
                    .is_none_or(|(links, ..)| links.iter().any(|(_, peer, _)| gone.contains(peer)))
        });
        let Some(place) = must_go else { return };
        gone.push(kept.remove(place).clone());
    }
}

fn hosts(
    old: &Index<'_>,
    new: &Index<'_>,
    new_nodes: &[usize],
    remade: &BTreeSet<NodeName>,
) -> Vec<HostDiff> {
    let mut hosts = Vec::new();
    for (at, station) in new.plan.stations.iter().enumerate() {
        let node = &new.plan.lab.nodes[station.node];
        if new_nodes.contains(&station.node) {
            continue;
        }
        let (Some(before), Some(old_node)) = (old.station(&node.name), old.node(&node.name)) else {
            continue;
        };
        let (Kind::Host(old_host), Kind::Host(host)) = (&old_node.kind, &node.kind) else {
            continue;
        };
        let settings = |host: &Host| (host.forward, host.sysctls.clone());
        let own: Vec<InterfaceSpec> = interfaces(before).collect();
        let changed = interfaces(station).enumerate().filter(|(_, now)| {
            own.iter().find(|other| other.name == now.name).is_some_and(|other| other != now)
        });
        let diff = HostDiff {
            station: at,
            private: before.hosts != station.hosts
                || before.dns != station.dns
                || old_host.files != host.files,
            sysctls: settings(old_host) != settings(host),
            interfaces: changed.map(|(place, _)| place).collect(),
            loopback: before.loopback != station.loopback,
            routes: routes(before) != routes(station) || remade.contains(&node.name),
            programs: old_host.programs != host.programs,
            masquerade: before.masquerade != station.masquerade,
        };
        let is_touched = diff.private
            || diff.sysctls
            || diff.routes
            || diff.programs
            || diff.masquerade
            || diff.loopback
            || !diff.interfaces.is_empty();
        if is_touched {
            hosts.push(diff);
        }
    }
    hosts
}

#[cfg(test)]
mod tests;
