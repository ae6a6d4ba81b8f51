//! Whether the network namespace of a port is still the one that its name says.
//!
//! A device's descriptor, a packet socket and a netlink socket each keep their namespace alive: after
//! `ip netns del` nothing would ever fail, and the namespace would stay, without a name, as long as
//! the port does. The kernel reports none of this, so the names are checked.

use adit_engine::PortId;
use adit_packet::Instant;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How often the names are checked: one stat(2) a namespace.
const PERIOD: Duration = Duration::from_millis(500);

/// The file that names a namespace, and the namespace that it was when the port was opened.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct NamespaceName {
    path: PathBuf,
    identity: (u64, u64),
}

impl NamespaceName {
    /// The namespace that `text` means: a path, the id of a process, or a name in `/run/netns`. `None`
    /// if it is gone.
    #[must_use]
    pub fn of(text: &str) -> Option<Self> {
        let paths = if text.contains('/') {
            vec![PathBuf::from(text)]
        } else {
            let process = text.parse::<u32>().map(|pid| format!("/proc/{pid}/ns/net").into());
            let named = PathBuf::from("/run/netns").join(text);
            std::iter::once(named).chain(process).collect()
        };
        paths.into_iter().find_map(|path| Some(Self { identity: identity(&path).ok()?, path }))
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the name still means that namespace.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        match identity(&self.path) {
            Ok(found) => found == self.identity,
            // A process that has more rights than this one is still there.
            Err(error) => error.kind() == io::ErrorKind::PermissionDenied,
        }
    }
}

/// The device and inode numbers of a file.
pub(crate) fn identity(path: &Path) -> io::Result<(u64, u64)> {
    path.metadata().map(|found| (found.dev(), found.ino()))
}

/// The names of the namespaces in which there are ports, each checked once every 500 ms.
#[derive(Debug, Default)]
pub(crate) struct Namespaces {
    names: BTreeMap<NamespaceName, BTreeSet<PortId>>,
    next_check: Option<Instant>,
}

impl Namespaces {
    /// A port in a named namespace was attached.
    pub(crate) fn add(&mut self, name: &NamespaceName, id: PortId, now: Instant) {
        self.names.entry(name.clone()).or_default().insert(id);
        self.next_check.get_or_insert(now);
    }

    /// A port was detached.
    pub(crate) fn remove(&mut self, name: &NamespaceName, id: PortId) {
        let Some(ids) = self.names.get_mut(name) else { return };
        ids.remove(&id);
        if ids.is_empty() {
            self.names.remove(name);
        }
    }

    /// When [`Self::lost`] looks at the names.
    pub(crate) fn next_check(&self) -> Option<Instant> {
        self.next_check
    }

    /// The ports whose namespace has lost its name, where it is time to look.
    pub(crate) fn lost(&mut self, now: Instant) -> Vec<PortId> {
        if self.next_check.is_none_or(|at| at > now) {
            return Vec::new();
        }
        self.next_check = (!self.names.is_empty()).then(|| now + PERIOD);
        let lost = self.names.iter().filter(|(name, _)| !name.is_valid());
        lost.flat_map(|(_, ids)| ids.iter().copied()).collect()
    }
}
