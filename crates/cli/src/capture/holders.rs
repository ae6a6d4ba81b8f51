//! Which processes hold the queues of a device.

use adit::IfName;
use std::fs;

/// The most holders that are named.
const HOLDERS_MAX: usize = 8;

/// `pid 123 (qemu)`, for every process whose descriptors we may see. Only processes in the caller's
/// namespace count, for the name says nothing of a device elsewhere.
pub(crate) fn of(name: &IfName) -> Vec<String> {
    let here = fs::read_link("/proc/self/ns/net").ok();
    let pids = fs::read_dir("/proc").into_iter().flatten().flatten();
    pids.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
        .filter(|pid| fs::read_link(format!("/proc/{pid}/ns/net")).ok() == here)
        .filter(|pid| holds(*pid, name))
        .map(|pid| {
            let command = fs::read(format!("/proc/{pid}/comm")).unwrap_or_default();
            format!("pid {pid} ({})", String::from_utf8_lossy(&command).trim_end())
        })
        .take(HOLDERS_MAX)
        .collect()
}

/// The TUN driver writes `iff:` and the name into a descriptor's fdinfo (`tun_chr_show_fdinfo`).
fn holds(pid: u32, name: &IfName) -> bool {
    let line = [b"\niff:\t", name.as_bytes(), b"\n"].concat();
    let infos = fs::read_dir(format!("/proc/{pid}/fdinfo")).into_iter().flatten().flatten();
    infos
        .filter_map(|entry| fs::read(entry.path()).ok())
        .any(|info| info.windows(line.len()).any(|window| window == line))
}
