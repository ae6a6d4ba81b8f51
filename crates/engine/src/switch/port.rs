//! The ports of a switch and what it keeps of each.

use alloc::vec::Vec;
use core::time::Duration;

use adit_packet::{Instant, PacketBuf};

use crate::drop_reason::DropReason;
use crate::endpoint::{Endpoint, PortId};
use crate::outbox::Outbox;
use crate::switch::config::{GuardConfig, PortConfig, SwitchConfig};
use crate::switch::counters::PortCounters;
use crate::switch::error::ConfigError;
use crate::switch::event::LoopCause;
use crate::switch::fdb::Key;
use crate::switch::loop_guard::LoopState;
use crate::switch::mirror::Watchers;
use crate::switch::storm::Storm;
use crate::switch::tagging::{Form, Tagging};

/// One port.
#[derive(Debug)]
pub(super) struct Port {
    pub(super) id: PortId,
    /// Why nothing may pass; `None` if it forwards.
    pub(super) closed: Option<DropReason>,
    pub(super) is_guarded: bool,
    pub(super) watchers: Watchers,
    /// Whether frames may pass by the switch here, as far as the loop is concerned.
    pub(super) may_be_fast: bool,
    /// What the last frame from here found in the table.
    pub(super) last: LastHit,
    pub(super) config: PortConfig,
    pub(super) storm: Storm,
    /// Addresses in the table that were learned here.
    pub(super) learned: usize,
    pub(super) is_up: bool,
    pub(super) loops: LoopState,
    pub(super) counters: PortCounters,
    reported: [Option<Instant>; Notice::COUNT],
}

/// The state of a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PortState {
    /// It forwards frames.
    Forwarding,
    /// Its link is down.
    Down,
    /// It is blocked because of a loop.
    Blocked {
        /// How the loop was detected.
        cause: LoopCause,
        /// When it is retried.
        until: Instant,
    },
    /// It is the destination of a mirror and carries nothing else.
    Mirror,
}

/// What a port found in the table for its last frame: true for the next frame between the same two
/// hosts while nothing changes there.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct LastHit {
    pub(super) source: Key,
    pub(super) destination: Key,
    /// The place of the destination's port.
    pub(super) to: usize,
    /// That of the table and the ports when it was found.
    pub(super) generation: u64,
    /// The time at which the source must be refreshed or the destination expires.
    pub(super) until: Instant,
}

/// Kinds of events of a port, each reported once per second at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Notice {
    Moved,
    Refused,
    Limit,
    Guarded,
    Broadcast,
    Multicast,
    UnknownUnicast,
}

impl Notice {
    const COUNT: usize = 7;
    /// The time for which the same notice is not repeated.
    pub(super) const QUIET: Duration = Duration::from_secs(1);
}

impl Port {
    pub(super) fn new(id: PortId, config: PortConfig) -> Self {
        Self {
            id,
            closed: None,
            is_guarded: config.guard.is_on(),
            watchers: Watchers::default(),
            may_be_fast: false,
            last: LastHit::default(),
            storm: Storm::new(&config.storm),
            config,
            learned: 0,
            is_up: true,
            loops: LoopState::new(),
            counters: PortCounters::default(),
            reported: [None; Notice::COUNT],
        }
    }

    /// Changes its configuration.
    pub(super) fn set(&mut self, config: PortConfig) {
        self.is_guarded = config.guard.is_on();
        if config.storm != self.config.storm {
            self.storm = Storm::new(&config.storm);
        }
        self.config = config;
    }

    /// Whether to report this notice: not within a second of the last time.
    pub(super) fn may_report(&mut self, notice: Notice, now: Instant) -> bool {
        let Some(last) = self.reported.get_mut(notice as usize) else { return false };
        let is_due = last.is_none_or(|last| now.since(last) >= Notice::QUIET);
        if is_due {
            *last = Some(now);
        }
        is_due
    }

