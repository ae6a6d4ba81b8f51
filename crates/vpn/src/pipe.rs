//! A pipe to the peer in place of datagrams: our standard streams, or those of a program.

use crate::file::config::Hook;
use adit_runtime::Port;
use adit_runtime::port::messages::MessagePort;
use adit_service::error::{Error, Result};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};

/// How long a program may take to exit after it closed its pipe: ssh(1) takes milliseconds.
const EXIT_TIME_MAX: Duration = Duration::from_secs(10);

/// How often to check whether it has exited.
const POLL: Duration = Duration::from_millis(5);

/// A pipe to the peer, if there is one.
#[derive(Clone, Debug, Default)]
pub enum Pipe {
    /// None: datagrams and TCP.
    #[default]
    None,
    /// Standard input and output.
    Stdio,
    /// Those of a program, which is started for that.
    Program(Hook),
}

/// An open pipe.
#[derive(Debug)]
pub struct OpenPipe {
    /// The messages that it carries.
    pub port: Box<dyn Port>,
    /// The program at its other end, if we started it.
    pub program: Option<Program>,
}

/// A running program.
#[derive(Debug)]
pub struct Program {
    name: String,
    child: Child,
}

impl Pipe {
    /// Opens the pipe and starts its program.
    ///
    /// # Errors
    /// The program does not exist, or cannot be run; EMFILE.
    pub fn open(&self) -> Result<Option<OpenPipe>> {
        match self {
            Self::None => Ok(None),
            Self::Stdio => {
                let opened = || -> io::Result<OpenPipe> {
                    let reader = io::stdin().as_fd().try_clone_to_owned()?;
                    let writer = io::stdout().as_fd().try_clone_to_owned()?;
                    let port = Box::new(MessagePort::pair("stdio", reader, writer)?);
                    Ok(OpenPipe { port, program: None })
                };
                let opened = opened();
                opened.map(Some).map_err(|error| Error::io("use", "standard input", &error))
            }
            Self::Program(program) => {
                let name = program.0.first().cloned().unwrap_or_default();
                let started = || -> io::Result<OpenPipe> {
                    let (ours, theirs) = UnixStream::pair()?;
                    let input = OwnedFd::from(theirs.try_clone()?);
                    let mut command = Command::new(&name);
                    command.args(program.0.get(1..).unwrap_or_default());
                    // In our process group, unlike other helpers: ssh asks for passwords on the terminal.
                    let child = command.stdin(input).stdout(OwnedFd::from(theirs)).spawn()?;
                    let port = Box::new(MessagePort::socket(format!("exec:{name}"), ours.into())?);
                    Ok(OpenPipe { port, program: Some(Program { name: name.clone(), child }) })
                };
                started().map(Some).map_err(|error| Error::io("start", &name, &error))
            }
        }
    }
}

impl Program {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Waits until it exits, at most 10 s; kills it then. Our end of the pipe must be closed.
    ///
    /// # Errors
    /// ECHILD.
    pub fn wait(mut self) -> io::Result<ExitStatus> {
        let start = Instant::now();
        while start.elapsed() < EXIT_TIME_MAX {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            std::thread::sleep(POLL);
        }
        // ESRCH: it has just exited.
        let _ = self.child.kill();
        self.child.wait()
    }
}
