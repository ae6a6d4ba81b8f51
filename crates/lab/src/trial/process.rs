//! A lab in a process of its own.

use super::ask::ask;
use crate::keeper::PART;
use crate::live::LAB;
use adit_service::control::client::Client;
use adit_service::control::name::Name;
use adit_service::error::{Error, Kind, Result};
use adit_topology::report::{Lab, State};
use std::ffi::OsString;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How often the state of the lab is asked for.
const LOOK: Duration = Duration::from_millis(20);
/// How long it may take to end.
const DOWN_WITHIN: Duration = Duration::from_secs(30);

/// A lab in a process of its own, which ends with this.
#[derive(Debug)]
pub struct Process {
    name: Name,
    child: Child,
}

impl Process {
    /// Starts `adit lab up` with these arguments: the program in `program`.
    ///
    /// # Errors
    /// The program cannot be executed.
    pub fn start(program: &Path, arguments: &[OsString], name: &Name) -> Result<Self> {
        let mut command = Command::new(program);
        let up = ["--quiet", "lab", "up", "--while-stdin", "--name", name.as_str()];
        // Its standard input is a pipe of ours, so a kill of this process ends it too.
        command.args(up).args(arguments).stdin(Stdio::piped()).stdout(Stdio::null());
        let child = command.spawn();
        let child = child.map_err(|error| Error::io("start", program.display(), &error))?;
        Ok(Self { name: name.clone(), child })
    }

    /// Waits until all of it is there, and returns what is not as wanted.
    ///
    /// # Errors
    /// It has ended, after it printed why; it is not ready in time.
    pub fn wait(&mut self, within: Duration) -> Result<Vec<String>> {
        let end = Instant::now() + within;
        loop {
            if let Ok(Some(_)) = self.child.try_wait() {
                return Err(Error::new(
                    Kind::Refused,
                    &PART,
                    format_args!("the lab '{}' has ended: it printed why", self.name),
                ));
            }
            let lab = Client::find(Some(self.name.clone()), LAB)
                .and_then(|client| ask::<Lab>(&client, "/lab"));
            match lab {
                Ok(Lab { state: State::Ready, .. }) => return Ok(Vec::new()),
                Ok(Lab { state: State::Degraded, problems, .. }) => return Ok(problems),
                Ok(_) | Err(_) if Instant::now() < end => sleep(LOOK),
                Ok(_) => {
                    return Err(Error::new(
                        Kind::Timeout,
                        &PART,
                        format_args!("the lab '{}' is not ready", self.name),
                    )
                    .hint("Give it more time with --ready, or see why with 'adit lab show'."));
                }
                Err(error) => return Err(error),
            }
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let end = Instant::now() + DOWN_WITHIN;
        while Instant::now() < end && matches!(self.child.try_wait(), Ok(None)) {
            sleep(LOOK / 4);
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
