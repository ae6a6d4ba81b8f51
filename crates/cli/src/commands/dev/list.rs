//! Reads the devices of the namespace.

use crate::commands::dev::holders;
use crate::commands::dev::model::{Around, Device};
use crate::commands::dev::values::AnyName;
use adit_device::IfIndex;
use adit_device::netlink::{LinkInfo, Netlink};
use adit_service::error::{Error, Result};
use adit_service::host::attach::not_a_device;
use rustix::io::Errno;
use std::collections::BTreeMap;
use std::io;

/// All TUN and TAP devices, by index.
pub(crate) fn all(stats: bool) -> Result<Vec<Device>> {
    let mut netlink = Netlink::open().map_err(failed)?;
    let links = netlink.links().map_err(failed)?;
    let mut addresses: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for (index, address) in netlink.addresses(None).map_err(failed)? {
        addresses.entry(index).or_default().push(address);
    }
    let names = links.iter().map(|link| (link.index, link.name.to_string())).collect();
    let has_device = links.iter().any(|link| link.tun.is_some());
    let holders = if has_device { holders::find(None) } else { holders::Found::default() };
    let around = Around { names, addresses, holders, stats };
    Ok(links.iter().filter_map(|link| Device::new(link, &around)).collect())
}

/// The device of this name (or other name).
pub(crate) fn one(name: &AnyName, stats: bool) -> Result<Device> {
    let link = adit_device::Link::find_altname(name)?.info()?;
    match of_link(&link, stats)? {
        Some(device) => Ok(device),
        None => Err(not_a_device(name, link.kind.as_deref())),
    }
}

/// The device with this index, if there is one.
pub(crate) fn with_index(index: IfIndex) -> Result<Option<Device>> {
    let link = Netlink::open().and_then(|mut netlink| netlink.link_by_index(index));
    match link {
        Ok(link) => of_link(&link, false),
        // Deleted meanwhile.
        Err(error) if Errno::from_io_error(&error) == Some(Errno::NODEV) => Ok(None),
        Err(error) => Err(failed(error)),
    }
}

/// Reads what belongs to one device, however many there are.
fn of_link(link: &LinkInfo, stats: bool) -> Result<Option<Device>> {
    if link.tun.is_none() {
        return Ok(None);
    }
    let around = around(link, holders::find(Some(&link.name))).map_err(failed)?;
    Ok(Device::new(link, &Around { stats, ..around }))
}

/// Reads the name of the master and the addresses of one link.
pub(crate) fn around(link: &LinkInfo, holders: holders::Found) -> io::Result<Around> {
    let mut netlink = Netlink::open()?;
    let addresses = netlink.addresses(Some(link.index))?;
    let addresses = addresses.into_iter().map(|(_, address)| address).collect();
    let master = link.master.and_then(|master| netlink.link_by_index(master).ok());
    Ok(Around {
        names: master.iter().map(|master| (master.index, master.name.to_string())).collect(),
        addresses: BTreeMap::from([(link.index, addresses)]),
        holders,
        stats: false,
    })
}

fn failed(error: io::Error) -> Error {
    Error::io("list", "the interfaces", &error)
}
