//! A NAT as it is wanted.

use crate::control::name::Name;
use crate::error::{Error, Result};
use crate::metrics::ListenAddress;
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
use adit_nat::{Access, Config, Gateway, InsideAddresses, Nat, Policy, Publishing, UdpFiltering};
use adit_packet::IpPrefix;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

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
    pub inside: InsideAddresses,
    /// The IP MTU of the device.
    pub mtu: u16,
    /// Which datagrams come in.
    pub udp: UdpFiltering,
    /// What the inside reaches, and how much of it.
    pub access: Access,
    /// How bytes of TCP connections pass.
    pub datapath: Datapath,
    /// Where flows are logged.
    pub flow_log: Option<PathBuf>,
    /// Ports of the host that lead inside.
    pub publish: Vec<Publishing>,
    /// Emulates the link between the inside and the NAT.
    pub netem: Option<Profiles>,
    /// Records the packets of the inside.
    pub capture: Option<PathBuf>,
    /// Where metrics are read by TCP.
    pub metrics: Option<ListenAddress>,
    /// Names that the name server inside answers by itself, beside `host.adit.internal`.
    pub names: Vec<(HostName, IpAddr)>,
    /// The name servers that it asks; `None`: those of the host, also when they change.
    pub dns: Option<Vec<SocketAddr>>,
    /// The host's name servers at the start.
    pub resolvers: Resolvers,
}

/// The name of the NAT's address inside, which stands for the host.
const HOST: &str = "host.adit.internal";

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
            inside: InsideAddresses::usual().map_err(Error::usage)?,
            mtu: 1500,
            udp: UdpFiltering::default(),
            access: Access::default(),
            datapath: Datapath::Auto,
            flow_log: None,
            publish: Vec::new(),
            netem: None,
            capture: None,
            metrics: None,
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
        let routes = routes.into_iter().zip(self.inside.gateway_ips()).map(by).collect();
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

    /// The name servers that it asks at first.
    fn resolvers(&self) -> &[SocketAddr] {
        self.dns.as_ref().unwrap_or(&self.resolvers.servers)
    }

    /// Follows the host's name servers, if they are asked.
    ///
    /// # Errors
    /// EMFILE, EAGAIN: no process can be started.
    pub fn follow(&self, level: Level) -> Result<Option<ServerFollower>> {
        let started = self.dns.is_none().then(|| ServerFollower::start(level, &self.resolvers));
        started.transpose().map_err(|error| Error::io("start", "a process", &error))
    }

    /// The files that differ inside.
    #[must_use]
    pub fn files(&self) -> PrivateFiles {
        let server = self.inside.name_servers().next();
        let resolv_conf = server.map(|server| self.resolvers.file(server));
        let gateway = self.inside.gateway_ips().next().map(|gateway| (HOST, gateway));
        let hosts = gateway.map(|gateway| PrivateFiles::hosts_and([gateway]));
        PrivateFiles { resolv_conf, hosts }
    }

    /// What guests are given, behind frames.
    ///
    /// # Errors
    /// A network is too small, or the MTU.
    pub(super) fn guests(&self) -> Result<GuestConfig> {
        let networks = GuestConfig::in_networks(Some(self.inside.v4), Some(self.inside.v6));
        let search = self.resolvers.search();
        let networks = networks.map_err(Error::usage)?;
        Ok(GuestConfig { mtu: self.mtu, seed: seed()?, search, ..networks })
    }

    /// The engine, of a host with these addresses.
    ///
    /// # Errors
    /// Those of the random source.
    pub(super) fn engine(&self, host_addresses: Vec<IpPrefix>) -> Result<Gateway> {
        let mut names = OwnNames::new();
        let host: HostName = HOST.parse().map_err(Error::usage)?;
        let own = self.inside.gateway_ips().map(|gateway| (host.clone(), gateway));
        for (name, ip) in own.chain(self.names.iter().cloned()) {
            if !names.add(name.clone(), ip) {
                let message =
                    format!("'{name}' has more than {} addresses", OwnNames::ADDRESSES_MAX);
                return Err(Error::usage(message));
            }
        }
        let forwarder = Forwarder::new(names, random()?);
        let nat = Nat::new(self.config(host_addresses)?);
        let mut engine = Gateway::new(nat, forwarder, self.inside.name_servers().collect());
        engine.set_name_servers(self.resolvers().iter().copied());
        Ok(engine)
    }

    fn config(&self, host_addresses: Vec<IpPrefix>) -> Result<Config> {
        let mut config = Config::new(random()?);
        config.inside = vec![self.inside.v4.network(), self.inside.v6.network()];
        (config.gateway_v4, config.gateway_v6) = self.inside.gateways();
        config.mtu = self.mtu;
        config.udp_filtering = self.udp;
        config.policy = self.policy(host_addresses);
        self.access.limit(&mut config.limits);
        Ok(config)
    }

    /// What the inside reaches, of a host with these addresses.
    pub(super) fn policy(&self, host_addresses: Vec<IpPrefix>) -> Policy {
        self.access.policy(self.inside.gateway_ips(), host_addresses)
    }
}
