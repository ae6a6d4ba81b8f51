//! A NAT as it is wanted: the addresses of the inside, and what it reaches.

use crate::control::name::Name;
use crate::error::{Error, Result};
use crate::namespace::PrivateFiles;
use crate::namespace::attach::Interface;
use crate::nat::resolvers::{Resolvers, ServerFollower};
use crate::netem::profile::Profiles;
use crate::sandbox::Level;
use crate::supervisor::{random, seed};
use adit_device::netlink::{Address, AddressFlags, Route};
use adit_device::{IfName, Mode};
use adit_nat::dns::{Forwarder, Name as HostName, OwnNames};
use adit_nat::guest::GuestConfig;
use adit_nat::{Config, Destination, Gateway, Nat, Policy, Publishing, Rule, UdpFiltering};
use adit_packet::IpPrefix;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

/// The addresses of the inside: those that slirp4netns has, so that what users know holds.
///
/// ```text
/// 10.0.2.2    fd00::2     the NAT
/// 10.0.2.3    fd00::3     its name server
/// 10.0.2.100  fd00::100   the device inside
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Inside {
    /// The device, with the network.
    pub v4: IpPrefix,
    /// The same for IPv6.
    pub v6: IpPrefix,
}

impl Inside {
    /// The usual addresses.
    ///
    /// # Errors
    /// None.
    pub fn usual() -> Result<Self> {
        let prefix = |text: &str| text.parse().map_err(Error::usage);
        Ok(Self { v4: prefix("10.0.2.100/24")?, v6: prefix("fd00::100/64")? })
    }

    /// The addresses of the device.
    pub(super) fn devices(&self) -> [IpAddr; 2] {
        [self.v4.ip(), self.v6.ip()]
    }

    /// The first guest of each family, in the usual networks or in these.
    ///
    /// # Errors
    /// Two networks are of one family, or one is too small.
    pub fn of_guests(networks: &[IpPrefix]) -> Result<Self, String> {
        let guests = GuestConfig::of(networks).map_err(|error| error.to_string())?;
        let first = guests.first_guests();
        let of_family = |is_v4| first.iter().copied().find(|one| one.ip().is_ipv4() == is_v4);
        match (of_family(true), of_family(false)) {
            (Some(v4), Some(v6)) => Ok(Self { v4, v6 }),
            _ => Err("a family has no guests".to_owned()),
        }
    }

    fn v4_at(&self, number: u32) -> Option<Ipv4Addr> {
        match self.v4.network().ip() {
            IpAddr::V4(ip) => Some(Ipv4Addr::from_bits(ip.to_bits().checked_add(number)?)),
            IpAddr::V6(_) => None,
        }
    }

    fn v6_at(&self, number: u32) -> Option<Ipv6Addr> {
        match self.v6.network().ip() {
            IpAddr::V6(ip) => Some(Ipv6Addr::from_bits(ip.to_bits().checked_add(number.into())?)),
            IpAddr::V4(_) => None,
        }
    }
}

/// How bytes of TCP connections pass. A spliced stream takes less of the processor, but new connections and short
/// messages take longer (`bench/nat.sh`), so the splice is chosen by hand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Datapath {
    /// As packets.
    #[default]
    Auto,
    /// As packets of the device.
    Packet,
    /// From socket to socket in the kernel.
    Splice,
}

