//! Routes: the shortest path to each segment, through what forwards.
//!
//! A path costs what the links cost by which its packets leave each node. A host gets a default route by the
//! neighbour that most of its paths begin with, or that the way to the nearest NAT begins with, and others only where
//! they differ; a router has a default route only towards a NAT, since two without an outside would send packets
//! to unknown networks back and forth.

use crate::model::{Attachments, Host, Kind, Lab, Routing};
use crate::plan::addresses::Addresses;
use crate::plan::parts::Interface;
use crate::plan::pools::merged;
use crate::plan::segments::{Member, Segments};
use crate::plan::table::{Destinations, Route};
use adit_packet::{IpFamily, IpPrefix};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap};
use std::net::IpAddr;

/// What routes are computed from.
#[derive(Debug)]
pub(super) struct Network<'a> {
    lab: &'a Lab,
    segments: &'a Segments,
    addresses: &'a Addresses,
    /// The ends of links at each node, with their segments and costs.
    ends: Vec<Vec<NodeEnd>>,
    /// Addresses of `lo` at each node.
    loopbacks: Vec<Vec<IpPrefix>>,
    /// Where routes lead.
    destinations: Destinations,
    /// The paths from each segment, once they are computed; for hosts in one segment only.
    known: HashMap<usize, Paths>,
}

#[derive(Clone, Copy, Debug)]
struct NodeEnd {
    segment: usize,
    member: Member,
    cost: u32,
}

/// The neighbour by which a path begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Hop {
    /// The interface, by its place at the node.
    interface: usize,
    /// The neighbour's end of its link.
    link: usize,
    end: usize,
}

/// The way to a segment.
#[derive(Clone, Copy, Debug)]
struct Way {
    cost: u32,
    /// The first router; `None`: the segment is connected.
    hop: Option<Hop>,
    /// The interface, by its place at the node.
    interface: usize,
}

/// The ways to all segments that are reached, by their place.
#[derive(Clone, Debug)]
struct Paths(Vec<Option<Way>>);

impl<'a> Network<'a> {
    pub(super) fn new(
        lab: &'a Lab,
        attachments: &Attachments,
        segments: &'a Segments,
        addresses: &'a Addresses,
    ) -> Self {
        let mut ends: Vec<Vec<NodeEnd>> = vec![Vec::new(); lab.nodes.len()];
        for (segment, members) in segments.members.iter().enumerate() {
            for &member in members {
                let cost = lab.links[member.link].cost;
                ends[member.node].push(NodeEnd { segment, member, cost });
            }
        }
        // In the order of the node's interfaces, which is that of its links.
        ends.iter_mut().for_each(|ends| ends.sort_by_key(|end| (end.member.link, end.member.end)));
        let loopbacks = lab.nodes.iter().enumerate().map(|(node, of)| {
            of.as_host().map_or_else(Vec::new, |host| loopbacks(host, attachments.ends[node].len()))
        });
        let loopbacks: Vec<Vec<IpPrefix>> = loopbacks.collect();
        // As `by_paths` finds them.
        let of_segments = segments.members.iter().zip(&addresses.networks);
        let destinations = of_segments.flat_map(|(members, networks)| {
            let of_lo = members.iter().flat_map(|member| &loopbacks[member.node]);
            networks.iter().copied().chain(of_lo.map(|address| IpPrefix::host(address.ip())))
        });
        let destinations = Destinations::new(destinations);
        Self { lab, segments, addresses, ends, loopbacks, destinations, known: HashMap::new() }
    }

    /// The destinations that nodes have in common.
    pub(super) const fn destinations(&self) -> &Destinations {
        &self.destinations
    }

    /// The addresses of `lo` of a node, but 127.0.0.1 and ::1.
    pub(super) fn loopbacks(&self, node: usize) -> &[IpPrefix] {
        &self.loopbacks[node]
    }

    /// The routes of a node with these interfaces, and whether its default route leads to a NAT: to which end of
    /// which link.
    pub(super) fn routes(
        &mut self,
        node: usize,
        interfaces: &[Interface],
    ) -> (Vec<Route>, Option<(usize, usize)>) {
        let host = self.lab.nodes[node].as_host();
        let forwards = host.is_some_and(|host| host.forward);
        let routing = host.map_or(Routing::Static, |host| host.routing);
        let paths = self.paths(node, forwards);
        let nat = self.nearest_nat(&paths);
        let mut routes = Vec::new();
        match routing {
            Routing::Static => self.by_paths(node, interfaces, forwards, &paths, nat, &mut routes),
            Routing::None => {}
            // A daemon tells others of the way out that this node alone sees.
            _ => {
                if let Some((member, way)) = nat.filter(|(_, way)| way.hop.is_none()) {
                    routes.extend(self.default_routes(interfaces, way, Some(member)));
                }
            }
        }
        let out = nat.filter(|_| routing != Routing::None);
        (routes, out.map(|(member, _)| (member.link, member.end)))
    }

