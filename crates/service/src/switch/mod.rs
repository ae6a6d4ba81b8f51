//! The switch as a service.

pub mod api;
pub mod keys;
pub mod mirrors;
pub mod model;
pub mod news;
pub mod plan;
pub mod port;
pub mod ports;
pub mod reload;
pub mod wanted;

use crate::control::http::{Method, Request};
use crate::control::socket::ControlSocket;
use crate::error::{Error, Kind, Result};
use crate::event::{Event, Events};
use crate::supervisor::{
    Answer, Job, Progress, RateLimitedLog, Service, Supervisor, TICK, Trigger, seed, value,
};
use crate::switch::port::WantedPort;
use crate::switch::wanted::{WantedMirror, WantedSwitch, resolve_among};
use adit_engine::PortId;
use adit_engine::switch::{Switch, SwitchConfig};
use adit_packet::{Pool, PoolConfig};
use adit_runtime::{Event as LoopEvent, Flow};
use adit_runtime::{ListenerId, Runner, Signals};
use plan::Plan;
use serde_json::Value;

/// Runs a switch until it is told to stop.
///
/// # Errors
/// It cannot start; nothing is left behind then.
pub fn run(plan: Plan, wanted: WantedSwitch, events: Events) -> Result<()> {
    let socket = ControlSocket::open(wanted.name.clone(), "switch")?;
    if let Some(error) = &socket.missing {
        events.note(format_args!("no control socket: {}", error.report.message));
    }
    let config = SwitchConfig { seed: seed()?, ..wanted.switch.clone() };
    let engine = Switch::new(config).map_err(Error::usage)?;
    let failed = |error: std::io::Error| Error::io("start", "the loop", &error);
    let mut runner = Runner::new(engine, Pool::new(PoolConfig::default())).map_err(failed)?;
    Signals::new().and_then(|signals| runner.watch_signals(signals)).map_err(failed)?;
    let mut service = SwitchService {
        name: socket.name().to_string(),
        events: events.clone(),
        plan,
        wanted: WantedSwitch { switch: wanted.switch.clone(), ..WantedSwitch::default() },
        numbers: Numbers::default(),
        is_running: false,
        is_stopping: false,
        seed: match wanted.seed {
            Some(seed) => seed,
            None => seed()?,
        },
        ports: Vec::new(),
        mirrors: Vec::new(),
    };
    service.start(&mut runner, wanted)?;
    let ports = service.ports.iter().map(|port| port.wanted.name.clone()).collect();
    let mut supervisor = Supervisor::new(service, socket, events.clone());
    supervisor.ready(ports);
    runner.set_alarm(Some(runner.now() + TICK));
    let result = supervisor.run(&mut runner);
    let service = &supervisor.service;
    for running in &service.ports {
        service.detach(&mut runner, running);
    }
    // Recordings are complete only when they are closed.
    for id in service.mirrors.iter().filter_map(|mirror| mirror.file) {
        runner.detach(id);
    }
    events.flush();
    supervisor.finish();
    result
}

/// A running switch.
struct SwitchService {
    name: String,
    events: Events,
    plan: Plan,
    /// The configuration that was applied last.
    wanted: WantedSwitch,
    numbers: Numbers,
    /// Whether its start is over.
    is_running: bool,
    is_stopping: bool,
    /// The seed for the emulated links of its ports.
    seed: u64,
    ports: Vec<Running>,
    mirrors: Vec<RunningMirror>,
}

/// A port that exists, or has ended.
struct Running {
    wanted: WantedPort,
    /// Its ports of the engine, each with its own name.
    ends: Vec<(PortId, String)>,
    /// Where further ends connect.
    listener: Option<ListenerId>,
    /// How many have connected.
    guests: u64,
    /// Connections that were refused because there are too many.
    refused: RateLimitedLog,
    /// Why it has ended.
    gone: Option<String>,
}

impl Running {
    fn new(wanted: WantedPort) -> Self {
        Self {
            wanted,
            ends: Vec::new(),
            listener: None,
            guests: 0,
            refused: RateLimitedLog::default(),
            gone: None,
        }
    }
}

/// A mirror that exists.
struct RunningMirror {
    wanted: WantedMirror,
    /// Its file, as a port of the loop.
    file: Option<PortId>,
}

/// Numbers for ports: ascending, so that a number is not used again soon.
#[derive(Debug, Default)]
struct Numbers {
    last: u16,
}

impl Numbers {
    /// The next number that is not `taken`; `None` if all are.
    fn next(&mut self, taken: impl Fn(PortId) -> bool) -> Option<PortId> {
        for _ in 0..u16::MAX {
            self.last = self.last.wrapping_add(1);
            if !taken(PortId(self.last)) {
                return Some(PortId(self.last));
            }
        }
        None
    }
}

impl SwitchService {
    /// Opens everything; the first failure ends it.
    fn start(&mut self, runner: &mut Runner<Switch>, wanted: WantedSwitch) -> Result<()> {
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

    /// The index of the port with this name.
    fn find(&self, name: &str) -> Result<usize> {
        let names = self.ports.iter().map(|port| port.wanted.name.as_str());
        let full = resolve_among(name, names);
        let found = full.and_then(|full| self.ports.iter().position(|p| p.wanted.name == full));
        found.ok_or_else(|| {
            let names: Vec<&str> = self.ports.iter().map(|p| p.wanted.name.as_str()).collect();
            let end = |full: &&str| full.split_once(':').is_some_and(|(_, end)| end == name);
            let message = match names.iter().filter(|full| end(full)).count() {
                0 => format!("no port is called '{name}'"),
                several => format!("'{name}' matches {several} ports"),
            };
            Error::new(Kind::NotFound, &api::NO_PORT, message)
                .object(name)
                .hint(format_args!("The ports are: {}", names.join(", ")))
        })
    }

    /// The name of a port of the engine.
    fn name_of(&self, id: PortId) -> String {
        let mut ends = self.ports.iter().flat_map(|port| &port.ends);
        let found = ends.find(|(end, _)| *end == id);
        found.map_or_else(|| format!("port {id}"), |(_, name)| name.clone())
    }
}

impl Service for SwitchService {
    type Engine = Switch;
    type Change = reload::Change;

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
        self.apply_change(runner, change)
    }

    fn answer(&mut self, runner: &mut Runner<Switch>, request: &Request) -> Answer {
        let segments = request.segments();
        let path: Vec<&str> = segments.iter().map(String::as_str).collect();
        match (request.method, path.as_slice()) {
            (Method::Post, ["ports"]) | (Method::Patch, ["ports", _]) => Answer::Later,
            _ => Answer::Now(self.answer_now(runner, request, &path)),
        }
    }

    fn status(&self, runner: &Runner<Switch>) -> Result<Value> {
        value(&self.show(runner))
    }

    fn event(&mut self, runner: &mut Runner<Switch>, event: LoopEvent) -> Flow {
        match event {
            LoopEvent::PortGone { port, why, netem } => self.port_gone(runner, port, &why, &netem),
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
        if self.is_stopping { Flow::Stop } else { Flow::Continue }
    }
}

impl SwitchService {
    fn link_ended(&self, port: &str, netem: &adit_runtime::PortNetem) {
        if let Some(link) = crate::netem::report::Links::new(netem) {
            self.events.send(&Event::LinkEnded { port: port.to_owned(), link: Box::new(link) });
        }
    }
}
