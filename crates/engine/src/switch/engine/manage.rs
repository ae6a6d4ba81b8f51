//! What the owner of a switch may ask and change while it runs.

use adit_packet::{Instant, MacAddr};
use alloc::vec::Vec;
use core::time::Duration;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use crate::drop_reason::DropReason;
use crate::endpoint::PortId;
use crate::switch::config::{PortConfig, SwitchConfig};
use crate::switch::counters::PortCounters;
use crate::switch::engine::Switch;
use crate::switch::error::ConfigError;
use crate::switch::event::Events;
use crate::switch::event::SwitchEvent;
use crate::switch::fdb::{Fdb, Key, Slot};
use crate::switch::fdb::{FdbEntry, FdbFlush, FdbKind};
use crate::switch::loop_guard::LoopState;
use crate::switch::mirror::Watchers;
use crate::switch::port::{self, Port, PortState, Ports};
use crate::switch::vlan::VlanId;

/// How many slots of the table a page is at least: a fraction of a millisecond to look at them.
const PAGE_SLOTS: usize = 4096;

impl Switch {
    /// The most ports: [`SwitchConfig::PORTS_MAX`].
    pub const PORTS_MAX: usize = SwitchConfig::PORTS_MAX;

    /// A switch without ports.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] for a limit out of range.
    pub fn new(config: SwitchConfig) -> Result<Self, ConfigError> {
        check(&config)?;
        let mut random = ChaCha8Rng::seed_from_u64(config.seed);
        Ok(Self {
            fdb: Fdb::new(config.fdb_limit, random.next_u64()),
            config,
            ports: Ports::default(),
            events: Events::new(),
            now: Instant::ZERO,
            name: random.next_u64(),
            random,
            next_round: Instant::ZERO,
            next_sweep: Instant::ZERO,
            sweep_at: 0,
            table_full_reported: None,
            flapping: None,
            drained_at: Instant::ZERO,
            missed: Vec::new(),
        })
    }

    /// What it is to be.
    #[must_use]
    pub const fn config(&self) -> &SwitchConfig {
        &self.config
    }

    /// Changes what it is to be, but for the size of its table and its seed, which stay. No frame is
    /// lost and nothing that was learned.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] for a limit out of range.
    pub fn set(&mut self, config: SwitchConfig) -> Result<(), ConfigError> {
        check(&config)?;
        let (fdb_limit, seed) = (self.config.fdb_limit, self.config.seed);
        self.config = SwitchConfig { fdb_limit, seed, ..config };
        let mirrors = &self.config.mirrors;
        self.missed.retain(|(to, _)| mirrors.iter().any(|mirror| mirror.to == *to));
        // Both are looked at anew: they may now come sooner.
        (self.next_round, self.next_sweep) = (self.now, self.now);
        if !self.config.loop_guard.enabled {
            self.ports.iter_mut().for_each(|port| port.loops = LoopState::new());
        }
        self.update_ports();
        Ok(())
    }

    /// Adds a port, which is up.
    ///
    /// # Errors
    ///
    /// [`ConfigError::PortExists`], [`ConfigError::TooManyPorts`], or for a limit out of range.
    pub fn add_port(&mut self, id: PortId, config: PortConfig) -> Result<(), ConfigError> {
        port::check(&config)?;
        self.ports.add(Port::new(id, config))?;
        self.next_round = self.now;
        self.update_ports();
        Ok(())
    }

    /// Takes a port away with all its addresses; `false` if there is none.
    pub fn remove_port(&mut self, id: PortId) -> bool {
        self.forget_all(|slot| slot.port == id);
        let removed = self.ports.remove(id).is_some();
        self.update_ports();
        removed
    }

    /// Changes what a port is to be. What it learned stays if its VLANs and its stickiness do.
    ///
    /// # Errors
    ///
    /// [`ConfigError::NoPort`], or for a limit out of range.
    pub fn set_port(&mut self, id: PortId, config: PortConfig) -> Result<(), ConfigError> {
        port::check(&config)?;
        let port = self.ports.find_mut(id).ok_or(ConfigError::NoPort(id))?;
        let keeps = port.config.vlan == config.vlan && port.config.sticky == config.sticky;
        port.set(config);
        if !keeps {
            self.forget_learned(id);
        }
        self.update_ports();
        Ok(())
    }

    /// What a port is to be.
    #[must_use]
    pub fn port_config(&self, id: PortId) -> Option<&PortConfig> {
        Some(&self.ports.find(id)?.config)
    }

    /// Says whether the link of a port is up; `false` if there is no such port. A port that goes
    /// down loses what it learned, and is no longer blocked.
    pub fn set_link(&mut self, id: PortId, up: bool) -> bool {
        let Some(port) = self.ports.find_mut(id) else { return false };
        if core::mem::replace(&mut port.is_up, up) == up {
            return true;
        }
        port.loops = LoopState::new();
        if !up {
            self.forget_learned(id);
        }
        self.next_round = self.now;
        self.update_ports();
        true
    }

    /// Whether a port takes part.
    #[must_use]
    pub fn port_state(&self, id: PortId) -> Option<PortState> {
        let port = self.ports.find(id)?;
        Some(match (port.closed, port.loops.blocked()) {
            (None, _) => PortState::Forwarding,
            (Some(why), Some(blocked)) if why == DropReason::PORT_BLOCKED => {
                PortState::Blocked { cause: blocked.cause, until: blocked.until }
            }
            (Some(why), _) if why == DropReason::PORT_DOWN => PortState::Down,
            _ => PortState::Mirror,
        })
    }

