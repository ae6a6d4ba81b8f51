//! The changes of a running switch that are not in its configuration.

use crate::error::{Error, Kind, Result};
use crate::supervisor::Done;
use crate::switch::changes::{Change, Changes, absolute, between};
use crate::switch::codes::PORT;
use crate::switch::port::WantedPort;
use crate::switch::state::SwitchService;
use crate::switch::wanted::{StaticAddress, WantedSwitch};
use adit_engine::switch::{FdbKind, Switch, SwitchConfig};
use adit_runtime::Runner;
use serde_json::Value;

impl SwitchService {
    /// The path of the file that it was started from.
    pub(super) fn file(&self) -> Option<String> {
        self.plan.config.as_deref().map(absolute)
    }

    /// What is not in the file; without a file, all that it has.
    pub(super) fn changes(&self, runner: &Runner<Switch>) -> Changes {
        let (file, now) = (self.file(), self.current(runner));
        let changes = match file {
            Some(_) => between(&self.wanted, &now),
            None => between(&WantedSwitch::default(), &now),
        };
        Changes { file, changes }
    }

    /// A client has written changes into the file: they are part of the configuration now.
    pub(super) fn post_saved(&mut self, runner: &Runner<Switch>, body: &Value) -> Result<Value> {
        let saved = body.get("changes").cloned().unwrap_or_default();
        let saved: Vec<Change> = serde_json::from_value(saved)
            .map_err(|error| Error::usage(format!("`changes`: {error}")))?;
        let all = self.changes(runner).changes;
        if self.plan.config.is_none() || saved.iter().any(|change| !all.contains(change)) {
            let message = "the switch changed while its changes were saved";
            return Err(Error::new(Kind::Conflict, &PORT, message).hint("Save them again."));
        }
        let is_open = |name: &str| {
            let of = |change: &&Change| match change {
                Change::PortRemoved { port } | Change::PortChanged { port, .. } => port == name,
                _ => false,
            };
            all.iter().filter(of).any(|change| !saved.contains(change))
        };
        let mut now = self.current(runner);
        for before in self.wanted.ports.iter().filter(|port| is_open(&port.name)) {
            match now.ports.iter_mut().find(|port| port.name == before.name) {
                Some(port) => *port = before.clone(),
                None => now.ports.push(before.clone()),
            }
        }
        self.removed.retain(|name| now.ports.iter().any(|port| port.name == *name));
        self.wanted = now;
        Ok(Done::new(saved.iter().map(ToString::to_string).collect()).reply)
    }

    /// The configuration that would lead to the switch as it is. A port that has ended by itself is
    /// still wanted.
    fn current(&self, runner: &Runner<Switch>) -> WantedSwitch {
        let wanted = &self.wanted;
        let mut ports: Vec<WantedPort> =
            self.ports.iter().map(|port| port.wanted.clone()).collect();
        for port in &mut ports {
            // The kernel chose the name for a pattern.
            let pattern = |of: &&WantedPort| of.name.contains('%') && of.spec == port.spec;
            if let Some(of) = wanted.ports.iter().find(pattern) {
                port.name.clone_from(&of.name);
            }
        }
        let is_missing = |of: &&WantedPort| {
            !self.removed.contains(&of.name) && ports.iter().all(|port| port.name != of.name)
        };
        let missing: Vec<WantedPort> = wanted.ports.iter().filter(is_missing).cloned().collect();
        ports.extend(missing);
        let engine = runner.engine();
        let config = engine.config().clone();
        WantedSwitch {
            name: wanted.name.clone(),
            seed: wanted.seed,
            log: wanted.log.clone(),
            metrics: wanted.metrics,
            switch: SwitchConfig {
                seed: wanted.switch.seed,
                // It cannot change while the switch runs.
                fdb_limit: wanted.switch.fdb_limit,
                mirrors: wanted.switch.mirrors.clone(),
                ..config
            },
            ports,
            statics: self.statics(engine),
            mirrors: wanted.mirrors.clone(),
        }
    }

    /// The static addresses: those of the table, and those of the configuration whose port has ended.
    fn statics(&self, engine: &Switch) -> Vec<StaticAddress> {
        let port_of = |id| {
            let is_it = |(end, name): &(_, String), port: &str| *end == id && name == port;
            let mut ports = self.ports.iter().map(|port| (&port.wanted.name, &port.ends));
            ports.find(|(name, ends)| ends.iter().any(|end| is_it(end, name))).map(|(name, _)| name)
        };
        let in_table = engine.fdb().filter(|entry| entry.kind == FdbKind::Static);
        let found: Vec<StaticAddress> = in_table
            .filter_map(|entry| {
                let port = port_of(entry.port)?.clone();
                Some(StaticAddress { mac: entry.mac, vlan: entry.vlan, port })
            })
            .collect();
        let has_ended = |name: &str| {
            let port = self.ports.iter().find(|port| port.wanted.name == name);
            !self.removed.contains(name) && port.is_none_or(|port| port.ends.is_empty())
        };
        let is_kept = |old: &&StaticAddress| found.contains(old) || has_ended(&old.port);
        let mut statics: Vec<StaticAddress> =
            self.wanted.statics.iter().filter(is_kept).cloned().collect();
        let new: Vec<StaticAddress> =
            found.iter().filter(|new| !statics.contains(new)).cloned().collect();
        statics.extend(new);
        statics
    }
}
