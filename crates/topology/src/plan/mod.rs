//! A network with everything filled in: what `up` makes, `plan` prints, and the simulator simulates.
//!
//! ```text
//! segments    which interfaces reach each other without a router
//! pools       networks for them                 addresses   the addresses of interfaces
//! routes      the shortest paths                table       routes in little memory
//! names       /etc/hosts
//! draw        seeds, MAC addresses, keys
//! ```

mod addresses;
mod draw;
mod names;
mod parts;
mod pools;
mod routes;
pub(crate) mod segments;
mod table;
mod warnings;

use crate::model::{At, Attachments, Fault, Kind, Lab, LinkName, NodeName};
use addresses::Addresses;
use adit_device::MacAddr;
use adit_packet::IpPrefix;
use adit_service::error::{Error, Result};
use adit_service::netem::profile::Profiles;
use adit_service::supervisor::seed;
use adit_tunnel::PrivateKey;
use draw::Draw;
pub use parts::{Cable, Interface, Medium, Outlet, Station, Tunnel, TunnelEnd};
use routes::Network;
use segments::Segments;
use std::collections::{BTreeMap, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
pub use table::{Route, Routes};

/// The IP MTU of a link for which none is given.
const MTU: u16 = 1500;

/// The smallest IP MTU with IPv6 (RFC 8200).
const MTU_MIN_V6: u16 = 1280;

/// What WireGuard adds to a packet, over IPv6: IP, UDP, its header and its tag.
const TUNNEL_OVERHEAD: u16 = 80;

/// The UDP port of the first tunnel.
const TUNNEL_PORT: u16 = 51_820;

/// A network with everything filled in.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What was wanted.
    pub lab: Lab,
    /// What every random decision is drawn from.
    pub seed: u64,
    /// One for each node that has interfaces of its own (hosts, guests), in the order of the lab.
    pub stations: Vec<Station>,
    /// One for each link, in the order of the lab.
    pub cables: Vec<Cable>,
    /// One for each link of each NAT.
    pub outlets: Vec<Outlet>,
    /// One for each tunnel, in the order of the lab.
    pub tunnels: Vec<Tunnel>,
    /// All networks that have addresses of the lab: the inside of its NATs.
    pub networks: Vec<IpPrefix>,
    /// The station of each node, by their places.
    stations_of: Vec<Option<usize>>,
    /// Each node by its name.
    nodes: BTreeMap<NodeName, usize>,
}

