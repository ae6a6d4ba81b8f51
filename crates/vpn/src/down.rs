//! Taking down a tunnel that does not run any more.

use adit_device::IfName;
use adit_service::control::name::{Claim, Name};
use adit_service::error::Result;
use adit_service::host::action::Action;
use adit_service::host::executor::{Executor, HostExecutor};
use adit_service::host::stale::{find_stale, left_by};

/// The actions that remove what a killed tunnel left in the namespace of the calling thread: its routes,
/// rules, packet filter and kill switch. Empty if nothing is left of this name.
///
/// # Errors
/// Those of netlink.
pub fn leftovers(name: &Name) -> Result<Vec<Action>> {
    let Ok(device) = name.to_string().parse::<IfName>() else { return Ok(Vec::new()) };
    let left = left_by(&device)?;
    // Its socket outlives a killed process; without a packet filter it is all that has the name.
    if left.is_empty() && name.socket_path().exists() {
        return find_stale(None, Some(&device));
    }
    Ok(left)
}

/// Removes what a killed tunnel left; returns what was done.
///
/// # Errors
/// `Conflict` if the tunnel has started meanwhile; the first action that failed.
pub fn clean(name: &Name) -> Result<Vec<Action>> {
    // It also removes the socket. While we hold the name, the tunnel cannot start.
    let _claim = Claim::new(name.clone())?;
    let actions = leftovers(name)?;
    let mut executor = HostExecutor::new(None);
    for action in &actions {
        executor.perform(action)?;
    }
    Ok(actions)
}
