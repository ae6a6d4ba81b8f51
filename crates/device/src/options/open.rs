//! Opening a device, in an order in which a failure or a kill leaves nothing half-configured.
//!
//! A new device disappears with its last descriptor until it is made persistent, so that comes
//! last, after everything that can fail. An existing device gets its former settings back.

use crate::broker::{self, Request};
use crate::cause::diagnose::{self, LinkSetting, Setting};
use crate::link::queue_name;
use crate::netlink::{Address, LinkFlags, LinkInfo, Netlink, Route};
use crate::order::Order;
use crate::sys::tun::{self as ioctls, IfReq, NODE};
use crate::{
    Cause, Create, Device, DeviceOptions, Endian, Error, IfName, Layout, Link, Mode, Offload,
    PacketHasher, Queue, Result, ToeplitzKey, VnetFormat, VnetHashConfig, VnetLen, wire,
};
use rustix::fs::{Mode as FileMode, OFlags};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

/// Opens the node. The device will be in the network namespace of the calling thread.
pub(crate) fn open_node(nonblocking: bool) -> Result<OwnedFd> {
    let mut flags = OFlags::RDWR | OFlags::CLOEXEC;
    flags.set(OFlags::NONBLOCK, nonblocking);
    rustix::fs::open(NODE, flags, FileMode::empty()).map_err(|errno| {
        let error = io::Error::from(errno);
        Error::new("open", NODE, diagnose::open_node(&error), error)
    })
}

impl DeviceOptions {
    /// Creates the device or attaches to it, and applies all settings.
    ///
    /// A failure leaves nothing behind: a new device disappears, an existing one gets the
    /// addresses, routes and settings back that it had.
    ///
    /// # Errors
    /// `NotPermitted` (EACCES, EPERM), `NotFound` (ENODEV), `Exists` and `Busy` (EBUSY), `Mismatch`
    /// (EINVAL) and more; [`Error::cause`] is the exact cause.
    pub fn open(self) -> Result<Device> {
        if let Some(opened) = self.open_elsewhere() {
            return opened;
        }
        match self.netns.clone() {
            None => self.open_here(),
            Some(netns) => netns.run(|| self.open_here()).map_err(|error| {
                Error::new(
                    "enter the network namespace of",
                    self.name,
                    diagnose::netns(&error),
                    error,
                )
            })?,
        }
    }

    /// Has another process open a device with one queue, if there is one, and adopts it.
    fn open_elsewhere(&self) -> Option<Result<Device>> {
        let netns = self.netns.clone();
        let request = Request::Device(wire::encode(&Self { netns: None, ..self.clone() }));
        let opened = broker::open_all(&request, &broker::with(&netns))?;
        Some(opened.map_err(|failure| Error::of_failure(failure, "open", self.name)).and_then(
            |queues| {
                let [queue]: [OwnedFd; 1] = queues.try_into().map_err(|_| {
                    let error = io::Error::from_raw_os_error(libc::EOPNOTSUPP);
                    Error::new("open several queues of", self.name, Cause::Other, error)
                })?;
                let netlink = netns.as_deref().map_or_else(Netlink::open, Netlink::open_in);
                Device::adopt_with(queue, self.mode, netlink.ok())
            },
        ))
    }

