//! A packet in its own memory, with room before and after it.

use alloc::boxed::Box;
use alloc::vec;
use core::fmt;

use crate::{Ecn, PacketInfo, VnetHeader};

/// The metadata of a packet.
///
/// Minor versions may add fields: end a literal with `..Meta::default()`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Meta {
    /// Flags and protocol, if the queue has packet information.
    pub info: PacketInfo,
    /// The virtio-net header, if the queue has it; otherwise all zero, which means a plain packet.
    pub vnet: VnetHeader,
    /// The number of bytes cut off its end when it was copied, for a capture; otherwise 0.
    pub truncated: u32,
    /// For a datagram of a tunnel: the ECN codepoint of its outer header.
    pub ecn: Ecn,
    /// For datagrams from a queue that stands: one packet of them must be marked as congested, or dropped.
    pub congested: bool,
    /// For a datagram of a tunnel or flow: whether the network may fragment it.
    pub may_fragment: bool,
    /// For a datagram of a flow: the hop limit (TTL) that it goes with; 0 for that of the one before.
    pub hop_limit: u8,
    /// For a piece of a TCP stream: whether its last byte is urgent (RFC 6093).
    pub urgent: bool,
}

/// The packet buffer has not enough room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoRoom;

impl fmt::Display for NoRoom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the packet buffer is full")
    }
}

impl core::error::Error for NoRoom {}

/// One packet (or frame) in memory that it owns, with room for headers before and for a trailer after.
///
/// ```text
///  0            start              end              capacity
///  |  headroom  |  bytes()         |  tailroom      |
/// ```
///
/// Usually it belongs to a [`Pool`](crate::Pool): take it there and give it back there.
pub struct PacketBuf {
    storage: Box<[u8]>,
    /// `start <= end <= storage.len()`, always.
    start: usize,
    end: usize,
    /// The metadata: packet information, virtio-net header, outer ECN.
    pub meta: Meta,
}

impl PacketBuf {
    /// An empty packet in newly allocated memory that belongs to no pool: `headroom` bytes before
    /// it, and `room` bytes for it.
    #[must_use]
    pub fn new(headroom: usize, room: usize) -> Self {
        Self::from_storage(vec![0; headroom.saturating_add(room)].into_boxed_slice(), headroom)
    }

    pub(crate) fn from_storage(storage: Box<[u8]>, headroom: usize) -> Self {
        let start = headroom.min(storage.len());
        Self { storage, start, end: start, meta: Meta::default() }
    }

    pub(crate) fn into_storage(self) -> Box<[u8]> {
        self.storage
    }

