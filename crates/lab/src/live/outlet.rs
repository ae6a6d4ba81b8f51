//! The way out at a link of a NAT: a gateway behind a port of the loop.

use adit_device::MacAddr;
use adit_device::netlink::OwnAddresses;
use adit_nat::dns::{self, Forwarder, OwnNames};
use adit_nat::guest::{GuestConfig, GuestV4, GuestV6};
use adit_nat::{Config, Gateway, Nat, Policy, PublishSpec, Rule};
use adit_packet::{IpPrefix, Pool, PoolConfig};
use adit_runtime::{Event, Handler, Interest, Nested, Next, Port, Runner, Token};
use adit_service::error::{Error, Result};
use adit_service::nat::port::{self, follow};
use adit_service::nat::publish::{self, INSIDE};
use adit_service::nat::resolvers::Resolvers;
use adit_service::supervisor::random;
use adit_topology::model::{Kind, Lab, NatNode};
use adit_topology::plan::{Outlet, Plan};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

/// The name by which the lab knows the host of the NAT.
const HOST: &str = "host.adit.internal";

/// The host's addresses have changed.
const ADDRESSES: Token = Token(0);

/// A way out as it is wanted.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct WantedOutlet {
    name: String,
    outlet: Outlet,
    mtu: u16,
    node: NatNode,
    /// Ports of the host, and the addresses to which they lead.
    publish: Vec<(PublishSpec, Vec<IpAddr>)>,
}

impl WantedOutlet {
    /// The way out at an end of a link; `None` if no NAT is there.
    pub(super) fn of(plan: &Plan, link: (usize, usize)) -> Option<Self> {
        let outlet = plan.outlets.iter().find(|outlet| outlet.link == link)?.clone();
        let node = &plan.lab.nodes[outlet.node];
        let Kind::Nat(nat) = &node.kind else { return None };
        let publish = nat.publish.iter().filter_map(|(target, spec)| {
            let station = plan.station(target)?;
            let interfaces = station.interfaces.iter();
            let addresses: Vec<IpAddr> = interfaces
                .flat_map(|interface| &interface.addresses)
                .map(|address| address.ip())
                .collect();
            // Of several ways out, that to the network of the target opens the port; else the first one.
            let is_near = |outlet: &&Outlet| {
                let networks = &outlet.gateways;
                networks.iter().any(|of| addresses.iter().any(|ip| of.contains(*ip)))
            };
            let mut of_node = plan.outlets.iter().filter(|other| other.node == outlet.node);
            let first = of_node.clone().next();
            let at = of_node.find(is_near).or(first)?;
            let families =
                [true, false].map(|is_v4| addresses.iter().find(|ip| ip.is_ipv4() == is_v4));
            let targets = families.into_iter().flatten().copied().collect();
            (at.link == link).then(|| (spec.clone(), targets))
        });
        let mtu = plan.lab.links[link.0].mtu;
        Some(Self {
            name: node.name.to_string(),
            mtu: if mtu == 0 { 1500 } else { mtu },
            publish: publish.collect(),
            node: (**nat).clone(),
            outlet,
        })
    }

    /// Opens it. It lists addresses of the host and reads its resolv.conf: not on the loop's thread.
    pub(super) fn open(&self) -> Result<Box<dyn Port>> {
        port::require_sockets()?;
        let failed = |error| Error::io("start", format_args!("the NAT '{}'", self.name), &error);
        let own_addresses = OwnAddresses::open()
            .map_err(|error| Error::io("list", "the host's addresses", &error))?;
        let resolvers = Resolvers::of_host();
        let mut gateway = self.gateway(own_addresses.list())?;
        gateway.set_name_servers(resolvers.servers.iter().copied());
        gateway.add_guests(INSIDE, self.guests()?).map_err(Error::usage)?;
        let mut runner = Runner::new(gateway, Pool::new(PoolConfig::default())).map_err(failed)?;
        let readable = Interest { readable: true, writable: false };
        runner.watch(&own_addresses, ADDRESSES, readable).map_err(failed)?;
        for (spec, targets) in &self.publish {
            publish::open(&mut runner, spec, targets)?;
        }
        let life = Arc::new(());
        let remote = runner.remote().map_err(failed)?;
        follow(remote, Arc::downgrade(&life), resolvers).map_err(failed)?;
        let owner = Owner { own_addresses, wanted: self.clone(), _life: life };
        let port = Nested::new(&*self.name, Some(self.mtu.into()), runner, INSIDE, owner);
        Ok(Box::new(port.map_err(failed)?))
    }

