//! The settings of an interface.

use crate::cause::diagnose::{self, LinkSetting};
use crate::netlink::{Address, LinkChange, LinkInfo, Netlink, Route};
use crate::{Error, IfIndex, IfName, MacAddr, Netns, Offload, Result, sys};
use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A handle to one interface that survives renames and moves to other network namespaces.
///
/// It identifies the interface by its index and namespace. The handle of a
/// [`Device`](crate::Device) also finds the interface through its queue after another program moved
/// it.
///
/// Changes require `CAP_NET_ADMIN` over the namespace; reading requires no privileges.
#[derive(Debug)]
pub struct Link {
    place: Mutex<Place>,
    /// A queue of the device, to find it again.
    queue: Option<OwnedFd>,
}

/// The current location of the interface.
#[derive(Debug)]
struct Place {
    netlink: Netlink,
    index: IfIndex,
    /// The name as last seen, for error messages.
    name: IfName,
}

impl Link {
    /// The interface with this name or alternative name in the namespace of the calling thread.
    ///
    /// # Errors
    /// `NotFound` (ENODEV).
    pub fn find(name: &IfName) -> Result<Self> {
        Self::find_with(name.as_os_str(), Netlink::open())
    }

    /// The interface with this name or alternative name, which may have up to 127 bytes.
    ///
    /// # Errors
    /// As [`Link::find`].
    pub fn find_altname(name: impl AsRef<OsStr>) -> Result<Self> {
        Self::find_with(name.as_ref(), Netlink::open())
    }

    /// The interface with this name in `netns`.
    ///
    /// # Errors
    /// As [`Link::find`]; `NotPermitted` (EPERM) without `CAP_SYS_ADMIN` over `netns`.
    pub fn find_in(netns: &Netns, name: &IfName) -> Result<Self> {
        Self::find_with(name.as_os_str(), Netlink::open_in(netns))
    }

    fn find_with(name: &OsStr, netlink: io::Result<Netlink>) -> Result<Self> {
        let short = IfName::new(name).ok();
        let failed = |error: io::Error| {
            let cause = diagnose::link(LinkSetting::Find, &error);
            let name = short.map_or_else(|| name.display().to_string(), |name| name.to_string());
            Error::new("find", name, cause, error)
        };
        let mut netlink = netlink.map_err(failed)?;
        let info = match &short {
            Some(name) => netlink.link_by_name(name),
            None => netlink.link_by_altname(name),
        };
        let info = info.map_err(failed)?;
        Ok(Self::new(netlink, &info, None))
    }

    /// Wraps `netlink`, a socket in the namespace of the interface.
    pub(crate) fn new(netlink: Netlink, info: &LinkInfo, queue: Option<OwnedFd>) -> Self {
        let place = Place { netlink, index: info.index, name: info.name };
        Self { place: Mutex::new(place), queue }
    }

    fn place(&self) -> MutexGuard<'_, Place> {
        self.place.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Calls `work`. If the interface has moved, finds it again and retries once.
    fn with<T>(
        &self,
        op: &'static str,
        setting: LinkSetting,
        mut work: impl FnMut(&mut Netlink, IfIndex) -> io::Result<T>,
    ) -> Result<T> {
        let mut place = self.place();
        let Place { netlink, index, .. } = &mut *place;
        let mut result = work(netlink, *index);
        if let Err(error) = &result
            && crate::netlink::raw_errno(error) == Some(libc::ENODEV)
            && self.follow(&mut place).is_some()
        {
            let Place { netlink, index, .. } = &mut *place;
            result = work(netlink, *index);
        }
        let Place { netlink, index, name } = &mut *place;
        result.map_err(|error| {
            let cause = diagnose::link_at(setting, netlink, *index, &error);
            Error::new(op, *name, cause, error)
        })
    }

    /// Finds the device through its queue, which reports its namespace and name.
    fn follow(&self, place: &mut Place) -> Option<()> {
        let queue = self.queue.as_ref()?;
        let netns = Netns::of_device(queue.as_fd()).ok()?;
        let name = queue_name(queue.as_fd()).ok()?;
        let mut netlink = Netlink::open_in(&netns).ok()?;
        let index = netlink.link_by_name(&name).ok()?.index;
        *place = Place { netlink, index, name };
        Some(())
    }

