//! Routes.

use super::Netlink;
use super::addr::Scope;
use super::family;
use super::flags::words;
use super::message::{Message, Request, attributes, read_ip, read_u32, split};
use super::uapi::{
    RTA_DST, RTA_GATEWAY, RTA_METRICS, RTA_MULTIPATH, RTA_OIF, RTA_PREFSRC, RTA_PRIORITY,
    RTA_TABLE, RTA_VIA, RTAX_MTU, RTM_DELROUTE, RTM_F_CLONED, RTM_GETROUTE, RTM_NEWROUTE,
    RTNH_F_ONLINK,
};
use crate::IfIndex;
use crate::{wire_as, wire_structs};
use adit_packet::{IpFamily, IpPrefix};
use netlink_packet_core::{NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL, NLM_F_REPLACE};
use std::io;
use std::net::IpAddr;

/// The protocol (`ip route`'s `proto`) that marks our own routes: unassigned in `linux/rtnetlink.h`
/// and in iproute2's `rt_protos`.
pub const ROUTE_PROTOCOL: u8 = 77;

/// The main routing table.
pub const TABLE_MAIN: u32 = 254;

/// The table of local and broadcast addresses, which the kernel maintains.
pub const TABLE_LOCAL: u32 = 255;

words! {
    /// What the kernel does with packets that match a route: `RTN_*` of `linux/rtnetlink.h`.
    RouteKind {
        /// Not set.
        Unspec = 0 "none",
        /// Forwards them.
        Unicast = 1 "unicast",
        /// Delivers them to this host.
        Local = 2 "local",
        /// Delivers them to this host; sends them as broadcast.
        Broadcast = 3 "broadcast",
        /// Delivers them to this host, one of several with the address (anycast).
        Anycast = 4 "anycast",
        /// Sends them to a multicast group.
        Multicast = 5 "multicast",
        /// Drops them silently.
        Blackhole = 6 "blackhole",
        /// Drops them and reports "host unreachable" to the sender.
        Unreachable = 7 "unreachable",
        /// Drops them and reports "administratively prohibited" to the sender.
        Prohibit = 8 "prohibit",
        /// Continues with the table of the next rule.
        Throw = 9 "throw",
        /// Translates them (no longer supported).
        Nat = 10 "nat",
        /// A program resolves the destination.
        External = 11 "xresolve",
    }
}

/// A route, existing or wanted. Minor versions may add fields: end a literal with
/// `..Route::new(destination)`.
///
/// ```
/// use adit_device::netlink::Route;
/// let route = Route {
///     gateway: Some("192.0.2.1".parse().unwrap()),
///     metric: Some(100),
///     ..Route::new("198.51.100.0/24".parse().unwrap())
/// };
/// assert_eq!(route.table, adit_device::netlink::TABLE_MAIN);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// The destination network; its host bits must be zero. [`IpPrefix::ALL_V4`] and
    /// [`IpPrefix::ALL_V6`] are default routes.
    pub destination: IpPrefix,
    /// The next hop; an IPv4 route may have an IPv6 gateway (RFC 8950).
    pub gateway: Option<IpAddr>,
    /// The outgoing link.
    pub oif: Option<IfIndex>,
    /// The metric. Among routes to one network the lowest wins. `None` is 0 for IPv4 and 1024 for
    /// IPv6.
    pub metric: Option<u32>,
    /// The routing table.
    pub table: u32,
    /// The protocol, which identifies the program that added it.
    pub protocol: u8,
    /// The scope of the destination; `None` derives it from kind and gateway. IPv4 only.
    pub scope: Option<Scope>,
    /// What the kernel does with the packets.
    pub kind: RouteKind,
    /// The preferred source address for this host's own packets.
    pub prefsrc: Option<IpAddr>,
    /// The MTU for this destination in bytes; `None` is that of the link.
    pub mtu: Option<u32>,
    /// Treats the gateway as directly reachable on the link, without a route to it.
    pub onlink: bool,
    /// The next hops of a multipath route. `gateway`, `oif` and `onlink` are unset then.
    pub next_hops: Vec<NextHop>,
}

