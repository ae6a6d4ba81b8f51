//! Runs a NAT until it is stopped: what `adit nat attach` and `adit nat serve` share.

use crate::control::socket::ControlSocket;
use crate::error::{Error, Result};
use crate::event::Events;
use crate::metrics::ListenAddress;
use crate::namespace::life::Life;
use crate::nat::publish::Socket;
use crate::nat::resolvers::ServerFollower;
use crate::nat::wanted::WantedNat;
use crate::nat::{Inside, NatService, needs};
use crate::sandbox::{self, Level, Needs};
use crate::supervisor::Supervisor;
use adit_runtime::{PortSpec, Signals};
use std::path::PathBuf;

/// What a NAT is made of.
#[derive(Debug)]
pub struct Parts {
    /// The device or port.
    pub inside: Inside,
    /// Sockets of other programs that are published.
    pub sockets: Vec<Socket>,
    /// The end of the namespace.
    pub life: Option<Life>,
    /// Follows the host's name servers.
    pub follower: Option<ServerFollower>,
    /// What it needs in the sandbox, beside what every NAT needs.
    pub needs: Needs,
    /// The device or ports, for the message that it runs.
    pub ports: Vec<String>,
    /// What the ports are.
    pub specs: Vec<PortSpec>,
}

/// Runs it until it is stopped, or the inside ends.
///
/// # Errors
/// It cannot start; the inside has failed.
pub fn run_until_stopped(
    wanted: &WantedNat,
    parts: Parts,
    level: Level,
    events: &Events,
) -> Result<()> {
    let failed = |error: std::io::Error| Error::io("start", "the loop", &error);
    let Parts { inside, sockets, life, follower, needs: of_ports, ports, specs } = parts;
    let mut socket = ControlSocket::open(wanted.name.clone(), "nat")?;
    socket.set_metrics(wanted.metrics.map(ListenAddress::listen).transpose()?);
    socket.port_files().list(specs.iter());
    socket.note.iter().for_each(|note| events.note(note));
    let name = socket.name().to_string();
    let mut needs = needs();
    needs.readable.extend(of_ports.readable);
    needs.writable.extend(of_ports.writable);
    // Where a service manager listens.
    let notify = std::env::var_os("NOTIFY_SOCKET").map(PathBuf::from);
    needs.writable.extend(notify.and_then(|path| Some(path.parent()?.to_owned())));
    let (mut runner, nat) =
        NatService::start(name, wanted.clone(), inside, sockets, life, follower, events.clone())?;
    Signals::new().and_then(|signals| runner.watch_signals(signals)).map_err(failed)?;
    // Before the sandbox: it makes the timer of the watchdog.
    let mut supervisor = Supervisor::new(nat, socket, events.clone());
    if let Some(note) = sandbox::enter(level, &needs)? {
        events.note(format!("warning: {note}"));
    }
    supervisor.ready(ports);
    let result = supervisor.run(&mut runner);
    let failure = supervisor.finish().end(&mut runner);
    result.and(failure.map_or(Ok(()), Err))
}
