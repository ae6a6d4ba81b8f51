//! The processes in the namespaces: the holder, and the first of the process namespace.

use super::covers::Covers;
use crate::error::{Error, Kind, Result};
use crate::namespace::channel::{Channel, Message, Stage, failure};
use crate::namespace::codes::COMMAND;
use crate::namespace::files::RESOLV_CONF;
use crate::namespace::refusal;
use crate::namespace::wanted::{Command, Wanted};
use adit_device::IfIndex;
use adit_device::netlink::{LinkChange, Netlink};
use adit_device::process::{Child, Namespaces, SignalMask, block_all_signals, shell_status};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::mount::{MountFlags, MountPropagationFlags};
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitOptions, getppid, pidfd_open, set_parent_process_death_signal,
};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// The status of a holder that failed before the command ran; its parent has the error.
const FAILED: u8 = 125;

/// How often it is verified that files are covered: no event says that they are not.
const KEEP_NANOS: i64 = 200_000_000;

/// The index of `lo`, in every network namespace.
pub(super) const LOOPBACK: u32 = 1;

/// Holds new namespaces until the command has ended; returns its status.
pub(super) fn hold(parent: Pid, channel: &Channel, wanted: &Wanted, command: &Command) -> u8 {
    let held = end_with(parent).and_then(|mask| {
        let covers = create(channel, wanted)?;
        reached(channel, Stage::Ready)?;
        wait(channel)?;
        let failed = |error| failure("start", "a process", &error);
        let holder = pidfd_open(rustix::process::getpid(), PidfdFlags::empty());
        let holder = holder.map_err(|errno| failed(errno.into()))?;
        let first = Child::fork(|| first_process(&holder, channel, command, &mask));
        Ok((first.map_err(failed)?, covers))
    });
    match held {
        Ok((first, covers)) => keep(&first, covers, channel),
        Err(error) => {
            // Without a parent nobody reads it.
            let _ = channel.fail(error);
            FAILED
        }
    }
}

/// Keeps files covered until the first process has ended; returns its status.
fn keep(first: &Child, mut covers: Covers, channel: &Channel) -> u8 {
    let mut is_open = !covers.is_empty();
    while is_open {
        let mut fds = [PollFd::new(first, PollFlags::IN), PollFd::new(channel, PollFlags::IN)];
        let interval = Timespec { tv_sec: 0, tv_nsec: KEEP_NANOS };
        let polled = rustix::io::retry_on_intr(|| poll(&mut fds, Some(&interval)));
        if polled.is_err() || !fds[0].revents().is_empty() {
            break;
        }
        if !fds[1].revents().is_empty() {
            match channel.receive() {
                Ok(Ok(Message { resolv_conf: Some(content), .. })) => {
                    drop(covers.write(RESOLV_CONF, content))
                }
                Ok(_) => {}
                // Our parent has ended, and this process ends with it.
                Err(_) => is_open = false,
            }
        }
        covers.keep();
    }
    first.wait().unwrap_or(FAILED)
}

/// Ends this process when `parent` does. Signals of the terminal are the command's: they are blocked here.
fn end_with(parent: Pid) -> Result<SignalMask> {
    let failed = |error: io::Error| failure("prepare", "a process", &error);
    set_parent_process_death_signal(Some(Signal::KILL)).map_err(|errno| failed(errno.into()))?;
    if getppid() != Some(parent) {
        return Err(failed(rustix::io::Errno::SRCH.into()));
    }
    block_all_signals().map_err(failed)
}

fn create(channel: &Channel, wanted: &Wanted) -> Result<Covers> {
    let entered = Namespaces::USER.enter_new();
    entered.map_err(|error| refusal::cause("create a user namespace", &error))?;
    reached(channel, Stage::InUserNamespace)?;
    wait(channel)?;
    let rest = Namespaces::NET | Namespaces::MOUNT | Namespaces::PID;
    let entered = rest.enter_new();
    entered
        .map_err(|error| refusal::cause("create network, mount and process namespaces", &error))?;
    // Mounts of the host still appear here, and none of ours there.
    let flags = MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC;
    rustix::mount::mount_change("/", flags)
        .map_err(|errno| failure("separate", "the mounts", &errno.into()))?;
    let (covers, warnings) = wanted.files.mount()?;
    for warning in warnings {
        channel.warn(warning).map_err(|error| failure("write to", "our parent", &error))?;
    }
    network().map_err(|error| failure("set up", "interface lo", &error))?;
    Ok(covers)
}

