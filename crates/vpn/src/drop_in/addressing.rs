//! The addresses inside, as pasta and passt choose them: those of the host, unless others are given.

use super::host::{Host, Outbound};
use super::inside::Inside;
use adit_device::IfName;
use adit_packet::IpPrefix;
use adit_service::error::{Error, Result};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The addresses of a host without a network, and its gateway.
const LOCAL: Ipv4Addr = Ipv4Addr::new(169, 254, 2, 1);
pub(super) const LOCAL_GATEWAY: Ipv4Addr = Ipv4Addr::new(169, 254, 2, 2);
const LOCAL_LEN: u8 = 16;

/// The NAT's own IPv6 address where no other is its own: errors and clients on the host's loopback come from it.
pub(super) const OWN_V6: Ipv6Addr = Ipv6Addr::new(0xfd61, 0x6469, 0x7400, 0, 0, 0, 0, 1);

/// An IPv6 network that is given has 64 bits, as SLAAC needs them.
const V6_LEN: u8 = 64;

/// How the inside is addressed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Addressing {
    /// The inside has IPv4, and IPv6.
    pub families: [bool; 2],
    /// The interface of the host that is copied; `None` for that of the default route.
    pub interface: Option<IfName>,
    /// Addresses in place of the host's, with the length of their network if that is given too.
    pub addresses: Vec<(IpAddr, Option<u8>)>,
    /// The length of the IPv4 network, if it is given alone.
    pub netmask: Option<u8>,
    /// Gateways in place of the host's.
    pub gateways: Vec<IpAddr>,
    /// IP protocols that are not translated.
    pub without: Vec<u8>,
    /// The IP MTU.
    pub mtu: u16,
    /// The addresses of the name server inside.
    pub dns_forward: Vec<IpAddr>,
    /// The name servers that it asks, in place of the host's.
    pub dns_host: Vec<IpAddr>,
    /// Where flows to the outside come from.
    pub outbound: Vec<Outbound>,
    /// The gateways stand for the host's loopback.
    pub map_gateway: bool,
    /// Addresses that stand for the host's loopback.
    pub map_host: Vec<IpAddr>,
    /// Addresses that stand for the host's own address, which is that of the inside as well.
    pub map_guest: Vec<IpAddr>,
}

/// The network inside, as it is made.
#[derive(Clone, Debug)]
pub(super) struct Resolved {
    /// The interface of the host that was copied.
    pub(super) interface: Option<IfName>,
    /// IPv4, then IPv6, as far as they are there.
    pub(super) families: Vec<Family>,
    pub(super) inside: Inside,
}

/// One family inside.
#[derive(Clone, Debug)]
pub(super) struct Family {
    pub(super) is_v4: bool,
    /// At least one.
    pub(super) addresses: Vec<IpPrefix>,
    pub(super) gateway: Option<IpAddr>,
}

impl Resolved {
    /// The first address of each family.
    pub(super) fn devices(&self) -> Vec<IpAddr> {
        let first = |family: &Family| Some(family.addresses.first()?.ip());
        self.families.iter().filter_map(first).collect()
    }
}

impl Addressing {
    /// Reads from the host what is not given.
    pub(super) fn resolve(&self) -> Result<Resolved> {
        let failed = |error| Error::io("list", "the host's addresses", &error);
        let mut host = Host::open().map_err(failed)?;
        let (mut interface, mut families) = (None, Vec::new());
        for (is_v4, _) in [true, false].into_iter().zip(self.families).filter(|(_, is_on)| *is_on) {
            let copied = host.copy(is_v4, self.interface.as_ref()).map_err(failed)?;
            if let Some(copied) = &copied {
                interface.get_or_insert(copied.interface);
            }
            let host_addresses = copied.as_ref().map(|copied| copied.addresses.clone());
            let host_gateway = copied.and_then(|copied| copied.gateway);
            families.extend(self.family(is_v4, host_addresses, host_gateway)?);
        }
        let inside = self.inside(&families);
        Ok(Resolved { interface, families, inside })
    }

    /// One family, of what the host has of it; `None`: the inside has none of it.
    fn family(
        &self,
        is_v4: bool,
        host_addresses: Option<Vec<IpPrefix>>,
        host_gateway: Option<IpAddr>,
    ) -> Result<Option<Family>> {
        let is_of_family = |ip: &&IpAddr| ip.is_ipv4() == is_v4;
        let given = self.gateways.iter().rfind(is_of_family).copied();
        let gateway = given.or(host_gateway);
        if let Some((ip, len)) = self.addresses.iter().rfind(|(ip, _)| ip.is_ipv4() == is_v4) {
            let len = match ip {
                IpAddr::V4(ip) => len.or(self.netmask).unwrap_or_else(|| class_of(*ip)),
                IpAddr::V6(_) => V6_LEN,
            };
            let address = IpPrefix::new(*ip, len).map_err(Error::usage)?;
            return Ok(Some(Family { is_v4, addresses: vec![address], gateway }));
        }
        if let Some(addresses) = host_addresses {
            return Ok(Some(Family { is_v4, addresses, gateway }));
        }
        if !is_v4 {
            return Ok(None);
        }
        let address = IpPrefix::new(LOCAL.into(), LOCAL_LEN).map_err(Error::usage)?;
        let gateway = gateway.or(Some(LOCAL_GATEWAY.into()));
        Ok(Some(Family { is_v4, addresses: vec![address], gateway }))
    }

