//! A plan as nodes and wires of the simulator.

use adit_engine::netem::Link as NetemLink;
use adit_engine::switch::{Switch, SwitchConfig};
use adit_engine::{Endpoint, PortId};
use adit_nat::dns::{Forwarder, OwnNames};
use adit_nat::guest::{GuestConfig, GuestV4, GuestV6};
use adit_nat::{Config, Gateway, Nat};
use adit_packet::Layer;
use adit_service::error::{Error, Result};
use adit_sim::{
    End, EngineId, HostConfig, HostId, Random, Router, RouterConfig, RouterInterface, RouterRoute,
    Sim,
};
use adit_topology::model::{Host, Kind, NodeName};
use adit_topology::plan::{Interface, Outlet, Plan, Route, Station, Tunnel, TunnelEnd};
use adit_tunnel::{PeerConfig, Tunnel as Engine, TunnelConfig};
use std::collections::BTreeMap;
use std::net::IpAddr;

/// What was made of a plan.
#[derive(Debug, Default)]
pub(super) struct Net {
    /// The stack of each station.
    pub(super) hosts: BTreeMap<NodeName, HostId>,
    /// Both ends of each link; `None` if one is not simulated.
    pub(super) ends: Vec<Option<[End; 2]>>,
    /// The router of each station that has one, by the place of its node.
    pub(super) routers: BTreeMap<usize, EngineId<Router>>,
    /// The port of a switch at an end of a link.
    pub(super) switch_ports: BTreeMap<(usize, usize), (EngineId<Switch>, PortId)>,
    /// Which node has an address, by its place.
    owners: BTreeMap<IpAddr, usize>,
}

/// The ends of links that are made, by link and end.
type Ends = BTreeMap<LinkEnd, End>;

/// A link by its place, and which end of it.
type LinkEnd = (usize, usize);

/// The ports of a tunnel: its device, and the way of its datagrams.
const DEVICE: PortId = PortId(0);
const SOCKET: PortId = PortId(1);

/// Bytes of TCP's buffers: as much as Linux takes for a connection by default (`tcp_wmem`, 4 MB).
const TCP_BUFFER: usize = 4 << 20;

impl Net {
    pub(super) fn build(plan: &Plan, sim: &mut Sim) -> Result<Self> {
        let mut net = Self::default();
        let mut ends = Ends::new();
        let mut random = Random::new(plan.seed);
        for (place, node) in plan.lab.nodes.iter().enumerate() {
            let name = node.name.as_str();
            match &node.kind {
                Kind::Host(host) => {
                    if let Some(station) = plan.station(&node.name) {
                        let tunnels = tunnels(plan, place);
                        let (stack, router) =
                            add_station(sim, name, station, host, &tunnels, &mut ends);
                        net.routers.extend(router.map(|router| (place, router)));
                        net.hosts.insert(node.name.clone(), stack);
                        let own = station.interfaces.iter().flat_map(|of| &of.addresses);
                        let of_tunnels = tunnels.iter().flat_map(|(own, _)| &own.addresses);
                        for address in own.chain(&station.loopback).chain(of_tunnels) {
                            net.owners.insert(address.ip(), place);
                        }
                    }
                }
                Kind::Switch(config) => {
                    let (switch, ports) = add_switch(plan, sim, place, config, random.next())?;
                    for (port, at) in (0..).map(PortId).zip(ports) {
                        ends.insert(at, switch.port(port.0));
                        net.switch_ports.insert(at, (switch, port));
                    }
                }
                Kind::Nat(_) => {
                    for outlet in plan.outlets.iter().filter(|outlet| outlet.node == place) {
                        let gateway = gateway(plan, outlet, &mut random)?;
                        let gateway = sim.engine(name, gateway);
                        ends.insert(outlet.link, gateway.port(0));
                        let addresses = outlet.gateways.iter();
                        net.owners.extend(addresses.map(|address| (address.ip(), place)));
                    }
                }
                Kind::Guest(_) | Kind::Outside(_) => {}
            }
        }
        for (place, (link, cable)) in plan.lab.links.iter().zip(&plan.cables).enumerate() {
            let both = [0, 1].map(|end| ends.get(&(place, end)).copied());
            let [Some(a), Some(b)] = both else {
                net.ends.push(None);
                continue;
            };
            match &link.netem {
                None => sim.wire(a, b),
                Some(profiles) => {
                    let both = [&profiles.a_to_b, &profiles.b_to_a];
                    for profile in both {
                        let seed = adit_engine::netem::Seed::new(0).direction(0);
                        NetemLink::new(profile, seed).map_err(Error::usage)?;
                    }
                    sim.wire_seeded(a, b, both, cable.seed);
                }
            }
            net.ends.push(Some([a, b]));
        }
        Ok(net)
    }

    /// The node that has an address, by its place.
    pub(super) fn owner(&self, address: IpAddr) -> Option<usize> {
        self.owners.get(&address).copied()
    }
}

