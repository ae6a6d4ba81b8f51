//! What follows when a peer connects, disconnects, or turns out to be two hosts.

use crate::address::{address, endpoint_text};
use crate::engine::TunnelEngine;
use crate::file::config::{Hook, Peer};
use crate::file::keys::Key;
use crate::host::hooks::{Hooks, peer_words};
use crate::presence::Presence;
use adit_device::IfName;
use adit_engine::Endpoint;
use adit_packet::Instant;
use adit_runtime::Runner;
use adit_service::event::{Event, Events};
use adit_tunnel::{PublicKey, Suite};
use std::collections::BTreeMap;
use std::fmt::Display;
use std::net::SocketAddr;
use std::time::Duration;

/// Which peers are connected, and the hooks that run when this changes.
#[derive(Debug)]
pub struct PeerEvents {
    name: IfName,
    events: Events,
    presence: Presence,
    /// Where each peer was last: a stream ends before its peer counts as disconnected.
    addresses: BTreeMap<PublicKey, SocketAddr>,
    hooks: Hooks,
}

impl PeerEvents {
    /// No peer yet; `name` is that of the device.
    #[must_use]
    pub fn new(name: IfName, events: Events) -> Self {
        let hooks = Hooks::new(events.clone());
        let (presence, addresses) = (Presence::default(), BTreeMap::new());
        Self { name, events, presence, addresses, hooks }
    }

    /// Adds a peer, or changes its timeout and hooks.
    pub fn set(&mut self, now: Instant, peer: &Peer) {
        self.presence.set(now, peer);
    }

    /// The peers that are connected.
    #[must_use]
    pub const fn presence(&self) -> &Presence {
        &self.presence
    }

    /// A peer of another process that was connected there.
    pub fn resume(
        &mut self,
        runner: &Runner<TunnelEngine>,
        peer: &PublicKey,
        at: Option<Endpoint>,
    ) {
        self.presence.resume(peer);
        self.is_at(runner, peer, at);
    }

    /// A peer was removed from the configuration.
    pub fn remove(&mut self, peer: &PublicKey) {
        let hooks = self.presence.remove(peer);
        self.addresses.remove(peer);
        self.run(&hooks, peer, None);
    }

    /// A peer has a session, or was heard after a silence.
    pub fn heard(&mut self, runner: &Runner<TunnelEngine>, peer: &PublicKey, at: Option<Endpoint>) {
        self.is_at(runner, peer, at);
        if let Some(hooks) = self.presence.heard(runner.now(), peer) {
            let endpoint = at.map(|at| endpoint_text(runner, at));
            let name = peer.to_base64().to_string();
            self.events.send(&Event::PeerConnected { peer: name, endpoint });
            self.run(&hooks, peer, self.addresses.get(peer).copied());
        }
    }

    /// Looks which peers were silent for their timeout.
    pub fn expire(&mut self, runner: &mut Runner<TunnelEngine>) {
        let now = runner.now();
        let tunnel = &runner.engine().tunnel;
        let gone = self.presence.gone(now, |peer| tunnel.status(now, peer)?.last_authentic);
        for (peer, silent, hooks) in gone {
            runner.engine_mut().tunnel.await_peer(&peer);
            let (name, silent_s) = (peer.to_base64().to_string(), silent.as_secs());
            self.events.send(&Event::PeerDisconnected { peer: name, silent_s });
            self.run(&hooks, &peer, self.addresses.get(&peer).copied());
        }
    }

    /// When [`Self::expire`] must be called.
    #[must_use]
    pub fn next_due(&self) -> Option<Instant> {
        self.presence.next_due()
    }

    /// Whether no peer is connected, and each had its timeout to connect.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.presence.is_over()
    }

    /// At the end of the tunnel: runs the hooks of the peers that are connected, and waits for all hooks.
    pub fn finish(&mut self) {
        for (peer, hooks) in self.presence.end() {
            self.run(&hooks, &peer, None);
        }
        self.hooks.finish();
    }

    /// A peer has another endpoint. One host may be at two places by turns, but most likely they are two.
    pub fn moved(
        &mut self,
        runner: &Runner<TunnelEngine>,
        peer: &PublicKey,
        from: Option<Endpoint>,
        to: Endpoint,
    ) {
        self.is_at(runner, peer, Some(to));
        if let (Some(Endpoint::Udp(one)), Endpoint::Udp(other)) = (from, to)
            && self.presence.moved(runner.now(), peer, Endpoint::Udp(one), to)
        {
            self.warn_of_two(peer, &one, &other, "which replace each other");
        }
    }

    /// Another host with the key of a peer was refused.
    pub fn refused(&mut self, runner: &Runner<TunnelEngine>, peer: &PublicKey, from: Endpoint) {
        if self.presence.refused(runner.now(), peer) {
            let config = runner.engine().tunnel.peer_config(peer);
            let here = config.and_then(|config| config.endpoint);
            let here = here.map(|at| endpoint_text(runner, at)).unwrap_or_default();
            self.warn_of_two(peer, &here, &endpoint_text(runner, from), "which is refused");
        }
    }

    /// A peer has no post-quantum key, which it must have.
    pub fn not_post_quantum(&self, peer: &PublicKey) {
        self.events.note(format!(
            "warning: peer {} connects without a post-quantum key, which it must have: no data crosses; if this \
             is intended, set post_quantum = \"off\" for the peer at both ends",
            *peer.to_base64()
        ));
    }

    /// The timestamps of a peer are far in the future.
    pub fn clock_ahead(&self, peer: &PublicKey, by: Duration) {
        let (peer, days) = (peer.to_base64(), by.as_secs() / (24 * 60 * 60));
        self.events.note(format!(
            "warning: the clock of peer {} is {days} days ahead of this machine's clock; set the clock that is wrong",
            *peer
        ));
    }

    /// Packets to a peer are encrypted with another cipher.
    pub fn cipher(&self, peer: &PublicKey, suite: Suite) {
        self.events
            .detail(format_args!("packets to {} are encrypted with {suite}", *peer.to_base64()));
    }

    fn is_at(&mut self, runner: &Runner<TunnelEngine>, peer: &PublicKey, at: Option<Endpoint>) {
        if let Some(address) = at.and_then(|at| address(runner, at)) {
            self.addresses.insert(*peer, address);
        }
    }

    fn warn_of_two(&self, peer: &PublicKey, one: &dyn Display, other: &dyn Display, what: &str) {
        let key = peer.to_base64();
        self.events.note(format!(
            "warning: two hosts use the key {}: at {one}, and at {other}, {what}; give each its own",
            *key
        ));
    }

    fn run(&mut self, hooks: &[Hook], peer: &PublicKey, at: Option<SocketAddr>) {
        for hook in hooks {
            self.hooks.run(peer_words(hook, &self.name, peer, at));
        }
    }
}
