//! A NAT as it is wanted: the addresses of the inside, and what it reaches.

use crate::control::name::Name;
use crate::error::{Error, Result};
use crate::namespace::PrivateFiles;
use crate::namespace::attach::Interface;
use crate::nat::resolvers::Resolvers;
use crate::netem::profile::Profiles;
use adit_device::netlink::{Address, AddressFlags, Netlink, Route};
use adit_device::{IfName, Mode};
use adit_nat::{Config, Destination, Policy, Publishing, Redirect, Rule, UdpFiltering};
use adit_packet::IpPrefix;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;

/// The port of name servers.
const DNS: u16 = 53;

/// The addresses of the inside: those that slirp4netns has, so that what users know holds.
///
/// ```text
/// 10.0.2.2    fd00::2     the NAT
/// 10.0.2.3 .. fd00::3 ..  the name servers of the host
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

/// A NAT as it is wanted.
#[derive(Clone, Debug)]
pub struct WantedNat {
    /// How it is called.
    pub name: Option<Name>,
    /// The name of the device inside.
    pub device: IfName,
    /// The addresses inside.
    pub inside: Inside,
    /// The IP MTU of the device.
    pub mtu: u16,
    /// Which datagrams come in.
    pub udp: UdpFiltering,
    /// Ports of the host's loopback that the inside reaches at the NAT's address.
    pub allow_host: Vec<u16>,
    /// Destinations that are reached, whatever else denies them.
    pub allow: Vec<Destination>,
    /// Destinations that are denied.
    pub deny: Vec<Destination>,
    /// The most flows of one address inside.
    pub flow_limit: Option<u32>,
    /// Where flows are logged.
    pub flow_log: Option<PathBuf>,
    /// Ports of the host that lead inside.
    pub publish: Vec<Publishing>,
    /// Emulates the link between the inside and the NAT.
    pub netem: Option<Profiles>,
    /// Records the packets of the inside.
    pub capture: Option<PathBuf>,
    /// The host's name servers.
    pub resolvers: Resolvers,
}

/// The address of the NAT, among those of its network.
const GATEWAY: u32 = 2;

/// The first name server.
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
            inside: Inside::usual()?,
            mtu: 1500,
            udp: UdpFiltering::default(),
            allow_host: Vec::new(),
            allow: Vec::new(),
            deny: Vec::new(),
            flow_limit: None,
            flow_log: None,
            publish: Vec::new(),
            netem: None,
            capture: None,
            resolvers: Resolvers::of_host(),
        })
    }

    /// The device inside.
    #[must_use]
    pub fn interface(&self) -> Interface {
        let address = |local| Address { flags: AddressFlags::NODAD, ..Address::new(local) };
        Interface {
            name: self.device,
            mode: Mode::Tun,
            addresses: vec![
                Address::new(self.inside.v4),
                // Nobody else is on the link: duplicate address detection would only delay the first packet.
                address(self.inside.v6),
            ],
            routes: [IpPrefix::ALL_V4, IpPrefix::ALL_V6].map(Route::new).to_vec(),
            mtu: Some(self.mtu.into()),
            mac: None,
        }
    }

    /// The name servers inside, each with that of the host for which it stands.
    pub(super) fn servers(&self) -> Vec<(IpAddr, IpAddr)> {
        let inside = |(number, server): (u32, &IpAddr)| {
            let own: IpAddr = match server {
                IpAddr::V4(_) => self.inside.v4_at(RESOLVER + number)?.into(),
                IpAddr::V6(_) => self.inside.v6_at(RESOLVER + number)?.into(),
            };
            Some((own, *server))
        };
        (0..).zip(&self.resolvers.servers).filter_map(inside).collect()
    }

    /// The files that differ inside.
    #[must_use]
    pub fn files(&self) -> PrivateFiles {
        let servers: Vec<IpAddr> = self.servers().into_iter().map(|(own, _)| own).collect();
        let resolv_conf = (!servers.is_empty()).then(|| self.resolvers.file(&servers));
        let hosts = self.inside.v4_at(GATEWAY).map(|gateway| {
            let hosts = std::fs::read_to_string("/etc/hosts").unwrap_or_default();
            let end = if hosts.is_empty() || hosts.ends_with('\n') { "" } else { "\n" };
            format!("{hosts}{end}{gateway}\thost.adit.internal\n")
        });
        PrivateFiles { resolv_conf, hosts }
    }

    /// The configuration of the engine.
    ///
    /// # Errors
    /// Those of netlink, and of the random source.
    pub(super) fn config(&self) -> Result<Config> {
        let mut secret = [0; 16];
        rustix::rand::getrandom(&mut secret, rustix::rand::GetRandomFlags::empty())
            .map_err(|errno| Error::io("read", "random bytes", &errno.into()))?;
        let mut config = Config::new(secret);
        config.inside = vec![self.inside.v4.network(), self.inside.v6.network()];
        (config.gateway_v4, config.gateway_v6) =
            (self.inside.v4_at(GATEWAY), self.inside.v6_at(GATEWAY));
        config.mtu = self.mtu;
        config.udp_filtering = self.udp;
        config.policy = self.policy(host_addresses()?);
        config.limits.flows_per_source = self.flow_limit.unwrap_or(config.limits.flows_per_source);
        Ok(config)
    }

    /// What the inside reaches, of a host with these addresses.
    pub(super) fn policy(&self, host_addresses: Vec<IpAddr>) -> Policy {
        let mut policy = Policy::default();
        policy.host_addresses = host_addresses;
        for (from, to) in self.servers() {
            policy.redirects.push(Redirect { from, ports: DNS..=DNS, to, port: Some(DNS) });
        }
        let v4 = self.inside.v4_at(GATEWAY).map(IpAddr::V4);
        let v6 = self.inside.v6_at(GATEWAY).map(IpAddr::V6);
        for gateway in v4.into_iter().chain(v6) {
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

/// The addresses of the host, in the namespace of this process.
pub(super) fn host_addresses() -> Result<Vec<IpAddr>> {
    let listed = Netlink::open().and_then(|mut netlink| netlink.addresses(None));
    let listed = listed.map_err(|error| Error::io("list", "the host's addresses", &error))?;
    Ok(listed.into_iter().map(|(_, address)| address.local.ip()).collect())
}