/// A NAT as it is wanted.
#[derive(Clone, Debug)]
pub struct WantedNat {
    /// How it is called.
    pub name: Option<Name>,
    /// The name of the device inside.
    pub device: IfName,
    /// Whether the inside has packets, or frames and with that ARP, DHCP and router advertisements.
    pub mode: Mode,
    /// The addresses inside.
    pub inside: Inside,
    /// The IP MTU of the device.
    pub mtu: u16,
    /// Which datagrams come in.
    pub udp: UdpFiltering,
    /// Ports of the host's loopback that the inside reaches at the NAT's address.
    pub allow_host: Vec<u16>,
    /// How bytes of TCP connections pass.
    pub datapath: Datapath,
    /// Destinations that are reached, whatever else denies them.
    pub allow: Vec<Destination>,
    /// Destinations that are denied.
    pub deny: Vec<Destination>,
    /// The most flows of one address inside.
    pub flow_limit: Option<u32>,
    /// The most flows that one address inside begins in a second.
    pub flow_rate: Option<u32>,
    /// Where flows are logged.
    pub flow_log: Option<PathBuf>,
    /// Ports of the host that lead inside.
    pub publish: Vec<Publishing>,
    /// Emulates the link between the inside and the NAT.
    pub netem: Option<Profiles>,
    /// Records the packets of the inside.
    pub capture: Option<PathBuf>,
    /// Names that the name server inside answers by itself, beside `host.adit.internal`.
    pub names: Vec<(HostName, IpAddr)>,
    /// The name servers that it asks; `None`: those of the host, also when they change.
    pub dns: Option<Vec<SocketAddr>>,
    /// The host's name servers at the start.
    pub resolvers: Resolvers,
}

/// The name of the NAT's address inside, which stands for the host.
const HOST: &str = "host.adit.internal";

/// The address of the NAT, among those of its network.
const GATEWAY: u32 = 2;

/// The address of its name server.
const RESOLVER: u32 = 3;

impl WantedNat {
    /// With the usual addresses, for the name servers of the host now.
    ///
    /// # Errors
    /// None.
    pub fn usual() -> Result<Self> {
        Ok(Self {
            name: None,
            device: IfName::new("tun0").map_err(Error::usage)?,
            mode: Mode::Tun,
            inside: Inside::usual()?,
            mtu: 1500,
            udp: UdpFiltering::default(),
            allow_host: Vec::new(),
            datapath: Datapath::Auto,
            allow: Vec::new(),
            deny: Vec::new(),
            flow_limit: None,
            flow_rate: None,
            flow_log: None,
            publish: Vec::new(),
            netem: None,
            capture: None,
            names: Vec::new(),
            dns: None,
            resolvers: Resolvers::of_host(),
        })
    }

    /// What a start does for the splice datapath, for `--dry-run`.
    #[must_use]
    pub fn splice_step(&self) -> Option<String> {
        let is_spliced = self.datapath == Datapath::Splice;
        is_spliced.then(|| {
            "lead TCP connections there to a socket of adit, by packet filter rules".to_owned()
        })
    }

    /// The device inside.
    #[must_use]
    pub fn interface(&self) -> Interface {
        let address = |local| Address { flags: AddressFlags::NODAD, ..Address::new(local) };
        let routes = [IpPrefix::ALL_V4, IpPrefix::ALL_V6].map(Route::new);
        // Frames need a neighbour to go to.
        let by = |(route, gateway)| match self.mode {
            Mode::Tap => Route { gateway: Some(gateway), ..route },
            Mode::Tun => route,
        };
        let routes = routes.into_iter().zip(self.gateways()).map(by).collect();
        Interface {
            name: self.device,
            mode: self.mode,
            addresses: vec![
                Address::new(self.inside.v4),
                // Nobody else is on the link: duplicate address detection would only delay the first packet.
                address(self.inside.v6),
            ],
            routes,
            mtu: Some(self.mtu.into()),
            mac: None,
        }
    }

    /// The NAT's addresses inside.
    fn gateways(&self) -> impl Iterator<Item = IpAddr> + use<> {
        let v4 = self.inside.v4_at(GATEWAY).map(IpAddr::V4);
        v4.into_iter().chain(self.inside.v6_at(GATEWAY).map(IpAddr::V6))
    }

    /// The addresses of the name server inside.
    pub(super) fn name_servers(&self) -> Vec<IpAddr> {
        let v4 = self.inside.v4_at(RESOLVER).map(IpAddr::V4);
        v4.into_iter().chain(self.inside.v6_at(RESOLVER).map(IpAddr::V6)).collect()
    }

