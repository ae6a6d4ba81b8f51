//! A NAT for a namespace that is there: `adit nat attach`.

use crate::control::socket::ControlSocket;
use crate::error::{Error, Result};
use crate::event::Events;
use crate::namespace::attach::{Target, attach_with_listeners};
use crate::namespace::life::Life;
use crate::nat::wanted::WantedNat;
use crate::nat::{NatService, needs, take_sockets};
use crate::sandbox::{self, Level};
use crate::supervisor::Supervisor;
use adit_runtime::Signals;
use std::path::PathBuf;

/// What a start would do, for `--dry-run`.
#[must_use]
pub fn actions(target: &Target, wanted: &WantedNat) -> Vec<String> {
    let device = wanted.device;
    let mut actions = vec![
        format!("enter network namespace '{target}' with a process"),
        format!("create the device {device} there, with addresses and default routes"),
        format!("run a NAT on {device}"),
    ];
    actions.extend(wanted.publish.iter().map(|spec| format!("publish {spec}")));
    actions
}

/// Runs a NAT on a device in a namespace, until it is stopped or the namespace ends.
///
/// # Errors
/// The namespace cannot be entered, it has a device or a default route of its own; nothing is left then.
pub fn run(target: &Target, wanted: &WantedNat, level: Level, events: &Events) -> Result<()> {
    let failed = |error: std::io::Error| Error::io("start", "the loop", &error);
    let sockets = take_sockets(&wanted.publish)?;
    let life = Life::of(target)?;
    let follower = wanted.follow(level)?;
    let device = attach_with_listeners(target, &wanted.interface())?;
    let socket = ControlSocket::open(wanted.name.clone(), "nat")?;
    socket.note.iter().for_each(|note| events.note(note));
    let name = socket.name().to_string();
    let mut needs = needs();
    // Where a service manager listens.
    let notify = std::env::var_os("NOTIFY_SOCKET").map(PathBuf::from);
    needs.writable.extend(notify.and_then(|path| Some(path.parent()?.to_owned())));
    let (mut runner, nat) = NatService::start(
        name,
        wanted.clone(),
        device,
        sockets,
        Some(life),
        follower,
        events.clone(),
    )?;
    Signals::new().and_then(|signals| runner.watch_signals(signals)).map_err(failed)?;
    if let Some(note) = sandbox::enter(level, &needs)? {
        events.note(format!("warning: {note}"));
    }
    let mut supervisor = Supervisor::new(nat, socket, events.clone());
    supervisor.ready(vec![format!("{} in {target}", wanted.device)]);
    let result = supervisor.run(&mut runner);
    let failure = supervisor.finish().end(&mut runner);
    result.and(failure.map_or(Ok(()), Err))
}
