//! The program that runs a link between two ports.

pub mod profile;
pub mod report;
pub mod wanted;
pub mod words;

use crate::control::http::{Method, Request};
use crate::control::server::Reply;
use crate::error::{Entry, Error, Exit, Result};
use crate::link::profile::Profiles;
use crate::link::report::LinkReport;
use crate::link::wanted::{Plan, WantedLink};
use crate::output::{Output, Tone, clean};
use crate::supervisor::background::{Aside, Asked, Job, Supervise};
use crate::supervisor::{Event as Told, Panel, Seldom, TICK, random, read_request, times, value};
use crate::switch::model;
use adit_engine::PortId;
use adit_engine::netem::{Direction, Netem, NetemConfig};
use adit_packet::{Pool, PoolConfig};
use adit_runtime::Opened;
use adit_runtime::Port;
use adit_runtime::{Event, Flow, Handler};
use adit_runtime::{ListenerId, Runner, Signals};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A link cannot be as it is wanted.
pub const LINK: Entry = Entry {
    code: "ADIT-E0828",
    title: "the link cannot be so",
    explanation: "A port of the link is none that it can have, or a profile cannot be as it is \
                  wanted. Nothing was changed.",
    remedy: "See 'adit netem show' and 'adit netem preview'.",
};

/// The codes of links that run.
pub const CATALOG: [Entry; 1] = [LINK];

/// A link that runs: what is asked of it, and what has happened.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(title = "adit netem show")]
pub struct Shown {
    /// Its name.
    pub name: String,
    /// Its process.
    pub pid: u32,
    /// What its decisions are drawn from.
    pub seed: u64,
    /// Its two ports, a and b.
    pub ports: Vec<End>,
    /// What is asked for.
    pub asked: model::Netem,
    /// From a to b: what happened.
    pub a_to_b: LinkReport,
    /// From b to a.
    pub b_to_a: LinkReport,
}

/// One end of a link.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct End {
    /// Its name.
    pub name: String,
    /// Why it is there no more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gone: Option<String>,
}

/// What a start would do, for `--dry-run`.
pub fn actions(wanted: &WantedLink) -> Vec<String> {
    let name = wanted.name.as_ref().map_or("netem".to_owned(), ToString::to_string);
    let mut actions = vec![format!("run the link '{name}'")];
    actions.extend(wanted.ports.iter().map(|end| format!("open {}", end.name)));
    actions.extend(profile_actions(&wanted.profiles));
    actions
}

/// What is asked of both ways of a link.
pub fn profile_actions(profiles: &Profiles) -> Vec<String> {
    let asked = model::Netem::new(profiles);
    let ways = [("a to b", &asked.a_to_b), ("b to a", &asked.b_to_a)];
    ways.into_iter().map(|(way, keys)| format!("{way}: {}", model::keys_text(keys))).collect()
}

/// Runs a link until it is told to end, then reports.
///
/// # Errors
/// If it cannot start: nothing is left then.
pub fn run(plan: Plan, wanted: WantedLink, output: &Output) -> Result<Exit> {
    let panel = Panel::open(wanted.name.clone(), "netem", output.clone())?;
    let seed = match wanted.seed {
        Some(seed) => seed,
        None => random()?,
    };
    let config = NetemConfig {
        ports: PORTS,
        a_to_b: wanted.profiles.a_to_b.clone(),
        b_to_a: wanted.profiles.b_to_a.clone(),
        seed,
        layer: wanted.layer,
    };
    let engine = Netem::new(&config).map_err(|error| Error::new(Exit::Usage, &LINK, error))?;
    let failed = |error: std::io::Error| Error::io("start", "the loop", &error);
    let mut runner = Runner::new(engine, Pool::new(PoolConfig::default())).map_err(failed)?;
    Signals::new().and_then(|signals| runner.watch_signals(signals)).map_err(failed)?;
    let mut supervisor = Supervisor {
        panel,
        plan,
        aside: Aside::default(),
        wanted,
        seed,
        gone: [None, None],
        listeners: [None, None],
        refused: Seldom::default(),
    };
    for at in 0..PORTS.len() {
        supervisor.open(&mut runner, at)?;
    }
    supervisor.panel.watch(&runner)?;
    let names = supervisor.wanted.ports.iter().map(|end| end.name.clone());
    supervisor.panel.ready(names.collect());
    let now = runner.now();
    runner.engine_mut().start(now);
    runner.set_alarm(Some(now + TICK));
    let result = runner.run(&mut supervisor);
    let shown = supervisor.show(&runner);
    supervisor.panel.flush();
    supervisor.panel.finish();
    result.map_err(|error| Error::io("run", "the loop", &error))?;
    if output.json {
        output.value(&Told::Report { link: Box::new(shown) })?;
    } else {
        output.line(text(output, &shown))?;
    }
    Ok(Exit::Ok)
}

