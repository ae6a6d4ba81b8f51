//! The engine: peers by key, by address and by port, and what an owner does with them while it runs.
//!
//! `receive` is the way of data messages from the network, `handshakes` that of the others.

mod handshakes;
mod receive;
pub(crate) mod state;

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::time::Duration;

use adit_engine::{DropCounts, DropReason, Endpoint, Engine, Handled, Outbox, PortId};
use adit_packet::{Instant, IpPrefix, Layer, PacketBuf};

use crate::allowed_ips::AllowedIps;
use crate::config::{PeerConfig, PeerMode, Random, TunnelConfig};
use crate::handshake::source::Source;
use crate::inner::destination;
use crate::keys::{PrivateKey, PublicKey};
use crate::message;
use crate::path::MTU_MIN;
use crate::peer::Peer;
use crate::shared::{LocalIdentity, Shared};
use crate::status::{PeerStatus, Totals, TunnelEvent};
use crate::tai64n::Tai64n;

/// A WireGuard interface: one private key, many peers. The [crate] documentation explains how it works.
pub struct Tunnel {
    shared: Shared,
    /// By slot. A peer keeps its slot until it is removed; then a new peer may get it.
    peers: Vec<Option<Box<Peer>>>,
    by_key: BTreeMap<PublicKey, u32>,
    /// The ports of layer 2 peers.
    by_port: BTreeMap<PortId, u32>,
    allowed: AllowedIps,
    drops: DropCounts,
}

impl core::fmt::Debug for Tunnel {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Tunnel").field("peers", &self.by_key.len()).finish_non_exhaustive()
    }
}

impl Tunnel {
    /// Creates a tunnel without peers.
    #[must_use]
    pub fn new(config: TunnelConfig, random: Random) -> Self {
        Self::with(Shared::new(config, random))
    }

    fn with(shared: Shared) -> Self {
        let tunnel = Self {
            shared,
            peers: Vec::new(),
            by_key: BTreeMap::new(),
            by_port: BTreeMap::new(),
            allowed: AllowedIps::default(),
            drops: DropCounts::new(),
        };
        tunnel.report_own_key();
        tunnel
    }

    /// Sets the wall clock: `unix` is the time since 1970-01-01 UTC at `now`. Call it at the start, about
    /// once a minute, and after a suspend. Without it, or if the clock goes back, timestamps count up
    /// from the last one.
    pub fn set_wall_clock(&mut self, now: Instant, unix: Duration) {
        self.shared.set_clock(now, unix);
    }

    /// The greatest timestamp sent so far. Store it over a restart where the clock is not reliable.
    #[must_use]
    pub const fn last_timestamp(&self) -> Option<Tai64n> {
        self.shared.config.last_timestamp
    }

    /// The greatest timestamp received from a peer. Store it over a restart, so that recorded
    /// initiations are rejected afterwards.
    #[must_use]
    pub fn timestamp_of(&self, key: &PublicKey) -> Option<Tai64n> {
        self.peer(key)?.timestamps.latest()
    }

    /// The greatest timestamp received from a peer while its clock was more than a day ahead of ours. Store it as
    /// well. It does not limit the timestamps of the right clock.
    #[must_use]
    pub fn timestamp_ahead_of(&self, key: &PublicKey) -> Option<Tai64n> {
        self.peer(key)?.timestamps.ahead()
    }

    /// Refuses a peer's initiations with this timestamp or an earlier one. Set the wall clock before: a timestamp
    /// more than a day ahead of it limits only others that far ahead.
    pub fn raise_timestamp(&mut self, now: Instant, key: &PublicKey, timestamp: Tai64n) {
        if let Some(&slot) = self.by_key.get(key)
            && let Some((peer, shared)) = self.peer_mut(slot)
        {
            peer.timestamps.raise(shared.unix(now), timestamp);
        }
    }

    /// Whether a session with a peer ever had a post-quantum key. Store it over a restart: the peer must have one
    /// again.
    #[must_use]
    pub fn had_post_quantum(&self, key: &PublicKey) -> bool {
        self.peer(key).is_some_and(Peer::had_post_quantum)
    }

    /// A session with this peer had a post-quantum key before a restart. It is ignored for a peer with
    /// [`PostQuantum::Off`](crate::PostQuantum::Off).
    pub fn remember_post_quantum(&mut self, key: &PublicKey) {
        let slot = self.by_key.get(key).copied();
        if let Some((peer, _)) = slot.and_then(|slot| self.peer_mut(slot)) {
            peer.remember_post_quantum();
        }
    }