    /// The routes of a NAT with these addresses at an end of a link, by the routers there.
    pub(super) fn routes_of_nat(
        &self,
        (link, end): (usize, usize),
        gateways: &[IpPrefix],
    ) -> Vec<(IpPrefix, IpAddr)> {
        let is_it = |of: &Member| (of.link, of.end) == (link, end);
        let mut segments = self.segments.members.iter();
        let Some(segment) = segments.position(|members| members.iter().any(is_it)) else {
            return Vec::new();
        };
        let member = Member { node: usize::MAX, link, end };
        let paths = self.search(&[(0, NodeEnd { segment, member, cost: 0 })], None);
        let mut routes = BTreeMap::new();
        for (at, way) in paths.0.iter().enumerate().filter_map(|(at, way)| Some((at, (*way)?))) {
            let networks = way.hop.map(|hop| (hop, self.addresses.networks[at].clone()));
            let loopbacks = self.segments.members[at].iter().map(|member| {
                // The last hop is the node itself.
                let own = Hop { interface: 0, link: member.link, end: member.end };
                let addresses = self.loopbacks(member.node).iter();
                let addresses = addresses.map(|address| IpPrefix::host(address.ip()));
                (way.hop.unwrap_or(own), addresses.collect())
            });
            for (hop, prefixes) in loopbacks.chain(networks) {
                let of_hop = &self.addresses.of_end[hop.link][hop.end];
                for to in prefixes {
                    if let Some(via) = on_link(gateways, of_hop, to.family()) {
                        // Of the ways to a loopback address the first is by the nearest segment, or as good.
                        routes.entry(to).or_insert(via);
                    }
                }
            }
        }
        merged(routes.into_iter().collect())
    }

    fn by_paths(
        &self,
        node: usize,
        interfaces: &[Interface],
        forwards: bool,
        paths: &Paths,
        nat: Option<(Member, Way)>,
        routes: &mut Vec<Route>,
    ) {
        let usual = if forwards { None } else { most_frequent(paths) };
        let default = match nat {
            Some((member, way)) => self.default_routes(interfaces, way, Some(member)),
            None => match usual {
                Some(way) => self.default_routes(interfaces, way, None),
                None => Vec::new(),
            },
        };
        let is_default = |route: &Route| {
            let is_same = |of: &Route| (of.via, of.interface) == (route.via, route.interface);
            default.iter().any(|of| is_same(of) && of.to.family() == route.to.family())
        };
        for (segment, way) in paths.0.iter().enumerate() {
            let Some(way) = way else { continue };
            for &network in &self.addresses.networks[segment] {
                let connected = way.hop.is_none();
                let route = self.route(interfaces, *way, network);
                routes.extend(route.filter(|route| !connected && !is_default(route)));
            }
            for member in &self.segments.members[segment] {
                if member.node == node {
                    continue;
                }
                for &address in self.loopbacks(member.node) {
                    // The last hop is the node itself.
                    let hop = way.hop.unwrap_or(Hop {
                        interface: way.interface,
                        link: member.link,
                        end: member.end,
                    });
                    let way = Way { hop: Some(hop), ..*way };
                    let to = IpPrefix::host(address.ip());
                    let is_known =
                        |route: &Route| routes.iter().any(|known: &Route| known.to == route.to);
                    let route = self.route(interfaces, way, to);
                    let route = route.filter(|route| !is_default(route) && !is_known(route));
                    routes.extend(route);
                }
            }
        }
        routes.extend(default);
    }

    /// The route to a network by the first router of a way.
    fn route(&self, interfaces: &[Interface], way: Way, to: IpPrefix) -> Option<Route> {
        let hop = way.hop?;
        let of_hop = &self.addresses.of_end[hop.link][hop.end];
        let via = on_link(&interfaces[hop.interface].addresses, of_hop, to.family())?;
        Some(Route { to, via: Some(via), interface: hop.interface, metric: None })
    }

