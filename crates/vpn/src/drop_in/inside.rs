//! The network inside: its device, its addresses, and the engine behind it.

use adit_device::netlink::{Address, AddressFlags, Route};
use adit_engine::PortId;
use adit_nat::dns::{self, Forwarder, OwnNames};
use adit_nat::{Config, Gateway, Nat, Policy, Redirect, Rule};
use adit_packet::IpPrefix;
use adit_service::error::{Error, Result};
use adit_service::nat::resolvers::{Resolvers, ServerFollower};
use adit_service::sandbox::Level;
use adit_service::supervisor::random;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;

/// The port of the inside.
pub(super) const INSIDE: PortId = PortId(0);

/// All ports.
const ALL_PORTS: RangeInclusive<u16> = 0..=u16::MAX;

/// Destinations that are denied by default and that other programs reach: link-local addresses and metadata.
const REACHED: [&str; 3] = ["169.254.0.0/16", "100.100.100.200/32", "fd00:ec2::254/128"];

/// What the engine is made with.
#[derive(Clone, Debug, Default)]
pub(super) struct Inside {
    /// The addresses that the inside may use.
    pub(super) sources: Vec<IpPrefix>,
    /// They are addresses of the host's network.
    pub(super) has_neighbours: bool,
    /// The NAT's own addresses, one of each family.
    pub(super) own: Vec<IpAddr>,
    /// Where the inside reaches the host's loopback.
    pub(super) loopback: Vec<IpAddr>,
    /// Addresses inside that stand for others outside.
    pub(super) mapped: Vec<(IpAddr, IpAddr)>,
    /// An address inside that stands for a port of the host's loopback.
    pub(super) served: Option<(SocketAddr, u16)>,
    /// The addresses of the name server inside.
    pub(super) name_servers: Vec<IpAddr>,
    /// Names that it answers itself.
    pub(super) names: Vec<(&'static str, IpAddr)>,
    /// The name servers that it asks; `None` for those of the host.
    pub(super) upstream: Option<Vec<IpAddr>>,
    /// IP protocols that are not translated.
    pub(super) without: Vec<u8>,
    /// The IP MTU.
    pub(super) mtu: u16,
    /// How many flows ports of the host take.
    pub(super) ports: u32,
}

impl Inside {
    /// The NAT, and the name server.
    pub(super) fn engine(&self) -> Result<Gateway> {
        let mut config = Config::new(random()?);
        config.inside.clone_from(&self.sources);
        config.has_neighbours = self.has_neighbours;
        config.without.clone_from(&self.without);
        for own in &self.own {
            match own {
                IpAddr::V4(ip) => config.gateway_v4 = Some(*ip),
                IpAddr::V6(ip) => config.gateway_v6 = Some(*ip),
            }
        }
        config.mtu = self.mtu.max(Config::MTU_MIN);
        config.policy = self.policy();
        config.limits.flows += usize::try_from(self.ports).unwrap_or(0);
        config.limits.flows_per_source += self.ports;
        let mut names = OwnNames::new();
        for (name, ip) in &self.names {
            names.add(name.parse().map_err(Error::usage)?, *ip);
        }
        let forwarder = Forwarder::new(names, random()?);
        let mut gateway = Gateway::new(Nat::new(config), forwarder, self.name_servers.clone());
        match &self.upstream {
            Some(servers) => {
                gateway.set_name_servers(servers.iter().map(|&ip| SocketAddr::new(ip, dns::PORT)));
            }
            None => gateway.set_name_servers(Resolvers::of_host().servers),
        }
        Ok(gateway)
    }

    /// Follows the name servers of the host, if the name server of `engine` asks those.
    pub(super) fn follow(&self, engine: &Gateway, level: Level) -> Result<Option<ServerFollower>> {
        let is_followed = self.upstream.is_none() && !self.name_servers.is_empty();
        let started = is_followed
            .then(|| {
                let servers = engine.forwarder().servers().to_vec();
                ServerFollower::start(level, &Resolvers { servers, ..Resolvers::of_host() })
            })
            .transpose();
        started.map_err(|error| Error::io("start", "a process", &error))
    }

    fn policy(&self) -> Policy {
        let mut policy = Policy::default();
        let reached = REACHED.iter().filter_map(|text| text.parse().ok());
        policy.rules = reached.map(|to| Rule { allows: true, to, ports: ALL_PORTS }).collect();
        self.loopback.iter().for_each(|&at| policy.allow_host(at, ALL_PORTS));
        policy.redirects.extend(self.mapped.iter().map(|&(from, to)| Redirect {
            from,
            ports: ALL_PORTS,
            to,
            port: None,
        }));
        policy.redirects.extend(self.served.map(|(at, port)| Redirect {
            from: at.ip(),
            ports: at.port()..=at.port(),
            to: Ipv4Addr::LOCALHOST.into(),
            port: Some(port),
        }));
        policy
    }
}

/// Addresses for a device. Nobody else is on the link: duplicate address detection would only delay the first
/// packet.
pub(super) fn address(local: IpPrefix) -> Address {
    let is_v6 = local.ip().is_ipv6();
    let flags = if is_v6 { AddressFlags::NODAD } else { AddressFlags::empty() };
    Address { flags, ..Address::new(local) }
}

/// The default route by a gateway that need not be in the device's network; without one, by the device.
pub(super) fn default_route(is_v4: bool, gateway: Option<IpAddr>) -> Route {
    let to = if is_v4 { IpPrefix::ALL_V4 } else { IpPrefix::ALL_V6 };
    Route { gateway, onlink: gateway.is_some(), ..Route::new(to) }
}
