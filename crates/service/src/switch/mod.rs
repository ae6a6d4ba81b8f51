//! The program that runs a switch.

pub mod api;
pub mod mirrors;
pub mod model;
pub mod news;
pub mod plan;
pub mod port;
pub mod ports;
pub mod reload;
pub mod text;
pub mod wanted;

use crate::error::{Error, Exit, Result};
use crate::output::Output;
use crate::supervisor::background::{Aside, Supervise};
use crate::supervisor::{Numbers, Panel, Seldom, TICK, random};
use crate::switch::port::WantedPort;
use crate::switch::wanted::{Lab, WantedMirror, resolve_among};
use adit_engine::PortId;
use adit_engine::switch::{Switch, SwitchConfig};
use adit_packet::{Pool, PoolConfig};
use adit_runtime::{Event, Flow, Handler};
use adit_runtime::{ListenerId, Runner, Signals};
use plan::Plan;

/// Runs a switch until it is told to end.
///
/// # Errors
/// If it cannot start: nothing is left then.
pub fn run(plan: Plan, lab: Lab, output: &Output) -> Result<Exit> {
    let panel = Panel::open(lab.name.clone(), "switch", output.clone())?;
    let config = SwitchConfig { seed: random()?, ..lab.switch.clone() };
    let engine = Switch::new(config).map_err(Error::usage)?;
    let failed = |error: std::io::Error| Error::io("start", "the loop", &error);
    let mut runner = Runner::new(engine, Pool::new(PoolConfig::default())).map_err(failed)?;
    Signals::new().and_then(|signals| runner.watch_signals(signals)).map_err(failed)?;
    let mut supervisor = Supervisor {
        panel,
        plan,
        aside: Aside::default(),
        lab: Lab { switch: lab.switch.clone(), ..Lab::default() },
        numbers: Numbers::default(),
        is_running: false,
        seed: match lab.seed {
            Some(seed) => seed,
            None => random()?,
        },
        ports: Vec::new(),
        mirrors: Vec::new(),
    };
    supervisor.start(&mut runner, lab)?;
    supervisor.panel.watch(&runner)?;
    supervisor.panel.ready(supervisor.ports.iter().map(|port| port.wanted.name.clone()).collect());
    runner.set_alarm(Some(runner.now() + TICK));
    let result = runner.run(&mut supervisor);
    for running in &supervisor.ports {
        supervisor.detach(&mut runner, running);
    }
    // Recordings are whole only when they are closed.
    for id in supervisor.mirrors.iter().filter_map(|mirror| mirror.file) {
        runner.detach(id);
    }
    supervisor.panel.finish();
    result.map_err(|error| Error::io("run", "the loop", &error))?;
    Ok(Exit::Ok)
}

/// Who owns the loop of a switch.
struct Supervisor {
    panel: Panel,
    plan: Plan,
    aside: Aside<reload::Read>,
    /// What was read last.
    lab: Lab,
    numbers: Numbers,
    /// Whether its start is over.
    is_running: bool,
    /// What the links of ports draw their decisions from.
    seed: u64,
    ports: Vec<Running>,
    mirrors: Vec<RunningMirror>,
}

/// A port that is there, or was.
struct Running {
    wanted: WantedPort,
    /// Its ports of the engine, each with its own name.
    ends: Vec<(PortId, String)>,
    /// Where further ends may come from.
    listener: Option<ListenerId>,
    /// How many have come.
    guests: u64,
    /// Of those who came, and were one more than may come.
    refused: Seldom,
    /// Why it is there no more.
    gone: Option<String>,
}

impl Running {
    fn new(wanted: WantedPort) -> Self {
        Self {
            wanted,
            ends: Vec::new(),
            listener: None,
            guests: 0,
            refused: Seldom::default(),
            gone: None,
        }
    }
}

/// A mirror that is there.
struct RunningMirror {
    wanted: WantedMirror,
    /// Where its file is, for the loop.
    file: Option<PortId>,
}

impl Supervisor {
    /// Opens everything; the first failure ends it.
    fn start(&mut self, runner: &mut Runner<Switch>, lab: Lab) -> Result<()> {
        for port in &lab.ports {
            self.add_port(runner, port.clone())?;
        }
        for entry in &lab.statics {
            self.add_static(runner, entry)?;
        }
        for mirror in &lab.mirrors {
            self.add_mirror(runner, mirror.clone())?;
        }
        self.lab = lab;
        self.is_running = true;
        Ok(())
    }

    /// The port that is meant by a name.
    pub(crate) fn find(&self, name: &str) -> Result<usize> {
        let names = self.ports.iter().map(|port| port.wanted.name.as_str());
        let full = resolve_among(name, names);
        let found = full.and_then(|full| self.ports.iter().position(|p| p.wanted.name == full));
        found.ok_or_else(|| {
            let names: Vec<&str> = self.ports.iter().map(|p| p.wanted.name.as_str()).collect();
            let end = |full: &&str| full.split_once(':').is_some_and(|(_, end)| end == name);
            let message = match names.iter().filter(|full| end(full)).count() {
                0 => format!("there is no port '{name}'"),
                several => format!("'{name}' may be each of {several} ports"),
            };
            Error::new(Exit::NotFound, &api::NO_PORT, message)
                .object(name)
                .hint(format_args!("The ports are: {}", names.join(", ")))
        })
    }

    /// The name of a port of the engine.
    pub(crate) fn name_of(&self, id: PortId) -> String {
        let mut ends = self.ports.iter().flat_map(|port| &port.ends);
        let found = ends.find(|(end, _)| *end == id);
        found.map_or_else(|| format!("port {id}"), |(_, name)| name.clone())
    }
}

impl Handler<Switch> for Supervisor {
    fn event(&mut self, runner: &mut Runner<Switch>, event: Event) -> Flow {
        match event {
            Event::PortGone { port, why, netem } => self.port_gone(runner, port, &why, &netem),
            Event::PortDown(port) => self.link(runner, port, false),
            Event::PortUp(port) => self.link(runner, port, true),
            Event::Accepted(listener, port) => self.accepted(runner, listener, port),
            Event::ListenerGone(listener, error) => self.listener_gone(listener, error.to_string()),
            Event::Alarm => {
                self.panel.flush();
                for id in self.mirrors.iter().filter_map(|mirror| mirror.file) {
                    runner.flush_port(id);
                }
                runner.set_alarm(Some(runner.now() + TICK));
            }
            other => {
                let flow = self.heard(runner, other);
                self.news(runner);
                return flow;
            }
        }
        self.news(runner);
        if self.panel.is_ending { Flow::Stop } else { Flow::Continue }
    }
}
