//! No capability, and none for what is executed.

use crate::sandbox::needs::Needs;
use rustix::process::{DumpableBehavior, set_dumpable_behavior};
use rustix::thread::{
    CapabilitySet, CapabilitySets, clear_ambient_capability_set,
    remove_capability_from_bounding_set, set_capabilities, set_no_new_privs,
};
use std::io;

/// Runs when the mounts are isolated. The process cannot gain privileges after it, by no program, and no
/// process of the same user may read its memory or take its descriptors.
pub(super) fn drop_all(_: &Needs) -> io::Result<()> {
    set_no_new_privs(true)?;
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    // Without CAP_SETPCAP the bounding set stays; with no_new_privs it gives nothing.
    for bit in CapabilitySet::all().iter() {
        let _ = remove_capability_from_bounding_set(bit);
    }
    let _ = clear_ambient_capability_set();
    let none = CapabilitySet::empty();
    let sets = CapabilitySets { effective: none, permitted: none, inheritable: none };
    Ok(set_capabilities(None, sets)?)
}
