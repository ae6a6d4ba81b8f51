//! The MAC addresses of neighbours, and the packets that wait for them.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::net::IpAddr;
use core::time::Duration;

use adit_packet::{Instant, MacAddr, PacketBuf};

/// An interface by its place, and an address on its link.
pub(super) type Key = (usize, IpAddr);

/// Packets that wait for one neighbour: as many of 1500 bytes as Linux keeps (`unres_qlen_bytes`).
pub(super) const WAITING_MAX: usize = 101;
/// How often a neighbour is asked, and the time between (`mcast_solicit`, `retrans_time_ms`).
const TRIES_MAX: u32 = 3;
const RETRY: Duration = Duration::from_secs(1);
/// Neighbours that are known: as many as Linux keeps (`gc_thresh3`), four times over.
const NEIGHBOURS_MAX: usize = 4096;

#[derive(Debug, Default)]
pub(super) struct Neighbours {
    known: BTreeMap<Key, MacAddr>,
    asked: BTreeMap<Key, Asked>,
    due: BTreeSet<(Instant, Key)>,
    held: usize,
}

#[derive(Debug)]
struct Asked {
    tries: u32,
    next: Instant,
    waiting: Vec<PacketBuf>,
}

/// What there is about a neighbour.
pub(super) enum Found {
    Known(MacAddr, PacketBuf),
    /// The packet waits, and the neighbour must be asked.
    Ask,
    /// The packet waits.
    Waits,
    /// Nothing more can wait.
    Full(PacketBuf),
}

impl Neighbours {
    pub(super) fn find(&mut self, key: Key, now: Instant, packet: PacketBuf) -> Found {
        if let Some(&mac) = self.known.get(&key) {
            return Found::Known(mac, packet);
        }
        if let Some(asked) = self.asked.get_mut(&key) {
            if asked.waiting.len() >= WAITING_MAX {
                return Found::Full(packet);
            }
            asked.waiting.push(packet);
            self.held += 1;
            return Found::Waits;
        }
        if self.asked.len() >= NEIGHBOURS_MAX {
            return Found::Full(packet);
        }
        let next = now + RETRY;
        self.asked.insert(key, Asked { tries: 1, next, waiting: alloc::vec![packet] });
        self.due.insert((next, key));
        self.held += 1;
        Found::Ask
    }

    /// Returns what waited for it.
    pub(super) fn learn(&mut self, key: Key, mac: MacAddr, asked_for_us: bool) -> Vec<PacketBuf> {
        let asked = self.asked.remove(&key);
        let is_wanted = asked.is_some() || asked_for_us || self.known.contains_key(&key);
        let has_room = self.known.len() < NEIGHBOURS_MAX || self.known.contains_key(&key);
        if is_wanted && has_room {
            self.known.insert(key, mac);
        }
        let Some(asked) = asked else { return Vec::new() };
        self.due.remove(&(asked.next, key));
        self.held -= asked.waiting.len();
        asked.waiting
    }

    /// A neighbour that must be asked again, or what waited for one that does not answer.
    pub(super) fn next_due(&mut self, now: Instant) -> Option<(Key, Option<Vec<PacketBuf>>)> {
        let &(at, key) = self.due.first().filter(|(at, _)| *at <= now)?;
        self.due.remove(&(at, key));
        let asked = self.asked.get_mut(&key)?;
        if asked.tries < TRIES_MAX {
            asked.tries += 1;
            asked.next = now + RETRY;
            self.due.insert((asked.next, key));
            return Some((key, None));
        }
        let waiting = self.asked.remove(&key).map(|asked| asked.waiting).unwrap_or_default();
        self.held -= waiting.len();
        Some((key, Some(waiting)))
    }

    pub(super) fn due(&self) -> Option<Instant> {
        self.due.first().map(|&(at, _)| at)
    }

    pub(super) const fn held(&self) -> usize {
        self.held
    }
}
