//! The packet buffers of one thread: small ones for packets, large ones for super-packets.

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;

use crate::PacketBuf;

/// The sizes and limits of a [`Pool`]. Minor versions may add fields: end a literal with
/// `..PoolConfig::default()`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolConfig {
    /// Bytes of headroom before each packet.
    pub headroom: usize,
    /// Bytes for the packet in a small buffer, after the headroom.
    pub small_room: usize,
    /// Bytes for the packet in a large buffer, after the headroom.
    pub large_room: usize,
    /// The maximum number of small buffers.
    pub small_limit: usize,
    /// The maximum number of large buffers.
    pub large_limit: usize,
}

impl PoolConfig {
    /// 256 bytes: twice the outer headers of a tunnel (IPv6, UDP, VXLAN or WireGuard, Ethernet with
    /// two tags: 40 + 8 + 16 + 22), and four cache lines.
    pub const HEADROOM: usize = 256;
    /// 2 KiB with the headroom: a frame of MTU 1500 with room for a trailer.
    pub const SMALL_ROOM: usize = 2048 - Self::HEADROOM;
    /// 68 KiB: a super-packet of 65,535 bytes with 14 of Ethernet and 8 of VLAN tags, and with UDP
    /// tunnel GSO the outer headers on top.
    pub const LARGE_ROOM: usize = 68 * 1024;
    /// 4096 buffers, 8 MiB: four batches of 64 packets on each of 16 ports.
    pub const SMALL_LIMIT: usize = 4096;
    /// 256 buffers, 17 MiB: four batches of 64 super-packets.
    pub const LARGE_LIMIT: usize = 256;
}

impl Default for PoolConfig {
    fn default() -> Self {
        Self {
            headroom: Self::HEADROOM,
            small_room: Self::SMALL_ROOM,
            large_room: Self::LARGE_ROOM,
            small_limit: Self::SMALL_LIMIT,
            large_limit: Self::LARGE_LIMIT,
        }
    }
}

/// The packet buffers of one thread, in two sizes, each with a limit.
///
/// A buffer is allocated when it is first needed, or by [`Self::warm_up`], and then kept: in steady
/// state neither taking nor giving back allocates.
#[derive(Debug)]
pub struct Pool {
    headroom: usize,
    small: Class,
    large: Class,
}

impl Pool {
    /// A pool that has allocated nothing yet.
    #[must_use]
    pub fn new(config: PoolConfig) -> Self {
        let PoolConfig { headroom, small_room, large_room, small_limit, large_limit } = config;
        let small = headroom.saturating_add(small_room);
        // A buffer is recognized by its size, so the two must differ.
        let large = headroom.saturating_add(large_room).max(small.saturating_add(1));
        Self {
            headroom,
            small: Class::new(small, small_limit),
            large: Class::new(large, large_limit),
        }
    }

    /// Allocates that many buffers of each size, at most up to their limits.
    pub fn warm_up(&mut self, small: usize, large: usize) {
        self.small.warm_up(small);
        self.large.warm_up(large);
    }

    /// An empty small buffer; `None` at the limit.
    #[must_use]
    pub fn take_small(&mut self) -> Option<PacketBuf> {
        Some(PacketBuf::from_storage(self.small.take()?, self.headroom))
    }

    /// An empty large buffer; `None` at the limit.
    #[must_use]
    pub fn take_large(&mut self) -> Option<PacketBuf> {
        Some(PacketBuf::from_storage(self.large.take()?, self.headroom))
    }

    /// An empty buffer with room for `len` bytes, small if possible; `None` at the limit, or if
    /// `len` exceeds a large buffer.
    #[must_use]
    pub fn take(&mut self, len: usize) -> Option<PacketBuf> {
        let size = self.headroom.checked_add(len)?;
        let small = if size <= self.small.size { self.take_small() } else { None };
        small.or_else(|| if size <= self.large.size { self.take_large() } else { None })
    }

    /// A copy of `packet` with its meta; `None` at the limit.
    #[must_use]
    pub fn copy_of(&mut self, packet: &PacketBuf) -> Option<PacketBuf> {
        let mut copy = self.take(packet.len())?;
        copy.grow(packet.len())?.copy_from_slice(packet.bytes());
        copy.meta = packet.meta;
        Some(copy)
    }

