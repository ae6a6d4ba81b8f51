//! The flow table: a slab of bounded size, found by a keyed hash, aged by class.
//!
//! ```text
//! index: hash -> slot        slots: | key | entry | class | used | prev, next |
//!                            ages:  one list a class, the slot used last at its end
//! ```
//!
//! All entries of a class live equally long, so the first of its list is always the next to expire, and
//! using an entry moves it to the end: both cost the same however many there are.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};

use adit_packet::Instant;

use super::hash::SipKey;
use adit_engine::flow::FlowId;

/// What a flow is found by: protocol, inside and outside address and port. A flow for many remote
/// addresses has no outside address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Key {
    inside: u128,
    outside: u128,
    ports: u32,
    protocol: u8,
}

impl Key {
    pub(super) fn new(protocol: u8, inside: SocketAddr, outside: Option<SocketAddr>) -> Self {
        let (other, port) = outside.map_or((0, 0), |to| (bits(to.ip()), to.port()));
        let ports = u32::from(inside.port()) << 16 | u32::from(port);
        Self { inside: bits(inside.ip()), outside: other, ports, protocol }
    }

    #[expect(clippy::cast_possible_truncation, reason = "each half is taken")]
    fn hash(&self, key: SipKey) -> u32 {
        let (inside, outside) = (self.inside, self.outside);
        let last = u64::from(self.protocol) << 32 | u64::from(self.ports);
        let words =
            [inside as u64, (inside >> 64) as u64, outside as u64, (outside >> 64) as u64, last];
        key.hash(words) as u32
    }
}

/// An address as a number; IPv4 as IPv6 writes it.
pub(super) const fn bits(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped().to_bits(),
        IpAddr::V6(ip) => ip.to_bits(),
    }
}

/// How long an entry lives without use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    /// A TCP connection that opens or closes.
    TcpOpening,
    /// A TCP connection that is open.
    TcpOpen,
    /// A UDP mapping.
    Udp,
    /// A UDP mapping for queries to name servers alone.
    Dns,
    /// An ICMP query.
    Echo,
    /// It lives until somebody ends it: a port of the host that leads to the inside, a connection that the
    /// runtime splices.
    Lasting,
}

impl Class {
    /// Those that end without use.
    pub(super) const MORTAL: [Self; 5] =
        [Self::TcpOpening, Self::TcpOpen, Self::Udp, Self::Dns, Self::Echo];

    const COUNT: usize = Self::MORTAL.len() + 1;

    const fn index(self) -> usize {
        self as usize
    }
}

/// No slot.
const NONE: u32 = u32::MAX;

#[derive(Debug)]
struct Slot<T> {
    key: Key,
    hash: u32,
    /// How many entries had this slot before.
    generation: u32,
    class: Class,
    used: Instant,
    prev: u32,
    next: u32,
    source: IpAddr,
    entry: Option<T>,
}

/// The flow table.
#[derive(Debug)]
pub(super) struct Table<T> {
    secret: SipKey,
    /// Slot numbers by hash, linearly probed; a power of two, at most half full.
    index: Vec<u32>,
    slots: Vec<Slot<T>>,
    free: Vec<u32>,
    ages: [(u32, u32); Class::COUNT],
    per_source: BTreeMap<IpAddr, u32>,
    limit: usize,
    source_limit: u32,
}

