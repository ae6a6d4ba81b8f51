//! Which peers are connected, and which key two hosts use.
//!
//! A peer is connected from its first handshake until it was silent for its timeout. This is a report only:
//! sessions and routes stay, and the next packet of the peer makes it connected again.

use crate::file::config::{Hook, Peer};
use adit_engine::Endpoint;
use adit_packet::Instant;
use adit_tunnel::PublicKey;
use std::collections::BTreeMap;
use std::time::Duration;

/// A peer that returns to its previous endpoint this often in a row, each time within
/// [`RETURN_TIME`], is two hosts with one key: a host that roams does not return so soon.
const RETURNS_MAX: u8 = 4;
const RETURN_TIME: Duration = Duration::from_secs(10);

/// How often two hosts with one key are reported.
const REPORT_EVERY: Duration = Duration::from_secs(600);

/// All peers of a tunnel.
#[derive(Debug, Default)]
pub struct Presence {
    peers: BTreeMap<PublicKey, Known>,
}

#[derive(Debug, Default)]
struct Known {
    timeout: Duration,
    up: Vec<Hook>,
    down: Vec<Hook>,
    is_connected: bool,
    /// When the peer will have been silent for its timeout; `None` after that.
    check_at: Option<Instant>,
    /// Where it came from when it moved last, and when.
    moved: Option<(Endpoint, Instant)>,
    returns: u8,
    reported: Option<Instant>,
}

impl Presence {
    /// Adds a peer, or changes its timeout and hooks.
    pub fn set(&mut self, now: Instant, peer: &Peer) {
        let known = self.peers.entry(peer.public_key).or_default();
        known.timeout = peer.timeout;
        (known.up, known.down) = (peer.up.clone(), peer.down.clone());
        known.check_at = known.due(now);
    }

    /// The peers that are connected.
    pub fn connected(&self) -> impl Iterator<Item = &PublicKey> {
        self.peers.iter().filter(|(_, known)| known.is_connected).map(|(peer, _)| peer)
    }

    /// A peer was connected in the process before this one: no hook runs.
    pub fn resume(&mut self, peer: &PublicKey) {
        if let Some(known) = self.peers.get_mut(peer) {
            known.is_connected = true;
        }
    }

    /// Removes a peer; returns the hooks to run.
    pub fn remove(&mut self, peer: &PublicKey) -> Vec<Hook> {
        let known = self.peers.remove(peer).filter(|known| known.is_connected);
        known.map(|known| known.down).unwrap_or_default()
    }

    /// A peer was heard; returns the hooks to run if it was not connected before.
    pub fn heard(&mut self, now: Instant, peer: &PublicKey) -> Option<Vec<Hook>> {
        let known = self.peers.get_mut(peer)?;
        if std::mem::replace(&mut known.is_connected, true) {
            return None;
        }
        known.check_at = known.due(now);
        Some(known.up.clone())
    }

    /// The peers that were silent for their timeout, with that and the hooks to run; `last` returns when a
    /// peer was heard last.
    pub fn gone(
        &mut self,
        now: Instant,
        mut last: impl FnMut(&PublicKey) -> Option<Instant>,
    ) -> Vec<(PublicKey, Duration, Vec<Hook>)> {
        let mut gone = Vec::new();
        for (peer, known) in &mut self.peers {
            if known.check_at.is_none_or(|at| at > now) {
                continue;
            }
            known.check_at = last(peer).and_then(|last| known.due(last)).filter(|at| *at > now);
            if known.check_at.is_none() && std::mem::take(&mut known.is_connected) {
                gone.push((*peer, known.timeout, known.down.clone()));
            }
        }
        gone
    }

    /// When [`Self::gone`] must be called.
    pub fn next_due(&self) -> Option<Instant> {
        self.peers.values().filter_map(|known| known.check_at).min()
    }

    /// Whether no peer is connected, and each had its timeout to connect.
    pub fn is_over(&self) -> bool {
        self.peers.values().all(|known| !known.is_connected && known.check_at.is_none())
    }

    /// At the end: the connected peers and the hooks to run.
    pub fn end(&mut self) -> Vec<(PublicKey, Vec<Hook>)> {
        let there =
            std::mem::take(&mut self.peers).into_iter().filter(|(_, known)| known.is_connected);
        there.map(|(peer, known)| (peer, known.down)).collect()
    }

