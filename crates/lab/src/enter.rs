//! Enters a node of a lab that runs, and executes a command there.
//!
//! The command is a child of this process, on its terminal and in its process group: Ctrl-C, Ctrl-Z and changes of
//! the window size reach it directly. It is a process of the lab as well: it ends with the lab.

use crate::keeper::{Door, KEEPER};
use adit_device::process::{Received, SignalReader, shell_status};
use adit_service::error::{Error, Kind, Result};
use adit_service::namespace::{COMMAND, Running};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{Mode, OFlags};
use rustix::process::{Pid, PidfdFlags, WaitOptions, pidfd_open, pidfd_send_signal, waitpid};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Executes a command in a node, and returns its status as shells do: 128 + n after signal n. This process enters the
/// namespaces of the node for good; it must have a single thread. The command starts in the same directory, or in `/`
/// where there is none of this name.
///
/// # Errors
/// The lab has ended, or is another user's; [`COMMAND`]: the command does not exist, or cannot be executed.
pub fn enter(door: &Door, words: &[OsString], environment: &[(OsString, OsString)]) -> Result<u8> {
    let (word, arguments) =
        words.split_first().ok_or_else(|| Error::usage("a command has no words"))?;
    let directory = std::env::current_dir().ok();
    let failed = |error: io::Error| Error::io("wait for", "the command", &error);
    let signals = Running::signals().map_err(failed)?;
    go(door)?;
    if directory.is_none_or(|directory| std::env::set_current_dir(directory).is_err()) {
        std::env::set_current_dir("/").map_err(|error| Error::io("enter", "/", &error))?;
    }
    let mut command = Command::new(word);
    command.args(arguments).envs(environment.iter().map(|(key, value)| (key, value)));
    let child = command.spawn().map_err(|error| {
        let kind = match error.kind() {
            io::ErrorKind::NotFound => Kind::NotFound,
            io::ErrorKind::PermissionDenied => Kind::Permission,
            _ => Kind::Refused,
        };
        let message = format!("cannot run {}: {error}", word.display());
        let mut new = Error::new(kind, &COMMAND, message).object(word.display());
        new.report.errno = error.raw_os_error();
        new
    })?;
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let pid = pid.ok_or_else(|| failed(rustix::io::Errno::SRCH.into()))?;
    let pidfd = pidfd_open(pid, PidfdFlags::empty()).map_err(|errno| failed(errno.into()))?;
    wait(pid, &pidfd, &signals).map_err(failed)
}

/// Enters the namespaces of a node.
fn go(door: &Door) -> Result<()> {
    let of_keeper = |kind: &str| PathBuf::from(format!("/proc/{}/ns/{kind}", door.keeper));
    let user = open(&of_keeper("user"))?;
    let others = [
        (open(&of_keeper("pid"))?, LinkNameSpaceType::ProcessID),
        (open(&door.net)?, LinkNameSpaceType::Network),
        (open(&door.mount)?, LinkNameSpaceType::Mount),
        (open(&door.uts)?, LinkNameSpaceType::HostNameAndNISDomainName),
    ];
    let failed = |error: io::Error| Error::io("enter", "the namespaces of the node", &error);
    // To enter the own one again is EINVAL.
    if !is_own(&user).map_err(failed)? {
        let kind = Some(LinkNameSpaceType::User);
        move_into_link_name_space(user.as_fd(), kind).map_err(|errno| failed(errno.into()))?;
    }
    for (namespace, kind) in &others {
        move_into_link_name_space(namespace.as_fd(), Some(*kind))
            .map_err(|errno| failed(errno.into()))?;
    }
    Ok(())
}

fn open(path: &Path) -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty()).map_err(|errno| {
        if errno == rustix::io::Errno::NOENT {
            return Error::new(Kind::NotFound, &KEEPER, "the lab has ended");
        }
        Error::io("open", path.display(), &errno.into())
    })
}

fn is_own(user: &OwnedFd) -> io::Result<bool> {
    let own = rustix::fs::stat("/proc/self/ns/user")?;
    let other = rustix::fs::fstat(user)?;
    Ok((own.st_dev, own.st_ino) == (other.st_dev, other.st_ino))
}

/// Waits for the command. Signals of other processes are passed on; those of the terminal reach it by themselves.
fn wait(pid: Pid, pidfd: &OwnedFd, signals: &SignalReader) -> io::Result<u8> {
    loop {
        match waitpid(Some(pid), WaitOptions::NOHANG)? {
            Some((_, status)) => return Ok(shell_status(status)),
            None => {
                let mut fds =
                    [PollFd::new(pidfd, PollFlags::IN), PollFd::new(signals, PollFlags::IN)];
                rustix::io::retry_on_intr(|| poll(&mut fds, None))?;
            }
        }
        while let Some(Received { signal, is_from_kernel }) = signals.read() {
            if !is_from_kernel {
                // It may have ended.
                let _ = pidfd_send_signal(pidfd, signal);
            }
        }
    }
}
