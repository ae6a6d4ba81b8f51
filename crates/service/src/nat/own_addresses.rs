//! The host's own addresses stay out of reach, also when they change.

use crate::error::{Error, Result};
use crate::nat::wanted::WantedNat;
use adit_device::netlink::OwnAddresses;
use adit_nat::Gateway;
use adit_runtime::Runner;
use std::io;

/// Lists them.
///
/// # Errors
/// Those of netlink.
pub(super) fn open() -> Result<OwnAddresses> {
    OwnAddresses::open().map_err(|error| Error::io("list", "the host's addresses", &error))
}

/// Keeps those that have changed out of reach for the inside of a NAT.
///
/// # Errors
/// No further change will be seen; the loop does not watch them any more.
pub(super) fn update(
    own: &mut OwnAddresses,
    runner: &mut Runner<Gateway>,
    wanted: &WantedNat,
) -> io::Result<()> {
    // It would be ready forever.
    if own.update().inspect_err(|_| runner.unwatch(&*own))? {
        runner.engine_mut().set_policy(wanted.policy(own.list()));
    }
    Ok(())
}