    /// The current state of the interface, as netlink reports it.
    ///
    /// # Errors
    /// `DeviceGone` or `NotFound` (ENODEV) if it was deleted.
    pub fn info(&self) -> Result<LinkInfo> {
        let info = self.with("look up", LinkSetting::Find, Netlink::link_by_index)?;
        self.place().name = info.name;
        Ok(info)
    }

    /// The enabled offloads, read from the link's features (`ethtool -k`).
    pub(crate) fn offload_seen(&self) -> Result<Offload> {
        self.with("read the offloads of", LinkSetting::Find, |netlink, index| {
            let name = netlink.link_by_index(index)?.name;
            let features = sys::ethtool::active_features(netlink.as_fd(), name.as_bytes())?;
            Ok(Offload::of_features(&features))
        })
    }

    /// The current name.
    ///
    /// # Errors
    /// As [`Link::info`].
    pub fn name(&self) -> Result<IfName> {
        self.info().map(|info| info.name)
    }

    /// The current index, in the namespace that the interface is in now.
    ///
    /// # Errors
    /// As [`Link::info`].
    pub fn index(&self) -> Result<IfIndex> {
        self.info().map(|info| info.index)
    }

    fn change(
        &self,
        op: &'static str,
        setting: LinkSetting,
        change: &LinkChange<'_>,
    ) -> Result<()> {
        self.with(op, setting, |netlink, index| netlink.set_link(index, change))
    }

    /// Sets the IP MTU in bytes.
    ///
    /// # Errors
    /// `InvalidValue` (EINVAL) outside of the device's limits.
    pub fn set_mtu(&self, mtu: u32) -> Result<()> {
        self.change("set the MTU of", LinkSetting::Mtu(mtu), &LinkChange::new().mtu(mtu))
    }

    /// Sets how many packets the kernel queues for the reader. Takes effect immediately.
    ///
    /// # Errors
    /// `InvalidValue` above 524,288 on a TUN or TAP device.
    pub fn set_txqueuelen(&self, packets: u32) -> Result<()> {
        let change = LinkChange::new().txqueuelen(packets);
        self.change("set the queue length of", LinkSetting::TxQueueLen(packets), &change)
    }

    /// Sets the maximum length in bytes of the super-packets that the host's stack builds for the
    /// interface. The kernel segments longer ones that it forwards.
    ///
    /// # Errors
    /// `InvalidValue` (EINVAL) above 65,536, the maximum of TUN and TAP devices.
    pub fn set_gso_max_size(&self, bytes: u32) -> Result<()> {
        let change = LinkChange::new().gso_max_size(bytes);
        self.change("set the GSO size of", LinkSetting::GsoMaxSize, &change)
    }

    /// Sets the link up or down.
    ///
    /// # Errors
    /// `NotPermitted` (EPERM).
    pub fn set_up(&self, up: bool) -> Result<()> {
        let op = if up { "set up" } else { "set down" };
        self.change(op, LinkSetting::Up, &LinkChange::new().up(up))
    }

    /// Renames the interface.
    ///
    /// # Errors
    /// `Exists` (EEXIST) if another interface has the name.
    pub fn set_name(&self, name: IfName) -> Result<()> {
        self.change("rename", LinkSetting::Name, &LinkChange::new().name(name))?;
        self.place().name = name;
        Ok(())
    }

    /// Sets the description for people, up to 255 bytes; an empty one removes it.
    ///
    /// # Errors
    /// `InvalidValue` (EINVAL, ERANGE) if it is longer.
    pub fn set_alias(&self, alias: impl AsRef<OsStr>) -> Result<()> {
        self.change("set the alias of", LinkSetting::Alias, &LinkChange::new().alias(alias))
    }

    /// Sets the hardware address. With an open queue this requires no privileges.
    ///
    /// # Errors
    /// `InvalidValue` (EADDRNOTAVAIL) for a group or zero address; `Unsupported` on TUN.
    pub fn set_mac(&self, mac: MacAddr) -> Result<()> {
        let queue = self.queue.as_ref().map(AsFd::as_fd);
        self.with("set the hardware address of", LinkSetting::Mac, |netlink, index| match queue {
            Some(queue) => sys::tun::set_hw_addr(queue, mac.0),
            None => netlink.set_link(index, &LinkChange::new().address(mac)),
        })
    }

