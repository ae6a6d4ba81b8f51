//! The forwarding database: which address is on which port.
//!
//! A table of fixed size with linear probing, at most half full, so that a search is short. Its hash
//! is keyed with a secret: nobody can choose addresses that all fall on one place. Entries are taken
//! out by moving the following ones back, so there are no tombstones, and a search ends at the first
//! empty slot.

use alloc::vec::Vec;
use core::ops::Range;
use core::time::Duration;

use adit_packet::{Instant, MacAddr};

use crate::endpoint::PortId;
use crate::switch::vlan::VlanId;

/// The time after which a port counts as the home of an address.
pub(super) const SETTLED: Duration = Duration::from_secs(30);
/// A pause after which an address that has moved starts to settle from the beginning: two forged
/// frames and silence between them do not make a home.
const SILENCE: Duration = Duration::from_secs(15);

/// One address of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FdbEntry {
    /// Its VLAN; `None` in the untagged network of transparent ports.
    pub vlan: Option<VlanId>,
    /// The address.
    pub mac: MacAddr,
    /// The port that it is on.
    pub port: PortId,
    /// How it came there.
    pub kind: FdbKind,
    /// When a frame from it was last seen, to within a second; of a static one, when it was made.
    pub seen: Instant,
    /// Whether it is declared as a station of the [fast path](crate::fast_path).
    pub is_fast: bool,
}

/// How an address came into the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FdbKind {
    /// Learned from a frame: it ages, and moves with its host.
    Dynamic,
    /// Learned on a sticky port: it goes when the port goes down, and does not move.
    Sticky,
    /// Added by hand: it goes when the port is removed, and does not move.
    Static,
}

/// Which addresses to take out of the table; `None` is any.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FdbFlush {
    /// Those of one port.
    pub port: Option<PortId>,
    /// Those of one VLAN.
    pub vlan: Option<VlanId>,
    /// Static ones as well.
    pub with_static: bool,
}

/// VLAN and address in one number; 0 is none, for no station has the address zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key(u64);

impl Key {
    pub(super) fn new(vlan: u16, mac: MacAddr) -> Self {
        let [a, b, c, d, e, f] = mac.0;
        let [v0, v1] = vlan.to_be_bytes();
        Self(u64::from_be_bytes([v0, v1, a, b, c, d, e, f]))
    }

    pub(super) fn vlan(self) -> Option<VlanId> {
        VlanId::new(self.number())
    }

    /// The number of the VLAN; 0 in the untagged network.
    pub(super) fn number(self) -> u16 {
        let [v0, v1, ..] = self.0.to_be_bytes();
        u16::from_be_bytes([v0, v1])
    }

    pub(super) fn mac(self) -> MacAddr {
        let [_, _, mac @ ..] = self.0.to_be_bytes();
        MacAddr(mac)
    }

    const fn is_none(self) -> bool {
        self.0 == 0
    }
}

/// One slot of the table.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slot {
    pub(super) key: Key,
    pub(super) seen: Instant,
    /// The start of the second in which `moves` are counted.
    pub(super) moving_since: Instant,
    pub(super) port: PortId,
    /// Where it was before it began to move.
    pub(super) home: PortId,
    pub(super) moves: u8,
    pub(super) kind: FdbKind,
    /// In which epoch it was declared as a station of the fast path, by its mark; 0 in none.
    pub(super) declared: u16,
}

impl Slot {
    const EMPTY: Self = Self {
        key: Key(0),
        seen: Instant::ZERO,
        moving_since: Instant::ZERO,
        port: PortId(0),
        home: PortId(0),
        moves: 0,
        kind: FdbKind::Dynamic,
        declared: 0,
    };

    pub(super) const fn new(key: Key, port: PortId, kind: FdbKind, now: Instant) -> Self {
        Self { key, seen: now, moving_since: now, port, home: port, moves: 0, kind, declared: 0 }
    }

    /// Notes a frame from it at the port where it is.
    pub(super) fn refresh(&mut self, now: Instant, sticky: bool) {
        if self.port != self.home && now.since(self.seen) >= SILENCE {
            self.moving_since = now;
        }
        self.seen = now;
        if sticky && now.since(self.moving_since) >= SETTLED {
            self.kind = self.kind.max(FdbKind::Sticky);
        }
    }

    /// Whether no frame came from it for that long.
    pub(super) fn is_aged(&self, now: Instant, ageing: Duration) -> bool {
        now >= self.ages_at(ageing)
    }

    /// When it is aged if no frame comes from it.
    pub(super) fn ages_at(&self, ageing: Duration) -> Instant {
        if self.kind == FdbKind::Dynamic { self.seen + ageing } else { Instant::MAX }
    }

    fn entry(&self, mark: u16) -> FdbEntry {
        let Self { key, seen, port, kind, declared, .. } = *self;
        let is_fast = declared == mark;
        FdbEntry { vlan: key.vlan(), mac: key.mac(), port, kind, seen, is_fast }
    }
}

/// The table.
#[derive(Debug)]
pub(super) struct Fdb {
    /// A power of two of them, at least twice the limit.
    slots: Vec<Slot>,
    len: usize,
    limit: usize,
    secret: u64,
    /// Changes whenever an entry is added, moved or taken out: what was found before may be false.
    generation: u64,
}

