//! The process that makes the namespaces of a lab and runs its programs, and the loop's end of it.
//!
//! ```text
//! start       user namespace, process namespace, the keeper        wire     datagrams of lines, descriptors
//! outside     numbers of processes outside of that                 names    for `ip netns`
//! order       what the loop orders and the keeper reports          serve    the keeper's loop
//! nodes       network namespaces and what is in them               private  /etc, /run, host name of a node
//! programs    that run on, and are started again                   shots    commands that run to their end
//! ```
//! The keeper ends with this process, whatever ends it, and all programs end with the keeper. Namespaces and their
//! interfaces end with the descriptors that the keeper and this process hold.

mod codes;
mod home;
mod interface;
mod names;
mod nodes;
mod order;
mod outside;
mod private;
mod programs;
mod said;
mod serve;
mod shots;
mod spawn;
mod start;
mod text;
mod wire;

pub use codes::{CATALOG, KEEPER, PART};
pub use names::NetnsNames;
pub use order::{
    CommandOutput, CommandSpec, Done, Door, InterfaceSpec, NodeKey, NodeSpec, Order, Output,
    Private, ProgramEvent, ProgramKey, ProgramSpec, Report, RouteSpec, Ticket,
};
pub(crate) use spawn::failure;

use crate::keeper::order::Line;
use crate::keeper::outside::descriptor;
use crate::keeper::said::{DoneSaid, Said};
use crate::keeper::wire::Wire;
use adit_device::broker::is_installed;
use adit_device::process::Child;
use adit_service::error::{Error, Result};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::net::{Shutdown, shutdown};
use std::collections::BTreeSet;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

/// The most orders without a report.
const ORDERS_MAX: usize = 1 << 17;

/// The keeper of a lab. It ends when this is dropped, and all of the lab with it.
///
/// [`Self::order`] takes orders, [`Self::send`] sends them, and [`Self::receive`] returns reports; none of them
/// blocks. The descriptor is readable when there are reports.
#[derive(Debug)]
pub struct Keeper {
    wire: Wire,
    guard: Child,
    pid: u32,
    is_rootless: bool,
    lacks_ids: Option<String>,
    next: u64,
    open: BTreeSet<Ticket>,
    hosts: String,
}

impl Keeper {
    /// Starts the keeper. Unless this process has the capabilities for it, it enters a user namespace in which it is
    /// root; it stays in its network namespace. It must have a single thread.
    ///
    /// # Errors
    /// This machine does not allow it, with the cause.
    pub fn start() -> Result<Self> {
        let is_rootless = !start::is_privileged();
        let lacks_ids = if is_rootless { start::become_root()? } else { None };
        start::raise_limits();
        Self::with(start::fork, is_rootless, lacks_ids)
    }

    /// Starts the keeper from a process that may have other threads, as a test has; it ends with the calling thread.
    /// This process must have the capabilities for it.
    ///
    /// # Errors
    /// It has not; this machine does not allow it, with the cause.
    pub fn start_in_thread() -> Result<Self> {
        if !start::is_privileged() {
            let message = "permission denied to make network namespaces";
            return Err(Error::new(adit_service::error::Kind::Permission, &KEEPER, message)
                .hint("Run it as root, or in a user namespace: 'unshare -Urnm -- COMMAND'."));
        }
        Self::with(start::fork_of_threads, false, None)
    }

    fn with(
        fork: impl FnOnce(OwnedFd) -> io::Result<Child>,
        is_rootless: bool,
        lacks_ids: Option<String>,
    ) -> Result<Self> {
        let failed = |error: io::Error| Error::io("start", "a process", &error);
        let (ours, theirs) = Wire::pair().map_err(failed)?;
        let guard = fork(theirs).map_err(failed)?;
        let mut new = Self {
            wire: Wire::new(ours),
            guard,
            pid: 0,
            is_rootless,
            lacks_ids,
            next: 0,
            open: BTreeSet::new(),
            hosts: String::new(),
        };
        new.pid = new.hello()?;
        Ok(new)
    }

    fn hello(&mut self) -> Result<u32> {
        loop {
            match self.wire.next_line().map_err(|error| start::lost(&error))? {
                Some(Said::Hello { pid }) => return Ok(pid),
                Some(Said::Refused(failure)) => return Err(failure.into()),
                Some(_) => {}
                None => self.wait(PollFlags::IN)?,
            }
            self.wire.receive().map_err(|error| start::lost(&error))?;
        }
    }

    /// The number of the keeper's process.
    #[must_use]
    pub const fn pid(&self) -> u32 {
        self.pid
    }

    /// Whether the lab runs without privileges: in a user namespace that [`Self::start`] made.
    #[must_use]
    pub const fn is_rootless(&self) -> bool {
        self.is_rootless
    }

    /// Why programs of the lab can be of one user and one group only, if so.
    #[must_use]
    pub fn lacks_ids(&self) -> Option<&str> {
        self.lacks_ids.as_deref()
    }

