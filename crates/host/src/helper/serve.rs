//! The helper itself: a thread for each line, which performs one request after another.

use crate::changes::action::{Action, Program, Purpose};
use crate::changes::executor::{Executor, HostExecutor, Outcome};
use crate::changes::program;
use crate::changes::stale::filter_tables;
use crate::error::{Error, Kind, Result, SYSTEM};
use crate::helper::ask::{Ask, Reply};
use crate::helper::files::open_here;
use crate::helper::line::Line;
use crate::helper::perform::perform;
use crate::helper::policy::Policy;
use crate::helper::tools::{Compiled, compile_here};
use adit_device::broker::Failure;
use adit_device::process::Child;
use adit_device::wire::{decode, encode};
use adit_device::{Device, IfName, Link, Netns};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use std::io;
use std::net::ToSocketAddrs;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::ExitStatus;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The stack of a thread, in bytes: a resolver's needs are the largest.
const STACK_LEN: usize = 512 << 10;

/// What the threads share.
struct Shared {
    policy: Policy,
    executor: Mutex<HostExecutor>,
    /// The program that takes over.
    successor: Mutex<Option<Child>>,
    /// The lock of the program's name: the next program of the name finds nothing that is still being changed.
    held: Mutex<Vec<OwnedFd>>,
}

/// Serves until the first line ends, and with it the worker.
pub(super) fn run(lines: Vec<Line>, policy: Policy, null: &OwnedFd) -> io::Result<()> {
    // For `ps`; without it, it is called as its parent.
    let _ = rustix::thread::set_name(c"adit-helper");
    rustix::stdio::dup2_stdin(null)?;
    rustix::stdio::dup2_stdout(null)?;
    let shared = Arc::new(Shared {
        policy,
        executor: Mutex::default(),
        successor: Mutex::default(),
        held: Mutex::default(),
    });
    let mut lines = lines.into_iter();
    let Some(first) = lines.next() else { return Ok(()) };
    for line in lines {
        let shared = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name("line".to_owned()).stack_size(STACK_LEN);
        thread.spawn(move || serve(&line, &shared))?;
    }
    serve(&first, &shared);
    Ok(())
}

fn serve(line: &Line, shared: &Shared) {
    while let Ok(Some((bytes, fds))) = line.recv() {
        let (reply, fds) = match decode::<Ask>(&bytes) {
            Some(ask) => shared.perform(ask, fds),
            None => (Reply::NotOpened(Failure::from(io::Error::from(Errno::INVAL))), Vec::new()),
        };
        let borrowed: Vec<BorrowedFd<'_>> = fds.iter().map(AsFd::as_fd).collect();
        let sent = line.send(&encode(&reply), &borrowed);
        // A reply that is too long is replaced by one that says so.
        let sent =
            sent.or_else(|error| line.send(&encode(&Reply::NotOpened(Failure::from(error))), &[]));
        if sent.is_err() {
            return;
        }
    }
}

impl Shared {
    fn perform(&self, ask: Ask, fds: Vec<OwnedFd>) -> (Reply, Vec<OwnedFd>) {
        let alone = |reply| (reply, Vec::new());
        let opened = |result: Result<Vec<OwnedFd>, Failure>| match result {
            Ok(fds) => (Reply::Done, fds),
            Err(failure) => (Reply::NotOpened(failure), Vec::new()),
        };
        let netns = || fds.first().map(AsFd::as_fd).map(|fd| fd.try_clone_to_owned());
        let netns = || netns().map(|fd| fd.and_then(Netns::try_from)).transpose();
        if !self.policy.allows_ask(&ask) {
            return opened(Err(io::Error::from(Errno::ACCESS).into()));
        }
        match ask {
            Ask::Open(request) => opened(perform(request, fds)),
            Ask::Begin(device) => match netns().and_then(|netns| executor(device, netns)) {
                Ok(executor) => {
                    *lock(&self.executor) = executor;
                    alone(Reply::Done)
                }
                Err(error) => opened(Err(error.into())),
            },
            Ask::Perform(action) => alone(match self.carry_out(&action) {
                Ok(outcome) => Reply::Outcome(outcome),
                Err(error) => Reply::Failed(Box::new(error)),
            }),
            Ask::TakeDevice => match lock(&self.executor).take_device() {
                Ok(device) => hand_over(device),
                Err(error) => alone(Reply::Failed(Box::new(error))),
            },
            Ask::Run(words) => alone(match self.run_hook(&words) {
                Ok(()) => Reply::Done,
                Err(why) => Reply::Output(false, String::new(), why),
            }),
            Ask::File(path, is_regular) => opened(self.open_file(&path, is_regular)),
            Ask::Resolve(name, port) => alone(Reply::Addresses(self.resolve(&name, port))),
            Ask::Filter(link, snap_len, expression) => {
                match compile_here(&link, snap_len, &expression) {
                    Ok(Compiled { is_success, output, error }) => {
                        alone(Reply::Output(is_success, output, error))
                    }
                    Err(error) => opened(Err(error.into())),
                }
            }
            Ask::FilterTables => match netns() {
                Ok(netns) => alone(Reply::Tables(filter_tables(netns.as_ref()))),
                Err(error) => opened(Err(error.into())),
            },
            Ask::Service(bytes) => alone(Reply::Service(self.policy.serve(&bytes))),
            Ask::Detach => {
                let null = rustix::fs::open("/dev/null", OFlags::RDWR, Mode::empty());
                // It writes to the terminal then, which nobody reads.
                let _ = null.and_then(rustix::stdio::dup2_stderr);
                alone(Reply::Done)
            }
            Ask::Hold => {
                *lock(&self.held) = fds;
                alone(Reply::Done)
            }
            Ask::Succeed => match self.succeed(fds) {
                Ok((pid, fds)) => (Reply::Started(pid), fds),
                Err(error) => opened(Err(error.into())),
            },
            Ask::AwaitSuccessor => {
                let successor = lock(&self.successor).take();
                let status = successor.and_then(|child| child.exit_status().ok()?);
                alone(Reply::Exited(status.map(ExitStatus::into_raw)))
            }
        }
    }