impl Plan {
    /// Fills in a network; one without a seed gets any.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn of(lab: Lab) -> Result<Self> {
        let seed = lab.seed.map_or_else(seed, Ok)?;
        Self::with_seed(lab, seed).map_err(|faults| {
            let line = |fault: &Fault| match &fault.help {
                Some(help) => format!("{} ({help})", fault.message),
                None => fault.message.clone(),
            };
            let lines: Vec<String> = faults.iter().map(line).collect();
            Error::usage(lines.join("; "))
        })
    }

    /// Fills in a network with random decisions drawn from `seed`.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn with_seed(lab: Lab, seed: u64) -> Result<Self, Vec<Fault>> {
        let attachments = lab.check()?;
        let segments = Segments::new(&lab, &attachments);
        let addresses = Addresses::new(&lab, &attachments, &segments)?;
        let mut faults = small_mtus(&lab, &addresses);
        let draw = Draw::new(seed);
        let macs = macs(&lab, &attachments, draw);
        let mut network = Network::new(&lab, &attachments, &segments, &addresses);
        let mut stations = Vec::new();
        let mut stations_of = vec![None; lab.nodes.len()];
        let mut outlets: Vec<Outlet> = outlets(&segments, &addresses, &macs, &lab);
        for outlet in &mut outlets {
            outlet.routes = network.routes_of_nat(outlet.link, &outlet.gateways);
        }
        for (node, _) in lab.nodes.iter().enumerate().filter(|(_, node)| node.is_station()) {
            let interfaces = interfaces(&lab, &attachments, &addresses, &macs, node);
            stations_of[node] = Some(stations.len());
            let station = station(&lab, &mut network, &outlets, node, interfaces, &mut faults);
            stations.push(station);
        }
        if !faults.is_empty() {
            return Err(faults);
        }
        name_all(&lab, &mut stations, &outlets);
        let cables = lab.links.iter().enumerate().map(|(number, link)| Cable {
            name: link.name.clone(),
            medium: medium(&lab, attachments.nodes[number], link.netem.is_some()),
            seed: draw.seed(link.name.as_str()),
        });
        let cables = cables.collect();
        let tunnels = tunnels(&lab, &attachments, &addresses, draw, (&stations, &stations_of));
        let networks = networks(&addresses, &stations);
        let nodes = lab.nodes.iter().enumerate().map(|(place, node)| (node.name.clone(), place));
        let nodes = nodes.collect();
        Ok(Self { lab, seed, stations, cables, outlets, tunnels, networks, stations_of, nodes })
    }

    /// The station of a node.
    #[must_use]
    pub fn station(&self, name: &NodeName) -> Option<&Station> {
        self.stations.get(self.stations_of[*self.nodes.get(name)?]?)
    }

    /// The first address of a station: IPv4 if it has one, unless IPv6 is asked for.
    #[must_use]
    pub fn address(&self, name: &NodeName, is_v6: bool) -> Option<IpAddr> {
        let station = self.station(name)?;
        let own = station.interfaces.iter().flat_map(|interface| &interface.addresses);
        let all = own.chain(&station.loopback).map(|address| address.ip());
        let of_v4 = all.clone().find(|ip| !is_v6 && ip.is_ipv4());
        of_v4.or_else(|| all.clone().find(IpAddr::is_ipv6))
    }

    /// The IP MTU of a link, by its place.
    #[must_use]
    pub fn mtu(&self, link: usize) -> u16 {
        mtu(&self.lab, link)
    }

    /// An end of a link as people write it, by their places: `pc:eth0`, `lan`.
    #[must_use]
    pub fn end_text(&self, link: usize, end: usize) -> String {
        let name = &self.lab.links[link].ends[end].node;
        let interfaces = self.station(name).map_or(&[][..], |station| &station.interfaces);
        let interface = interfaces.iter().find(|interface| interface.link == (link, end));
        interface.map_or_else(|| name.to_string(), |interface| format!("{name}:{}", interface.name))
    }

    /// The same with a link of these properties, which adit joins from now on if the kernel did.
    #[must_use]
    pub fn emulated(&self, link: &LinkName, profiles: Profiles) -> Self {
        let mut new = self.clone();
        if let Some(at) = new.lab.links.iter().position(|of| of.name == *link) {
            new.lab.links[at].netem = Some(profiles);
            if new.cables[at].medium == Medium::Veth {
                new.cables[at].medium = Medium::Taps;
            }
        }
        new
    }

    /// Describes what is valid but rarely meant.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        warnings::of(&self.lab)
    }

    /// The same with random decisions drawn from another seed: links, MAC addresses and keys; addresses and routes stay.
    #[must_use]
    pub fn reseeded(&self, seed: u64) -> Self {
        let lab = Lab { seed: Some(seed), ..self.lab.clone() };
        Self::with_seed(lab, seed).unwrap_or_else(|_| self.clone())
    }
}

/// Links and tunnels with IPv6 whose MTU is too small for it.
fn small_mtus(lab: &Lab, addresses: &Addresses) -> Vec<Fault> {
    let has_v6 = |of: &[IpPrefix]| of.iter().any(|address| address.ip().is_ipv6());
    let links = lab.links.iter().zip(&addresses.of_end).enumerate();
    let links = links.filter(|(_, (_, ends))| ends.iter().any(|end| has_v6(end)));
    let links = links.map(|(at, (link, _))| (At::Link(at), link.mtu));
    let tunnels = lab.tunnels.iter().zip(&addresses.tunnels).enumerate();
    let tunnels = tunnels.filter(|(_, (_, networks))| has_v6(networks));
    let tunnels = tunnels.map(|(at, (tunnel, _))| (At::Tunnel(at), tunnel.mtu));
    let small = links.chain(tunnels).filter(|(_, mtu)| *mtu != 0 && *mtu < MTU_MIN_V6);
    let fault = |(at, mtu)| Fault {
        at,
        message: format!("an MTU of {mtu} is too small for IPv6, which needs {MTU_MIN_V6}"),
        help: Some("for a lab without IPv6, give `pool` only networks of IPv4".to_owned()),
    };
    small.map(fault).collect()
}

