//! What the guests of a port are given.

use alloc::vec::Vec;
use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::time::Duration;

use adit_packet::{IpPrefix, MacAddr};

use crate::dns::Name;

/// The network of the guests of one port. Start from [`Self::default`], the addresses of slirp:
/// `10.0.2.0/24` and `fd00::/64`, gateway 2, name server 3, guests from 15 on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GuestConfig {
    /// The MAC address of the gateway.
    pub mac: MacAddr,
    /// The only MAC addresses that may send; empty for any.
    pub macs: Vec<MacAddr>,
    /// How many MAC addresses are learned at most.
    pub stations_max: usize,
    /// The IP MTU that guests are given.
    pub mtu: u16,
    /// IPv4; `None` drops it.
    pub v4: Option<GuestV4>,
    /// IPv6; `None` drops it.
    pub v6: Option<GuestV6>,
    /// Networks behind routers among the guests, each with the address of its router here: sources that only the
    /// router may use, and where packets for them go.
    pub routes: Vec<(IpPrefix, IpAddr)>,
    /// Addresses of the NAT beside gateways and name servers: ARP and neighbour discovery answer for them.
    pub own: Vec<IpAddr>,
    /// Answers ARP and neighbour discovery for every address that no guest has. For guests that have the host's
    /// own prefix: other hosts of that prefix are behind the NAT too.
    pub off_link: bool,
    /// Advertises the router. Without it guests have their IPv6 addresses and routes from elsewhere.
    pub advertises: bool,
    /// Answers neighbour solicitations, as guests need them for IPv6.
    pub solicited: bool,
    /// The domains that are searched for short names.
    pub search: Vec<Name>,
    /// The name of the guest, as DHCP gives it (option 12 of RFC 2132).
    pub hostname: Option<Name>,
    /// Its name with all domains, as DHCP (RFC 4702) and DHCPv6 (RFC 4704) give it.
    pub fqdn: Option<Name>,
    /// Spreads the router advertisements in time.
    pub seed: u64,
}

/// IPv4 for guests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GuestV4 {
    /// The gateway, which is the DHCP server. A gateway outside the prefix is announced as a route of its
    /// own (RFC 3442).
    pub gateway: Ipv4Addr,
    /// The network of the guests: the only sources that they may use.
    pub prefix: IpPrefix,
    /// Name servers.
    pub dns: Vec<Ipv4Addr>,
    /// What DHCP assigns; `None` for no DHCP server.
    pub pool: Option<AddressPool<Ipv4Addr>>,
}

/// IPv6 for guests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GuestV6 {
    /// The link-local address of the gateway.
    pub link_local: Ipv6Addr,
    /// A global address of the gateway.
    pub gateway: Ipv6Addr,
    /// The network of the guests: the only global sources that they may use. Of 64 bits it is announced
    /// for SLAAC.
    pub prefix: IpPrefix,
    /// Name servers.
    pub dns: Vec<Ipv6Addr>,
    /// What DHCPv6 assigns; `None` leaves addresses to SLAAC, and DHCPv6 gives the name servers only.
    pub pool: Option<AddressPool<Ipv6Addr>>,
}

/// A range of addresses for guests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddressPool<A> {
    /// The first address: that of the first guest.
    pub first: A,
    /// The last address. At most [`GuestConfig::LEASES_MAX`] of the range are used.
    pub last: A,
    /// How long a lease is valid.
    pub lease: Duration,
}

impl GuestConfig {
    /// The most addresses that DHCP assigns in each family: a network of 24 bits.
    pub const LEASES_MAX: u32 = 256;

    /// The most name servers of a family: more than resolvers use.
    pub const SERVERS_MAX: usize = 4;

