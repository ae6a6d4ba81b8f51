//! The process from which this one takes over.

use crate::upgrade::channel::{Channel, Kind};
use crate::upgrade::{Hello, Passed};
use adit_service::error::{Error, Kind as ErrorKind, Result, SYSTEM};
use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;
use zeroize::Zeroizing;

/// How long the old process may take for the state: it may have a change of its host to finish.
const STATE_TIME_MAX: Duration = Duration::from_secs(60);

/// How long it may take to let this one run.
const GO_TIME_MAX: Duration = Duration::from_secs(5);

/// The old process.
pub struct Predecessor(Channel);

impl fmt::Debug for Predecessor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Predecessor").finish_non_exhaustive()
    }
}

/// Readable when the old process has ended.
impl AsFd for Predecessor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// All that the old process gave.
#[derive(Debug)]
pub struct Inheritance {
    /// What crosses besides the state of the engine.
    pub passed: Passed,
    /// The state of the engine.
    pub state: Zeroizing<Vec<u8>>,
    /// The descriptors, in the order of [`Passed`]; the device first.
    pub fds: std::vec::IntoIter<OwnedFd>,
}

impl Inheritance {
    /// The next descriptor.
    ///
    /// # Errors
    /// There is none.
    pub fn fd(&mut self) -> Result<OwnedFd> {
        self.fds.next().ok_or_else(|| failed("a descriptor is missing"))
    }
}

impl Predecessor {
    /// The process that started this one with [`OPTION`](crate::upgrade::successor::OPTION).
    ///
    /// # Errors
    /// Standard input is no socket.
    pub fn new() -> Result<Self> {
        let channel = Channel::from_stdin();
        channel.map(Self).map_err(|error| Error::io("use", "standard input", &error))
    }

    /// Reports that this process is prepared, and waits for the state.
    ///
    /// # Errors
    /// The old process continues by itself, or has ended.
    pub fn inherit(&self) -> Result<Inheritance> {
        let hello = serde_json::to_vec(&Hello::new())
            .map_err(|error| Error::io("write", "a message", &error.into()))?;
        self.0.send(Kind::Hello, &hello, &[]).map_err(|error| gone(&error))?;
        let passed = self.recv(Kind::State, STATE_TIME_MAX)?;
        let fds = passed.fds.into_iter();
        let passed = serde_json::from_slice(&passed.bytes)
            .map_err(|_| failed("the state has another format"))?;
        let state = self.recv(Kind::State, GO_TIME_MAX)?.bytes;
        adit_runtime::panics::failpoint("take-over");
        Ok(Inheritance { passed, state, fds })
    }

    /// Reports that everything is restored, and waits until the tunnel is this process's.
    ///
    /// # Errors
    /// The old process continues by itself, or has ended.
    pub fn ready(&self) -> Result<()> {
        self.0.send(Kind::Ready, &[], &[]).map_err(|error| gone(&error))?;
        self.recv(Kind::Go, GO_TIME_MAX).map(drop)
    }

    /// Reports that packets move from now on.
    ///
    /// # Errors
    /// The old process has ended.
    pub fn running(&self) -> Result<()> {
        self.0.send(Kind::Running, &[], &[]).map_err(|error| gone(&error))
    }

    /// Reports that clients find this process under the name.
    pub fn named(&self) {
        // The old process waits for it, and does not depend on it.
        let _ = self.0.send(Kind::Named, &[], &[]);
    }

    /// Reports why this process cannot take over.
    pub fn fail(&self, error: &Error) {
        // Its end shows the rest.
        let _ = self.0.send(Kind::Failed, error.report.message.as_bytes(), &[]);
    }

    fn recv(&self, kind: Kind, within: Duration) -> Result<super::channel::Message> {
        let message = self.0.recv(within).map_err(|error| gone(&error))?;
        if message.kind == kind { Ok(message) } else { Err(failed("an unexpected message")) }
    }
}

fn gone(error: &io::Error) -> Error {
    Error::io("take over from", "the running tunnel", error)
}

fn failed(why: &str) -> Error {
    Error::new(
        ErrorKind::Refused,
        &SYSTEM,
        format!("cannot take over from the running tunnel: {why}"),
    )
}
