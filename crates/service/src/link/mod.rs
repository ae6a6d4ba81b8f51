//! The emulated link as a service: two ports, and a profile for each direction.

mod health;
mod metrics;
pub mod wanted;

use crate::confine;
use crate::control::http::{Method, Request};
use crate::control::name::PortFiles;
use crate::control::route::{Route, schema};
use crate::control::server::Reply;
use crate::control::socket::ControlSocket;
use crate::error::{Entry, Error, Kind, Result};
use crate::event::{Event, Events};
use crate::helper::Policy;
use crate::link::wanted::{Plan, WantedLink};
use crate::metrics::{ListenAddress, Snapshot};
use crate::netem::keys::{body as profile_keys, to_json};
use crate::netem::profile::Profiles;
use crate::netem::report::{End, LinkReport, LinkStatus};
use crate::netem::{profile, report};
use crate::sandbox::{self, Sandbox};
use crate::supervisor::routes::RELOAD;
use crate::supervisor::{
    Answer, Done, DoneReply, Hangup, Job, Progress, RateLimitedLog, Service, Supervisor, TICK,
    Trigger, read_request, seed, times,
};
use adit_engine::PortId;
use adit_engine::netem::{Direction, Netem, NetemConfig};
use adit_packet::{Pool, PoolConfig};
use adit_runtime::Opened;
use adit_runtime::Port;
use adit_runtime::{Event as LoopEvent, Next};
use adit_runtime::{ListenerId, Runner, Signals};

/// A port or a profile that a link cannot have.
pub const LINK: Entry = Entry {
    code: "ADIT-E0828",
    title: "the link cannot be set up",
    explanation: "A port cannot be an end of a link, or a profile has values that exclude each other. \
                  Nothing was changed.",
    remedy: "Check the link: 'adit netem show', or 'adit netem preview' before it runs.",
};

/// The codes of links.
pub const CATALOG: [Entry; 1] = [LINK];

/// What a start would do, for `--dry-run`.
pub fn actions(wanted: &WantedLink) -> Vec<String> {
    let name = wanted.name.as_ref().map_or("netem".to_owned(), ToString::to_string);
    let mut actions = vec![format!("run the link '{name}'")];
    actions.extend(wanted.ports.iter().map(|end| format!("open {}", end.name)));
    actions.extend(profile_actions(&wanted.profiles));
    actions
}

/// The settings of both directions.
pub fn profile_actions(profiles: &Profiles) -> Vec<String> {
    let asked = report::Netem::new(profiles);
    let ways = [("a to b", &asked.a_to_b), ("b to a", &asked.b_to_a)];
    ways.into_iter().map(|(way, keys)| format!("{way}: {}", report::keys_text(keys))).collect()
}

/// What the helper of a link allows.
#[must_use]
pub fn policy(plan: &Plan) -> Policy {
    let again = plan.clone();
    confine::policy(move || again.link())
}

/// Runs a link until it is stopped, and returns its last state.
///
/// # Errors
/// It cannot start; nothing is left behind then.
pub fn run(
    plan: Plan,
    wanted: WantedLink,
    sandbox: &Sandbox,
    events: Events,
) -> Result<LinkStatus> {
    events.configure_log(wanted.log.as_ref());
    let mut socket = ControlSocket::open(wanted.name.clone(), "netem")?;
    confine::share_name(sandbox, &socket);
    socket.set_metrics(wanted.metrics.map(ListenAddress::listen).transpose()?);
    let note = socket.note.clone();
    let seed = match wanted.seed {
        Some(seed) => seed,
        None => seed()?,
    };
    let config = NetemConfig {
        ports: PORTS,
        a_to_b: wanted.profiles.a_to_b.clone(),
        b_to_a: wanted.profiles.b_to_a.clone(),
        seed,
        layer: wanted.layer,
    };
    let engine = Netem::new(&config).map_err(|error| Error::new(Kind::Usage, &LINK, error))?;
    let hangup = Hangup::new(plan.has_files());
    let failed = |error: std::io::Error| Error::io("start", "the loop", &error);
    let mut runner = Runner::new(engine, Pool::new(PoolConfig::default())).map_err(failed)?;
    Signals::new().and_then(|signals| runner.watch_signals(signals)).map_err(failed)?;
    let mut service = LinkService {
        name: socket.name().to_string(),
        events: events.clone(),
        hangup,
        plan,
        wanted,
        files: socket.port_files(),
        seed,
        gone: [None, None],
        listeners: [None, None],
        refused: RateLimitedLog::default(),
    };
    service.files.list(service.wanted.ports.iter().map(|end| &end.spec));
    for at in 0..PORTS.len() {
        if let Some(end) = service.wanted.ports.get(at) {
            let opened = end.spec.open()?;
            service.attach(&mut runner, at, opened)?;
        }
    }
    let ports = service.wanted.ports.iter().map(|end| end.name.clone()).collect();
    let specs = service.wanted.ports.iter().map(|end| &end.spec);
    let needs = confine::needs_with_ports(sandbox, specs);
    confine::give_up(sandbox, &needs, &events)?;
    let mut supervisor = Supervisor::new(service, socket, events.clone());
    confine::restrict_calls(sandbox, &needs, &events)?;
    supervisor.ready(ports);
    note.iter().for_each(|note| events.note(note));
    let now = runner.now();
    runner.engine_mut().start(now);
    runner.set_alarm(Some(now + TICK));
    let result = supervisor.run(&mut runner);
    let status = supervisor.service.show(&runner);
    events.flush();
    supervisor.finish();
    result.map(|()| status)
}

