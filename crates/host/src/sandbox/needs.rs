//! What a program in a sandbox still needs.

use adit_device::rights::absolute;
use rustix::process::{getegid, geteuid};
use rustix::thread::CapabilitySet;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// The user and the group of this process, asked for before a sandbox forbids it.
pub fn owner() -> (u32, u32) {
    static OWNER: OnceLock<(u32, u32)> = OnceLock::new();
    *OWNER.get_or_init(|| (geteuid().as_raw(), getegid().as_raw()))
}

/// What a program still needs.
#[derive(Clone, Debug)]
pub struct Needs {
    /// Folders that it reads, if they exist.
    pub readable: Vec<PathBuf>,
    /// Folders in which it creates and removes files, if they exist.
    pub writable: Vec<PathBuf>,
    /// Its system calls, by their names: lists that stand beside the code that makes them.
    pub syscalls: Vec<&'static [&'static str]>,
    /// The capabilities that it keeps.
    pub capabilities: CapabilitySet,
    /// Whether it sees no file outside of its folders. With a helper, files that are outside are refused to it, and exist.
    pub mounts: bool,
    /// Whether it connects and binds TCP sockets by itself.
    pub tcp: bool,
}

impl Default for Needs {
    /// Nothing, in a mount namespace without a file; TCP, as a NAT needs it.
    fn default() -> Self {
        Self {
            readable: Vec::new(),
            writable: Vec::new(),
            syscalls: Vec::new(),
            capabilities: CapabilitySet::empty(),
            mounts: true,
            tcp: true,
        }
    }
}

impl Needs {
    /// Nothing: no folder, by Landlock, and no TCP. What is opened later, a helper opens.
    #[must_use]
    pub fn by_landlock() -> Self {
        Self { mounts: false, tcp: false, ..Self::default() }
    }

    /// Also creates, replaces and removes a file, and others in its folder. In that of another user, a capability is needed.
    pub fn writes_beside(&mut self, file: &Path) {
        let (own, _) = owner();
        // Also where a link leads.
        for path in [absolute(file), std::fs::canonicalize(file)].into_iter().flatten() {
            let Some(folder) = path.parent() else { continue };
            if std::fs::metadata(folder).is_ok_and(|found| found.uid() != own) {
                self.capabilities |= CapabilitySet::DAC_OVERRIDE;
            }
            self.writable.push(folder.to_owned());
        }
    }
}
