//! The processes that hold queues of a device.

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

/// The holders of every device by its name, as far as they are visible to this user.
pub(crate) fn all() -> BTreeMap<String, Vec<Holder>> {
    let found = adit_device::all_holders(None).unwrap_or_default();
    let named = found.devices.into_iter().map(|(name, holders)| {
        let holders = holders
            .into_iter()
            .map(|adit_device::Holder { pid, command, fds, .. }| Holder { pid, command, fds });
        (name.to_string(), holders.collect())
    });
    named.collect()
}