    fn inside(&self, families: &[Family]) -> Inside {
        let (mut own, mut loopback, mut mapped) = (Vec::new(), Vec::new(), Vec::new());
        for family in families {
            let of_family = |ip: &&IpAddr| ip.is_ipv4() == family.is_v4;
            let gateway = family.gateway.filter(|_| self.map_gateway);
            let host = self.map_host.iter().rfind(of_family).copied().or(gateway);
            loopback.extend(host);
            let server = self.dns_forward.iter().find(of_family).copied();
            own.push(host.or(server).unwrap_or(match family.is_v4 {
                true => LOCAL_GATEWAY.into(),
                false => OWN_V6.into(),
            }));
            let device = family.addresses.first().map(|address| address.ip());
            mapped.extend(self.map_guest.iter().rfind(of_family).copied().zip(device));
        }
        let addresses = families.iter().flat_map(|family| &family.addresses);
        Inside {
            // Its neighbours are the host's, and outside.
            sources: addresses.map(|address| IpPrefix::host(address.ip())).collect(),
            has_neighbours: true,
            own,
            loopback,
            mapped,
            served: None,
            name_servers: self.dns_forward.clone(),
            names: Vec::new(),
            upstream: Some(self.dns_host.clone()).filter(|servers| !servers.is_empty()),
            without: self.without.clone(),
            mtu: self.mtu,
            ports: 0,
        }
    }
}

/// The length of the network of an address by its class, as before 1993.
fn class_of(ip: Ipv4Addr) -> u8 {
    match ip.octets()[0] {
        0..128 => 8,
        128..192 => 16,
        192..224 => 24,
        224.. => 32,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addressing() -> Addressing {
        Addressing {
            families: [true, true],
            interface: None,
            addresses: Vec::new(),
            netmask: None,
            gateways: Vec::new(),
            without: Vec::new(),
            mtu: 65520,
            dns_forward: Vec::new(),
            dns_host: Vec::new(),
            outbound: Vec::new(),
            map_gateway: true,
            map_host: Vec::new(),
            map_guest: Vec::new(),
        }
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn given_addresses_take_the_place_of_the_hosts() {
        let host = || Some(vec!["192.0.2.9/24".parse().unwrap()]);
        let family = |one: &Addressing, host| one.family(true, host, Some(ip("192.0.2.1")));
        let text = |family: Result<Option<Family>>| {
            let family = family.unwrap().unwrap();
            (family.addresses[0].to_string(), family.gateway.unwrap().to_string())
        };
        let pair = |address: &str, gateway: &str| (address.to_owned(), gateway.to_owned());
        let mut one = addressing();
        assert_eq!(text(family(&one, host())), pair("192.0.2.9/24", "192.0.2.1"));
        let local = one.family(true, None, None);
        assert_eq!(text(local), pair("169.254.2.1/16", "169.254.2.2"));
        assert!(one.family(false, None, None).unwrap().is_none());
        one.addresses = vec![(ip("10.0.2.100"), None)];
        one.gateways = vec![ip("10.0.2.2")];
        assert_eq!(text(family(&one, host())), pair("10.0.2.100/8", "10.0.2.2"));
        one.netmask = Some(24);
        assert_eq!(text(family(&one, None)), pair("10.0.2.100/24", "10.0.2.2"));
        one.addresses = vec![(ip("10.0.2.100"), Some(25))];
        assert_eq!(text(family(&one, None)), pair("10.0.2.100/25", "10.0.2.2"));
    }

    #[test]
    fn mapped_addresses_are_the_nats_own_and_the_gateway_is_the_hosts_without_map() {
        let families = [Family {
            is_v4: true,
            addresses: vec!["192.0.2.9/24".parse().unwrap(), "192.0.2.10/24".parse().unwrap()],
            gateway: Some(ip("192.0.2.1")),
        }];
        let mut one = addressing();
        let inside = one.inside(&families);
        assert_eq!((inside.own, inside.loopback), (vec![ip("192.0.2.1")], vec![ip("192.0.2.1")]));
        let sources: Vec<String> = inside.sources.iter().map(ToString::to_string).collect();
        assert_eq!(sources, ["192.0.2.9/32", "192.0.2.10/32"]);
        one.map_gateway = false;
        one.dns_forward = vec![ip("169.254.1.1")];
        one.map_guest = vec![ip("169.254.1.2")];
        let inside = one.inside(&families);
        assert_eq!((inside.own, inside.loopback), (vec![ip("169.254.1.1")], vec![]));
        assert_eq!(inside.mapped, [(ip("169.254.1.2"), ip("192.0.2.9"))]);
        assert_eq!(inside.name_servers, [ip("169.254.1.1")]);
        one.map_host = vec![ip("169.254.1.3")];
        assert_eq!(one.inside(&families).own, [ip("169.254.1.3")]);
    }
}
