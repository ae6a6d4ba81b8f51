//! What comes of the text of a port.

use super::device::DevicePort;
use super::interface::InterfacePort;
use super::port::Io;
use super::spec::{DeviceSpec, InterfaceSpec};
use super::{Port, PortKind, PortSpec};
use crate::commands::open_netns;
use crate::error::{Error, Result};
use adit::netlink::HardwareType;
use adit::{Create, DeviceOptions, Endian, Link, Mode, Netns, OffloadChoice, VnetFormat, VnetLen};
use std::io;

/// How many packets may wait for us at a device that we make: twice the kernel's 500, for a burst of
/// 64 super-packets cut up for somebody is more than that.
const TXQUEUELEN: u32 = 1000;

/// What a [`PortSpec`] turns into.
#[derive(Debug)]
pub(crate) enum Opened {
    /// Ports; several are one group, no member of which forwards to another.
    Ports(Vec<Port>),
}

impl PortSpec {
    /// Opens it: makes a device, connects, binds. Nothing is left behind if it fails.
    ///
    /// # Errors
    /// What the operating system refused, with the cause and a remedy.
    pub(crate) fn open(&self) -> Result<Opened> {
        match &self.kind {
            PortKind::Device(spec) => device(spec).map(|port| Opened::Ports(vec![port])),
            PortKind::Interface(spec) => interface(spec).map(|port| Opened::Ports(vec![port])),
            _ => Err(Error::usage("this kind of port is not there yet")),
        }
    }
}

impl Port {
    /// A port on a TUN or TAP device that is open: its first queue.
    ///
    /// # Errors
    /// ENODEV: it was deleted.
    pub(crate) fn from_device(device: adit::Device) -> Result<Self> {
        let info = device.info()?;
        let kind = match device.mode() {
            Mode::Tap => "tap",
            Mode::Tun => "tun",
        };
        let name = format!("{kind}:{}", info.name);
        let port = DevicePort::new(device).map_err(|error| Error::io("use", &name, &error))?;
        Ok(Self::new(name, Some(info.mtu), Io::Device(Box::new(port))))
    }
}

fn device(spec: &DeviceSpec) -> Result<Port> {
    let netns = spec.netns.as_deref().map(open_netns).transpose()?;
    // A device that is there says how it may be attached to.
    let there = spec.name.exact().and_then(|name| {
        let link = match &netns {
            Some(netns) => Link::find_in(netns, &name),
            None => Link::find(&name),
        };
        link.ok()?.info().ok()
    });
    let is_multi_queue =
        there.as_ref().and_then(|info| info.tun).is_some_and(|tun| tun.multi_queue);
    let mut options = DeviceOptions::new(spec.mode)
        .name(spec.name)
        .create(Create::AttachOrCreate)
        .multi_queue(is_multi_queue)
        .nonblocking(true)
        .vnet_hdr(VnetFormat { len: VnetLen::Tunnel, endian: Endian::Native })
        .offload(OffloadChoice::Auto)
        .up(true);
    if let Some(netns) = netns {
        options = options.netns(netns);
    }
    if let Some(packets) = spec.txqueuelen.or(there.is_none().then_some(TXQUEUELEN)) {
        options = options.txqueuelen(packets);
    }
    if let Some(user) = &spec.user {
        options = options.owner(user.uid);
    }
    if let Some(group) = &spec.group {
        options = options.group(group.gid);
    }
    if let Some(mac) = spec.mac {
        options = options.mac(mac);
    }
    if let Some(mtu) = spec.mtu {
        options = options.mtu(mtu);
    }
    if let Some(persist) = spec.persist {
        options = options.persist(persist);
    }
    Ok(Port::from_device(options.open()?)?.in_namespace(spec.netns.as_deref()))
}

fn interface(spec: &InterfaceSpec) -> Result<Port> {
    let name = format!("dev:{}", spec.name);
    let failed = |error: io::Error| Error::io("open a packet socket on", spec.name, &error);
    let netns = match &spec.netns {
        Some(netns) => open_netns(netns)?,
        None => Netns::current().map_err(failed)?,
    };
    let link = Link::find_in(&netns, &spec.name)?;
    let info = link.info()?;
    if !matches!(info.hardware_type, HardwareType::ETHER | HardwareType::LOOPBACK) {
        return Err(Error::usage(format_args!("{} is no Ethernet interface", spec.name)));
    }
    let port = InterfacePort::new(link, netns).map_err(failed)?;
    Ok(Port::new(name, Some(info.mtu), Io::Interface(Box::new(port)))
        .in_namespace(spec.netns.as_deref()))
}
