//! How a command is run.

use adit_service::error::Result;
use adit_service::event::Events;
use adit_service::namespace::{self, Command, Namespaces, PrivateFiles, Wanted};
use adit_service::nat::wanted::WantedNat;
use adit_service::netem::profile::Profiles;
use adit_service::sandbox::{self, Level, Needs};
use std::ffi::OsString;
use std::path::PathBuf;

/// The way out.
#[derive(Clone, Debug)]
pub enum Net {
    /// None: only `lo`.
    None,
    /// Everything, through sockets of this process.
    Nat(Box<WantedNat>),
    /// A WireGuard tunnel, and nothing past it.
    Tunnel(Box<WantedTunnel>),
}

/// The tunnel of a command.
#[derive(Clone, Debug)]
pub struct WantedTunnel {
    /// Its files, as of `adit tunnel up`.
    pub files: Vec<PathBuf>,
    /// Emulates the link between the command and the tunnel.
    pub netem: Option<Profiles>,
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
        if let Net::Tunnel(wanted) = &self.net {
            let files: Vec<String> =
                wanted.files.iter().map(|file| file.display().to_string()).collect();
            steps.push(format!("run the tunnel of {} there", files.join(", ")));
            steps.extend(wanted.netem.iter().map(|_| "emulate the link".to_owned()));
        }
        if let Net::Nat(wanted) = &self.net {
            steps.push(format!("create the device {} there, and run a NAT on it", wanted.device));
            steps.extend(wanted.publish.iter().map(|spec| format!("publish {spec}")));
            steps.extend(wanted.netem.iter().map(|_| "emulate the link".to_owned()));
            let capture = wanted.capture.iter();
            steps.extend(capture.map(|file| format!("record packets to {}", file.display())));
        }
        let words: Vec<String> =
            self.words().iter().map(|word| word.display().to_string()).collect();
        steps.push(format!("run {}", words.join(" ")));
        steps
    }

    /// Takes from this process what it needs no more. The command is not in the sandbox: its processes were
    /// started before.
    pub(super) fn enter_sandbox(&self, mut needs: Needs, events: &Events) -> Result<()> {
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

    pub(super) fn create(&self, files: PrivateFiles, events: &Events) -> Result<Namespaces> {
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
