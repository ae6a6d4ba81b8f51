//! A queue in order of arrival, and what `CoDel` drops from its head.

use alloc::vec::Vec;

use super::profile::CoDel;
use super::store::{Handle, NONE, Store};

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

/// The times of [`CoDel`] in nanoseconds, and whether it marks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Law {
    target: u64,
    interval: u64,
    ecn: bool,
}

impl Law {
    pub(super) fn new(codel: CoDel, ecn: bool) -> Self {
        // At most an hour.
        let nanos = |time: core::time::Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        Self { target: nanos(codel.target), interval: nanos(codel.interval), ecn }
    }

    /// When the next packet is dropped: sooner with each that was.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "at most an hour in nanoseconds, and divided by at least 1"
    )]
    fn next(self, from: u64, count: u32) -> u64 {
        from.saturating_add((self.interval as f64 / libm::sqrt(f64::from(count.max(1)))) as u64)
    }
}

/// The state of `CoDel` on one queue.
///
/// Source: RFC 8289, 5 (pseudocode), with marking as Linux `include/net/codel_impl.h` has it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct State {
    /// Until when the delay must stay above the target for the first drop.
    first_above: Option<u64>,
    dropping: bool,
    drop_next: u64,
    count: u32,
    last_count: u32,
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
        let (mut packet, mut too_late) = self.next(now, law, list, store);
        if self.dropping {
            self.dropping = too_late;
            while self.dropping && now >= self.drop_next {
                self.count = self.count.saturating_add(1);
                if mark(packet, law, store) {
                    self.drop_next = law.next(self.drop_next, self.count);
                    break;
                }
                dropped.extend(packet);
                (packet, too_late) = self.next(now, law, list, store);
                self.dropping = too_late;
                if too_late {
                    self.drop_next = law.next(self.drop_next, self.count);
                }
            }
        } else if too_late {
            if !mark(packet, law, store) {
                dropped.extend(packet);
                (packet, _) = self.next(now, law, list, store);
            }
            self.dropping = true;
            // If it dropped not long ago it starts where the rate of drops was right.
            let new = self.count.saturating_sub(self.last_count);
            let recent = now.saturating_sub(self.drop_next) < law.interval.saturating_mul(16);
            self.count = if new > 1 && recent { new } else { 1 };
            self.last_count = self.count;
            self.drop_next = law.next(now, self.count);
        }
        packet
    }

    /// The head of the queue, and whether it has been above the target for long enough to drop it.
    fn next(
        &mut self,
        now: u64,
        law: Law,
        list: &mut List,
        store: &Store,
    ) -> (Option<Handle>, bool) {
        let Some(packet) = list.pop(store) else {
            self.first_above = None;
            return (None, false);
        };
        let waited = now.saturating_sub(store.slot(packet).came);
        if waited < law.target || list.bytes() <= self.max_packet {
            self.first_above = None;
            return (Some(packet), false);
        }
        let until = *self.first_above.get_or_insert(now.saturating_add(law.interval));
        (Some(packet), now >= until)
    }
}

/// Marks the packet if that is asked for and it says that it understands.
fn mark(packet: Option<Handle>, law: Law, store: &mut Store) -> bool {
    let Some(packet) = packet.filter(|_| law.ecn) else { return false };
    let slot = store.slot_mut(packet);
    slot.marked |= slot.ecn;
    slot.ecn
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

    /// The law: after an interval above the target the first drop, then each an interval divided by
    /// the root of their number after the one before.
    #[test]
    fn drops_come_sooner_and_sooner() {
        let times = drops(false);
        let mut expected = 100.0;
        for (count, &time) in (1_u32..).zip(&times).take(15) {
            let late = f64::from(u32::try_from(time).unwrap()) - expected;
            assert!((0.0..=1.0).contains(&late), "{count}: {time}, not {expected}");
            expected += 100.0 / f64::from(count).sqrt();
        }
        assert!(times.len() > 15);
        assert_eq!(drops(true), times, "marks come when drops would");
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
