//! A learning Ethernet switch.
//!
//! # Theory of operation
//!
//! Each frame goes through one pipeline, in this order, and leaves it at the first stage that drops
//! it, which is counted at the port where it came in ([`PortCounters::ingress_drops`]):
//!
//! ```text
//! ingress   head     two addresses and a tag are read, once               head.rs
//!           mirror   a copy of what comes in, as it came                  mirror.rs
//!           probe?   one of our own means a loop                          loops.rs
//!           reserved 01:80:c2:00:00:0x is never forwarded
//!           closed?  down, blocked, or a mirror's port                    port.rs
//!           vlan     which VLAN it is in; may it be here?                 tagging.rs
//!           guard    MAC, ARP, IP, ND, DHCP, RA: may it say that?         guard.rs
//!           storm    broadcast, multicast: not too many?                  storm.rs
//! learn     its source is on this port from now on                        learn.rs, fdb.rs
//! look up   where is its destination? unknown: storm, then flood
//! egress    for each port: closed, isolated, same group, no member of the VLAN? then not there
//!           tag      pushed, rewritten or taken off, only where needed    tagging.rs
//!           mirror   a copy of what goes out, as it goes
//!           send     a flood copies; the last port gets the original
//! ```
//!
//! **Frames stay whole.** A super-packet crosses as it came. When a tag is pushed or taken off, the
//! twelve bytes of addresses move, and the offsets of the virtio-net header with them.
//!
//! **The table** has a fixed size, and nothing that is in it is pushed out by what is new: an attack
//! fills it and then learns nothing more, while known hosts keep their entries and their unicast.
//! A port has a limit of its own, so that one alone cannot fill it. Each port remembers what its last
//! frame found; while nothing changes in the table the next frame between the same hosts is not
//! looked up. Entries that age are ignored at once and swept out in small steps.
//!
//! **An address that moves** from port to port is followed, but not more often than so many times in
//! a second; then it stays at its home, the last port where it was for a while. Flapping on and on is
//! a loop: the port that is not the home is blocked. Static and sticky addresses do not move, and a
//! frame with one from another port is dropped.
//!
//! **Loops** show by that, or by a probe that comes back ([`LoopGuardConfig`]). Spanning tree's own
//! frames are never forwarded, so a bridge beside us does not mistake us for a wire.
//!
//! **Time** passes in rounds of probes and steps of the sweep; nothing else waits. No frame is held.
//!
//! ```
//! use adit_engine::switch::{PortConfig, Switch, SwitchConfig, VlanId, VlanMode};
//! use adit_engine::{Endpoint, Engine, Handled, Outbox, PortId};
//! use adit_packet::{Batch, Instant, Pool, PoolConfig};
//!
//! let mut switch = Switch::new(SwitchConfig::default())?;
//! let ten = VlanId::new(10).expect("between 1 and 4094");
//! switch.add_port(PortId(0), PortConfig::default())?; // e.g. the way to other switches
//! let access = PortConfig { vlan: VlanMode::Access(ten), ..PortConfig::default() };
//! switch.add_port(PortId(1), access)?;
//!
//! let mut out = Outbox::new(Pool::new(PoolConfig::default()));
//! let mut frame = out.pool().take(60).expect("a fresh pool");
//! frame.extend(b"\xff\xff\xff\xff\xff\xff\x02\0\0\0\0\x01\x08\x06 and so on").expect("60 bytes");
//! switch.handle(Instant::ZERO, Endpoint::Port(PortId(1)), frame, &mut out);
//!
//! let mut batch = Batch::new();
//! assert_eq!(out.next_group(&mut batch), Some(Endpoint::Port(PortId(0))));
//! assert_eq!(batch.as_slice()[0].bytes()[12..16], [0x81, 0x00, 0, 10], "it got its VLAN's tag");
//! # batch.give_all(out.pool());
//! # Ok::<(), adit_engine::switch::ConfigError>(())
//! ```

mod config;
mod counters;
mod error;
mod event;
mod fdb;
mod guard;
mod head;
mod learn;
mod loop_guard;
mod loops;
mod manage;
mod mirror;
mod port;
mod storm;
mod tagging;
mod vlan;

