//! The settings of an interface, by index, wherever it is.

use crate::diagnose::{self, LinkSetting};
use crate::netlink::{Address, LinkChange, LinkInfo, Netlink, Route};
use crate::{Error, IfIndex, IfName, MacAddr, Netns, Offload, Result, sys};
use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A handle on one interface, which a rename or a move to another namespace does not break: it
/// knows the interface by its index and its namespace, and a device's own handle finds it again
/// through its queue when somebody else has moved it.
///
/// Changes need `CAP_NET_ADMIN` over the namespace; reading needs nothing.
#[derive(Debug)]
pub struct Link {
    place: Mutex<Place>,
    /// A queue of the device, through which it is found again.
    queue: Option<OwnedFd>,
}

/// Where the interface is now.
#[derive(Debug)]
struct Place {
    netlink: Netlink,
    index: IfIndex,
    /// The name that it was last seen with: for error texts.
    name: IfName,
}

impl Link {
    /// The interface with this name (or other name) in the namespace of the calling thread.
    ///
    /// # Errors
    /// `NotFound` (ENODEV) if there is none.
    pub fn find(name: &IfName) -> Result<Self> {
        Self::find_with(name.as_os_str(), Netlink::open())
    }

    /// As [`Link::find`], also by another name of up to 127 bytes.
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

    /// `netlink` is in the namespace of the interface.
    pub(crate) fn new(netlink: Netlink, info: &LinkInfo, queue: Option<OwnedFd>) -> Self {
        let place = Place { netlink, index: info.index, name: info.name };
        Self { place: Mutex::new(place), queue }
    }

    fn place(&self) -> MutexGuard<'_, Place> {
        self.place.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does `work`; if the interface is no longer where it was, once more where it is now.
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

    /// Finds the device again through its queue: the queue knows its namespace and its name.
    fn follow(&self, place: &mut Place) -> Option<()> {
        let queue = self.queue.as_ref()?;
        let netns = Netns::try_from(sys::tun::dev_netns(queue.as_fd()).ok()?).ok()?;
        let name = queue_name(queue.as_fd()).ok()?;
        let mut netlink = Netlink::open_in(&netns).ok()?;
        let index = netlink.link_by_name(&name).ok()?.index;
        *place = Place { netlink, index, name };
        Some(())
    }

    /// All that the kernel tells of it, as it is now.
    ///
    /// # Errors
    /// `DeviceGone` or `NotFound` (ENODEV) if it was deleted.
    pub fn info(&self) -> Result<LinkInfo> {
        let info = self.with("look up", LinkSetting::Find, Netlink::link_by_index)?;
        self.place().name = info.name;
        Ok(info)
    }

    /// The offloads that the device has, read back from the link's features (`ethtool -k`).
    pub(crate) fn offload_seen(&self) -> Result<Offload> {
        self.with("read the offloads of", LinkSetting::Find, |netlink, index| {
            let name = netlink.link_by_index(index)?.name;
            let features = sys::ethtool::active_features(netlink.as_fd(), name.as_bytes())?;
            Ok(Offload::of_features(&features))
        })
    }

    /// The name that it has now.
    ///
    /// # Errors
    /// As [`Link::info`].
    pub fn name(&self) -> Result<IfName> {
        self.info().map(|info| info.name)
    }

    /// The index in the namespace in which it is now.
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

    /// Sets how many packets wait for the reader; takes effect at once.
    ///
    /// # Errors
    /// `InvalidValue` above 524,288 on a TUN or TAP device.
    pub fn set_txqueuelen(&self, packets: u32) -> Result<()> {
        let change = LinkChange::new().txqueuelen(packets);
        self.change("set the queue length of", LinkSetting::TxQueueLen(packets), &change)
    }

    /// Sets the longest super-packet that the stack makes for it, in bytes. What it forwards and is
    /// longer, the kernel cuts up.
    ///
    /// # Errors
    /// `InvalidValue` (EINVAL) above what a TUN or TAP device takes, 65,536.
    pub fn set_gso_max_size(&self, bytes: u32) -> Result<()> {
        let change = LinkChange::new().gso_max_size(bytes);
        self.change("set the GSO size of", LinkSetting::GsoMaxSize, &change)
    }

    /// Sets it up or down.
    ///
    /// # Errors
    /// `NotPermitted` (EPERM).
    pub fn set_up(&self, up: bool) -> Result<()> {
        let op = if up { "set up" } else { "set down" };
        self.change(op, LinkSetting::Up, &LinkChange::new().up(up))
    }

    /// Renames it.
    ///
    /// # Errors
    /// `Exists` (EEXIST) if the name is taken.
    pub fn set_name(&self, name: IfName) -> Result<()> {
        self.change("rename", LinkSetting::Name, &LinkChange::new().name(name))?;
        self.place().name = name;
        Ok(())
    }

