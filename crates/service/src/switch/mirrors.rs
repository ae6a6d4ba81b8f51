//! Mirrors of a running switch.

use crate::error::{Error, Kind, Result};
use crate::switch::codes;
use crate::switch::mirror::{MirrorTo, WantedMirror};
use crate::switch::port::WantedPort;
use crate::switch::state::{RunningMirror, SwitchService};
use adit_engine::PortId;
use adit_engine::switch::{Mirror, Switch, SwitchConfig};
use adit_runtime::Port;
use adit_runtime::Runner;
use adit_runtime::port::mirror::MirrorPort;

/// The most bytes of a frame in a recording: whole super-packets.
const SNAP_LEN: u32 = 1 << 18;

/// The file of a mirror, if it has one.
pub(super) type OpenedMirror = Result<Option<Box<dyn Port>>>;

/// Opens the file of a mirror; `None` if the copies go to a port. It may block: call it beside the loop.
pub(super) fn open(wanted: &WantedMirror) -> OpenedMirror {
    let MirrorTo::File(path) = &wanted.to else { return Ok(None) };
    let snap_len = wanted.truncate.and_then(|len| u32::try_from(len).ok());
    let port = MirrorPort::open(path, snap_len.unwrap_or(SNAP_LEN), wanted.filter.text())?;
    Ok(Some(Box::new(port)))
}

impl SwitchService {
    /// Adds a mirror whose file, if it has one, is open.
    pub(super) fn add_mirror(
        &mut self,
        runner: &mut Runner<Switch>,
        wanted: WantedMirror,
        file: Option<Box<dyn Port>>,
    ) -> Result<()> {
        let mut id = None;
        if let Some(file) = file {
            let taken = |id| runner.engine().port_config(id).is_some() || runner.port(id).is_some();
            let free = self.numbers.next(taken);
            let free = free.ok_or_else(|| Error::usage("too many ports"))?;
            let attached = runner.attach(free, file);
            attached.map_err(|error| Error::io("use", &wanted.to, &error))?;
            id = Some(free);
        }
        self.mirrors.push(RunningMirror { wanted, file: id });
        let set = self.set_mirrors(runner);
        if set.is_err() {
            // One more than the engine takes.
            self.mirrors.pop();
            id.map(|id| runner.detach(id));
        }
        set
    }

    /// Closes a mirror.
    pub(super) fn remove_mirror(&mut self, runner: &mut Runner<Switch>, at: usize) -> Result<()> {
        let mirror = self.mirrors.remove(at);
        // First, so that nothing is sent there.
        self.set_mirrors(runner)?;
        if let Some(id) = mirror.file {
            runner.detach(id);
        }
        Ok(())
    }

    /// The ends of the port of that name.
    fn ends_of(&self, name: &str) -> impl Iterator<Item = PortId> {
        let port = self.ports.iter().find(|port| port.wanted.name == name);
        port.into_iter().flat_map(|port| port.ends.iter().map(|(id, _)| *id))
    }

    /// Where the copies of a mirror go.
    pub(super) fn target_of(&self, mirror: &RunningMirror) -> Option<PortId> {
        match &mirror.wanted.to {
            MirrorTo::Port(name) => self.ends_of(name).next(),
            MirrorTo::File(_) => mirror.file,
        }
    }

    /// How many copies went to the target of a mirror, and how many were lost for want of room.
    pub(super) fn copies(&self, runner: &Runner<Switch>, mirror: &RunningMirror) -> (u64, u64) {
        let to = self.target_of(mirror);
        let of_loop = to.and_then(|id| runner.port(id)).map(|(_, counters)| counters);
        let missed = to.map_or(0, |to| runner.engine().missed_copies(to));
        let (sent, full) = of_loop.map_or((0, 0), |counters| (counters.sent, counters.queue_full));
        (sent, missed + full)
    }

    /// Sets the mirrors of the engine after ports or mirrors came or went.
    pub(super) fn set_mirrors(&mut self, runner: &mut Runner<Switch>) -> Result<()> {
        let mut mirrors = Vec::new();
        for mirror in &self.mirrors {
            let wanted = &mirror.wanted;
            let to = self.target_of(mirror);
            let ports: Vec<PortId> =
                wanted.ports.iter().flat_map(|name| self.ends_of(name)).collect();
            // An empty list means all ports; a list of ports that are all gone means none.
            if let Some(to) = to.filter(|_| wanted.ports.is_empty() || !ports.is_empty()) {
                mirrors.push(Mirror {
                    to,
                    ports,
                    direction: wanted.direction,
                    filter: wanted.filter.to_engine(),
                    truncate: wanted.truncate,
                });
            }
        }
        let config = runner.engine().config();
        if config.mirrors == mirrors {
            return Ok(());
        }
        let config = SwitchConfig { mirrors, ..config.clone() };
        let set = runner.engine_mut().set(config);
        set.map_err(|error| Error::new(Kind::Refused, &codes::PORT, error))
    }

    pub(super) fn remove_own_mirror(
        &mut self,
        runner: &mut Runner<Switch>,
        of: &WantedPort,
    ) -> Result<()> {
        let own = of.own_mirror();
        match self.mirrors.iter().position(|mirror| Some(&mirror.wanted) == own.as_ref()) {
            Some(at) => self.remove_mirror(runner, at),
            None => Ok(()),
        }
    }
}