    fn open_here(&self) -> Result<Device> {
        let mut netlink = Netlink::open().map_err(|error| {
            Error::new("look up", self.name, diagnose::link(LinkSetting::Find, &error), error)
        })?;
        let before = self.name.exact().and_then(|name| netlink.link_by_name(&name).ok());
        if self.create == Create::Attach && before.is_none() {
            return Err(self.no_such_device());
        }
        let first = self.attach_first(&mut netlink)?;
        let found = queue_name(first.as_fd()).and_then(|name| netlink.link_by_name(&name));
        let info = found.map_err(|error| {
            Error::new("find", self.name, diagnose::link(LinkSetting::Find, &error), error)
        })?;
        let created = before.as_ref().is_none_or(|before| before.index != info.index);
        if created && self.create == Create::Attach {
            // It was deleted between our lookup and our ioctl, which then created another one.
            // Dropping `first` deletes that.
            return Err(self.no_such_device());
        }
        let control = first
            .try_clone()
            .map_err(|error| Error::new("open", self.name, diagnose::open_node(&error), error))?;
        let mut device = Device {
            link: Link::new(netlink, &info, Some(control)),
            mode: self.mode,
            layout: self.layout(),
            offload: Offload::empty(),
            created,
            queues: Vec::new(),
            place: None,
        };
        // Our first queue is attached by now. A single-queue device does not report the number.
        let known = created || info.tun.is_some_and(|tun| tun.queues.unwrap_or(1) == 1);
        self.attach_queues(&mut device, first, info.name, known)?;
        let mut undo = Undo { before: before.filter(|_| !created), ..Undo::default() };
        self.configure(&mut device, &mut undo).inspect_err(|_| undo.run(&device))?;
        Ok(device)
    }

    fn no_such_device(&self) -> Error {
        let cause = Cause::NoSuchDevice { mode: Some(self.mode) };
        Error::new("attach to", self.name, cause, io::Error::from_raw_os_error(libc::ENODEV))
    }

    fn layout(&self) -> Layout {
        Layout { packet_info: self.packet_info, vnet_hdr: self.vnet_hdr }
    }

    /// The flags for TUNSETIFF.
    fn flags(&self) -> u16 {
        let mut flags = match self.mode {
            Mode::Tun => ioctls::IFF_TUN,
            Mode::Tap => ioctls::IFF_TAP,
        };
        let wanted = [
            (!self.packet_info, ioctls::IFF_NO_PI),
            (self.vnet_hdr.is_some(), ioctls::IFF_VNET_HDR),
            (self.multi_queue, ioctls::IFF_MULTI_QUEUE),
            (self.napi, ioctls::IFF_NAPI),
            (self.napi_frags, ioctls::IFF_NAPI_FRAGS),
            (self.no_carrier, ioctls::IFF_NO_CARRIER),
        ];
        for (wanted, flag) in wanted {
            if wanted {
                flags |= flag;
            }
        }
        flags
    }

    /// Opens the first queue, which creates the device or finds it.
    fn attach_first(&self, netlink: &mut Netlink) -> Result<OwnedFd> {
        let fd = open_node(self.nonblocking)?;
        self.check_features(&fd)?;
        if let Some(index) = self.index {
            ioctls::set_ifindex(fd.as_fd(), index.get())
                .map_err(|error| self.failed("set the index of", Setting::IfIndex, error))?;
        }
        let exclusive = self.create == Create::Exclusive;
        let flags = self.flags() | if exclusive { ioctls::IFF_TUN_EXCL } else { 0 };
        let mut request = IfReq::new(self.name.as_bytes(), flags);
        ioctls::set_iff(fd.as_fd(), &mut request).map_err(|error| {
            let op = if exclusive { "create" } else { "attach to" };
            Error::new(op, self.name, super::attach::attach(self, netlink, &error), error)
        })?;
        Ok(fd)
    }

    /// Fails if the driver lacks a requested flag: the kernel silently ignores unknown ones.
    fn check_features(&self, fd: &OwnedFd) -> Result<()> {
        let known = ioctls::features(fd.as_fd())
            .map_err(|error| self.failed("read the features for", Setting::Features(0), error))?;
        // Kernels that have NO_CARRIER (6.1) list it.
        let asked = u32::from(self.flags());
        let missing = asked & !known;
        if missing == 0 {
            return Ok(());
        }
        let error = io::Error::from_raw_os_error(libc::EINVAL);
        Err(self.failed("create", Setting::Features(missing), error))
    }

