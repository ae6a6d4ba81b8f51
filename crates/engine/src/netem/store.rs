//! The memory of packets in a link: their own buffers, or cells of fixed size, up to a limit.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::mem::size_of;

use adit_packet::{Meta, PacketBuf, Pool};

use super::profile::Limits;

/// A packet in a [`Store`].
pub(super) type Handle = u32;

/// No packet, no cell.
pub(super) const NONE: u32 = u32::MAX;

/// Bytes of a packet in one cell: with the number of the next cell two cache lines.
const CELL_LEN: usize = 124;
/// Memory is taken for so many cells, or packets, at once: about 128 KiB.
const CHUNK: usize = 1024;
/// A packet's place in one of the queues by time, beside its [`Slot`].
const PLACE_LEN: usize = 24;

/// What a link knows of a packet.
#[derive(Debug, Default)]
pub(super) struct Slot {
    meta: Meta,
    len: u32,
    /// The first of its cells, each linked to the next one; or its buffer.
    first: u32,
    whole: bool,
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

#[derive(Debug)]
struct Cell {
    next: u32,
    bytes: [u8; CELL_LEN],
}

/// A packet in its buffer, which no pool counts.
#[derive(Debug, Default)]
struct Whole {
    next: u32,
    packet: Option<PacketBuf>,
}

/// Packets. One that fills half of its buffer or more stays in it; a shorter one is copied into a
/// chain of cells, and its buffer goes back to the pool.
#[derive(Debug)]
pub(super) struct Store {
    slots: Slab<Slot>,
    cells: Slab<Cell>,
    wholes: Slab<Whole>,
    /// The memory of all buffers.
    whole_bytes: usize,
    held: usize,
    limits: Limits,
}

impl Store {
    pub(super) const fn new(limits: Limits) -> Self {
        Self {
            slots: Slab::new(),
            cells: Slab::new(),
            wholes: Slab::new(),
            whole_bytes: 0,
            held: 0,
            limits,
        }
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
        self.slots.used * (size_of::<Slot>() + PLACE_LEN)
            + self.cells.used * size_of::<Cell>()
            + self.wholes.used * size_of::<Whole>()
            + self.whole_bytes
    }

    /// Keeps a packet; at the limit it comes back.
    ///
    /// # Errors
    ///
    /// The packet.
    pub(super) fn put(&mut self, packet: PacketBuf, pool: &mut Pool) -> Result<Handle, PacketBuf> {
        let whole = packet.len() >= packet.capacity() / 2 && !packet.is_empty();
        let body = if whole {
            size_of::<Whole>() + packet.capacity()
        } else {
            packet.len().div_ceil(CELL_LEN) * size_of::<Cell>()
        };
        let more = size_of::<Slot>() + PLACE_LEN + body;
        let Ok(len) = u32::try_from(packet.len()) else { return Err(packet) };
        if self.held >= self.limits.packets || self.bytes() + more > self.limits.bytes {
            return Err(packet);
        }
        let meta = packet.meta;
        let first = if whole { self.keep(packet, pool) } else { self.copy(packet, pool) };
        let handle = self.slots.take(Slot::default);
        *self.slots.at_mut(handle) =
            Slot { meta, len, first, whole, next: NONE, ..Slot::default() };
        self.held += 1;
        Ok(handle)
    }

    /// Takes a packet out; `None` if the pool has no buffer for it: then it is gone.
    pub(super) fn take(&mut self, handle: Handle, pool: &mut Pool) -> Option<PacketBuf> {
        let slot = self.slots.at(handle);
        let (meta, first, whole) = (slot.meta, slot.first, slot.whole);
        let len = usize::try_from(slot.len).unwrap_or(usize::MAX);
        self.slots.give(handle);
        self.held -= 1;
        if whole {
            let mut packet = self.wholes.at_mut(first).packet.take()?;
            self.wholes.give(first);
            self.whole_bytes -= packet.capacity();
            pool.adopt(&mut packet);
            return Some(packet);
        }
        let mut packet = pool.take(len);
        let room = packet.as_mut().and_then(|packet| packet.grow(len)).unwrap_or_default();
        self.copy_back(first, room);
        packet.as_mut()?.meta = meta;
        packet
    }

    /// Keeps a packet in its buffer, for which the pool may have another.
    fn keep(&mut self, mut packet: PacketBuf, pool: &mut Pool) -> u32 {
        pool.release(&mut packet);
        self.whole_bytes += packet.capacity();
        let index = self.wholes.take(Whole::default);
        self.wholes.at_mut(index).packet = Some(packet);
        index
    }

    /// Copies a packet into cells and gives its buffer back; says which cell is the first.
    fn copy(&mut self, packet: PacketBuf, pool: &mut Pool) -> u32 {
        let mut first = NONE;
        // From the last cell to the first, so that each knows the next one.
        for part in packet.bytes().chunks(CELL_LEN).rev() {
            let index = self.cells.take(|| Cell { next: NONE, bytes: [0; CELL_LEN] });
            let cell = self.cells.at_mut(index);
            cell.next = first;
            cell.bytes[..part.len()].copy_from_slice(part);
            first = index;
        }
        pool.give(packet);
        first
    }

