//! What a service with ports needs in its sandbox, and what its helper allows.

use crate::config::problems::Problems;
use crate::control::{name, notify, server};
use crate::error::Result;
use crate::event::Events;
use crate::helper::{self, Allowed, Policy};
use crate::metrics::SCRAPE_SYSCALLS;
use crate::nat::resolvers::RESOLV_CONF;
use crate::netem::profile;
use crate::sandbox::{Needs, Sandbox};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// The system calls of the lines to the helper, and of background jobs that read a file.
const SYSCALLS: &[&str] = &["openat", "recvmsg", "sendmsg"];

/// What every service with a helper needs: its loop, its control socket, the lines to the helper.
#[must_use]
pub fn needs() -> Needs {
    let mut needs = Needs::by_landlock();
    needs.writable.push(name::folder());
    needs.syscalls.extend(adit_runtime::loop_syscalls());
    needs.syscalls.extend([server::SYSCALLS, SCRAPE_SYSCALLS, SYSCALLS]);
    needs
}

/// As [`needs`], with ports of all kinds.
#[must_use]
pub fn needs_with_ports() -> Needs {
    let mut needs = needs();
    needs.syscalls.extend(adit_runtime::port_syscalls());
    needs
}

/// The policy of a service with ports: the files that `read` opens, and files that requests name, which must be profiles of
/// a link or a part of one.
pub fn policy<T>(read: impl Fn() -> T + Send + Sync + 'static) -> Policy {
    let read = move || {
        let (_, mut files) = helper::recorded(&read);
        // A port can be a NAT.
        files.insert(RESOLV_CONF.into());
        Allowed { files, ..Allowed::default() }
    };
    Policy::new(read).reading(is_profile)
}

/// Whether a file is a profile of an emulated link, or one that a profile names; or one with mistakes, which are reported with
/// their places, if everybody may read it.
fn is_profile(path: &Path) -> bool {
    let ending = path.extension().and_then(|ending| ending.to_str());
    let is_public = std::fs::metadata(path).is_ok_and(|found| found.mode() & 0o004 != 0);
    if is_public && ending.is_some_and(|ending| ENDINGS.contains(&ending)) {
        return true;
    }
    let problems = Problems::default();
    let is_whole = profile::of_file(path, &problems).is_ok() && problems.into_list().is_empty();
    is_whole || profile::is_part(path)
}

/// How files of profiles usually end.
const ENDINGS: [&str; 5] = ["toml", "txt", "csv", "dist", "trace"];

/// Enters all but the last stage, before the first thread.
///
/// # Errors
/// A stage was refused that must hold.
pub fn give_up(sandbox: &Sandbox, needs: &Needs, events: &Events) -> Result<()> {
    // Opened before the sandbox forbids it.
    notify::socket();
    warn(sandbox.give_up(needs)?, events);
    Ok(())
}

/// Enters the last stage, when everything is open.
///
/// # Errors
/// A stage was refused that must hold.
pub fn restrict_calls(sandbox: &Sandbox, needs: &Needs, events: &Events) -> Result<()> {
    warn(sandbox.restrict_calls(needs)?, events);
    Ok(())
}

fn warn(lacking: Option<String>, events: &Events) {
    if let Some(lacking) = lacking {
        events.note(format!("warning: {lacking}"));
    }
}
