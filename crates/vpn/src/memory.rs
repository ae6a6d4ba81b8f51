//! The memory of keys: no core file, no debugger of the same user and no swap device shall see it.
//!
//! Nothing of the process is in a core file. The pages with keys are locked as well: peers, sessions, our own
//! key and the configuration. Not the whole process (mlockall): its packet buffers are megabytes, and beyond
//! RLIMIT_MEMLOCK each later allocation would fail. What a computation leaves on a stack for a moment is not
//! locked.

use crate::file::config::Config;
use adit_device::lock_memory;
use adit_tunnel::{PresharedKey, PrivateKey};
use rustix::process::{DumpableBehavior, Resource, Rlimit};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};

/// Whether RLIMIT_MEMLOCK left a page unlocked.
static IS_LIMITED: AtomicBool = AtomicBool::new(false);

/// Keeps the memory of this process out of core files and from debuggers.
pub(crate) fn hide() {
    // They work for every process; where a sandbox forbids one, the others hold. A core file that is made
    // all the same, by root's gcore, has no memory in it, as if all were marked by MADV_DONTDUMP. First, as
    // what is not dumpable may not write there any more.
    let _ = std::fs::write("/proc/self/coredump_filter", "0");
    let _ = rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable);
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    let _ = rustix::process::setrlimit(Resource::Core, none);
}

/// Locks the pages of these addresses, as far as the limit allows.
pub(crate) fn lock(addresses: Range<usize>) {
    if lock_memory(addresses).is_err() {
        IS_LIMITED.store(true, Ordering::Relaxed);
    }
}

/// Locks the keys of a configuration.
pub(crate) fn lock_config(config: &Config) {
    let preshared = config.peers.iter().filter_map(|peer| peer.preshared_key.as_ref());
    let keys = preshared.map(PresharedKey::as_bytes);
    for key in keys.chain(config.interface.private_key.as_ref().map(PrivateKey::as_bytes)) {
        let start = key.as_ptr().addr();
        lock(start..start + key.len());
    }
}

/// Whether some pages could not be locked.
pub(crate) fn is_limited() -> bool {
    IS_LIMITED.load(Ordering::Relaxed)
}
