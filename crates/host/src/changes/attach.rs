//! A queue of a device for a moment: some settings are made through one.

use crate::error::{Error, HELD, Kind, NOT_A_DEVICE, NOT_HELD, Result};
use adit_device::netlink::{LinkChange, LinkInfo, Netlink, TunInfo};
use adit_device::{Cause, Create, Device, DeviceOptions, Holder, IfName, Link, VnetFormat};
use std::fmt;

/// Attaches for a moment to a device that no other program holds.
///
/// # Errors
/// [`Kind::Conflict`] if it is held, or is no TUN or TAP device; as [`DeviceOptions::open`].
pub fn attach(link: &Link) -> Result<Device> {
    let info = link.info()?;
    match &info.tun {
        Some(tun) => attach_as(&info, tun),
        None => Err(not_a_device(info.name, info.kind.as_deref())),
    }
}

/// An interface of another kind; `kind` is what it is.
#[must_use]
pub fn not_a_device(name: impl fmt::Display, kind: Option<&str>) -> Error {
    let kind = kind.map_or(String::new(), |kind| format!(", but a {kind}"));
    let message = format!("{name} is not a TUN or TAP device{kind}");
    Error::new(Kind::Conflict, &NOT_A_DEVICE, message).object(name)
}

fn attach_as(info: &LinkInfo, tun: &TunInfo) -> Result<Device> {
    let name = info.name;
    // The driver refuses a second holder of a single-queue device. It accepts another queue of a
    // multi-queue device, but attaching resets header length and offloads for all of them.
    if tun.queues.unwrap_or(0) + tun.queues_disabled.unwrap_or(0) > 0 {
        let holders = holders_of(&name);
        let who = holders.iter().map(|holder| format!("{} ({})", holder.command, holder.pid));
        let who = who.collect::<Vec<_>>().join(", ");
        let who = if who.is_empty() { "another program".to_owned() } else { who };
        let message = format!("cannot attach to {name}: {who} holds a queue of it");
        return Err(Error::new(Kind::Conflict, &HELD, message).object(name));
    }
    let mut options = DeviceOptions::new(tun.mode)
        .name(name.into())
        .create(Create::Attach)
        .packet_info(tun.pi)
        .multi_queue(tun.multi_queue);
    if tun.vnet_hdr {
        options = options.vnet_hdr(VnetFormat::default());
    }
    Ok(options.open()?)
}

fn holders_of(name: &IfName) -> Vec<Holder> {
    adit_device::holders(name, None).unwrap_or_default().list
}

/// Sets the carrier by netlink: a queue that we attached would give a carrier, and take it away when it is
/// closed.
///
/// # Errors
/// [`Kind::Conflict`] if no program holds the device, which has no carrier then.
pub fn set_carrier(link: &Link, carrier: bool) -> Result<()> {
    let info = link.info()?;
    let changed = Netlink::open()
        .and_then(|mut netlink| netlink.set_link(info.index, &LinkChange::new().carrier(carrier)));
    changed.map_err(|error| {
        let name = info.name;
        if carrier && holders_of(&name).is_empty() {
            let message = format!("cannot set the carrier of {name}: no program holds the device");
            return Error::new(Kind::Conflict, &NOT_HELD, message).object(name);
        }
        let cause = Cause::of_carrier(&error);
        adit_device::Error::new("set the carrier of", name, cause, error).into()
    })
}
