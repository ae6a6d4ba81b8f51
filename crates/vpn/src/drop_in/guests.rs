//! What guests behind frames are given: a TAP device without addresses, or a virtual machine.

use super::addressing::{Family, LOCAL_GATEWAY, OWN_V6, Resolved};
use adit_nat::dns::Name;
use adit_nat::guest::{AddressPool, GuestConfig, GuestV4, GuestV6};
use adit_packet::MacAddr;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

/// The MAC address of the gateway, which passt has as well.
const MAC: MacAddr = MacAddr([0x9a, 0x55, 0x9a, 0x55, 0x9a, 0x55]);

/// The link-local address of the gateway where the host's has none.
const LINK_LOCAL: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);

/// How long an address is leased: it is the guest's as long as the program runs.
const LEASE: Duration = Duration::from_secs(24 * 3600);

/// What guests are told beside their addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GuestOptions {
    /// Addresses by DHCP.
    pub dhcp: bool,
    /// Addresses by DHCPv6.
    pub dhcp_v6: bool,
    /// Router advertisements.
    pub advertises: bool,
    /// Name servers in place of the NAT's own; `None` for that.
    pub name_servers: Option<Vec<IpAddr>>,
    /// Answers neighbour solicitations.
    pub solicited: bool,
    /// Domains that are searched for short names.
    pub search: Vec<Name>,
    /// The name of the guest.
    pub hostname: Option<Name>,
    /// Its name with all domains.
    pub fqdn: Option<Name>,
}

impl Default for GuestOptions {
    fn default() -> Self {
        Self {
            dhcp: true,
            dhcp_v6: true,
            advertises: true,
            name_servers: None,
            solicited: true,
            search: Vec::new(),
            hostname: None,
            fqdn: None,
        }
    }
}

impl Resolved {
    /// The configuration for one guest, which gets the addresses that were resolved. The NAT takes what it needs
    /// for that as well.
    pub(super) fn guests(&mut self, options: &GuestOptions) -> GuestConfig {
        let mut config = GuestConfig {
            mac: MAC,
            mtu: self.inside.mtu,
            v4: None,
            v6: None,
            // A guest with the host's network looks for its neighbours on the link.
            off_link: true,
            advertises: options.advertises,
            solicited: options.solicited,
            search: options.search.clone(),
            hostname: options.hostname.clone(),
            fqdn: options.fqdn.clone(),
            ..GuestConfig::default()
        };
        for family in self.families.clone() {
            let servers = self.name_servers(&family, options);
            let Some(address) = family.addresses.first().copied() else { continue };
            match address.ip() {
                IpAddr::V4(ip) => {
                    let gateway = family.gateway.unwrap_or(LOCAL_GATEWAY.into());
                    let pool = AddressPool { first: ip, last: ip, lease: LEASE };
                    config.v4 = match gateway {
                        IpAddr::V4(gateway) => Some(GuestV4 {
                            gateway,
                            prefix: address.network(),
                            dns: servers.iter().filter_map(v4).collect(),
                            pool: options.dhcp.then_some(pool),
                        }),
                        IpAddr::V6(_) => None,
                    };
                }
                IpAddr::V6(ip) => {
                    if options.advertises {
                        // With SLAAC the guest chooses its address in the network.
                        self.inside.sources.retain(|source| source.ip().is_ipv4());
                        self.inside.sources.push(address.network());
                    }
                    let gateway = family.gateway.as_ref().and_then(v6);
                    let is_link_local = |ip: &Ipv6Addr| ip.is_unicast_link_local();
                    let pool = AddressPool { first: ip, last: ip, lease: LEASE };
                    config.v6 = Some(GuestV6 {
                        link_local: gateway.filter(is_link_local).unwrap_or(LINK_LOCAL),
                        gateway: gateway.filter(|ip| !is_link_local(ip)).unwrap_or(OWN_V6),
                        prefix: address.network(),
                        dns: servers.iter().filter_map(v6).collect(),
                        pool: options.dhcp_v6.then_some(pool),
                    });
                }
            }
        }
        config.own = self.own_addresses();
        config
    }

    /// The name servers of a family that the guest is given; without others the NAT's own.
    fn name_servers(&mut self, family: &Family, options: &GuestOptions) -> Vec<IpAddr> {
        let of_family = |ip: &&IpAddr| ip.is_ipv4() == family.is_v4;
        if let Some(given) = &options.name_servers {
            let given = given.iter().filter(of_family).copied();
            return given.take(GuestConfig::SERVERS_MAX).collect();
        }
        if !self.inside.name_servers.iter().any(|ip| of_family(&ip)) {
            let own = self.inside.own.iter().find(of_family).copied();
            self.inside.name_servers.extend(own);
        }
        self.inside.name_servers.iter().filter(of_family).copied().collect()
    }

    /// The addresses of the NAT, for which it answers on the link.
    fn own_addresses(&self) -> Vec<IpAddr> {
        let inside = &self.inside;
        let mapped = inside.mapped.iter().map(|(from, _)| *from);
        let own = inside.own.iter().chain(&inside.loopback).chain(&inside.name_servers);
        own.copied().chain(mapped).collect()
    }
}

fn v4(ip: &IpAddr) -> Option<std::net::Ipv4Addr> {
    match ip {
        IpAddr::V4(ip) => Some(*ip),
        IpAddr::V6(_) => None,
    }
}

fn v6(ip: &IpAddr) -> Option<Ipv6Addr> {
    match ip {
        IpAddr::V6(ip) => Some(*ip),
        IpAddr::V4(_) => None,
    }
}
