//! The addresses of a host, now and when they change.

use super::{Address, Event, IpPrefix, Monitor, Netlink, Route, RouteKind, TABLE_LOCAL};
use crate::IfIndex;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

/// How many events are read at a time; the others stay for the next.
const EVENTS_MAX: usize = 64;

/// The host's own addresses: those of a network namespace, and networks that a route delivers to the host itself, such
/// as `ip route add local 10.9.0.0/16 dev lo` (AnyIP). Readable when some have changed.
#[derive(Debug)]
pub struct OwnAddresses {
    monitor: Monitor,
    all: Vec<Own>,
}

/// An address, or the network of a route, of an interface: two interfaces may have the same.
#[derive(Debug, PartialEq)]
struct Own {
    link: Option<IfIndex>,
    is_route: bool,
    prefix: IpPrefix,
}

impl Own {
    fn address(link: IfIndex, address: &Address) -> Self {
        Self { link: Some(link), is_route: false, prefix: IpPrefix::host(address.local.ip()) }
    }

    /// `None`: its packets leave.
    fn route(route: &Route) -> Option<Self> {
        let is_own = matches!(route.kind, RouteKind::Local | RouteKind::Anycast);
        let own = Self { link: route.oif, is_route: true, prefix: route.destination };
        (is_own && route.table == TABLE_LOCAL).then_some(own)
    }
}

impl OwnAddresses {
    /// Lists those of the network namespace of the calling thread.
    ///
    /// # Errors
    /// EMFILE; those of [`Netlink::addresses`] and [`Netlink::routes`].
    pub fn open() -> io::Result<Self> {
        // Before the addresses are listed: none is missed.
        let monitor = Monitor::open()?;
        Ok(Self { monitor, all: all()? })
    }

    /// The addresses and networks, each once.
    #[must_use]
    pub fn list(&self) -> Vec<IpPrefix> {
        let mut prefixes: Vec<IpPrefix> = self.all.iter().map(|own| own.prefix).collect();
        prefixes.sort_unstable();
        prefixes.dedup();
        prefixes
    }

    /// Reads what has changed, without waiting. `false`: nothing of the addresses.
    ///
    /// # Errors
    /// No further change will be seen.
    pub fn update(&mut self) -> io::Result<bool> {
        let mut has_changed = false;
        for _ in 0..EVENTS_MAX {
            let (own, is_new) = match self.monitor.recv(Some(Duration::ZERO))? {
                Some(Event::AddressAdded(link, address)) => {
                    (Some(Own::address(link, &address)), true)
                }
                Some(Event::AddressRemoved(link, address)) => {
                    (Some(Own::address(link, &address)), false)
                }
                Some(Event::RouteAdded(route)) => (Own::route(&route), true),
                Some(Event::RouteRemoved(route)) => (Own::route(&route), false),
                // The kernel does not report the routes that go with it.
                Some(Event::LinkRemoved(link)) => {
                    let count = self.all.len();
                    self.all.retain(|own| own.link != Some(link.index));
                    has_changed |= self.all.len() != count;
                    continue;
                }
                Some(Event::Lost) => {
                    self.all = all()?;
                    has_changed = true;
                    continue;
                }
                Some(_) => continue,
                None => break,
            };
            let Some(own) = own else { continue };
            let is_known = self.all.contains(&own);
            has_changed |= is_known != is_new;
            match (is_known, is_new) {
                (false, true) => self.all.push(own),
                (true, false) => self.all.retain(|one| *one != own),
                _ => {}
            }
        }
        Ok(has_changed)
    }
}

impl AsFd for OwnAddresses {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.monitor.as_fd()
    }
}

fn all() -> io::Result<Vec<Own>> {
    let mut netlink = Netlink::open()?;
    let addresses = netlink.addresses(None)?;
    let routes = netlink.routes(Some(TABLE_LOCAL))?;
    let addresses = addresses.iter().map(|(link, address)| Own::address(*link, address));
    Ok(addresses.chain(routes.iter().filter_map(Own::route)).collect())
}
