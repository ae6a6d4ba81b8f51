//! Names of nodes for `ip netns`, where root runs a lab.
//!
//! A name is a symbolic link to the descriptor of the keeper: `ip netns exec` follows it. A bind mount, as
//! `ip netns add` makes one, would keep the namespace and its interfaces after the lab was killed; such a link leads
//! nowhere then, and the next lab removes it.

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

/// Where `ip netns` keeps its names.
const NAMED: &str = "/run/netns";

/// Names that end with this.
#[derive(Debug, Default)]
pub struct NetnsNames(Vec<PathBuf>);

impl NetnsNames {
    /// Gives a namespace the first of these names that is free, and returns that. `net` is the file of
    /// [`Done::Node`](crate::keeper::Done::Node).
    ///
    /// # Errors
    /// EEXIST: none is free. EACCES: this user may not give names.
    pub fn add(&mut self, names: &[impl AsRef<str>], net: &Path) -> io::Result<String> {
        if !names.is_empty() {
            fs::create_dir_all(NAMED)?;
        }
        let mut result = Err(io::ErrorKind::AlreadyExists.into());
        for name in names.iter().map(AsRef::as_ref) {
            let path = Path::new(NAMED).join(name);
            match symlink(net, &path) {
                Ok(()) => {
                    self.0.push(path);
                    return Ok(name.to_owned());
                }
                Err(error) => result = Err(error),
            }
        }
        result
    }

    /// Takes a name away.
    pub fn remove(&mut self, name: &str) {
        let path = Path::new(NAMED).join(name);
        self.0.retain(|known| *known != path);
        // Somebody may have removed it.
        let _ = fs::remove_file(path);
    }

    /// Removes the names of labs that were killed; returns them.
    #[must_use]
    pub fn clean() -> Vec<String> {
        let Ok(entries) = fs::read_dir(NAMED) else { return Vec::new() };
        let stale = entries.flatten().filter(|entry| {
            let target = fs::read_link(entry.path()).unwrap_or_default();
            is_of_keeper(&target) && !is_netns(&target)
        });
        let removed = stale.filter(|entry| fs::remove_file(entry.path()).is_ok());
        removed.filter_map(|entry| entry.file_name().into_string().ok()).collect()
    }
}

impl Drop for NetnsNames {
    fn drop(&mut self) {
        for path in &self.0 {
            let _ = fs::remove_file(path);
        }
    }
}

/// Whether a link leads to the descriptor of a process: nobody but us makes such links there.
fn is_of_keeper(target: &Path) -> bool {
    let parts: Vec<_> = target.iter().filter_map(|part| part.to_str()).collect();
    let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    matches!(parts[..], ["/", "proc", pid, "fd", fd] if is_number(pid) && is_number(fd))
}

/// Another process may have the number of one that ended.
fn is_netns(target: &Path) -> bool {
    fs::read_link(target).is_ok_and(|link| link.to_string_lossy().starts_with("net:["))
}

#[cfg(test)]
mod tests {
    use super::is_of_keeper;
    use std::path::Path;

    #[test]
    fn only_descriptors_of_processes_are_ours() {
        assert!(is_of_keeper(Path::new("/proc/12/fd/7")));
        for other in ["/proc/12/ns/net", "/proc/self/fd/7", "/run/netns/a", "proc/1/fd/2", ""] {
            assert!(!is_of_keeper(Path::new(other)), "{other}");
        }
    }
}
