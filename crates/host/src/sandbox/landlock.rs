//! Landlock: which files the process may still open, and that it opens no TCP connection.

use crate::sandbox::needs::Needs;
use crate::sandbox::state;
use landlock::{
    ABI, Access, AccessFs, AccessNet, CompatLevel, Compatible, Ruleset, RulesetAttr,
    RulesetCreatedAttr, RulesetStatus, Scope, path_beneath_rules,
};
use std::io;

/// The newest rules that are used; an older kernel has fewer.
const NEWEST: ABI = ABI::V6;

/// Its number.
const NEWEST_NUMBER: u32 = 6;

/// Runs without privilege, once `no_new_privs` is set. Descriptors that are open stay open.
pub(super) fn restrict(needs: &Needs) -> io::Result<()> {
    let failed = |error: landlock::RulesetError| io::Error::other(error.to_string());
    // Signals are not restricted: they are passed on to a command.
    let mut ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(NEWEST))
        .map_err(failed)?
        .scope(Scope::AbstractUnixSocket)
        .map_err(failed)?;
    if !needs.tcp {
        ruleset = ruleset.handle_access(AccessNet::from_all(NEWEST)).map_err(failed)?;
    }
    let ruleset = ruleset
        .create()
        .map_err(failed)?
        .add_rules(path_beneath_rules(&needs.readable, AccessFs::from_read(NEWEST)))
        .map_err(failed)?
        .add_rules(path_beneath_rules(&needs.writable, AccessFs::from_all(NEWEST)))
        .map_err(failed)?;
    match ruleset.restrict_self().map_err(failed)?.ruleset {
        RulesetStatus::NotEnforced => Err(rustix::io::Errno::OPNOTSUPP.into()),
        _ => {
            state::note(|state| state.landlock = version().min(NEWEST_NUMBER));
            Ok(())
        }
    }
}

/// The version of the rules of this kernel; 0 without Landlock.
#[must_use]
pub fn version() -> u32 {
    adit_device::process::landlock_version()
}
