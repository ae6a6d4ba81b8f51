//! Interfaces, addresses and routes, in the network namespace of the calling process.

use crate::keeper::order::{InterfaceSpec, RouteSpec};
use adit_device::netlink::{
    Address, AddressFlags, LinkChange, Netlink, Route, Scope, TABLE_LOCAL, raw_errno,
};
use adit_device::{
    Create, Device, DeviceOptions, Endian, IfIndex, IfName, Mode, OffloadChoice, VnetFormat,
    VnetLen,
};
use adit_packet::{IpFamily, IpPrefix};
use adit_service::error::{Error, Result};
use rustix::io::Errno;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

/// How many packets may wait for us at a TAP: as at the ports of `adit switch`.
const TXQUEUELEN: u32 = 1000;

/// The IP MTU of `lo`: that of the kernel.
const LOOPBACK_MTU: u32 = 65_536;

/// Who adds routes to connected networks: `RTPROT_KERNEL` of `linux/rtnetlink.h`.
const PROTOCOL_KERNEL: u8 = 2;

/// The index of `lo`, in every network namespace.
const LOOPBACK: u32 = 1;

/// A new TAP: its queue, and a netlink socket of its namespace.
///
/// It is persistent: it ends with its namespace, together with all others, and not with its queue. The kernel
/// takes 20 ms to delete one device, and little more to delete a thousand at once.
pub(super) fn tap(spec: &InterfaceSpec) -> Result<(OwnedFd, OwnedFd)> {
    let mut options = DeviceOptions::new(Mode::Tap)
        .name(spec.name.into())
        .create(Create::Exclusive)
        .nonblocking(true)
        .vnet_hdr(VnetFormat { len: VnetLen::Tunnel, endian: Endian::Native })
        .offload(OffloadChoice::Auto)
        .txqueuelen(TXQUEUELEN)
        .mtu(spec.mtu)
        .up(true)
        .persist(true);
    if let Some(mac) = spec.mac {
        options = options.mac(mac);
    }
    for address in &spec.addresses {
        options = options.address(address_of(*address));
    }
    let device: Device = options.open()?;
    let failed = |error: io::Error| Error::io("open", spec.name, &error);
    let queue = device.queues().first().ok_or_else(|| failed(Errno::BADFD.into()))?;
    let queue = queue.as_fd().try_clone_to_owned().map_err(failed)?;
    Ok((queue, Netlink::open().map_err(failed)?.into()))
}

/// Usable at once: nobody else of a lab has it.
fn address_of(local: IpPrefix) -> Address {
    let flags = match local.family() {
        IpFamily::V4 => AddressFlags::empty(),
        IpFamily::V6 => AddressFlags::NODAD,
    };
    Address { flags, ..Address::new(local) }
}

/// `lo` as it is in a new network namespace, without the addresses of the kernel.
pub(super) fn lo() -> InterfaceSpec {
    let name = "lo".parse().expect("a short name");
    InterfaceSpec { name, mac: None, mtu: LOOPBACK_MTU, addresses: Vec::new() }
}

/// Takes `lo` up.
pub(super) fn loopback() -> io::Result<()> {
    let lo = IfIndex::new(LOOPBACK).ok_or(Errno::NODEV)?;
    Netlink::open()?.set_link(lo, &LinkChange::new().up(true))
}

/// Gives an interface that exists everything but its name.
pub(super) fn set_up(spec: &InterfaceSpec) -> io::Result<()> {
    let mut netlink = Netlink::open()?;
    let index = netlink.link_by_name(&spec.name)?.index;
    let mut change = LinkChange::new().mtu(spec.mtu);
    if let Some(mac) = spec.mac {
        change = change.address(mac);
    }
    netlink.set_link(index, &change)?;
    for address in &spec.addresses {
        netlink.add_address(index, &address_of(*address))?;
    }
    netlink.set_link(index, &LinkChange::new().up(true))
}

/// Changes an interface from `before` to `spec`.
pub(super) fn change(before: &InterfaceSpec, spec: &InterfaceSpec) -> io::Result<()> {
    let mut netlink = Netlink::open()?;
    let index = netlink.link_by_name(&spec.name)?.index;
    if before.mtu != spec.mtu {
        netlink.set_link(index, &LinkChange::new().mtu(spec.mtu))?;
    }
    if let Some(mac) = spec.mac.filter(|_| before.mac != spec.mac) {
        netlink.set_link(index, &LinkChange::new().address(mac))?;
    }
    for gone in before.addresses.iter().filter(|old| !spec.addresses.contains(old)) {
        lenient(netlink.delete_address(index, &address_of(*gone)), Errno::ADDRNOTAVAIL)?;
    }
    for new in spec.addresses.iter().filter(|new| !before.addresses.contains(new)) {
        lenient(netlink.add_address(index, &address_of(*new)), Errno::EXIST)?;
    }
    Ok(())
}

