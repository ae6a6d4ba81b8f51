//! Which peer is to be looked at when.

use alloc::collections::BinaryHeap;
use core::cmp::Reverse;

use adit_packet::Instant;

/// The next moment of each peer that waits for something.
///
/// Timers are set with every packet and seldom come due. So an entry is made only when a peer's next
/// moment comes nearer; when it comes and nothing is due any more, the peer is asked again.
#[derive(Debug, Default)]
pub(crate) struct WakeQueue {
    heap: BinaryHeap<Reverse<(Instant, u32)>>,
}

impl WakeQueue {
    /// Sees to it that the peer is looked at no later than `at`; `scheduled` is when it would be so far.
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

    /// The next moment at which [`Self::pop`] gives a peer.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.heap.peek().map(|Reverse((at, _))| *at)
    }

    /// A peer whose moment has come, with that moment: it counts if it is still the scheduled one.
    pub(crate) fn pop(&mut self, now: Instant) -> Option<(Instant, u32)> {
        if self.next()? > now {
            return None;
        }
        self.heap.pop().map(|Reverse(entry)| entry)
    }
}
