//! The helper, seen from the worker.

use crate::changes::action::Action;
use crate::changes::executor::{Executor, Outcome};
use crate::error::{Error, Kind, Result, SYSTEM};
use crate::helper::ask::{Ask, Reply};
use crate::helper::line::Line;
use adit_device::broker::{Broker, Failure, Request};
use adit_device::process::Child;
use adit_device::wire::{decode, encode};
use adit_device::{Device, IfName, Netns};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::ThreadId;

/// The process with the privileges.
#[derive(Debug)]
pub struct Helper {
    /// The line of the thread that moves packets, which waits for nobody else.
    quick: Mutex<Line>,
    owner: ThreadId,
    free: Mutex<Vec<Line>>,
    is_free: Condvar,
    process: Child,
}

static INSTALLED: OnceLock<Arc<Helper>> = OnceLock::new();

/// The helper that opens everything for this process, if its privileges are given up.
pub fn installed() -> Option<&'static Arc<Helper>> {
    INSTALLED.get()
}

impl Helper {
    /// The helper behind lines that are open; the first one is the loop's, which is the calling thread.
    pub(super) fn new(process: Child, mut lines: Vec<Line>) -> Arc<Self> {
        let quick = Mutex::new(lines.remove(0));
        let (owner, free) = (std::thread::current().id(), Mutex::new(lines));
        Arc::new(Self { quick, owner, free, is_free: Condvar::new(), process })
    }

    /// The number of the process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Has the helper open everything for this process from now on.
    pub fn install(self: &Arc<Self>) {
        adit_device::broker::install(Box::new(Opener(Arc::clone(self))));
        // Privileges are given up once.
        let _ = INSTALLED.set(Arc::clone(self));
    }

    /// Lets the helper write to the terminal no longer, as this process does not.
    pub fn detach(&self) {
        // It has ended: then it does not write either.
        let _ = self.ask(&Ask::Detach, &[]);
    }

    /// Has the helper hold the lock of the program's name as well: the kernel kills it a moment after this process, and in
    /// the middle of what it does.
    pub fn hold(&self, name_lock: BorrowedFd<'_>) {
        // It has ended: then it changes nothing.
        let _ = self.ask(&Ask::Hold, &[name_lock]);
    }

    /// Asks, and waits for the reply.
    ///
    /// # Errors
    /// The helper has ended; the request is too long.
    pub fn ask(&self, ask: &Ask, fds: &[BorrowedFd<'_>]) -> io::Result<(Reply, Vec<OwnedFd>)> {
        if std::thread::current().id() == self.owner {
            return exchange(&lock(&self.quick), ask, fds);
        }
        let mut free = lock(&self.free);
        let line = loop {
            match free.pop() {
                Some(line) => break line,
                None => free = self.is_free.wait(free).unwrap_or_else(PoisonError::into_inner),
            }
        };
        drop(free);
        let reply = exchange(&line, ask, fds);
        lock(&self.free).push(line);
        self.is_free.notify_one();
        reply
    }
}

fn exchange(line: &Line, ask: &Ask, fds: &[BorrowedFd<'_>]) -> io::Result<(Reply, Vec<OwnedFd>)> {
    let ended = || io::Error::new(io::ErrorKind::BrokenPipe, "the helper process has ended");
    line.send(&encode(ask), fds).map_err(|error| match error.kind() {
        io::ErrorKind::BrokenPipe => ended(),
        _ => error,
    })?;
    let (bytes, fds) = line.recv()?.ok_or_else(ended)?;
    let reply = decode(&bytes).ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))?;
    Ok((reply, fds))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A message is sent whole or not at all.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Opens for the process.
#[derive(Debug)]
struct Opener(Arc<Helper>);

impl Broker for Opener {
    fn request(&self, request: &Request, with: &[BorrowedFd<'_>]) -> Result<Vec<OwnedFd>, Failure> {
        match self.0.ask(&Ask::Open(request.clone()), with)? {
            (Reply::Done, fds) => Ok(fds),
            (Reply::NotOpened(failure), _) => Err(failure),
            _ => Err(io::Error::from(io::ErrorKind::InvalidData).into()),
        }
    }
}

/// Carries actions out in the helper.
#[derive(Debug)]
pub struct RemoteExecutor(Arc<Helper>);

impl RemoteExecutor {
    /// For a namespace, or that of the program. The executor before ends.
    ///
    /// # Errors
    /// The helper has ended.
    pub fn new(helper: Arc<Helper>, netns: Option<&Netns>) -> Result<Self> {
        Self::begin(helper, None, netns)
    }

    /// The same for a device that exists.
    ///
    /// # Errors
    /// There is none; the helper has ended.
    pub fn on(device: IfName, helper: Arc<Helper>, netns: Option<&Netns>) -> Result<Self> {
        Self::begin(helper, Some(device), netns)
    }

    fn begin(helper: Arc<Helper>, device: Option<IfName>, netns: Option<&Netns>) -> Result<Self> {
        let with = netns.map(AsFd::as_fd);
        let begun = helper.ask(&Ask::Begin(device), with.as_slice());
        match begun.map_err(|error| no_helper(&error))?.0 {
            Reply::Done => Ok(Self(helper)),
            Reply::NotOpened(failure) => Err(Error::io("use", "the device", &failure.into())),
            _ => Err(unexpected()),
        }
    }
}

fn no_helper(error: &io::Error) -> Error {
    Error::io("ask", "the helper process", error)
}

fn unexpected() -> Error {
    Error::new(Kind::Refused, &SYSTEM, "the helper process sent another reply")
}

impl Executor for RemoteExecutor {
    fn perform(&mut self, action: &Action) -> Result<Outcome> {
        let asked = self.0.ask(&Ask::Perform(action.clone()), &[]);
        match asked.map_err(|error| no_helper(&error))?.0 {
            Reply::Outcome(outcome) => Ok(outcome),
            Reply::Failed(error) => Err(*error),
            _ => Err(unexpected()),
        }
    }

    fn take_device(&mut self) -> Result<Device> {
        let asked = self.0.ask(&Ask::TakeDevice, &[]);
        match asked.map_err(|error| no_helper(&error))? {
            (Reply::Device(mode), fds) => {
                let queue = fds.into_iter().next().ok_or_else(unexpected)?;
                Ok(Device::adopt(queue, mode)?)
            }
            (Reply::Failed(error), _) => Err(*error),
            _ => Err(unexpected()),
        }
    }
}
