//! Files in `/etc` that differ in a mount namespace.
//!
//! A bind mount covers the file, and for a symbolic link the file behind it, as programs open it. Its content
//! lies in a file system in memory that has no name in the namespace.

use crate::error::Result;
use crate::namespace::channel::failure;
use rustix::fs::{Mode, OFlags};
use rustix::mount::{MountFlags, UnmountFlags, mount, mount_bind, unmount};
use std::fmt::Display;
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;

/// What a command sees in place of the host's files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PrivateFiles {
    /// The content of `/etc/resolv.conf`; `None`: the host's.
    pub resolv_conf: Option<String>,
    /// The content of `/etc/hosts`; `None`: the host's.
    pub hosts: Option<String>,
}

/// Folders of which one exists everywhere: it is covered for a moment.
const FOLDERS: [&str; 4] = ["/tmp", "/run", "/var", "/usr"];

impl PrivateFiles {
    /// The host's `/etc/hosts` with more names.
    #[must_use]
    pub fn hosts_and(names: impl IntoIterator<Item = (impl Display, IpAddr)>) -> String {
        let mut hosts = std::fs::read_to_string("/etc/hosts").unwrap_or_default();
        if !hosts.is_empty() && !hosts.ends_with('\n') {
            hosts.push('\n');
        }
        let lines = names.into_iter().map(|(name, ip)| format!("{ip}\t{name}\n"));
        hosts.extend(lines);
        hosts
    }

    /// Covers the files in the mount namespace of the calling process. Returns what could not be covered.
    ///
    /// # Errors
    /// EPERM: mounts are forbidden here.
    pub(super) fn mount(&self) -> Result<Vec<String>> {
        let wanted = [("/etc/resolv.conf", &self.resolv_conf), ("/etc/hosts", &self.hosts)];
        let mut warnings = Vec::new();
        let mut targets = Vec::new();
        for (path, content) in wanted {
            let Some(content) = content else { continue };
            let flags = OFlags::PATH | OFlags::CLOEXEC;
            match rustix::fs::open(path, flags, Mode::empty()) {
                Ok(target) => targets.push((path, target, content)),
                Err(errno) => {
                    let why = io::Error::from(errno);
                    warnings.push(format!("{path} is not replaced inside: {why}"));
                }
            }
        }
        if targets.is_empty() {
            return Ok(warnings);
        }
        let folder = FOLDERS.iter().find(|folder| Path::new(folder).is_dir()).unwrap_or(&"/");
        let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
        mount("tmpfs", *folder, "tmpfs", flags, None)
            .map_err(|errno| failure("mount a file system on", folder, &errno.into()))?;
        for (path, target, content) in &targets {
            cover(Path::new(folder), path, target, content)
                .map_err(|error| failure("replace", path, &error))?;
        }
        unmount(*folder, UnmountFlags::DETACH)
            .map_err(|errno| failure("unmount", folder, &errno.into()))?;
        Ok(warnings)
    }
}

fn cover(folder: &Path, path: &str, target: &OwnedFd, content: &str) -> io::Result<()> {
    let source = folder.join(Path::new(path).file_name().unwrap_or_default());
    std::fs::write(&source, content)?;
    rustix::fs::chmod(&source, Mode::from_raw_mode(0o644))?;
    // By the descriptor: the folder that is covered may be on the way to the target.
    mount_bind(&source, format!("/proc/self/fd/{}", target.as_raw_fd()))?;
    Ok(())
}
