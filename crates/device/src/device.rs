//! A TUN or TAP device that this process holds.

use crate::diagnose::{self, Setting};
use crate::order::Place;
use crate::{Error, IfName, Layout, Link, MacAddr, Mode, Netns, Offload, Queue, Result, sys};
use std::io;
use std::ops::Deref;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

/// A TUN or TAP device: its settings (those of [`Link`] as well) and its queues.
///
/// The device exists as long as this value or one of its queues does, and longer if it is
/// persistent. [`DeviceOptions::open`](crate::DeviceOptions::open) makes or finds one;
/// [`Device::adopt`] takes over a descriptor.
#[derive(Debug)]
pub struct Device {
    pub(crate) link: Link,
    pub(crate) mode: Mode,
    pub(crate) layout: Layout,
    pub(crate) offload: Offload,
    pub(crate) created: bool,
    pub(crate) queues: Vec<Queue>,
    /// The link's descriptor is one of the first queue, and holds its place.
    pub(crate) place: Option<Arc<Place>>,
}

impl Device {
    /// TUN or TAP.
    #[must_use]
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// What stands before each packet.
    #[must_use]
    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// The offloads that are on, read back from the kernel after they were set.
    #[must_use]
    pub fn offload(&self) -> Offload {
        self.offload
    }

    /// Whether the device was made by this handle, rather than found.
    #[must_use]
    pub fn created(&self) -> bool {
        self.created
    }

    /// The queues that are still here.
    #[must_use]
    pub fn queues(&self) -> &[Queue] {
        &self.queues
    }

    /// Takes the queues out, for threads of their own. The device handle goes on to set things; the
    /// first queue stays attached as long as it lives.
    pub fn take_queues(&mut self) -> Vec<Queue> {
        std::mem::take(&mut self.queues)
    }

    /// Gives the settings up and keeps the queues.
    #[must_use]
    pub fn into_queues(self) -> Vec<Queue> {
        self.queues
    }

