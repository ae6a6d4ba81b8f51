//! The memory of packets in a link: cells of fixed size, taken as needed up to a limit.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::mem::size_of;

use adit_packet::{Meta, PacketBuf, Pool};

use super::Limits;

/// A packet in a [`Store`].
pub(super) type Handle = u32;

/// No packet, no cell.
pub(super) const NONE: u32 = u32::MAX;

/// Bytes of a packet in one cell: with the number of the next cell two cache lines.
const CELL_LEN: usize = 124;
/// Memory is taken for so many cells, or packets, at once: 128 KiB and 100 KiB.
const CHUNK: usize = 1024;
/// A packet's place in one of the queues by time, beside its [`Slot`].
const PLACE_LEN: usize = 24;

/// What a link knows of a packet.
#[derive(Clone, Debug, Default)]
pub(super) struct Slot {
    meta: Meta,
    len: u32,
    /// The first of its cells, each linked to the next one.
    first: u32,
    /// The next packet in the same queue (or the next free slot).
    pub(super) next: Handle,
    /// Bytes on the line, overhead included.
    pub(super) wire_len: u32,
    /// How many packets came before it.
    pub(super) number: u64,
    /// When it came.
    pub(super) came: u64,
    /// What is added to the delay.
    pub(super) jitter: i64,
    /// It may be marked in place of being dropped.
    pub(super) ecn: bool,
    /// It was marked: to be written into it when it leaves.
    pub(super) marked: bool,
    /// Later ones are to pass it.
    pub(super) reorder: bool,
}

#[derive(Clone, Debug)]
struct Cell {
    next: u32,
    bytes: [u8; CELL_LEN],
}

/// Packets, each in a chain of cells.
#[derive(Debug)]
pub(super) struct Store {
    slots: Slab<Slot>,
    cells: Slab<Cell>,
    held: usize,
    limits: Limits,
}

impl Store {
    pub(super) const fn new(limits: Limits) -> Self {
        Self { slots: Slab::new(), cells: Slab::new(), held: 0, limits }
    }

    /// Changes the limits. What is over them stays until it leaves.
    pub(super) const fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// How many packets there are.
    pub(super) const fn held(&self) -> usize {
        self.held
    }

    /// The memory that packets take now, not what was taken from the allocator for them.
    pub(super) const fn bytes(&self) -> usize {
        self.slots.used * (size_of::<Slot>() + PLACE_LEN) + self.cells.used * size_of::<Cell>()
    }

    /// Keeps a copy of a packet; `None` at the limit.
    pub(super) fn put(&mut self, packet: &PacketBuf) -> Option<Handle> {
        let cells = packet.len().div_ceil(CELL_LEN);
        let more = size_of::<Slot>() + PLACE_LEN + cells * size_of::<Cell>();
        if self.held >= self.limits.packets || self.bytes() + more > self.limits.bytes {
            return None;
        }
        let len = u32::try_from(packet.len()).ok()?;
        let mut first = NONE;
        // From the last cell to the first, so that each knows the next one.
        for part in packet.bytes().chunks(CELL_LEN).rev() {
            let index = self.cells.take(|| Cell { next: NONE, bytes: [0; CELL_LEN] });
            let cell = self.cells.at_mut(index);
            cell.next = first;
            cell.bytes[..part.len()].copy_from_slice(part);
            first = index;
        }
        let handle = self.slots.take(Slot::default);
        *self.slots.at_mut(handle) =
            Slot { meta: packet.meta, len, first, next: NONE, ..Slot::default() };
        self.held += 1;
        Some(handle)
    }

    /// Takes a packet out; `None` if the pool has no buffer for it: then it is gone.
    pub(super) fn take(&mut self, handle: Handle, pool: &mut Pool) -> Option<PacketBuf> {
        let slot = self.slots.at(handle);
        let (meta, mut cell) = (slot.meta, slot.first);
        let len = usize::try_from(slot.len).unwrap_or(usize::MAX);
        let mut packet = pool.take(len);
        let mut room = packet.as_mut().and_then(|packet| packet.grow(len)).unwrap_or_default();
        while cell != NONE {
            let Cell { next, bytes } = self.cells.at(cell);
            let (part, rest) = room.split_at_mut(room.len().min(CELL_LEN));
            part.copy_from_slice(&bytes[..part.len()]);
            room = rest;
            let next = *next;
            self.cells.give(cell);
            cell = next;
        }
        self.slots.give(handle);
        self.held -= 1;
        if let Some(packet) = &mut packet {
            packet.meta = meta;
        }
        packet
    }

    pub(super) fn slot(&self, handle: Handle) -> &Slot {
        self.slots.at(handle)
    }

    pub(super) fn slot_mut(&mut self, handle: Handle) -> &mut Slot {
        self.slots.at_mut(handle)
    }
}

