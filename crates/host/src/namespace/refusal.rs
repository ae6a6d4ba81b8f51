//! Why the kernel refused a namespace: several causes have one errno.

use crate::error::{Error, Kind};
use crate::namespace::codes::NAMESPACES;
use rustix::io::Errno;
use std::io;

/// The error for a namespace that could not be created, with its cause and remedy.
#[must_use]
pub fn cause(what: &str, error: &io::Error) -> Error {
    let seen = Seen {
        errno: Errno::from_io_error(error),
        max: number("/proc/sys/user/max_user_namespaces"),
        clone: number("/proc/sys/kernel/unprivileged_userns_clone"),
        apparmor: number("/proc/sys/kernel/apparmor_restrict_unprivileged_userns"),
        is_filtered: is_filtered(),
    };
    let (why, remedy) = seen.explain();
    let why = if why.is_empty() { error.to_string() } else { format!("{error}: {why}") };
    let mut new = Error::new(Kind::Permission, &NAMESPACES, format!("cannot {what}: {why}"));
    new.report.errno = error.raw_os_error();
    new.hint(remedy)
}

/// What this machine says.
#[derive(Clone, Copy, Debug)]
struct Seen {
    errno: Option<Errno>,
    max: Option<u64>,
    clone: Option<u64>,
    apparmor: Option<u64>,
    /// A seccomp filter is in force.
    is_filtered: bool,
}

impl Seen {
    /// The reason, and what to do.
    fn explain(&self) -> (&'static str, &'static str) {
        if self.max == Some(0) {
            return (
                "the sysctl user.max_user_namespaces is 0",
                "Allow them: 'sysctl user.max_user_namespaces=10000', as root.",
            );
        }
        if self.errno == Some(Errno::NOSPC) {
            return (
                "this user has as many namespaces as user.max_user_namespaces or another limit in \
                 /proc/sys/user allows, or they are nested 32 deep",
                "End programs that hold namespaces ('lsns' lists them), or raise the limits.",
            );
        }
        if self.clone == Some(0) {
            return (
                "the sysctl kernel.unprivileged_userns_clone is 0",
                "Allow them: 'sysctl kernel.unprivileged_userns_clone=1', as root.",
            );
        }
        if self.apparmor == Some(1) {
            return (
                "AppArmor restricts user namespaces of unprivileged programs \
                 (kernel.apparmor_restrict_unprivileged_userns is 1)",
                "Give adit an AppArmor profile with 'userns,', or run \
                 'sysctl kernel.apparmor_restrict_unprivileged_userns=0' as root.",
            );
        }
        if self.is_filtered {
            return (
                "a seccomp filter of this container or service forbids it",
                "Start the container with a seccomp profile that allows unshare(2) and clone(2) with \
                 CLONE_NEWUSER, such as '--security-opt seccomp=unconfined'.",
            );
        }
        match self.errno {
            Some(Errno::INVAL) => (
                "the kernel has no user namespaces, or this program has started a thread",
                "Use a kernel with CONFIG_USER_NS.",
            ),
            // chroot(2): the kernel refuses user namespaces there.
            Some(Errno::PERM) => (
                "a chroot environment, or a security module, forbids it",
                "Run adit outside of the chroot environment; check the log of the security module.",
            ),
            _ => ("", NAMESPACES.remedy),
        }
    }
}

fn number(path: &str) -> Option<u64> {
    std::fs::read_to_string(path).ok()?.trim().parse().ok()
}

fn is_filtered() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mode = status.lines().find_map(|line| line.strip_prefix("Seccomp:"));
    mode.is_some_and(|mode| mode.trim() == "2")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_errno_has_several_causes() {
        let open = Seen {
            errno: Some(Errno::PERM),
            max: Some(96_365),
            clone: None,
            apparmor: None,
            is_filtered: false,
        };
        let cases = [
            (Seen { max: Some(0), errno: Some(Errno::NOSPC), ..open }, "max_user_namespaces is 0"),
            (Seen { errno: Some(Errno::NOSPC), ..open }, "nested 32 deep"),
            (Seen { clone: Some(0), ..open }, "unprivileged_userns_clone is 0"),
            (Seen { apparmor: Some(1), ..open }, "AppArmor"),
            (Seen { is_filtered: true, ..open }, "seccomp"),
            (Seen { errno: Some(Errno::INVAL), ..open }, "no user namespaces"),
            (open, "chroot"),
        ];
        for (seen, why) in cases {
            assert!(seen.explain().0.contains(why), "{seen:?}");
        }
    }
}
