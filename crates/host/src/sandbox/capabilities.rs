//! The capabilities that are left, and none that an executed program could add.

use crate::sandbox::needs::{Needs, owner};
use crate::sandbox::state;
use rustix::process::{DumpableBehavior, set_dumpable_behavior};
use rustix::thread::{
    CapabilitySet, CapabilitySets, clear_ambient_capability_set,
    remove_capability_from_bounding_set, set_capabilities, set_no_new_privs,
};
use std::io;

/// Runs when the mounts are isolated. The process cannot gain privileges after it, by no program, and no
/// process of the same user may read its memory or take its descriptors.
pub(super) fn drop_all(needs: &Needs) -> io::Result<()> {
    // Later it may not be asked for.
    owner();
    set_no_new_privs(true)?;
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    // Without CAP_SETPCAP the bounding set stays; with no_new_privs it gives nothing.
    for bit in CapabilitySet::all().iter() {
        let _ = remove_capability_from_bounding_set(bit);
    }
    let _ = clear_ambient_capability_set();
    let have = rustix::thread::capabilities(None)?;
    let kept = have.permitted & needs.capabilities;
    let sets =
        CapabilitySets { effective: kept, permitted: kept, inheritable: CapabilitySet::empty() };
    set_capabilities(None, sets)?;
    state::note(|state| (state.no_new_privs, state.capabilities) = (true, effective()));
    Ok(())
}

/// Those that the calling thread has, by name.
fn effective() -> Vec<String> {
    let have = rustix::thread::capabilities(None).map(|sets| sets.effective);
    let names = have.unwrap_or(CapabilitySet::empty());
    names.iter_names().map(|(name, _)| format!("CAP_{name}")).collect()
}