impl Fdb {
    pub(super) fn new(limit: usize, secret: u64) -> Self {
        let size = limit.max(1).saturating_mul(2).next_power_of_two();
        let slots = alloc::vec![Slot::EMPTY; size];
        Self { slots, len: 0, limit, secret, generation: 0 }
    }

    pub(super) const fn len(&self) -> usize {
        self.len
    }

    pub(super) const fn is_full(&self) -> bool {
        self.len >= self.limit
    }

    pub(super) const fn generation(&self) -> u64 {
        self.generation
    }

    pub(super) fn entries(
        &self,
        slots: Range<usize>,
        now: Instant,
        ageing: Duration,
        mark: u16,
    ) -> impl Iterator<Item = FdbEntry> + '_ {
        let slots = self.slots.get(slots).unwrap_or_default();
        let used = slots.iter().filter(|slot| !slot.key.is_none());
        used.filter(move |slot| !slot.is_aged(now, ageing)).map(move |slot| slot.entry(mark))
    }

    /// The first slot from `at` on before which nothing is moved back from it or from behind it.
    pub(super) fn boundary(&self, at: usize) -> usize {
        let is_free = |slot: &Slot| slot.key.is_none();
        let free = self.slots.get(at..).and_then(|rest| rest.iter().position(is_free));
        free.map_or(self.slots.len(), |more| at + more)
    }

    pub(super) fn find(&self, key: Key) -> Option<&Slot> {
        self.slots.get(self.position(key)?)
    }

    /// The same, mutable. Call [`Self::touch`] after a change of its port.
    pub(super) fn find_mut(&mut self, key: Key) -> Option<&mut Slot> {
        let at = self.position(key)?;
        self.slots.get_mut(at)
    }

    /// Says that an entry was changed.
    pub(super) const fn touch(&mut self) {
        self.generation += 1;
    }

    /// Adds an entry that is not there yet; `false` if the table is full.
    pub(super) fn insert(&mut self, slot: Slot) -> bool {
        if self.is_full() {
            return false;
        }
        let mut at = self.first(slot.key);
        while let Some(place) = self.slots.get_mut(at) {
            if place.key.is_none() {
                *place = slot;
                self.len += 1;
                self.touch();
                return true;
            }
            at = self.after(at);
        }
        false
    }

    pub(super) fn remove(&mut self, key: Key) -> Option<Slot> {
        let at = self.position(key)?;
        let removed = *self.slots.get(at)?;
        self.remove_at(at);
        Some(removed)
    }

    /// How many slots there are.
    pub(super) const fn size(&self) -> usize {
        self.slots.len()
    }

    /// Removes the entries of these slots that are `unwanted`, and calls `gone` for each.
    pub(super) fn remove_if(
        &mut self,
        slots: Range<usize>,
        mut unwanted: impl FnMut(&Slot) -> bool,
        mut gone: impl FnMut(&Slot),
    ) {
        // What is moved back comes to this slot or to one after it, or, around the table's end, from
        // the first slots to the last: an entry is seen twice at most, and none is missed.
        let mut at = slots.start;
        while let Some(slot) = self.slots.get(at).filter(|_| at < slots.end) {
            if !slot.key.is_none() && unwanted(slot) {
                gone(slot);
                self.remove_at(at);
            } else {
                at += 1;
            }
        }
    }

    fn position(&self, key: Key) -> Option<usize> {
        let mut at = self.first(key);
        loop {
            let slot = self.slots.get(at)?;
            // First, for a frame may well be sent to the address that is none.
            if slot.key.is_none() {
                return None;
            }
            if slot.key == key {
                return Some(at);
            }
            at = self.after(at);
        }
    }

    /// Empties a slot and moves back what stands after it only because it was full.
    fn remove_at(&mut self, mut hole: usize) {
        let mask = self.slots.len() - 1;
        let mut at = hole;
        loop {
            at = self.after(at);
            let Some(&slot) = self.slots.get(at) else { break };
            if slot.key.is_none() {
                break;
            }
            // It may move to the hole if its own first place is not after the hole.
            let distance = at.wrapping_sub(self.first(slot.key)) & mask;
            if distance >= at.wrapping_sub(hole) & mask {
                if let Some(place) = self.slots.get_mut(hole) {
                    *place = slot;
                }
                hole = at;
            }
        }
        if let Some(place) = self.slots.get_mut(hole) {
            *place = Slot::EMPTY;
            self.len -= 1;
        }
        self.touch();
    }

    const fn after(&self, at: usize) -> usize {
        (at + 1) & (self.slots.len() - 1)
    }

    /// Where a search for `key` starts: the high half of two keyed multiplications.
    fn first(&self, key: Key) -> usize {
        let mixed = fold(key.0 ^ self.secret, 0x9e37_79b9_7f4a_7c15);
        let mixed = fold(mixed, self.secret | 1);
        usize::try_from(mixed & u64::from(u32::MAX)).unwrap_or(0) & (self.slots.len() - 1)
    }
}

/// Both halves of a product of 64 bits, one on the other.
fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    let [high, low] = [product >> 64, product & u128::from(u64::MAX)];
    u64::try_from(high ^ low).unwrap_or(0)
}
