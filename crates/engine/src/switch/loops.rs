//! What a switch does about loops: sends probes, hears them, blocks ports and opens them again.

use adit_packet::PacketBuf;
use rand_chacha::rand_core::Rng;

use super::loop_guard::{Probe, Round};
use super::{FdbKind, LoopCause, Switch, SwitchEvent, tagging};
use crate::{DropReason, Outbox, PortId};

impl Switch {
    /// Hears a frame for the group of probes.
    ///
    /// # Errors
    ///
    /// [`DropReason::PortBlocked`] if it is a probe of our own: there is a loop.
    pub(super) fn hear(&mut self, place: usize, packet: &mut PacketBuf) -> Result<(), DropReason> {
        let Some(receiver) = self.ports.at(place).filter(|_| self.config.loop_guard.enabled) else {
            return Ok(());
        };
        if receiver.closed.is_some_and(|closed| closed != DropReason::PortBlocked) {
            return Ok(());
        }
        let Some((probe, body)) = Probe::parse(packet.bytes()) else { return Ok(()) };
        let sender = self.ports.find(probe.port);
        let is_ours = sender.is_some_and(|sender| sender.loops.knows(probe.token));
        if probe.name != self.name || !is_ours {
            probe.stamp(packet.bytes_mut(), body, self.name);
            return Ok(());
        }
        self.note_loop(probe, receiver.id);
        Err(DropReason::PortBlocked)
    }

    /// One of our probes came back.
    fn note_loop(&mut self, probe: Probe, receiver: PortId) {
        let sender = probe.port;
        let mut ends = [receiver, sender].into_iter();
        let is_known = ends
            .any(|end| self.ports.find_mut(end).is_some_and(|port| port.loops.note_still_there()));
        if is_known {
            return;
        }
        let others_first = sender == receiver || probe.lowest < self.name;
        let needed = if others_first { 2 } else { 1 };
        let Some(port) = self.ports.find_mut(sender) else { return };
        if port.loops.note_return() >= needed {
            let (at, other) = (sender.max(receiver), sender.min(receiver));
            self.block(at, LoopCause::Probe { other });
        }
    }

    /// Blocks a port on which a loop shows.
    pub(super) fn block(&mut self, id: PortId, cause: LoopCause) {
        let (now, config) = (self.now, self.config.loop_guard);
        let Some(port) = self.ports.find_mut(id) else { return };
        port.loops.block(now, cause, &config);
        self.forget_all(|slot| slot.port == id && slot.kind == FdbKind::Dynamic);
        self.reopen();
        self.events.push(SwitchEvent::PortBlocked { port: id, cause });
    }

    /// Sends a probe from every port that may, and opens those whose loop is gone.
    pub(super) fn begin_round(&mut self, out: &mut Outbox) {
        for place in 0..self.ports.len() {
            let Some(port) = self.ports.at_mut(place) else { return };
            if port.closed.is_some_and(|closed| closed != DropReason::PortBlocked) {
                continue;
            }
            match port.loops.begin_round(self.now, &self.config.loop_guard) {
                Round::Silent => continue,
                Round::Probe => {}
                Round::Unblocked => {
                    self.events.push(SwitchEvent::PortUnblocked { port: port.id });
                    self.reopen();
                }
            }
            self.send_probe(place, out);
        }
    }

    fn send_probe(&mut self, place: usize, out: &mut Outbox) {
        let (name, token) = (self.name, self.random.next_u64());
        let Some(port) = self.ports.at_mut(place) else { return };
        let Some(mut packet) = out.make(Probe::LEN) else { return };
        Probe { name, lowest: name, port: port.id, token }.append_to(&mut packet);
        match tagging::tag_own(&port.config.vlan, &mut packet) {
            Ok(()) => {
                port.loops.sent(token);
                port.send(packet, out);
            }
            Err(why) => out.discard(packet, why),
        }
    }
}
