//! A switch made as its configuration has it, as far as that has changed.

use crate::control::http::{Method, Request};
use crate::control::server::Reply;
use crate::error::{Error, Exit, Result};
use crate::supervisor::background::{Aside, Asked, Job, Supervise};
use crate::supervisor::{Event as Told, Panel, read_request};
use crate::switch::port::WantedPort;
use crate::switch::wanted::Lab;
use crate::switch::{Supervisor, api, text};
use adit_engine::switch::{Switch, SwitchConfig};
use adit_runtime::Runner;

impl Supervisor {
    /// Changes the switch itself.
    pub(super) fn set_switch(
        &mut self,
        runner: &mut Runner<Switch>,
        wanted: SwitchConfig,
    ) -> Result<()> {
        let config = runner.engine().config();
        if wanted.fdb_limit != config.fdb_limit {
            return Err(Error::usage("the size of the table cannot be changed while it runs")
                .hint("End the switch and start it anew."));
        }
        let (seed, mirrors) = (config.seed, config.mirrors.clone());
        let set = runner.engine_mut().set(SwitchConfig { seed, mirrors, ..wanted });
        set.map_err(|error| Error::new(Exit::Usage, &api::PORT, error))
    }

    /// Makes it all as wanted, as far as that has changed.
    fn become_as(&mut self, runner: &mut Runner<Switch>, wanted: Lab) -> Result<Vec<String>> {
        let before = std::mem::replace(&mut self.lab, wanted.clone());
        let mut done = Vec::new();
        let mut failed = None;
        let mut note = |result: Result<()>, what: String| match result {
            Ok(()) => done.push(what),
            Err(error) => {
                failed.get_or_insert(error);
            }
        };
        let kept = |name: &str| wanted.ports.iter().find(|port| port.name == name);
        for old in &before.mirrors {
            if !wanted.mirrors.contains(old)
                && let Some(at) = self.mirrors.iter().position(|mirror| mirror.wanted == *old)
            {
                note(self.remove_mirror(runner, at), format!("mirror {} removed", old.to));
            }
        }
        for old in &before.ports {
            let is_kept = kept(&old.name).is_some_and(|new| new.spec == old.spec);
            if !is_kept
                && let Some(at) = self.ports.iter().position(|port| port.wanted.name == old.name)
            {
                note(self.remove_port(runner, at).map(|_| ()), format!("{} removed", old.name));
            }
        }
        for new in &wanted.ports {
            let at = self.ports.iter().position(|p| p.wanted.name == new.name && p.gone.is_none());
            let old = before.ports.iter().find(|port| port.name == new.name);
            match at {
                None => note(self.add_port(runner, new.clone()), format!("{} added", new.name)),
                Some(at) if old.is_none_or(|old| old != new) => {
                    note(self.set_port(runner, at, new.clone()), format!("{} changed", new.name));
                }
                Some(_) => {}
            }
        }
        if before.switch != wanted.switch {
            note(self.set_switch(runner, wanted.switch.clone()), "the switch changed".to_owned());
        }
        for old in before.statics.iter().filter(|old| !wanted.statics.contains(old)) {
            runner.engine_mut().fdb_del(old.vlan, old.mac);
            note(Ok(()), format!("{} removed", old.mac));
        }
        for new in wanted.statics.iter().filter(|new| !before.statics.contains(new)) {
            note(self.add_static(runner, new), format!("{} put on {}", new.mac, new.port));
        }
        for new in wanted.mirrors.iter().filter(|new| !before.mirrors.contains(new)) {
            note(self.add_mirror(runner, new.clone()), format!("mirror {} added", new.to));
        }
        match failed {
            Some(error) => Err(error.after(done)),
            None => Ok(done),
        }
    }
}

/// What is read beside the loop.
pub enum Read {
    /// The configuration.
    Lab(Box<Lab>),
    /// A port to be added.
    New(Box<WantedPort>),
    /// A port that is there, as it is to be.
    Changed(Box<WantedPort>),
}

impl Supervise for Supervisor {
    type Engine = Switch;
    type Read = Read;

    fn panel(&mut self) -> &mut Panel {
        &mut self.panel
    }

    fn aside(&mut self) -> &mut Aside<Read> {
        &mut self.aside
    }

    fn job(&self, asked: &Asked) -> Result<Job<Read>> {
        let request = match asked {
            Asked::Reload(_) => {
                let plan = self.plan.clone();
                return Ok(Box::new(move || plan.lab().map(Box::new).map(Read::Lab)));
            }
            Asked::Change(request) => request,
        };
        let body = request.body.clone();
        let segments = request.segments();
        let wanted = match segments.get(1) {
            Some(name) => self.find(name).map(|at| self.ports.get(at))?,
            None => None,
        };
        let Some(mut wanted) = wanted.map(|port| port.wanted.clone()) else {
            return Ok(Box::new(move || {
                let wanted = read_request(&body, WantedPort::from_table)?;
                let wanted = wanted.ok_or_else(|| Error::usage("which port?"))?;
                Ok(Read::New(Box::new(wanted)))
            }));
        };
        Ok(Box::new(move || {
            read_request(&body, |table| wanted.change(table))?;
            Ok(Read::Changed(Box::new(wanted)))
        }))
    }

    fn apply(&mut self, runner: &mut Runner<Switch>, read: Read) -> Result<Vec<String>> {
        match read {
            Read::Lab(wanted) => self.become_as(runner, *wanted),
            Read::New(wanted) => {
                self.add_port(runner, *wanted)?;
                let port = self.ports.last().map_or(String::new(), |port| port.wanted.name.clone());
                self.panel.tell(&Told::PortAdded { port: port.clone() });
                Ok(vec![format!("{port} added")])
            }
            Read::Changed(wanted) => {
                // It may have been taken away meanwhile.
                let at = self.find(&wanted.name)?;
                if self.ports.get(at).is_some_and(|port| port.wanted == *wanted) {
                    return Ok(Vec::new());
                }
                let done = vec![format!("{} changed", wanted.name)];
                self.set_port(runner, at, *wanted).map(|()| done)
            }
        }
    }

    fn answer(&mut self, runner: &mut Runner<Switch>, request: &Request) -> Reply {
        let segments = request.segments();
        let path: Vec<&str> = segments.iter().map(String::as_str).collect();
        match (request.method, path.as_slice()) {
            (Method::Post, ["ports"]) | (Method::Patch, ["ports", _]) => self.read_later(request),
            _ => self.answer_now(runner, request, &path),
        }
    }

    fn text(&self, runner: &Runner<Switch>) -> String {
        text::switch(&self.panel.output, &self.show(runner))
    }
}
