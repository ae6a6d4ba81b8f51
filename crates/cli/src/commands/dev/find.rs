//! Finds a device by its name.

use adit_device::Link;
use adit_device::netlink::{LinkInfo, TunInfo};
use adit_service::error::{Error, Kind, NOT_A_DEVICE, Result};
use std::ffi::OsStr;
use std::fmt;

/// The TUN or TAP device of this name; an interface of another kind is an error.
pub(crate) fn find(name: impl AsRef<OsStr> + fmt::Display) -> Result<(Link, LinkInfo, TunInfo)> {
    let link = Link::find_altname(&name)?;
    let info = link.info()?;
    match info.tun {
        Some(tun) => Ok((link, info, tun)),
        None => Err(not_a_device(&name, info.kind.as_deref())),
    }
}

pub(crate) fn not_a_device(name: impl fmt::Display, kind: Option<&str>) -> Error {
    let kind = kind.map_or(String::new(), |kind| format!(", but a {kind}"));
    let message = format!("{name} is not a TUN or TAP device{kind}");
    Error::new(Kind::Conflict, &NOT_A_DEVICE, message).object(name)
}
