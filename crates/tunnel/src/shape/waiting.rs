//! The total of packets in the shapers of all peers.

use adit_packet::PacketBuf;

/// The maximum number of large buffers in all shapers: a quarter of the pool.
const LARGE_MAX: usize = 64;
/// The maximum number of buffers in all shapers: half of the small buffers of the pool.
const HELD_MAX: usize = 2048;
/// A buffer with a greater capacity is a large one.
const SMALL_LEN: usize = 4096;

/// The total of packets in the shapers of all peers.
#[derive(Debug, Default)]
pub(crate) struct Waiting {
    count: usize,
    /// The packets in large buffers among them.
    large: usize,
}

impl Waiting {
    /// The number of packets that wait.
    pub(crate) const fn len(&self) -> usize {
        self.count
    }

    /// Counts a packet that will wait; `false` if there is no room for it.
    pub(crate) fn admits(&mut self, packet: &PacketBuf) -> bool {
        let is_large = is_large(packet);
        if self.count >= HELD_MAX || is_large && self.large >= LARGE_MAX {
            return false;
        }
        self.count += 1;
        self.large += usize::from(is_large);
        true
    }

    /// Counts a packet that no longer waits.
    pub(crate) fn release(&mut self, packet: &PacketBuf) {
        self.count = self.count.saturating_sub(1);
        self.large = self.large.saturating_sub(usize::from(is_large(packet)));
    }
}

fn is_large(packet: &PacketBuf) -> bool {
    packet.capacity() > SMALL_LEN
}