    /// The ports, in the order of their numbers.
    pub fn ports(&self) -> impl Iterator<Item = PortId> + '_ {
        self.ports.iter().map(|port| port.id)
    }

    /// What went through a port since it was added.
    #[must_use]
    pub fn counters(&self, id: PortId) -> Option<&PortCounters> {
        Some(&self.ports.find(id)?.counters)
    }

    /// The table of addresses, in no order; what has aged is not shown.
    pub fn fdb(&self) -> impl Iterator<Item = FdbEntry> + '_ {
        self.fdb.entries(0..self.fdb.size(), self.now, self.config.ageing)
    }

    /// Some thousand addresses of the table, in no order, and where to go on: from 0 until that is
    /// `None`. One that stays in the table meanwhile is in one of the pages.
    pub fn fdb_page(&self, from: usize) -> (impl Iterator<Item = FdbEntry> + '_, Option<usize>) {
        let size = self.fdb.size();
        let end = self.fdb.boundary(from.saturating_add(PAGE_SLOTS).min(size));
        let page = self.fdb.entries(from.min(end)..end, self.now, self.config.ageing);
        (page, (end < size).then_some(end))
    }

    /// How many addresses are in the table.
    #[must_use]
    pub const fn fdb_len(&self) -> usize {
        self.fdb.len()
    }

    /// How many copies for mirrors to that port were not made: there was no buffer, or too much was on
    /// its way.
    #[must_use]
    pub fn missed_copies(&self, to: PortId) -> u64 {
        self.missed.iter().find(|(of, _)| *of == to).map_or(0, |(_, count)| *count)
    }

    /// How many addresses were learned on a port.
    #[must_use]
    pub fn learned(&self, id: PortId) -> Option<usize> {
        Some(self.ports.find(id)?.learned)
    }

    /// Adds a static address, in place of one that was there; `vlan` is `None` for the untagged
    /// network of transparent ports.
    ///
    /// # Errors
    ///
    /// [`ConfigError::NoPort`], [`ConfigError::NotAStation`], [`ConfigError::FdbFull`].
    pub fn fdb_add(
        &mut self,
        vlan: Option<VlanId>,
        mac: MacAddr,
        port: PortId,
    ) -> Result<(), ConfigError> {
        if self.ports.find(port).is_none() {
            return Err(ConfigError::NoPort(port));
        }
        if !mac.is_station() {
            return Err(ConfigError::NotAStation);
        }
        let key = key_of(vlan, mac);
        if self.fdb.is_full() && self.fdb.find(key).is_none() {
            return Err(ConfigError::FdbFull);
        }
        self.forget(key);
        let added = self.fdb.insert(Slot::new(key, port, FdbKind::Static, self.now));
        if added { Ok(()) } else { Err(ConfigError::FdbFull) }
    }

    /// Takes an address out of the table, of whatever kind; `false` if it is not there.
    pub fn fdb_del(&mut self, vlan: Option<VlanId>, mac: MacAddr) -> bool {
        self.forget(key_of(vlan, mac))
    }

    /// Takes addresses out of the table and returns how many.
    pub fn fdb_flush(&mut self, which: FdbFlush) -> usize {
        self.forget_all(|slot| {
            which.port.is_none_or(|port| slot.port == port)
                && which.vlan.is_none_or(|vlan| slot.key.vlan() == Some(vlan))
                && (which.with_static || slot.kind != FdbKind::Static)
        })
    }

    /// The next piece of news, oldest first.
    pub fn poll_event(&mut self) -> Option<SwitchEvent> {
        self.events.pop()
    }

    fn forget_learned(&mut self, id: PortId) {
        self.forget_all(|slot| slot.port == id && slot.kind != FdbKind::Static);
    }

    /// Finds out anew which ports are closed and watched, after a change.
    pub(super) fn update_ports(&mut self) {
        let mirrors = &self.config.mirrors;
        for port in self.ports.iter_mut() {
            port.watchers = Watchers::of(port.id, mirrors);
            port.closed = if !port.is_up {
                Some(DropReason::PORT_DOWN)
            } else if mirrors.iter().any(|mirror| mirror.to == port.id) {
                Some(DropReason::FILTERED)
            } else if port.loops.blocked().is_some() {
                Some(DropReason::PORT_BLOCKED)
            } else {
                None
            };
        }
        // What ports remember of the table is about ports as well.
        self.fdb.touch();
    }
}

fn key_of(vlan: Option<VlanId>, mac: MacAddr) -> Key {
    Key::new(vlan.map_or(0, VlanId::number), mac)
}

/// Checks what can be out of range.
fn check(config: &SwitchConfig) -> Result<(), ConfigError> {
    let guard = &config.loop_guard;
    if !(1..=SwitchConfig::FDB_LIMIT_MAX).contains(&config.fdb_limit) {
        Err(ConfigError::FdbLimit)
    } else if config.ageing < Duration::from_secs(1) {
        Err(ConfigError::Ageing)
    } else if config.mirrors.len() > SwitchConfig::MIRRORS_MAX {
        Err(ConfigError::TooManyMirrors)
    } else if guard.probe_interval < Duration::from_millis(10) {
        Err(ConfigError::ProbeInterval)
    } else if guard.hold < Duration::from_secs(1) || guard.hold > guard.hold_max {
        Err(ConfigError::Hold)
    } else if config.moves_per_second == 0 || guard.flaps_per_second == 0 {
        Err(ConfigError::PerSecond)
    } else {
        Ok(())
    }
}
