//! Which peers are there, which are gone, and which key two hosts use.
//!
//! A peer is there from its first handshake on until it was silent for its timeout. It takes no packet of
//! it to be lost: sessions and routes stay, so that it is there again with its next word.

use crate::file::config::{Hook, Peer};
use adit_engine::Endpoint;
use adit_packet::Instant;
use adit_tunnel::PublicKey;
use std::collections::BTreeMap;
use std::time::Duration;

/// A peer that comes back to where it was a moment ago, so many times in a row, is two hosts: one that
/// moves does not return so soon.
const RETURNS_MAX: u8 = 4;
const RETURN_TIME: Duration = Duration::from_secs(10);

/// How often two hosts with one key are told of.
const TELL_EVERY: Duration = Duration::from_secs(600);

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
    is_there: bool,
    /// When it was silent for long enough to be gone, unless it is heard; `None` when it is gone.
    check_at: Option<Instant>,
    /// Where it came from when it moved last, and when.
    moved: Option<(Endpoint, Instant)>,
    returns: u8,
    told: Option<Instant>,
}

impl Presence {
    /// A peer is new, or is to be otherwise from now on.
    pub fn set(&mut self, now: Instant, peer: &Peer) {
        let known = self.peers.entry(peer.public_key).or_default();
        known.timeout = peer.timeout;
        (known.up, known.down) = (peer.up.clone(), peer.down.clone());
        known.check_at = known.due(now);
    }

    /// A peer is no more; gives what is to be run.
    pub fn remove(&mut self, peer: &PublicKey) -> Vec<Hook> {
        let known = self.peers.remove(peer).filter(|known| known.is_there);
        known.map(|known| known.down).unwrap_or_default()
    }

    /// A peer was heard; what is to be run if it was not there before.
    pub fn heard(&mut self, now: Instant, peer: &PublicKey) -> Option<Vec<Hook>> {
        let known = self.peers.get_mut(peer)?;
        if std::mem::replace(&mut known.is_there, true) {
            return None;
        }
        known.check_at = known.due(now);
        Some(known.up.clone())
    }

    /// Who has been silent for too long by now, with what is to be run; `last` is when one was heard.
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
            if known.check_at.is_none() && std::mem::take(&mut known.is_there) {
                gone.push((*peer, known.timeout, known.down.clone()));
            }
        }
        gone
    }

    /// When [`Self::gone`] is to be called.
    pub fn next_due(&self) -> Option<Instant> {
        self.peers.values().filter_map(|known| known.check_at).min()
    }

    /// Whether nobody is there, and everybody had time to come.
    pub fn is_over(&self) -> bool {
        self.peers.values().all(|known| !known.is_there && known.check_at.is_none())
    }

    /// What is to be run for those who are there, at the end.
    pub fn end(&mut self) -> Vec<(PublicKey, Vec<Hook>)> {
        let there = std::mem::take(&mut self.peers).into_iter().filter(|(_, known)| known.is_there);
        there.map(|(peer, known)| (peer, known.down)).collect()
    }

    /// A peer has moved by UDP; whether two hosts seem to use its key, and it is time to tell.
    pub fn moved(&mut self, now: Instant, peer: &PublicKey, from: Endpoint, to: Endpoint) -> bool {
        let Some(known) = self.peers.get_mut(peer) else { return false };
        let is_back =
            known.moved.is_some_and(|(before, at)| before == to && now.since(at) < RETURN_TIME);
        known.moved = Some((from, now));
        known.returns = if is_back { known.returns.saturating_add(1) } else { 0 };
        known.returns >= RETURNS_MAX && known.is_news(now)
    }

    /// A second host with the key of a peer was refused; whether it is time to tell.
    pub fn refused(&mut self, now: Instant, peer: &PublicKey) -> bool {
        self.peers.get_mut(peer).is_some_and(|known| known.is_news(now))
    }
}

impl Known {
    /// When it is gone if it was heard last at `last`.
    fn due(&self, last: Instant) -> Option<Instant> {
        if self.timeout.is_zero() { None } else { last.checked_add(self.timeout) }
    }

    fn is_news(&mut self, now: Instant) -> bool {
        let is_news = self.told.is_none_or(|at| now.since(at) >= TELL_EVERY);
        if is_news {
            self.told = Some(now);
        }
        is_news
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
    fn two_hosts_are_told_from_one_that_moves() {
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
