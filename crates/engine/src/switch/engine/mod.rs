//! The switch, and a frame's way through it: the stages are named in the [module](crate::switch).

mod fast_path;
mod flapping;
mod learn;
mod loops;
mod manage;

use alloc::vec::Vec;

use adit_packet::{Instant, MacAddr, PacketBuf};
use rand_chacha::ChaCha8Rng;

use crate::contract::{Engine, Handled};
use crate::drop_reason::DropReason;
use crate::endpoint::{Endpoint, PortId};
use crate::fast_path::FastPath;
use crate::outbox::Outbox;
use crate::switch::config::SwitchConfig;
use crate::switch::declared::Declared;
use crate::switch::event::Events;
use crate::switch::event::{StormKind, SwitchEvent};
use crate::switch::fdb::{Fdb, Key};
use crate::switch::head::{self, Head};
use crate::switch::loop_guard;
use crate::switch::mirror;
use crate::switch::port::{LastHit, Notice, Ports};
use crate::switch::tagging::{Form, Tagging};

/// A learning Ethernet switch: the [module](crate::switch) explains how it works.
#[derive(Debug)]
pub struct Switch {
    config: SwitchConfig,
    ports: Ports,
    fdb: Fdb,
    events: Events,
    /// The time of the last call.
    now: Instant,
    /// Of this switch, in probes.
    name: u64,
    /// For the tokens of probes.
    random: ChaCha8Rng,
    next_round: Instant,
    next_sweep: Instant,
    /// The slot of the table at which the sweep goes on.
    sweep_at: usize,
    table_full_reported: Option<Instant>,
    /// The last address that flapped.
    flapping: Option<flapping::Flapping>,
    /// When the frames of a loop that was cut have come in.
    drained_at: Instant,
    /// Copies for which there was no room, by where they should have gone.
    missed: Vec<(PortId, u64)>,
    declared: Declared,
}

/// Where a frame goes.
enum Verdict {
    /// To the port at this place. The frame has the form for it.
    Unicast(usize),
    /// To all that may have it.
    Flood { tagging: Tagging, is_unknown: bool },
    /// Nowhere: it was a probe of our own.
    Consumed,
}

impl Engine for Switch {
    fn handle(
        &mut self,
        now: Instant,
        from: Endpoint,
        mut packet: PacketBuf,
        out: &mut Outbox,
    ) -> Handled {
        self.now = now;
        let place = match from {
            Endpoint::Port(id) => self.ports.place(id),
            Endpoint::Udp(_) | Endpoint::Flow(_) => None,
        };
        let Some(place) = place else {
            out.discard(packet, DropReason::PORT_DOWN);
            return Handled::NOTHING;
        };
        match self.ingress(place, &mut packet, out) {
            Ok(Verdict::Unicast(to)) => self.send(to, packet, out),
            Ok(Verdict::Flood { tagging, is_unknown }) => {
                self.flood(place, tagging, is_unknown, packet, out);
            }
            Ok(Verdict::Consumed) => out.absorb(packet),
            Err(why) => self.drop_at(place, why, packet, out),
        }
        Handled::NOTHING
    }

    fn next_timeout(&self) -> Option<Instant> {
        let has_rounds = self.config.loop_guard.enabled && self.ports.len() != 0;
        let round = has_rounds.then_some(self.next_round);
        let sweep = (self.fdb.len() != 0).then_some(self.next_sweep);
        round.into_iter().chain(sweep).min()
    }

    fn handle_timeout(&mut self, now: Instant, out: &mut Outbox) {
        self.now = now;
        if self.config.loop_guard.enabled && now >= self.next_round {
            self.next_round = now + self.config.loop_guard.probe_interval;
            self.begin_round(out);
        }
        if now >= self.next_sweep {
            self.sweep();
        }
    }

    fn fast_path(&mut self) -> Option<&mut dyn FastPath> {
        Some(self)
    }
}

