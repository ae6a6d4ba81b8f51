//! Which processes hold a queue of a device.

use adit::netlink::Netlink;
use adit::{IfName, Netns};
use schemars::JsonSchema;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// A process that holds queues of a device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub(crate) struct Holder {
    /// Its id.
    pub(crate) pid: u32,
    /// Its command, up to 15 bytes.
    pub(crate) command: String,
    /// Its descriptors of the device.
    pub(crate) fds: Vec<u32>,
}

/// The holders of every device, by its name, as far as this user may see the processes.
///
/// `/proc/PID/fdinfo` tells the name of the device and not its namespace. A process in our
/// namespace means ours; one in another means ours only if there is no such device in its own.
pub(crate) fn all() -> BTreeMap<String, Vec<Holder>> {
    let mut found: BTreeMap<String, Vec<Holder>> = BTreeMap::new();
    let here = fs::read_link("/proc/thread-self/ns/net").ok();
    for pid in numbers("/proc") {
        let proc = format!("/proc/{pid}");
        let mut held = held_by(&proc);
        if held.is_empty() {
            continue;
        }
        if fs::read_link(format!("{proc}/ns/net")).ok() != here {
            held.retain(|name, _| !has_its_own(pid, name));
        }
        let command = fs::read(format!("{proc}/comm")).unwrap_or_default();
        let command = String::from_utf8_lossy(command.trim_ascii_end()).into_owned();
        for (name, fds) in held {
            let holder = Holder { pid, command: command.clone(), fds };
            found.entry(name).or_default().push(holder);
        }
    }
    found
}

/// The descriptors of devices that a process has, by the name of the device.
fn held_by(proc: &str) -> BTreeMap<String, Vec<u32>> {
    let mut held: BTreeMap<String, Vec<u32>> = BTreeMap::new();
    for fd in numbers(format!("{proc}/fdinfo")) {
        // The process may end, or close it, while we look.
        let Ok(text) = fs::read(format!("{proc}/fdinfo/{fd}")) else { continue };
        let mut lines = text.split(|&byte| byte == b'\n');
        if let Some(name) = lines.find_map(|line| line.strip_prefix(b"iff:")) {
            let name = name.trim_ascii();
            let name = IfName::new(std::str::from_utf8(name).unwrap_or_default());
            if let Ok(name) = name {
                held.entry(name.to_string()).or_default().push(fd);
            }
        }
    }
    held
}

fn has_its_own(pid: u32, name: &str) -> bool {
    let Ok(name) = IfName::new(name) else { return false };
    let Ok(mut netlink) = Netns::of_pid(pid).and_then(|netns| Netlink::open_in(&netns)) else {
        // Not to be seen: more likely that it minds its own business.
        return true;
    };
    netlink.link_by_name(&name).is_ok()
}

/// The entries of a directory that are numbers, in order.
fn numbers(dir: impl AsRef<Path>) -> Vec<u32> {
    let Ok(entries) = fs::read_dir(dir) else { return Vec::new() };
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let mut numbers: Vec<u32> = names.filter_map(|name| name.parse().ok()).collect();
    numbers.sort_unstable();
    numbers
}