/// The ports of the engine: a and b.
const PORTS: [PortId; 2] = [PortId(0), PortId(1)];

/// A running link.
struct LinkService {
    name: String,
    events: Events,
    hangup: Hangup,
    plan: Plan,
    wanted: WantedLink,
    files: PortFiles,
    seed: u64,
    /// Why an end is gone.
    gone: [Option<String>; 2],
    /// The listener of an end that waits for a connection.
    listeners: [Option<ListenerId>; 2],
    /// Connections that were refused because the end has one.
    refused: RateLimitedLog,
}

impl LinkService {
    /// Makes an open port one end of the link.
    fn attach(&mut self, runner: &mut Runner<Netem>, at: usize, opened: Opened) -> Result<()> {
        let (Some(end), Some(id)) = (self.wanted.ports.get(at), PORTS.get(at)) else {
            return Ok(());
        };
        let ports = match opened {
            Opened::Ports(ports) => ports,
            Opened::Listener(listener) => {
                let name = &end.name;
                let listener = runner.listen(listener);
                let listener = listener.map_err(|error| Error::io("listen at", name, &error))?;
                if let Some(place) = self.listeners.get_mut(at) {
                    *place = Some(listener);
                }
                return Ok(());
            }
        };
        let mut ports = ports.into_iter();
        let (Some(port), None) = (ports.next(), ports.next()) else {
            let message =
                format!("'{}' cannot be an end of a link: it has several ports", end.name);
            return Err(Error::new(Kind::Usage, &LINK, message));
        };
        let name = port.name().to_owned();
        runner.attach(*id, port).map_err(|error| Error::io("use", name, &error))?;
        if let Some(gone) = self.gone.get_mut(at) {
            *gone = None;
        }
        Ok(())
    }

    fn show(&self, runner: &Runner<Netem>) -> LinkStatus {
        let engine = runner.engine();
        let ends = self.wanted.ports.iter().zip(&self.gone);
        LinkStatus {
            name: self.name.clone(),
            pid: std::process::id(),
            sandbox: sandbox::state(),
            seed: self.seed,
            ports: ends
                .map(|(end, gone)| End { name: end.name.clone(), gone: gone.clone() })
                .collect(),
            asked: report::Netem::new(&self.wanted.profiles),
            a_to_b: LinkReport::of_engine(engine, Direction::AToB),
            b_to_a: LinkReport::of_engine(engine, Direction::BToA),
        }
    }

