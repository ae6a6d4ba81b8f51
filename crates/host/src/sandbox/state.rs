//! What is in force, for `show`.

use crate::helper;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::{Mutex, PoisonError};

/// The sandbox that a program is in.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(title = "adit sandbox")]
pub struct SandboxState {
    /// The capabilities that it has.
    pub capabilities: Vec<String>,
    /// Whether no program can give it others (no_new_privs).
    pub no_new_privs: bool,
    /// Whether it sees no files but those of its folders.
    pub own_mounts: bool,
    /// The version of Landlock that restricts its files; 0 for none.
    pub landlock: u32,
    /// How many system calls it may make; without it, all (seccomp).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub system_calls: Option<usize>,
    /// The process that opens what it may not open itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub helper: Option<u32>,
}

static STATE: Mutex<Option<SandboxState>> = Mutex::new(None);

/// What is in force in this process; `None` outside of a sandbox.
#[must_use]
pub fn state() -> Option<SandboxState> {
    STATE.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

/// Notes that a stage is done.
pub(super) fn note(stage: impl FnOnce(&mut SandboxState)) {
    let helper = helper::installed().map(|helper| helper.pid());
    let mut state = STATE.lock().unwrap_or_else(PoisonError::into_inner);
    let state = state.get_or_insert_default();
    state.helper = helper;
    stage(state);
}

impl fmt::Display for SandboxState {
    /// `no capabilities, files by Landlock 7, 52 system calls`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.capabilities.as_slice() {
            [] => f.write_str("no capabilities")?,
            some => write!(f, "capabilities {}", some.join(" "))?,
        }
        match (self.own_mounts, self.landlock) {
            (true, 0) => f.write_str(", no files of the host")?,
            (true, version) => write!(f, ", no files of the host, Landlock {version}")?,
            (false, 0) => f.write_str(", files not restricted")?,
            (false, version) => write!(f, ", files by Landlock {version}")?,
        }
        match self.system_calls {
            Some(count) => write!(f, ", {count} system calls"),
            None => f.write_str(", system calls not restricted"),
        }
    }
}
