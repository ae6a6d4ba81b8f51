//! Taking down a tunnel that does not run any more.

use crate::host::dns::Dns;
use crate::uapi::socket::UapiSocket;
use adit_device::IfName;
use adit_service::control::name::{Claim, Name};
use adit_service::error::Result;
use adit_service::host::action::Action;
use adit_service::host::executor::{Executor, HostExecutor};
use adit_service::host::stale::{find_stale, left_by};

/// The actions that remove what a killed tunnel left in the namespace of the calling thread: its routes,
/// rules, packet filter, kill switch and name servers. Empty if nothing is left of this name.
///
/// # Errors
/// Those of netlink.
pub fn leftovers(name: &Name) -> Result<Vec<Action>> {
    let Ok(device) = name.to_string().parse::<IfName>() else { return Ok(Vec::new()) };
    let mut left = left_by(&device)?;
    if left.is_empty() {
        // Without a packet filter, its socket is all that has the name.
        if !name.socket_path().exists() {
            return Ok(left);
        }
        left = find_stale(None, Some(&device))?;
    }
    let servers = Dns::find().and_then(|dns| dns.leftover(&device));
    left.extend(servers.map(Action::Run));
    Ok(left)
}

/// Removes these leftovers, and the socket.
///
/// # Errors
/// `Conflict` if the tunnel has started meanwhile; the first action that failed.
pub fn clean(name: &Name, leftovers: &[Action]) -> Result<()> {
    // While we hold the name, the tunnel cannot start.
    let claim = Claim::new(name.clone())?;
    // It replaces the socket for `wg` that is left, and is removed.
    drop(UapiSocket::bind(claim.name().as_str()));
    let mut executor = HostExecutor::new(None);
    leftovers.iter().try_for_each(|action| executor.perform(action).map(drop))
}
