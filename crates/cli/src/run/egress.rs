//! The queue of a port that takes no more now.

use super::port::PortCounters;
use adit_packet::{Batch, PacketBuf, Pool};
use std::collections::VecDeque;

/// The longest headers that are cut off a super-packet: Ethernet with tags, IPv6 with extensions and
/// TCP with options, all of it twice inside a tunnel.
pub(super) const HEADERS_LEN_MAX: usize = 1024;

/// How many frames may wait at a port: four batches, or 6 ms of full frames at 500 Mbit/s.
const FRAMES_MAX: usize = 256;

/// How many bytes may wait at a port: 16 super-packets. The pool of a loop has 256 large buffers, so
/// a few stuck ports cannot use them up, nor starve those that move.
const BYTES_MAX: usize = 1 << 20;

/// Frames that wait until a port takes more, in order.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    frames: VecDeque<PacketBuf>,
    bytes: usize,
}

impl Waiting {
    pub(super) fn new() -> Self {
        Self { frames: VecDeque::with_capacity(FRAMES_MAX), bytes: 0 }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// Takes all of `batch` in; those without room are dropped, the newest first.
    pub(super) fn take(&mut self, batch: &mut Batch, pool: &mut Pool, counters: &mut PortCounters) {
        for packet in batch.drain(..) {
            if self.frames.len() >= FRAMES_MAX || self.bytes + packet.len() > BYTES_MAX {
                counters.queue_full += 1;
                pool.give(packet);
                continue;
            }
            self.bytes += packet.len();
            self.frames.push_back(packet);
        }
    }

    /// Moves the first of them into `batch`, as many as it takes.
    pub(super) fn move_to(&mut self, batch: &mut Batch) {
        while !batch.is_full()
            && let Some(packet) = self.frames.pop_front()
        {
            self.bytes = self.bytes.saturating_sub(packet.len());
            if let Err(packet) = batch.push(packet) {
                self.put_back(packet);
                return;
            }
        }
    }

    /// Puts what was moved out and did not go back to the front, in order.
    pub(super) fn return_from(&mut self, batch: &mut Batch) {
        for packet in batch.drain(..).rev() {
            self.put_back(packet);
        }
    }

    /// Gives all buffers back.
    pub(super) fn clear(&mut self, pool: &mut Pool) {
        self.frames.drain(..).for_each(|packet| pool.give(packet));
        self.bytes = 0;
    }

    fn put_back(&mut self, packet: PacketBuf) {
        self.bytes += packet.len();
        self.frames.push_front(packet);
    }
}
