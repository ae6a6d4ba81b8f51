//! A NAT for a namespace that is there: `adit nat attach`.

use crate::error::Result;
use crate::event::Events;
use crate::namespace::attach::{Target, attach_with_listeners};
use crate::namespace::life::Life;
use crate::nat::run::{Parts, run_until_stopped};
use crate::nat::take_sockets;
use crate::nat::wanted::WantedNat;
use crate::sandbox::{Level, Needs};

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
    let sockets = take_sockets(&wanted.publish)?;
    let life = Life::of(target)?;
    let follower = wanted.follow(level)?;
    let inside = attach_with_listeners(target, &wanted.interface())?.into();
    let ports = vec![format!("{} in {target}", wanted.device)];
    let (life, needs) = (Some(life), Needs::default());
    let parts = Parts { inside, sockets, life, follower, needs, ports };
    run_until_stopped(wanted, parts, level, events)
}
