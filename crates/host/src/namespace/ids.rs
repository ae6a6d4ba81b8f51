//! Which users and groups exist in a user namespace: the maps of user_namespaces(7).
//!
//! ```text
//! root            all that this user namespace has, each to itself
//! newuidmap       own id to itself (or to 0), the range of /etc/subuid around it
//! otherwise       own id to itself (or to 0), alone
//! ```

use crate::error::{Error, Kind, Result};
use crate::namespace::codes::NAMESPACES;
use adit_runtime::text::user::user_name;
use std::fmt::Write;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

/// Users or groups: the same with other names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Which {
    /// The map in `/proc/PID`.
    map: &'static str,
    /// The ranges of each user.
    ranges: &'static str,
    /// The program that may write such ranges.
    program: &'static str,
}

const USERS: Which = Which { map: "uid_map", ranges: "/etc/subuid", program: "newuidmap" };
const GROUPS: Which = Which { map: "gid_map", ranges: "/etc/subgid", program: "newgidmap" };

/// A line of a map: ids inside from here on, the ids outside from there on, so many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Extent {
    inside: u32,
    outside: u32,
    count: u32,
}

/// Writes the maps of a process that is in a new user namespace, from another process in the user namespace
/// above. Returns why it has only one user and one group there, if so.
///
/// # Errors
/// [`NAMESPACES`]: the kernel refuses the maps.
pub fn write_maps(pid: u32, as_root: bool) -> Result<Option<String>> {
    let uid = rustix::process::geteuid().as_raw();
    let gid = rustix::process::getegid().as_raw();
    let inside = |id| if as_root { 0 } else { id };
    let user = Mapping { pid, which: USERS, own: uid, inside: inside(uid) };
    let group = Mapping { pid, which: GROUPS, own: gid, inside: inside(gid) };
    let failed = |map: &Mapping, error: &io::Error| {
        let message = format!("cannot write the {} of a user namespace: {error}", map.which.map);
        let mut new = Error::new(Kind::Refused, &NAMESPACES, message);
        new.report.errno = error.raw_os_error();
        new
    };
    let mut lack = None;
    if let Err(why) = user.write(uid) {
        user.write_alone().map_err(|error| failed(&user, &error))?;
        lack = Some(user.lack(&why));
    }
    if let Err(why) = group.write(uid) {
        // Without privilege a group may be mapped only after setgroups(2) was given up.
        std::fs::write(format!("/proc/{pid}/setgroups"), "deny")
            .and_then(|()| group.write_alone())
            .map_err(|error| failed(&group, &error))?;
        lack = lack.or_else(|| Some(group.lack(&why)));
    }
    Ok(lack)
}

#[derive(Clone, Copy, Debug)]
struct Mapping {
    pid: u32,
    which: Which,
    /// The caller's id, and what it is inside.
    own: u32,
    inside: u32,
}

impl Mapping {
    /// With all ids that are to be had.
    fn write(&self, uid: u32) -> io::Result<()> {
        if uid == 0 {
            let own = std::fs::read_to_string(format!("/proc/self/{}", self.which.map))?;
            return self.write_file(&identity(&own));
        }
        let ranges = std::fs::read_to_string(self.which.ranges)?;
        let range = range_of(&ranges, uid, user_name(uid).as_deref());
        let range = range.ok_or(io::ErrorKind::NotFound)?;
        let mut command = Command::new(self.which.program);
        command.arg(self.pid.to_string());
        for extent in around(self.own, self.inside, range) {
            command.args([extent.inside, extent.outside, extent.count].map(|n| n.to_string()));
        }
        // Ctrl-C in a terminal is for us.
        command.process_group(0);
        let status = command.stdin(Stdio::null()).stderr(Stdio::null()).status()?;
        if status.success() { Ok(()) } else { Err(rustix::io::Errno::PERM.into()) }
    }

    fn lack(&self, why: &io::Error) -> String {
        let Which { ranges, program, .. } = self.which;
        match why.kind() {
            io::ErrorKind::NotFound if Path::new(ranges).exists() => {
                format!("{ranges} has no range for this user, or {program} is not installed")
            }
            io::ErrorKind::NotFound => format!("there is no {ranges}"),
            _ => format!("{program} failed: {why}"),
        }
    }