    /// Describes it for people, in up to 255 bytes; empty takes the description away.
    ///
    /// # Errors
    /// `InvalidValue` (EINVAL, ERANGE) if it is longer.
    pub fn set_alias(&self, alias: impl AsRef<OsStr>) -> Result<()> {
        self.change("set the alias of", LinkSetting::Alias, &LinkChange::new().alias(alias))
    }

    /// Sets the hardware address. The holder of a queue needs no privilege for it.
    ///
    /// # Errors
    /// `InvalidValue` (EADDRNOTAVAIL) for a multicast or zero address; `Unsupported` on TUN.
    pub fn set_mac(&self, mac: MacAddr) -> Result<()> {
        let queue = self.queue.as_ref().map(AsFd::as_fd);
        self.with("set the hardware address of", LinkSetting::Mac, |netlink, index| match queue {
            Some(queue) => sys::tun::set_hw_addr(queue, mac.0),
            None => netlink.set_link(index, &LinkChange::new().address(mac)),
        })
    }

    /// Makes it a port of a bridge (or of a bond or VRF), or of nothing.
    ///
    /// # Errors
    /// `NotFound` (ENODEV) if there is no such bridge, `Mismatch` (EOPNOTSUPP) if it is none.
    pub fn set_master(&self, master: Option<&IfName>) -> Result<()> {
        self.with("set the bridge of", LinkSetting::Master, |netlink, index| {
            let change = match master {
                Some(master) => LinkChange::new().master(netlink.link_by_name(master)?.index),
                None => LinkChange::new().no_master(),
            };
            netlink.set_link(index, &change)
        })
    }

    /// Puts back the master that the link had, by index.
    pub(crate) fn restore_master(&self, master: Option<IfIndex>) -> Result<()> {
        let change = match master {
            Some(master) => LinkChange::new().master(master),
            None => LinkChange::new().no_master(),
        };
        self.change("set the bridge of", LinkSetting::Master, &change)
    }

    /// Moves it to `netns`, where it is down at first; this handle goes with it.
    ///
    /// # Errors
    /// `Exists` (EEXIST) if its name is taken there; `NotPermitted` (EPERM).
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

    /// Its IPv4 and IPv6 addresses.
    ///
    /// # Errors
    /// As [`Link::info`].
    pub fn addresses(&self) -> Result<Vec<Address>> {
        self.with("list the addresses of", LinkSetting::Address, |netlink, index| {
            let addresses = netlink.addresses(Some(index))?;
            Ok(addresses.into_iter().map(|(_, address)| address).collect())
        })
    }

    /// Gives it an address.
    ///
    /// # Errors
    /// `Exists` (EEXIST); `Unsupported` for IPv6 where that is switched off.
    pub fn add_address(&self, address: &Address) -> Result<()> {
        self.with("add an address to", LinkSetting::Address, |netlink, index| {
            netlink.add_address(index, address)
        })
    }

    /// Takes an address away.
    ///
    /// # Errors
    /// `NotFound` (EADDRNOTAVAIL).
    pub fn delete_address(&self, address: &Address) -> Result<()> {
        self.with("delete an address of", LinkSetting::Address, |netlink, index| {
            netlink.delete_address(index, address)
        })
    }

    /// Adds a route over it.
    ///
    /// # Errors
    /// `Exists` (EEXIST); ENETUNREACH, EHOSTUNREACH if the gateway is not reachable; `LinkDown`
    /// (ENETDOWN) if it is down.
    pub fn add_route(&self, route: &Route) -> Result<()> {
        self.with("add a route over", LinkSetting::Route, |netlink, index| {
            netlink.add_route(&Route { oif: Some(index), ..route.clone() })
        })
    }

    /// Deletes a route over it.
    ///
    /// # Errors
    /// `NotFound` (ESRCH).
    pub fn delete_route(&self, route: &Route) -> Result<()> {
        self.with("delete a route over", LinkSetting::Route, |netlink, index| {
            netlink.delete_route(&Route { oif: Some(index), ..route.clone() })
        })
    }

    /// Deletes the interface itself.
    ///
    /// # Errors
    /// `NotPermitted` (EPERM); `Unsupported` (EOPNOTSUPP) for hardware and `lo`.
    pub fn delete(self) -> Result<()> {
        self.with("delete", LinkSetting::Delete, Netlink::delete_link)
    }

    /// A queue of the device, for the ioctls that any queue takes.
    pub(crate) fn queue(&self) -> Option<&OwnedFd> {
        self.queue.as_ref()
    }

    /// The name for error texts.
    pub(crate) fn last_name(&self) -> IfName {
        self.place().name
    }
}

/// The present name of the device behind a queue.
pub(crate) fn queue_name(queue: std::os::fd::BorrowedFd<'_>) -> io::Result<IfName> {
    use std::os::unix::ffi::OsStrExt;
    let request = sys::tun::get_iff(queue)?;
    let len = request.name.iter().position(|&byte| byte == 0).unwrap_or(request.name.len());
    // A name that another program made the kernel take may have a '%' in it, ours cannot.
    IfName::new(OsStr::from_bytes(&request.name[..len]))
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}