/// A station but for the texts of its files about names, which need all stations.
fn station(
    lab: &Lab,
    network: &mut Network<'_>,
    outlets: &[Outlet],
    node: usize,
    interfaces: Vec<Interface>,
    faults: &mut Vec<Fault>,
) -> Station {
    let (mut routes, way_out) = network.routes(node, &interfaces);
    let host = lab.nodes[node].as_host();
    let name = &lab.nodes[node].name;
    for given in host.map_or(&[][..], |host| &host.routes) {
        let is_near =
            |interface: &Interface| interface.addresses.iter().any(|own| own.contains(given.via));
        match interfaces.iter().position(is_near) {
            Some(interface) => {
                let (via, metric) = (Some(given.via), given.metric);
                routes.retain(|route| route.to != given.to);
                routes.push(Route { to: given.to, via, interface, metric });
            }
            None => faults.push(Fault {
                at: At::Node(node),
                message: format!("'{name}' has no interface in a network of {}", given.via),
                help: Some("the next hop of a route must be a neighbour".to_owned()),
            }),
        }
    }
    let outlet = way_out.and_then(|link| outlets.iter().find(|outlet| outlet.link == link));
    let masquerade = host.and_then(|host| host.masquerade);
    let masquerade = masquerade.and_then(|name| interfaces.iter().position(|of| of.name == name));
    let dns = host.map_or(&[][..], |host| &host.dns);
    let resolvers = outlet.map_or(&[][..], |outlet| &outlet.resolvers);
    let servers = if dns.is_empty() { resolvers } else { dns };
    Station {
        node,
        interfaces,
        loopback: network.loopbacks(node).to_vec(),
        routes: network.destinations().pack(routes),
        masquerade,
        hosts: "".into(),
        dns: servers.to_vec(),
    }
}

/// The networks of all segments and tunnels, and the addresses of `lo`.
fn networks(addresses: &Addresses, stations: &[Station]) -> Vec<IpPrefix> {
    let of_links = addresses.networks.iter().chain(&addresses.tunnels).flatten().copied();
    let loopbacks = stations.iter().flat_map(|station| &station.loopback);
    let all = of_links.chain(loopbacks.map(|address| IpPrefix::host(address.ip())));
    let merged = pools::merged(all.map(|network| (network, ())).collect());
    merged.into_iter().map(|(network, ())| network).collect()
}

/// The MAC address at each end of each link.
type Macs = Vec<[MacAddr; 2]>;

fn macs(lab: &Lab, attachments: &Attachments, draw: Draw) -> Macs {
    let all = lab.nodes.iter().filter_map(crate::model::Node::given);
    let given = all.flat_map(|(_, interfaces)| interfaces.values().filter_map(|of| of.mac));
    let mut taken: HashSet<[u8; 6]> = given.map(|mac| mac.0).collect();
    let mut of_end = |link: usize, end: usize| {
        let node = &lab.nodes[attachments.nodes[link][end]];
        let name = attachments.names[link][end];
        let given = name.and_then(|name| node.given()?.1.get(&name)?.mac);
        let shown = name.map_or_else(|| lab.links[link].name.to_string(), |name| name.to_string());
        given.unwrap_or_else(|| {
            let mut all = (0..).map(|attempt| draw.mac(node.name.as_str(), &shown, attempt));
            all.find(|mac| taken.insert(mac.0)).expect("far fewer interfaces than addresses")
        })
    };
    (0..lab.links.len()).map(|link| [0, 1].map(|end| of_end(link, end))).collect()
}

fn interfaces(
    lab: &Lab,
    attachments: &Attachments,
    addresses: &Addresses,
    macs: &Macs,
    node: usize,
) -> Vec<Interface> {
    let one = |&(link, end): &(usize, usize)| {
        Some(Interface {
            name: attachments.names[link][end]?,
            link: (link, end),
            mac: macs[link][end],
            mtu: mtu(lab, link),
            addresses: addresses.of_end[link][end].clone(),
        })
    };
    attachments.ends[node].iter().filter_map(one).collect()
}

fn mtu(lab: &Lab, link: usize) -> u16 {
    if lab.links[link].mtu == 0 { MTU } else { lab.links[link].mtu }
}

fn outlets(segments: &Segments, addresses: &Addresses, macs: &Macs, lab: &Lab) -> Vec<Outlet> {
    let all = segments.members.iter().flatten();
    let nats = all.filter(|member| matches!(lab.nodes[member.node].kind, Kind::Nat(_)));
    let one = |member: &segments::Member| {
        let link = (member.link, member.end);
        let resolvers = addresses.resolvers.get(&link).map_or(&[][..], Vec::as_slice);
        Outlet {
            node: member.node,
            link,
            mac: macs[member.link][member.end],
            gateways: addresses.of_end[member.link][member.end].clone(),
            resolvers: resolvers.iter().map(|resolver| resolver.ip()).collect(),
            routes: Vec::new(),
        }
    };
    let mut outlets: Vec<Outlet> = nats.map(one).collect();
    outlets.sort_by_key(|outlet| outlet.link);
    outlets
}