    /// A peer has another UDP endpoint; returns whether two hosts seem to use its key, and this must be
    /// reported.
    pub fn moved(&mut self, now: Instant, peer: &PublicKey, from: Endpoint, to: Endpoint) -> bool {
        let Some(known) = self.peers.get_mut(peer) else { return false };
        let is_back =
            known.moved.is_some_and(|(before, at)| before == to && now.since(at) < RETURN_TIME);
        known.moved = Some((from, now));
        known.returns = if is_back { known.returns.saturating_add(1) } else { 0 };
        known.returns >= RETURNS_MAX && known.is_due(now)
    }

    /// A second host with the key of a peer was refused; returns whether this must be reported.
    pub fn refused(&mut self, now: Instant, peer: &PublicKey) -> bool {
        self.peers.get_mut(peer).is_some_and(|known| known.is_due(now))
    }
}

impl Known {
    /// When its timeout ends if it was heard last at `last`.
    fn due(&self, last: Instant) -> Option<Instant> {
        if self.timeout.is_zero() { None } else { last.checked_add(self.timeout) }
    }

    fn is_due(&mut self, now: Instant) -> bool {
        let is_due = self.reported.is_none_or(|at| now.since(at) >= REPORT_EVERY);
        if is_due {
            self.reported = Some(now);
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::SocketAddr;

    const KEY: PublicKey = PublicKey([7; 32]);

    fn at(seconds: u64) -> Instant {
        Instant::ZERO.checked_add(Duration::from_secs(seconds)).unwrap()
    }

    fn peer(timeout: u64) -> Peer {
        let hook = |word: &str| vec![Hook(vec![word.to_owned()])];
        let timeout = Duration::from_secs(timeout);
        Peer { timeout, up: hook("up"), down: hook("down"), ..Peer::new(KEY) }
    }

    #[test]
    fn a_peer_comes_and_goes_and_comes_again() {
        let mut presence = Presence::default();
        presence.set(at(0), &peer(10));
        assert!(!presence.is_over() && presence.gone(at(9), |_| None).is_empty());
        assert_eq!(presence.heard(at(9), &KEY), Some(peer(10).up));
        assert_eq!((presence.heard(at(9), &KEY), presence.next_due()), (None, Some(at(19))));
        assert!(presence.gone(at(19), |_| Some(at(15))).is_empty());
        assert_eq!(presence.next_due(), Some(at(25)));
        let gone = presence.gone(at(25), |_| Some(at(15)));
        assert_eq!(gone, [(KEY, Duration::from_secs(10), peer(10).down)]);
        assert!(presence.is_over() && presence.gone(at(99), |_| Some(at(15))).is_empty());
        assert!(presence.heard(at(99), &KEY).is_some() && !presence.is_over());
        assert_eq!(presence.remove(&KEY), peer(10).down);
        // One that never comes, and one that may be silent for ever.
        presence.set(at(0), &peer(10));
        assert!(presence.gone(at(10), |_| None).is_empty() && presence.is_over());
        presence.set(at(0), &peer(0));
        presence.heard(at(1), &KEY);
        assert!(presence.next_due().is_none() && !presence.is_over());
        assert_eq!(presence.end(), [(KEY, peer(0).down)]);
    }

    #[test]
    fn two_hosts_are_distinguished_from_one_that_moves() {
        let mut presence = Presence::default();
        presence.set(at(0), &peer(10));
        let place = |port| Endpoint::Udp(SocketAddr::new("192.0.2.1".parse().unwrap(), port));
        for step in 0..20 {
            assert!(!presence.moved(at(1), &KEY, place(step), place(step + 1)), "it goes on");
        }
        let mut told = 0;
        for second in 100..120 {
            let (a, b) = if second % 2 == 0 { (1, 2) } else { (2, 1) };
            told += u32::from(presence.moved(at(second), &KEY, place(a), place(b)));
        }
        assert_eq!(told, 1);
        assert!(!presence.refused(at(130), &KEY) && presence.refused(at(1000), &KEY));
    }
}
