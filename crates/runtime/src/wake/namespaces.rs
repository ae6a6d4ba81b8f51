//! Whether the network namespace of a port is still what its name says.
//!
//! A device's descriptor, a packet socket and a netlink socket each keep their namespace alive: after
//! `ip netns del` nothing would ever fail, and the namespace would stay, without a name, as long as
//! the port does. The kernel tells nobody, so the name is looked at.

use rustix::fs::stat;
use std::path::PathBuf;
use std::time::Duration;

/// How often names are looked at: one stat(2) a port.
pub const PERIOD: Duration = Duration::from_millis(500);

/// The file that names a namespace, and what it was when the port was opened.
#[derive(Clone, Debug)]
pub struct NamespaceName {
    path: PathBuf,
    identity: (u64, u64),
}

impl NamespaceName {
    /// The namespace that `text` means, as [`crate::text::netns::open_netns`] reads it; `None` if it
    /// went since.
    pub fn of(text: &str) -> Option<Self> {
        let paths = if text.contains('/') {
            vec![PathBuf::from(text)]
        } else {
            let process = text.parse::<u32>().map(|pid| format!("/proc/{pid}/ns/net").into());
            let named = PathBuf::from("/run/netns").join(text);
            std::iter::once(named).chain(process).collect()
        };
        paths.into_iter().find_map(|path| {
            let identity = identity(&path)?;
            Some(Self { path, identity })
        })
    }

    /// Whether the name still means that namespace.
    pub fn is_valid(&self) -> bool {
        identity(&self.path) == Some(self.identity)
    }
}

fn identity(path: &PathBuf) -> Option<(u64, u64)> {
    stat(path).ok().map(|stat| (stat.st_dev, stat.st_ino))
}
