//! A NAT for a namespace that is there: `adit nat attach`.

use crate::control::socket::ControlSocket;
use crate::error::{Error, Kind, Result};
use crate::event::Events;
use crate::namespace::DATAPATH;
use crate::namespace::attach::{Attached, Target, attach_with_splice};
use crate::namespace::life::Life;
use crate::nat::wanted::{Datapath, WantedNat};
use crate::nat::{NatService, needs, take_sockets};
use crate::sandbox::{self, Level};
use crate::supervisor::Supervisor;
use adit_nat::SPLICE_TAG;
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
    actions.extend(wanted.splice_step());
    actions.extend(wanted.publish.iter().map(|spec| format!("publish {spec}")));
    actions
}

/// Makes the device of a NAT in a namespace, with what else the NAT needs there.
///
/// # Errors
/// As [`attach`](crate::namespace::attach::attach); the user asked for the splice datapath and it is not offered,
/// with the reason.
pub fn open(target: &Target, wanted: &WantedNat) -> Result<Attached> {
    let refused = |why: &str| {
        let message = format!("the splice datapath is not offered: {why}");
        Error::new(Kind::Refused, &DATAPATH, message)
            .object(target)
            .hint("Omit '--datapath splice': the packet datapath needs nothing of the namespace.")
    };
    let is_spliced = wanted.datapath == Datapath::Splice;
    if is_spliced && (wanted.netem.is_some() || wanted.capture.is_some()) {
        return Err(refused(
            "spliced connections are no packets, which could be emulated or recorded",
        ));
    }
    let splice = is_spliced.then_some(SPLICE_TAG);
    let attached = attach_with_splice(target, &wanted.interface(), splice)?;
    match &attached.splice {
        Some(Err(why)) => Err(refused(why)),
        _ => Ok(attached),
    }
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
    let attached = open(target, wanted)?;
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
        attached,
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
