//! What is wrong with a network before anything is filled in.

use crate::model::{Host, Kind, Lab, Node, NodeName};
use adit_device::IfName;
use adit_engine::switch::SwitchConfig;
use adit_packet::IpPrefix;
use adit_service::config::suggest::nearest;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::net::IpAddr;
use std::path::Component;

/// Something wrong with a network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Where.
    pub at: At,
    /// What is wrong.
    pub message: String,
    /// What helps.
    pub help: Option<String>,
}

/// A part of a network, by its place in the list of its kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum At {
    /// The whole of it.
    Lab,
    /// A node.
    Node(usize),
    /// A link.
    Link(usize),
    /// An end of a link: the link, and which end.
    End(usize, usize),
    /// A tunnel.
    Tunnel(usize),
}

/// The interfaces at the ends of all links, and the nodes that they belong to.
#[derive(Clone, Debug)]
pub struct Attachments {
    /// The node of each end of each link.
    pub nodes: Vec<[usize; 2]>,
    /// The interface of each end of each link; `None` at what has no interfaces.
    pub names: Vec<[Option<IfName>; 2]>,
    /// The ends of links at each node, in the order of the links.
    pub ends: Vec<Vec<(usize, usize)>>,
    /// The two nodes of each tunnel.
    pub tunnels: Vec<[usize; 2]>,
    /// The interface of each tunnel at its two ends.
    pub tunnel_names: Vec<[IfName; 2]>,
}

/// All faults so far.
#[derive(Debug, Default)]
struct Faults(Vec<Fault>);

impl Faults {
    fn add(&mut self, at: At, message: impl fmt::Display) {
        self.0.push(Fault { at, message: message.to_string(), help: None });
    }

    fn add_with(&mut self, at: At, message: impl fmt::Display, help: impl fmt::Display) {
        self.0.push(Fault { at, message: message.to_string(), help: Some(help.to_string()) });
    }
}

impl Lab {
    /// The most hosts, routers and guests.
    pub const STATIONS_MAX: usize = 1000;

    /// The most nodes of all kinds.
    pub const NODES_MAX: usize = 2000;

    /// The most links.
    pub const LINKS_MAX: usize = 4000;