/// Writes the names of all nodes into the files of each.
fn name_all(lab: &Lab, stations: &mut [Station], outlets: &[Outlet]) {
    let mut addresses: Vec<(usize, IpAddr)> = Vec::new();
    for station in &*stations {
        let own = station.interfaces.iter().flat_map(|interface| &interface.addresses);
        let all = station.loopback.iter().chain(own);
        addresses.extend(all.map(|address| (station.node, address.ip())));
    }
    for outlet in outlets {
        addresses.extend(outlet.gateways.iter().map(|gateway| (outlet.node, gateway.ip())));
    }
    // IPv4 first, so that the first address of a name is one that people know by heart.
    addresses.sort_by_key(|(node, ip)| (*node, ip.is_ipv6()));
    let lines = addresses.iter().map(|(node, ip)| (lab.nodes[*node].name.as_str(), *ip));
    let common: Arc<str> = format!("{}{}", names::OWN, names::lines(lines)).into();
    for station in stations {
        station.hosts = names::hosts(&common, lab.nodes[station.node].as_host());
    }
}

fn medium(lab: &Lab, nodes: [usize; 2], is_emulated: bool) -> Medium {
    let [a, b] = nodes.map(|node| &lab.nodes[node]);
    match (a.is_engine(), b.is_engine()) {
        (true, true) => Medium::Patch,
        (true, false) => Medium::Port(1),
        (false, true) => Medium::Port(0),
        (false, false) if a.as_host().is_some() && b.as_host().is_some() && !is_emulated => {
            Medium::Veth
        }
        (false, false) => Medium::Taps,
    }
}

fn tunnels(
    lab: &Lab,
    attachments: &Attachments,
    addresses: &Addresses,
    draw: Draw,
    (stations, stations_of): (&[Station], &[Option<usize>]),
) -> Vec<Tunnel> {
    let one = |(number, tunnel): (usize, &crate::model::Tunnel)| {
        let end = |end: usize| {
            let node = attachments.tunnels[number][end];
            let interface = attachments.tunnel_names[number][end];
            let name = lab.nodes[node].name.as_str();
            let host = lab.nodes[node].as_host();
            let given = host.and_then(|host| host.interfaces.get(&interface));
            let given = given.map_or(&[][..], |interface| &interface.addresses);
            let is_missing = |network: &&IpPrefix| {
                given.iter().all(|address| address.family() != network.family())
            };
            let drawn = addresses.tunnels[number].iter().filter(is_missing);
            let drawn = drawn.filter_map(|network| pools::address_at(*network, end as u128 + 1));
            let station = stations_of[node].map(|station| &stations[station]);
            let mut own = station.iter().flat_map(|station| {
                let of_links = station.interfaces.iter().flat_map(|of| &of.addresses);
                station.loopback.iter().chain(of_links)
            });
            let smallest = station.iter().flat_map(|station| &station.interfaces);
            let smallest = smallest.map(|interface| interface.mtu).min().unwrap_or(MTU);
            let port =
                u16::try_from(number).ok().and_then(|number| TUNNEL_PORT.checked_add(number));
            TunnelEnd {
                node,
                interface,
                private_key: tunnel.keys[end].clone().unwrap_or_else(|| {
                    PrivateKey::from_bytes(draw.key(tunnel.name.as_str(), name))
                }),
                addresses: given.iter().copied().chain(drawn).collect(),
                endpoint: own.next().zip(port).map(|(own, port)| SocketAddr::new(own.ip(), port)),
                mtu: if tunnel.mtu == 0 {
                    // What does not fit is sent in fragments.
                    smallest.saturating_sub(TUNNEL_OVERHEAD).max(MTU_MIN_V6)
                } else {
                    tunnel.mtu
                },
            }
        };
        let mut ends = [end(0), end(1)];
        let mtu = ends.each_ref().map(|end| end.mtu);
        ends.iter_mut().for_each(|end| end.mtu = mtu[0].min(mtu[1]));
        Tunnel { ends }
    };
    lab.tunnels.iter().enumerate().map(one).collect()
}

#[cfg(test)]
mod tests;
