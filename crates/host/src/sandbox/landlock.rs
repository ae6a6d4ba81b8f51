//! Landlock: which files the process may still open.

use crate::sandbox::needs::Needs;
use landlock::{
    ABI, Access, AccessFs, CompatLevel, Compatible, Ruleset, RulesetAttr, RulesetCreatedAttr,
    RulesetStatus, Scope, path_beneath_rules,
};
use std::io;

/// The newest rules that are used; an older kernel has fewer.
const NEWEST: ABI = ABI::V6;

/// Runs without privilege, once `no_new_privs` is set. Descriptors that are open stay open.
pub(super) fn restrict(needs: &Needs) -> io::Result<()> {
    let failed = |error: landlock::RulesetError| io::Error::other(error.to_string());
    // TCP is not restricted: a NAT connects to every port. Nor are signals: they are passed on to a command.
    let ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(NEWEST))
        .map_err(failed)?
        .scope(Scope::AbstractUnixSocket)
        .map_err(failed)?
        .create()
        .map_err(failed)?
        .add_rules(path_beneath_rules(&needs.readable, AccessFs::from_read(NEWEST)))
        .map_err(failed)?
        .add_rules(path_beneath_rules(&needs.writable, AccessFs::from_all(NEWEST)))
        .map_err(failed)?;
    match ruleset.restrict_self().map_err(failed)?.ruleset {
        RulesetStatus::NotEnforced => Err(rustix::io::Errno::OPNOTSUPP.into()),
        _ => Ok(()),
    }
}