    fn v4(&self) -> Option<(Ipv4Addr, IpPrefix)> {
        self.outlet.gateways.iter().find_map(|gateway| match gateway.ip() {
            IpAddr::V4(ip) => Some((ip, gateway.network())),
            IpAddr::V6(_) => None,
        })
    }

    fn v6(&self) -> Option<(Ipv6Addr, IpPrefix)> {
        self.outlet.gateways.iter().find_map(|gateway| match gateway.ip() {
            IpAddr::V6(ip) => Some((ip, gateway.network())),
            IpAddr::V4(_) => None,
        })
    }

    fn gateway(&self, host_addresses: Vec<IpPrefix>) -> Result<Gateway> {
        let mut names = OwnNames::new();
        let host: dns::Name = HOST.parse().map_err(Error::usage)?;
        for gateway in &self.outlet.gateways {
            names.add(host.clone(), gateway.ip());
        }
        let mut config = Config::new(random()?);
        let behind_routers = self.outlet.routes.iter().map(|(network, _)| *network);
        let own = self.outlet.gateways.iter().map(|gateway| gateway.network());
        config.inside = own.chain(behind_routers).collect();
        config.gateway_v4 = self.v4().map(|(ip, _)| ip);
        config.gateway_v6 = self.v6().map(|(ip, _)| ip);
        config.mtu = self.mtu;
        config.policy = self.policy(host_addresses);
        let forwarder = Forwarder::new(names, random()?);
        Ok(Gateway::new(Nat::new(config), forwarder, self.outlet.resolvers.clone()))
    }

    /// Hosts have their addresses from the plan: DHCP would give those of others away.
    fn guests(&self) -> Result<GuestConfig> {
        let resolvers = || self.outlet.resolvers.iter();
        let v4 = self.v4().map(|(gateway, prefix)| GuestV4 {
            gateway,
            prefix,
            dns: resolvers()
                .filter_map(|ip| if let IpAddr::V4(ip) = ip { Some(*ip) } else { None })
                .collect(),
            pool: None,
        });
        let usual = GuestConfig::default();
        let link_local = usual.v6.as_ref().map(|v6| v6.link_local);
        let v6 = self.v6().zip(link_local).map(|((gateway, prefix), link_local)| GuestV6 {
            link_local,
            gateway,
            prefix,
            dns: resolvers()
                .filter_map(|ip| if let IpAddr::V6(ip) = ip { Some(*ip) } else { None })
                .collect(),
            pool: None,
        });
        let mac: MacAddr = self.outlet.mac;
        Ok(GuestConfig {
            mac,
            mtu: self.mtu,
            v4,
            v6,
            routes: self.outlet.routes.clone(),
            stations_max: Lab::STATIONS_MAX,
            advertises: false,
            ..usual
        })
    }

    /// What the inside reaches, of a host with these addresses.
    fn policy(&self, host_addresses: Vec<IpPrefix>) -> Policy {
        let mut policy = Policy::default();
        policy.host_addresses = host_addresses;
        for (&port, gateway) in self
            .node
            .allow_host
            .iter()
            .flat_map(|port| self.outlet.gateways.iter().map(move |of| (port, of)))
        {
            policy.allow_host(gateway.ip(), port..=port);
            let loopback = match gateway.ip() {
                IpAddr::V4(_) => IpAddr::from(Ipv4Addr::LOCALHOST),
                IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
            };
            policy.rules.push(Rule {
                allows: true,
                to: IpPrefix::host(loopback),
                ports: port..=port,
            });
        }
        // The first that matches decides: what is allowed is reached, whatever is denied.
        policy.rules.extend(self.node.allow.iter().flat_map(|to| to.rules(true)));
        policy.rules.extend(self.node.deny.iter().flat_map(|to| to.rules(false)));
        policy
    }
}

/// The owner of the loop behind the port.
#[derive(Debug)]
struct Owner {
    own_addresses: OwnAddresses,
    wanted: WantedOutlet,
    /// The name servers are followed while this is there.
    _life: Arc<()>,
}

impl Handler<Gateway> for Owner {
    fn event(&mut self, runner: &mut Runner<Gateway>, event: Event) -> Next {
        if matches!(event, Event::Ready(ADDRESSES)) {
            match self.own_addresses.update() {
                Ok(true) => {
                    let policy = self.wanted.policy(self.own_addresses.list());
                    runner.engine_mut().set_policy(policy);
                }
                Ok(false) => {}
                // Those that are known stay out of reach; it would be ready forever.
                Err(_) => runner.unwatch(&self.own_addresses),
            }
        }
        Next::Continue
    }
}
