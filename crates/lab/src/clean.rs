//! What is left of labs that were killed.

use crate::keeper::NetnsNames;
use crate::live::guest;
use adit_service::control::name::{Claim, folder, is_claimed, names};

/// Removes the names for `ip netns` and the sockets of labs of this user that were killed; returns the names.
pub fn clean() -> Vec<String> {
    for name in names().into_iter().filter(|name| !is_claimed(name)) {
        // Whoever claims the name removes its socket, and no lab of this name starts meanwhile.
        if let Ok(claim) = Claim::new(name) {
            guest::remove(&folder().join(claim.name().as_str()));
        }
    }
    NetnsNames::clean()
}