    /// The guests of these networks, with the numbers that [`Self::default`] has in its own: gateway 2, name server 3,
    /// guests from 15 on. A family without a network is dropped.
    ///
    /// # Errors
    ///
    /// [`GuestConfigError::Small`]: a network has fewer than 32 addresses.
    pub fn in_networks(
        v4: Option<IpPrefix>,
        v6: Option<IpPrefix>,
    ) -> Result<Self, GuestConfigError> {
        let usual = Self::default();
        let small = |prefix: IpPrefix, len_max: u8| {
            if prefix.len() <= len_max { Ok(()) } else { Err(GuestConfigError::Small(prefix)) }
        };
        let v4 = match (v4.map(|prefix| (prefix.network(), prefix.network().ip())), usual.v4) {
            (Some((prefix, IpAddr::V4(network))), Some(mut usual)) => {
                small(prefix, 27)?;
                let at = |ip: Ipv4Addr| network.plus(ip.octets()[3].into());
                (usual.gateway, usual.prefix) = (at(usual.gateway), prefix);
                usual.dns.iter_mut().for_each(|ip| *ip = at(*ip));
                // All but the broadcast address.
                let last = Ipv4Addr::from_bits(usual.broadcast().to_bits() - 1);
                let pool = |pool: AddressPool<_>| AddressPool {
                    first: at(pool.first),
                    last: at(pool.last).min(last),
                    ..pool
                };
                usual.pool = usual.pool.map(pool);
                Some(usual)
            }
            _ => None,
        };
        let v6 = match (v6.map(|prefix| (prefix.network(), prefix.network().ip())), usual.v6) {
            (Some((prefix, IpAddr::V6(network))), Some(mut usual)) => {
                small(prefix, 120)?;
                let at = |ip: Ipv6Addr| network.plus(ip.segments()[7].into());
                (usual.gateway, usual.prefix) = (at(usual.gateway), prefix);
                usual.dns.iter_mut().for_each(|ip| *ip = at(*ip));
                let pool = |pool: AddressPool<_>| AddressPool {
                    first: at(pool.first),
                    last: at(pool.last),
                    ..pool
                };
                usual.pool = usual.pool.map(pool);
                Some(usual)
            }
            _ => None,
        };
        Ok(Self { v4, v6, ..Self::default() })
    }

    /// The guests of these networks, at most one of each family; a family without one has the usual.
    ///
    /// # Errors
    ///
    /// [`GuestConfigError::Small`]; [`GuestConfigError::Several`].
    pub fn of(networks: &[IpPrefix]) -> Result<Self, GuestConfigError> {
        let of_family = |is_v4| {
            let mut all = networks.iter().filter(|one| one.ip().is_ipv4() == is_v4);
            match (all.next(), all.next()) {
                (Some(&one), Some(&other)) => Err(GuestConfigError::Several(one, other)),
                (one, _) => Ok(one.copied()),
            }
        };
        let usual = Self::default();
        let v4 = of_family(true)?.or(usual.v4.map(|v4| v4.prefix));
        Self::in_networks(v4, of_family(false)?.or(usual.v6.map(|v6| v6.prefix)))
    }

    /// The address of the first guest that asks for one, with its network, of each family.
    #[must_use]
    pub fn first_guests(&self) -> Vec<IpPrefix> {
        let v4 = self.v4.as_ref().and_then(|v4| Some((v4.pool?.first.into(), v4.prefix)));
        let v6 = self.v6.as_ref().and_then(|v6| Some((v6.pool?.first.into(), v6.prefix)));
        let with_network = |(ip, network): (IpAddr, IpPrefix)| IpPrefix::new(ip, network.len());
        v4.into_iter().chain(v6).filter_map(|one| with_network(one).ok()).collect()
    }

    /// The smallest IPv4 MTU that DHCP can give (RFC 2132, 5.1), and that of IPv6 (RFC 8200, 5).
    const MTU_MIN: [u16; 2] = [68, 1280];

    /// Whether `ip` is the NAT's own.
    pub(super) fn is_own(&self, ip: IpAddr) -> bool {
        let is_gateway = match ip {
            IpAddr::V4(ip) => {
                self.v4.as_ref().is_some_and(|v4| v4.gateway == ip || v4.dns.contains(&ip))
            }
            IpAddr::V6(ip) => self
                .v6
                .as_ref()
                .is_some_and(|v6| v6.link_local == ip || v6.gateway == ip || v6.dns.contains(&ip)),
        };
        is_gateway || self.own.contains(&ip)
    }