impl Switch {
    /// All stages up to the decision where a frame goes.
    fn ingress(
        &mut self,
        place: usize,
        packet: &mut PacketBuf,
        out: &mut Outbox,
    ) -> Result<Verdict, DropReason> {
        let port = self.ports.at_mut(place).ok_or(DropReason::PORT_DOWN)?;
        port.counters.note_ingress(packet.len());
        let (closed, forward_reserved) = (port.closed, port.config.forward_reserved);
        let head = Head::parse(packet.bytes())?;
        if port.watchers.ingress != 0 && closed.is_none() {
            let watching = port.watchers.ingress;
            self.mirror(watching, packet, out);
        }
        if head.destination == loop_guard::GROUP || head.destination == MacAddr::BROADCAST {
            if self.receive_probe(place, packet) {
                return Ok(Verdict::Consumed);
            }
        } else if head::is_reserved(head.destination)
            && !(forward_reserved && head.destination != head::PAUSE)
        {
            return Err(closed.unwrap_or(DropReason::RESERVED_ADDRESS));
        }
        if let Some(closed) = closed {
            return Err(closed);
        }
        let port = self.ports.at_mut(place).ok_or(DropReason::PORT_DOWN)?;
        let tagging = Tagging::ingress(&port.config.vlan, &head, packet)?;
        if port.is_guarded {
            let checked = port.config.guard.check(&head, packet.bytes());
            checked.inspect_err(|&reason| self.report_guarded(place, head.source, reason))?;
        }
        self.decide(place, &head, tagging, packet, out)
    }

    /// Learns the source, and looks up the destination.
    fn decide(
        &mut self,
        place: usize,
        head: &Head,
        tagging: Tagging,
        packet: &mut PacketBuf,
        out: &mut Outbox,
    ) -> Result<Verdict, DropReason> {
        let source = Key::new(tagging.vlan, head.source);
        if head.destination.is_multicast() {
            let kind = if head.destination == MacAddr::BROADCAST {
                StormKind::Broadcast
            } else {
                StormKind::Multicast
            };
            self.limit(place, kind, packet)?;
            self.learn(place, source)?;
            return Ok(Verdict::Flood { tagging, is_unknown: false });
        }
        let destination = Key::new(tagging.vlan, head.destination);
        let port = self.ports.at(place).ok_or(DropReason::PORT_DOWN)?;
        let LastHit { to, generation, until, .. } = port.last;
        let is_same = port.last.source == source && port.last.destination == destination;
        if is_same && generation == self.fdb.generation() && self.now < until {
            return self.unicast(place, to, tagging, packet, out);
        }
        let fresh_until = self.learn(place, source)?;
        let found = self.fdb.find(destination);
        let found = found.filter(|slot| !slot.is_aged(self.now, self.config.ageing));
        let Some((to, ages_at)) = found.and_then(|slot| {
            Some((self.ports.place(slot.port)?, slot.ages_at(self.config.ageing)))
        }) else {
            self.limit(place, StormKind::UnknownUnicast, packet)?;
            return Ok(Verdict::Flood { tagging, is_unknown: true });
        };
        if let (Some(fresh_until), Some(port)) = (fresh_until, self.ports.at_mut(place)) {
            let (generation, until) = (self.fdb.generation(), fresh_until.min(ages_at));
            port.last = LastHit { source, destination, to, generation, until };
        }
        let verdict = self.unicast(place, to, tagging, packet, out);
        if verdict.is_ok() {
            self.declare(source, destination);
        }
        verdict
    }

    /// Whether a frame may go to that port; gives it the form for it.
    fn unicast(
        &mut self,
        place: usize,
        to: usize,
        mut tagging: Tagging,
        packet: &mut PacketBuf,
        out: &mut Outbox,
    ) -> Result<Verdict, DropReason> {
        if to == place {
            return Err(DropReason::SAME_PORT);
        }
        let (Some(from), Some(port)) = (self.ports.at(place), self.ports.at(to)) else {
            return Err(DropReason::NO_DESTINATION);
        };
        let form = from.form_to(port, &tagging)?;
        let watching = port.watchers.egress;
        tagging.apply(form, packet)?;
        if watching != 0 {
            self.mirror(watching, packet, out);
        }
        Ok(Verdict::Unicast(to))
    }