pub use adit_packet::IpPrefix;
pub use config::{
    FrameFilter, FrameMatch, GroupId, GuardConfig, LoopGuardConfig, Mirror, MirrorDirection,
    MirrorFilter, PortConfig, StormConfig, StormRate, SwitchConfig, TagKind, Trunk, VlanMode,
};
pub use counters::PortCounters;
pub use error::ConfigError;
pub use event::{LoopCause, StormKind, SwitchEvent};
pub use fdb::{FdbEntry, FdbFlush, FdbKind};
pub use manage::PortState;
pub use vlan::{VlanId, VlanSet};

use alloc::vec::Vec;

use adit_packet::{Instant, MacAddr, PacketBuf};
use rand_chacha::ChaCha8Rng;

use crate::{DropReason, Endpoint, Engine, Handled, Outbox, PortId};
use event::Events;
use fdb::{Fdb, Key};
use head::Head;
use port::{LastHit, News, Ports};
use tagging::{Form, Tagging};

/// A learning Ethernet switch: [the module](self) tells how it works.
#[derive(Debug)]
pub struct Switch {
    config: SwitchConfig,
    ports: Ports,
    fdb: Fdb,
    events: Events,
    /// The time of the last call that told it.
    now: Instant,
    /// Of this switch, in probes.
    name: u64,
    /// For the tokens of probes.
    random: ChaCha8Rng,
    next_round: Instant,
    next_sweep: Instant,
    /// The slot of the table at which the sweep goes on.
    sweep_at: usize,
    table_full_told: Option<Instant>,
    /// Since when and until when an address flapped.
    flapping: Option<(Instant, Instant)>,
    /// When the frames of a loop that was cut have come in.
    drained_at: Instant,
    /// Copies for which there was no room, by where they should have gone.
    missed: Vec<(PortId, u64)>,
}

/// Where a frame goes.
enum Verdict {
    /// To the port at this place. The frame has the form for it.
    Unicast(usize),
    /// To all that may have it.
    Flood { tagging: Tagging, is_unknown: bool },
    /// Nowhere: it was a probe of our own.
    Heard,
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
            Ok(Verdict::Heard) => out.absorb(packet),
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
        let closed = port.closed;
        let head = Head::parse(packet.bytes())?;
        if port.watchers.ingress != 0 && closed.is_none() {
            let watching = port.watchers.ingress;
            self.mirror(watching, packet, out);
        }
        if head.destination == loop_guard::GROUP {
            if self.hears(place, packet) {
                return Ok(Verdict::Heard);
            }
        } else if head::is_reserved(head.destination) {
            return Err(closed.unwrap_or(DropReason::RESERVED_ADDRESS));
        }
        if let Some(closed) = closed {
            return Err(closed);
        }
        let port = self.ports.at_mut(place).ok_or(DropReason::PORT_DOWN)?;
        let tagging = Tagging::ingress(&port.config.vlan, &head, packet)?;
        if port.is_guarded {
            let checked = port.config.guard.check(&head, packet.bytes());
            checked.inspect_err(|&reason| self.tell_guarded(place, head.source, reason))?;
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
        self.unicast(place, to, tagging, packet, out)
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
        let mut last: Option<(usize, Form)> = None;
        for to in (0..self.ports.len()).filter(|&to| to != from) {
            let (Some(source), Some(port)) = (self.ports.at(from), self.ports.at(to)) else {
                continue;
            };
            if is_unknown && port.config.isolated {
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
        let news = match kind {
            StormKind::Broadcast => News::Broadcast,
            StormKind::Multicast => News::Multicast,
            StormKind::UnknownUnicast => News::UnknownUnicast,
        };
        if port.tells(news, now) {
            self.events.push(SwitchEvent::Storm { port: port.id, kind });
        }
        Err(DropReason::STORM)
    }

    fn tell_guarded(&mut self, place: usize, mac: MacAddr, reason: DropReason) {
        if let Some(port) = self.ports.at_mut(place)
            && port.tells(News::Guarded, self.now)
        {
            self.events.push(SwitchEvent::Guarded { port: port.id, mac, reason });
        }
    }
}

#[cfg(test)]
mod tests;