/// Adds a host or router, and returns its stack.
fn add_station(
    sim: &mut Sim,
    name: &str,
    station: &Station,
    host: &Host,
    tunnels: &[(&TunnelEnd, &TunnelEnd)],
    ends: &mut Ends,
) -> (HostId, Option<EngineId<Router>>) {
    let is_plain = station.loopback.is_empty() && tunnels.is_empty();
    if let (false, [interface], true) = (host.forward, &station.interfaces[..], is_plain)
        && let Some(gateways) = gateways(station.routes.iter())
        && interface.addresses.len() <= HostConfig::ADDRESSES_MAX
    {
        let stack = sim.host(name, host_config(interface, gateways));
        ends.insert(interface.link, stack.into());
        return (stack, None);
    }
    let router = Router::new(router_config(station, host.forward, tunnels));
    let local = router.local();
    let router = sim.engine(name, router);
    for (number, interface) in station.interfaces.iter().enumerate() {
        let number = u16::try_from(number).unwrap_or(u16::MAX);
        ends.insert(interface.link, router.port(number));
    }
    let stack = sim.host(&format!("{name}-stack"), stack_config(station, tunnels));
    sim.wire(stack, router.port(local.0));
    let inside = station.interfaces.len()..;
    for ((number, &(own, other)), socket) in inside.zip(tunnels).zip(local.0 + 1..) {
        let tunnel = tunnel(sim, own, other);
        let tunnel = sim.engine(&format!("{name}-{}", own.interface), tunnel);
        let number = u16::try_from(number).unwrap_or(u16::MAX);
        sim.wire_packets(tunnel.port(DEVICE.0), router.port(number));
        sim.wire_packets(tunnel.port(SOCKET.0), router.port(socket));
        sim.carry(tunnel, udp_port(own), SOCKET);
    }
    (stack, Some(router))
}

/// The tunnels of a node, this end and the other one.
fn tunnels(plan: &Plan, node: usize) -> Vec<(&TunnelEnd, &TunnelEnd)> {
    let both = plan.tunnels.iter().flat_map(|Tunnel { ends: [a, b] }| [(a, b), (b, a)]);
    both.filter(|(own, _)| own.node == node).collect()
}

fn udp_port(end: &TunnelEnd) -> u16 {
    end.endpoint.map_or(0, |endpoint| endpoint.port())
}

/// An end of a tunnel, as `adit tunnel up` makes it of the plan.
fn tunnel(sim: &mut Sim, own: &TunnelEnd, other: &TunnelEnd) -> Engine {
    let mut random = Random::new(sim.random().next());
    let config = TunnelConfig {
        private_key: Some(own.private_key.clone()),
        device: Some(DEVICE),
        mtu: own.mtu,
        ..TunnelConfig::default()
    };
    let mut tunnel = Engine::new(config, Box::new(move |bytes| random.fill(bytes)));
    let mut peer = PeerConfig::new(other.private_key.public_key());
    peer.endpoint = other.endpoint.map(Endpoint::Udp);
    peer.allowed_ips = other.addresses.iter().map(|address| address.network()).collect();
    tunnel.set_peer(sim.now(), peer);
    tunnel
}

/// The gateways of a host with one interface, IPv4 and IPv6; `None` if its routes have several of a family.
fn gateways(routes: impl Iterator<Item = Route>) -> Option<[Option<IpAddr>; 2]> {
    let mut gateways = [None, None];
    for route in routes {
        let gateway = &mut gateways[usize::from(route.to.ip().is_ipv6())];
        match (*gateway, route.via) {
            (_, None) => return None,
            (Some(known), Some(via)) if known != via => return None,
            (_, via) => *gateway = via,
        }
    }
    Some(gateways)
}

fn host_config(interface: &Interface, [v4, v6]: [Option<IpAddr>; 2]) -> HostConfig {
    let to_v6 = |ip| if let IpAddr::V6(ip) = ip { Some(ip) } else { None };
    HostConfig {
        addresses: interface.addresses.iter().map(|of| (of.ip(), of.len())).collect(),
        gateway: v4,
        gateway_v6: v6.and_then(to_v6),
        mac: Some(interface.mac),
        mtu: usize::from(interface.mtu),
        tcp_buffer: TCP_BUFFER,
        ..HostConfig::new("0.0.0.0/0")
    }
}