impl<T> Table<T> {
    /// A table for at most `limit` entries, `source_limit` of one inside address.
    pub(super) fn new(limit: usize, source_limit: u32, secret: SipKey) -> Self {
        // A slot number has 32 bits.
        let limit = limit.clamp(1, 1 << 24);
        let size = (limit * 2).next_power_of_two();
        Self {
            secret,
            index: alloc::vec![NONE; size],
            slots: Vec::new(),
            free: Vec::new(),
            ages: [(NONE, NONE); Class::COUNT],
            per_source: BTreeMap::new(),
            limit,
            source_limit,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    pub(super) fn is_full(&self) -> bool {
        self.len() >= self.limit
    }

    /// Whether an inside address has as many entries as it may have.
    pub(super) fn is_source_full(&self, source: IpAddr) -> bool {
        self.per_source.get(&source).is_some_and(|&count| count >= self.source_limit)
    }

    pub(super) fn find(&self, key: &Key) -> Option<FlowId> {
        let hash = key.hash(self.secret);
        let mut at = self.first(hash);
        loop {
            let number = *self.index.get(at)?;
            let slot = self.slots.get(place(number)?)?;
            if slot.hash == hash && slot.key == *key {
                return Some(id(number, slot.generation));
            }
            at = self.after(at);
        }
    }

    pub(super) fn get(&self, flow: FlowId) -> Option<&T> {
        self.slot(flow)?.entry.as_ref()
    }

    pub(super) fn get_mut(&mut self, flow: FlowId) -> Option<&mut T> {
        let (number, generation) = parts(flow);
        let slot = self.slots.get_mut(place(number)?)?;
        if slot.generation == generation { slot.entry.as_mut() } else { None }
    }

    /// Adds an entry under a key that has none, made with its number; `None` if the table is full.
    pub(super) fn insert(
        &mut self,
        key: Key,
        source: IpAddr,
        class: Class,
        now: Instant,
        make: impl FnOnce(FlowId) -> T,
    ) -> Option<FlowId> {
        if self.is_full() {
            return None;
        }
        let hash = key.hash(self.secret);
        let (number, generation) = match self.free.pop() {
            Some(number) => (number, next(self.slots.get(place(number)?)?.generation)),
            None => (u32::try_from(self.slots.len()).ok()?, 0),
        };
        let flow = id(number, generation);
        let entry = Some(make(flow));
        let slot =
            Slot { key, hash, generation, class, used: now, prev: NONE, next: NONE, source, entry };
        match self.slots.get_mut(place(number)?) {
            Some(free) => *free = slot,
            None => self.slots.push(slot),
        }
        *self.per_source.entry(source).or_default() += 1;
        self.append(number);
        let mut at = self.first(hash);
        while self.index.get(at).is_some_and(|&number| number != NONE) {
            at = self.after(at);
        }
        if let Some(free) = self.index.get_mut(at) {
            *free = number;
        }
        Some(flow)
    }

    pub(super) fn remove(&mut self, flow: FlowId) -> Option<T> {
        let (number, _) = parts(flow);
        let hash = self.slot(flow)?.hash;
        self.unlink(number);
        let slot = self.slots.get_mut(place(number)?)?;
        let (entry, source) = (slot.entry.take(), slot.source);
        if let Some(count) = self.per_source.get_mut(&source) {
            *count -= 1;
            if *count == 0 {
                self.per_source.remove(&source);
            }
        }
        self.free.push(number);
        self.unindex(number, hash);
        entry
    }

    /// An entry was used.
    pub(super) fn touch(&mut self, flow: FlowId, now: Instant) {
        let (number, _) = parts(flow);
        let Some(class) = self.slot(flow).map(|slot| slot.class) else { return };
        self.set_class(number, class, now);
    }

    /// An entry lives as long as those of another class from now on.
    pub(super) fn reclass(&mut self, flow: FlowId, class: Class, now: Instant) {
        let (number, _) = parts(flow);
        if self.slot(flow).is_some() {
            self.set_class(number, class, now);
        }
    }

    /// The entry of a class that was not used for the longest time, and when it was.
    pub(super) fn oldest(&self, class: Class) -> Option<(FlowId, Instant)> {
        let number = self.ages.get(class.index())?.0;
        let slot = self.slots.get(place(number)?)?;
        Some((id(number, slot.generation), slot.used))
    }

    /// The inside address that an entry belongs to.
    pub(super) fn source(&self, flow: FlowId) -> Option<IpAddr> {
        self.slot(flow).map(|slot| slot.source)
    }

    /// When an entry was used last.
    pub(super) fn used(&self, flow: FlowId) -> Option<Instant> {
        Some(self.slot(flow)?.used)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (FlowId, &T)> {
        self.slots
            .iter()
            .zip(0..)
            .filter_map(|(slot, number)| Some((id(number, slot.generation), slot.entry.as_ref()?)))
    }

    pub(super) fn entries_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.slots.iter_mut().filter_map(|slot| slot.entry.as_mut())
    }

    fn slot(&self, flow: FlowId) -> Option<&Slot<T>> {
        let (number, generation) = parts(flow);
        let slot = self.slots.get(place(number)?)?;
        (slot.generation == generation && slot.entry.is_some()).then_some(slot)
    }

    fn set_class(&mut self, number: u32, class: Class, now: Instant) {
        let is_last = self.ages.get(class.index()).is_some_and(|ages| ages.1 == number);
        if !is_last {
            self.unlink(number);
        }
        if let Some(slot) = place(number).and_then(|at| self.slots.get_mut(at)) {
            slot.used = now;
            slot.class = class;
        }
        if !is_last {
            self.append(number);
        }
    }

    /// Puts a slot at the end of the list of its class.
    fn append(&mut self, number: u32) {
        let Some(slot) = place(number).and_then(|at| self.slots.get_mut(at)) else { return };
        let Some(ages) = self.ages.get_mut(slot.class.index()) else { return };
        (slot.prev, slot.next) = (ages.1, NONE);
        let before = core::mem::replace(&mut ages.1, number);
        match place(before).and_then(|at| self.slots.get_mut(at)) {
            Some(before) => before.next = number,
            None => ages.0 = number,
        }
    }

    fn unlink(&mut self, number: u32) {
        let Some(slot) = place(number).and_then(|at| self.slots.get(at)) else { return };
        let (prev, next, class) = (slot.prev, slot.next, slot.class);
        let Some(ages) = self.ages.get_mut(class.index()) else { return };
        match place(prev).and_then(|at| self.slots.get_mut(at)) {
            Some(before) => before.next = next,
            None => ages.0 = next,
        }
        match place(next).and_then(|at| self.slots.get_mut(at)) {
            Some(after) => after.prev = prev,
            None => ages.1 = prev,
        }
    }

    /// Takes a slot out of the index, and moves those behind it up.
    fn unindex(&mut self, number: u32, hash: u32) {
        let mut hole = self.first(hash);
        while self.index.get(hole).is_some_and(|&other| other != number) {
            hole = self.after(hole);
        }
        let mut at = hole;
        loop {
            at = self.after(at);
            let Some(&other) = self.index.get(at) else { break };
            let Some(slot) = place(other).and_then(|at| self.slots.get(at)) else { break };
            let mask = self.index.len() - 1;
            let home = self.first(slot.hash);
            // It may move to the hole if that is not before its own first place.
            if (at.wrapping_sub(home) & mask) >= (at.wrapping_sub(hole) & mask) {
                if let Some(to) = self.index.get_mut(hole) {
                    *to = other;
                }
                hole = at;
            }
        }
        if let Some(to) = self.index.get_mut(hole) {
            *to = NONE;
        }
    }

    fn first(&self, hash: u32) -> usize {
        usize::try_from(hash).unwrap_or(0) & (self.index.len() - 1)
    }

    fn after(&self, at: usize) -> usize {
        (at + 1) & (self.index.len() - 1)
    }
}

/// The place of a slot; `None` for no slot.
fn place(number: u32) -> Option<usize> {
    if number == NONE { None } else { usize::try_from(number).ok() }
}

/// The generation of a slot's next flow. The first bit of a flow's number stays free for an engine around the NAT.
const fn next(generation: u32) -> u32 {
    (generation + 1) & 0x7fff_ffff
}

fn id(number: u32, generation: u32) -> FlowId {
    FlowId(u64::from(generation) << 32 | u64::from(number))
}

#[expect(clippy::cast_possible_truncation, reason = "each half is taken")]
const fn parts(flow: FlowId) -> (u32, u32) {
    (flow.0 as u32, (flow.0 >> 32) as u32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{prop, proptest};

    fn key(number: u16) -> Key {
        Key::new(6, SocketAddr::from(([10, 0, 0, 1], number)), None)
    }

    const SOURCE: IpAddr = IpAddr::V4(core::net::Ipv4Addr::LOCALHOST);

    #[test]
    fn a_number_is_never_used_twice() {
        let mut table = Table::new(2, 9, SipKey::new([1; 16]));
        let insert = |table: &mut Table<u16>, number| {
            table.insert(key(number), SOURCE, Class::Udp, Instant::ZERO, |_| number)
        };
        let one = insert(&mut table, 1).unwrap();
        insert(&mut table, 2).unwrap();
        assert_eq!(insert(&mut table, 3), None, "it is full");
        assert_eq!(table.remove(one), Some(1));
        let three = insert(&mut table, 3).unwrap();
        assert_ne!(one, three);
        assert_eq!((table.get(one), table.get(three)), (None, Some(&3)));
        assert_eq!(table.remove(one), None);
        assert_eq!(table.len(), 2);
    }

    proptest! {
        /// Against a map, and a list in the order of use.
        #[test]
        fn it_is_a_map_that_ages(ops in prop::collection::vec((0..4_u8, 0..40_u16), 1..300), secret: [u8; 16]) {
            let mut table = Table::new(24, 12, SipKey::new(secret));
            let mut order: Vec<u16> = Vec::new();
            let mut now = Instant::ZERO;
            for (what, number) in ops {
                now += core::time::Duration::from_secs(1);
                let found = table.find(&key(number));
                assert_eq!(found.is_some(), order.contains(&number));
                match (what, found) {
                    (0 | 1, None) => {
                        let is_full = order.len() == 24;
                        let new = table.insert(key(number), SOURCE, Class::Udp, now, |_| number);
                        assert_eq!(new.is_none(), is_full);
                        order.extend(new.map(|_| number));
                    }
                    (2, Some(flow)) => {
                        assert_eq!(table.remove(flow), Some(number));
                        order.retain(|&other| other != number);
                    }
                    (_, Some(flow)) => {
                        table.touch(flow, now);
                        order.retain(|&other| other != number);
                        order.push(number);
                    }
                    _ => {}
                }
                let oldest = table.oldest(Class::Udp).map(|(flow, _)| *table.get(flow).unwrap());
                assert_eq!(oldest, order.first().copied());
                assert_eq!(table.is_source_full(SOURCE), order.len() >= 12);
                assert_eq!(table.iter().count(), order.len());
            }
        }
    }
}
