//! Finds a device by its name.

use adit_device::Link;
use adit_device::netlink::{LinkInfo, TunInfo};
use adit_service::error::Result;
use adit_service::host::attach::not_a_device;
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
