//! What a tunnel needs in its sandbox, and what its helper allows.

use crate::file::conf::HookPolicy;
use crate::file::config::Config;
use crate::file::load::{Given, find, load_complete, name_of};
use crate::host::questions::Answers;
use crate::host::{hooks, timestamps};
use crate::pipe::Pipe;
use crate::upgrade::successor::start_program;
use adit_device::IfName;
use adit_service::confine;
use adit_service::helper::{self, Allowed, Policy};
use adit_service::sandbox::Needs;
use std::io;
use std::path::PathBuf;

/// The system calls of a tunnel that is handed over: signals are caught again, and passed on to the program that took it over.
const SYSCALLS_OF_UPGRADE: &[&str] = &["pidfd_send_signal", "pipe2"];

/// Those of a tunnel through a pipe, which is not handed over: the program at its other end is waited for.
const SYSCALLS_OF_PIPE: &[&str] = &["wait4"];

/// The system calls of a tunnel, beside those of its loop: files must be the user's, pages with keys are locked, threads for slow
/// work get the usual priority, the standard streams of one in the background end.
const SYSCALLS: &[&str] = &["dup3", "listen", "mlock", "setpriority", "unlink"];

/// What it needs once it is about to open its sockets.
#[must_use]
pub fn needs(pipe: &Pipe) -> Needs {
    let mut needs = needs_of_each();
    needs.syscalls.push(match pipe {
        Pipe::None => SYSCALLS_OF_UPGRADE,
        Pipe::Stdio | Pipe::Program(_) => SYSCALLS_OF_PIPE,
    });
    needs.writable.push(PathBuf::from(crate::uapi::socket::FOLDER));
    needs
}

/// What the tunnel of a command needs, which may be recorded.
#[must_use]
pub fn needs_of_run() -> Needs {
    let mut needs = needs_of_each();
    needs.syscalls.extend(adit_runtime::record_syscalls());
    needs
}

fn needs_of_each() -> Needs {
    let mut needs = confine::needs();
    needs.syscalls.extend(adit_runtime::peer_syscalls());
    needs.syscalls.push(SYSCALLS);
    needs
}

/// The policy of a tunnel: the files of its configuration, its hooks, the names of its endpoints.
pub(crate) fn policy(
    files: Vec<PathBuf>,
    hooks: HookPolicy,
    device_netns: Option<String>,
) -> Policy {
    let has_netns = device_netns.is_some();
    let name = files.first().and_then(|file| find(file).ok()).and_then(|file| name_of(&file).ok());
    let timestamps = name.and_then(|name| timestamps::file_of(&name.to_string()));
    let answers = Answers::new(device_netns, timestamps.clone());
    let read = move || {
        let given = Given { private_key: true, device_netns: has_netns };
        let (loaded, files) = helper::recorded(|| load_complete(&files, hooks, given));
        let mut allowed = Allowed { files, ..Allowed::default() };
        allowed.files.extend(timestamps.clone());
        if let Ok(loaded) = loaded {
            allowed.programs = programs(&loaded.config, &loaded.name);
            allowed.names = names(&loaded.config);
        }
        allowed
    };
    Policy::new(read).answering(move |bytes| answers.to(bytes))
}

/// As [`policy`], of a tunnel that is handed over: the helper starts the program that takes over; `is_managed`: for a service
/// manager.
pub(crate) fn with_successor(policy: Policy, is_managed: bool) -> Policy {
    let program = std::env::current_exe();
    policy.succeeded_by(move |stdout| {
        let path = program.as_ref().map_err(|error| io::Error::from(error.kind()))?;
        start_program(path, stdout, is_managed)
    })
}

fn programs(config: &Config, name: &IfName) -> Vec<Vec<String>> {
    let hooks = &config.interface.hooks;
    let own = [&hooks.pre_up, &hooks.post_up, &hooks.pre_down, &hooks.post_down];
    let peers = config.peers.iter().flat_map(|peer| [&peer.up, &peer.down]);
    own.into_iter().chain(peers).flatten().map(|hook| hooks::words(hook, name)).collect()
}

fn names(config: &Config) -> std::collections::BTreeSet<String> {
    let endpoints = config.peers.iter().flat_map(|peer| [&peer.endpoint, &peer.endpoint_tcp]);
    endpoints.flatten().filter_map(|endpoint| endpoint.name().map(str::to_owned)).collect()
}