    /// Changes both directions, or none.
    fn set(&mut self, runner: &mut Runner<Netem>, profiles: Profiles) -> Result<Vec<String>> {
        let now = runner.now();
        let mut done = Vec::new();
        let ways = [
            (Direction::AToB, &profiles.a_to_b, &self.wanted.profiles.a_to_b),
            (Direction::BToA, &profiles.b_to_a, &self.wanted.profiles.b_to_a),
        ];
        for (_, profile, _) in &ways {
            profile.check().map_err(|error| Error::new(Kind::Usage, &LINK, error))?;
        }
        for (direction, profile, before) in ways {
            if profile == before {
                continue;
            }
            runner
                .engine_mut()
                .set(now, direction, profile)
                .map_err(|error| Error::new(Kind::Usage, &LINK, error))?;
            let line = format!("{direction}: {}", report::keys_text(&to_json(profile)));
            tracing::debug!("{line}");
            done.push(line);
        }
        self.wanted.profiles = profiles;
        Ok(done)
    }

    /// The first half of a reload: profiles change between two packets; a port that is another one, or
    /// gone, is closed, and opened beside the loop.
    fn begin_reload(
        &mut self,
        runner: &mut Runner<Netem>,
        wanted: WantedLink,
    ) -> Result<Progress<Change>> {
        if wanted.layer != self.wanted.layer {
            let message = "a running link cannot change between frames and packets";
            return Err(
                Error::new(Kind::Usage, &LINK, message).hint("Stop the link and start it again.")
            );
        }
        let done = self.set(runner, wanted.profiles.clone())?;
        self.events.configure_log(wanted.log.as_ref());
        let before = std::mem::replace(&mut self.wanted, wanted);
        let mut missing = Vec::new();
        for (at, (id, end)) in PORTS.iter().zip(&self.wanted.ports).enumerate() {
            let is_gone = self.gone.get(at).is_some_and(Option::is_some);
            if before.ports.get(at) == Some(end) && !is_gone {
                continue;
            }
            runner.detach(*id);
            if let Some(listener) = self.listeners.get_mut(at).and_then(Option::take) {
                runner.close_listener(listener);
            }
            missing.push((at, end.spec.clone()));
        }
        if missing.is_empty() {
            return Ok(Progress::Done(Done::new(done)));
        }
        let files = self.files.clone();
        let specs: Vec<_> = self.wanted.ports.iter().map(|end| end.spec.clone()).collect();
        Ok(Progress::Next(Box::new(move || {
            files.list(specs.iter());
            let open = |(at, spec): (usize, adit_runtime::PortSpec)| {
                (at, spec.open().map_err(Error::from))
            };
            Ok(Change::Opened(done, missing.into_iter().map(open).collect()))
        })))
    }

    /// The second half of a reload.
    fn finish_reload(
        &mut self,
        runner: &mut Runner<Netem>,
        mut done: Vec<String>,
        opened: Vec<(usize, Result<Opened>)>,
    ) -> Result<Progress<Change>> {
        for (at, opened) in opened {
            let attached = opened.and_then(|opened| self.attach(runner, at, opened));
            attached.map_err(|error| {
                if let Some(gone) = self.gone.get_mut(at) {
                    *gone = Some(error.report.message.clone());
                }
                error.after(done.clone())
            })?;
            done.extend(self.wanted.ports.get(at).map(|end| format!("{} opened", end.name)));
        }
        Ok(Progress::Done(Done::new(done)))
    }

    /// A connection to a listener becomes that end, unless the end has one.
    fn accepted(&mut self, runner: &mut Runner<Netem>, listener: ListenerId, port: Box<dyn Port>) {
        let at = self.listeners.iter().position(|known| *known == Some(listener));
        let Some(id) = at.and_then(|at| PORTS.get(at)) else { return };
        let name = self.name_of(*id);
        if runner.port(*id).is_some() {
            if let Some(count) = self.refused.count(runner.now()) {
                let count = times(count);
                let message = format!("{name} takes one connection; another was refused {count}");
                self.events.send(&Event::Failed { message });
            }
            return;
        }
        match runner.attach(*id, port) {
            Ok(()) => self.events.send(&Event::PortAdded { port: name }),
            Err(error) => self.events.failed(&name, &Error::io("use", &name, &error)),
        }
    }

    fn port_gone(&mut self, port: PortId, reason: String) {
        let at = PORTS.iter().position(|known| *known == port);
        // Another connection may come to a listener.
        let is_awaited = at.is_some_and(|at| self.listeners.get(at).is_some_and(Option::is_some));
        if let Some(gone) = at.and_then(|at| self.gone.get_mut(at)).filter(|_| !is_awaited) {
            *gone = Some(reason.clone());
        }
        self.events.send(&Event::PortGone { port: self.name_of(port), reason });
    }

