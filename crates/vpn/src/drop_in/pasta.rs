//! In place of pasta: the namespace has the host's addresses, and the caller waits until they are there.

use super::addressing::{Addressing, Family, Resolved};
use super::background::{Caller, close_inherited, detach, write_pid};
use super::guests::GuestOptions;
use super::inside::{INSIDE, address, default_route};
use super::ports::{Forward, flows, outward};
use super::server::Server;
use adit_device::{IfName, MacAddr, Mode};
use adit_engine::Transport;
use adit_runtime::Port;
use adit_runtime::port::kinds::device::DevicePort;
use adit_runtime::port::recorded::Recording;
use adit_service::error::{Error, Result};
use adit_service::namespace::attach::{Attached, Extra, Interface, Target, attach_with};
use adit_service::namespace::life::Life;
use adit_service::namespace::{Command, Namespaces, PrivateFiles, Running, Wanted, shell};
use adit_service::sandbox::Level;
use std::ffi::OsString;
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

/// The name of a device where the host has no interface to copy.
const DEVICE: &str = "tap0";

/// What the command line of pasta asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pasta {
    /// The namespace.
    pub place: Place,
    /// The end of the namespace does not end the program.
    pub stays: bool,
    /// The name of the device in it; `None` for that of the host's interface.
    pub device: Option<IfName>,
    /// Its hardware address.
    pub mac: Option<MacAddr>,
    /// Addresses, routes and MTU are set; otherwise they are offered by DHCP and router advertisements.
    pub configures: bool,
    /// The addresses inside.
    pub addressing: Addressing,
    /// What is offered beside them.
    pub guest: GuestOptions,
    /// Ports of the host that lead to the inside.
    pub forwards: Vec<Forward>,
    /// The ports that listen inside are reached at these addresses of the host; `None` for all of them.
    pub follows: Vec<(Transport, Option<IpAddr>)>,
    /// Ports of the namespace that lead to the host's loopback.
    pub outward: Vec<Forward>,
    /// Where the id of the process is written.
    pub pid_file: Option<PathBuf>,
    /// Where packets are recorded.
    pub capture: Option<PathBuf>,
    /// The program stays in the foreground.
    pub foreground: bool,
    /// How much of the sandbox is needed.
    pub sandbox: Level,
}

/// The namespace that pasta serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// One that is there.
    There(Target),
    /// A new one, for a command; without words the user's shell.
    Command(Vec<OsString>),
}

impl Pasta {
    /// Returns when the network inside is there, and a copy of this process serves it from then on. In the
    /// foreground, runs until the namespace or a signal ends it; for a command until that ends. Returns the status:
    /// that of the command, as shells have it, or 0.
    ///
    /// # Errors
    /// What failed before it was ready; the end of the device.
    pub fn run(&self) -> Result<u8> {
        close_inherited();
        let served = match &self.place {
            Place::Command(words) => return self.run_command(words),
            Place::There(target) if self.foreground => self.serve(target, Caller::none()),
            Place::There(target) => detach(|caller| self.serve(target, caller)),
        };
        served.map(|()| 0)
    }

    fn serve(&self, target: &Target, caller: Caller) -> Result<()> {
        let life = Life::of(target)?;
        let mut server = self.start(target)?;
        if !self.stays {
            server.ends_with(life)?;
        }
        caller.leave()?;
        // What it lacks is not printed: callers take all output for warnings.
        let _lacking = Server::enter_sandbox(self.sandbox, Vec::new())?;
        caller.ready()?;
        server.run()
    }

    /// As root of the new namespaces, as pasta has it.
    fn run_command(&self, words: &[OsString]) -> Result<u8> {
        let words = if words.is_empty() { vec![shell()] } else { words.to_vec() };
        let wanted = Wanted { as_root: true, files: PrivateFiles::default() };
        let command = Command { words, environment: Vec::new() };
        let namespaces = Namespaces::create(&wanted, &command, &mut Vec::<OwnedFd>::new())?;
        let mut server = self.start(&Target::Process(namespaces.pid()))?;
        let failed = |error| Error::io("wait for", "the command", &error);
        let signals = Running::signals().map_err(failed)?;
        let _lacking = Server::enter_sandbox(self.sandbox, Vec::new())?;
        server.runs(namespaces.start()?, signals)?;
        server.run_for_command()
    }

    /// Everything that is served, in a namespace.
    fn start(&self, target: &Target) -> Result<Server> {
        let mut resolved = self.addressing.resolve()?;
        resolved.inside.ports = flows(&self.forwards);
        let guests = resolved.guests(&self.guest);
        let mut engine = resolved.inside.engine()?;
        engine.add_guests(INSIDE, guests).map_err(Error::usage)?;
        let follower = resolved.inside.follow(&engine, self.sandbox)?;
        let outward = outward(&self.outward, &resolved.families)?;
        let wanted: Vec<_> = outward.iter().map(|&(transport, at, _)| (transport, at)).collect();
        let extra = Extra { sockets: &wanted, ..Extra::default() };
        let Attached { device, sockets, listeners, .. } =
            attach_with(target, &self.interface(&resolved)?, extra)?;
        let mut port: Box<dyn Port> = Box::new(DevicePort::new(device)?);
        if let Some(path) = &self.capture {
            port = Recording::frames(path, port.name())?.of(port);
        }
        let mut server = Server::new(engine)?;
        server.set_outbound(&self.addressing.outbound)?;
        server.attach(INSIDE, port)?;
        follower.map_or(Ok(()), |follower| server.follow(follower))?;
        server.open(&self.forwards, &resolved.devices())?;
        server.relay(sockets.into_iter().zip(outward))?;
        if !self.follows.is_empty() {
            server.publish_listeners(listeners, &self.follows, &resolved.devices())?;
        }
        self.pid_file.as_deref().map_or(Ok(()), write_pid)?;
        Ok(server)
    }

    fn interface(&self, resolved: &Resolved) -> Result<Interface> {
        let default = IfName::new(DEVICE).map_err(Error::usage)?;
        let name = self.device.or(resolved.interface).unwrap_or(default);
        let bare = Interface {
            name,
            mode: Mode::Tap,
            addresses: Vec::new(),
            routes: Vec::new(),
            mtu: None,
            mac: self.mac,
        };
        if !self.configures {
            return Ok(bare);
        }
        let route = |family: &Family| default_route(family.is_v4, family.gateway);
        let addresses = resolved.families.iter().flat_map(|family| &family.addresses);
        Ok(Interface {
            addresses: addresses.map(|&local| address(local)).collect(),
            routes: resolved.families.iter().map(route).collect(),
            mtu: Some(self.addressing.mtu.into()),
            ..bare
        })
    }
}
