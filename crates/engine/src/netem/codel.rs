//! A queue in order of arrival, and what `CoDel` drops from its head.

use alloc::vec::Vec;
use core::time::Duration;

use adit_packet::Instant;

use super::store::{Handle, NONE, Store};
use crate::codel::{CoDel, Sojourn};

/// Packets of one queue, first in, first out, linked in their slots.
#[derive(Clone, Copy, Debug)]
pub(super) struct List {
    first: Handle,
    last: Handle,
    bytes: u64,
}

impl Default for List {
    fn default() -> Self {
        Self { first: NONE, last: NONE, bytes: 0 }
    }
}

impl List {
    pub(super) const fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn push(&mut self, packet: Handle, store: &mut Store) {
        let slot = store.slot_mut(packet);
        slot.next = NONE;
        self.bytes += u64::from(slot.wire_len);
        if self.last == NONE {
            self.first = packet;
        } else {
            store.slot_mut(self.last).next = packet;
        }
        self.last = packet;
    }

    pub(super) fn pop(&mut self, store: &Store) -> Option<Handle> {
        if self.first == NONE {
            return None;
        }
        let packet = self.first;
        let slot = store.slot(packet);
        self.first = slot.next;
        if self.first == NONE {
            self.last = NONE;
        }
        self.bytes -= u64::from(slot.wire_len);
        Some(packet)
    }
}

/// The parameters of [`CoDel`], and whether it marks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Law {
    codel: CoDel,
    ecn: bool,
}

impl Law {
    pub(super) const fn new(codel: CoDel, ecn: bool) -> Self {
        Self { codel, ecn }
    }
}

/// The state of `CoDel` on one list. It marks as Linux `include/net/codel_impl.h` does.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct State {
    sojourn: Sojourn,
    /// The largest packet so far: a queue of no more than that is no standing one.
    max_packet: u64,
}

impl State {
    pub(super) fn note(&mut self, wire_len: u32) {
        self.max_packet = self.max_packet.max(u64::from(wire_len));
    }

    /// The packet to be sent at `now`; those that were dropped before it are added to `dropped`.
    pub(super) fn dequeue(
        &mut self,
        now: u64,
        law: Law,
        list: &mut List,
        store: &mut Store,
        dropped: &mut Vec<Handle>,
    ) -> Option<Handle> {
        while let Some(packet) = list.pop(store) {
            let waited = now.saturating_sub(store.slot(packet).came);
            if list.bytes() <= self.max_packet {
                self.sojourn.rest();
                return Some(packet);
            }
            let (at, waited) = (Instant::from_nanos(now), Duration::from_nanos(waited));
            if !self.sojourn.must_drop(at, waited, law.codel) || mark(packet, law, store) {
                return Some(packet);
            }
            dropped.push(packet);
        }
        self.sojourn.rest();
        None
    }
}

/// Marks the packet if that is asked for and it says that it understands.
fn mark(packet: Handle, law: Law, store: &mut Store) -> bool {
    let slot = store.slot_mut(packet);
    let marks = law.ecn && slot.ecn;
    slot.marked |= marks;
    marks
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netem::Limits;
    use adit_packet::{PacketBuf, Pool, PoolConfig};
    use core::time::Duration;

    const MS: u64 = 1_000_000;

    /// Packets that have waited for ever, one taken a millisecond: when one was dropped or marked.
    fn drops(ecn: bool) -> Vec<u64> {
        let law = Law::new(CoDel::default(), ecn);
        let mut pool = Pool::new(PoolConfig::default());
        let mut store = Store::new(Limits::default());
        let (mut list, mut state) = (List::default(), State::default());
        for _ in 0..2000 {
            let packet = store.put(PacketBuf::new(0, 0), &mut pool).unwrap();
            let slot = store.slot_mut(packet);
            (slot.wire_len, slot.ecn) = (1000, ecn);
            state.note(1000);
            list.push(packet, &mut store);
        }
        let mut times = Vec::new();
        for now in 1000..2000 {
            let mut dropped = Vec::new();
            let packet = state.dequeue(now * MS, law, &mut list, &mut store, &mut dropped);
            let marked = packet.is_some_and(|packet| store.slot(packet).marked);
            assert!(dropped.len() <= 1 && (dropped.is_empty() || !marked));
            if !dropped.is_empty() || marked {
                times.push(now - 1000);
            }
        }
        times
    }

    #[test]
    fn marks_come_when_drops_would() {
        let times = drops(false);
        assert!(times.len() > 15, "{times:?}");
        assert_eq!(drops(true), times);
    }

    #[test]
    fn a_short_queue_and_a_single_packet_are_left_alone() {
        let law = Law::new(CoDel { target: Duration::from_millis(5), ..CoDel::default() }, false);
        let mut pool = Pool::new(PoolConfig::default());
        let mut store = Store::new(Limits::default());
        let (mut list, mut state) = (List::default(), State::default());
        for now in (0..1000).map(|now| now * MS) {
            // Each waits an hour, but there is never more than one.
            let packet = store.put(PacketBuf::new(0, 0), &mut pool).unwrap();
            store.slot_mut(packet).wire_len = 1000;
            state.note(1000);
            list.push(packet, &mut store);
            let mut dropped = Vec::new();
            let now = now + 3600 * 1000 * MS;
            assert_eq!(state.dequeue(now, law, &mut list, &mut store, &mut dropped), Some(packet));
            assert!(dropped.is_empty());
        }
        assert_eq!(state.dequeue(0, law, &mut list, &mut store, &mut Vec::new()), None);
    }
}