    fn failed(&self, op: &'static str, setting: Setting, error: io::Error) -> Error {
        Error::new(op, self.name, diagnose::setting(setting, &error), error)
    }

    /// Opens the other queues, now that the device has a name.
    fn attach_queues(
        &self,
        device: &mut Device,
        first: OwnedFd,
        name: IfName,
        known: bool,
    ) -> Result<()> {
        let order = Arc::new(Order::default());
        let mut add = |fd| {
            let place = known.then(|| order.join());
            if device.queues.is_empty() {
                device.place.clone_from(&place);
            }
            let (mode, layout) = (device.mode, device.layout);
            device.queues.push(Queue::new(fd, mode, layout, self.nonblocking, place));
        };
        add(first);
        for _ in 1..self.queues {
            let fd = open_node(self.nonblocking)?;
            let mut request = IfReq::new(name.as_bytes(), self.flags() & !ioctls::IFF_NO_CARRIER);
            ioctls::set_iff(fd.as_fd(), &mut request).map_err(|error| {
                let cause = match Netlink::open() {
                    Ok(mut netlink) => super::attach::attach(self, &mut netlink, &error),
                    Err(_) => Cause::Other,
                };
                Error::new("add a queue to", name, cause, error)
            })?;
            add(fd);
        }
        Ok(())
    }

    /// Applies the settings that need an existing device. Persistence is last.
    fn configure(&self, device: &mut Device, undo: &mut Undo) -> Result<()> {
        self.set_headers(device)?;
        self.set_offloads(device)?;
        self.set_hash_report(device);
        if let Some(bytes) = self.send_buffer {
            device.set_send_buffer(Some(bytes))?;
        }
        if let Some(arphrd) = self.link_type {
            device.set_link_type(arphrd)?;
        }
        self.configure_link(device, undo)?;
        // Owner and group cannot be unset, so no setting of the link may fail after them.
        if let Some(uid) = self.owner.or_else(|| self.default_owner(device)) {
            device.set_owner(uid)?;
        }
        if let Some(gid) = self.group {
            device.set_group(gid)?;
        }
        match self.persist {
            Some(persist) => device.set_persist(persist),
            None => Ok(()),
        }
    }

    /// The owner of a new persistent device without owner and group: any user could attach to it
    /// otherwise.
    fn default_owner(&self, device: &Device) -> Option<u32> {
        let has_no_owner = device.created && self.persist == Some(true) && self.group.is_none();
        has_no_owner.then(|| rustix::process::geteuid().as_raw())
    }

    /// Sets length and byte order of the virtio-net header: a device keeps those of its last user.
    fn set_headers(&self, device: &Device) -> Result<()> {
        let fd = device.queues[0].as_fd();
        let VnetFormat { len, endian } = self.vnet_hdr.unwrap_or_default();
        let bytes = i32::try_from(len.bytes()).expect("at most 24");
        ioctls::set_vnet_hdr_len(fd, bytes)
            .and_then(|()| ioctls::vnet_hdr_len(fd))
            .and_then(|kept| if kept == bytes { Ok(()) } else { Err(invalid()) })
            .map_err(|error| self.failed("set the header of", Setting::VnetHdr, error))?;
        // Only hosts of the other byte order support turning this off; elsewhere it fails with
        // EINVAL.
        let big = ioctls::set_vnet_be(fd, endian == Endian::Big);
        let native_big = endian == Endian::Big && cfg!(target_endian = "big");
        match big {
            Err(_) if endian != Endian::Big || native_big => {}
            result => result
                .map_err(|error| self.failed("set the byte order of", Setting::Endian, error))?,
        }
        ioctls::set_vnet_le(fd, endian == Endian::Little)
            .and_then(|()| ioctls::vnet_le(fd))
            .and_then(|little| {
                // A little-endian host always reports little endian.
                if little || endian != Endian::Little { Ok(()) } else { Err(invalid()) }
            })
            .map_err(|error| self.failed("set the byte order of", Setting::Endian, error))
    }

