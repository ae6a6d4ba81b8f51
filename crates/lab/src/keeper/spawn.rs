//! Starts a process in a node.

use crate::keeper::nodes::Nodes;
use crate::keeper::order::NodeKey;
use adit_service::error::{Error, Kind, Result};
use adit_service::namespace::COMMAND;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

/// What is started.
#[derive(Clone, Copy, Debug)]
pub(super) struct What<'a> {
    pub(super) node: NodeKey,
    pub(super) words: &'a [String],
    pub(super) environment: &'a [(String, String)],
    pub(super) directory: Option<&'a Path>,
}

/// Starts it, in a process group of its own, without standard input.
pub(super) fn spawn(
    nodes: &mut Nodes,
    what: What<'_>,
    stdout: Stdio,
    stderr: Stdio,
) -> Result<(Pid, OwnedFd)> {
    let word = what.words.first().ok_or_else(|| Error::usage("a command has no words"))?;
    let mut command = Command::new(word);
    command
        .args(what.words.iter().skip(1))
        .envs(what.environment.iter().map(|(key, value)| (key, value)))
        .current_dir(what.directory.unwrap_or(Path::new("/")))
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(stdout)
        .stderr(stderr);
    let started = nodes.inside(what.node, || {
        let child = command.spawn()?;
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        let pid = pid.ok_or(io::Error::from(rustix::io::Errno::SRCH))?;
        Ok((pid, pidfd_open(pid, PidfdFlags::empty())?))
    })?;
    started.map_err(|error: io::Error| {
        let kind = match error.kind() {
            io::ErrorKind::NotFound => Kind::NotFound,
            io::ErrorKind::PermissionDenied => Kind::Permission,
            _ => Kind::Refused,
        };
        let mut new =
            Error::new(kind, &COMMAND, format!("cannot run {word}: {error}")).object(word);
        new.report.errno = error.raw_os_error();
        new
    })
}
