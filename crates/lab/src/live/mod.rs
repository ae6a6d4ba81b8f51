//! A lab that runs: in real time, with namespaces of the kernel and programs in them.
//!
//! ```text
//! service      the lab as a service: reports of the keeper, requests         requests  what their bodies say
//! diff         what differs between two plans      change    carries that out: a start is a change from nothing
//! complete     what programs do: tunnels, routing daemons, the packet filter
//! wiring       links: ports of the loop, switches, emulation                 kernel    counters of plain links
//! faults       which links and nodes were made to fail                       captures  of links, into pipes
//! nodes        hosts and what else there is        programs  which run, in which order       log     their output
//! outlet       the way out of a NAT                guest     virtual machines                prepared   opened beside the loop
//! tasks        orders that belong together         journal   events             metrics    what it counts
//! confine      the sandbox of the loop, and its helper
//! ```

mod captures;
mod change;
mod complete;
mod confine;
mod diff;
mod faults;
pub(crate) mod guest;
mod journal;
mod kernel;
mod log;
mod metrics;
mod nodes;
mod outlet;
mod prepared;
mod programs;
mod requests;
mod routes;
mod service;
mod taps;
mod tasks;
mod wiring;

pub use confine::needs;
pub use journal::DEGRADED;
pub use requests::LabFile;
pub use routes::ROUTES;

use crate::clean;
use crate::engine::LabEngine;
use crate::keeper::Keeper;
use crate::limits::{Machine, Needs};
use adit_packet::{Pool, PoolConfig};
use adit_runtime::{Runner, Signals};
use adit_service::confine as sandbox;
use adit_service::control::name::Name;
use adit_service::control::name::PLACE;
use adit_service::control::socket::ControlSocket;
use adit_service::error::{Error, Kind, Result};
use adit_service::event::Events;
use adit_service::metrics::ListenAddress;
use adit_service::sandbox::{Level, Sandbox};
use adit_service::supervisor::Supervisor;
use adit_topology::plan::Plan;
use adit_topology::routing;
use diff::Diff;
use guest::Sockets;
use journal::Journal;
use nodes::Nodes;
use prepared::Prepared;
use programs::Programs;
use service::LabService;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use tasks::Tasks;
use wiring::Wiring;

/// The kind of a lab among running programs.
pub const LAB: &str = "lab";

/// How a lab runs.
#[derive(Debug, Default)]
pub struct Options {
    /// The file that is read again on a reload.
    pub file: Option<LabFile>,
    /// Its name for control requests; `None`: that of the plan, or `lab`.
    pub name: Option<Name>,
    /// Where metrics are read by TCP.
    pub metrics: Option<ListenAddress>,
    /// A pipe or socket: the lab ends when it is closed.
    pub life: Option<OwnedFd>,
    /// How much of the sandbox is needed.
    pub sandbox: Level,
}

/// Runs a lab until it is stopped; [`Event::Ready`](adit_service::event::Event::Ready) says that all of it is there.
/// This process must have a single thread; it may enter a user namespace, and gives its rights up for good, as the level of
/// the sandbox says.
///
/// # Errors
/// It cannot start, or has lost its keeper; nothing is left behind then.
pub fn run(plan: Plan, options: Options, events: Events) -> Result<()> {
    let Options { file, name, metrics, life, sandbox } = options;
    Machine::read().check(Needs::of(&plan))?;
    let mut socket = ControlSocket::open(name.or_else(|| plan.lab.name.clone()), LAB)?;
    if let (None, Some(note)) = (socket.path(), &socket.note) {
        return Err(Error::new(Kind::Refused, &PLACE, format!("{note}; a lab needs one")));
    }
    socket.note.iter().for_each(|note| events.note(note));
    socket.set_metrics(metrics.map(ListenAddress::listen).transpose()?);
    let keeper = Keeper::start()?;
    // In the user namespace of the keeper.
    let sandbox = Sandbox::prepare(sandbox, confine::policy(file.clone(), folder_of(&socket)))?;
    // After the keeper was started: it has signals of its own.
    let signals = Signals::new().map_err(|error| Error::io("read", "signals", &error))?;
    serve(plan, (keeper, socket), (file, life), (Some(signals), sandbox), events)
}

/// Runs a lab on this thread until `life` is closed; the process may have others, and must have the capabilities for a
/// lab. It has no sandbox: the rights that it would give up are those of the whole process.
///
/// # Errors
/// As [`run`].
pub(crate) fn run_in_thread(
    plan: Plan,
    socket: ControlSocket,
    life: OwnedFd,
    events: Events,
) -> Result<()> {
    Machine::read().check(Needs::of(&plan))?;
    let keeper = Keeper::start_in_thread()?;
    serve(plan, (keeper, socket), (None, Some(life)), (None, Sandbox::off()), events)
}

/// Where the sockets of the lab are.
fn folder_of(socket: &ControlSocket) -> PathBuf {
    let path = socket.path().unwrap_or_default();
    path.parent().map(Path::to_owned).unwrap_or_default()
}

fn serve(
    mut plan: Plan,
    (keeper, socket): (Keeper, ControlSocket),
    (file, life): (Option<LabFile>, Option<OwnedFd>),
    (signals, sandbox): (Option<Signals>, Sandbox),
    events: Events,
) -> Result<()> {
    complete::complete(&mut plan);
    let failed = |error: std::io::Error| Error::io("start", "the loop", &error);
    if !keeper.is_rootless() {
        clean();
    }
    routing::check(&plan, keeper.lacks_ids().is_none())?;
    let guests = Sockets::beside(&socket.path().unwrap_or_default(), socket.port_files());
    let guard = guests.guard();
    let prepared = Prepared::open(&plan, None, &Diff::between(None, &plan), guests.clone())?;
    let mut runner =
        Runner::new(LabEngine::new(), Pool::new(PoolConfig::default())).map_err(failed)?;
    // A change needs them.
    let _ = (complete::adit(), guest::has_kvm());
    let needs = needs(&sandbox, &plan, folder_of(&socket));
    if let Some(signals) = signals {
        runner.watch_signals(signals).map_err(failed)?;
    }
    events.configure_log(plan.lab.log.as_ref());
    keeper.lacks_ids().iter().for_each(|why| events.detail(why));
    let mut service = LabService {
        name: socket.name().to_string(),
        socket: socket.path(),
        guests,
        file,
        life,
        journal: Journal::new(events.clone(), runner.now()),
        plan,
        keeper,
        is_blocked: false,
        tasks: Tasks::default(),
        nodes: Nodes::default(),
        wiring: Wiring::default(),
        taps: taps::Taps::new(),
        captures: captures::Captures::default(),
        faults: faults::Faults::default(),
        programs: Programs::here(),
        replies: Vec::new(),
        is_ready: false,
        failure: None,
    };
    sandbox::give_up(&sandbox, &needs, &events)?;
    service.start(&mut runner, prepared)?;
    let mut supervisor = Supervisor::new(service, socket, events.clone());
    sandbox::restrict_calls(&sandbox, &needs, &events)?;
    let result = supervisor.run(&mut runner);
    events.flush();
    let (mut service, socket) = supervisor.into_parts();
    let failure = service.failure.take();
    // The namespaces end first: a device that is closed alone takes 20 ms.
    let is_rootless = service.keeper.is_rootless();
    drop(service);
    if !is_rootless {
        confine::clean_names();
    }
    drop(runner);
    drop(guard);
    socket.finish();
    result.and(failure.map_or(Ok(()), Err))
}