    /// Makes the interface a port of a bridge, bond or VRF; `None` removes it from its master.
    ///
    /// # Errors
    /// `NotFound` (ENODEV) if the bridge does not exist, `Mismatch` (EOPNOTSUPP) if it takes no
    /// ports.
    pub fn set_master(&self, master: Option<&IfName>) -> Result<()> {
        self.with("set the bridge of", LinkSetting::Master, |netlink, index| {
            let change = match master {
                Some(master) => LinkChange::new().master(netlink.link_by_name(master)?.index),
                None => LinkChange::new().no_master(),
            };
            netlink.set_link(index, &change)
        })
    }

    /// Restores the master that the link had, by index.
    pub(crate) fn restore_master(&self, master: Option<IfIndex>) -> Result<()> {
        let change = match master {
            Some(master) => LinkChange::new().master(master),
            None => LinkChange::new().no_master(),
        };
        self.change("set the bridge of", LinkSetting::Master, &change)
    }

    /// Moves the interface to `netns`, where it is down at first. The handle follows it.
    ///
    /// # Errors
    /// `Exists` (EEXIST) if an interface of that name exists there; `NotPermitted` (EPERM).
    pub fn move_to(&self, netns: &Netns) -> Result<()> {
        let name = self.name()?;
        self.change("move", LinkSetting::Netns, &LinkChange::new().netns(netns))?;
        let failed = |error: io::Error| {
            Error::new("follow", name, diagnose::link(LinkSetting::Netns, &error), error)
        };
        let mut netlink = Netlink::open_in(netns).map_err(failed)?;
        let index = netlink.link_by_name(&name).map_err(failed)?.index;
        *self.place() = Place { netlink, index, name };
        Ok(())
    }

    /// The IPv4 and IPv6 addresses.
    ///
    /// # Errors
    /// As [`Link::info`].
    pub fn addresses(&self) -> Result<Vec<Address>> {
        self.with("list the addresses of", LinkSetting::Address, |netlink, index| {
            let addresses = netlink.addresses(Some(index))?;
            Ok(addresses.into_iter().map(|(_, address)| address).collect())
        })
    }

    /// Adds an address.
    ///
    /// # Errors
    /// `Exists` (EEXIST); `Unsupported` (EACCES) for IPv6 where it is disabled.
    pub fn add_address(&self, address: &Address) -> Result<()> {
        self.with("add an address to", LinkSetting::Address, |netlink, index| {
            netlink.add_address(index, address)
        })
    }

    /// Deletes an address.
    ///
    /// # Errors
    /// `NotFound` (EADDRNOTAVAIL).
    pub fn delete_address(&self, address: &Address) -> Result<()> {
        self.with("delete an address of", LinkSetting::Address, |netlink, index| {
            netlink.delete_address(index, address)
        })
    }

    /// Adds a route over the interface.
    ///
    /// # Errors
    /// `Exists` (EEXIST); ENETUNREACH or EHOSTUNREACH if the gateway is unreachable; `LinkDown`
    /// (ENETDOWN) while the link is down.
    pub fn add_route(&self, route: &Route) -> Result<()> {
        self.with("add a route over", LinkSetting::Route, |netlink, index| {
            netlink.add_route(&Route { oif: Some(index), ..route.clone() })
        })
    }

    /// Deletes a route over the interface.
    ///
    /// # Errors
    /// `NotFound` (ESRCH).
    pub fn delete_route(&self, route: &Route) -> Result<()> {
        self.with("delete a route over", LinkSetting::Route, |netlink, index| {
            netlink.delete_route(&Route { oif: Some(index), ..route.clone() })
        })
    }

    /// Deletes the interface.
    ///
    /// # Errors
    /// `NotPermitted` (EPERM); `Unsupported` (EOPNOTSUPP) for hardware and `lo`.
    pub fn delete(self) -> Result<()> {
        self.with("delete", LinkSetting::Delete, Netlink::delete_link)
    }

    /// A queue of the device, for the ioctls that any queue accepts.
    pub(crate) fn queue(&self) -> Option<&OwnedFd> {
        self.queue.as_ref()
    }

    /// The name for error messages.
    pub(crate) fn last_name(&self) -> IfName {
        self.place().name
    }
}

/// The current name of the device behind a queue.
pub(crate) fn queue_name(queue: std::os::fd::BorrowedFd<'_>) -> io::Result<IfName> {
    use std::os::unix::ffi::OsStrExt;
    let request = sys::tun::get_iff(queue)?;
    // A name that another program forced on the kernel may contain '%'; ours cannot.
    IfName::new(OsStr::from_bytes(request.name()))
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}