    /// Checks the network, and names the interfaces at the ends of its links.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn check(&self) -> Result<Attachments, Vec<Fault>> {
        let mut faults = Faults::default();
        self.check_sizes(&mut faults);
        let places = self.check_names(&mut faults);
        self.check_addresses(&mut faults);
        // Without it, what is missing at a node is not known.
        let Some(attachments) = self.attach(&places, &mut faults) else { return Err(faults.0) };
        for (number, node) in self.nodes.iter().enumerate() {
            let at = At::Node(number);
            let names = attachments.names_at(number);
            check_given(node, (&names, attachments.ends[number].len()), at, &mut faults);
            match &node.kind {
                Kind::Host(host) => check_host(host, node, &names, at, &mut faults),
                Kind::Nat(nat) => {
                    for (target, _) in &nat.publish {
                        self.check_target(target, &places, at, &mut faults);
                    }
                }
                Kind::Switch(_) if attachments.ends[number].len() > SwitchConfig::PORTS_MAX => {
                    let (count, max) = (attachments.ends[number].len(), SwitchConfig::PORTS_MAX);
                    faults.add(
                        at,
                        format_args!(
                            "'{}' has {count} links; a switch has at most {max}",
                            node.name
                        ),
                    );
                }
                Kind::Outside(_) if attachments.ends[number].len() > 1 => {
                    let help = "join it to a switch, and the others to that switch";
                    faults.add_with(at, format_args!("'{}' has several links", node.name), help);
                }
                _ => {}
            }
        }
        if faults.0.is_empty() { Ok(attachments) } else { Err(faults.0) }
    }

    fn check_sizes(&self, faults: &mut Faults) {
        if self.seed.is_some_and(|seed| seed >= Self::SEED_LIMIT) {
            faults.add(At::Lab, "the seed must be below 2^53");
        }
        let stations = self.nodes.iter().filter(|node| node.is_station()).count();
        let sizes = [
            (stations, Self::STATIONS_MAX, "hosts, routers and guests"),
            (self.nodes.len(), Self::NODES_MAX, "nodes"),
            (self.links.len(), Self::LINKS_MAX, "links"),
            (self.tunnels.len(), Self::LINKS_MAX, "tunnels"),
        ];
        for (count, max, what) in sizes {
            if count > max {
                faults
                    .add(At::Lab, format_args!("the lab has {count} {what}; the maximum is {max}"));
            }
        }
        for pool in self.pools.iter().filter(|pool| !pool.is_network()) {
            let help = format!("did you mean {}?", pool.network());
            faults.add_with(At::Lab, format_args!("the pool {pool} is not a network"), help);
        }
    }

    /// Each node's place by its name.
    fn check_names(&self, faults: &mut Faults) -> HashMap<&str, usize> {
        let mut places = HashMap::new();
        for (number, node) in self.nodes.iter().enumerate() {
            if places.insert(node.name.as_str(), number).is_some() {
                faults.add(At::Node(number), format_args!("two nodes are called '{}'", node.name));
            }
        }
        let mut names = HashSet::new();
        let links = self.links.iter().map(|link| &link.name).enumerate();
        let tunnels = self.tunnels.iter().map(|tunnel| &tunnel.name).enumerate();
        let links = links.map(|(number, name)| (At::Link(number), name));
        for (at, name) in links.chain(tunnels.map(|(number, name)| (At::Tunnel(number), name))) {
            if !names.insert(name.as_str()) {
                let help = "give one of them another `name`";
                faults.add_with(at, format_args!("two links are called '{name}'"), help);
            }
        }
        places
    }

    fn find(
        &self,
        name: &NodeName,
        places: &HashMap<&str, usize>,
        at: At,
        faults: &mut Faults,
    ) -> Option<usize> {
        let found = places.get(name.as_str()).copied();
        if found.is_none() {
            let near = nearest(name.as_str(), self.nodes.iter().map(|node| node.name.as_str()));
            let message = format!("no node is called '{name}'");
            match near {
                Some(near) => faults.add_with(at, message, format_args!("did you mean `{near}`?")),
                None => faults.add(at, message),
            }
        }
        found
    }

    /// Something that leads to a host or guest.
    fn check_target(
        &self,
        name: &NodeName,
        places: &HashMap<&str, usize>,
        at: At,
        faults: &mut Faults,
    ) {
        if let Some(number) = self.find(name, places, at, faults)
            && !self.nodes[number].is_station()
        {
            faults.add(at, format_args!("'{name}' is neither a host nor a guest"));
        }
    }

    /// Joins the ends of links to nodes and interfaces.
    fn attach(&self, places: &HashMap<&str, usize>, faults: &mut Faults) -> Option<Attachments> {
        let before = faults.0.len();
        let mut ends = vec![Vec::new(); self.nodes.len()];
        let mut nodes = Vec::with_capacity(self.links.len());
        let mut taken: HashSet<(usize, IfName)> = HashSet::new();
        for (number, link) in self.links.iter().enumerate() {
            let found = [0, 1].map(|end| {
                let at = At::End(number, end);
                let node = self.find(&link.ends[end].node, places, at, faults)?;
                self.check_interface(node, link.ends[end].interface, &mut taken, at, faults);
                Some(node)
            });
            let [Some(a), Some(b)] = found else { continue };
            self.check_pair(number, [a, b], faults);
            nodes.push([a, b]);
            ends[a].push((number, 0));
            ends[b].push((number, 1));
        }
        let mut tunnels = Vec::with_capacity(self.tunnels.len());
        for (number, tunnel) in self.tunnels.iter().enumerate() {
            let at = At::Tunnel(number);
            let found = tunnel.ends.each_ref().map(|name| self.find(name, places, at, faults));
            let [Some(a), Some(b)] = found else { continue };
            for node in [a, b].map(|node| &self.nodes[node]) {
                if node.as_host().is_none() {
                    faults
                        .add(at, format_args!("'{}' is not a host: it has no tunnels", node.name));
                }
            }
            if a == b {
                faults.add(
                    at,
                    format_args!("both ends of '{}' are '{}'", tunnel.name, tunnel.ends[0]),
                );
            }
            for node in [a, b] {
                self.check_interface(node, tunnel.interface, &mut taken, at, faults);
            }
            tunnels.push([a, b]);
        }
        if faults.0.len() > before || places.len() < self.nodes.len() {
            return None;
        }
        let mut namer = Namer { taken, next: HashMap::new() };
        let mut of_link = |(number, nodes): (usize, &[usize; 2])| {
            [0, 1].map(|end| {
                let given = self.links[number].ends[end].interface;
                let is_station = self.nodes[nodes[end]].is_station();
                given.or_else(|| is_station.then(|| namer.next(nodes[end], "eth")))
            })
        };
        let names = nodes.iter().enumerate().map(&mut of_link).collect();
        let mut of_tunnel = |(number, nodes): (usize, &[usize; 2])| {
            let given: Option<IfName> = self.tunnels[number].interface;
            nodes.map(|node| given.unwrap_or_else(|| namer.next(node, "tun")))
        };
        let tunnel_names = tunnels.iter().enumerate().map(&mut of_tunnel).collect();
        Some(Attachments { nodes, names, ends, tunnels, tunnel_names })
    }

    fn check_interface(
        &self,
        node: usize,
        interface: Option<IfName>,
        taken: &mut HashSet<(usize, IfName)>,
        at: At,
        faults: &mut Faults,
    ) {
        let Some(interface) = interface else { return };
        let name = &self.nodes[node].name;
        if !self.nodes[node].is_station() {
            let help = format!("write `{name}`");
            faults.add_with(at, format_args!("'{name}' has ports, not interfaces"), help);
        } else if interface.as_ref() == "lo" {
            faults.add(at, format_args!("'lo' of '{name}' cannot have a link"));
        } else if !taken.insert((node, interface)) {
            faults.add(at, format_args!("'{interface}' of '{name}' has two links"));
        }
    }

    /// Two nodes that a link cannot join.
    fn check_pair(&self, link: usize, [a, b]: [usize; 2], faults: &mut Faults) {
        let (at, [first, other]) = (At::Link(link), [a, b].map(|node| &self.nodes[node]));
        if a == b {
            faults.add(
                at,
                format_args!("both ends of '{}' are '{}'", self.links[link].name, first.name),
            );
        } else if matches!((&first.kind, &other.kind), (Kind::Nat(_), Kind::Nat(_))) {
            faults.add(
                at,
                format_args!(
                    "'{}' and '{}' are NATs: nobody is between them",
                    first.name, other.name
                ),
            );
        }
    }

    fn check_addresses(&self, faults: &mut Faults) {
        let mut seen: HashMap<IpAddr, usize> = HashMap::new();
        let mut macs = BTreeMap::new();
        for (number, node) in self.nodes.iter().enumerate() {
            let Some((addresses, interfaces)) = node.given() else { continue };
            let all = interfaces.values().flat_map(|interface| &interface.addresses);
            for address in addresses.iter().chain(all) {
                if let Some(other) = seen.insert(address.ip(), number) {
                    let (ip, name, other) = (address.ip(), &node.name, &self.nodes[other].name);
                    let message = if name == other {
                        format!("'{name}' has the address {ip} twice")
                    } else {
                        format!("'{other}' and '{name}' have the same address {ip}")
                    };
                    faults.add(At::Node(number), message);
                }
            }
            for mac in interfaces.values().filter_map(|interface| interface.mac) {
                if let Some(other) = macs.insert(mac, &node.name) {
                    let message =
                        format!("'{other}' and '{}' have the same MAC address {mac}", node.name);
                    faults.add(At::Node(number), message);
                }
            }
        }
    }
}