/// The stack behind a router. It has as many of the router's addresses as it can, some of each family.
fn stack_config(station: &Station, tunnels: &[(&TunnelEnd, &TunnelEnd)]) -> HostConfig {
    let own = station.interfaces.iter().flat_map(|interface| &interface.addresses);
    let of_tunnels = tunnels.iter().flat_map(|(own, _)| &own.addresses);
    let all: Vec<_> = station.loopback.iter().chain(of_tunnels).chain(own).collect();
    let of_family = |is_v6: bool| all.iter().filter(move |of| of.ip().is_ipv6() == is_v6);
    let half = HostConfig::ADDRESSES_MAX / 2;
    let v6_count = of_family(true).count().min(half);
    let v4 = of_family(false).take(HostConfig::ADDRESSES_MAX - v6_count);
    let room = HostConfig::ADDRESSES_MAX - v4.clone().count();
    let mtus = station.interfaces.iter().map(|interface| interface.mtu);
    let mtu = mtus.chain(tunnels.iter().map(|(own, _)| own.mtu)).min().unwrap_or(1500);
    HostConfig {
        addresses: v4.chain(of_family(true).take(room)).map(|of| (of.ip(), of.len())).collect(),
        layer: Layer::Packet,
        mtu: usize::from(mtu),
        tcp_buffer: TCP_BUFFER,
        ..HostConfig::new("0.0.0.0/0")
    }
}

/// Routes as a router has them.
pub(super) fn routes(routes: impl Iterator<Item = Route>) -> Vec<RouterRoute> {
    let route = |route: Route| RouterRoute {
        to: route.to,
        via: route.via,
        interface: route.interface,
        metric: route.metric.unwrap_or(0),
    };
    routes.map(route).collect()
}

fn router_config(
    station: &Station,
    forward: bool,
    tunnels: &[(&TunnelEnd, &TunnelEnd)],
) -> RouterConfig {
    let interface = |interface: &Interface| RouterInterface {
        mac: Some(interface.mac),
        mtu: interface.mtu,
        addresses: interface.addresses.clone(),
    };
    let of_tunnel = |(own, _): &(&TunnelEnd, &TunnelEnd)| RouterInterface {
        mac: None,
        mtu: own.mtu,
        addresses: own.addresses.clone(),
    };
    let of_tunnels = tunnels.iter().map(of_tunnel);
    RouterConfig {
        interfaces: station.interfaces.iter().map(interface).chain(of_tunnels).collect(),
        own: station.loopback.iter().map(|address| address.ip()).collect(),
        routes: routes(station.routes.iter()),
        forward,
        sockets: tunnels.iter().map(|(own, _)| udp_port(own)).collect(),
    }
}

fn add_switch(
    plan: &Plan,
    sim: &mut Sim,
    place: usize,
    config: &SwitchConfig,
    seed: u64,
) -> Result<(EngineId<Switch>, Vec<LinkEnd>)> {
    let name = &plan.lab.nodes[place].name;
    let mut switch = Switch::new(SwitchConfig { seed, ..config.clone() }).map_err(Error::usage)?;
    let mut ports = Vec::new();
    for (link, wanted) in plan.lab.links.iter().enumerate() {
        for (end, at) in wanted.ends.iter().enumerate().filter(|(_, end)| end.node == *name) {
            let port = u16::try_from(ports.len()).map_err(Error::usage)?;
            switch.add_port(PortId(port), at.port.clone()).map_err(Error::usage)?;
            ports.push((link, end));
        }
    }
    Ok((sim.engine(name.as_str(), switch), ports))
}

/// The NAT of a link. Whom it reaches is the simulator's outside: nobody, unless somebody listens there.
fn gateway(plan: &Plan, outlet: &Outlet, random: &mut Random) -> Result<Gateway> {
    let (mut secret, mut key) = ([0; 16], [0; 32]);
    random.fill(&mut secret);
    random.fill(&mut key);
    let mut config = Config::new(secret);
    config.inside.clone_from(&plan.networks);
    config.mtu = plan.mtu(outlet.link.0);
    let usual = GuestConfig::default();
    let link_local = usual.v6.as_ref().map(|v6| v6.link_local);
    let mut guests = GuestConfig {
        mac: outlet.mac,
        mtu: config.mtu,
        v4: None,
        v6: None,
        advertises: false,
        ..usual
    };
    for gateway in &outlet.gateways {
        let prefix = gateway.network();
        let v4 = |ip: &IpAddr| if let IpAddr::V4(ip) = ip { Some(*ip) } else { None };
        let v6 = |ip: &IpAddr| if let IpAddr::V6(ip) = ip { Some(*ip) } else { None };
        match gateway.ip() {
            IpAddr::V4(gateway) => {
                config.gateway_v4 = Some(gateway);
                let dns = outlet.resolvers.iter().filter_map(v4).collect();
                guests.v4 = Some(GuestV4 { gateway, prefix, dns, pool: None });
            }
            IpAddr::V6(gateway) => {
                config.gateway_v6 = Some(gateway);
                let dns = outlet.resolvers.iter().filter_map(v6).collect();
                guests.v6 = link_local.map(|link_local| GuestV6 {
                    link_local,
                    gateway,
                    prefix,
                    dns,
                    pool: None,
                });
            }
        }
    }
    let forwarder = Forwarder::new(OwnNames::new(), key);
    let mut gateway = Gateway::new(Nat::new(config), forwarder, outlet.resolvers.clone());
    gateway.add_guests(PortId(0), guests).map_err(Error::usage)?;
    Ok(gateway)
}