impl Route {
    /// A route of ours ([`ROUTE_PROTOCOL`]) in the main table, without gateway and link.
    #[must_use]
    pub const fn new(destination: IpPrefix) -> Self {
        Self {
            destination,
            gateway: None,
            oif: None,
            metric: None,
            table: TABLE_MAIN,
            protocol: ROUTE_PROTOCOL,
            scope: None,
            kind: RouteKind::Unicast,
            prefsrc: None,
            mtu: None,
            onlink: false,
            next_hops: Vec::new(),
        }
    }

    fn has_gateway(&self) -> bool {
        self.gateway.is_some() || !self.next_hops.is_empty()
    }

    /// The default of `ip route`: link scope for a route without a gateway.
    fn scope_or_default(&self) -> Scope {
        match (self.scope, self.kind) {
            (Some(scope), _) => scope,
            (None, RouteKind::Local | RouteKind::Nat) => Scope::Host,
            (None, RouteKind::Broadcast | RouteKind::Multicast | RouteKind::Anycast) => Scope::Link,
            (None, RouteKind::Unicast) if !self.has_gateway() => Scope::Link,
            (None, _) => Scope::Global,
        }
    }

    fn request(&self, kind: u16, flags: u16, scope: Scope) -> Request {
        let mut request = Request::new(kind, flags, &header(self, scope));
        request.u32(RTA_TABLE, self.table);
        if self.destination.len() > 0 {
            request.ip(RTA_DST, self.destination.ip());
        }
        let family = self.destination.family();
        if let Some(gateway) = self.gateway {
            write_gateway(&mut request, family, gateway);
        }
        if !self.next_hops.is_empty() {
            request.nested(RTA_MULTIPATH, |hops| {
                self.next_hops.iter().for_each(|hop| hop.write(hops, family));
            });
        }
        if let Some(oif) = self.oif {
            request.u32(RTA_OIF, oif.get());
        }
        if let Some(metric) = self.metric {
            request.u32(RTA_PRIORITY, metric);
        }
        if let Some(prefsrc) = self.prefsrc {
            request.ip(RTA_PREFSRC, prefsrc);
        }
        if let Some(mtu) = self.mtu {
            request.nested(RTA_METRICS, |metrics| {
                metrics.u32(RTAX_MTU, mtu);
            });
        }
        request
    }
}

impl Netlink {
    /// The IPv4 and IPv6 routes of one table, or of all tables.
    ///
    /// # Errors
    /// ETIMEDOUT if the kernel does not answer; EINTR if the list kept changing; EOVERFLOW above
    /// [`ENTRIES_MAX`](super::ENTRIES_MAX) routes.
    pub fn routes(&mut self, table: Option<u32>) -> io::Result<Vec<Route>> {
        let mut routes = Vec::new();
        for family in [IpFamily::V4, IpFamily::V6] {
            let mut header = [0; 12];
            header[0] = family::number(family);
            let mut request = Request::new(RTM_GETROUTE, NLM_F_DUMP, &header);
            if let Some(table) = table {
                request.u32(RTA_TABLE, table);
            }
            let list = self.list(&mut request, |message| {
                // A kernel without IPv6 returns the IPv4 routes again; one without strict checking,
                // those of all tables.
                new_route(message).filter(|route| {
                    route.destination.family() == family
                        && table.is_none_or(|table| table == route.table)
                })
            });
            match list {
                // The table does not exist: no route was ever added to it.
                Err(error) if super::raw_errno(&error) == Some(libc::ENOENT) => {}
                list => routes.extend(list?),
            }
        }
        Ok(routes)
    }