    /// Whether a guest may have `ip`.
    pub(super) fn may_have(&self, ip: IpAddr) -> bool {
        let is_of_guests = match ip {
            IpAddr::V4(ip) => self.v4.as_ref().is_some_and(|v4| v4.has_host(ip)),
            IpAddr::V6(ip) => self.v6.as_ref().is_some_and(|v6| v6.has_host(ip)),
        };
        is_of_guests && !self.is_own(ip)
    }

    /// The router that leads to `ip`: that of the longest prefix.
    pub(super) fn router_to(&self, ip: IpAddr) -> Option<IpAddr> {
        let routes = self.routes.iter().filter(|(network, _)| network.contains(ip));
        routes.max_by_key(|(network, _)| network.len()).map(|(_, router)| *router)
    }

    /// The domains that are searched, as far as they fit in that many bytes together.
    pub(super) fn search_within(&self, room: usize) -> impl Iterator<Item = &[u8]> + Clone {
        self.search.iter().scan(room, |left, name| {
            *left = left.checked_sub(name.as_wire().len())?;
            Some(name.as_wire())
        })
    }

    /// Checks that the values fit each other.
    ///
    /// # Errors
    ///
    /// The first [`GuestConfigError`].
    pub fn check(&self) -> Result<(), GuestConfigError> {
        let require = |holds: bool, error| if holds { Ok(()) } else { Err(error) };
        require(self.mac.is_station(), GuestConfigError::Mac(self.mac))?;
        require(self.stations_max > 0, GuestConfigError::Stations)?;
        let [v4_min, v6_min] = Self::MTU_MIN;
        let mtu_min = if self.v6.is_some() { v6_min } else { v4_min };
        require(self.mtu >= mtu_min, GuestConfigError::Mtu { mtu: self.mtu, min: mtu_min })?;
        let servers = [
            self.v4.as_ref().map_or(0, |v4| v4.dns.len()),
            self.v6.as_ref().map_or(0, |v6| v6.dns.len()),
        ];
        require(
            servers.iter().all(|&count| count <= Self::SERVERS_MAX),
            GuestConfigError::Servers,
        )?;
        if let Some(v4) = &self.v4 {
            require(!v4.gateway.is_unspecified(), GuestConfigError::Gateway(v4.gateway.into()))?;
            v4.pool.map_or(Ok(()), |pool| pool.check(v4.prefix))?;
        }
        if let Some(v6) = &self.v6 {
            let is_link_local = v6.link_local.is_unicast_link_local();
            require(is_link_local, GuestConfigError::Gateway(v6.link_local.into()))?;
            v6.pool.map_or(Ok(()), |pool| pool.check(v6.prefix))?;
        }
        Ok(())
    }
}

impl<A: Copy + Ord + Into<IpAddr>> AddressPool<A> {
    /// Checks that it is a range in the network.
    fn check(&self, prefix: IpPrefix) -> Result<(), GuestConfigError> {
        for ip in [self.first.into(), self.last.into()] {
            if !prefix.contains(ip) {
                return Err(GuestConfigError::Outside { ip, prefix });
            }
        }
        if self.first <= self.last { Ok(()) } else { Err(GuestConfigError::Pool) }
    }
}

/// An address that can be counted on from another one.
pub(super) trait Address: Copy + Ord + Into<IpAddr> {
    fn plus(self, count: u32) -> Self;
    /// How far it is behind `first`; `None` if it is before, or very far.
    fn since(self, first: Self) -> Option<u32>;
}

impl Address for Ipv4Addr {
    fn plus(self, count: u32) -> Self {
        Self::from_bits(self.to_bits().saturating_add(count))
    }

    fn since(self, first: Self) -> Option<u32> {
        self.to_bits().checked_sub(first.to_bits())
    }
}

impl Address for Ipv6Addr {
    fn plus(self, count: u32) -> Self {
        Self::from_bits(self.to_bits().saturating_add(u128::from(count)))
    }

    fn since(self, first: Self) -> Option<u32> {
        u32::try_from(self.to_bits().checked_sub(first.to_bits())?).ok()
    }
}

impl GuestV4 {
    fn has_host(&self, ip: Ipv4Addr) -> bool {
        let IpAddr::V4(network) = self.prefix.network().ip() else { return false };
        // Of 31 and 32 bits, every address is a host (RFC 3021).
        let is_edge = self.prefix.len() < 31 && (ip == network || ip == self.broadcast());
        self.prefix.contains(ip.into()) && !is_edge && !ip.is_multicast() && !ip.is_loopback()
    }

