//! A NAT for a namespace that is there: `adit nat attach`.

use adit_device::Mode;
use adit_nat::SPLICE_TAG;
use adit_service::error::{Error, Kind, Result};
use adit_service::event::Events;
use adit_service::namespace::DATAPATH;
use adit_service::namespace::attach::{Attached, Extra, Target, attach_with};
use adit_service::namespace::life::Life;
use adit_service::nat::run::{Parts, run_until_stopped};
use adit_service::nat::take_sockets;
use adit_service::nat::wanted::{Datapath, WantedNat};
use adit_service::sandbox::{Level, Needs};

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
/// As [`attach`](adit_service::namespace::attach::attach); the user asked for the splice datapath and it is not offered,
/// with the reason.
pub fn open(target: &Target, wanted: &WantedNat) -> Result<Attached> {
    let refused = |why: &str| {
        let message = format!("the splice datapath is not offered: {why}");
        Error::new(Kind::Refused, &DATAPATH, message)
            .object(target)
            .hint("Omit '--datapath splice': the packet datapath needs nothing of the namespace.")
    };
    let is_spliced = wanted.datapath == Datapath::Splice;
    let is_packets = wanted.netem.is_some() || wanted.capture.is_some();
    if is_spliced && (is_packets || wanted.access.source_rate.is_some()) {
        let why =
            "spliced connections are no packets, which could be emulated, limited or recorded";
        return Err(refused(why));
    }
    if is_spliced && wanted.mode == Mode::Tap {
        return Err(refused("it is for the packets of a TUN device"));
    }
    let extra = Extra { splice: is_spliced.then_some(SPLICE_TAG), ..Extra::default() };
    let attached = attach_with(target, &wanted.interface(), extra)?;
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
    let sockets = take_sockets(&wanted.publish)?;
    let life = Life::of(target)?;
    let follower = wanted.follow(level)?;
    let inside = open(target, wanted)?.into();
    let ports = vec![format!("{} in {target}", wanted.device)];
    let (life, needs) = (Some(life), Needs::default());
    let parts = Parts { inside, sockets, life, follower, needs, ports, specs: Vec::new() };
    run_until_stopped(wanted, parts, level, events)
}
