//! A TUN or TAP device that this process has open.

mod adopt;
pub use adopt::take_inherited;
mod programs;

use crate::cause::diagnose::{self, Setting};
use crate::order::Place;
use crate::{Error, IfName, Layout, Link, MacAddr, Mode, Netns, Offload, Queue, Result, sys};
use std::io;
use std::ops::Deref;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

/// A TUN or TAP device: its settings (including those of [`Link`]) and its queues.
///
/// The device exists while this value or one of its queues does, and longer if it is persistent.
/// [`DeviceOptions::open`](crate::DeviceOptions::open) creates it or attaches to it;
/// [`Device::adopt`] takes over a descriptor.
#[derive(Debug)]
pub struct Device {
    pub(crate) link: Link,
    pub(crate) mode: Mode,
    pub(crate) layout: Layout,
    pub(crate) offload: Offload,
    pub(crate) created: bool,
    pub(crate) queues: Vec<Queue>,
    /// The place of the first queue, which the link's descriptor keeps attached.
    pub(crate) place: Option<Arc<Place>>,
}

impl Device {
    /// TUN or TAP.
    #[must_use]
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// The headers before each packet.
    #[must_use]
    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// The enabled offloads, as the kernel reported them after the last change.
    #[must_use]
    pub fn offload(&self) -> Offload {
        self.offload
    }

    /// Whether this handle created the device, rather than attached to an existing one.
    #[must_use]
    pub fn created(&self) -> bool {
        self.created
    }

    /// The queues that were not taken out.
    #[must_use]
    pub fn queues(&self) -> &[Queue] {
        &self.queues
    }

    /// Takes the queues out, for example for a thread each. The handle keeps its settings; it also
    /// keeps the first queue attached while it lives.
    pub fn take_queues(&mut self) -> Vec<Queue> {
        std::mem::take(&mut self.queues)
    }

    /// Drops the settings and returns the queues.
    #[must_use]
    pub fn into_queues(self) -> Vec<Queue> {
        self.queues
    }

