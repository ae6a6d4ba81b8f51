//! How a command is run.

use adit_nat::dns::Name as HostName;
use adit_service::control::name::Name;
use adit_service::control::socket::ControlSocket;
use adit_service::error::{Error, Result};
use adit_service::event::Events;
use adit_service::metrics::ListenAddress;
use adit_service::namespace::{self, Command, Namespaces, PrivateFiles, Wanted};
use adit_service::nat::wanted::WantedNat;
use adit_service::netem::profile::Profiles;
use adit_service::sandbox::{self, Level, Needs};
use std::ffi::OsString;
use std::net::IpAddr;
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
    /// Records the packets of the command.
    pub capture: Option<PathBuf>,
    /// How it is called.
    pub name: Option<Name>,
    /// Where metrics are read by TCP.
    pub metrics: Option<ListenAddress>,
    /// Names of hosts that the command knows, as in `/etc/hosts`.
    pub names: Vec<(HostName, IpAddr)>,
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

/// What a run needs in its sandbox, beside what its way out needs.
#[must_use]
pub fn needs(mut of_way_out: Needs) -> Needs {
    of_way_out.syscalls.push(namespace::SYSCALLS);
    of_way_out
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
            let capture = wanted.capture.iter();
            steps.extend(capture.map(|file| format!("record packets to {}", file.display())));
        }
        if let Net::Nat(wanted) = &self.net {
            steps.push(format!("create the device {} there, and run a NAT on it", wanted.device));
            steps.extend(wanted.splice_step());
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
    pub(super) fn enter_sandbox(&self, of_way_out: Needs, events: &Events) -> Result<()> {
        if let Some(note) = sandbox::enter(self.sandbox, &needs(of_way_out))? {
            events.note(format!("warning: {note}"));
        }
        Ok(())
    }

    /// The control socket of a run. Without a name that was asked for, it goes without one where none can be created.
    pub(super) fn control_socket(
        &self,
        name: Option<&Name>,
        kind: &'static str,
        metrics: Option<ListenAddress>,
        events: &Events,
    ) -> Result<ControlSocket> {
        let mut socket = match name {
            Some(name) => ControlSocket::open(Some(name.clone()), kind)?,
            None => {
                let name = format!("run-{}", std::process::id()).parse().map_err(Error::usage)?;
                ControlSocket::open_if_possible(name, kind)
            }
        };
        socket.note.iter().for_each(|note| events.detail(note));
        socket.set_metrics(metrics.map(ListenAddress::listen).transpose()?);
        Ok(socket)
    }

    fn words(&self) -> Vec<OsString> {
        if self.command.is_empty() {
            return vec![namespace::shell()];
        }
        self.command.clone()
    }

    /// The namespaces of the command; its processes do not have the descriptors in `apart`.
    pub(super) fn create<T>(
        &self,
        files: PrivateFiles,
        apart: &mut Vec<T>,
        events: &Events,
    ) -> Result<Namespaces> {
        let wanted = Wanted { as_root: self.as_root, files };
        // So that a script can find out where it runs.
        let environment = vec![("ADIT_RUN".into(), "1".into())];
        let command = Command { words: self.words(), environment };
        let mut namespaces = Namespaces::create(&wanted, &command, apart)?;
        for warning in namespaces.warnings.drain(..) {
            events.note(format!("warning: {warning}"));
        }
        Ok(namespaces)
    }
}