    /// Orders something; it is sent by [`Self::send`].
    ///
    /// # Errors
    /// There are too many orders without a report.
    pub fn order(&mut self, mut order: Order) -> Result<Ticket> {
        if self.open.len() >= ORDERS_MAX {
            return Err(Error::usage(format!("{ORDERS_MAX} orders are without a report")));
        }
        let private = match &mut order {
            Order::Node(spec) => spec.private.as_mut(),
            Order::Private(_, private) => Some(private),
            _ => None,
        };
        if let Some(private) = private {
            let hosts = std::mem::take(&mut private.hosts);
            if hosts != self.hosts {
                self.wire.push(&Line::<()>::Hosts(hosts.clone()));
                self.hosts = hosts;
            }
        }
        let ticket = Ticket(self.next);
        self.next += 1;
        self.open.insert(ticket);
        self.wire.push(&Line::Order(ticket, order));
        Ok(ticket)
    }

    /// Sends what there is room for; true: more waits until the descriptor is writable.
    ///
    /// # Errors
    /// The keeper has ended.
    pub fn send(&mut self) -> Result<bool> {
        self.wire.send(false).map_err(|error| start::lost(&error))?;
        Ok(self.wire.waiting() > 0)
    }

    /// The next report, if there is one.
    ///
    /// # Errors
    /// The keeper has ended.
    pub fn receive(&mut self) -> Result<Option<Report>> {
        loop {
            if let Some(said) = self.wire.next_line().map_err(|error| start::lost(&error))? {
                let report = self.report(said).map_err(|error| start::lost(&error))?;
                if report.is_some() {
                    return Ok(report);
                }
            } else if !self.wire.receive().map_err(|error| start::lost(&error))? {
                return Ok(None);
            }
        }
    }

    /// Sends all orders, and waits until each has its report: for a start, before a loop runs. `each` takes the
    /// reports.
    ///
    /// # Errors
    /// The keeper has ended.
    pub fn complete(&mut self, mut each: impl FnMut(Report)) -> Result<()> {
        while !self.open.is_empty() {
            let is_waiting = self.send()?;
            while let Some(report) = self.receive()? {
                each(report);
            }
            if !self.open.is_empty() {
                let room = if is_waiting { PollFlags::OUT } else { PollFlags::empty() };
                self.wait(PollFlags::IN | room)?;
            }
        }
        Ok(())
    }

    fn wait(&self, flags: PollFlags) -> Result<()> {
        let mut fds = [PollFd::new(&self.wire, flags)];
        let polled = rustix::io::retry_on_intr(|| poll(&mut fds, None));
        polled.map(drop).map_err(|errno| start::lost(&errno.into()))
    }

    fn report(&mut self, said: Said) -> io::Result<Option<Report>> {
        Ok(Some(match said {
            Said::Done(ticket, result) => {
                self.open.remove(&ticket);
                match result {
                    Ok(done) => Report::Done(ticket, self.done(done)?),
                    Err(failure) => Report::Failed(ticket, failure.into()),
                }
            }
            Said::Program(event) => Report::Program(event),
            Said::Restarted(program, result) => {
                Report::Restarted(program, result.map_err(Into::into))
            }
            Said::Hello { .. } | Said::Refused(_) => return Ok(None),
        }))
    }

    fn done(&mut self, said: DoneSaid) -> io::Result<Done> {
        Ok(match said {
            DoneSaid::Plainly => Done::Plainly,
            DoneSaid::Node(fd) => Done::Node(self.path(fd)),
            DoneSaid::Tap => {
                Done::Tap { queue: self.wire.next_fd()?, netlink: self.wire.next_fd()? }
            }
            DoneSaid::Started { pid, has_output } => {
                let output = if has_output { Some(self.wire.next_fd()?) } else { None };
                Done::Started { pid, output }
            }
            DoneSaid::Output(output) => Done::Output(output),
            DoneSaid::Door { net, mount, uts } => Done::Door(Door {
                keeper: self.pid,
                net: self.path(net),
                mount: self.path(mount),
                uts: self.path(uts),
            }),
        })
    }

    /// A descriptor of the keeper as a file.
    fn path(&self, fd: i32) -> PathBuf {
        descriptor(self.pid, fd)
    }
}

impl Drop for Keeper {
    /// Ends the keeper, and waits until it and all programs have ended.
    fn drop(&mut self) {
        // A copy of this process may have the socket as well. It was killed before, or ends now.
        let _ = shutdown(&self.wire, Shutdown::Both);
        if is_installed() {
            // In a sandbox its status is left to its next parent.
            let mut fds = [PollFd::new(&self.guard, PollFlags::IN)];
            let _ = rustix::io::retry_on_intr(|| poll(&mut fds, None));
        } else {
            let _ = self.guard.wait();
        }
    }
}

impl AsFd for Keeper {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.wire.as_fd()
    }
}