    /// The bytes of the packet.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        self.storage.get(self.start..self.end).unwrap_or_default()
    }

    /// The bytes of the packet, for editing in place.
    #[must_use]
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        self.storage.get_mut(self.start..self.end).unwrap_or_default()
    }

    /// The length of the packet in bytes.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.end - self.start
    }

    /// Whether the packet has no bytes.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// The size of the memory in bytes: headroom, packet and tailroom.
    #[must_use]
    pub const fn capacity(&self) -> usize {
        self.storage.len()
    }

    /// How many bytes [`Self::prepend`] can still add.
    #[must_use]
    pub const fn headroom(&self) -> usize {
        self.start
    }

    /// How many bytes [`Self::grow`] can still add.
    #[must_use]
    pub const fn tailroom(&self) -> usize {
        self.storage.len() - self.end
    }

    /// Extends the packet by `count` bytes at its front and returns these bytes, with arbitrary
    /// contents; `None` if the headroom is smaller.
    #[must_use]
    pub fn prepend(&mut self, count: usize) -> Option<&mut [u8]> {
        let start = self.start.checked_sub(count)?;
        let new = self.storage.get_mut(start..self.start)?;
        self.start = start;
        Some(new)
    }

    /// Removes `count` bytes (at most all) from the packet's front: they become headroom.
    pub fn advance(&mut self, count: usize) {
        self.start = self.start.saturating_add(count).min(self.end);
    }

    /// Truncates the packet to `len` bytes; no effect on a shorter one.
    pub fn truncate(&mut self, len: usize) {
        self.end = self.end.min(self.start.saturating_add(len));
    }

    /// Extends the packet by `count` bytes at its end and returns these bytes, with arbitrary
    /// contents; `None` if the tailroom is smaller.
    #[must_use]
    pub fn grow(&mut self, count: usize) -> Option<&mut [u8]> {
        let end = self.end.checked_add(count)?;
        let new = self.storage.get_mut(self.end..end)?;
        self.end = end;
        Some(new)
    }

    /// Appends a copy of `bytes`.
    ///
    /// # Errors
    ///
    /// [`NoRoom`] if the tailroom is smaller; nothing is appended then.
    pub fn extend(&mut self, bytes: &[u8]) -> Result<(), NoRoom> {
        self.grow(bytes.len()).ok_or(NoRoom)?.copy_from_slice(bytes);
        Ok(())
    }

    /// The whole tailroom, for reading into; [`Self::set_len`] then makes it part of the packet.
    #[must_use]
    pub fn spare_mut(&mut self) -> &mut [u8] {
        self.storage.get_mut(self.end..).unwrap_or_default()
    }

    /// The memory from `before` bytes before the packet to its end; `None` if the headroom is
    /// smaller.
    pub(crate) fn room_from(&mut self, before: usize) -> Option<&mut [u8]> {
        self.storage.get_mut(self.start.checked_sub(before)?..)
    }

    /// Sets the packet's length. Added bytes have arbitrary contents.
    ///
    /// # Errors
    ///
    /// [`NoRoom`] if the buffer ends before `len`; nothing changes then.
    pub fn set_len(&mut self, len: usize) -> Result<(), NoRoom> {
        let end = self.start.checked_add(len).filter(|&end| end <= self.storage.len());
        self.end = end.ok_or(NoRoom)?;
        Ok(())
    }

    /// Empties the packet, with `headroom` bytes before it (at most the whole buffer) and default
    /// meta.
    pub fn reset(&mut self, headroom: usize) {
        self.start = headroom.min(self.storage.len());
        self.end = self.start;
        self.meta = Meta::default();
    }
}

/// Prints the lengths, not the bytes: a super-packet has 64 KiB of them.
impl fmt::Debug for PacketBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PacketBuf")
            .field("headroom", &self.headroom())
            .field("len", &self.len())
            .field("tailroom", &self.tailroom())
            .field("meta", &self.meta)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_grows_and_shrinks_at_both_ends() {
        let mut packet = PacketBuf::new(4, 8);
        assert!(packet.is_empty());
        packet.extend(b"data").unwrap();
        packet.prepend(2).unwrap().copy_from_slice(b"h:");
        packet.grow(1).unwrap().fill(b'!');
        assert_eq!(packet.bytes(), b"h:data!");
        assert_eq!((packet.headroom(), packet.len(), packet.tailroom()), (2, 7, 3));
        packet.advance(2);
        packet.truncate(4);
        assert_eq!(packet.bytes(), b"data");
        packet.truncate(100);
        assert_eq!(packet.bytes(), b"data");
        packet.advance(100);
        assert!(packet.is_empty());
        packet.reset(4);
        assert_eq!((packet.headroom(), packet.tailroom()), (4, 8));
    }

    #[test]
    fn too_many_bytes_change_nothing() {
        let mut packet = PacketBuf::new(4, 8);
        packet.extend(b"12345678").unwrap();
        assert_eq!(packet.prepend(5), None);
        assert_eq!(packet.grow(1), None);
        assert_eq!(packet.grow(usize::MAX), None);
        assert_eq!(packet.extend(b"9"), Err(NoRoom));
        assert_eq!(packet.set_len(9), Err(NoRoom));
        assert_eq!(packet.set_len(usize::MAX), Err(NoRoom));
        assert_eq!(packet.bytes(), b"12345678");
    }

    #[test]
    fn a_read_goes_to_the_spare_room() {
        let mut packet = PacketBuf::new(2, 6);
        packet.spare_mut()[..3].copy_from_slice(b"abc");
        packet.set_len(3).unwrap();
        assert_eq!(packet.bytes(), b"abc");
        assert_eq!(packet.spare_mut().len(), 3);
    }
}