    fn fd(&self) -> BorrowedFd<'_> {
        self.link.queue().expect("a device's link always has a queue").as_fd()
    }

    /// Does an ioctl and tells its failure.
    pub(crate) fn ioctl<T>(
        &self,
        op: &'static str,
        setting: Setting,
        call: impl FnOnce(BorrowedFd<'_>) -> io::Result<T>,
    ) -> Result<T> {
        call(self.fd()).map_err(|error| {
            let cause = diagnose::setting(setting, &error).of_mode(self.mode);
            Error::new(op, self.link.last_name(), cause, error)
        })
    }

    /// Sets whether the device stays when its last queue is closed.
    ///
    /// # Errors
    /// `DeviceGone` (EBADFD).
    pub fn set_persist(&self, persist: bool) -> Result<()> {
        let op = if persist { "make persistent" } else { "make transient" };
        self.ioctl(op, Setting::Persist, |fd| sys::tun::set_persist(fd, persist))
    }

    /// Sets the user who may attach without privilege; it cannot be unset. What the kernel took is
    /// read back.
    ///
    /// # Errors
    /// `InvalidValue` (EINVAL) for an id that this user namespace does not map.
    pub fn set_owner(&self, uid: u32) -> Result<()> {
        self.ioctl("set the owner of", Setting::Owner(uid), |fd| sys::tun::set_owner(fd, uid))?;
        let kept = self.info()?.tun.and_then(|tun| tun.owner);
        self.kept("set the owner of", Setting::Owner(uid), kept == Some(uid))
    }

    /// Sets the group that may attach without privilege; with an owner, both must match. What the
    /// kernel took is read back.
    ///
    /// # Errors
    /// `InvalidValue` (EINVAL) for an id that this user namespace does not map.
    pub fn set_group(&self, gid: u32) -> Result<()> {
        self.ioctl("set the group of", Setting::Group(gid), |fd| sys::tun::set_group(fd, gid))?;
        let kept = self.info()?.tun.and_then(|tun| tun.group);
        self.kept("set the group of", Setting::Group(gid), kept == Some(gid))
    }

    /// The kernel said yes; did it?
    fn kept(&self, op: &'static str, setting: Setting, kept: bool) -> Result<()> {
        if kept {
            return Ok(());
        }
        let error = io::Error::from_raw_os_error(libc::EINVAL);
        Err(Error::new(op, self.link.last_name(), diagnose::setting(setting, &error), error))
    }

    /// Sets the `ARPHRD_*` number that the device shows. The kernel takes any.
    ///
    /// # Errors
    /// `Busy` (EBUSY) while the link is up.
    pub fn set_link_type(&self, arphrd: u16) -> Result<()> {
        self.ioctl("set the link type of", Setting::LinkType, |fd| {
            sys::tun::set_link_type(fd, arphrd)
        })
    }

    /// Sets the offloads of the device, for all of its queues, and reads back which are on.
    /// This overrides what was switched off by `ethtool -K`.
    ///
    /// # Errors
    /// `Unsupported` (EINVAL): this kernel does not take that set. `InvalidValue`: the set needs a
    /// virtio-net header, or a longer one, which this queue has not.
    pub fn set_offload(&mut self, offload: Offload) -> Result<()> {
        let op = "set the offloads of";
        let tunnel = offload.contains(Offload::UDP_TUNNEL_GSO);
        let room = match self.layout.vnet_hdr {
            None => offload.is_empty(),
            Some(format) => !tunnel || format.len == adit_packet::VnetLen::Tunnel,
        };
        self.kept(op, Setting::OffloadHeader(offload), room)?;
        self.ioctl(op, Setting::Offload(offload), |fd| sys::tun::set_offload(fd, offload.bits()))?;
        // The kernel keeps what its features can express: UFO is taken and forgotten.
        self.offload = self.link.offload_seen()?;
        Ok(())
    }

    /// Tries which of `sets` the kernel takes, and puts the present one back.
    ///
    /// # Errors
    /// `DeviceGone` (EBADFD).
    pub fn probe_offloads(&self, sets: &[Offload]) -> Result<Vec<Offload>> {
        let op = "probe the offloads of";
        let mut taken = Vec::new();
        for &set in sets {
            match sys::tun::set_offload(self.fd(), set.bits()) {
                Ok(()) => taken.push(set),
                Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {}
                Err(error) => {
                    let cause = diagnose::setting(Setting::Offload(set), &error).of_mode(self.mode);
                    return Err(Error::new(op, self.link.last_name(), cause, error));
                }
            }
        }
        let present = self.offload;
        self.ioctl(op, Setting::Offload(present), |fd| sys::tun::set_offload(fd, present.bits()))?;
        Ok(taken)
    }

    /// How many bytes of sent packets may wait below; `None` is no limit.
    ///
    /// # Errors
    /// `DeviceGone` (EBADFD).
    pub fn send_buffer(&self) -> Result<Option<u32>> {
        let bytes = self.ioctl("read the send buffer of", Setting::SendBuffer, sys::tun::sndbuf)?;
        Ok(u32::try_from(bytes).ok().filter(|_| bytes != i32::MAX))
    }

    /// Limits how many bytes of sent packets may wait below before `send` gives EAGAIN.
    ///
    /// # Errors
    /// `InvalidValue` (EINVAL) for 0.
    pub fn set_send_buffer(&self, bytes: Option<u32>) -> Result<()> {
        let bytes = bytes.map_or(i32::MAX, |bytes| i32::try_from(bytes).unwrap_or(i32::MAX));
        self.ioctl("set the send buffer of", Setting::SendBuffer, |fd| {
            sys::tun::set_sndbuf(fd, bytes)
        })
    }

    /// Gives the device a carrier or takes it away. Without one the kernel sends it nothing.
    ///
    /// # Errors
    /// `DeviceGone` (EBADFD).
    pub fn set_carrier(&self, carrier: bool) -> Result<()> {
        self.ioctl("set the carrier of", Setting::Carrier, |fd| sys::tun::set_carrier(fd, carrier))
    }

    /// The hardware address of a TAP, read through the queue.
    ///
    /// # Errors
    /// `DeviceGone` (EBADFD).
    pub fn mac(&self) -> Result<MacAddr> {
        self.ioctl("read the hardware address of", Setting::Mac, sys::tun::hw_addr).map(MacAddr)
    }

    /// Lets only frames to `addrs` and to broadcast through to the queues of a TAP; none lifts the
    /// filter. Up to eight unicast addresses, which come first, are matched exactly; multicast
    /// groups beyond are hashed and let some others through. Returns how many are matched exactly.
    ///
    /// # Errors
    /// `Unsupported` (EINVAL) on TUN; `Limit` for more than 256 addresses, or more unicast
    /// addresses than the kernel matches (it would let everything through).
    pub fn set_tx_filter(&self, addrs: &[MacAddr], all_multicast: bool) -> Result<usize> {
        let op = "set the address filter of";
        let mut addrs: Vec<[u8; 6]> = addrs.iter().map(|mac| mac.0).collect();
        // Unicast first: the kernel takes the first eight for the exact ones.
        addrs.sort_by_key(|&mac| MacAddr(mac).is_multicast());
        let unicast = addrs.iter().filter(|&&mac| !MacAddr(mac).is_multicast()).count();
        let fits = unicast <= TX_FILTER_EXACT && addrs.len() <= sys::tun::TX_FILTER_MAX;
        self.kept(op, Setting::TxFilterLen(addrs.len()), fits)?;
        self.ioctl(op, Setting::TxFilter, |fd| sys::tun::set_tx_filter(fd, &addrs, all_multicast))
    }

    /// Which driver messages are logged (`NETIF_MSG_*`).
    ///
    /// # Errors
    /// `DeviceGone` (EBADFD).
    pub fn set_debug(&self, mask: i32) -> Result<()> {
        self.ioctl("set the log mask of", Setting::Debug, |fd| sys::tun::set_debug(fd, mask))
    }

    /// The namespace in which the device is now.
    ///
    /// # Errors
    /// `NotPermitted` (EPERM) without `CAP_NET_ADMIN` there.
    pub fn netns(&self) -> Result<Netns> {
        self.ioctl("find the network namespace of", Setting::Netns, |fd| {
            Netns::try_from(sys::tun::dev_netns(fd)?)
        })
    }

    /// The name by the queue, which needs no netlink.
    ///
    /// # Errors
    /// `DeviceGone` (EBADFD).
    pub fn queue_name(&self) -> Result<IfName> {
        self.ioctl("read the name of", Setting::Persist, crate::link::queue_name)
    }
}

/// How many unicast addresses a filter matches (`FLT_EXACT_COUNT`).
const TX_FILTER_EXACT: usize = 8;

/// A device has all the settings of its link.
impl Deref for Device {
    type Target = Link;

    fn deref(&self) -> &Link {
        &self.link
    }
}