    /// The configuration, with all changes since the start.
    #[must_use]
    pub const fn config(&self) -> &TunnelConfig {
        &self.shared.config
    }

    /// Our public key; `None` without a private key.
    #[must_use]
    pub fn public_key(&self) -> Option<PublicKey> {
        self.shared.us.as_ref().map(|us| us.identity.public)
    }

    /// Changes our private key. All sessions end; a peer with the same key is removed.
    pub fn set_private_key(&mut self, key: Option<PrivateKey>, out: &mut Outbox) {
        if key == self.shared.config.private_key {
            return;
        }
        self.shared.us = key.clone().map(LocalIdentity::new);
        self.shared.config.private_key = key;
        self.report_own_key();
        if let Some(ours) = self.public_key() {
            self.remove_peer(&ours, out);
        }
        for peer in self.peers.iter_mut().flatten() {
            peer.set_identity(&mut self.shared, out);
        }
    }

    /// Sets the MTU of the device, and probes the path MTU to every peer again.
    pub fn set_mtu(&mut self, mtu: u16) {
        self.shared.config.mtu = mtu;
        for peer in self.peers.iter_mut().flatten() {
            peer.path.moved(mtu);
            peer.schedule(&mut self.shared);
        }
    }

    /// Sets the port of the layer 3 device, e.g. after the device was recreated.
    pub const fn set_device(&mut self, device: Option<PortId>) {
        self.shared.config.device = device;
    }

    /// Reports the memory of our own key.
    fn report_own_key(&self) {
        let config = self.shared.config.private_key.as_ref();
        let used = self.shared.us.as_ref().map(|us| &us.identity.private);
        let keys = [config, used].into_iter().flatten();
        keys.for_each(|key| self.shared.holds_keys(key.as_bytes()));
    }

    /// Adds a peer, or reconfigures the peer with that key. Its sessions continue unless the preshared
    /// key changed; its endpoint stays if `config` has none. A prefix that another peer has moves to this
    /// one. A peer with our own key is ignored.
    pub fn set_peer(&mut self, now: Instant, mut config: PeerConfig) {
        if self.public_key() == Some(config.public_key) {
            return;
        }
        if let Some(&slot) = self.by_key.get(&config.public_key) {
            self.allowed.remove_all(slot);
            self.by_port.retain(|_, owner| *owner != slot);
        }
        // Host bits would make two of one network.
        config.allowed_ips.iter_mut().for_each(|prefix| *prefix = prefix.network());
        let slot = self.slot_of(&config);
        for prefix in &config.allowed_ips {
            if let Some(former) = self.allowed.insert(prefix, slot)
                && let Some((former, _)) = self.peer_mut(former)
            {
                former.config.allowed_ips.retain(|other| other != prefix);
            }
        }
        if let Some(port) = config.mode.port() {
            self.by_port.insert(port, slot);
        }
        if let Some((peer, shared)) = self.peer_mut(slot) {
            peer.set(now, config, shared);
        }
    }

    /// The configuration of a peer, with its current endpoint: change it and pass it to
    /// [`set_peer`](Self::set_peer).
    #[must_use]
    pub fn peer_config(&self, key: &PublicKey) -> Option<PeerConfig> {
        let peer = self.peer(key)?;
        Some(PeerConfig { endpoint: peer.endpoint, ..peer.config.clone() })
    }

    /// The networks behind a peer.
    #[must_use]
    pub fn allowed_ips(&self, key: &PublicKey) -> Option<&[IpPrefix]> {
        self.peer(key).map(|peer| peer.config.allowed_ips.as_slice())
    }

    /// Removes a peer; `false` if there is none with that key.
    pub fn remove_peer(&mut self, key: &PublicKey, out: &mut Outbox) -> bool {
        let Some(slot) = self.by_key.remove(key) else { return false };
        self.allowed.remove_all(slot);
        self.by_port.retain(|_, owner| *owner != slot);
        let place = usize::try_from(slot).ok().and_then(|slot| self.peers.get_mut(slot));
        if let Some(mut peer) = place.and_then(Option::take) {
            peer.end_sessions(&mut self.shared);
            peer.drop_queue(&mut self.shared, out, DropReason::NO_PEER);
            peer.drop_shaped(&mut self.shared, out, DropReason::NO_PEER);
        }
        true
    }

