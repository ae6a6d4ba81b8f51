//! Changes of a running switch: read and opened beside the loop, applied as far as something differs.
//!
//! ```text
//! reload     read the files -> remove what is not wanted -> open what is new -> add it, change the rest
//! add port   read the request -> check the name          -> open it          -> add it
//! set port   read the request -> check the name          -> open its mirror  -> change it
//! ```

use crate::control::http::Request;
use crate::error::{Error, Kind, Result};
use crate::event::Event;
use crate::supervisor::{Done, Job, Progress, read_request};
use crate::switch::mirror::WantedMirror;
use crate::switch::mirrors::OpenedMirror;
use crate::switch::port::WantedPort;
use crate::switch::state::SwitchService;
use crate::switch::wanted::WantedSwitch;
use crate::switch::{codes, mirrors, plan};
use adit_engine::switch::{Accelerate, Switch, SwitchConfig};
use adit_runtime::Opened;
use adit_runtime::Runner;

/// What was read or opened beside the loop.
pub(super) enum Change {
    /// A configuration was read.
    Wanted(Box<WantedSwitch>),
    /// A port that must be added was read.
    NewPort(Box<WantedPort>),
    /// A port was read as it must become.
    Port(Box<WantedPort>),
    /// Ports and files were opened.
    Opened(Opening<Result<Opened>, OpenedMirror>),
}

/// What a change needs opened (`P`, `M` are `()`), or has opened.
pub(super) struct Opening<P, M> {
    goal: Goal,
    ports: Vec<(WantedPort, P)>,
    mirrors: Vec<(WantedMirror, M)>,
}

/// What remains to be done after that.
enum Goal {
    /// Make the rest as wanted, compared with what was wanted before.
    Reload { before: Box<WantedSwitch>, outcome: Outcome },
    /// Nothing: the port is the change.
    Add,
    /// Change a port.
    Set(Box<WantedPort>),
}

/// What was done, and the first failure.
#[derive(Default)]
struct Outcome {
    done: Vec<String>,
    failed: Option<Error>,
}

impl Outcome {
    fn note(&mut self, result: Result<()>, what: String) {
        match result {
            Ok(()) => self.done.push(what),
            Err(error) => {
                self.failed.get_or_insert(error);
            }
        }
    }

    fn into_result(self) -> Result<Progress<Change>> {
        match self.failed {
            Some(error) => Err(error.after(self.done)),
            None => Ok(Progress::Done(Done::new(self.done))),
        }
    }
}

impl Opening<(), ()> {
    /// Opens them beside the loop, after they are listed with the others that run.
    fn next(self, service: &SwitchService) -> Progress<Change> {
        let files = service.files.clone();
        let running: Vec<_> = service.ports.iter().map(|port| port.wanted.spec.clone()).collect();
        Progress::Next(Box::new(move || {
            let Self { goal, ports, mirrors } = self;
            files.list(running.iter().chain(ports.iter().map(|(port, ())| &port.spec)));
            let ports = ports.into_iter().map(|(port, ())| {
                let opened = port.spec.open().map_err(Error::from);
                (port, opened)
            });
            let mirrors = mirrors.into_iter().map(|(mirror, ())| {
                let opened = mirrors::open(&mirror);
                (mirror, opened)
            });
            Ok(Change::Opened(Opening { goal, ports: ports.collect(), mirrors: mirrors.collect() }))
        }))
    }
}

impl SwitchService {
    /// Reads the files and options again.
    pub(super) fn read_plan(&self) -> Job<Change> {
        let plan = self.plan.clone();
        Box::new(move || plan.read().map(Box::new).map(Change::Wanted))
    }

    /// Reads the port that a request adds or changes.
    pub(super) fn read_port(&self, request: &Request) -> Result<Job<Change>> {
        let (body, files) = (request.body.clone(), request.files);
        let segments = request.segments();
        let wanted = match segments.get(1) {
            Some(name) => self.find(name).map(|at| self.ports.get(at))?,
            None => None,
        };
        let Some(mut wanted) = wanted.map(|port| port.wanted.clone()) else {
            return Ok(Box::new(move || {
                let wanted = read_request(&body, files, WantedPort::from_table)?;
                let wanted = wanted.ok_or_else(|| Error::usage("which port?"))?;
                Ok(Change::NewPort(Box::new(wanted)))
            }));
        };
        Ok(Box::new(move || {
            read_request(&body, files, |table| wanted.change(table))?;
            Ok(Change::Port(Box::new(wanted)))
        }))
    }

