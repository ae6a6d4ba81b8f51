//! WireGuard tunnels. # Theory of operation

use alloc::vec::Vec;
use core::time::Duration;

use adit_packet::{Instant, PacketBuf};

use crate::{DropReason, Endpoint, Engine, Outbox, PortId};

mod allowed_ips;
mod config;
mod keys;
mod prefix;
mod status;
mod tai64n;
mod timing;

pub use config::{PeerConfig, PeerMode, Random, TunnelConfig};
pub use keys::{KEY_LEN, PresharedKey, PrivateKey, PublicKey};
pub use prefix::{ParsePrefixError, Prefix};
pub use status::{Drops, PeerStatus, TunnelEvent};
pub use tai64n::Tai64n;
pub use timing::Timing;

/// A WireGuard interface: one key of ours, many peers.
pub struct Tunnel {
    config: TunnelConfig,
    random: Random,
    peers: Vec<PeerConfig>,
}

impl core::fmt::Debug for Tunnel {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Tunnel").field("peers", &self.peers.len()).finish_non_exhaustive()
    }
}

impl Tunnel {
    /// A tunnel without peers.
    #[must_use]
    pub fn new(config: TunnelConfig, random: Random) -> Self {
        Self { config, random, peers: Vec::new() }
    }

    /// Tells the wall clock: the time since 1970-01-01 UTC that it shows at `now`. Call it at the
    /// start, about once a minute, and after a suspend. Without it, or where it goes back, timestamps
    /// count up from the last one.
    pub fn set_wall_clock(&mut self, now: Instant, unix: Duration) {
        let _ = (now, unix);
    }

    /// The greatest timestamp that was sent: to be kept over a restart where the clock is not reliable.
    #[must_use]
    pub fn last_timestamp(&self) -> Option<Tai64n> {
        self.config.last_timestamp
    }

    /// Our public key, if there is a private one.
    #[must_use]
    pub fn public_key(&self) -> Option<PublicKey> {
        self.config.private_key.as_ref().map(PrivateKey::public_key)
    }

    /// Changes our key; all sessions end, and a peer of the same key goes.
    pub fn set_private_key(&mut self, now: Instant, key: Option<PrivateKey>, out: &mut Outbox) {
        let _ = (now, out);
        self.config.private_key = key;
    }

    /// The device's MTU has changed.
    pub fn set_mtu(&mut self, mtu: u16) {
        self.config.mtu = mtu;
    }

    /// The port of the layer 3 device has changed (it was made anew).
    pub fn set_device(&mut self, device: Option<PortId>) {
        self.config.device = device;
    }

    /// Adds a peer, or changes the one of that key to what is given. Sessions go on unless the
    /// preshared key changed. A prefix that another peer had moves here.
    pub fn set_peer(&mut self, now: Instant, config: PeerConfig) {
        let _ = now;
        self.peers.push(config);
    }

    /// What a peer was set to, its endpoint where it is now: to be changed and set again.
    #[must_use]
    pub fn peer_config(&self, key: &PublicKey) -> Option<PeerConfig> {
        self.peers.iter().find(|peer| peer.public_key == *key).cloned()
    }

    /// Removes a peer and tells whether it was there.
    pub fn remove_peer(&mut self, key: &PublicKey, out: &mut Outbox) -> bool {
        let _ = (key, out);
        false
    }

    /// The keys of all peers, in their order.
    pub fn peers(&self) -> impl Iterator<Item = PublicKey> + '_ {
        self.peers.iter().map(|peer| peer.public_key)
    }

    /// How a peer is at `now`.
    #[must_use]
    pub fn status(&self, now: Instant, key: &PublicKey) -> Option<PeerStatus> {
        let _ = (now, key);
        None
    }

    /// What was dropped that belongs to no peer.
    #[must_use]
    pub fn drops(&self) -> Drops {
        Drops::default()
    }

    /// Tells where a peer is, e.g. because its name was resolved again.
    pub fn set_endpoint(&mut self, key: &PublicKey, endpoint: Endpoint) {
        let _ = (key, endpoint);
    }

    /// A stream (a port that is neither the device nor a peer's) has ended: whoever was there is now
    /// nowhere.
    pub fn forget_endpoint(&mut self, endpoint: Endpoint) {
        let _ = endpoint;
    }

    /// Starts a handshake with a peer now, whether it is needed or not.
    pub fn connect(&mut self, now: Instant, key: &PublicKey, out: &mut Outbox) {
        let _ = (now, key, out);
    }

    /// The network refused a datagram to `endpoint` that was longer than `datagram_len` (EMSGSIZE and
    /// the path MTU that the kernel knows, less IP and UDP headers).
    pub fn path_mtu_hint(&mut self, now: Instant, endpoint: Endpoint, datagram_len: usize) {
        let _ = (now, endpoint, datagram_len);
    }

    /// The next event, if there is one.
    pub fn poll_event(&mut self) -> Option<TunnelEvent> {
        None
    }
}

impl Engine for Tunnel {
    fn handle(&mut self, _: Instant, _: Endpoint, packet: PacketBuf, out: &mut Outbox) {
        out.discard(packet, DropReason::NotOurs);
    }

    fn next_timeout(&self) -> Option<Instant> {
        None
    }

    fn handle_timeout(&mut self, _: Instant, _: &mut Outbox) {}
}
