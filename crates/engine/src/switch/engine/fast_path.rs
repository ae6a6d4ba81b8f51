//! What the switch declares to be forwarded without it: known unicast between ports at which nothing else is
//! done with a frame.

use adit_packet::Instant;

use crate::endpoint::PortId;
use crate::fast_path::{
    FastChange, FastForm, FastPath, FastPort, FastTags, Passed, Station, StationKey,
};
use crate::switch::config::{Accelerate, VlanMode};
use crate::switch::declared::station_key;
use crate::switch::engine::Switch;
use crate::switch::fdb::{FdbKind, Key, Slot};
use crate::switch::port::Port;
use crate::switch::tagging::{Form, Tagging};

impl Switch {
    /// Declares both ends of a frame that was forwarded. They are in the table.
    pub(super) fn declare(&mut self, source: Key, destination: Key) {
        if !self.declared.is_on {
            return;
        }
        for key in [source, destination] {
            let mark = self.declared.mark();
            let Some(slot) = self.fdb.find(key).filter(|slot| slot.declared != mark) else {
                continue;
            };
            let Some(station) = self.station(slot) else { continue };
            if self.declared.declare(station)
                && let Some(slot) = self.fdb.find_mut(key)
            {
                slot.declared = mark;
            }
        }
    }

    /// A port, if nothing but forwarding is done with frames from and to it.
    fn fast_port(&self, id: PortId) -> Option<&Port> {
        let Self { ports, config, .. } = self;
        ports.find(id).filter(|port| config.accelerate != Accelerate::Off && is_fast(port))
    }

    /// The station of a slot, if all that the switch would do with its frames is to forward them.
    fn station(&self, slot: &Slot) -> Option<Station> {
        let port = self.fast_port(slot.port)?;
        let macs = &port.config.guard.macs;
        let may_send = macs.is_empty() || macs.contains(&slot.key.mac());
        // It becomes sticky with one of its next frames.
        let is_settling = slot.kind == FdbKind::Dynamic && port.config.sticky;
        if !may_send || is_settling {
            return None;
        }
        let mode = &port.config.vlan;
        let form = match Tagging::of_vlan(slot.key.number()).form(mode).ok()? {
            Form::AsItIs => FastForm::Kept,
            Form::Tagged { .. } if *mode == VlanMode::Transparent => FastForm::Kept,
            Form::Tagged { tpid } => FastForm::Tagged(tpid),
            Form::Untagged(_) => FastForm::Untagged,
        };
        let lifetime = (slot.kind == FdbKind::Dynamic).then_some(self.config.ageing);
        let (key, seen) = (station_key(slot.key), slot.seen);
        Some(Station { key, port: slot.port, seen, lifetime, form })
    }
}

impl FastPath for Switch {
    fn epoch(&self) -> u64 {
        self.declared.epoch
    }

    fn port(&self, id: PortId) -> Option<FastPort> {
        let port = self.fast_port(id)?;
        Some(FastPort {
            tags: tags_of(&port.config.vlan)?,
            group: port.config.group.map(|group| group.0),
            isolated: port.config.isolated,
        })
    }

    fn set_port(&mut self, id: PortId, on: bool) {
        let Some(port) = self.ports.find_mut(id) else { return };
        if core::mem::replace(&mut port.may_be_fast, on) == on {
            return;
        }
        if on && !self.declared.is_on {
            self.declared.turn_on();
        }
        self.update_ports();
    }

    fn next_change(&mut self) -> Option<FastChange> {
        self.declared.next_change()
    }

    fn note_seen(&mut self, key: StationKey, port: PortId, at: Instant) {
        let Some(port) = self.ports.find(port) else { return };
        let slot = self.fdb.find_mut(Key::new(key.vlan, key.mac));
        if let Some(slot) = slot.filter(|slot| slot.port == port.id && slot.seen < at) {
            slot.refresh(at, port.config.sticky);
        }
    }

    fn note_passed(&mut self, id: PortId, ingress: Passed, egress: Passed) {
        let Some(port) = self.ports.find_mut(id) else { return };
        port.counters.ingress_frames += ingress.frames;
        port.counters.ingress_bytes += ingress.bytes;
        port.counters.egress_frames += egress.frames;
        port.counters.egress_bytes += egress.bytes;
    }
}

fn is_fast(port: &Port) -> bool {
    let Port { may_be_fast, closed, watchers, config, .. } = port;
    *may_be_fast
        && closed.is_none()
        && watchers.ingress == 0
        && watchers.egress == 0
        && !config.guard.reads_inside()
        && config.group.is_none_or(|group| group.0 != u16::MAX)
        && tags_of(&config.vlan).is_some()
}

fn tags_of(mode: &VlanMode) -> Option<FastTags> {
    match mode {
        VlanMode::Transparent => Some(FastTags::Any),
        VlanMode::Access(vlan) => Some(FastTags::Access(vlan.number())),
        VlanMode::Trunk(trunk) => Some(FastTags::Trunk {
            tpid: trunk.tag.tpid(),
            pvid: trunk.pvid.map(|vlan| vlan.number()),
        }),
        VlanMode::Tunnel(_) => None,
    }
}