    fn succeed(&self, fds: Vec<OwnedFd>) -> io::Result<(u32, Vec<OwnedFd>)> {
        let stdout = fds.into_iter().next().ok_or(Errno::INVAL)?;
        let (child, socket) = self.policy.succeed(stdout)?;
        let (pid, pidfd) = (child.pid(), child.as_fd().try_clone_to_owned()?);
        *lock(&self.successor) = Some(child);
        Ok((pid, vec![pidfd, socket]))
    }

    fn carry_out(&self, action: &Action) -> Result<Outcome> {
        if let Action::Run(program) = action
            && !self.may_run(program)
        {
            let name = program.words.first().cloned().unwrap_or_default();
            let message = format!("cannot run {name}: it is not a program of the configuration");
            return Err(Error::new(Kind::Refused, &SYSTEM, message).object(name));
        }
        lock(&self.executor).perform(action)
    }

    fn may_run(&self, program: &Program) -> bool {
        let words: Vec<&str> = program.words.iter().map(String::as_str).collect();
        match program.purpose {
            Purpose::Hook => program.input.is_none() && self.policy.allows_program(&program.words),
            Purpose::NameServers => matches!(
                words.as_slice(),
                ["resolvectl", "dns" | "domain" | "default-route" | "revert", ..]
                    | ["resolvconf", "-a" | "-d", ..]
            ),
        }
    }

    fn run_hook(&self, words: &[String]) -> Result<(), String> {
        if !self.policy.allows_program(words) {
            let name = words.first().cloned().unwrap_or_default();
            return Err(format!("{name}: it is not a program of the configuration"));
        }
        program::run(words, None).map_err(|error| error.to_string())
    }

    fn open_file(&self, path: &Path, is_regular: bool) -> Result<Vec<OwnedFd>, Failure> {
        if !self.policy.allows_file(path) {
            // Whether it exists is no secret, and the most likely mistake.
            let found = std::fs::metadata(path);
            return Err(found.err().unwrap_or_else(|| Errno::ACCESS.into()).into());
        }
        Ok(vec![open_here(path, is_regular)?.into()])
    }

    fn resolve(&self, name: &str, port: u16) -> Result<Vec<std::net::SocketAddr>, String> {
        if !self.policy.allows_name(name) {
            return Err("it is not a name of the configuration".to_owned());
        }
        let found = (name, port).to_socket_addrs().map_err(|error| error.to_string())?;
        Ok(found.collect())
    }
}

/// What they hold is whole after each request.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Carries actions out, on a device if it exists.
fn executor(device: Option<IfName>, netns: Option<Netns>) -> io::Result<HostExecutor> {
    let Some(device) = device else { return Ok(HostExecutor::new(netns)) };
    let link = match &netns {
        Some(netns) => Link::find_in(netns, &device),
        None => Link::find(&device),
    };
    let link = link
        .map_err(|error| error.errno().map_or(Errno::NODEV.into(), io::Error::from_raw_os_error))?;
    Ok(HostExecutor::on(link).within(netns))
}

fn hand_over(mut device: Device) -> (Reply, Vec<OwnedFd>) {
    let mode = device.mode();
    let queues = device.take_queues().into_iter().map(OwnedFd::from).collect();
    (Reply::Device(mode), queues)
}