    /// Adds a route.
    ///
    /// # Errors
    /// EEXIST if the table has a route to that network with that metric; ENETUNREACH if the gateway
    /// is not on a link; ENETDOWN if the link is down; EINVAL if host bits are set; EPERM.
    pub fn add_route(&mut self, route: &Route) -> io::Result<()> {
        let flags = NLM_F_CREATE | NLM_F_EXCL;
        self.change(&mut route.request(RTM_NEWROUTE, flags, route.scope_or_default()))
    }

    /// Adds a route, or replaces the one to the same network with the same metric.
    ///
    /// # Errors
    /// As [`Netlink::add_route`], except EEXIST.
    pub fn replace_route(&mut self, route: &Route) -> io::Result<()> {
        let flags = NLM_F_CREATE | NLM_F_REPLACE;
        self.change(&mut route.request(RTM_NEWROUTE, flags, route.scope_or_default()))
    }

    /// Deletes the first route that matches all fields set here. An unset scope and a protocol of 0
    /// match any.
    ///
    /// # Errors
    /// ESRCH if there is none; EPERM.
    pub fn delete_route(&mut self, route: &Route) -> io::Result<()> {
        let scope = route.scope.unwrap_or(Scope::Nowhere);
        self.change(&mut route.request(RTM_DELROUTE, 0, scope))
    }
}

/// `struct rtmsg` of `linux/rtnetlink.h`.
///
/// ```text
/// | family u8 | destination length u8 | source length u8 | tos u8 |
/// | table u8 | protocol u8 | scope u8 | type u8 | flags u32 |
/// ```
fn header(route: &Route, scope: Scope) -> [u8; 12] {
    // A table above 255 goes into RTA_TABLE only, with 0 here.
    let table = u8::try_from(route.table).unwrap_or(0);
    let flags = if route.onlink { RTNH_F_ONLINK } else { 0 };
    let [f0, f1, f2, f3] = u32::from(flags).to_ne_bytes();
    let (family, len) = (family::number(route.destination.family()), route.destination.len());
    let kind = route.kind.number();
    [family, len, 0, 0, table, route.protocol, scope.number(), kind, f0, f1, f2, f3]
}

/// A next hop of a multipath route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NextHop {
    /// The gateway.
    pub gateway: Option<IpAddr>,
    /// The outgoing link.
    pub oif: Option<IfIndex>,
    /// Its weight, 1 to 256.
    pub weight: u16,
    /// Treats the gateway as directly reachable on the link, without a route to it.
    pub onlink: bool,
}

impl NextHop {
    /// Writes a `struct rtnexthop` and its attributes.
    ///
    /// ```text
    /// | len u16, with the attributes | flags u8 | weight - 1 u8 | index u32 | attribute ... |
    /// ```
    fn write(&self, hops: &mut Request, family: IpFamily) {
        let flags = if self.onlink { RTNH_F_ONLINK } else { 0 };
        let weight = u8::try_from(self.weight.saturating_sub(1)).unwrap_or(u8::MAX);
        let [i0, i1, i2, i3] = self.oif.map_or(0, IfIndex::get).to_ne_bytes();
        hops.sized(&[flags, weight, i0, i1, i2, i3], |hop| {
            if let Some(gateway) = self.gateway {
                write_gateway(hop, family, gateway);
            }
        });
    }

    /// Decodes one from the start of `bytes`; returns it and the rest.
    fn read(bytes: &[u8], family: IpFamily) -> Option<(Self, &[u8])> {
        let (header, _) = split::<8>(bytes)?;
        let [l0, l1, flags, weight, i0, i1, i2, i3] = *header;
        let len = usize::from(u16::from_ne_bytes([l0, l1]));
        let mut hop = Self {
            gateway: None,
            oif: IfIndex::new(u32::from_ne_bytes([i0, i1, i2, i3])),
            weight: u16::from(weight) + 1,
            onlink: flags & RTNH_F_ONLINK != 0,
        };
        for (kind, value) in attributes(bytes.get(header.len()..len)?) {
            if let Some(gateway) = read_gateway(kind, value, family) {
                hop.gateway = Some(gateway);
            }
        }
        Some((hop, bytes.get(len.next_multiple_of(4)..).unwrap_or(&[])))
    }
}

