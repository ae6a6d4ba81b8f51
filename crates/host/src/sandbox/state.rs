//! What is in force, for `show`.

use crate::helper;
use crate::sandbox::needs::Needs;
use crate::sandbox::{capabilities, landlock, seccomp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::OnceLock;

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

static STATE: OnceLock<SandboxState> = OnceLock::new();

/// What is in force in this process; `None` outside of a sandbox.
#[must_use]
pub fn state() -> Option<&'static SandboxState> {
    STATE.get()
}

impl SandboxState {
    /// A stage is done, by its number.
    pub(super) fn entered(&mut self, stage: usize, needs: &Needs) {
        match stage {
            0 => self.own_mounts = true,
            1 => (self.no_new_privs, self.capabilities) = (true, capabilities::effective()),
            2 => self.landlock = landlock::version().min(landlock::NEWEST_NUMBER),
            _ => self.system_calls = Some(seccomp::calls(needs).len()),
        }
    }

    /// Keeps it for [`state`].
    pub(super) fn keep(mut self) {
        if !self.no_new_privs {
            self.capabilities = capabilities::effective();
        }
        self.helper = helper::installed().map(|helper| helper.pid());
        // A process enters one sandbox.
        let _ = STATE.set(self);
    }
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
