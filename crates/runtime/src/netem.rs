//! Emulated links between a port and the engine, one a direction.

use crate::runner::Runner;
use adit_engine::netem::Link;
use adit_engine::{Endpoint, Engine, Outbox, PortId};
use adit_packet::Instant;

/// The links of one port; a direction without one is as it is.
#[derive(Debug, Default)]
pub struct PortNetem {
    /// From the port to the engine.
    pub ingress: Option<Box<Link>>,
    /// From the engine to the port.
    pub egress: Option<Box<Link>>,
}

impl PortNetem {
    pub fn next_timeout(&self) -> Option<Instant> {
        let links = [&self.ingress, &self.egress];
        links.into_iter().filter_map(|link| link.as_ref()?.next_timeout()).min()
    }

    /// Throws away what is in the links; their reports tell of it.
    pub fn clear(&mut self, now: Instant, out: &mut Outbox) {
        for link in [&mut self.ingress, &mut self.egress].into_iter().flatten() {
            link.clear(now, out);
        }
    }
}

impl<E: Engine> Runner<E> {
    /// Puts links between a port and the engine, or takes them away; the old ones are
    /// given back, with nothing in them any more. To change a link that is there, see [`Self::netem_mut`].
    pub fn set_netem(&mut self, id: PortId, netem: PortNetem) -> Option<PortNetem> {
        self.read_clock();
        let slot = self.slots.get_mut(usize::from(id.0)).and_then(Option::as_mut)?;
        let mut old = std::mem::replace(&mut slot.netem, netem);
        old.clear(self.now, &mut self.out);
        self.time(id);
        Some(old)
    }

    /// The links of a port, to read their reports.
    pub fn netem(&self, id: PortId) -> Option<&PortNetem> {
        self.slots.get(usize::from(id.0))?.as_ref().map(|slot| &slot.netem)
    }

    /// The links of a port: to change them between two packets.
    pub fn netem_mut(&mut self, id: PortId) -> Option<&mut PortNetem> {
        let slot = self.slots.get_mut(usize::from(id.0)).and_then(Option::as_mut)?;
        Some(&mut slot.netem)
    }

    /// Hands on what has come through a port's links.
    pub fn run_netem(&mut self, id: PortId) {
        self.run_ingress(id);
        self.run_egress(id);
    }

    /// Hands what has come through to the engine.
    pub fn run_ingress(&mut self, id: PortId) {
        let slot = self.slots.get_mut(usize::from(id.0)).and_then(Option::as_mut);
        let Some(link) = slot.and_then(|slot| slot.netem.ingress.as_mut()) else { return };
        while let Some(packet) = link.pop(self.now, &mut self.out) {
            self.engine.handle(self.now, Endpoint::Port(id), packet, &mut self.out);
        }
    }

    /// Sends what has come through.
    pub fn run_egress(&mut self, id: PortId) {
        loop {
            let slot = self.slots.get_mut(usize::from(id.0)).and_then(Option::as_mut);
            let Some(link) = slot.and_then(|slot| slot.netem.egress.as_mut()) else { return };
            while !self.batch.is_full()
                && let Some(packet) = link.pop(self.now, &mut self.out)
            {
                if let Err(packet) = self.batch.push(packet) {
                    self.out.pool().give(packet);
                }
            }
            if self.batch.is_empty() {
                return;
            }
            self.send_batch(id);
        }
    }

    /// Does what is due at the ports that may have something to do on their own.
    pub fn run_timed(&mut self) {
        let mut at = 0;
        while let Some(&id) = self.timed.get(at) {
            at += 1;
            let Some(slot) = self.slots.get(usize::from(id.0)).and_then(Option::as_ref) else {
                continue;
            };
            let is_due = |timeout: Option<Instant>| timeout.is_some_and(|at| at <= self.now);
            let (netem, port) =
                (is_due(slot.netem.next_timeout()), is_due(slot.port.next_timeout()));
            if netem {
                self.run_netem(id);
            }
            if port {
                self.flush_port(id);
                self.serve(id);
            }
        }
        self.flush();
    }

    /// Whether a port may have something to do on its own was changed.
    pub fn time(&mut self, id: PortId) {
        let slot = self.slots.get(usize::from(id.0)).and_then(Option::as_ref);
        let is_timed = slot.is_some_and(|slot| {
            let netem = &slot.netem;
            netem.ingress.is_some() || netem.egress.is_some() || slot.port.is_timed()
        });
        self.timed.retain(|&timed| timed != id);
        if is_timed {
            self.timed.push(id);
        }
        self.read_clock();
    }
}