/// What a [`Slab`] links its free entries with.
trait Linked {
    fn link(&mut self) -> &mut u32;
}

impl Linked for Slot {
    fn link(&mut self) -> &mut u32 {
        &mut self.next
    }
}

impl Linked for Cell {
    fn link(&mut self) -> &mut u32 {
        &mut self.next
    }
}

/// Entries with numbers that stay the same, in chunks that never move.
#[derive(Debug)]
struct Slab<T> {
    chunks: Vec<Box<[T]>>,
    free: u32,
    used: usize,
}

impl<T: Linked + Clone> Slab<T> {
    const fn new() -> Self {
        Self { chunks: Vec::new(), free: NONE, used: 0 }
    }

    fn take(&mut self, empty: impl Fn() -> T) -> u32 {
        if self.free == NONE {
            self.add_chunk(empty());
        }
        let index = self.free;
        self.free = *self.at_mut(index).link();
        self.used += 1;
        index
    }

    fn give(&mut self, index: u32) {
        let free = self.free;
        *self.at_mut(index).link() = free;
        self.free = index;
        self.used -= 1;
    }

    fn add_chunk(&mut self, empty: T) {
        let from = self.chunks.len() * CHUNK;
        let mut chunk = alloc::vec![empty; CHUNK].into_boxed_slice();
        let numbers = from + 1..from + CHUNK;
        for (entry, next) in chunk.iter_mut().zip(numbers) {
            // The limit of bytes is far below 2^32 entries.
            *entry.link() = u32::try_from(next).unwrap_or(NONE);
        }
        if let Some(last) = chunk.last_mut() {
            *last.link() = NONE;
        }
        self.free = u32::try_from(from).unwrap_or(NONE);
        self.chunks.push(chunk);
    }

    /// The entry with a number that [`Self::take`] gave.
    fn at(&self, index: u32) -> &T {
        let (chunk, entry) = place(index);
        &self.chunks[chunk][entry]
    }

    fn at_mut(&mut self, index: u32) -> &mut T {
        let (chunk, entry) = place(index);
        &mut self.chunks[chunk][entry]
    }
}

fn place(index: u32) -> (usize, usize) {
    let index = usize::try_from(index).unwrap_or(usize::MAX);
    (index / CHUNK, index % CHUNK)
}

#[cfg(test)]
mod tests {
    use super::*;
    use adit_packet::PoolConfig;
    use std::vec;

    fn packet(len: usize) -> PacketBuf {
        let mut packet = PacketBuf::new(0, len);
        let bytes: Vec<u8> = (0..len).map(|at| u8::try_from(at % 251).unwrap()).collect();
        packet.extend(&bytes).unwrap();
        packet.meta.vnet.csum_start = 7;
        packet
    }

    #[test]
    fn what_is_put_in_comes_out_in_any_order() {
        let mut store = Store::new(Limits::default());
        let mut pool = Pool::new(PoolConfig::default());
        let lengths = [0, 1, 123, 124, 125, 248, 1514, 65_535];
        let mut handles: Vec<_> =
            lengths.iter().map(|&len| (len, store.put(&packet(len)).unwrap())).collect();
        assert_eq!(store.held(), lengths.len());
        handles.rotate_left(3);
        for (len, handle) in handles {
            let taken = store.take(handle, &mut pool).unwrap();
            assert_eq!((taken.bytes(), taken.meta), (packet(len).bytes(), packet(len).meta));
            pool.give(taken);
        }
        assert_eq!((store.held(), store.bytes()), (0, 0));
    }

    #[test]
    fn memory_ends_at_the_limit_and_is_used_again() {
        let limits = Limits { packets: 1000, bytes: Limits::BYTES_MIN };
        let mut store = Store::new(limits);
        let mut pool = Pool::new(PoolConfig::default());
        for _ in 0..3 {
            let mut handles = vec![];
            while let Some(handle) = store.put(&packet(600)) {
                handles.push(handle);
            }
            assert!(store.bytes() <= limits.bytes);
            assert!(handles.len() > 150 && handles.len() < 220, "{}", handles.len());
            assert!(store.cells.chunks.len() <= 2, "what is free is taken first");
            for handle in handles {
                let taken = store.take(handle, &mut pool).unwrap();
                pool.give(taken);
            }
        }
        store.set_limits(Limits { packets: 2, ..limits });
        assert!((0..2).all(|_| store.put(&packet(1)).is_some()));
        assert!(store.put(&packet(1)).is_none());
    }

    #[test]
    fn without_a_buffer_it_is_gone_and_its_memory_free() {
        let mut store = Store::new(Limits::default());
        let config = PoolConfig { small_limit: 0, large_limit: 0, ..PoolConfig::default() };
        let handle = store.put(&packet(600)).unwrap();
        assert!(store.take(handle, &mut Pool::new(config)).is_none());
        assert_eq!((store.held(), store.bytes()), (0, 0));
    }
}
