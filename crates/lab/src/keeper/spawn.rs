//! Starts a process in a node.

use crate::keeper::nodes::Nodes;
use crate::keeper::order::NodeKey;
use adit_device::process::Child;
use adit_service::error::{Error, Kind, Result};
use adit_service::namespace::COMMAND;
use rustix::process::Pid;
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
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(stdout)
        .stderr(stderr);
    let started = nodes.inside(what.node, || {
        // A folder below /run or /etc may be the host's alone.
        let directory = what.directory.filter(|directory| directory.is_dir());
        command.current_dir(directory.unwrap_or(Path::new("/")));
        Child::exec(&mut command, || Ok(()))
    })?;
    let child = started.map_err(|error| failure(word, &error))?;
    let pid = i32::try_from(child.pid()).ok().and_then(Pid::from_raw);
    let pid = pid.ok_or_else(|| failure(word, &rustix::io::Errno::SRCH.into()))?;
    Ok((pid, child.into()))
}

/// The failure of a program that cannot be started.
pub(crate) fn failure(word: &str, error: &io::Error) -> Error {
    let kind = match error.kind() {
        io::ErrorKind::NotFound => Kind::NotFound,
        io::ErrorKind::PermissionDenied => Kind::Permission,
        _ => Kind::Refused,
    };
    let mut new = Error::new(kind, &COMMAND, format!("cannot run {word}: {error}")).object(word);
    new.report.errno = error.raw_os_error();
    new
}