    fn listener_gone(&mut self, listener: ListenerId, reason: String) {
        let at = self.listeners.iter().position(|known| *known == Some(listener));
        let Some((at, id)) = at.and_then(|at| Some((at, *PORTS.get(at)?))) else { return };
        if let (Some(place), Some(gone)) = (self.listeners.get_mut(at), self.gone.get_mut(at)) {
            (*place, *gone) = (None, Some(reason.clone()));
        }
        self.events.send(&Event::PortGone { port: self.name_of(id), reason });
    }

    fn name_of(&self, id: PortId) -> String {
        let at = PORTS.iter().position(|port| *port == id).unwrap_or(0);
        self.wanted.ports.get(at).map_or(String::new(), |end| end.name.clone())
    }
}

/// What was read or opened beside the loop.
enum Change {
    /// A configuration was read.
    Link(Box<WantedLink>),
    /// The profiles that a request asks for were read.
    Profiles(Box<Profiles>),
    /// Ends were opened; with what was done before.
    Opened(Vec<String>, Vec<(usize, Result<Opened>)>),
}

/// The requests of a link, beside those of every service.
pub const ROUTES: &[Route] = &[
    RELOAD,
    Route::get("/netem", "the link: its settings and what happened", schema::<LinkStatus>),
    Route::change(
        Method::Patch,
        "/netem",
        "changes keys of the link, in both directions or in one",
        Some(profile_keys),
        schema::<DoneReply>,
    ),
];

impl Service for LinkService {
    type Engine = Netem;
    type Change = Change;
    type Report = LinkStatus;

    const ROUTES: &'static [Route] = ROUTES;

    fn job(&self, trigger: &Trigger) -> Result<Job<Change>> {
        Ok(match trigger {
            Trigger::Reload(_) => {
                let plan = self.plan.clone();
                Box::new(move || plan.link().map(Box::new).map(Change::Link))
            }
            Trigger::Request(request) => {
                let (body, files) = (request.body.clone(), request.files);
                let base = self.wanted.profiles.clone();
                Box::new(move || {
                    let profiles =
                        read_request(&body, files, |table| profile::of_table(table, base))?;
                    Ok(Change::Profiles(Box::new(profiles)))
                })
            }
        })
    }

    fn apply(&mut self, runner: &mut Runner<Netem>, change: Change) -> Result<Progress<Change>> {
        match change {
            Change::Link(wanted) => self.begin_reload(runner, *wanted),
            Change::Profiles(profiles) => {
                self.set(runner, *profiles).map(|done| Progress::Done(Done::new(done)))
            }
            Change::Opened(done, opened) => self.finish_reload(runner, done, opened),
        }
    }

    fn answer(&mut self, runner: &mut Runner<Netem>, request: &Request) -> Answer {
        match (request.method, request.path.as_str()) {
            (Method::Get, "/netem") => self.status(runner).into(),
            (Method::Patch, "/netem") => Answer::Later,
            _ => Answer::Now(Reply::unknown_path(request)),
        }
    }

    fn hangup(&self) -> Hangup {
        self.hangup
    }

    fn metrics(&mut self, runner: &mut Runner<Netem>) -> Box<dyn Snapshot> {
        self.sample(runner)
    }

    fn report(&self, runner: &Runner<Netem>) -> LinkStatus {
        self.show(runner)
    }

    fn event(&mut self, runner: &mut Runner<Netem>, event: LoopEvent) -> Next {
        match event {
            LoopEvent::PortGone { port, why, .. } => self.port_gone(port, why.to_string()),
            LoopEvent::Accepted(listener, port) => self.accepted(runner, listener, port),
            LoopEvent::ListenerGone(listener, error) => {
                self.listener_gone(listener, error.to_string());
            }
            LoopEvent::PortDown(port) => {
                self.events.send(&Event::PortDown { port: self.name_of(port) });
            }
            LoopEvent::PortUp(port) => {
                self.events.send(&Event::PortUp { port: self.name_of(port) });
            }
            LoopEvent::Alarm => {
                self.events.flush();
                runner.set_alarm(Some(runner.now() + TICK));
            }
            _ => {}
        }
        Next::Continue
    }
}