    /// The form in which a frame that came in here leaves by `to`.
    ///
    /// # Errors
    ///
    /// Why it does not.
    pub(super) fn form_to(&self, to: &Self, tagging: &Tagging) -> Result<Form, DropReason> {
        if let Some(closed) = to.closed {
            return Err(closed);
        }
        let same_group = self.config.group.is_some() && self.config.group == to.config.group;
        if same_group || self.config.isolated && to.config.isolated {
            return Err(DropReason::ISOLATED);
        }
        tagging.form(&to.config.vlan)
    }

    /// Sends the original and counts it.
    pub(super) fn send(&mut self, packet: PacketBuf, out: &mut Outbox) {
        let (len, sent) = (packet.len(), out.counts().sent());
        out.send(Endpoint::Port(self.id), packet);
        if out.counts().sent() == sent {
            self.counters.note_egress_drop(DropReason::OUTBOX_FULL);
        } else {
            self.counters.note_egress(len);
        }
    }

    /// Sends a copy and counts it.
    pub(super) fn send_copy(&mut self, packet: &PacketBuf, out: &mut Outbox) {
        let sent = out.counts().sent();
        let full = out.counts().discarded_for(DropReason::OUTBOX_FULL);
        out.send_copy(Endpoint::Port(self.id), packet);
        if out.counts().sent() == sent {
            let was_full = out.counts().discarded_for(DropReason::OUTBOX_FULL) != full;
            let why = if was_full { DropReason::OUTBOX_FULL } else { DropReason::NO_BUFFER };
            self.counters.note_egress_drop(why);
        } else {
            self.counters.note_egress(packet.len());
        }
    }
}

/// Checks the ranges of a configuration.
pub(super) fn check(config: &PortConfig) -> Result<(), ConfigError> {
    let guard = &config.guard;
    if guard.macs.len() > GuardConfig::LIST_MAX || guard.addresses.len() > GuardConfig::LIST_MAX {
        return Err(ConfigError::GuardList);
    }
    let storm = &config.storm;
    let rates = [storm.broadcast, storm.multicast, storm.unknown_unicast];
    if rates.into_iter().flatten().any(|rate| rate.burst == 0) {
        return Err(ConfigError::Burst);
    }
    Ok(())
}

/// The ports in the order of their numbers, found by number at once.
#[derive(Debug, Default)]
pub(super) struct Ports {
    list: Vec<Port>,
    /// By number: the place in the list.
    places: Vec<Option<u16>>,
}

impl Ports {
    pub(super) fn place(&self, id: PortId) -> Option<usize> {
        self.places.get(usize::from(id.0)).copied().flatten().map(usize::from)
    }

    pub(super) fn find(&self, id: PortId) -> Option<&Port> {
        self.list.get(self.place(id)?)
    }

    pub(super) fn find_mut(&mut self, id: PortId) -> Option<&mut Port> {
        let place = self.place(id)?;
        self.list.get_mut(place)
    }

    pub(super) fn at(&self, place: usize) -> Option<&Port> {
        self.list.get(place)
    }

    pub(super) fn at_mut(&mut self, place: usize) -> Option<&mut Port> {
        self.list.get_mut(place)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Port> {
        self.list.iter()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Port> {
        self.list.iter_mut()
    }

    pub(super) fn len(&self) -> usize {
        self.list.len()
    }

    pub(super) fn add(&mut self, port: Port) -> Result<(), ConfigError> {
        if self.place(port.id).is_some() {
            return Err(ConfigError::PortExists(port.id));
        }
        if self.list.len() >= SwitchConfig::PORTS_MAX {
            return Err(ConfigError::TooManyPorts);
        }
        let at = self.list.partition_point(|other| other.id < port.id);
        self.list.insert(at, port);
        self.renumber();
        Ok(())
    }

    pub(super) fn remove(&mut self, id: PortId) -> Option<Port> {
        let port = self.list.remove(self.place(id)?);
        self.renumber();
        Some(port)
    }

    fn renumber(&mut self) {
        let len = self.list.last().map_or(0, |port| usize::from(port.id.0) + 1);
        self.places.clear();
        self.places.resize(len, None);
        for (place, port) in (0_u16..).zip(&self.list) {
            if let Some(entry) = self.places.get_mut(usize::from(port.id.0)) {
                *entry = Some(place);
            }
        }
    }
}
