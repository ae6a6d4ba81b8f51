//! The switch as a service.

mod accelerate;
mod api;
mod bodies;
pub mod changes;
pub mod codes;
pub mod health;
pub mod keys;
mod metrics;
pub mod mirror;
mod mirrors;
pub mod model;
mod news;
pub mod plan;
pub mod port;
mod ports;
mod reload;
pub mod save;
mod state;
mod unsaved;
pub mod wanted;

pub use api::ROUTES;

use crate::confine;
use crate::control::http::{Method, Request};
use crate::control::route::Route;
use crate::control::socket::ControlSocket;
use crate::error::{Error, Result};
use crate::event::Events;
use crate::helper::Policy;
use crate::metrics::{ListenAddress, Snapshot};
use crate::sandbox::{CapabilitySet, Sandbox};
use crate::supervisor::{Answer, Hangup, Job, Progress, Service, Supervisor, TICK, Trigger, seed};
use crate::switch::state::{Numbers, SwitchService};
use crate::switch::wanted::WantedSwitch;
use adit_engine::switch::{Accelerate, Switch, SwitchConfig};
use adit_packet::{Pool, PoolConfig};
use adit_runtime::{Event as LoopEvent, Next};
use adit_runtime::{Runner, Signals};
use plan::Plan;
use std::collections::BTreeSet;

/// What the helper of a switch allows.
#[must_use]
pub fn policy(plan: &Plan) -> Policy {
    let again = plan.clone();
    confine::policy(move || again.read())
}

/// Runs a switch until it is stopped. `sandbox` was prepared before the first thread of the process.
///
/// # Errors
/// It cannot start; nothing is left behind then.
pub fn run(plan: Plan, wanted: WantedSwitch, sandbox: &Sandbox, events: Events) -> Result<()> {
    events.configure_log(wanted.log.as_ref());
    let mut socket = ControlSocket::open(wanted.name.clone(), "switch")?;
    confine::share_name(sandbox, &socket);
    socket.set_metrics(wanted.metrics.map(ListenAddress::listen).transpose()?);
    let warnings = plan::warnings(&wanted).into_iter().map(|text| format!("warning: {text}"));
    let notes: Vec<String> = socket.note.iter().cloned().chain(warnings).collect();
    let hangup = Hangup::new(plan.config.is_some());
    let config = SwitchConfig { seed: seed()?, ..wanted.switch.clone() };
    let engine = Switch::new(config).map_err(Error::usage)?;
    let failed = |error: std::io::Error| Error::io("start", "the loop", &error);
    let mut runner = Runner::new(engine, Pool::new(PoolConfig::default())).map_err(failed)?;
    Signals::new().and_then(|signals| runner.watch_signals(signals)).map_err(failed)?;
    runner.accelerate(true);
    runner.accelerate(wanted.switch.accelerate != Accelerate::Off);
    let mut service = SwitchService {
        name: socket.name().to_string(),
        events: events.clone(),
        hangup,
        plan,
        wanted: WantedSwitch { switch: wanted.switch.clone(), ..WantedSwitch::default() },
        numbers: Numbers::default(),
        files: socket.port_files(),
        is_running: false,
        is_stopping: false,
        is_acceleration_reported: false,
        seed: match wanted.seed {
            Some(seed) => seed,
            None => seed()?,
        },
        ports: Vec::new(),
        mirrors: Vec::new(),
        removed: BTreeSet::new(),
    };
    service.start(&mut runner, wanted)?;
    let note = accelerate::check(&mut service, &runner)?;
    let ports = service.ports.iter().map(|port| port.wanted.name.clone()).collect();
    let specs = service.ports.iter().map(|port| &port.wanted.spec);
    let mut needs = confine::needs_with_ports(sandbox, specs);
    needs.syscalls.push(adit_runtime::ACCELERATION_SYSCALLS);
    if runner.acceleration().is_some_and(|acceleration| acceleration.needs_rights) {
        needs.capabilities |= CapabilitySet::NET_ADMIN;
    }
    confine::give_up(sandbox, &needs, &events)?;
    let mut supervisor = Supervisor::new(service, socket, events.clone());
    confine::restrict_calls(sandbox, &needs, &events)?;
    supervisor.ready(ports);
    notes.iter().chain(&note).for_each(|note| events.note(note));
    runner.set_alarm(Some(runner.now() + TICK));
    let result = supervisor.run(&mut runner);
    let service = &supervisor.service;
    for running in &service.ports {
        service.detach(&mut runner, running, Runner::detach_in_background);
    }
    // Recordings are complete only when they are closed.
    for id in service.mirrors.iter().filter_map(|mirror| mirror.file) {
        runner.detach(id);
    }
    events.flush();
    supervisor.finish();
    result
}

