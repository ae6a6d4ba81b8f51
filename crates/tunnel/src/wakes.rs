//! The wake-up times of peers.

use alloc::collections::BinaryHeap;
use core::cmp::Reverse;

use adit_packet::Instant;

/// A queue of wake-up times.
///
/// Timers are set with every packet and rarely expire. So a new entry is made only when the next wake-up of a
/// peer moves to an earlier time. A later one is noticed when the old entry comes up: the peer is then
/// scheduled again.
#[derive(Debug, Default)]
pub(crate) struct WakeQueue {
    heap: BinaryHeap<Reverse<(Instant, u32)>>,
}

impl WakeQueue {
    /// Schedules a wake-up of a peer no later than `at`; `scheduled` is its current one.
    pub(crate) fn schedule(
        &mut self,
        peer: u32,
        scheduled: &mut Option<Instant>,
        at: Option<Instant>,
    ) {
        let Some(at) = at else { return };
        if scheduled.is_none_or(|scheduled| at < scheduled) {
            *scheduled = Some(at);
            self.heap.push(Reverse((at, peer)));
        }
    }

    /// The time at which [`Self::pop`] next returns a peer.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.heap.peek().map(|Reverse((at, _))| *at)
    }

    /// A peer whose wake-up is due, and the time of it. An entry is stale if it is not the peer's scheduled one.
    pub(crate) fn pop(&mut self, now: Instant) -> Option<(Instant, u32)> {
        if self.next()? > now {
            return None;
        }
        self.heap.pop().map(|Reverse(entry)| entry)
    }
}
