//! Namespaces without root, and a command in them.
//!
//! ```text
//! adit (host)                              moves packets; has no capability
//!  |-- holder        user, network and mount namespaces; waits
//!       '-- first    process 1 of a process namespace: mounts /proc, reaps
//!            '-- COMMAND
//! ```
//!
//! A process that has threads cannot enter a user namespace, so a copy of this process does it
//! ([`Child::fork`]): call [`Namespaces::create`] and [`attach::attach`] before the first thread starts.
//! The holder is killed with its parent, the first process with the holder, and the kernel kills all others
//! of a process namespace with the first one. So nothing is left, whichever of them is killed.
//!
//! COMMAND stays in the process group and session of its caller: the terminal sends Ctrl-C, Ctrl-Z and
//! changes of the window size to it directly. [`Running::serve`] passes on what other processes send.

pub mod attach;
pub(crate) mod channel;
mod codes;
mod covers;
mod files;
mod holder;
mod ids;
pub mod life;
mod refusal;
mod splice;
mod wanted;

pub use channel::ResolvConfWriter;
pub use codes::{CATALOG, COMMAND, DATAPATH, NAMESPACES};
pub use files::PrivateFiles;
pub use ids::write_maps;
pub use refusal::cause;
pub use splice::try_splice;
pub use wanted::{Command, Wanted, shell};

use crate::error::{Error, Kind, Result};
use adit_device::process::{Child, Received, SignalReader};
use channel::{Channel, Stage};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::Signal;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// The system calls for namespaces that are there: to start the command, pass signals on and wait.
pub const SYSCALLS: &[&str] =
    &["pidfd_send_signal", "ppoll", "read", "recvmsg", "sendmsg", "epoll_ctl", "wait4"];

/// New namespaces, held by a process that waits for [`Self::start`].
#[derive(Debug)]
pub struct Namespaces {
    holder: Child,
    channel: Channel,
    /// What could not be done and does not matter to most commands.
    pub warnings: Vec<String>,
}

impl Namespaces {
    /// Creates user, network, mount and process namespaces for a command. Interface `lo` is up there. This
    /// process stays where it is; it must have a single thread. `apart` holds descriptors that the processes in
    /// the namespaces must not have.
    ///
    /// # Errors
    /// [`NAMESPACES`]: this machine does not allow it, with the cause.
    pub fn create<T>(wanted: &Wanted, command: &Command, apart: &mut Vec<T>) -> Result<Self> {
        let failed = |error: io::Error| Error::io("start", "a process", &error);
        let (ours, theirs) = Channel::pair().map_err(failed)?;
        let parent = rustix::process::getpid();
        let holder = Child::fork(|| {
            // Of the copy: this process keeps its own.
            apart.clear();
            holder::hold(parent, &theirs, wanted, command)
        });
        drop(theirs);
        let mut new = Self { holder: holder.map_err(failed)?, channel: ours, warnings: Vec::new() };
        new.set_up(wanted).inspect_err(|_| new.end())?;
        Ok(new)
    }

    fn set_up(&mut self, wanted: &Wanted) -> Result<()> {
        self.expect(Stage::InUserNamespace)?;
        write_maps(self.holder.pid(), wanted.as_root)?;
        self.channel.go_on().map_err(|error| self.lost(&error))?;
        self.expect(Stage::Ready).map(drop)
    }

    /// The process that holds the namespaces, for [`attach::Target::Process`].
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.holder.pid()
    }

    /// Writes the command's private resolv.conf while it runs.
    ///
    /// # Errors
    /// EMFILE.
    pub fn resolv_conf(&self) -> Result<ResolvConfWriter> {
        ResolvConfWriter::new(&self.channel).map_err(|error| self.lost(&error))
    }

    /// Starts the command.
    ///
    /// # Errors
    /// [`COMMAND`]: it does not exist, or cannot be executed.
    pub fn start(mut self) -> Result<Running> {
        let started = self.channel.go_on().map_err(|error| self.lost(&error));
        let pidfd = started.and_then(|()| self.expect(Stage::Started));
        match pidfd {
            Ok(Some(command)) => Ok(Running { holder: self.holder, command }),
            Ok(None) => {
                self.end();
                Err(Error::new(Kind::Refused, &COMMAND, "cannot start the command"))
            }
            Err(error) => {
                self.end();
                Err(error)
            }
        }
    }

    /// Ends the holder, and with it the namespaces.
    pub fn end(&self) {
        // It may have ended by itself.
        let _ = self.holder.signal(Signal::KILL);
        let _ = self.holder.wait();
    }

    /// Waits until the holder has come to `stage`.
    fn expect(&mut self, stage: Stage) -> Result<Option<OwnedFd>> {
        loop {
            let message = self.channel.receive().map_err(|error| self.lost(&error))??;
            if let Some(warning) = message.warning {
                self.warnings.push(warning);
            } else if message.stage == Some(stage) {
                return Ok(message.fds.into_iter().next());
            }
        }
    }

    fn lost(&self, error: &io::Error) -> Error {
        let message = format!("the process that holds the namespaces has ended: {error}");
        Error::new(Kind::Refused, &NAMESPACES, message)
    }
}

/// A command that runs in namespaces of its own.
#[derive(Debug)]
pub struct Running {
    holder: Child,
    command: OwnedFd,
}

impl Running {
    /// The signals that [`Self::forward_all`] passes on, as a descriptor to read. Ctrl-Z and changes of the
    /// window are the terminal's affair.
    ///
    /// # Errors
    /// EMFILE.
    pub fn signals() -> io::Result<SignalReader> {
        SignalReader::new(&[
            Signal::HUP,
            Signal::INT,
            Signal::QUIT,
            Signal::TERM,
            Signal::USR1,
            Signal::USR2,
        ])
    }

    /// Passes the signals that came on to the command, but those that the terminal has sent to the command
    /// as well.
    pub fn forward_all(&self, signals: &SignalReader) {
        while let Some(Received { signal, is_from_kernel }) = signals.read() {
            if !is_from_kernel {
                // It may have ended.
                let _ = rustix::process::pidfd_send_signal(&self.command, signal);
            }
        }
    }

    /// Waits for the command, and passes signals on meanwhile; returns its status.
    ///
    /// # Errors
    /// Those of poll(2), which do not occur.
    pub fn serve(&self, signals: &SignalReader) -> io::Result<u8> {
        loop {
            let mut fds =
                [PollFd::new(&self.holder, PollFlags::IN), PollFd::new(signals, PollFlags::IN)];
            rustix::io::retry_on_intr(|| poll(&mut fds, None))?;
            if !fds[0].revents().is_empty() {
                return Ok(self.wait());
            }
            self.forward_all(signals);
        }
    }

    /// Whether the command has ended.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        holder::has_ended(self.holder.as_fd())
    }

    /// Kills the command, and everything that it has started.
    pub fn kill(&self) {
        // It may have ended.
        let _ = self.holder.signal(Signal::KILL);
    }

    /// Waits for the end of the command and of everything that it has started; returns its status as shells
    /// do: 128 + n after signal n.
    #[must_use]
    pub fn wait(&self) -> u8 {
        self.holder.wait().unwrap_or(u8::MAX)
    }
}

impl AsFd for Running {
    /// Readable when the command has ended.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.holder.as_fd()
    }
}