    /// The address of all hosts of the network.
    pub(super) fn broadcast(&self) -> Ipv4Addr {
        let IpAddr::V4(ip) = self.prefix.ip() else { return Ipv4Addr::BROADCAST };
        Ipv4Addr::from_bits(ip.to_bits() | !self.mask().to_bits())
    }

    pub(super) fn mask(&self) -> Ipv4Addr {
        Ipv4Addr::from_bits(adit_packet::mask_v4(self.prefix.len()))
    }
}

impl GuestV6 {
    fn has_host(&self, ip: Ipv6Addr) -> bool {
        let is_host = !ip.is_multicast() && !ip.is_unspecified() && !ip.is_loopback();
        ip.is_unicast_link_local() || self.prefix.contains(ip.into()) && is_host
    }
}

impl Default for GuestConfig {
    fn default() -> Self {
        let lease = Duration::from_secs(3600);
        let four = |host| Ipv4Addr::new(10, 0, 2, host);
        let six = |host| Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, host);
        let prefix = |ip: IpAddr, len| IpPrefix::new(ip, len).unwrap_or(IpPrefix::host(ip));
        Self {
            mac: MacAddr([0x02, b'a', b'd', b'i', b't', 1]),
            macs: Vec::new(),
            stations_max: 64,
            mtu: 1500,
            v4: Some(GuestV4 {
                gateway: four(2),
                prefix: prefix(four(0).into(), 24),
                dns: alloc::vec![four(3)],
                pool: Some(AddressPool { first: four(15), last: four(254), lease }),
            }),
            v6: Some(GuestV6 {
                link_local: Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 2),
                gateway: six(2),
                prefix: prefix(six(0).into(), 64),
                dns: alloc::vec![six(3)],
                pool: Some(AddressPool { first: six(0x15), last: six(0xfe), lease }),
            }),
            routes: Vec::new(),
            own: Vec::new(),
            off_link: false,
            advertises: true,
            solicited: true,
            search: Vec::new(),
            hostname: None,
            fqdn: None,
            seed: 0,
        }
    }
}

/// Why a [`GuestConfig`] is not valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum GuestConfigError {
    /// The gateway's MAC address is a group address or zero.
    Mac(MacAddr),
    /// No station may send.
    Stations,
    /// More than [`GuestConfig::SERVERS_MAX`] name servers of a family.
    Servers,
    /// The MTU is less than the families need.
    Mtu {
        /// The MTU that was given.
        mtu: u16,
        /// The least that is valid.
        min: u16,
    },
    /// The address cannot be that of a gateway: it must be a host, and link-local where that is asked for.
    Gateway(IpAddr),
    /// An address of a pool is outside the prefix.
    Outside {
        /// The address.
        ip: IpAddr,
        /// The prefix of the guests.
        prefix: IpPrefix,
    },
    /// The first address of a pool is behind the last.
    Pool,
    /// The network has fewer than 32 addresses, or 256 of IPv6.
    Small(IpPrefix),
    /// Two networks are of one family.
    Several(IpPrefix, IpPrefix),
}

impl fmt::Display for GuestConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mac(mac) => write!(f, "{mac} cannot be the gateway's MAC address"),
            Self::Stations => f.write_str("at least one station must be allowed"),
            Self::Servers => {
                write!(f, "at most {} name servers of a family", GuestConfig::SERVERS_MAX)
            }
            Self::Mtu { mtu, min } => write!(f, "the MTU {mtu} is under {min}"),
            Self::Gateway(ip) => write!(f, "{ip} cannot be the gateway's address"),
            Self::Outside { ip, prefix } => write!(f, "{ip} is outside of {prefix}"),
            Self::Pool => f.write_str("the first address of the pool is behind the last"),
            Self::Several(one, other) => write!(f, "{one} and {other} are of one family"),
            Self::Small(prefix) => write!(f, "the network {prefix} is too small for guests"),
        }
    }
}

impl core::error::Error for GuestConfigError {}
