//! The process that takes over, seen from the one that runs.

use crate::upgrade::channel::{Channel, Kind, Message};
use crate::upgrade::{Hello, Passed, VERSION};
use adit_device::process::{Child, unblock_signals_of};
use adit_service::control::notify::is_managed;
use adit_service::control::socket::Listener;
use adit_service::error::{Entry, Error, Kind as ErrorKind, Result};
use adit_service::helper;
use rustix::process::Signal;
use std::fmt;
use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::Duration;

/// The new program did not take over.
pub const REFUSED: Entry = Entry {
    code: "ADIT-E0847",
    title: "the new program cannot take over",
    explanation: "'adit tunnel upgrade' starts the program that is installed now and hands the tunnel over. The new \
                  process ended, did not answer, or does not read the state of this version. The tunnel continues in \
                  the old process, with all sessions.",
    remedy: "Check the installed program ('adit --version'), or restart the tunnel to use it: its peers connect again.",
};

/// The codes of this module.
pub const CATALOG: [Entry; 1] = [REFUSED];

/// How long the new program may take until it is prepared. Packets move all the while.
const START_TIME_MAX: Duration = Duration::from_secs(10);

/// How long the handover may take, in which no packet moves: 1000 peers take milliseconds.
const HANDOVER_TIME_MAX: Duration = Duration::from_secs(2);

/// The option that makes a program take over; the socket is its standard input.
pub const OPTION: &str = "--take-over";

/// The program of a process, and whether its file was replaced.
#[derive(Debug)]
pub struct Installed {
    path: PathBuf,
    /// Device, inode and time of the last change.
    running: Option<(u64, u64, i64)>,
    /// The lock and the listener of the control socket, if there is one.
    pub control: Option<[OwnedFd; 2]>,
    /// The socket for clients of the metrics, if there is one.
    pub metrics: Option<Listener>,
    /// Whether this process waits for the new one.
    pub waits: bool,
    /// Whether a service manager supervises this process, and must become the parent of the new one.
    is_managed: bool,
}

impl Installed {
    /// The program of this process. Call it at the start: later the file may be gone.
    ///
    /// # Errors
    /// ENOENT: there is no /proc.
    pub fn new(
        control: Option<[OwnedFd; 2]>,
        metrics: Option<Listener>,
        waits: bool,
    ) -> io::Result<Self> {
        let (path, running) = (std::env::current_exe()?, identity("/proc/self/exe"));
        let is_managed = is_managed() && !waits;
        Ok(Self { path, running, control, metrics, waits, is_managed })
    }

    /// Starts the program that is installed now; see [`Candidate::start`].
    #[must_use]
    pub fn candidate(&self) -> Candidate {
        let (path, is_managed) = (self.path.clone(), self.is_managed);
        Candidate { path, running: self.running, is_managed }
    }
}

/// A program that may take over.
#[derive(Debug)]
pub struct Candidate {
    path: PathBuf,
    running: Option<(u64, u64, i64)>,
    is_managed: bool,
}

impl Candidate {
    /// Whether the installed file is that of this process.
    #[must_use]
    pub fn is_running(&self) -> bool {
        let installed = identity(&self.path);
        installed.is_some() && installed == self.running
    }

    /// Starts the program with the arguments of this process, and waits until it is prepared.
    ///
    /// # Errors
    /// [`REFUSED`].
    pub fn start(&self) -> Result<Successor> {
        let path = self.path.display();
        let failed = |error: &io::Error| refused(format!("cannot start {path}: {error}"));
        let stdout = io::stdout();
        let started = match helper::succeed(stdout.as_fd()) {
            Some(started) => started,
            None => stdout
                .as_fd()
                .try_clone_to_owned()
                .and_then(|stdout| start_program(&self.path, stdout, self.is_managed)),
        };
        let (child, socket) = started.map_err(|error| failed(&error))?;
        let channel = Channel::new(socket).map_err(|error| failed(&error))?;
        let mut successor = Successor { channel, child: Some(child) };
        let hello = successor.expect(Kind::Hello, START_TIME_MAX)?;
        let hello: Hello = serde_json::from_slice(&hello.bytes)
            .map_err(|_| refused(format!("{path} does not know how to take over")))?;
        if (hello.version, hello.state) != (VERSION, adit_tunnel::STATE_VERSION) {
            return Err(refused(format!(
                "{path} has version {}, which reads another format of the state than this one ({}) writes",
                hello.program,
                env!("CARGO_PKG_VERSION")
            )));
        }
        Ok(successor)
    }
}

