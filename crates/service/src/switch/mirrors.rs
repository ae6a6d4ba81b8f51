//! The mirrors of a switch while it runs.

use crate::error::{Error, Exit, Result};
use crate::switch::port::WantedPort;
use crate::switch::wanted::{MirrorTo, WantedMirror};
use crate::switch::{RunningMirror, Supervisor, api};
use adit_engine::PortId;
use adit_engine::switch::{Mirror, Switch, SwitchConfig};
use adit_runtime::Runner;
use adit_runtime::port::mirror::MirrorPort;

/// The most of a frame that a recording holds: super-packets as they are.
const SNAP_LEN: u32 = 1 << 18;

impl Supervisor {
    /// Opens a mirror.
    pub(super) fn add_mirror(
        &mut self,
        runner: &mut Runner<Switch>,
        wanted: WantedMirror,
    ) -> Result<()> {
        let file = match &wanted.to {
            MirrorTo::Port(_) => None,
            MirrorTo::File(path) => {
                let snap_len = wanted.truncate.and_then(|len| u32::try_from(len).ok());
                let filter = wanted.filter.text();
                let port = MirrorPort::open(path, snap_len.unwrap_or(SNAP_LEN), filter)?;
                let taken =
                    |id| runner.engine().port_config(id).is_some() || runner.port(id).is_some();
                let Some(id) = self.numbers.next(taken) else {
                    return Err(Error::usage("there are too many ports"));
                };
                runner
                    .attach(id, Box::new(port))
                    .map_err(|error| Error::io("use", path.display(), &error))?;
                Some(id)
            }
        };
        self.mirrors.push(RunningMirror { wanted, file });
        let set = self.set_mirrors(runner);
        if set.is_err() {
            // One more than there may be.
            self.mirrors.pop();
            file.map(|id| runner.detach(id));
        }
        set
    }

    /// Closes a mirror.
    pub(super) fn remove_mirror(&mut self, runner: &mut Runner<Switch>, at: usize) -> Result<()> {
        let mirror = self.mirrors.remove(at);
        // First nothing is sent there any more.
        self.set_mirrors(runner)?;
        if let Some(id) = mirror.file {
            runner.detach(id);
        }
        Ok(())
    }

    /// Tells the engine of the mirrors, of which ports may have come and gone.
    pub(super) fn set_mirrors(&mut self, runner: &mut Runner<Switch>) -> Result<()> {
        let ids = |name: &String| {
            let port = self.ports.iter().find(|port| port.wanted.name == *name);
            port.into_iter().flat_map(|port| port.ends.iter().map(|(id, _)| *id))
        };
        let mut mirrors = Vec::new();
        for mirror in &self.mirrors {
            let wanted = &mirror.wanted;
            let to = match &wanted.to {
                MirrorTo::Port(name) => ids(name).next(),
                MirrorTo::File(_) => mirror.file,
            };
            let ports: Vec<PortId> = wanted.ports.iter().flat_map(ids).collect();
            // No port named is all of them; those named and gone are none.
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
        set.map_err(|error| Error::new(Exit::Refused, &api::PORT, error))
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