    pub(super) fn apply_change(
        &mut self,
        runner: &mut Runner<Switch>,
        change: Change,
    ) -> Result<Progress<Change>> {
        match change {
            Change::Wanted(wanted) => Ok(self.remove_unwanted(runner, *wanted).next(self)),
            Change::NewPort(wanted) => {
                self.check_new(&wanted)?;
                let mirrors = wanted.own_mirror().map(|mirror| (mirror, ())).into_iter().collect();
                Ok(Opening { goal: Goal::Add, ports: vec![(*wanted, ())], mirrors }.next(self))
            }
            Change::Port(wanted) => {
                let at = self.find(&wanted.name)?;
                let current = self.ports.get(at).map(|port| &port.wanted);
                if current == Some(&wanted) {
                    return Ok(Progress::Done(Done::new(Vec::new())));
                }
                let own = wanted.own_mirror();
                let is_new = own != current.and_then(WantedPort::own_mirror);
                let mirrors = own.filter(|_| is_new).map(|mirror| (mirror, ()));
                let mirrors = mirrors.into_iter().collect();
                Ok(Opening { goal: Goal::Set(wanted), ports: Vec::new(), mirrors }.next(self))
            }
            Change::Opened(opened) => self.use_opened(runner, opened),
        }
    }

    /// The first half of a reload: removes what is not wanted, so that its devices are free, and lists
    /// what must be opened.
    fn remove_unwanted(
        &mut self,
        runner: &mut Runner<Switch>,
        wanted: WantedSwitch,
    ) -> Opening<(), ()> {
        for warning in plan::warnings(&wanted) {
            self.events.note(format_args!("warning: {warning}"));
        }
        self.events.configure_log(wanted.log.as_ref());
        let before = std::mem::replace(&mut self.wanted, wanted.clone());
        self.removed.clear();
        let mut outcome = Outcome::default();
        for old in &before.mirrors {
            if !wanted.mirrors.contains(old)
                && let Some(at) = self.mirrors.iter().position(|mirror| mirror.wanted == *old)
            {
                outcome.note(self.remove_mirror(runner, at), format!("mirror {} removed", old.to));
            }
        }
        for old in &before.ports {
            let new = wanted.ports.iter().find(|port| port.name == old.name);
            if new.is_none_or(|new| new.spec != old.spec)
                && let Some(at) = self.ports.iter().position(|port| port.wanted.name == old.name)
            {
                let removed = self.remove_port(runner, at).map(|_| ());
                outcome.note(removed, format!("{} removed", old.name));
            }
        }
        let mut opening = Opening {
            goal: Goal::Reload { before: Box::new(before), outcome },
            ports: Vec::new(),
            mirrors: Vec::new(),
        };
        for new in wanted.ports {
            let at = self.ports.iter().find(|p| p.wanted.name == new.name && p.gone.is_none());
            // A recording that has ended by itself is not begun again: that would empty its file.
            let old = at.and_then(|port| port.wanted.own_mirror());
            let own = new.own_mirror().filter(|own| old.as_ref() != Some(own));
            opening.mirrors.extend(own.map(|own| (own, ())));
            if at.is_none() {
                opening.ports.push((new, ()));
            }
        }
        if let Goal::Reload { before, .. } = &opening.goal {
            let new = wanted.mirrors.into_iter().filter(|new| !before.mirrors.contains(new));
            opening.mirrors.extend(new.map(|new| (new, ())));
        }
        opening
    }