/// Starts a program that takes over, with the arguments of this process; returns the socket to it. A service manager
/// supervises its own children alone: it would not wait for the end of another process.
pub(crate) fn start_program(
    path: &Path,
    stdout: OwnedFd,
    is_managed: bool,
) -> io::Result<(Child, OwnedFd)> {
    let (ours, stdin) = Channel::pair()?;
    let words = std::env::args_os().skip(1).filter(|word| word != OPTION);
    let mut command = Command::new(path);
    // It names this process; the new one reports to the watchdog in its place.
    command.arg(OPTION).args(words).stdin(stdin).stdout(stdout).env_remove("WATCHDOG_PID");
    // Ctrl-C in a terminal is for the process that waits, which passes it on.
    command.process_group(0);
    // The helper blocks all, so that it ends after its worker.
    unblock_signals_of(&mut command);
    let spawn = if is_managed { Child::spawn_orphan } else { Child::spawn };
    Ok((spawn(&mut command)?, ours))
}

/// Waits for the end of the new process; `None` if neither this process nor its helper is the parent.
pub(super) fn exit_status(child: &Child) -> io::Result<Option<ExitStatus>> {
    helper::await_successor().map_or_else(|| child.exit_status(), Ok)
}

fn identity(path: impl AsRef<Path>) -> Option<(u64, u64, i64)> {
    let file = fs::metadata(path).ok()?;
    Some((file.dev(), file.ino(), file.mtime()))
}

/// A process that has taken over.
#[derive(Debug)]
pub struct Taken {
    /// The process.
    pub child: Child,
    /// The socket to it: once it is closed, a process whose predecessor waits for it ends.
    pub socket: Option<OwnedFd>,
}

/// The new process. It is killed when it is dropped, unless it has taken over.
pub struct Successor {
    channel: Channel,
    /// `None` once it has taken over.
    child: Option<Child>,
}

impl fmt::Debug for Successor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Successor").field("child", &self.child).finish_non_exhaustive()
    }
}

impl Successor {
    /// Hands the tunnel over; blocks for at most two seconds. From then on this process must not use the state, nor
    /// the descriptors.
    ///
    /// # Errors
    /// [`REFUSED`]: the new process is gone, and this one continues.
    pub fn hand_over(
        mut self,
        passed: &Passed,
        state: &[u8],
        fds: &[BorrowedFd<'_>],
    ) -> Result<Taken> {
        let given = || -> io::Result<()> {
            let passed = serde_json::to_vec(passed)?;
            self.channel.send(Kind::State, &passed, fds)?;
            self.channel.send(Kind::State, state, &[])
        };
        given().map_err(|error| self.failed(&error))?;
        self.expect(Kind::Ready, HANDOVER_TIME_MAX)?;
        // It ends before its first packet if this does not arrive.
        self.channel.send(Kind::Go, &[], &[]).map_err(|error| self.failed(&error))?;
        if let Err(error) = self.expect(Kind::Running, HANDOVER_TIME_MAX) {
            self.kill();
            // Nobody can be told any more, but the counters may have been used: this process must not use them again.
            self.expect(Kind::Running, Duration::from_millis(1)).map_err(|_| error)?;
        }
        // So that the client whom this process answers finds the new one. It has the tunnel in any case.
        let _ = self.expect(Kind::Named, HANDOVER_TIME_MAX);
        let child =
            self.child.take().ok_or_else(|| refused("the new process has ended".to_owned()))?;
        let socket = self.channel.as_fd().try_clone_to_owned();
        Ok(Taken { child, socket: socket.ok() })
    }

    /// Waits for a message; a failure of the new process is the error.
    fn expect(&mut self, kind: Kind, within: Duration) -> Result<Message> {
        match self.channel.recv(within) {
            Ok(message) if message.kind == kind => Ok(message),
            Ok(Message { kind: Kind::Failed, bytes, .. }) => {
                Err(refused(String::from_utf8_lossy(&bytes).into_owned()))
            }
            Ok(_) => Err(refused("the new process sent an unexpected message".to_owned())),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(refused(format!(
                "the new process did not answer within {} s",
                within.as_secs()
            ))),
            Err(error) => Err(self.failed(&error)),
        }
    }

    /// Why a message could not be sent or read.
    fn failed(&self, error: &io::Error) -> Error {
        use io::ErrorKind::{BrokenPipe, ConnectionReset, UnexpectedEof};
        if !matches!(error.kind(), BrokenPipe | ConnectionReset | UnexpectedEof) {
            return refused(format!("the new process does not answer: {error}"));
        }
        // One that is ending keeps its status. Another one must not make this process wait.
        let status = self.kill().map(|status| format!(" ({status})")).unwrap_or_default();
        refused(format!("the new process has ended{status}"))
    }

    /// Kills the process, and waits until it has ended.
    fn kill(&self) -> Option<ExitStatus> {
        let child = self.child.as_ref()?;
        let _ = child.signal(Signal::KILL);
        exit_status(child).ok()?
    }
}

impl Drop for Successor {
    fn drop(&mut self) {
        self.kill();
    }
}

fn refused(message: String) -> Error {
    Error::new(ErrorKind::Refused, &REFUSED, message).hint(REFUSED.remedy)
}
