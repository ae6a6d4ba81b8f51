//! Receiving super-packets whole or cut up.

use crate::layout::Mode;
use crate::queue::Queue;
use adit_packet::{Batch, Layer, PacketBuf, Pair, Pool, SuperPacket, VnetHeader, finish_checksum};
use rustix::io::Errno;
use std::io;

/// The receiving side of one thread: fills batches with packets in the form that is asked for.
#[derive(Debug)]
pub struct Receiver {
    layer: Layer,
    segmented: bool,
    pair: Pair,
    /// A super-packet of which a part was handed out, and its first segment that was not.
    rest: Option<(PacketBuf, usize)>,
    /// Segments of the last super-packet.
    last_count: usize,
    counters: ReceiveCounters,
}

/// What a [`Receiver`] has done since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReceiveCounters {
    /// Super-packets that were cut up.
    pub cut: u64,
    /// Packets whose virtio-net header did not fit them, and that were dropped.
    pub malformed: u64,
}

impl Receiver {
    /// Super-packets and open checksums as the kernel gives them.
    #[must_use]
    pub fn whole(mode: Mode) -> Self {
        Self {
            layer: mode.layer(),
            segmented: false,
            pair: Pair::default(),
            rest: None,
            last_count: 0,
            counters: ReceiveCounters::default(),
        }
    }

    /// Super-packets cut up and all checksums finished: every packet is as it would be on a wire. What
    /// does not fit a batch, or the pool, comes with the next call: no super-packet has too many
    /// segments.
    #[must_use]
    pub fn segmented(mode: Mode) -> Self {
        Self { segmented: true, ..Self::whole(mode) }
    }

    /// What it has done.
    #[must_use]
    pub fn counters(&self) -> &ReceiveCounters {
        &self.counters
    }

    /// Whether segments of a super-packet wait in here: the queue is then not to be waited for before
    /// the next [`Receiver::recv_batch`].
    #[must_use]
    pub fn has_rest(&self) -> bool {
        self.rest.is_some()
    }

    /// Gives the buffers that it keeps back to `pool`, and with them segments that were not handed
    /// out, before it is dropped.
    pub fn give_rest(&mut self, pool: &mut Pool) {
        pool.give_pair(&mut self.pair);
        if let Some((packet, _)) = self.rest.take() {
            pool.give(packet);
        }
    }

    /// Receives packets until there are none left, `batch` is full or `pool` is empty, and says how
    /// many. A queue that waits does so for the first packet only. Cutting up, it also ends where
    /// another super-packet like the last one would not fit: one in two batches is not joined again.
    ///
    /// # Errors
    /// As [`Queue::recv_batch`].
    pub fn recv_batch(
        &mut self,
        queue: &Queue,
        pool: &mut Pool,
        batch: &mut Batch,
    ) -> io::Result<usize> {
        if !self.segmented {
            return queue.recv_batch(pool, &mut self.pair, batch);
        }
        let before = batch.len();
        loop {
            let received = self.cut_rest(pool, batch);
            let count = batch.len() - before;
            let fits = self.last_count <= batch.room() || self.last_count > batch.capacity();
            if batch.is_full() || count > 0 && !fits {
                return Ok(count);
            }
            let received = received.and_then(|()| queue.recv_next(pool, &mut self.pair, count > 0));
            match received {
                Ok(packet) => self.take(packet, pool, batch),
                Err(error) if count == 0 => return Err(error),
                Err(_) => return Ok(count),
            }
        }
    }

    /// Puts a packet into `batch`, which has room for it, or a super-packet aside.
    fn take(&mut self, mut packet: PacketBuf, pool: &mut Pool, batch: &mut Batch) {
        if packet.meta.vnet.is_super_packet() {
            self.counters.cut += 1;
            self.rest = Some((packet, 0));
            return;
        }
        let open = packet.meta.vnet.needs_csum();
        let packet = if finish_checksum(&mut packet).is_ok() {
            if open {
                packet.meta.vnet.flags |= VnetHeader::DATA_VALID;
            }
            batch.push(packet).err()
        } else {
            self.counters.malformed += 1;
            Some(packet)
        };
        if let Some(packet) = packet {
            pool.give(packet);
        }
    }

    /// Appends segments of the super-packet that was put aside until there are none left or `batch`
    /// is full.
    ///
    /// # Errors
    /// ENOBUFS: `pool` has no buffer left.
    fn cut_rest(&mut self, pool: &mut Pool, batch: &mut Batch) -> io::Result<()> {
        let Some((packet, next)) = &mut self.rest else { return Ok(()) };
        let vnet = packet.meta.vnet;
        let Ok(whole) = SuperPacket::parse(packet.bytes(), &vnet, self.layer) else {
            self.counters.malformed += 1;
            self.give_super_packet(pool);
            return Ok(());
        };
        self.last_count = whole.count();
        while let Some(segment) = whole.segment(*next) {
            if batch.is_full() {
                return Ok(());
            }
            let mut buffer = pool.take(segment.len()).ok_or(Errno::NOBUFS)?;
            let appended = segment.append_to(&mut buffer);
            buffer.meta.info = packet.meta.info;
            // The flow is the same, and its checksums are known to be right.
            buffer.meta.vnet = VnetHeader {
                flags: VnetHeader::DATA_VALID,
                hash: vnet.hash,
                ..VnetHeader::default()
            };
            *next += 1;
            let refused = match appended {
                Ok(()) => batch.push(buffer).err(),
                Err(_) => Some(buffer),
            };
            if let Some(buffer) = refused {
                pool.give(buffer);
            }
        }
        self.give_super_packet(pool);
        Ok(())
    }

    fn give_super_packet(&mut self, pool: &mut Pool) {
        if let Some((packet, _)) = self.rest.take() {
            pool.give(packet);
        }
    }
}
