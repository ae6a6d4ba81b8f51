//! Receiving super-packets whole or segmented.

use crate::layout::Mode;
use crate::queue::Queue;
use adit_packet::{Batch, Layer, PacketBuf, Pair, Pool, SuperPacket, VnetHeader, finish_checksum};
use rustix::io::Errno;
use std::io;

/// Receives batches, with super-packets whole or segmented. One receiver serves one thread.
#[derive(Debug)]
pub struct Receiver {
    layer: Layer,
    segmented: bool,
    pair: Pair,
    /// A super-packet that is partly delivered, and the index of its first undelivered segment.
    pending: Option<(PacketBuf, usize)>,
    /// The number of segments of the last super-packet.
    last_count: usize,
    counters: ReceiveCounters,
}

/// The counters of a [`Receiver`], since it was created.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReceiveCounters {
    /// Super-packets that were segmented.
    pub segmented: u64,
    /// Packets that were dropped because their virtio-net header did not match them.
    pub malformed: u64,
}

impl Receiver {
    /// Delivers super-packets and partial checksums as the kernel gives them.
    #[must_use]
    pub fn whole(mode: Mode) -> Self {
        Self {
            layer: mode.layer(),
            segmented: false,
            pair: Pair::default(),
            pending: None,
            last_count: 0,
            counters: ReceiveCounters::default(),
        }
    }

    /// Segments super-packets and completes all checksums: every packet is as it would be on a
    /// wire. Segments that do not fit the batch or the pool are delivered by the next call, so a
    /// super-packet may have any number of them.
    #[must_use]
    pub fn segmented(mode: Mode) -> Self {
        Self { segmented: true, ..Self::whole(mode) }
    }

    /// The counters.
    #[must_use]
    pub fn counters(&self) -> &ReceiveCounters {
        &self.counters
    }

    /// Whether segments of a super-packet are still undelivered. If so, call
    /// [`Receiver::recv_batch`] before waiting for the queue to become readable.
    #[must_use]
    pub fn has_pending(&self) -> bool {
        self.pending.is_some()
    }

    /// Gives the buffers that the receiver keeps back to `pool`; undelivered segments are lost.
    /// Call it before dropping the receiver.
    pub fn give_pending(&mut self, pool: &mut Pool) {
        pool.give_pair(&mut self.pair);
        if let Some((packet, _)) = self.pending.take() {
            pool.give(packet);
        }
    }

    /// Appends received packets to `batch`, and returns their number.
    ///
    /// Stops when the queue is empty, `batch` is full or `pool` is empty. A blocking queue blocks
    /// for the first packet only. With segmentation it also stops when another super-packet like
    /// the last one would not fit: packets of two batches cannot be joined again.
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
            let received = self.deliver_segments(pool, batch);
            let count = batch.len() - before;
            // Stop early if the next super-packet, probably of the same size, would be split between two
            // batches. One that no batch can hold is split in any case.
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

    /// Appends a packet to `batch`, which must have room for it, or keeps a super-packet for
    /// [`Receiver::deliver_segments`].
    fn take(&mut self, mut packet: PacketBuf, pool: &mut Pool, batch: &mut Batch) {
        if packet.meta.vnet.is_super_packet() {
            self.counters.segmented += 1;
            self.pending = Some((packet, 0));
            return;
        }
        // A checksum that we complete ourselves is known to be valid: say so, as the kernel does.
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

    /// Appends segments of the kept super-packet until all are delivered or `batch` is full.
    ///
    /// # Errors
    /// ENOBUFS: `pool` is empty.
    fn deliver_segments(&mut self, pool: &mut Pool, batch: &mut Batch) -> io::Result<()> {
        let Some((packet, next)) = &mut self.pending else { return Ok(()) };
        let vnet = packet.meta.vnet;
        let Ok(whole) = SuperPacket::parse(packet.bytes(), &vnet, self.layer) else {
            self.counters.malformed += 1;
            self.give_pending_packet(pool);
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
            // All segments are of the flow whose hash the kernel computed, and we computed their
            // checksums.
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
        self.give_pending_packet(pool);
        Ok(())
    }

    fn give_pending_packet(&mut self, pool: &mut Pool) {
        if let Some((packet, _)) = self.pending.take() {
            pool.give(packet);
        }
    }
}
