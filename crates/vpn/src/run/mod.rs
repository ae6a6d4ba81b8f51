//! `adit run`: a command in namespaces of its own, and its only way out.
//!
//! ```text
//! host                                          namespaces of the command
//! adit: engine (NAT or tunnel) <-- queue --     TUN device, private resolv.conf
//!        |                                      COMMAND
//!      sockets of the host
//! ```
//!
//! The command has no other interface than `lo` and that device, so nothing can pass by the engine: if adit
//! ends, the network of the command ends.

use adit_service::error::{Error, Result};
use adit_service::event::Events;
use adit_service::namespace::{self, Command, Namespaces, PrivateFiles, Running, Wanted};
use adit_service::sandbox::{self, Level, Needs};
use std::ffi::OsString;

/// The way out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Net {
    /// None: only `lo`.
    None,
}

/// How a command is run.
#[derive(Clone, Debug)]
pub struct Options {
    /// The program and its arguments; empty: the user's shell.
    pub command: Vec<OsString>,
    /// The command is root in its namespaces.
    pub as_root: bool,
    /// The way out.
    pub net: Net,
    /// How much of the sandbox this process needs.
    pub sandbox: Level,
}

impl Options {
    /// What a start does, in order.
    #[must_use]
    pub fn steps(&self) -> Vec<String> {
        let mut steps = vec!["create user, network, mount and process namespaces".to_owned()];
        let words: Vec<String> =
            self.words().iter().map(|word| word.display().to_string()).collect();
        steps.push(format!("run {}", words.join(" ")));
        steps
    }

    /// Runs the command until it ends, and returns its status as shells do: 128 + n after signal n.
    ///
    /// # Errors
    /// What failed before the command ran; nothing is left then.
    pub fn run(&self, events: &Events) -> Result<u8> {
        match &self.net {
            Net::None => {
                let namespaces = self.create(PrivateFiles::default(), events)?;
                let failed = |error| Error::io("wait for", "the command", &error);
                let signals = Running::signals().map_err(failed)?;
                self.enter_sandbox(Needs::default(), events)?;
                namespaces.start()?.serve(&signals).map_err(failed)
            }
        }
    }

    /// Takes from this process what it needs no more. The command is not in the sandbox: its processes were
    /// started before.
    fn enter_sandbox(&self, mut needs: Needs, events: &Events) -> Result<()> {
        needs.syscalls.push(namespace::SYSCALLS);
        if let Some(note) = sandbox::enter(self.sandbox, &needs)? {
            events.note(format!("warning: {note}"));
        }
        Ok(())
    }

    fn words(&self) -> Vec<OsString> {
        if self.command.is_empty() {
            let shell = std::env::var_os("SHELL").filter(|shell| !shell.is_empty());
            return vec![shell.unwrap_or_else(|| "/bin/sh".into())];
        }
        self.command.clone()
    }

    fn create(&self, files: PrivateFiles, events: &Events) -> Result<Namespaces> {
        let wanted = Wanted { as_root: self.as_root, files };
        // So that a script can find out where it runs.
        let environment = vec![("ADIT_RUN".into(), "1".into())];
        let command = Command { words: self.words(), environment };
        let mut namespaces = Namespaces::create(&wanted, &command)?;
        for warning in namespaces.warnings.drain(..) {
            events.note(format!("warning: {warning}"));
        }
        Ok(namespaces)
    }
}
