//! Why a network or user namespace cannot be used.

use super::{general, process};
use crate::Cause;
use std::fs;
use std::io;

/// The maximum number of namespace names listed in an error message.
const NAMES_MAX: usize = 64;

/// Where `ip netns` keeps named namespaces.
const NAMED: &str = "/run/netns";

/// Determines why a namespace could not be opened, created or entered.
pub(crate) fn netns(error: &io::Error) -> Cause {
    match error.raw_os_error() {
        Some(libc::ENOENT | libc::ESRCH) => Cause::NetnsProcess,
        Some(libc::EINVAL) => Cause::NotNetns,
        Some(libc::EPERM | libc::EACCES) => Cause::NetnsForbidden,
        Some(libc::ENOSPC) => Cause::NetnsLimit,
        _ => general(error),
    }
}

impl Cause {
    /// Why [`Netns::open`](crate::Netns::open), `of_pid`, `new_anonymous`, `enter` or `run` failed.
    #[must_use]
    pub fn of_netns(error: &io::Error) -> Self {
        netns(error)
    }

    /// Why [`Netns::named`](crate::Netns::named) failed for `name`, with the existing names.
    #[must_use]
    pub fn of_netns_named(name: &str, error: &io::Error) -> Self {
        match error.raw_os_error() {
            Some(libc::ENOENT) => Self::NetnsMissing { existing: names() },
            Some(libc::EINVAL) if name.is_empty() || name.contains('/') => Self::NetnsName,
            Some(libc::EINVAL) if name == "." || name == ".." => Self::NetnsName,
            Some(libc::ENAMETOOLONG) => Self::NetnsName,
            _ => netns(error),
        }
    }

    /// Why [`Netns::enter_new_rootless`](crate::Netns::enter_new_rootless) failed.
    #[must_use]
    pub fn of_user_namespace(error: &io::Error) -> Self {
        let max = process::sysctl("user/max_user_namespaces");
        let unprivileged = process::sysctl("kernel/unprivileged_userns_clone");
        let apparmor = process::sysctl("kernel/apparmor_restrict_unprivileged_userns");
        match error.raw_os_error() {
            Some(libc::ENOSPC | libc::EPERM) if max == Some(0) || unprivileged == Some(0) => {
                Self::UsernsOff
            }
            Some(libc::EPERM | libc::EACCES) if apparmor == Some(1) => Self::UsernsAppArmor,
            // Kernels before 4.9 return EUSERS.
            Some(libc::ENOSPC | libc::EUSERS) => Self::UsernsLimit,
            Some(libc::EINVAL) if threads() > 1 => Self::UsernsThreads,
            // The kernel was built without CONFIG_USER_NS.
            Some(libc::EINVAL | libc::ENOSYS) => Self::UsernsOff,
            Some(libc::EPERM | libc::EACCES) => Self::UsernsForbidden,
            _ => general(error),
        }
    }
}

/// The names of network namespaces, sorted.
fn names() -> Vec<String> {
    let Ok(entries) = fs::read_dir(NAMED) else { return Vec::new() };
    let names = entries.filter_map(|entry| Some(entry.ok()?.file_name().display().to_string()));
    let mut names: Vec<String> = names.take(NAMES_MAX).collect();
    names.sort();
    names
}

fn threads() -> usize {
    fs::read_dir("/proc/self/task").map_or(1, Iterator::count)
}
