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

pub(crate) fn of_netns_named(name: &str, error: &io::Error) -> Cause {
    match error.raw_os_error() {
        Some(libc::ENOENT) => Cause::NetnsMissing { existing: names() },
        Some(libc::EINVAL) if name.is_empty() || name.contains('/') => Cause::NetnsName,
        Some(libc::EINVAL) if name == "." || name == ".." => Cause::NetnsName,
        Some(libc::ENAMETOOLONG) => Cause::NetnsName,
        _ => netns(error),
    }
}

pub(crate) fn of_user_namespace(error: &io::Error) -> Cause {
    let max = process::sysctl("user/max_user_namespaces");
    let unprivileged = process::sysctl("kernel/unprivileged_userns_clone");
    let apparmor = process::sysctl("kernel/apparmor_restrict_unprivileged_userns");
    match error.raw_os_error() {
        Some(libc::ENOSPC | libc::EPERM) if max == Some(0) || unprivileged == Some(0) => {
            Cause::UsernsOff
        }
        Some(libc::EPERM | libc::EACCES) if apparmor == Some(1) => Cause::UsernsAppArmor,
        // Kernels before 4.9 return EUSERS.
        Some(libc::ENOSPC | libc::EUSERS) => Cause::UsernsLimit,
        Some(libc::EINVAL) if threads() > 1 => Cause::UsernsThreads,
        // The kernel was built without CONFIG_USER_NS.
        Some(libc::EINVAL | libc::ENOSYS) => Cause::UsernsOff,
        Some(libc::EPERM | libc::EACCES) => Cause::UsernsForbidden,
        _ => general(error),
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
