//! In place of pasta: the namespace has the host's addresses, and the caller waits until they are there.

use super::addressing::{Addressing, Family, Resolved};
use super::background::{Caller, close_inherited, detach};
use super::inside::{INSIDE, address, default_route};
use super::ports::{self, Forward};
use super::server::Server;
use adit_device::{IfName, Mode};
use adit_runtime::Port;
use adit_runtime::port::kinds::device::DevicePort;
use adit_runtime::port::recorded::Recording;
use adit_service::error::{Error, Result};
use adit_service::namespace::attach::{Interface, Target, attach};
use adit_service::namespace::life::Life;
use adit_service::sandbox::Level;
use std::path::PathBuf;

/// The name of a device where the host has no interface to copy.
const DEVICE: &str = "tap0";

/// What the command line of pasta asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pasta {
    /// The namespace.
    pub target: Target,
    /// The end of the namespace does not end the program.
    pub stays: bool,
    /// The name of the device in it; `None` for that of the host's interface.
    pub device: Option<IfName>,
    /// The addresses inside.
    pub addressing: Addressing,
    /// Ports of the host that lead to the inside.
    pub forwards: Vec<Forward>,
    /// Where the id of the process is written.
    pub pid_file: Option<PathBuf>,
    /// Where packets are recorded.
    pub capture: Option<PathBuf>,
    /// The program stays in the foreground.
    pub foreground: bool,
    /// How much of the sandbox is needed.
    pub sandbox: Level,
}

impl Pasta {
    /// Returns when the network inside is there, and a copy of this process serves it from then on. In the
    /// foreground, runs until the namespace or a signal ends it.
    ///
    /// # Errors
    /// What failed before it was ready; the end of the device.
    pub fn run(&self) -> Result<()> {
        close_inherited();
        if self.foreground {
            self.serve(Caller::none())
        } else {
            detach(|caller| self.serve(caller))
        }
    }

    fn serve(&self, caller: Caller) -> Result<()> {
        let resolved = self.addressing.resolve()?;
        let engine = resolved.inside.engine()?;
        let follower = resolved.inside.follow(&engine, self.sandbox)?;
        let life = Life::of(&self.target)?;
        let device = attach(&self.target, &self.interface(&resolved)?)?;
        let mut port: Box<dyn Port> = Box::new(DevicePort::new(device)?);
        if let Some(path) = &self.capture {
            port = Recording::packets(path, port.name())?.of(port);
        }
        let mut server = Server::new(engine)?;
        server.attach(INSIDE, port)?;
        follower.map_or(Ok(()), |follower| server.follow(follower))?;
        if !self.stays {
            server.ends_with(life)?;
        }
        ports::open(&mut server, &self.forwards, &resolved.devices(), INSIDE)?;
        if let Some(path) = &self.pid_file {
            std::fs::write(path, format!("{}\n", std::process::id()))
                .map_err(|error| Error::io("write", path.display(), &error))?;
        }
        caller.leave()?;
        // What it lacks is not printed: callers take all output for warnings.
        let _lacking = Server::enter_sandbox(self.sandbox)?;
        caller.ready()?;
        server.run()
    }

    fn interface(&self, resolved: &Resolved) -> Result<Interface> {
        let default = IfName::new(DEVICE).map_err(Error::usage)?;
        let route = |family: &Family| default_route(family.is_v4, family.gateway);
        let addresses = resolved.families.iter().flat_map(|family| &family.addresses);
        Ok(Interface {
            name: self.device.or(resolved.interface).unwrap_or(default),
            mode: Mode::Tun,
            addresses: addresses.map(|&local| address(local)).collect(),
            routes: resolved.families.iter().map(route).collect(),
            mtu: Some(self.addressing.mtu.into()),
            mac: None,
        })
    }
}
