//! How much waits in the shapers of all peers together.

use adit_packet::PacketBuf;

/// Large buffers that wait in all shapers together: a quarter of the pool's.
const LARGE_MAX: usize = 64;
/// Buffers that wait in all shapers together: half of the pool's small ones.
const HELD_MAX: usize = 2048;
/// A buffer with more memory than this is one of the large ones.
const SMALL_LEN: usize = 4096;

/// How much waits in the shapers of all peers together.
#[derive(Debug, Default)]
pub(crate) struct Waiting {
    count: usize,
    /// Those of them in large buffers.
    large: usize,
}

impl Waiting {
    /// How many packets wait.
    pub(crate) const fn len(&self) -> usize {
        self.count
    }

    /// Counts a packet that is to wait, if there is room for it.
    pub(crate) fn admits(&mut self, packet: &PacketBuf) -> bool {
        let is_large = is_large(packet);
        if self.count >= HELD_MAX || is_large && self.large >= LARGE_MAX {
            return false;
        }
        self.count += 1;
        self.large += usize::from(is_large);
        true
    }

    /// A packet waits no more.
    pub(crate) fn release(&mut self, packet: &PacketBuf) {
        self.count = self.count.saturating_sub(1);
        self.large = self.large.saturating_sub(usize::from(is_large(packet)));
    }
}

fn is_large(packet: &PacketBuf) -> bool {
    packet.capacity() > SMALL_LEN
}