    /// Takes a buffer back. A buffer of neither size of this pool is freed.
    pub fn give(&mut self, packet: PacketBuf) {
        if packet.capacity() == self.small.size {
            self.small.give(packet.into_storage());
        } else if packet.capacity() == self.large.size {
            self.large.give(packet.into_storage());
        }
    }

    /// Releases a buffer from the pool, for example to another thread: it no longer counts against
    /// the limit.
    ///
    /// A buffer that is dropped without this and without [`Self::give`] is leaked: it counts against the
    /// limit forever, and shows in [`Self::out`].
    pub fn release(&mut self, packet: &mut PacketBuf) {
        if packet.capacity() == self.small.size {
            self.small.out = self.small.out.saturating_sub(1);
        } else if packet.capacity() == self.large.size {
            self.large.out = self.large.out.saturating_sub(1);
        }
    }

    /// Takes over a buffer after [`Self::release`] of this pool or of one with the same sizes. It counts
    /// against the limit, even if that is exceeded then.
    pub fn adopt(&mut self, packet: &mut PacketBuf) {
        if packet.capacity() == self.small.size {
            self.small.out += 1;
        } else if packet.capacity() == self.large.size {
            self.large.out += 1;
        }
    }

    /// Passes a packet on to another pool, which returns an empty buffer for it if it has one: packets that go one
    /// way alone would take all buffers with them, and each further one an allocation.
    pub fn pass(&mut self, packet: &PacketBuf, to: &mut Self) {
        for (ours, theirs) in [(&mut self.small, &mut to.small), (&mut self.large, &mut to.large)] {
            if packet.capacity() != ours.size {
                continue;
            }
            ours.out = ours.out.saturating_sub(1);
            if theirs.size == ours.size {
                theirs.out += 1;
                let has_room = ours.free.len() + ours.out < ours.limit;
                ours.free.extend(if has_room { theirs.free.pop() } else { None });
            }
        }
    }

    /// The small and large buffers that are out now.
    #[must_use]
    pub const fn out(&self) -> (usize, usize) {
        (self.small.out, self.large.out)
    }

    /// Puts buffers into `pair` and returns where to read to: `before` bytes for the headers of a
    /// queue, then room for the longest packet. `None` if the pool has no large buffer.
    ///
    /// After the read, [`Pair::settle`] returns the packet.
    #[must_use]
    pub fn ready<'a>(&mut self, pair: &'a mut Pair, before: usize) -> Option<&'a mut [u8]> {
        if pair.small.is_none() {
            pair.small = self.take_small();
        }
        if pair.large.is_none() {
            pair.large = self.take_large();
        }
        let large = pair.large.as_mut()?;
        large.reset(self.headroom.max(before));
        large.room_from(before)
    }

    /// Takes the buffers of `pair` back.
    pub fn give_pair(&mut self, pair: &mut Pair) {
        for packet in [pair.small.take(), pair.large.take()].into_iter().flatten() {
            self.give(packet);
        }
    }
}

/// A small and a large buffer, for reading a packet of unknown length.
///
/// ```text
///  large: | headroom .. headers of the queue | packet, if it is long | tailroom |
///  small:                       | headroom   | a copy, if it is short | tailroom |
/// ```
///
/// The read goes into the large buffer in one piece: gathering into two costs more than copying a
/// short packet, and the same large buffer, used again and again, stays in the cache.
///
/// ```
/// # use adit_packet::{Pair, Pool, PoolConfig};
/// let mut pool = Pool::new(PoolConfig::default());
/// let mut pair = Pair::default();
/// let room = pool.ready(&mut pair, 0).expect("a fresh pool");
/// room[..3].copy_from_slice(b"abc"); // read(room) returned 3
/// let packet = pair.settle(3).expect("it was ready");
/// assert_eq!(packet.bytes(), b"abc");
/// # pool.give(packet); pool.give_pair(&mut pair);
/// ```
#[derive(Debug, Default)]
pub struct Pair {
    small: Option<PacketBuf>,
    large: Option<PacketBuf>,
}

