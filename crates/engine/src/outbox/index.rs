//! The groups of an outbox by their destination, for outboxes with many.

use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};

use crate::endpoint::Endpoint;

/// An open-addressing hash table from destinations to the places of their groups.
///
/// It is filled only while an outbox has more groups than a scan is good for. A peer that chooses its
/// addresses so that they collide gets what a scan costs.
#[derive(Debug)]
pub(super) struct Index {
    /// The place of a group plus 1; 0 if the slot is free. A power of two, at most half full.
    slots: Vec<u32>,
    len: usize,
}

impl Index {
    pub(super) const fn new() -> Self {
        Self { slots: Vec::new(), len: 0 }
    }

    /// Whether it holds nothing.
    pub(super) const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Forgets everything and keeps its memory.
    pub(super) fn clear(&mut self) {
        if self.len != 0 {
            self.slots.fill(0);
            self.len = 0;
        }
    }

    /// The group of a destination; `to_of` gives the destination of the group at a place.
    pub(super) fn find(&self, to: Endpoint, to_of: impl Fn(usize) -> Endpoint) -> Option<usize> {
        let mask = self.slots.len().checked_sub(1)?;
        let mut at = hash(to) & mask;
        loop {
            let place = usize::try_from(*self.slots.get(at)?).ok()?.checked_sub(1)?;
            if to_of(place) == to {
                return Some(place);
            }
            at = (at + 1) & mask;
        }
    }

    /// Adds the group at a place, which is not in it.
    pub(super) fn insert(&mut self, place: usize, to_of: impl Fn(usize) -> Endpoint) {
        if (self.len + 1) * 2 > self.slots.len() {
            self.grow(&to_of);
        }
        self.put(place, to_of(place));
        self.len += 1;
    }

    fn grow(&mut self, to_of: impl Fn(usize) -> Endpoint) {
        let size = (self.slots.len() * 2).max(128);
        let before = core::mem::replace(&mut self.slots, alloc::vec![0; size]);
        for slot in before {
            if let Some(place) = usize::try_from(slot).ok().and_then(|slot| slot.checked_sub(1)) {
                self.put(place, to_of(place));
            }
        }
    }

    fn put(&mut self, place: usize, to: Endpoint) {
        let mask = self.slots.len().saturating_sub(1);
        let mut at = hash(to) & mask;
        // Half of the slots are free.
        while let Some(slot) = self.slots.get_mut(at) {
            if *slot == 0 {
                *slot = u32::try_from(place + 1).unwrap_or(u32::MAX);
                return;
            }
            at = (at + 1) & mask;
        }
    }
}

/// A hash of a destination: a multiplication spreads what counts up, ports and flows and the hosts of a
/// network.
#[expect(clippy::cast_possible_truncation, reason = "the upper half is folded into the lower one")]
fn hash(to: Endpoint) -> usize {
    let key = match to {
        Endpoint::Port(port) => u64::from(port.0),
        Endpoint::Flow(flow) => flow.0,
        Endpoint::Udp(address) => of_address(address),
    };
    let mixed = key.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed ^ (mixed >> 32)) as usize
}

fn of_address(address: SocketAddr) -> u64 {
    let ip = match address.ip() {
        IpAddr::V4(ip) => u64::from(ip.to_bits()),
        IpAddr::V6(ip) => {
            let [high, low] = [ip.to_bits() >> 64, ip.to_bits() & u128::from(u64::MAX)];
            let half = |bits| u64::try_from(bits).unwrap_or(0);
            half(high).rotate_left(32) ^ half(low)
        }
    };
    ip ^ u64::from(address.port()).rotate_left(48)
}