/// The ports of the engine: a and b.
const PORTS: [PortId; 2] = [PortId(0), PortId(1)];

/// Who owns the loop of a link.
struct Supervisor {
    panel: Panel,
    plan: Plan,
    aside: Aside<Read>,
    wanted: WantedLink,
    seed: u64,
    gone: [Option<String>; 2],
    /// Where an end that is no port yet is waited for.
    listeners: [Option<ListenerId>; 2],
    /// Of those who came to an end at which somebody is.
    refused: Seldom,
}

impl Supervisor {
    fn open(&mut self, runner: &mut Runner<Netem>, at: usize) -> Result<()> {
        let (Some(end), Some(id)) = (self.wanted.ports.get(at), PORTS.get(at)) else {
            return Ok(());
        };
        let wrong = |why: &str| {
            let message = format!("'{}' cannot be an end of a link: {why}", end.name);
            Error::new(Exit::Usage, &LINK, message)
        };
        let ports = match end.spec.open()? {
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
            return Err(wrong("it is several"));
        };
        let name = port.name().to_owned();
        runner.attach(*id, port).map_err(|error| Error::io("use", name, &error))?;
        if let Some(gone) = self.gone.get_mut(at) {
            *gone = None;
        }
        Ok(())
    }

    fn show(&self, runner: &Runner<Netem>) -> Shown {
        let engine = runner.engine();
        let ends = self.wanted.ports.iter().zip(&self.gone);
        Shown {
            name: self.panel.name.to_string(),
            pid: std::process::id(),
            seed: self.seed,
            ports: ends
                .map(|(end, gone)| End { name: end.name.clone(), gone: gone.clone() })
                .collect(),
            asked: model::Netem::new(&self.wanted.profiles),
            a_to_b: LinkReport::from(&engine.report(Direction::AToB)),
            b_to_a: LinkReport::from(&engine.report(Direction::BToA)),
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
            profile.check().map_err(|error| Error::new(Exit::Usage, &LINK, error))?;
        }
        for (direction, profile, before) in ways {
            if profile == before {
                continue;
            }
            runner
                .engine_mut()
                .set(now, direction, profile)
                .map_err(|error| Error::new(Exit::Usage, &LINK, error))?;
            done.push(format!("{direction}: {}", model::keys_text(&profile::to_json(profile))));
        }
        self.wanted.profiles = profiles;
        Ok(done)
    }

    /// Makes it all as wanted: profiles change between two packets, a port that is another one
    /// is opened anew, and so is one that went.
    fn become_as(&mut self, runner: &mut Runner<Netem>, wanted: WantedLink) -> Result<Vec<String>> {
        if wanted.layer != self.wanted.layer {
            return Err(Error::new(
                Exit::Usage,
                &LINK,
                "frames cannot become packets while it runs",
            ));
        }
        let mut done = self.set(runner, wanted.profiles.clone())?;
        let before = std::mem::replace(&mut self.wanted, wanted);
        for at in 0..PORTS.len() {
            let same = self.wanted.ports.get(at) == before.ports.get(at);
            let is_gone = self.gone.get(at).is_some_and(Option::is_some);
            if same && !is_gone {
                continue;
            }
            if let Some(id) = PORTS.get(at) {
                runner.detach(*id);
            }
            if let Some(listener) = self.listeners.get_mut(at).and_then(Option::take) {
                runner.close_listener(listener);
            }
            self.open(runner, at).map_err(|error| error.after(done.clone()))?;
            done.extend(self.wanted.ports.get(at).map(|end| format!("{} opened", end.name)));
        }
        Ok(done)
    }

    /// Somebody came to a listener: he is that end, unless there is one already.
    fn accepted(&mut self, runner: &mut Runner<Netem>, listener: ListenerId, port: Box<dyn Port>) {
        let at = self.listeners.iter().position(|known| *known == Some(listener));
        let Some(id) = at.and_then(|at| PORTS.get(at)) else { return };
        let name = self.name_of(*id);
        if runner.port(*id).is_some() {
            if let Some(count) = self.refused.happens(runner.now()) {
                let count = times(count);
                let message = format!("{name} is an end for one; a second one came {count}");
                self.panel.tell(&Told::Failed { message });
            }
            return;
        }
        match runner.attach(*id, port) {
            Ok(()) => self.panel.tell(&Told::PortAdded { port: name }),
            Err(error) => self.panel.failed(&name, &Error::io("use", &name, &error)),
        }
    }