    /// Sends a frame to all ports that may have it. An unknown address is not looked for on isolated
    /// ones.
    fn flood(
        &mut self,
        from: usize,
        mut tagging: Tagging,
        is_unknown: bool,
        mut packet: PacketBuf,
        out: &mut Outbox,
    ) {
        let destination = packet.bytes().first_chunk().copied().map(MacAddr);
        let is_reserved = destination.is_some_and(head::is_reserved);
        let mut last: Option<(usize, Form)> = None;
        for to in (0..self.ports.len()).filter(|&to| to != from) {
            let (Some(source), Some(port)) = (self.ports.at(from), self.ports.at(to)) else {
                continue;
            };
            if is_unknown && port.config.isolated || is_reserved && !port.config.forward_reserved {
                continue;
            }
            let Ok(form) = source.form_to(port, &tagging) else { continue };
            if let Some((earlier, form)) = last.replace((to, form))
                && self.prepare(earlier, form, &mut tagging, &mut packet, out).is_ok()
                && let Some(port) = self.ports.at_mut(earlier)
            {
                port.send_copy(&packet, out);
            }
        }
        let Some((to, form)) = last else {
            return self.drop_at(from, DropReason::NO_DESTINATION, packet, out);
        };
        match self.prepare(to, form, &mut tagging, &mut packet, out) {
            Ok(()) => self.send(to, packet, out),
            Err(why) => out.discard(packet, why),
        }
    }

    /// Gives a flooded frame the form for one port, and mirrors it. A failure is counted there.
    fn prepare(
        &mut self,
        to: usize,
        form: Form,
        tagging: &mut Tagging,
        packet: &mut PacketBuf,
        out: &mut Outbox,
    ) -> Result<(), DropReason> {
        let Some(port) = self.ports.at_mut(to) else { return Err(DropReason::NO_DESTINATION) };
        let watching = port.watchers.egress;
        tagging.apply(form, packet).inspect_err(|&why| port.counters.note_egress_drop(why))?;
        if watching != 0 {
            self.mirror(watching, packet, out);
        }
        Ok(())
    }

    fn send(&mut self, to: usize, packet: PacketBuf, out: &mut Outbox) {
        match self.ports.at_mut(to) {
            Some(port) => port.send(packet, out),
            None => out.discard(packet, DropReason::NO_DESTINATION),
        }
    }

    fn drop_at(&mut self, place: usize, why: DropReason, packet: PacketBuf, out: &mut Outbox) {
        if let Some(port) = self.ports.at_mut(place) {
            port.counters.note_ingress_drop(why);
        }
        out.discard(packet, why);
    }

    fn mirror(&mut self, watching: u32, packet: &PacketBuf, out: &mut Outbox) {
        let (ports, missed) = (&mut self.ports, &mut self.missed);
        mirror::copy_to(&self.config.mirrors, watching, packet, out, |to, sent| {
            let port = ports.find_mut(to).map(|port| &mut port.counters);
            match (sent, port) {
                (Some(len), Some(counters)) => counters.note_egress(len),
                (Some(_), None) => {}
                (None, counters) => {
                    mirror::note_missed(missed, to);
                    counters.into_iter().for_each(|c| c.note_egress_drop(DropReason::NO_BUFFER));
                }
            }
        });
    }

    /// Whether the port may flood this frame.
    fn limit(
        &mut self,
        place: usize,
        kind: StormKind,
        packet: &PacketBuf,
    ) -> Result<(), DropReason> {
        let now = self.now;
        let Some(port) = self.ports.at_mut(place) else { return Ok(()) };
        if port.storm.admits(now, kind, packet) {
            return Ok(());
        }
        let notice = match kind {
            StormKind::Broadcast => Notice::Broadcast,
            StormKind::Multicast => Notice::Multicast,
            StormKind::UnknownUnicast => Notice::UnknownUnicast,
        };
        if port.may_report(notice, now) {
            self.events.push(SwitchEvent::Storm { port: port.id, kind });
        }
        Err(DropReason::STORM)
    }

    fn report_guarded(&mut self, place: usize, mac: MacAddr, reason: DropReason) {
        if let Some(port) = self.ports.at_mut(place)
            && port.may_report(Notice::Guarded, self.now)
        {
            self.events.push(SwitchEvent::Guarded { port: port.id, mac, reason });
        }
    }
}

#[cfg(test)]
mod tests;
