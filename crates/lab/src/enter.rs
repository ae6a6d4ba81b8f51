//! Enters a node of a lab that runs, and executes a command there.
//!
//! The command is a child of this process, on its terminal and in its process group: Ctrl-C, Ctrl-Z and changes of
//! the window size reach it directly. It is a process of the lab as well: it ends with the lab.

use crate::keeper::{self, Door, KEEPER};
use adit_device::process::{Child, Received, SignalReader};
use adit_service::error::{Error, Kind, Result};
use adit_service::namespace::Running;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{Mode, OFlags};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::ffi::OsString;
use std::fs::{File, Metadata};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Executes a command in a node, and returns its status as shells do: 128 + n after signal n. This process enters the
/// user namespace of the lab for good; it must have a single thread. The command starts in the same directory, or in `/`
/// where there is none of this name.
///
/// # Errors
/// The lab has ended, or is another user's; the command does not exist, or cannot be executed.
pub fn enter(door: &Door, words: &[OsString], environment: &[(OsString, OsString)]) -> Result<u8> {
    let (word, arguments) =
        words.split_first().ok_or_else(|| Error::usage("a command has no words"))?;
    let directory = std::env::current_dir().ok();
    let failed = |error: io::Error| Error::io("wait for", "the command", &error);
    let signals = Running::signals().map_err(failed)?;
    let node = join_lab(door)?;
    let mut command = Command::new(word);
    command.args(arguments).envs(environment.iter().map(|(key, value)| (key, value)));
    // Only a child is in the process namespace, and sees itself in the node's /proc.
    let child = Child::exec(&mut command, || {
        for (namespace, kind) in &node {
            move_into_link_name_space(namespace.as_fd(), Some(*kind))?;
        }
        if directory.is_some_and(|directory| std::env::set_current_dir(directory).is_ok()) {
            return Ok(());
        }
        std::env::set_current_dir("/")
    });
    let child = child.map_err(|error| keeper::failure(&word.to_string_lossy(), &error))?;
    wait(&child, &signals).map_err(failed)
}

/// Enters the user namespace of a lab, and its process namespace for children; returns the namespaces of the node.
fn join_lab(door: &Door) -> Result<[(OwnedFd, LinkNameSpaceType); 3]> {
    let of_keeper = |kind: &str| PathBuf::from(format!("/proc/{}/ns/{kind}", door.keeper));
    let (user, pid) = (open(&of_keeper("user"))?, open(&of_keeper("pid"))?);
    let node = [
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
    let kind = Some(LinkNameSpaceType::ProcessID);
    move_into_link_name_space(pid.as_fd(), kind).map_err(|errno| failed(errno.into()))?;
    Ok(node)
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
    let identity = |found: Metadata| (found.dev(), found.ino());
    let own = identity(std::fs::metadata("/proc/self/ns/user")?);
    Ok(own == identity(File::from(user.try_clone()?).metadata()?))
}

/// Waits for the command. Signals of other processes are passed on; those of the terminal reach it by themselves.
fn wait(child: &Child, signals: &SignalReader) -> io::Result<u8> {
    loop {
        let mut fds = [PollFd::new(child, PollFlags::IN), PollFd::new(signals, PollFlags::IN)];
        rustix::io::retry_on_intr(|| poll(&mut fds, None))?;
        if !fds[0].revents().is_empty() {
            return child.wait();
        }
        while let Some(Received { signal, is_from_kernel }) = signals.read() {
            if !is_from_kernel {
                // It may have ended.
                let _ = child.signal(signal);
            }
        }
    }
}
