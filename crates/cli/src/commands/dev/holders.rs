//! The processes that hold queues of a device.

use adit_device::IfName;
use schemars::JsonSchema;
use serde::Serialize;
use std::collections::BTreeMap;

/// A process that holds queues of a device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub(crate) struct Holder {
    /// Its process ID.
    pub(crate) pid: u32,
    /// Its command name, up to 15 bytes.
    pub(crate) command: String,
    /// Its descriptors of the device.
    pub(crate) fds: Vec<i32>,
}

/// The holders of devices, as far as they are visible to this user.
#[derive(Clone, Debug, Default)]
pub(crate) struct Found {
    /// By the name of the device.
    pub(crate) by_device: BTreeMap<String, Vec<Holder>>,
    /// Whether some processes could not be inspected, so that there may be further holders.
    pub(crate) partial: bool,
}

/// Searches all processes, for holders of one device or of all.
pub(crate) fn find(device: Option<&IfName>) -> Found {
    let found = match device {
        Some(name) => adit_device::holders(name, None)
            .map(|found| (BTreeMap::from([(*name, found.list)]), found.partial)),
        None => adit_device::all_holders(None).map(|found| (found.devices, found.partial)),
    };
    let Ok((devices, partial)) = found else {
        return Found { partial: true, ..Found::default() };
    };
    let named = devices.into_iter().map(|(name, holders)| {
        let holders = holders
            .into_iter()
            .map(|adit_device::Holder { pid, command, fds, .. }| Holder { pid, command, fds });
        (name.to_string(), holders.collect())
    });
    Found { by_device: named.collect(), partial }
}
