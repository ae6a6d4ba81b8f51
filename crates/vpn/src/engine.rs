//! The engine of a tunnel: WireGuard, and for layer 2 a switch that joins the peers with the device.
//!
//! ```text
//! layer 3   TUN --0-- tunnel -- peers
//! layer 2   TAP --1-- switch --3 2-- tunnel -- peer A
//!                           \--5 4-- tunnel -- peer B
//! ```
//!
//! Even ports are the tunnel's, odd ones the switch's; a patch cable joins a port 2n with 2n + 1.

use adit_device::Mode;
use adit_engine::patch::{Jack, Members, PatchBay};
use adit_engine::switch::{ConfigError, PortConfig, Switch, SwitchConfig};
use adit_engine::{Endpoint, Engine, Handled, Outbox, PortId};
use adit_packet::{Instant, PacketBuf};
use adit_runtime::Runner;
use adit_tunnel::{PeerMode, PublicKey, Tunnel, Vxlan};
use std::collections::BTreeMap;
use std::ops::RangeInclusive;

/// The port of a TUN device, at the tunnel, and of a TAP device, at the switch.
const TUN: PortId = PortId(0);
const TAP: PortId = PortId(1);

/// The tunnel's ports for streams, above those of layer 2 peers. Each peer may have two of them (ours to it, and its
/// own to us), each unauthenticated host one. A peer's stream has 260 KiB of memory.
pub const STREAMS: RangeInclusive<u16> = 0xe000..=0xfffe;

/// The members of the patch.
const TUNNEL: usize = 0;
const SWITCH: usize = 1;

/// A tunnel, with a switch if its device is a TAP.
#[derive(Debug)]
pub struct TunnelEngine {
    /// WireGuard.
    pub tunnel: Tunnel,
    switch: Option<Switch>,
    bay: PatchBay,
    /// The tunnel's ports for layer 2 peers.
    ports: BTreeMap<PublicKey, PortId>,
}

impl TunnelEngine {
    /// A tunnel without peers; `seed` is a random number that the switch keeps to itself.
    ///
    /// # Errors
    /// None that the configuration here can have.
    pub fn new(tunnel: Tunnel, mode: Mode, seed: u64) -> Result<Self, ConfigError> {
        let mut bay = PatchBay::new();
        let switch = match mode {
            Mode::Tun => None,
            Mode::Tap => {
                let mut switch = Switch::new(SwitchConfig { seed, ..SwitchConfig::default() })?;
                switch.add_port(TAP, PortConfig::default())?;
                bay.expose(TAP, Jack::new(SWITCH, TAP));
                Some(switch)
            }
        };
        Ok(Self { tunnel, switch, bay, ports: BTreeMap::new() })
    }

    /// The engine of a tunnel that has peers: those of layer 2 keep their ports.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn resume(tunnel: Tunnel, mode: Mode, seed: u64) -> Result<Self, ConfigError> {
        let mut engine = Self::new(tunnel, mode, seed)?;
        let peers: Vec<PublicKey> = engine.tunnel.peers().collect();
        for peer in peers {
            let mode = engine.tunnel.peer_config(&peer).map(|config| config.mode);
            let Some(PeerMode::Frames(port) | PeerMode::Vxlan(Vxlan { port, .. })) = mode else {
                continue;
            };
            if let Some(switch) = &mut engine.switch {
                switch.add_port(PortId(port.0.wrapping_add(1)), PortConfig::default())?;
                engine.ports.insert(peer, port);
                let theirs = Jack::new(SWITCH, PortId(port.0.wrapping_add(1)));
                engine.bay.join(Jack::new(TUNNEL, port), theirs);
            }
        }
        Ok(engine)
    }

    /// Where the device is.
    pub const fn device(mode: Mode) -> PortId {
        match mode {
            Mode::Tun => TUN,
            Mode::Tap => TAP,
        }
    }

    /// What crosses to a peer: packets, or frames by a port that it keeps; `None` if there is no
    /// port left.
    pub fn mode_of(
        runner: &mut Runner<Self>,
        peer: &PublicKey,
        vxlan: Option<Vxlan>,
    ) -> Option<PeerMode> {
        let mode = |port| match vxlan {
            Some(vxlan) => PeerMode::Vxlan(Vxlan { port, ..vxlan }),
            None => PeerMode::Frames(port),
        };
        let site = runner.engine_mut();
        let Some(switch) = &mut site.switch else { return Some(PeerMode::Packets) };
        if let Some(port) = site.ports.get(peer) {
            return Some(mode(*port));
        }
        let is_free = |port: &PortId| !site.ports.values().any(|taken| taken == port);
        let ours = (2..*STREAMS.start()).step_by(2).map(PortId).find(is_free)?;
        let theirs = PortId(ours.0 + 1);
        switch.add_port(theirs, PortConfig::default()).ok()?;
        site.ports.insert(*peer, ours);
        site.bay.join(Jack::new(TUNNEL, ours), Jack::new(SWITCH, theirs));
        Some(mode(ours))
    }

    /// A peer has gone: so does its port.
    pub fn forget(&mut self, peer: &PublicKey) {
        if let (Some(port), Some(switch)) = (self.ports.remove(peer), &mut self.switch) {
            switch.remove_port(PortId(port.0 + 1));
            self.bay.part(Jack::new(TUNNEL, port));
        }
    }
}

/// The engines of a site, as the patch calls them.
struct Parts<'a>(&'a mut Tunnel, &'a mut Switch);

impl Members for Parts<'_> {
    fn count(&self) -> usize {
        2
    }

    fn get(&self, member: usize) -> Option<&dyn Engine> {
        match member {
            TUNNEL => Some(self.0),
            SWITCH => Some(self.1),
            _ => None,
        }
    }

    fn get_mut(&mut self, member: usize) -> Option<&mut dyn Engine> {
        match member {
            TUNNEL => Some(self.0),
            SWITCH => Some(self.1),
            _ => None,
        }
    }
}

impl Engine for TunnelEngine {
    #[inline]
    fn handle(
        &mut self,
        now: Instant,
        from: Endpoint,
        packet: PacketBuf,
        out: &mut Outbox,
    ) -> Handled {
        match &mut self.switch {
            None => self.tunnel.handle(now, from, packet, out),
            Some(switch) => {
                let mut parts = Parts(&mut self.tunnel, switch);
                self.bay.handle(&mut parts, now, from, packet, out)
            }
        }
    }

    fn next_timeout(&self) -> Option<Instant> {
        let switch = self.switch.as_ref().and_then(Engine::next_timeout);
        self.tunnel.next_timeout().into_iter().chain(switch).min()
    }

    fn handle_timeout(&mut self, now: Instant, out: &mut Outbox) {
        match &mut self.switch {
            None => self.tunnel.handle_timeout(now, out),
            Some(switch) => {
                let mut parts = Parts(&mut self.tunnel, switch);
                self.bay.handle_timeout(&mut parts, now, out);
            }
        }
    }

    fn held(&self) -> usize {
        self.tunnel.held() + self.switch.as_ref().map_or(0, Engine::held)
    }
}
