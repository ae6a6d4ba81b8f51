//! Reads the devices of the namespace.

use crate::commands::dev::holders;
use crate::commands::dev::model::{Around, Device};
use crate::commands::dev::values::AnyName;
use adit_device::IfIndex;
use adit_device::netlink::{LinkInfo, Netlink};
use adit_service::error::{Error, Result};
use adit_service::host::attach::not_a_device;
use std::collections::BTreeMap;

/// All TUN and TAP devices, by index.
pub(crate) fn all(stats: bool) -> Result<Vec<Device>> {
    let (links, around) = read(stats)?;
    Ok(links.iter().filter_map(|link| Device::new(link, &around)).collect())
}

/// The device of this name (or other name).
pub(crate) fn one(name: &AnyName, stats: bool) -> Result<Device> {
    let index = adit_device::Link::find_altname(name)?.index()?;
    let device = with_index(index, stats)?;
    match device {
        (_, Some(device)) => Ok(device),
        (kind, None) => Err(not_a_device(name, kind.as_deref())),
    }
}

/// The device with this index; without one, the kind of the link that is there.
pub(crate) fn with_index(index: IfIndex, stats: bool) -> Result<(Option<String>, Option<Device>)> {
    let (links, around) = read(stats)?;
    let link = links.iter().find(|link| link.index == index);
    let kind = link.and_then(|link| link.kind.clone());
    Ok((kind, link.and_then(|link| Device::new(link, &around))))
}

fn read(stats: bool) -> Result<(Vec<LinkInfo>, Around)> {
    let failed = |error| Error::io("list", "the interfaces", &error);
    let mut netlink = Netlink::open().map_err(failed)?;
    let links = netlink.links().map_err(failed)?;
    let addresses = netlink.addresses(None).map_err(failed)?;
    let names: BTreeMap<_, _> =
        links.iter().map(|link| (link.index, link.name.to_string())).collect();
    let has_device = links.iter().any(|link| link.tun.is_some());
    let holders = if has_device { holders::all() } else { holders::Found::default() };
    Ok((links, Around { names, addresses, holders, stats }))
}
