//! Starts the keeper.
//!
//! ```text
//! this process     enters a user namespace where it is not root, and stays in the network of the host
//!  '-- guard       waits for the keeper
//!       '-- keeper process 1 of a process namespace, with mounts of its own
//! ```
//! Each is killed with its parent, and the kernel kills all others of a process namespace with the first one.

use crate::keeper::codes::KEEPER;
use crate::keeper::outside::Outside;
use crate::keeper::said::Said;
use crate::keeper::serve::Keeper;
use crate::keeper::wire::Wire;
use adit_device::Netns;
use adit_device::process::{Child, Namespaces};
use adit_service::error::{Error, Kind, Report, Result};
use adit_service::namespace::{cause, write_maps};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags};
use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};
use rustix::process::{
    PidfdFlags, Resource, Signal, getpid, getrlimit, pidfd_open, set_parent_process_death_signal,
    setrlimit,
};
use rustix::thread::{CapabilitySet, capabilities};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;

/// The status of a process that failed; the reason was reported.
const FAILED: u8 = 125;

/// What is needed over the namespaces of a lab.
const NEEDED: CapabilitySet =
    CapabilitySet::SYS_ADMIN.union(CapabilitySet::NET_ADMIN).union(CapabilitySet::SYS_CHROOT);

/// Whether this process has the capabilities for a lab.
pub(super) fn is_privileged() -> bool {
    capabilities(None).is_ok_and(|sets| sets.effective.contains(NEEDED))
}

/// Makes this process root of a user namespace of its own. Returns why only one user exists there, if so. This
/// process must have a single thread.
pub(super) fn become_root() -> Result<Option<String>> {
    let failed = |error: io::Error| Error::io("start", "a process", &error);
    let this = getpid().as_raw_nonzero().get().unsigned_abs();
    let (mut ours, theirs) = UnixStream::pair().map_err(failed)?;
    // Maps are written from outside.
    let helper = Child::fork_apart(theirs.into(), |theirs| {
        let mut theirs = UnixStream::from(theirs);
        if null_streams().is_err() || theirs.read_exact(&mut [0]).is_err() {
            return FAILED;
        }
        let written = write_maps(this, true).map_err(|error| *error.report);
        let written = serde_json::to_vec(&written).unwrap_or_default();
        if theirs.write_all(&written).is_ok() { 0 } else { FAILED }
    });
    let helper = helper.map_err(failed)?;
    let entered = Namespaces::USER.enter_new();
    if let Err(error) = entered {
        drop(ours);
        // It reads EOF.
        let _ = helper.wait();
        return Err(cause("create a user namespace", &error));
    }
    let mut answer = Vec::new();
    ours.write_all(&[0]).and_then(|()| ours.read_to_end(&mut answer)).map_err(failed)?;
    helper.wait().map_err(failed)?;
    let written: Result<Option<String>, Report> =
        serde_json::from_slice(&answer).map_err(|error| failed(error.into()))?;
    written.map_err(|report| Error { kind: Kind::Permission, report: Box::new(report) })
}

/// As many descriptors as this user may have: some for each interface.
pub(super) fn raise_limits() {
    let limits = getrlimit(Resource::Nofile);
    // With fewer, the error of what needs more says so.
    let _ =
        setrlimit(Resource::Nofile, rustix::process::Rlimit { current: limits.maximum, ..limits });
}

/// Starts the guard, and it the keeper. Its first line is [`Said::Hello`].
pub(super) fn fork(theirs: OwnedFd) -> io::Result<Child> {
    Child::fork_apart(theirs, guard)
}

/// The same for a process with other threads.
pub(super) fn fork_of_threads(theirs: OwnedFd) -> io::Result<Child> {
    Child::fork_apart_of_threads(theirs, guard)
}

/// The process between: a process namespace begins with a child.
fn guard(wire: OwnedFd) -> u8 {
    let started = null_streams().and_then(|()| {
        let this = pidfd_open(getpid(), PidfdFlags::empty())?;
        Namespaces::PID.enter_new()?;
        Child::fork(|| keep(&this, &wire))
    });
    match started {
        Ok(keeper) => {
            // Only the keeper has it: with it, the other end reads EOF.
            drop(wire);
            keeper.wait().unwrap_or(FAILED)
        }
        Err(error) => refuse(wire, cause("create a process namespace", &error)),
    }
}

fn refuse(wire: OwnedFd, error: Error) -> u8 {
    let mut wire = Wire::new(wire);
    wire.push(&Said::Refused(error.into()));
    // Without a parent nobody reads it.
    let _ = wire.send(true);
    FAILED
}

/// Descriptors 0 to 2 lead nowhere: no other file gets these numbers.
fn null_streams() -> io::Result<()> {
    loop {
        let null = rustix::fs::open("/dev/null", OFlags::RDWR, Mode::empty())?;
        if null.as_raw_fd() > 2 {
            return Ok(());
        }
        std::mem::forget(null);
    }
}

/// The first process of the lab's process namespace.
fn keep(guard: &OwnedFd, wire: &OwnedFd) -> u8 {
    let Ok(wire) = wire.try_clone() else { return FAILED };
    let set_up = || -> Result<(u32, Outside, Netns)> {
        let failed = |error: io::Error| Error::io("prepare", "the keeper", &error);
        set_parent_process_death_signal(Some(Signal::KILL))
            .map_err(|errno| failed(errno.into()))?;
        if has_ended(guard) {
            return Err(failed(rustix::io::Errno::SRCH.into()));
        }
        // By the /proc of the parent, which knows this process by another number.
        let outside = Outside::current().map_err(failed)?;
        let pid = outside.own().map_err(failed)?;
        let host = Netns::current().map_err(failed)?;
        // It returns to its own network, and could not to the host's.
        (Namespaces::NET | Namespaces::MOUNT | Namespaces::UTS)
            .enter_new()
            .map_err(|error| cause("create network and mount namespaces", &error))?;
        mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)
            .map_err(|errno| Error::io("separate", "the mounts", &errno.into()))?;
        // In a container that hides parts of /proc the kernel refuses a new one; the old one works too.
        let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
        let _ = mount("proc", "/proc", "proc", flags, None);
        Ok((pid, outside, host))
    };
    let (pid, outside, host) = match set_up() {
        Ok(done) => done,
        Err(error) => return refuse(wire, error),
    };
    let mut wire = Wire::new(wire);
    wire.push(&Said::Hello { pid });
    let served = wire.send(true).and_then(|()| Keeper::new(wire, (pid, outside), host)?.serve());
    if served.is_ok() { 0 } else { FAILED }
}

fn has_ended(process: &OwnedFd) -> bool {
    let mut fds = [PollFd::from_borrowed_fd(process.as_fd(), PollFlags::IN)];
    poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })) != Ok(0)
}

/// The failure of a keeper that has ended.
pub(super) fn lost(error: &io::Error) -> Error {
    Error::new(Kind::Refused, &KEEPER, format!("the keeper of the lab has ended: {error}"))
}
