//! Configuration and status of a running switch.

use adit_packet::{Instant, MacAddr};
use alloc::vec::Vec;
use core::time::Duration;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use crate::drop_reason::DropReason;
use crate::endpoint::PortId;
use crate::switch::config::{PortConfig, SwitchConfig};
use crate::switch::counters::PortCounters;
use crate::switch::declared::Declared;
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

/// The minimum number of table slots in a page: it takes a fraction of a millisecond.
const PAGE_SLOTS: usize = 4096;

impl Switch {
    /// The maximum number of ports: [`SwitchConfig::PORTS_MAX`].
    pub const PORTS_MAX: usize = SwitchConfig::PORTS_MAX;

    /// Creates a switch without ports.
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
            declared: Declared::default(),
        })
    }

    /// Its configuration.
    #[must_use]
    pub const fn config(&self) -> &SwitchConfig {
        &self.config
    }

    /// Changes its configuration, except for the table size and the seed, which stay. No frame and no
    /// learned address is lost.
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
        // Both may be due earlier now.
        (self.next_round, self.next_sweep) = (self.now, self.now);
        if !self.config.loop_guard.enabled {
            self.ports.iter_mut().for_each(|port| port.loops = LoopState::new());
        }
        self.update_ports();
        Ok(())
    }

    /// Adds a port. Its link is up.
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

    /// Removes a port and all its addresses; `false` if there is no such port.
    pub fn remove_port(&mut self, id: PortId) -> bool {
        self.forget_all(|slot| slot.port == id);
        let removed = self.ports.remove(id).is_some();
        self.update_ports();
        removed
    }

    /// Changes the configuration of a port. Its learned addresses stay unless `vlan` or `sticky` changes.
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

    /// The configuration of a port.
    #[must_use]
    pub fn port_config(&self, id: PortId) -> Option<&PortConfig> {
        Some(&self.ports.find(id)?.config)
    }

    /// Sets the link state of a port; `false` if there is no such port. A port that goes down loses its
    /// learned addresses and its block.
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

    /// The state of a port.
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

    /// The counters of a port since it was added.
    #[must_use]
    pub fn counters(&self, id: PortId) -> Option<&PortCounters> {
        Some(&self.ports.find(id)?.counters)
    }

    /// The address table, in no order, without expired entries.
    pub fn fdb(&self) -> impl Iterator<Item = FdbEntry> + '_ {
        self.fdb.entries(0..self.fdb.size(), self.now, self.config.ageing, self.declared.mark())
    }

    /// A page of the address table (some thousand slots, in no order), and the start of the next one. Start
    /// at 0 and continue until that is `None`. An entry that stays in the table is in one of the pages.
    pub fn fdb_page(&self, from: usize) -> (impl Iterator<Item = FdbEntry> + '_, Option<usize>) {
        let size = self.fdb.size();
        let end = self.fdb.boundary(from.saturating_add(PAGE_SLOTS).min(size));
        let (now, ageing, mark) = (self.now, self.config.ageing, self.declared.mark());
        let page = self.fdb.entries(from.min(end)..end, now, ageing, mark);
        (page, (end < size).then_some(end))
    }

    /// The number of addresses in the table.
    #[must_use]
    pub const fn fdb_len(&self) -> usize {
        self.fdb.len()
    }

    /// Mirror copies to that port that were lost, for want of a buffer or of room in the outbox.
    #[must_use]
    pub fn missed_copies(&self, to: PortId) -> u64 {
        self.missed.iter().find(|(of, _)| *of == to).map_or(0, |(_, count)| *count)
    }

    /// The number of addresses learned on a port.
    #[must_use]
    pub fn learned(&self, id: PortId) -> Option<usize> {
        Some(self.ports.find(id)?.learned)
    }

    /// Adds a static address, or replaces an entry of any kind. `vlan` is `None` for the untagged network of
    /// transparent ports.
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

    /// Deletes an address of any kind; `false` if it is not in the table.
    pub fn fdb_del(&mut self, vlan: Option<VlanId>, mac: MacAddr) -> bool {
        self.forget(key_of(vlan, mac))
    }

    /// Deletes addresses; returns their number.
    pub fn fdb_flush(&mut self, which: FdbFlush) -> usize {
        self.forget_all(|slot| {
            which.port.is_none_or(|port| slot.port == port)
                && which.vlan.is_none_or(|vlan| slot.key.vlan() == Some(vlan))
                && (which.with_static || slot.kind != FdbKind::Static)
        })
    }

    /// Takes the oldest event.
    pub fn poll_event(&mut self) -> Option<SwitchEvent> {
        self.events.pop()
    }

    fn forget_learned(&mut self, id: PortId) {
        self.forget_all(|slot| slot.port == id && slot.kind != FdbKind::Static);
    }

    /// Updates which ports are closed and mirrored, after a change.
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
        self.declared.void_all();
    }
}

fn key_of(vlan: Option<VlanId>, mac: MacAddr) -> Key {
    Key::new(vlan.map_or(0, VlanId::number), mac)
}

/// Checks the ranges of a configuration.
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