    /// The keys of all peers, sorted.
    pub fn peers(&self) -> impl ExactSizeIterator<Item = PublicKey> + '_ {
        self.by_key.keys().copied()
    }

    /// The status of a peer at `now`.
    #[must_use]
    pub fn status(&self, now: Instant, key: &PublicKey) -> Option<PeerStatus> {
        self.peer(key).map(|peer| peer.status(now, &self.shared))
    }

    /// The bytes received from each peer and sent to it, as in its status, in any order.
    pub fn traffic(&self) -> impl Iterator<Item = (PublicKey, [u64; 2])> + '_ {
        self.peers.iter().flatten().map(|peer| peer.traffic())
    }

    /// What all peers have in common; of round trips those that ended after `since`.
    #[must_use]
    pub fn totals(&self, since: Instant) -> Totals {
        let mut totals = Totals { dropped: self.drops.total(), ..Totals::default() };
        self.peers.iter().flatten().for_each(|peer| peer.add_to(&mut totals, since));
        totals
    }

    /// Drops that belong to no peer.
    #[must_use]
    pub const fn drops(&self) -> &DropCounts {
        &self.drops
    }

    /// Sets the endpoint of a peer, e.g. after its name was resolved again.
    pub fn set_endpoint(&mut self, key: &PublicKey, endpoint: Endpoint) {
        let slot = self.by_key.get(key).copied();
        if let Some((peer, shared)) = slot.and_then(|slot| self.peer_mut(slot)) {
            peer.set_endpoint(endpoint, shared);
        }
    }

    /// Sets the address of the host at the other end of a stream, by which its handshakes are limited. A stream
    /// without one counts by itself. Call it with `None` when the stream has ended.
    pub fn set_stream_source(&mut self, stream: PortId, source: Option<Source>) {
        match source {
            Some(source) => self.shared.streams.insert(stream, source),
            None => self.shared.streams.remove(&stream),
        };
    }

    /// Call this when a stream (a port that is neither the device's nor a peer's) has ended. A peer that was
    /// reached by it falls back to its last UDP endpoint, or to the configured one, or has none.
    pub fn forget_endpoint(&mut self, endpoint: Endpoint) {
        for peer in self.peers.iter_mut().flatten().filter(|peer| peer.endpoint == Some(endpoint)) {
            peer.forget_endpoint(&mut self.shared);
        }
    }

    /// Starts a handshake with a peer at another endpoint. If the peer answers, it moves there; its session
    /// continues until then. Does nothing while another handshake is under way.
    pub fn probe(&mut self, now: Instant, key: &PublicKey, elsewhere: Endpoint, out: &mut Outbox) {
        let slot = self.by_key.get(key).copied();
        if let Some((peer, shared)) = slot.and_then(|slot| self.peer_mut(slot)) {
            peer.probe(shared, now, elsewhere, out);
        }
    }

    /// Reports the next authenticated message of a peer, once, with [`TunnelEvent::Heard`].
    pub fn await_peer(&mut self, key: &PublicKey) {
        let slot = self.by_key.get(key).copied();
        if let Some((peer, _)) = slot.and_then(|slot| self.peer_mut(slot)) {
            peer.is_awaited = true;
        }
    }

    /// Sends a keepalive to a peer, after a handshake if there is no session. The peer learns our endpoint
    /// from it.
    pub fn send_keepalive(&mut self, now: Instant, key: &PublicKey, out: &mut Outbox) {
        let slot = self.by_key.get(key).copied();
        if let Some((peer, shared)) = slot.and_then(|slot| self.peer_mut(slot)) {
            peer.send_keepalive(shared, now, out);
        }
    }

    /// Starts a handshake with a peer, at the earliest [`Timing::rekey_timeout`](crate::Timing::rekey_timeout)
    /// after the last one. A handshake under way continues.
    pub fn connect(&mut self, now: Instant, key: &PublicKey, out: &mut Outbox) {
        let slot = self.by_key.get(key).copied();
        if let Some((peer, shared)) = slot.and_then(|slot| self.peer_mut(slot)) {
            peer.want_session(shared, now, out);
        }
    }

    /// Moves a peer to a stream that was opened for it, and starts a handshake there at once. The owner limits how
    /// often it opens one.
    pub fn connect_by(&mut self, now: Instant, key: &PublicKey, stream: PortId, out: &mut Outbox) {
        let slot = self.by_key.get(key).copied();
        if let Some((peer, shared)) = slot.and_then(|slot| self.peer_mut(slot)) {
            peer.connect_by(shared, now, Endpoint::Port(stream), out);
        }
    }

    /// Call this when the network refused a datagram to `endpoint` as too long (EMSGSIZE). `datagram_len` is
    /// the longest UDP payload that fits: the kernel's path MTU minus the IP and UDP headers.
    pub fn path_mtu_hint(&mut self, now: Instant, endpoint: Endpoint, datagram_len: usize) {
        let mtu = datagram_len.saturating_sub(message::DATA_OVERHEAD).max(MTU_MIN.into());
        let mtu = u16::try_from(mtu).unwrap_or(u16::MAX);
        let there = |peer: &&mut Box<Peer>| peer.endpoint == Some(endpoint);
        for peer in self.peers.iter_mut().flatten().filter(there) {
            peer.lower_path_mtu(&mut self.shared, now, mtu);
        }
    }

    /// Takes the oldest event.
    pub fn poll_event(&mut self) -> Option<TunnelEvent> {
        self.shared.next_event()
    }

    fn peer(&self, key: &PublicKey) -> Option<&Peer> {
        let slot = usize::try_from(*self.by_key.get(key)?).ok()?;
        self.peers.get(slot)?.as_deref()
    }

    fn peer_mut(&mut self, slot: u32) -> Option<(&mut Peer, &mut Shared)> {
        let peer = self.peers.get_mut(usize::try_from(slot).ok()?)?.as_deref_mut()?;
        Some((peer, &mut self.shared))
    }

    /// The slot of the peer with that key, which is created if there is none.
    fn slot_of(&mut self, config: &PeerConfig) -> u32 {
        if let Some(&slot) = self.by_key.get(&config.public_key) {
            return slot;
        }
        let free = self.peers.iter().position(Option::is_none).unwrap_or(self.peers.len());
        let slot = u32::try_from(free).unwrap_or(u32::MAX);
        let bare = PeerConfig { persistent_keepalive: None, ..config.clone() };
        let peer = Box::new(Peer::new(slot, bare, &self.shared));
        self.shared.holds_keys(&*peer);
        let peer = Some(peer);
        match self.peers.get_mut(free) {
            Some(place) => *place = peer,
            None => self.peers.push(peer),
        }
        self.by_key.insert(config.public_key, slot);
        slot
    }

    /// Handles a packet from the device: the longest allowed IP prefix that contains its destination gives
    /// the peer (NDSS 2017, section 2).
    fn handle_device(&mut self, now: Instant, packet: PacketBuf, out: &mut Outbox) {
        let destination = destination(packet.bytes());
        let owner = destination.and_then(|destination| self.allowed.owner(destination));
        match owner.and_then(|slot| self.peer_mut(slot)) {
            Some((peer, shared)) if peer.layer_out() == Layer::Packet => {
                peer.send_in_turn(shared, now, packet, out);
            }
            _ => {
                let known = destination.is_some();
                let why = if known { DropReason::NO_PEER } else { DropReason::MALFORMED };
                self.drops.note(why);
                out.discard(packet, why);
            }
        }
    }

    /// Handles a frame from the port of a layer 2 peer.
    fn handle_frame(&mut self, now: Instant, slot: u32, frame: PacketBuf, out: &mut Outbox) {
        match self.peer_mut(slot) {
            Some((peer, shared)) => match peer.config.mode {
                PeerMode::Vxlan(vxlan) => peer.send_vxlan(shared, now, &vxlan, frame, out),
                _ => peer.send_in_turn(shared, now, frame, out),
            },
            None => out.discard(frame, DropReason::NO_PEER),
        }
    }
}

impl Engine for Tunnel {
    fn handle(
        &mut self,
        now: Instant,
        from: Endpoint,
        packet: PacketBuf,
        out: &mut Outbox,
    ) -> Handled {
        self.shared.handled = Handled::NOTHING;
        match from {
            Endpoint::Port(port) if self.shared.config.device == Some(port) => {
                self.handle_device(now, packet, out);
            }
            Endpoint::Port(port) if self.by_port.contains_key(&port) => {
                if let Some(&slot) = self.by_port.get(&port) {
                    self.handle_frame(now, slot, packet, out);
                }
            }
            from => self.handle_network(now, from, packet, out),
        }
        self.shared.handled
    }

    fn next_timeout(&self) -> Option<Instant> {
        self.shared.wakes.next()
    }

    fn handle_timeout(&mut self, now: Instant, out: &mut Outbox) {
        while let Some((at, slot)) = self.shared.wakes.pop(now) {
            if let Some((peer, shared)) = self.peer_mut(slot)
                && peer.scheduled == Some(at)
            {
                peer.scheduled = None;
                peer.handle_timeout(shared, now, out);
            }
        }
    }

    fn held(&self) -> usize {
        self.shared.queued + self.shared.shaped.len()
    }
}

#[cfg(test)]
mod tests;
