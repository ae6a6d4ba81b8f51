//! Links that are captured: ports of the loop that write copies of their packets into a pipe.

use crate::engine::CableId;
use crate::live::wiring::{Loop, new_port};
use adit_engine::PortId;
use adit_runtime::Port;
use adit_service::error::{Error, Kind, Result};
use adit_topology::model::LinkName;
use std::collections::BTreeMap;

/// The captures, by their ports.
#[derive(Debug, Default)]
pub(super) struct Captures(BTreeMap<PortId, (LinkName, CableId)>);

impl Captures {
    /// Sends a copy of each packet of a link to a port, until that ends.
    ///
    /// # Errors
    /// The link has as many captures as it can have.
    pub(super) fn add(
        &mut self,
        runner: &mut Loop,
        (link, cable): (LinkName, CableId),
        port: Box<dyn Port>,
    ) -> Result<()> {
        let id = new_port(runner)?;
        if !runner.engine_mut().add_tee(cable, id) {
            runner.engine_mut().free(id);
            let message = format!("link '{link}' has as many captures as it can have");
            return Err(Error::new(Kind::Conflict, &crate::keeper::PART, message));
        }
        self.0.insert(id, (link, cable));
        runner.attach(id, port).map_err(|error| Error::io("use", "a pipe", &error))
    }

    /// A port of the loop has ended; whether it was one of these.
    pub(super) fn port_gone(&mut self, runner: &mut Loop, port: PortId) -> bool {
        let Some((_, cable)) = self.0.remove(&port) else { return false };
        runner.engine_mut().drop_tee(cable, port);
        runner.engine_mut().free(port);
        true
    }

    /// Ends the captures of a link that is removed.
    pub(super) fn remove(&mut self, runner: &mut Loop, name: &LinkName) {
        let of_link = self.0.iter().filter(|(_, (link, _))| link == name);
        let ports: Vec<PortId> = of_link.map(|(port, _)| *port).collect();
        for port in ports {
            runner.detach(port);
            self.port_gone(runner, port);
        }
    }
}