    fn write_alone(&self) -> io::Result<()> {
        self.write_file(&[Extent { inside: self.inside, outside: self.own, count: 1 }])
    }

    fn write_file(&self, extents: &[Extent]) -> io::Result<()> {
        let mut text = String::new();
        for Extent { inside, outside, count } in extents {
            // Writing to a string does not fail.
            let _ = writeln!(text, "{inside} {outside} {count}");
        }
        std::fs::write(Path::new("/proc").join(self.pid.to_string()).join(self.which.map), text)
    }
}

/// Each id of a map to itself.
fn identity(map: &str) -> Vec<Extent> {
    let extent = |line: &str| {
        let mut numbers = line.split_whitespace().map(str::parse);
        let (inside, _, count) = (numbers.next()?.ok()?, numbers.next()?, numbers.next()?.ok()?);
        Some(Extent { inside, outside: inside, count })
    };
    map.lines().filter_map(extent).collect()
}

/// The first range of a user in `/etc/subuid` or `/etc/subgid`: the first id, and how many.
fn range_of(text: &str, uid: u32, name: Option<&str>) -> Option<(u32, u32)> {
    text.lines().find_map(|line| {
        let mut parts = line.trim().split(':');
        let owner = parts.next()?;
        let (first, count): (u32, u32) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        let is_ours = Some(owner) == name || owner.parse() == Ok(uid);
        (is_ours && count > 0 && first.checked_add(count).is_some()).then_some((first, count))
    })
}

/// `own` as `inside`, and the ids of a range below and above it, from 0 on.
fn around(own: u32, inside: u32, (first, count): (u32, u32)) -> Vec<Extent> {
    let below = inside.min(count);
    let above = count - below;
    let mut extents = vec![Extent { inside, outside: own, count: 1 }];
    extents.push(Extent { inside: 0, outside: first, count: below });
    if let Some(next) = inside.checked_add(1) {
        let count = above.min(u32::MAX - next);
        extents.push(Extent { inside: next, outside: first + below, count });
    }
    extents.retain(|extent| extent.count > 0);
    extents
}

#[cfg(test)]
mod tests {
    use super::*;

    fn extents(list: &[(u32, u32, u32)]) -> Vec<Extent> {
        list.iter().map(|&(inside, outside, count)| Extent { inside, outside, count }).collect()
    }

    #[test]
    fn the_own_id_stays_and_the_range_is_around_it() {
        let range = (100_000, 65_536);
        assert_eq!(
            around(1000, 1000, range),
            extents(&[(1000, 1000, 1), (0, 100_000, 1000), (1001, 101_000, 64_536)])
        );
        assert_eq!(around(1000, 0, range), extents(&[(0, 1000, 1), (1, 100_000, 65_536)]));
        // An id above the range.
        assert_eq!(
            around(200_000, 200_000, (100_000, 10)),
            extents(&[(200_000, 200_000, 1), (0, 100_000, 10)])
        );
        assert_eq!(around(7, u32::MAX, (9, 1)), extents(&[(u32::MAX, 7, 1), (0, 9, 1)]));
    }

    #[test]
    fn ranges_are_found_by_name_or_number() {
        let text = "# none\nother:1:2\nrsch:165536:65536\n1002:5:5\n1003:4294967295:9\n";
        assert_eq!(range_of(text, 1000, Some("rsch")), Some((165_536, 65_536)));
        assert_eq!(range_of(text, 1002, None), Some((5, 5)));
        assert_eq!(range_of(text, 1003, None), None, "beyond the last id");
        assert_eq!(range_of(text, 1004, Some("nobody")), None);
    }

    #[test]
    fn root_keeps_all_ids_that_it_has() {
        assert_eq!(
            identity("         0       1000          1\n         1     100000      65536\n"),
            extents(&[(0, 0, 1), (1, 1, 65_536)])
        );
    }
}