    fn fd(&self) -> BorrowedFd<'_> {
        self.link.queue().expect("a device's link always has a queue").as_fd()
    }

    /// Calls an ioctl, and determines the cause if it fails.
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

    /// Sets whether the device outlives its last queue.
    ///
    /// # Errors
    /// `DeviceGone` (EBADFD).
    pub fn set_persist(&self, persist: bool) -> Result<()> {
        let op = if persist { "make persistent" } else { "make transient" };
        self.ioctl(op, Setting::Persist, |fd| sys::tun::set_persist(fd, persist))
    }

    /// Sets the user who may attach without privileges, and reads the value back. It cannot be
    /// unset.
    ///
    /// # Errors
    /// `InvalidValue` (EINVAL) for an id that this user namespace does not map.
    pub fn set_owner(&self, uid: u32) -> Result<()> {
        self.ioctl("set the owner of", Setting::Owner(uid), |fd| sys::tun::set_owner(fd, uid))?;
        let kept = self.info()?.tun.and_then(|tun| tun.owner);
        self.kept("set the owner of", Setting::Owner(uid), kept == Some(uid))
    }

    /// Sets the group that may attach without privileges, and reads the value back. With an owner
    /// too, both must match.
    ///
    /// # Errors
    /// `InvalidValue` (EINVAL) for an id that this user namespace does not map.
    pub fn set_group(&self, gid: u32) -> Result<()> {
        self.ioctl("set the group of", Setting::Group(gid), |fd| sys::tun::set_group(fd, gid))?;
        let kept = self.info()?.tun.and_then(|tun| tun.group);
        self.kept("set the group of", Setting::Group(gid), kept == Some(gid))
    }

    /// Fails unless the kernel stored the value: it reports success for some values that it
    /// ignores.
    fn kept(&self, op: &'static str, setting: Setting, kept: bool) -> Result<()> {
        if kept {
            return Ok(());
        }
        let error = io::Error::from_raw_os_error(libc::EINVAL);
        Err(Error::new(op, self.link.last_name(), diagnose::setting(setting, &error), error))
    }

    /// Sets the link type that the device reports (an `ARPHRD_*` number). The kernel accepts any
    /// number.
    ///
    /// # Errors
    /// `Busy` (EBUSY) while the link is up.
    pub fn set_link_type(&self, arphrd: u16) -> Result<()> {
        self.ioctl("set the link type of", Setting::LinkType, |fd| {
            sys::tun::set_link_type(fd, arphrd)
        })
    }

    /// Sets the offloads of the device, for all its queues, and reads back which are enabled.
    /// Overrides `ethtool -K`.
    ///
    /// # Errors
    /// `Unsupported` (EINVAL): this kernel does not support the set. `InvalidValue`: the set
    /// requires a virtio-net header, or a longer one.
    pub fn set_offload(&mut self, offload: Offload) -> Result<()> {
        let op = "set the offloads of";
        let tunnel = offload.contains(Offload::UDP_TUNNEL_GSO);
        let room = match self.layout.vnet_hdr {
            None => offload.is_empty(),
            Some(format) => !tunnel || format.len == adit_packet::VnetLen::Tunnel,
        };
        self.kept(op, Setting::OffloadHeader(offload), room)?;
        self.ioctl(op, Setting::Offload(offload), |fd| sys::tun::set_offload(fd, offload.bits()))?;
        // The kernel stores only what its features express: it accepts UFO and forgets it.
        self.offload = self.link.offload_seen()?;
        Ok(())
    }

    /// Returns the sets among `sets` that the kernel accepts; restores the current one afterwards.
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

    /// The limit in bytes of sent packets that the kernel queues; `None` is no limit.
    ///
    /// # Errors
    /// `DeviceGone` (EBADFD).
    pub fn send_buffer(&self) -> Result<Option<u32>> {
        let bytes =
            self.ioctl("read the send buffer size of", Setting::SendBuffer, sys::tun::sndbuf)?;
        Ok(u32::try_from(bytes).ok().filter(|_| bytes != i32::MAX))
    }

    /// Limits the bytes of sent packets that the kernel queues before `send` returns EAGAIN.
    ///
    /// # Errors
    /// `InvalidValue` (EINVAL) for 0.
    pub fn set_send_buffer(&self, bytes: Option<u32>) -> Result<()> {
        let bytes = bytes.map_or(i32::MAX, |bytes| i32::try_from(bytes).unwrap_or(i32::MAX));
        self.ioctl("set the send buffer size of", Setting::SendBuffer, |fd| {
            sys::tun::set_sndbuf(fd, bytes)
        })
    }

    /// Turns the carrier on or off. Without a carrier the kernel transmits nothing to the device.
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

    /// Lets only broadcast frames and frames to `addrs` through to the queues of a TAP; an empty
    /// list removes the filter. Returns how many addresses are matched exactly: up to eight unicast
    /// addresses. Further multicast groups are hashed, so other groups with the same hash pass too.
    ///
    /// # Errors
    /// `Unsupported` (EINVAL) on TUN. `Limit` for more than 256 addresses, or for more unicast
    /// addresses than the kernel matches: it would let everything through.
    pub fn set_tx_filter(&self, addrs: &[MacAddr], all_multicast: bool) -> Result<usize> {
        let op = "set the address filter of";
        let mut addrs: Vec<[u8; 6]> = addrs.iter().map(|mac| mac.0).collect();
        // Unicast first: the kernel matches the first eight exactly.
        addrs.sort_by_key(|&mac| MacAddr(mac).is_multicast());
        let unicast = addrs.iter().filter(|&&mac| !MacAddr(mac).is_multicast()).count();
        let fits = unicast <= TX_FILTER_EXACT && addrs.len() <= sys::tun::TX_FILTER_MAX;
        self.kept(op, Setting::TxFilterLen(addrs.len()), fits)?;
        self.ioctl(op, Setting::TxFilter, |fd| sys::tun::set_tx_filter(fd, &addrs, all_multicast))
    }

    /// Sets which driver messages the kernel logs (`NETIF_MSG_*`).
    ///
    /// # Errors
    /// `DeviceGone` (EBADFD).
    pub fn set_debug(&self, mask: i32) -> Result<()> {
        self.ioctl("set the log mask of", Setting::Debug, |fd| sys::tun::set_debug(fd, mask))
    }

    /// The network namespace that the device is in now.
    ///
    /// # Errors
    /// `NotPermitted` (EPERM) without `CAP_NET_ADMIN` there.
    pub fn netns(&self) -> Result<Netns> {
        self.ioctl("find the network namespace of", Setting::Netns, Netns::of_device)
    }

    /// The name of the device, read through the queue instead of netlink.
    ///
    /// # Errors
    /// `DeviceGone` (EBADFD).
    pub fn queue_name(&self) -> Result<IfName> {
        self.ioctl("read the name of", Setting::Persist, crate::link::queue_name)
    }
}

/// The maximum number of unicast addresses that a filter matches (`FLT_EXACT_COUNT`).
const TX_FILTER_EXACT: usize = 8;

/// Gives access to the settings of the link.
impl Deref for Device {
    type Target = Link;

    fn deref(&self) -> &Link {
        &self.link
    }
}
