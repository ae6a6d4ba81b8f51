//! The identity and privileges of this process.

use std::fs;

/// CAP_NET_ADMIN of `linux/capability.h`.
const CAP_NET_ADMIN: u32 = 12;

pub(crate) fn uid() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// Whether the effective group or a supplementary one is `group`.
pub(crate) fn is_in_group(group: u32) -> bool {
    rustix::process::getegid().as_raw() == group
        || rustix::process::getgroups()
            .is_ok_and(|groups| groups.iter().any(|own| own.as_raw() == group))
}

/// Whether this is the initial user namespace: the only one that maps every id to itself.
pub(crate) fn in_first_user_namespace() -> bool {
    let Ok(map) = fs::read_to_string("/proc/thread-self/uid_map") else { return true };
    map.split_whitespace().eq(["0", "0", "4294967295"])
}

/// Whether the calling thread has CAP_NET_ADMIN in its own user namespace.
pub(crate) fn has_net_admin() -> bool {
    let status = fs::read_to_string("/proc/thread-self/status").unwrap_or_default();
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    effective
        .and_then(|bits| u64::from_str_radix(bits.trim(), 16).ok())
        .is_some_and(|bits| bits & (1 << CAP_NET_ADMIN) != 0)
}

/// A number from `/proc/sys`; `None` if this kernel does not have it.
pub(crate) fn sysctl(path: &str) -> Option<u64> {
    fs::read_to_string(format!("/proc/sys/{path}")).ok()?.trim().parse().ok()
}
