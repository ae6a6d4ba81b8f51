//! A learning Ethernet switch.
//!
//! # Theory of operation

mod config;
mod counters;
mod error;
mod event;
mod fdb;
mod vlan;

pub use config::{
    FrameFilter, FrameMatch, GroupId, GuardConfig, IpPrefix, LoopGuardConfig, Mirror,
    MirrorDirection, MirrorFilter, PortConfig, StormConfig, StormRate, SwitchConfig, TagKind,
    Trunk, VlanMode,
};
pub use counters::PortCounters;
pub use error::ConfigError;
pub use event::{LoopCause, StormKind, SwitchEvent};
pub use fdb::{FdbEntry, FdbFlush, FdbKind};
pub use vlan::{VlanId, VlanSet};

use adit_packet::{Instant, MacAddr, PacketBuf};
use alloc::vec::Vec;

use crate::{DropReason, Endpoint, Engine, Outbox, PortId};
use event::Events;
use fdb::Fdb;

/// Whether a port takes part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PortState {
    /// It does.
    Forwarding,
    /// Its link is down.
    Down,
    /// A loop shows on it.
    Blocked {
        /// How the loop shows.
        cause: LoopCause,
        /// When it is tried again.
        until: Instant,
    },
    /// It is where the copies of a mirror go, and nothing else.
    Mirror,
}

/// A learning Ethernet switch: [the module](self) tells how it works.
#[derive(Debug)]
pub struct Switch {
    config: SwitchConfig,
    ports: Vec<Port>,
    fdb: Fdb,
    events: Events,
}

#[derive(Debug)]
struct Port {
    id: PortId,
    config: PortConfig,
    counters: PortCounters,
}

impl Switch {
    /// The most ports: a broadcast on all of them fills a sixteenth of an [`Outbox`].
    pub const PORTS_MAX: usize = 1024;

    /// A switch without ports.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] for a limit out of range.
    pub fn new(config: SwitchConfig) -> Result<Self, ConfigError> {
        let fdb = Fdb::new(config.fdb_limit, config.seed);
        Ok(Self { config, ports: Vec::new(), fdb, events: Events::new() })
    }

    /// What it is to be.
    #[must_use]
    pub const fn config(&self) -> &SwitchConfig {
        &self.config
    }

    /// Changes what it is to be, but for the size of its table and its seed.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] for a limit out of range.
    pub fn set(&mut self, config: SwitchConfig) -> Result<(), ConfigError> {
        self.config = config;
        Ok(())
    }

    /// Adds a port, which is up.
    ///
    /// # Errors
    ///
    /// [`ConfigError::PortExists`], [`ConfigError::TooManyPorts`], or for a limit out of range.
    pub fn add_port(&mut self, id: PortId, config: PortConfig) -> Result<(), ConfigError> {
        self.ports.push(Port { id, config, counters: PortCounters::default() });
        Ok(())
    }

    /// Takes a port away with all its addresses; `false` if there is none.
    pub fn remove_port(&mut self, id: PortId) -> bool {
        let before = self.ports.len();
        self.ports.retain(|port| port.id != id);
        before != self.ports.len()
    }

    /// Changes what a port is to be. Addresses that it learned stay if its VLANs and its stickiness
    /// do.
    ///
    /// # Errors
    ///
    /// [`ConfigError::NoPort`], or for a limit out of range.
    pub fn set_port(&mut self, id: PortId, config: PortConfig) -> Result<(), ConfigError> {
        let port = self.ports.iter_mut().find(|port| port.id == id);
        port.ok_or(ConfigError::NoPort(id))?.config = config;
        Ok(())
    }

    /// What a port is to be.
    #[must_use]
    pub fn port_config(&self, id: PortId) -> Option<&PortConfig> {
        Some(&self.ports.iter().find(|port| port.id == id)?.config)
    }

    /// Says whether the link of a port is up; `false` if there is no such port. A port that goes
    /// down loses what it learned.
    pub fn set_link(&mut self, id: PortId, up: bool) -> bool {
        let _ = up;
        self.ports.iter().any(|port| port.id == id)
    }

    /// Whether a port takes part.
    #[must_use]
    pub fn port_state(&self, id: PortId) -> Option<PortState> {
        self.ports.iter().find(|port| port.id == id).map(|_| PortState::Forwarding)
    }

    /// The ports, in the order of their numbers.
    pub fn ports(&self) -> impl Iterator<Item = PortId> + '_ {
        self.ports.iter().map(|port| port.id)
    }

    /// What went through a port since it was added.
    #[must_use]
    pub fn counters(&self, id: PortId) -> Option<&PortCounters> {
        Some(&self.ports.iter().find(|port| port.id == id)?.counters)
    }

    /// The table of addresses, in no order.
    pub fn fdb(&self) -> impl Iterator<Item = FdbEntry> + '_ {
        self.fdb.entries()
    }

    /// How many addresses are in the table.
    #[must_use]
    pub const fn fdb_len(&self) -> usize {
        self.fdb.len()
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
        let _ = (vlan, mac);
        Err(ConfigError::NoPort(port))
    }

    /// Takes an address out of the table, of whatever kind; `false` if it is not there.
    pub fn fdb_del(&mut self, vlan: Option<VlanId>, mac: MacAddr) -> bool {
        let _ = (vlan, mac);
        false
    }

    /// Takes addresses out of the table and returns how many.
    pub fn fdb_flush(&mut self, which: FdbFlush) -> usize {
        let _ = which;
        0
    }

    /// The next piece of news, oldest first.
    pub fn poll_event(&mut self) -> Option<SwitchEvent> {
        self.events.pop()
    }
}

impl Engine for Switch {
    fn handle(&mut self, _: Instant, _: Endpoint, packet: PacketBuf, out: &mut Outbox) {
        out.discard(packet, DropReason::NoDestination);
    }

    fn next_timeout(&self) -> Option<Instant> {
        None
    }

    fn handle_timeout(&mut self, _: Instant, _: &mut Outbox) {}
}