    /// The name servers that it asks at first.
    fn resolvers(&self) -> &[SocketAddr] {
        self.dns.as_ref().unwrap_or(&self.resolvers.servers)
    }

    /// Follows the host's name servers, if they are asked.
    ///
    /// # Errors
    /// EMFILE, EAGAIN: no process can be started.
    pub fn follow(&self, level: Level) -> Result<Option<ServerFollower>> {
        let started = self.dns.is_none().then(|| ServerFollower::start(level, self.resolvers()));
        started.transpose().map_err(|error| Error::io("start", "a process", &error))
    }

    /// The files that differ inside.
    #[must_use]
    pub fn files(&self) -> PrivateFiles {
        let server = self.name_servers().first().copied();
        let resolv_conf = server.map(|server| self.resolvers.file(server));
        let gateway = self.gateways().next().map(|gateway| (HOST, gateway));
        let hosts = gateway.map(|gateway| PrivateFiles::hosts_and([gateway]));
        PrivateFiles { resolv_conf, hosts }
    }

    /// What guests are given, behind frames.
    ///
    /// # Errors
    /// A network is too small, or the MTU.
    pub(super) fn guests(&self) -> Result<GuestConfig> {
        let networks = GuestConfig::in_networks(Some(self.inside.v4), Some(self.inside.v6));
        let search = self.resolvers.search().filter_map(|name| name.parse().ok()).collect();
        let networks = networks.map_err(Error::usage)?;
        Ok(GuestConfig { mtu: self.mtu, seed: seed()?, search, ..networks })
    }

    /// The engine, of a host with these addresses.
    ///
    /// # Errors
    /// Those of the random source.
    pub(super) fn engine(&self, host_addresses: Vec<IpAddr>) -> Result<Gateway> {
        let mut names = OwnNames::new();
        let host: HostName = HOST.parse().map_err(Error::usage)?;
        let own = self.gateways().map(|gateway| (host.clone(), gateway));
        for (name, ip) in own.chain(self.names.iter().cloned()) {
            if !names.add(name.clone(), ip) {
                let message =
                    format!("'{name}' has more than {} addresses", OwnNames::ADDRESSES_MAX);
                return Err(Error::usage(message));
            }
        }
        let forwarder = Forwarder::new(names, random()?);
        let nat = Nat::new(self.config(host_addresses)?);
        let mut engine = Gateway::new(nat, forwarder, self.name_servers());
        engine.set_name_servers(self.resolvers().iter().copied());
        Ok(engine)
    }

    fn config(&self, host_addresses: Vec<IpAddr>) -> Result<Config> {
        let mut config = Config::new(random()?);
        config.inside = vec![self.inside.v4.network(), self.inside.v6.network()];
        (config.gateway_v4, config.gateway_v6) =
            (self.inside.v4_at(GATEWAY), self.inside.v6_at(GATEWAY));
        config.mtu = self.mtu;
        config.udp_filtering = self.udp;
        config.policy = self.policy(host_addresses);
        config.limits.flows_per_source = self.flow_limit.unwrap_or(config.limits.flows_per_source);
        config.limits.new_flows_per_second = self.flow_rate;
        Ok(config)
    }

    /// What the inside reaches, of a host with these addresses.
    pub(super) fn policy(&self, host_addresses: Vec<IpAddr>) -> Policy {
        let mut policy = Policy::default();
        policy.host_addresses = host_addresses;
        for gateway in self.gateways() {
            self.allow_host.iter().for_each(|&port| policy.allow_host(gateway, port..=port));
        }
        // The first that matches decides: what is allowed is reached, whatever is denied.
        let loopback = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
        for (&port, ip) in self.allow_host.iter().flat_map(|port| loopback.map(|ip| (port, ip))) {
            policy.rules.push(Rule { allows: true, to: IpPrefix::host(ip), ports: port..=port });
        }
        policy.rules.extend(self.allow.iter().flat_map(|to| to.rules(true)));
        policy.rules.extend(self.deny.iter().flat_map(|to| to.rules(false)));
        policy
    }
}