fn network() -> io::Result<()> {
    if let Some(lo) = IfIndex::new(LOOPBACK) {
        Netlink::open()?.set_link(lo, &LinkChange::new().up(true))?;
    }
    // ping(8) and a server on port 80 need no capability then. Where /proc/sys is read-only, they do as before.
    let group = rustix::process::getegid().as_raw();
    let _ = std::fs::write("/proc/sys/net/ipv4/ping_group_range", format!("{group} {group}"));
    let _ = std::fs::write("/proc/sys/net/ipv4/ip_unprivileged_port_start", "0");
    Ok(())
}

/// The first process of a process namespace: starts the command, reaps what it leaves, and exits with its
/// status. The kernel kills the rest then.
fn first_process(holder: &OwnedFd, channel: &Channel, command: &Command, mask: &SignalMask) -> u8 {
    if set_parent_process_death_signal(Some(Signal::KILL)).is_err() || has_ended(holder.as_fd()) {
        return FAILED;
    }
    // In a container that hides parts of /proc the kernel refuses a new one; the old one shows the processes
    // of the host then, by other numbers.
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    let _ = rustix::mount::mount("proc", "/proc", "proc", flags, None);
    // The first process of a process namespace ignores what it does not handle.
    if mask.restore().is_err() {
        return FAILED;
    }
    match spawn(command) {
        Ok((pid, pidfd)) => {
            if channel.reached(Stage::Started, &[pidfd.as_fd()]).is_err() {
                return FAILED;
            }
            reap_until(pid)
        }
        Err(error) => {
            let _ = channel.fail(error);
            FAILED
        }
    }
}

/// Whether the process of a pidfd has ended.
pub(super) fn has_ended(process: BorrowedFd<'_>) -> bool {
    let mut fds = [PollFd::from_borrowed_fd(process, PollFlags::IN)];
    poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })) != Ok(0)
}

fn spawn(command: &Command) -> Result<(Pid, OwnedFd)> {
    let word = command.words.first().cloned().unwrap_or_default();
    let failed = |error: &io::Error| {
        let kind = match error.kind() {
            io::ErrorKind::NotFound => Kind::NotFound,
            io::ErrorKind::PermissionDenied => Kind::Permission,
            _ => Kind::Refused,
        };
        let message = format!("cannot run {}: {error}", word.display());
        let mut new = Error::new(kind, &COMMAND, message).object(word.display());
        new.report.errno = error.raw_os_error();
        new
    };
    let child = std::process::Command::new(&word)
        .args(command.words.iter().skip(1))
        .envs(command.environment.iter().map(|(key, value)| (key, value)))
        .spawn()
        .map_err(|error| failed(&error))?;
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let pid = pid.ok_or_else(|| failed(&rustix::io::Errno::SRCH.into()))?;
    let pidfd = pidfd_open(pid, PidfdFlags::empty()).map_err(|errno| failed(&errno.into()))?;
    Ok((pid, pidfd))
}

fn reap_until(command: Pid) -> u8 {
    loop {
        match rustix::process::wait(WaitOptions::empty()) {
            Ok(Some((pid, status))) if pid == command => return shell_status(status),
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(_) => return FAILED,
        }
    }
}

fn reached(channel: &Channel, stage: Stage) -> Result<()> {
    channel.reached(stage, &[]).map_err(|error| failure("write to", "our parent", &error))
}

fn wait(channel: &Channel) -> Result<()> {
    channel.wait().map_err(|error| failure("read from", "our parent", &error))
}
