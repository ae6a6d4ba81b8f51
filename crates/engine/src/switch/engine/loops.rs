//! The loop guard of a switch: sends and receives probes, blocks ports and unblocks them.

use core::time::Duration;

use adit_packet::{MacAddr, PacketBuf};
use rand_chacha::rand_core::Rng;

use crate::drop_reason::DropReason;
use crate::endpoint::PortId;
use crate::outbox::Outbox;
use crate::switch::engine::Switch;
use crate::switch::engine::flapping::Flapping;
use crate::switch::event::{LoopCause, SwitchEvent};
use crate::switch::fdb::{FdbKind, Key};
use crate::switch::loop_guard::{self, Probe, Round};
use crate::switch::tagging;
use crate::switch::vlan::VlanId;

/// The pause after which flapping has ended.
const FLAP_PAUSE: Duration = Duration::from_secs(1);
/// How long probes have to find a loop before a flapping address is bound to its home; with the
/// spread it is well below a second.
const FLAP_PATIENCE: Duration = Duration::from_millis(400);
const FLAP_PATIENCE_SPREAD: u64 = 300;

/// How long frames of a loop that was just cut come in from queues on the way.
const DRAIN: Duration = Duration::from_millis(100);

impl Switch {
    /// Receives a frame for the group of probes. Returns whether it is one of our own, which proves a loop.
    pub(super) fn receive_probe(&mut self, place: usize, packet: &mut PacketBuf) -> bool {
        let Some(receiver) = self.ports.at(place).filter(|_| self.config.loop_guard.enabled) else {
            return false;
        };
        if receiver.closed.is_some_and(|closed| closed != DropReason::PORT_BLOCKED) {
            return false;
        }
        let Some((probe, body)) = Probe::parse(packet.bytes()) else { return false };
        let sender = self.ports.find(probe.port);
        let is_ours =
            probe.name == self.name && sender.is_some_and(|sender| sender.loops.knows(probe.token));
        if is_ours {
            self.note_loop(probe, receiver.id);
        } else {
            probe.stamp(packet.bytes_mut(), body, self.name);
        }
        is_ours
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
        // Every switch sends a probe in an interval; a quarter is for its way.
        let patience = self.config.loop_guard.probe_interval * 3 / 4;
        let Some(port) = self.ports.find_mut(sender) else { return };
        if port.loops.note_return(self.now) >= patience || !others_first {
            let (at, other) = (sender.max(receiver), sender.min(receiver));
            self.block(at, LoopCause::Probe { other });
        }
    }

    /// An address flaps: sends probes now. Returns whether it has flapped for so long that a loop would
    /// have been found.
    pub(super) fn note_flap(&mut self, key: Key) -> bool {
        let now = self.now;
        let since = self.flapping().map_or(now, |flapping| flapping.since);
        self.flapping = Some(Flapping { key, since, last: now });
        if since == now {
            self.next_round = now;
        }
        // A random spread: one of two switches acts first, hardly both at once.
        let patience = FLAP_PATIENCE + Duration::from_millis(self.name % FLAP_PATIENCE_SPREAD);
        now.since(since) >= patience
    }

    fn flapping(&self) -> Option<Flapping> {
        self.flapping.filter(|flapping| self.now.since(flapping.last) < FLAP_PAUSE)
    }

    /// Whether frames that were under way when a port was blocked may still arrive.
    pub(super) fn is_draining(&self) -> bool {
        self.now < self.drained_at
    }

    /// Blocks a port on which a loop shows.
    pub(super) fn block(&mut self, id: PortId, cause: LoopCause) {
        let (now, config) = (self.now, self.config.loop_guard);
        let Some(port) = self.ports.find_mut(id) else { return };
        port.loops.block(now, cause, &config);
        self.forget_all(|slot| slot.port == id && slot.kind == FdbKind::Dynamic);
        self.update_ports();
        (self.flapping, self.drained_at) = (None, now + DRAIN);
        self.events.push(SwitchEvent::PortBlocked { port: id, cause });
    }

    /// Sends a probe from every port that forwards or is blocked, and unblocks ports whose loop is gone.
    pub(super) fn begin_round(&mut self, out: &mut Outbox) {
        for place in 0..self.ports.len() {
            let Some(port) = self.ports.at_mut(place) else { return };
            if port.closed.is_some_and(|closed| closed != DropReason::PORT_BLOCKED) {
                continue;
            }
            match port.loops.begin_round(self.now, &self.config.loop_guard) {
                Round::Silent => continue,
                Round::Probe => {}
                Round::Unblocked => {
                    self.events.push(SwitchEvent::PortUnblocked { port: port.id });
                    self.update_ports();
                }
            }
            self.send_probe(place, out);
        }
    }

    /// Sends a probe by a port; while an address flaps, one to all stations of its VLAN as well. A bridge
    /// that drops unknown groups, or is part of a loop in that VLAN only, forwards that one.
    fn send_probe(&mut self, place: usize, out: &mut Outbox) {
        let (name, token) = (self.name, self.random.next_u64());
        let flapping = self.flapping();
        let Some(port) = self.ports.at_mut(place) else { return };
        let probe = Probe { name, lowest: name, port: port.id, token };
        let Some(mut packet) = out.make(Probe::LEN) else { return };
        port.loops.sent(token);
        probe.append_to(&mut packet, loop_guard::GROUP);
        match tagging::tag_own(&port.config.vlan, &mut packet) {
            Ok(()) => port.send(packet, out),
            Err(why) => out.discard(packet, why),
        }
        let Some(flapping) = flapping else { return };
        let vlan = flapping.key.vlan().map_or(0, VlanId::number);
        let Some(mut packet) = out.make(Probe::LEN) else { return };
        probe.append_to(&mut packet, MacAddr::BROADCAST);
        match tagging::tag_own_in(vlan, &port.config.vlan, &mut packet) {
            Ok(()) => port.send(packet, out),
            Err(why) => out.discard(packet, why),
        }
    }
}
