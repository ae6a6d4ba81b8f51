//! A command whose way out is a NAT.

use super::options::Options;
use crate::attach::open;
use adit_service::error::{Error, Result};
use adit_service::event::Events;
use adit_service::namespace::attach::Target;
use adit_service::namespace::{Namespaces, Running};
use adit_service::nat::resolvers::ServerFollower;
use adit_service::nat::wanted::WantedNat;
use adit_service::nat::{NatService, Socket, needs, take_sockets};
use adit_service::supervisor::Supervisor;
use adit_service::supervisor::guest::Guest;

/// The status of a command that was killed, because the NAT was stopped.
const KILLED: u8 = 128 + 9;

pub(super) fn run(options: &Options, wanted: &WantedNat, events: &Events) -> Result<u8> {
    let mut sockets = take_sockets(&wanted.publish)?;
    let mut follower = wanted.follow(options.sandbox)?;
    let namespaces = options.create(wanted.files(), &mut sockets, events)?;
    if let (Some(follower), Some(server)) = (&mut follower, wanted.inside.name_servers().next()) {
        follower.rewrites(namespaces.resolv_conf()?, server);
    }
    // Until the command runs, the namespaces end with this process or here.
    serve(options, wanted, namespaces, (sockets, follower), events)
}

fn serve(
    options: &Options,
    wanted: &WantedNat,
    namespaces: Namespaces,
    (sockets, follower): (Vec<Socket>, Option<ServerFollower>),
    events: &Events,
) -> Result<u8> {
    let attached = open(&Target::Process(namespaces.pid()), wanted)?;
    let socket = options.control_socket(wanted.name.as_ref(), "nat", wanted.metrics, events)?;
    let name = socket.name().to_string();
    let (mut runner, nat) =
        NatService::start(name, wanted.clone(), attached, sockets, None, follower, events.clone())?;
    let failed = |error| Error::io("wait for", "the command", &error);
    let signals = Running::signals().map_err(failed)?;
    // Before the sandbox: it makes the timer of the watchdog.
    let mut supervisor = Supervisor::new(Guest::new(nat), socket, events.clone());
    options.enter_sandbox(needs(), events)?;
    supervisor.service.start(&runner, namespaces, signals)?;
    let result = supervisor.run(&mut runner);
    let (nat, status) = supervisor.finish().end();
    let failure = nat.end(&mut runner);
    result?;
    match (status, failure) {
        (Some(status), _) => Ok(status),
        (None, Some(failure)) => Err(failure),
        (None, None) => Ok(KILLED),
    }
}