impl Pair {
    /// The packet of `len` bytes that was read after the headers. The unused buffer stays here for
    /// the next read.
    ///
    /// `None` if the pair was not ready, or `len` exceeds the large buffer.
    #[must_use]
    pub fn settle(&mut self, len: usize) -> Option<PacketBuf> {
        let large = self.large.as_mut()?;
        large.set_len(len).ok()?;
        if let Some(small) = &mut self.small
            && small.extend(large.bytes()).is_ok()
        {
            return self.small.take();
        }
        self.large.take()
    }
}

/// Buffers of one size.
#[derive(Debug)]
struct Class {
    size: usize,
    limit: usize,
    /// Buffers in use; with `free` at most `limit`.
    out: usize,
    free: Vec<Box<[u8]>>,
}

impl Class {
    fn new(size: usize, limit: usize) -> Self {
        Self { size, limit, out: 0, free: Vec::new() }
    }

    fn warm_up(&mut self, count: usize) {
        let count = count.min(self.limit.saturating_sub(self.out));
        self.free.reserve(self.limit.saturating_sub(self.free.len()));
        while self.free.len() < count {
            self.free.push(vec![0; self.size].into_boxed_slice());
        }
    }

    fn take(&mut self) -> Option<Box<[u8]>> {
        if self.out >= self.limit {
            return None;
        }
        self.out += 1;
        // The last one given back is the one most likely in the cache.
        Some(self.free.pop().unwrap_or_else(|| vec![0; self.size].into_boxed_slice()))
    }

