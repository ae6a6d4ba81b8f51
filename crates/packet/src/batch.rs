//! A bounded list of packets.

use alloc::vec::Vec;
use core::ops::RangeBounds;

use crate::{PacketBuf, Pool};

/// Packets in order of arrival, at most [`Self::capacity`].
#[derive(Debug)]
pub struct Batch {
    packets: Vec<PacketBuf>,
    capacity: usize,
}

impl Batch {
    /// The default capacity, 64: beyond it the cost of a wake-up no longer shows, and 64 small
    /// packets (128 KiB) still fit into a core's L2 cache.
    pub const CAPACITY: usize = 64;

    /// An empty batch for [`Self::CAPACITY`] packets.
    #[must_use]
    pub fn new() -> Self {
        Self::with_capacity(Self::CAPACITY)
    }

    /// An empty batch for at most `capacity` packets. Allocates its memory now.
    #[must_use]
    pub fn with_capacity(capacity: usize) -> Self {
        Self { packets: Vec::with_capacity(capacity), capacity }
    }

    /// Appends a packet.
    ///
    /// # Errors
    ///
    /// Returns the packet if the batch is full.
    pub fn push(&mut self, packet: PacketBuf) -> Result<(), PacketBuf> {
        if self.is_full() {
            return Err(packet);
        }
        self.packets.push(packet);
        Ok(())
    }

    /// The maximum number of packets.
    #[must_use]
    pub const fn capacity(&self) -> usize {
        self.capacity
    }

    /// The number of packets.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.packets.len()
    }

    /// How many more packets fit.
    #[must_use]
    pub const fn room(&self) -> usize {
        self.capacity - self.packets.len()
    }

    /// Whether the batch has no packets.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.packets.is_empty()
    }

    /// Whether the batch is full.
    #[must_use]
    pub const fn is_full(&self) -> bool {
        self.packets.len() >= self.capacity
    }

    /// The packets in order.
    #[must_use]
    pub fn as_slice(&self) -> &[PacketBuf] {
        &self.packets
    }

    /// The packets in order.
    pub fn iter(&self) -> core::slice::Iter<'_, PacketBuf> {
        self.packets.iter()
    }

    /// The packets in order, for editing.
    pub fn iter_mut(&mut self) -> core::slice::IterMut<'_, PacketBuf> {
        self.packets.iter_mut()
    }

    /// Removes the packets of `range` and returns them in order: `..` for all, `..n` for the first
    /// n. A range past the end stops at the end.
    pub fn drain(&mut self, range: impl RangeBounds<usize>) -> alloc::vec::Drain<'_, PacketBuf> {
        use core::ops::Bound::{Excluded, Included, Unbounded};
        let len = self.packets.len();
        let end = match range.end_bound() {
            Included(&last) => last.saturating_add(1).min(len),
            Excluded(&end) => end.min(len),
            Unbounded => len,
        };
        let start = match range.start_bound() {
            Included(&start) => start.min(end),
            Excluded(&before) => before.saturating_add(1).min(end),
            Unbounded => 0,
        };
        self.packets.drain(start..end)
    }

    /// Gives all packets back to their pool.
    pub fn give_all(&mut self, pool: &mut Pool) {
        self.packets.drain(..).for_each(|packet| pool.give(packet));
    }
}

impl Default for Batch {
    fn default() -> Self {
        Self::new()
    }
}

impl<'a> IntoIterator for &'a Batch {
    type Item = &'a PacketBuf;
    type IntoIter = core::slice::Iter<'a, PacketBuf>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl<'a> IntoIterator for &'a mut Batch {
    type Item = &'a mut PacketBuf;
    type IntoIter = core::slice::IterMut<'a, PacketBuf>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter_mut()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(byte: u8) -> PacketBuf {
        let mut packet = PacketBuf::new(0, 1);
        packet.extend(&[byte]).unwrap();
        packet
    }

    fn bytes(batch: &Batch) -> Vec<u8> {
        batch.iter().map(|packet| packet.bytes()[0]).collect()
    }

    #[test]
    fn order_is_kept_and_the_limit_held() {
        let mut batch = Batch::with_capacity(3);
        for byte in 0..3 {
            batch.push(packet(byte)).unwrap();
        }
        assert_eq!(batch.push(packet(9)).unwrap_err().bytes(), [9]);
        assert_eq!(bytes(&batch), [0, 1, 2]);
        assert_eq!(batch.drain(..2).count(), 2);
        assert_eq!(bytes(&batch), [2]);
        assert_eq!(batch.room(), 2);
        batch.push(packet(3)).unwrap();
        assert_eq!(bytes(&batch), [2, 3]);
    }

    #[test]
    fn a_drain_past_the_end_takes_what_there_is() {
        let mut batch = Batch::with_capacity(2);
        batch.push(packet(1)).unwrap();
        assert_eq!(batch.drain(5..).count(), 0);
        assert_eq!(batch.drain(..=9).count(), 1);
        assert_eq!(batch.drain(..).count(), 0);
    }
}