impl Attachments {
    /// The interfaces of a node: of its links, then of its tunnels.
    #[must_use]
    pub fn names_at(&self, node: usize) -> Vec<IfName> {
        let of_links = self.ends[node].iter().filter_map(|&(link, end)| self.names[link][end]);
        let tunnels = self.tunnels.iter().zip(&self.tunnel_names);
        let of_tunnels = tunnels.flat_map(|(nodes, names)| nodes.iter().zip(names));
        let of_tunnels = of_tunnels.filter(|(at, _)| **at == node).map(|(_, name)| *name);
        of_links.chain(of_tunnels).collect()
    }
}

/// Gives each interface without a name the next free one of its node.
struct Namer {
    taken: HashSet<(usize, IfName)>,
    next: HashMap<(usize, &'static str), u32>,
}

impl Namer {
    fn next(&mut self, node: usize, stem: &'static str) -> IfName {
        let number = self.next.entry((node, stem)).or_default();
        loop {
            let name = IfName::new(format!("{stem}{number}")).expect("a stem and few digits");
            *number += 1;
            if self.taken.insert((node, name)) {
                return name;
            }
        }
    }
}

/// What is given for the interfaces of a node, of which the first belong to links.
fn check_given(node: &Node, (names, of_links): (&[IfName], usize), at: At, faults: &mut Faults) {
    let Some((addresses, interfaces)) = node.given() else { return };
    let name = &node.name;
    let list = || names.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let has_lo = node.as_host().is_some();
    for interface in interfaces.keys() {
        if !(has_lo && interface.as_ref() == "lo" || names.contains(interface)) {
            let message = format!("'{name}' has no interface '{interface}': no link ends there");
            let help = format!("its interfaces are {}", list());
            faults.0.push(Fault { at, message, help: (!names.is_empty()).then_some(help) });
        }
    }
    if let ([first, _, ..], false) = (&names[..of_links], addresses.is_empty()) {
        let message = format!("'{name}' has {of_links} interfaces: which one has the `address`?");
        let help = format!("write it below [{}.{name}.interface.{first}]", node.kind.word());
        faults.add_with(at, message, help);
    }
    for address in addresses.iter().chain(interfaces.values().flat_map(|of| &of.addresses)) {
        if !is_assignable(*address) {
            faults.add(at, format_args!("'{name}' cannot have the address {address}"));
        }
    }
}

fn check_host(host: &Host, node: &Node, names: &[IfName], at: At, faults: &mut Faults) {
    let name = &node.name;
    if let Some(interface) = host.masquerade.filter(|interface| !names.contains(interface)) {
        faults.add(at, format_args!("'{name}' has no interface '{interface}' to masquerade at"));
    }
    for file in &host.files {
        let is_below = file.path.starts_with("/etc") || file.path.starts_with("/run");
        let is_plain = file.path.components().all(|part| !matches!(part, Component::ParentDir));
        if !is_below || !is_plain {
            let path = file.path.display();
            let help = "the private folders of a node are /etc and /run";
            faults.add_with(at, format_args!("the file {path} of '{name}' is not private"), help);
        }
    }
    for key in host.sysctls.keys() {
        let is_known = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '/');
        if !key.chars().all(is_known) || key.split(['.', '/']).any(str::is_empty) {
            faults.add(at, format_args!("'{key}' is not the name of a sysctl"));
        } else if !key.starts_with("net.") && !key.starts_with("net/") {
            let help = "a host has a network of its own, not a kernel";
            faults.add_with(at, format_args!("the sysctl '{key}' is of the whole machine"), help);
        }
    }
}

/// Whether a host may have this address.
fn is_assignable(address: IpPrefix) -> bool {
    let ip = address.ip();
    let bits = address.family().bits() - address.len();
    let is_edge = bits > 1 && address.is_network();
    let is_other = match ip {
        IpAddr::V4(v4) => bits > 1 && v4.to_bits() | mask(bits) == v4.to_bits(),
        // The kernel gives each interface its own.
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    };
    !(ip.is_loopback() || ip.is_multicast() || ip.is_unspecified() || is_edge || is_other)
}

const fn mask(bits: u8) -> u32 {
    match u32::MAX.checked_shr(32 - bits as u32) {
        Some(mask) => mask,
        None => 0,
    }
}