    /// Enables the first set of the ladder that the kernel accepts. Its last step, the empty set,
    /// clears what an earlier user enabled.
    fn set_offloads(&self, device: &mut Device) -> Result<()> {
        let ladder = self.offload_ladder();
        let (last, richer) = ladder.split_last().expect("a ladder has a last step");
        for &set in richer {
            if device.set_offload(set).is_ok() {
                return Ok(());
            }
        }
        device.set_offload(*last)
    }

    /// Enables the kernel's flow hash if it has one, ours otherwise.
    fn set_hash_report(&self, device: &mut Device) {
        let Some(types) = self.hash_report else { return };
        let room = self.vnet_hdr.is_some_and(|format| format.len >= VnetLen::Hash);
        if room && device.set_vnet_hash(&VnetHashConfig::Report(types)).is_ok() {
            return;
        }
        let hasher = Arc::new(PacketHasher::new(self.mode, &ToeplitzKey::MICROSOFT, types));
        for queue in &mut device.queues {
            queue.set_hasher(Arc::clone(&hasher));
        }
    }

    /// Applies the settings of netlink. Routes come last, because they require the link to be up.
    ///
    /// The owner of a persistent device may attach to it, and may not change it: what it has is not set again.
    fn configure_link(&self, device: &Device, undo: &mut Undo) -> Result<()> {
        let wanted = &self.link;
        let before = undo.before.as_ref();
        let mtu = wanted.mtu.filter(|mtu| before.is_none_or(|before| before.mtu != *mtu));
        let txqueuelen = wanted.txqueuelen;
        let txqueuelen =
            txqueuelen.filter(|len| before.is_none_or(|before| before.txqueuelen != *len));
        let is_up = before.is_some_and(|before| before.flags.contains(LinkFlags::UP));
        if let Some(mac) = wanted.mac {
            device.set_mac(mac)?;
        }
        if let Some(mtu) = mtu {
            device.set_mtu(mtu)?;
        }
        if let Some(packets) = txqueuelen {
            device.set_txqueuelen(packets)?;
        }
        if let Some(alias) = &wanted.alias {
            device.set_alias(alias)?;
        }
        if let Some(master) = &wanted.master {
            device.set_master(Some(master))?;
        }
        for address in &wanted.addresses {
            device.add_address(address)?;
            undo.addresses.push(address.clone());
        }
        if let Some(up) = wanted.up.filter(|up| !up || !is_up) {
            device.set_up(up)?;
        }
        for route in &wanted.routes {
            device.add_route(route)?;
            undo.routes.push(route.clone());
        }
        Ok(())
    }
}

fn invalid() -> io::Error {
    io::Error::from_raw_os_error(libc::EINVAL)
}

/// The former state of an existing device, to restore after a failure.
#[derive(Debug, Default)]
struct Undo {
    before: Option<LinkInfo>,
    addresses: Vec<Address>,
    routes: Vec<Route>,
}

impl Undo {
    /// Restores everything it can, ignoring errors: the first failure is the one to report.
    fn run(&self, device: &Device) {
        let Some(before) = &self.before else { return };
        for route in &self.routes {
            let _ = device.delete_route(route);
        }
        for address in &self.addresses {
            let _ = device.delete_address(address);
        }
        let _ = device.set_up(before.flags.contains(LinkFlags::UP));
        // The link type could not have been changed on a link that was up.
        let _ = device.set_link_type(before.hardware_type.0);
        let _ = device.set_mtu(before.mtu);
        let _ = device.set_txqueuelen(before.txqueuelen);
        let _ = device.set_alias(before.alias.clone().unwrap_or_default());
        if let Some(mac) = before.address.as_ref().and_then(|address| address.mac()) {
            let _ = device.set_mac(mac);
        }
        let _ = device.restore_master(before.master);
    }
}