    fn use_opened(
        &mut self,
        runner: &mut Runner<Switch>,
        opened: Opening<Result<Opened>, OpenedMirror>,
    ) -> Result<Progress<Change>> {
        let Opening { goal, ports, mirrors } = opened;
        match goal {
            Goal::Reload { before, outcome } => {
                self.finish_reload(runner, (*before, outcome), ports, mirrors)
            }
            Goal::Add => {
                let mut done = Vec::new();
                for (wanted, opened) in ports {
                    // Another one may have been added in the meantime.
                    self.check_new(&wanted)?;
                    let port = self.add_port(runner, wanted, opened?)?;
                    self.events.send(&Event::PortAdded { port: port.clone() });
                    done.push(format!("{port} added"));
                }
                for (wanted, file) in mirrors {
                    let added = file.and_then(|file| self.add_mirror(runner, wanted, file));
                    added.map_err(|error| error.after(done.clone()))?;
                }
                Ok(Progress::Done(Done::new(done)))
            }
            Goal::Set(wanted) => {
                // It may have been removed in the meantime.
                let at = self.find(&wanted.name)?;
                let files: Result<Vec<_>> =
                    mirrors.into_iter().map(|(wanted, file)| Ok((wanted, file?))).collect();
                let done = vec![format!("{} changed", wanted.name)];
                self.set_port(runner, at, *wanted)?;
                for (wanted, file) in files? {
                    self.add_mirror(runner, wanted, file)?;
                }
                Ok(Progress::Done(Done::new(done)))
            }
        }
    }

    /// The second half of a reload: adds what was opened, and changes what differs.
    fn finish_reload(
        &mut self,
        runner: &mut Runner<Switch>,
        (before, mut outcome): (WantedSwitch, Outcome),
        ports: Vec<(WantedPort, Result<Opened>)>,
        mirrors: Vec<(WantedMirror, OpenedMirror)>,
    ) -> Result<Progress<Change>> {
        let wanted = self.wanted.clone();
        for (new, opened) in ports {
            let name = new.name.clone();
            let added = opened.and_then(|opened| self.add_port(runner, new, opened));
            outcome.note(added.map(|_| ()), format!("{name} added"));
        }
        for new in &wanted.ports {
            let at = self.ports.iter().position(|p| p.wanted.name == new.name && p.gone.is_none());
            let old = before.ports.iter().find(|port| port.name == new.name);
            if let Some(at) = at
                && self.ports.get(at).is_some_and(|port| port.wanted != *new)
                && old.is_none_or(|old| old != new)
            {
                outcome
                    .note(self.set_port(runner, at, new.clone()), format!("{} changed", new.name));
            }
        }
        if before.switch != wanted.switch {
            let set = self.set_switch(runner, wanted.switch.clone());
            outcome.note(set, "the switch changed".to_owned());
        }
        for old in before.statics.iter().filter(|old| !wanted.statics.contains(old)) {
            runner.engine_mut().fdb_del(old.vlan, old.mac);
            outcome.note(Ok(()), format!("{} removed", old.mac));
        }
        for new in wanted.statics.iter().filter(|new| !before.statics.contains(new)) {
            outcome
                .note(self.add_static(runner, new), format!("{} added to {}", new.mac, new.port));
        }
        for (new, file) in mirrors {
            let to = new.to.to_string();
            let is_of_a_port = !wanted.mirrors.contains(&new);
            let added = file.and_then(|file| self.add_mirror(runner, new, file));
            if !is_of_a_port || added.is_err() {
                outcome.note(added, format!("mirror {to} added"));
            }
        }
        outcome.into_result()
    }

    /// Changes the switch itself.
    pub(super) fn set_switch(
        &mut self,
        runner: &mut Runner<Switch>,
        wanted: SwitchConfig,
    ) -> Result<()> {
        let config = runner.engine().config();
        if wanted.fdb_limit != config.fdb_limit {
            return Err(Error::usage("`fdb-limit` cannot change while the switch is running")
                .hint("Stop the switch and start it again."));
        }
        let (seed, mirrors) = (config.seed, config.mirrors.clone());
        runner.accelerate(wanted.accelerate != Accelerate::Off);
        let set = runner.engine_mut().set(SwitchConfig { seed, mirrors, ..wanted });
        set.map_err(|error| Error::new(Kind::Usage, &codes::PORT, error))
    }
}