    /// The default routes of both families by a way, and to the NAT if there is no router before it.
    fn default_routes(
        &self,
        interfaces: &[Interface],
        way: Way,
        nat: Option<Member>,
    ) -> Vec<Route> {
        let at_nat = nat.map(|of| Hop { interface: way.interface, link: of.link, end: of.end });
        let Some(hop) = way.hop.or(at_nat) else { return Vec::new() };
        let way = Way { hop: Some(hop), ..way };
        let all = [IpPrefix::ALL_V4, IpPrefix::ALL_V6];
        all.into_iter().filter_map(|to| self.route(interfaces, way, to)).collect()
    }

    /// The NAT with the shortest way.
    fn nearest_nat(&self, paths: &Paths) -> Option<(Member, Way)> {
        let ways = paths.0.iter().zip(&self.segments.members);
        let nats = ways.filter_map(|(way, members)| {
            let is_nat = |of: &&Member| matches!(self.lab.nodes[of.node].kind, Kind::Nat(_));
            Some((*members.iter().find(is_nat)?, (*way)?))
        });
        nats.min_by_key(|(member, way)| (way.cost, member.link))
    }

    /// The ways from a node; those from a segment are computed once for all hosts that are in no other one.
    fn paths(&mut self, node: usize, forwards: bool) -> Paths {
        let from: Vec<(usize, NodeEnd)> = self.ends[node].iter().copied().enumerate().collect();
        let [(_, only)] = from[..] else { return self.search(&from, Some(node)) };
        if forwards {
            return self.search(&from, Some(node));
        }
        if !self.known.contains_key(&only.segment) {
            let paths = self.search(&[(0, only)], None);
            self.known.insert(only.segment, paths);
        }
        self.known[&only.segment].clone()
    }

    /// Dijkstra's search from segments, over nodes that forward.
    fn search(&self, from: &[(usize, NodeEnd)], source: Option<usize>) -> Paths {
        let mut ways: Vec<Option<Way>> = vec![None; self.segments.members.len()];
        let mut seen = vec![false; self.lab.nodes.len()];
        if let Some(source) = source {
            seen[source] = true;
        }
        let mut open = BinaryHeap::new();
        for &(interface, end) in from {
            open.push(Reverse((end.cost, end.segment, None::<Hop>, interface)));
        }
        while let Some(Reverse((cost, segment, hop, interface))) = open.pop() {
            if ways[segment].is_some() {
                continue;
            }
            ways[segment] = Some(Way { cost, hop, interface });
            for member in &self.segments.members[segment] {
                if seen[member.node] || !self.is_way(member.node) {
                    continue;
                }
                seen[member.node] = true;
                let first = Hop { interface, link: member.link, end: member.end };
                for end in &self.ends[member.node] {
                    if ways[end.segment].is_none() {
                        let cost = cost.saturating_add(end.cost);
                        open.push(Reverse((
                            cost,
                            end.segment,
                            Some(hop.unwrap_or(first)),
                            interface,
                        )));
                    }
                }
            }
        }
        Paths(ways)
    }

    /// Whether packets of others pass a node.
    fn is_way(&self, node: usize) -> bool {
        let host = self.lab.nodes[node].as_host();
        host.is_some_and(|host| host.forward && host.routing != Routing::None)
    }
}

/// The addresses of `lo`.
fn loopbacks(host: &Host, links: usize) -> Vec<IpPrefix> {
    let own = if links == 0 { host.addresses.as_slice() } else { &[] };
    let lo = host.interfaces.iter().find(|(name, _)| name.as_ref() == "lo");
    let lo = lo.map_or(&[][..], |(_, interface)| &interface.addresses);
    own.iter().chain(lo).copied().collect()
}

/// A way by the router that most ways begin with; the first of several.
fn most_frequent(paths: &Paths) -> Option<Way> {
    let mut counts: BTreeMap<Hop, (usize, Way)> = BTreeMap::new();
    for way in paths.0.iter().flatten() {
        if let Some(hop) = way.hop {
            counts.entry(hop).or_insert((0, *way)).0 += 1;
        }
    }
    let most = counts.into_iter().max_by_key(|(hop, (count, _))| (*count, Reverse(*hop)));
    most.map(|(_, (_, way))| way)
}

/// The neighbour's address of a family that is in a network of ours.
fn on_link(ours: &[IpPrefix], neighbour: &[IpPrefix], family: IpFamily) -> Option<IpAddr> {
    let mut of_family = neighbour.iter().filter(|address| address.family() == family);
    let is_near = |of: &&IpPrefix| ours.iter().any(|own| own.contains(of.ip()));
    of_family.find(is_near).map(|address| address.ip())
}