    fn give(&mut self, storage: Box<[u8]>) {
        self.out = self.out.saturating_sub(1);
        if self.free.len() + self.out < self.limit {
            self.free.push(storage);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Gso, VnetHeader};

    fn pool(small_limit: usize, large_limit: usize) -> Pool {
        Pool::new(PoolConfig { small_limit, large_limit, ..PoolConfig::default() })
    }

    #[test]
    fn packets_that_go_one_way_leave_as_many_buffers_behind() {
        let (mut near, mut far) = (pool(4, 4), pool(4, 4));
        for round in 0..100 {
            for len in [1, 60_000] {
                let packet = near.take(len).unwrap();
                near.pass(&packet, &mut far);
                assert_eq!((near.out(), far.out().0 + far.out().1), ((0, 0), 1));
                far.give(packet);
            }
            let empty = [&near, &far].map(|pool| (pool.small.free.len(), pool.large.free.len()));
            assert_eq!(empty, [if round == 0 { (0, 0) } else { (1, 1) }, (1, 1)]);
        }
    }

    #[test]
    fn each_size_has_its_limit() {
        let mut pool = pool(2, 1);
        let first = pool.take(1).unwrap();
        let second = pool.take(1).unwrap();
        let third = pool.take(1).unwrap();
        assert_eq!(first.capacity(), second.capacity());
        assert!(third.capacity() > 65_535, "a large one serves when the small ones are used up");
        assert!(pool.take(1).is_none());
        assert!(pool.take_large().is_none());
        pool.give(third);
        assert!(pool.take(PoolConfig::LARGE_ROOM + 1).is_none());
        assert!(pool.take(usize::MAX).is_none());
        let mut large = pool.take(PoolConfig::LARGE_ROOM).unwrap();
        assert_eq!(pool.out(), (2, 1));
        pool.release(&mut large);
        assert_eq!(pool.out(), (2, 0));
        let other = pool.take_large().unwrap();
        pool.adopt(&mut large);
        assert_eq!(pool.out(), (2, 2));
        assert!(pool.take_large().is_none(), "one too many until one comes back");
        pool.give(large);
        pool.give(other);
        assert_eq!(pool.out(), (2, 0));
    }

    #[test]
    fn returned_buffers_are_reused_clean() {
        let mut pool = pool(1, 1);
        let mut packet = pool.take_small().unwrap();
        packet.extend(b"old").unwrap();
        packet.meta.vnet = VnetHeader { gso: Gso::Tcp4, ..VnetHeader::default() };
        let memory = packet.bytes().as_ptr();
        pool.give(packet);
        let mut packet = pool.take_small().unwrap();
        assert!(packet.is_empty());
        assert_eq!(packet.meta, crate::Meta::default());
        packet.extend(b"new").unwrap();
        assert_eq!(packet.bytes().as_ptr(), memory);
    }

    #[test]
    fn foreign_buffers_do_not_grow_the_pool() {
        let mut pool = pool(1, 0);
        for _ in 0..10 {
            pool.give(PacketBuf::new(PoolConfig::HEADROOM, PoolConfig::SMALL_ROOM));
            pool.give(PacketBuf::new(0, 77));
        }
        assert_eq!(pool.small.free.len(), 1);
        assert_eq!(pool.out(), (0, 0));
    }

    #[test]
    fn a_pair_keeps_short_packets_small_and_long_ones_whole() {
        let mut pool = pool(4, 2);
        let mut pair = Pair::default();
        assert!(pair.settle(1).is_none(), "not ready");
        let room = PoolConfig::SMALL_ROOM;
        for len in [0, 1, room, room + 1, 65_535, PoolConfig::LARGE_ROOM] {
            let all = pool.ready(&mut pair, 10).unwrap();
            assert_eq!(all.len(), 10 + PoolConfig::LARGE_ROOM);
            for (at, byte) in all[10..].iter_mut().take(len).enumerate() {
                *byte = u8::try_from(at % 251).unwrap();
            }
            let packet = pair.settle(len).unwrap();
            assert_eq!((packet.len(), packet.headroom()), (len, PoolConfig::HEADROOM));
            assert_eq!(packet.capacity() == 2048, len <= room);
            assert!(
                packet.bytes().iter().enumerate().all(|(at, &byte)| usize::from(byte) == at % 251)
            );
            pool.give(packet);
        }
        assert!(pool.ready(&mut pair, 0).is_some());
        assert!(pair.settle(PoolConfig::LARGE_ROOM + 1).is_none());
        pool.give_pair(&mut pair);
        assert_eq!(pool.out(), (0, 0));
    }

    #[test]
    fn without_small_buffers_a_pair_gives_the_large_one() {
        let mut pool = pool(0, 1);
        let mut pair = Pair::default();
        pool.ready(&mut pair, 0).unwrap()[..2].copy_from_slice(b"ok");
        let packet = pair.settle(2).unwrap();
        assert_eq!(packet.bytes(), b"ok");
        assert!(pool.ready(&mut pair, 0).is_none());
        pool.give(packet);
        assert!(pool.ready(&mut pair, 0).is_some());
    }

    #[test]
    fn headers_longer_than_the_headroom_have_room() {
        let config = PoolConfig { headroom: 4, ..PoolConfig::default() };
        let mut pool = Pool::new(config);
        let mut pair = Pair::default();
        for len in [3, 5000] {
            let room = pool.ready(&mut pair, 24).unwrap();
            assert_eq!(room.len(), 4 + PoolConfig::LARGE_ROOM);
            room[..24].fill(b'h');
            room[24..][..len].fill(b'p');
            let packet = pair.settle(len).unwrap();
            assert!(packet.len() == len && packet.bytes().iter().all(|&byte| byte == b'p'));
            pool.give(packet);
        }
    }

    #[test]
    fn a_warm_pool_does_not_allocate() {
        let mut pool = pool(8, 2);
        pool.warm_up(100, 100);
        assert_eq!((pool.small.free.len(), pool.large.free.len()), (8, 2));
        let capacity = pool.small.free.capacity();
        let taken: Vec<_> = core::iter::from_fn(|| pool.take_small()).collect();
        assert_eq!(taken.len(), 8);
        taken.into_iter().for_each(|packet| pool.give(packet));
        assert_eq!(pool.small.free.capacity(), capacity);
    }

    #[test]
    fn a_copy_has_bytes_and_meta() {
        let mut pool = pool(2, 0);
        let mut packet = pool.take_small().unwrap();
        packet.extend(b"abc").unwrap();
        packet.meta.info.protocol = 0x0800;
        let copy = pool.copy_of(&packet).unwrap();
        assert_eq!(copy.bytes(), packet.bytes());
        assert_eq!(copy.meta, packet.meta);
        assert!(pool.copy_of(&packet).is_none());
    }
}