/// A gateway: RTA_GATEWAY for the route's own family, RTA_VIA for the other.
fn write_gateway(request: &mut Request, family: IpFamily, gateway: IpAddr) {
    if IpFamily::of(gateway) == family {
        request.ip(RTA_GATEWAY, gateway);
    } else {
        request.attribute(RTA_VIA, &via(gateway));
    }
}

fn read_gateway(kind: u16, value: &[u8], family: IpFamily) -> Option<IpAddr> {
    match kind {
        RTA_GATEWAY => read_ip(value).filter(|ip| IpFamily::of(*ip) == family),
        RTA_VIA => split::<2>(value).and_then(|(_, ip)| read_ip(ip)),
        _ => None,
    }
}

/// `struct rtvia`: an address after its family (u16).
fn via(gateway: IpAddr) -> Vec<u8> {
    let mut value = u16::from(family::number(IpFamily::of(gateway))).to_ne_bytes().to_vec();
    match gateway {
        IpAddr::V4(ip) => value.extend_from_slice(&ip.octets()),
        IpAddr::V6(ip) => value.extend_from_slice(&ip.octets()),
    }
    value
}

fn new_route(message: &Message<'_>) -> Option<Route> {
    if message.kind == RTM_NEWROUTE { decode(message.body) } else { None }
}

/// Decodes the body of an RTM_NEWROUTE or RTM_DELROUTE; `None` if it is malformed, of another
/// family, or an entry of the route cache.
pub(super) fn decode(body: &[u8]) -> Option<Route> {
    let (header, rest) = split::<12>(body)?;
    let [family, len, _, _, table, protocol, scope, kind, f0, f1, f2, f3] = *header;
    let family = family::from_number(family)?;
    let flags = u32::from_ne_bytes([f0, f1, f2, f3]);
    if flags & RTM_F_CLONED != 0 {
        return None;
    }
    let any = match family {
        IpFamily::V4 => IpPrefix::ALL_V4,
        IpFamily::V6 => IpPrefix::ALL_V6,
    };
    let mut route = Route {
        table: table.into(),
        protocol,
        scope: Some(scope.into()),
        kind: kind.into(),
        onlink: flags & u32::from(RTNH_F_ONLINK) != 0,
        ..Route::new(IpPrefix::new(any.ip(), len).ok()?)
    };
    let ip = |value| read_ip(value).filter(|ip| IpFamily::of(*ip) == family);
    for (kind, value) in attributes(rest) {
        match kind {
            RTA_DST => route.destination = IpPrefix::new(ip(value)?, len).ok()?,
            RTA_GATEWAY | RTA_VIA => route.gateway = read_gateway(kind, value, family),
            RTA_OIF => route.oif = read_u32(value).and_then(IfIndex::new),
            RTA_PRIORITY => route.metric = read_u32(value),
            RTA_PREFSRC => route.prefsrc = ip(value),
            RTA_TABLE => route.table = read_u32(value).unwrap_or(route.table),
            RTA_MULTIPATH => {
                let mut rest = value;
                while let Some((hop, next)) = NextHop::read(rest, family) {
                    route.next_hops.push(hop);
                    rest = next;
                }
            }
            RTA_METRICS => {
                let mtu = attributes(value).find(|(kind, _)| *kind == RTAX_MTU);
                route.mtu = mtu.and_then(|(_, mtu)| read_u32(mtu));
            }
            _ => {}
        }
    }
    Some(route)
}

wire_as! { RouteKind as u8: |kind| kind.number(), |number| Some(number.into()); }
wire_structs! {
    NextHop { gateway, oif, weight, onlink }
    Route {
        destination, gateway, oif, metric, table, protocol, scope, kind, prefsrc, mtu, onlink, next_hops,
    }
}