/// Lets the kernel notice the carrier of an interface now. It may put that off for a second otherwise, and use no
/// IPv6 address until then.
pub(super) fn notice_carrier(name: &IfName) -> io::Result<()> {
    // Reading a link does that: `rtnl_getlink` in Linux `net/core/rtnetlink.c`.
    Netlink::open()?.link_by_name(name).map(drop)
}

pub(super) fn remove(name: &IfName) -> io::Result<()> {
    let mut netlink = Netlink::open()?;
    let index = netlink.link_by_name(name)?.index;
    netlink.delete_link(index)
}

pub(super) fn set_up_or_down(name: &IfName, up: bool) -> io::Result<()> {
    let mut netlink = Netlink::open()?;
    let index = netlink.link_by_name(name)?.index;
    netlink.set_link(index, &LinkChange::new().up(up))
}

/// Adds addresses and routes again that the kernel removed as an interface went down.
pub(super) fn restore(spec: &InterfaceSpec, routes: &[RouteSpec]) -> io::Result<()> {
    let mut netlink = Netlink::open()?;
    let index = netlink.link_by_name(&spec.name)?.index;
    for address in &spec.addresses {
        lenient(netlink.add_address(index, &address_of(*address)), Errno::EXIST)?;
    }
    for route in routes {
        let result = add(&mut netlink, route);
        // By another interface that is still down.
        let result = lenient(lenient(result, Errno::NETUNREACH), Errno::NETDOWN);
        lenient(lenient(result, Errno::HOSTUNREACH), Errno::EXIST)?;
    }
    Ok(())
}

/// What programs have added to an interface.
#[derive(Debug)]
pub(super) struct Kept {
    addresses: Vec<Address>,
    routes: Vec<Route>,
}

impl Kept {
    /// Reads what is neither in `spec` nor in `own`. The kernel makes link-local addresses and routes to connected
    /// networks again by itself.
    pub(super) fn of(spec: &InterfaceSpec, own: &[RouteSpec]) -> io::Result<Self> {
        let mut netlink = Netlink::open()?;
        let index = netlink.link_by_name(&spec.name)?.index;
        let mut addresses: Vec<Address> =
            netlink.addresses(Some(index))?.into_iter().map(|(_, address)| address).collect();
        addresses.retain(|of| of.scope != Scope::Link && !spec.addresses.contains(&of.local));
        let mut routes = netlink.routes(None)?;
        let is_own = |route: &Route| {
            own.iter().any(|of| (of.to, of.via) == (route.destination, route.gateway))
        };
        routes.retain(|route| {
            route.oif == Some(index)
                && route.table != TABLE_LOCAL
                && route.protocol != PROTOCOL_KERNEL
                && !is_own(route)
        });
        Ok(Self { addresses, routes })
    }

    /// Adds it to an interface of that name; what no longer fits is left out.
    pub(super) fn restore(&self, name: &IfName) -> io::Result<()> {
        let mut netlink = Netlink::open()?;
        let index = netlink.link_by_name(name)?.index;
        for address in &self.addresses {
            let flags = address.flags & AddressFlags::SETTABLE;
            let _ = netlink.add_address(index, &Address { flags, ..address.clone() });
        }
        for route in &self.routes {
            let _ = netlink.add_route(&Route { oif: Some(index), ..route.clone() });
        }
        Ok(())
    }
}

/// Changes the routes of a node; a failure names the route.
pub(super) fn set_routes(
    netlink: &mut Netlink,
    before: &[RouteSpec],
    routes: &[RouteSpec],
) -> Result<(), (RouteSpec, io::Error)> {
    for gone in before.iter().filter(|old| !routes.contains(old)) {
        // It may have gone with its interface or its address.
        let result = lenient(delete(netlink, gone), Errno::SRCH);
        lenient(result, Errno::NODEV).map_err(|error| (*gone, error))?;
    }
    for new in routes.iter().filter(|new| !before.contains(new)) {
        add(netlink, new).map_err(|error| (*new, error))?;
    }
    Ok(())
}

fn add(netlink: &mut Netlink, route: &RouteSpec) -> io::Result<()> {
    let route = route_of(netlink, route)?;
    netlink.add_route(&route)
}

fn delete(netlink: &mut Netlink, route: &RouteSpec) -> io::Result<()> {
    let route = route_of(netlink, route)?;
    netlink.delete_route(&route)
}

fn route_of(netlink: &mut Netlink, spec: &RouteSpec) -> io::Result<Route> {
    let oif = match &spec.interface {
        Some(name) => Some(netlink.link_by_name(name)?.index),
        None => None,
    };
    Ok(Route { gateway: spec.via, oif, metric: spec.metric, ..Route::new(spec.to) })
}

/// As `result`, but without an errno that means that nothing is left to do.
fn lenient(result: io::Result<()>, errno: Errno) -> io::Result<()> {
    match result {
        Err(error) if raw_errno(&error) == Some(errno.raw_os_error()) => Ok(()),
        result => result,
    }
}