    /// Copies cells into `room`, as much as it takes, and frees them.
    fn copy_back(&mut self, first: u32, mut room: &mut [u8]) {
        let mut cell = first;
        while cell != NONE {
            let Cell { next, bytes } = self.cells.at(cell);
            let (part, rest) = room.split_at_mut(room.len().min(CELL_LEN));
            part.copy_from_slice(&bytes[..part.len()]);
            room = rest;
            let next = *next;
            self.cells.give(cell);
            cell = next;
        }
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

impl Linked for Whole {
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

impl<T: Linked> Slab<T> {
    const fn new() -> Self {
        Self { chunks: Vec::new(), free: NONE, used: 0 }
    }

    fn take(&mut self, empty: impl Fn() -> T) -> u32 {
        if self.free == NONE {
            self.add_chunk(empty);
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

    fn add_chunk(&mut self, empty: impl Fn() -> T) {
        let from = self.chunks.len() * CHUNK;
        let mut chunk: Box<[T]> = (0..CHUNK).map(|_| empty()).collect();
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

    /// A packet in a buffer of `pool`.
    fn packet(len: usize, pool: &mut Pool) -> PacketBuf {
        let mut packet = pool.take(len).unwrap();
        let bytes: Vec<u8> = (0..len).map(|at| u8::try_from(at % 251).unwrap()).collect();
        packet.extend(&bytes).unwrap();
        packet.meta.vnet.csum_start = 7;
        packet
    }

    #[test]
    fn packets_are_taken_out_in_any_order() {
        let mut store = Store::new(Limits::default());
        let mut pool = Pool::new(PoolConfig::default());
        let lengths = [0, 1, 123, 124, 125, 248, 1023, 1024, 1514, 30_000, 65_535];
        let mut handles = vec![];
        for len in lengths {
            let packet = packet(len, &mut pool);
            handles.push((len, store.put(packet, &mut pool).unwrap()));
        }
        assert_eq!(store.held(), lengths.len());
        assert_eq!(pool.out(), (0, 0), "nothing of the pool is kept from those who receive");
        assert_eq!(store.wholes.used, 3);
        handles.rotate_left(3);
        for (len, handle) in handles {
            let taken = store.take(handle, &mut pool).unwrap();
            let same = packet(len, &mut pool);
            assert_eq!((taken.bytes(), taken.meta), (same.bytes(), same.meta));
            pool.give(taken);
            pool.give(same);
        }
        assert_eq!((store.held(), store.bytes(), pool.out()), (0, 0, (0, 0)));
    }

    /// Puts packets in until it is full and takes them out again: how many there were.
    fn fill(store: &mut Store, pool: &mut Pool, len: usize) -> usize {
        let mut handles = vec![];
        loop {
            match store.put(packet(len, pool), pool) {
                Ok(handle) => handles.push(handle),
                Err(packet) => {
                    pool.give(packet);
                    break;
                }
            }
        }
        assert!(store.bytes() <= store.limits.bytes);
        let count = handles.len();
        for handle in handles {
            let taken = store.take(handle, pool).unwrap();
            pool.give(taken);
        }
        assert_eq!((store.held(), store.bytes(), pool.out()), (0, 0, (0, 0)));
        count
    }

    #[test]
    fn memory_ends_at_the_limit_and_is_used_again() {
        let limits = Limits { packets: 1000, bytes: Limits::BYTES_MIN };
        let mut store = Store::new(limits);
        let mut pool = Pool::new(PoolConfig::default());
        for _ in 0..3 {
            // Five cells of 128 bytes each, or a buffer of 2 KiB.
            let count = fill(&mut store, &mut pool, 600);
            assert!((150..205).contains(&count), "{count}");
            let count = fill(&mut store, &mut pool, 1514);
            assert!((50..64).contains(&count), "{count}");
            assert_eq!(fill(&mut store, &mut pool, 65_535), 1);
            assert!(store.cells.chunks.len() <= 2, "what is free is taken first");
        }
        store.set_limits(Limits { packets: 2, ..limits });
        assert_eq!(fill(&mut store, &mut pool, 1), 2);
    }

    #[test]
    fn without_a_buffer_it_is_gone_and_its_memory_free() {
        let mut store = Store::new(Limits::default());
        let mut pool = Pool::new(PoolConfig::default());
        let handle = store.put(packet(600, &mut pool), &mut pool).unwrap();
        let none = PoolConfig { small_limit: 0, large_limit: 0, ..PoolConfig::default() };
        assert!(store.take(handle, &mut Pool::new(none)).is_none());
        assert_eq!((store.held(), store.bytes()), (0, 0));
    }
}
