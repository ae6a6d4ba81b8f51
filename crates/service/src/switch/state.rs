//! The state of a running switch, and how its ports are found.

use crate::control::name::PortFiles;
use crate::error::{Error, Kind, Result};
use crate::event::{Event, Events};
use crate::netem::report::Links;
use crate::supervisor::{Hangup, RateLimitedLog};
use crate::switch::codes;
use crate::switch::mirror::WantedMirror;
use crate::switch::plan::Plan;
use crate::switch::port::WantedPort;
use crate::switch::wanted::{WantedSwitch, resolve_among};
use adit_engine::PortId;
use adit_engine::switch::PortCounters;
use adit_runtime::{ListenerId, PortNetem};
use std::collections::BTreeSet;

/// A running switch.
pub(super) struct SwitchService {
    pub(super) name: String,
    pub(super) events: Events,
    pub(super) hangup: Hangup,
    pub(super) plan: Plan,
    /// The configuration that was applied last.
    pub(super) wanted: WantedSwitch,
    pub(super) numbers: Numbers,
    pub(super) files: PortFiles,
    /// Whether its start is over.
    pub(super) is_running: bool,
    pub(super) is_stopping: bool,
    pub(super) is_acceleration_reported: bool,
    /// The seed for the emulated links of its ports.
    pub(super) seed: u64,
    pub(super) ports: Vec<Running>,
    pub(super) mirrors: Vec<RunningMirror>,
    /// The names of ports of the configuration that were removed on request.
    pub(super) removed: BTreeSet<String>,
}

/// A port that exists, or has ended.
pub(super) struct Running {
    pub(super) wanted: WantedPort,
    /// Its ports of the engine, each with its own name.
    pub(super) ends: Vec<(PortId, String)>,
    /// Where further ends connect.
    pub(super) listener: Option<ListenerId>,
    /// How many have connected.
    pub(super) guests: u64,
    /// Connections that were refused because there are too many.
    pub(super) refused: RateLimitedLog,
    /// Why it has ended.
    pub(super) gone: Option<String>,
    /// The counters of its last end when it ended.
    pub(super) last: Option<(PortCounters, adit_runtime::PortCounters)>,
}

impl Running {
    pub(super) fn new(wanted: WantedPort) -> Self {
        Self {
            wanted,
            ends: Vec::new(),
            listener: None,
            guests: 0,
            refused: RateLimitedLog::default(),
            gone: None,
            last: None,
        }
    }
}

/// A mirror that exists.
pub(super) struct RunningMirror {
    pub(super) wanted: WantedMirror,
    /// Its file, as a port of the loop.
    pub(super) file: Option<PortId>,
}

/// Numbers for ports: ascending, so that a number is not used again soon.
#[derive(Debug, Default)]
pub(super) struct Numbers {
    last: u16,
}

impl Numbers {
    /// The next number that is not `taken`; `None` if all are.
    pub(super) fn next(&mut self, taken: impl Fn(PortId) -> bool) -> Option<PortId> {
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
    /// The index of the port with this name.
    pub(super) fn find(&self, name: &str) -> Result<usize> {
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
            Error::new(Kind::NotFound, &codes::NO_PORT, message)
                .object(name)
                .hint(format_args!("The ports are: {}", names.join(", ")))
        })
    }

    /// The name of a port of the engine.
    pub(super) fn name_of(&self, id: PortId) -> String {
        let mut ends = self.ports.iter().flat_map(|port| &port.ends);
        let found = ends.find(|(end, _)| *end == id);
        found.map_or_else(|| format!("port {id}"), |(_, name)| name.clone())
    }

    /// Reports what the emulated link of a port did, if it had one.
    pub(super) fn link_ended(&self, port: &str, netem: &PortNetem) {
        if let Some(link) = Links::new(netem) {
            self.events.send(&Event::LinkEnded { port: port.to_owned(), link: Box::new(link) });
        }
    }
}