    fn name_of(&self, id: PortId) -> String {
        let at = PORTS.iter().position(|port| *port == id).unwrap_or(0);
        self.wanted.ports.get(at).map_or(String::new(), |end| end.name.clone())
    }
}

/// What is read beside the loop.
enum Read {
    /// The configuration.
    Link(Box<WantedLink>),
    /// What a request wants of both directions.
    Profiles(Box<Profiles>),
}

impl Supervise for Supervisor {
    type Engine = Netem;
    type Read = Read;

    fn panel(&mut self) -> &mut Panel {
        &mut self.panel
    }

    fn aside(&mut self) -> &mut Aside<Read> {
        &mut self.aside
    }

    fn job(&self, asked: &Asked) -> Result<Job<Read>> {
        Ok(match asked {
            Asked::Reload(_) => {
                let plan = self.plan.clone();
                Box::new(move || plan.link().map(Box::new).map(Read::Link))
            }
            Asked::Change(request) => {
                let (body, base) = (request.body.clone(), self.wanted.profiles.clone());
                Box::new(move || {
                    let profiles = read_request(&body, |table| profile::of_table(table, base))?;
                    Ok(Read::Profiles(Box::new(profiles)))
                })
            }
        })
    }

    fn apply(&mut self, runner: &mut Runner<Netem>, read: Read) -> Result<Vec<String>> {
        match read {
            Read::Link(wanted) => self.become_as(runner, *wanted),
            Read::Profiles(profiles) => self.set(runner, *profiles),
        }
    }

    fn answer(&mut self, runner: &mut Runner<Netem>, request: &Request) -> Reply {
        match (request.method, request.path.as_str()) {
            (Method::Get, "/netem") => value(&self.show(runner)).into(),
            (Method::Patch, "/netem") => self.read_later(request),
            _ => Reply::unknown_path(request),
        }
    }

    fn text(&self, runner: &Runner<Netem>) -> String {
        text(&self.panel.output, &self.show(runner))
    }
}

impl Handler<Netem> for Supervisor {
    fn event(&mut self, runner: &mut Runner<Netem>, event: Event) -> Flow {
        match event {
            Event::PortGone { port, why, .. } => {
                let at = PORTS.iter().position(|known| *known == port);
                // At a listener another one may come.
                let is_awaited =
                    at.is_some_and(|at| self.listeners.get(at).is_some_and(Option::is_some));
                if let Some(gone) = at.and_then(|at| self.gone.get_mut(at)).filter(|_| !is_awaited)
                {
                    *gone = Some(why.to_string());
                }
                let (port, reason) = (self.name_of(port), why.to_string());
                self.panel.tell(&Told::PortGone { port, reason });
            }
            Event::Accepted(listener, port) => self.accepted(runner, listener, port),
            Event::ListenerGone(listener, error) => {
                let at = self.listeners.iter().position(|known| *known == Some(listener));
                if let Some(at) = at {
                    let port =
                        self.wanted.ports.get(at).map_or(String::new(), |end| end.name.clone());
                    let reason = error.to_string();
                    if let (Some(place), Some(gone)) =
                        (self.listeners.get_mut(at), self.gone.get_mut(at))
                    {
                        (*place, *gone) = (None, Some(reason.clone()));
                    }
                    self.panel.tell(&Told::PortGone { port, reason });
                }
            }
            Event::PortDown(port) => self.panel.tell(&Told::PortDown { port: self.name_of(port) }),
            Event::PortUp(port) => self.panel.tell(&Told::PortUp { port: self.name_of(port) }),
            Event::Alarm => {
                self.panel.flush();
                runner.set_alarm(Some(runner.now() + TICK));
            }
            other => return self.heard(runner, other),
        }
        Flow::Continue
    }
}

/// A link for people: what was asked for, and what happened.
pub fn text(output: &Output, shown: &Shown) -> String {
    let names: Vec<String> = shown
        .ports
        .iter()
        .map(|end| match &end.gone {
            None => clean(&end.name),
            Some(why) => format!("{} (gone: {})", clean(&end.name), clean(why)),
        })
        .collect();
    let mut lines = vec![format!(
        "{} (pid {}): {}, seed {}",
        output.paint(Tone::Name, clean(&shown.name)),
        shown.pid,
        names.join(" and "),
        shown.seed
    )];
    let name = |at: usize| shown.ports.get(at).map_or(String::new(), |end| clean(&end.name));
    lines.extend(shown.a_to_b.lines(&format!("{} to {}", name(0), name(1))));
    lines.extend(shown.b_to_a.lines(&format!("{} to {}", name(1), name(0))));
    lines.join("\n")
}