impl SwitchService {
    /// Opens everything; the first failure ends it.
    fn start(&mut self, runner: &mut Runner<Switch>, wanted: WantedSwitch) -> Result<()> {
        self.files.list(wanted.ports.iter().map(|port| &port.spec));
        for port in &wanted.ports {
            self.check_new(port)?;
            self.add_port(runner, port.clone(), port.spec.open()?)?;
            if let Some(own) = port.own_mirror() {
                let file = mirrors::open(&own)?;
                self.add_mirror(runner, own, file)?;
            }
        }
        for entry in &wanted.statics {
            self.add_static(runner, entry)?;
        }
        for mirror in &wanted.mirrors {
            self.add_mirror(runner, mirror.clone(), mirrors::open(mirror)?)?;
        }
        self.wanted = wanted;
        self.is_running = true;
        Ok(())
    }
}

impl Service for SwitchService {
    type Engine = Switch;
    type Change = reload::Change;
    type Report = model::Switch;

    const ROUTES: &'static [Route] = ROUTES;

    fn job(&self, trigger: &Trigger) -> Result<Job<reload::Change>> {
        match trigger {
            Trigger::Reload(_) => Ok(self.read_plan()),
            Trigger::Request(request) => self.read_port(request),
        }
    }

    fn apply(
        &mut self,
        runner: &mut Runner<Switch>,
        change: reload::Change,
    ) -> Result<Progress<reload::Change>> {
        let result = self.apply_change(runner, change);
        // What was changed holds for the kernel as well before the reply.
        runner.flush();
        if let Some(note) = accelerate::check(self, runner)? {
            self.events.note(note);
        }
        result
    }

    fn answer(&mut self, runner: &mut Runner<Switch>, request: &Request) -> Answer {
        let segments = request.segments();
        let path: Vec<&str> = segments.iter().map(String::as_str).collect();
        match (request.method, path.as_slice()) {
            (Method::Post, ["ports"]) | (Method::Patch, ["ports", _]) => Answer::Later,
            _ => {
                runner.sync();
                let reply = self.answer_now(runner, request, &path);
                runner.flush();
                Answer::Now(reply)
            }
        }
    }

    fn hangup(&self) -> Hangup {
        self.hangup
    }

    fn metrics(&mut self, runner: &mut Runner<Switch>) -> Box<dyn Snapshot> {
        runner.sync();
        self.sample(runner)
    }

    fn report(&self, runner: &Runner<Switch>) -> model::Switch {
        self.show(runner)
    }

    fn event(&mut self, runner: &mut Runner<Switch>, event: LoopEvent) -> Next {
        match event {
            LoopEvent::PortGone { port, why, netem, counters } => {
                self.port_gone(runner, port, &why, &netem, &counters);
            }
            LoopEvent::PortDown(port) => self.set_link(runner, port, false),
            LoopEvent::PortUp(port) => self.set_link(runner, port, true),
            LoopEvent::Accepted(listener, port) => self.accepted(runner, listener, port),
            LoopEvent::ListenerGone(listener, error) => {
                self.listener_gone(listener, error.to_string());
            }
            LoopEvent::Alarm => {
                self.events.flush();
                for id in self.mirrors.iter().filter_map(|mirror| mirror.file) {
                    runner.flush_port(id);
                }
                runner.set_alarm(Some(runner.now() + TICK));
            }
            _ => {}
        }
        self.report_news(runner);
        if self.is_stopping { Next::Stop } else { Next::Continue }
    }
}
