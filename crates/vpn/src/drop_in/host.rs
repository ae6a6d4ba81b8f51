//! What the inside copies from the host: the interface of the default route, its addresses and gateway.

use adit_device::netlink::{Netlink, Route, RouteKind, TABLE_MAIN};
use adit_device::{IfIndex, IfName};
use adit_packet::IpPrefix;
use adit_service::error::{Error, Result};
use std::io;
use std::net::IpAddr;

/// The index of `lo`, whose routes lead nowhere.
const LOOPBACK: u32 = 1;

/// The host's routes, and a way to ask for more.
pub(super) struct Host {
    netlink: Netlink,
    routes: Vec<Route>,
}

/// What one family of the host is like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Copied {
    /// The interface.
    pub(super) interface: IfName,
    /// Its addresses that are of use inside, at least one.
    pub(super) addresses: Vec<IpPrefix>,
    /// The gateway of its default route.
    pub(super) gateway: Option<IpAddr>,
}

/// Where flows to the outside come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outbound {
    /// An address of the host.
    Address(IpAddr),
    /// The first address of an interface.
    Interface {
        /// Its name.
        name: IfName,
        /// The family.
        is_v4: bool,
    },
}

impl Outbound {
    /// The address.
    pub(super) fn address(self) -> Result<IpAddr> {
        let (name, is_v4) = match self {
            Self::Address(ip) => return Ok(ip),
            Self::Interface { name, is_v4 } => (name, is_v4),
        };
        let failed = |error| Error::io("list", format!("the addresses of {name}"), &error);
        let copied = Host::open().and_then(|mut host| host.copy(is_v4, Some(&name)));
        let first = copied.map_err(failed)?.and_then(|copied| copied.addresses.first().copied());
        let none = || Error::io("use", name, &io::ErrorKind::AddrNotAvailable.into());
        first.map(IpPrefix::ip).ok_or_else(none)
    }
}

impl Host {
    pub(super) fn open() -> io::Result<Self> {
        let mut netlink = Netlink::open()?;
        let mut routes = netlink.routes(Some(TABLE_MAIN))?;
        routes.retain(|route| route.kind == RouteKind::Unicast);
        Ok(Self { netlink, routes })
    }

    /// The interface with the first default route, else that with the first route; or the one that is named.
    /// `None`: there is none, or it has no address.
    pub(super) fn copy(
        &mut self,
        is_v4: bool,
        named: Option<&IfName>,
    ) -> io::Result<Option<Copied>> {
        let named = named.map(|name| self.netlink.link_by_name(name)).transpose()?;
        let index = named.as_ref().map(|link| link.index);
        let Some(index) = index.or_else(|| outermost(&self.routes, is_v4)) else { return Ok(None) };
        let all = self.netlink.addresses(Some(index))?.into_iter();
        let prefixes = all.map(|(_, address)| address.local);
        let addresses: Vec<IpPrefix> = prefixes.filter(|one| is_copied(one.ip(), is_v4)).collect();
        if addresses.is_empty() {
            return Ok(None);
        }
        let of_link = |route: &&Route| is_default(route, is_v4) && link_of(route) == Some(index);
        let gateway = self.routes.iter().find(of_link).and_then(gateway_of);
        let gateway = gateway.filter(|gateway| gateway.is_ipv4() == is_v4);
        let interface = self.netlink.link_by_index(index)?.name;
        Ok(Some(Copied { interface, addresses, gateway }))
    }
}

fn is_copied(ip: IpAddr, is_v4: bool) -> bool {
    match ip {
        IpAddr::V4(_) => is_v4,
        IpAddr::V6(ip) => !is_v4 && !ip.is_unicast_link_local(),
    }
}

fn outermost(routes: &[Route], is_v4: bool) -> Option<IfIndex> {
    let is_outside = |route: &&Route| {
        let to = route.destination;
        let is_link_local = match to.ip() {
            IpAddr::V4(ip) => ip.is_link_local(),
            IpAddr::V6(ip) => ip.is_unicast_link_local() || ip.is_multicast(),
        };
        let is_lo = link_of(route).is_none_or(|link| link.get() == LOOPBACK);
        to.ip().is_ipv4() == is_v4 && !(is_link_local || is_lo)
    };
    let mut routes: Vec<&Route> = routes.iter().filter(is_outside).collect();
    routes.sort_by_key(|route| !is_default(route, is_v4));
    routes.first().and_then(|route| link_of(route))
}

fn is_default(route: &Route, is_v4: bool) -> bool {
    route.destination.len() == 0 && route.destination.ip().is_ipv4() == is_v4
}

fn link_of(route: &Route) -> Option<IfIndex> {
    route.oif.or_else(|| route.next_hops.first()?.oif)
}

fn gateway_of(route: &Route) -> Option<IpAddr> {
    route.gateway.or_else(|| route.next_hops.first()?.gateway)
}

#[cfg(test)]
mod tests {
    use super::*;
    use adit_device::netlink::NextHop;

    fn route(to: &str, link: u32) -> Route {
        Route { oif: IfIndex::new(link), ..Route::new(to.parse().unwrap()) }
    }

    #[test]
    fn a_default_route_goes_before_others_and_lo_is_nothing() {
        let found = |routes: &[Route]| outermost(routes, true).map(IfIndex::get);
        assert_eq!(found(&[route("10.0.0.0/8", 1), route("169.254.0.0/16", 2)]), None);
        assert_eq!(found(&[route("::/0", 3)]), None);
        let mut routes = vec![route("10.0.0.0/8", 4), route("0.0.0.0/0", 5), route("0.0.0.0/0", 6)];
        assert_eq!(found(&routes), Some(5));
        routes.truncate(1);
        assert_eq!(found(&routes), Some(4));
        let gateway = Some([192, 0, 2, 1].into());
        let hop = NextHop { gateway, oif: IfIndex::new(7), weight: 1, onlink: false };
        let multipath = Route { next_hops: vec![hop], ..Route::new(IpPrefix::ALL_V4) };
        assert_eq!(found(std::slice::from_ref(&multipath)), Some(7));
        assert_eq!(gateway_of(&multipath), gateway);
    }
}
