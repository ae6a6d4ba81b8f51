//! Packets in flight, ordered by arrival time.

use alloc::collections::{BinaryHeap, VecDeque};
use core::cmp::Reverse;

use super::store::Handle;

/// When a packet arrives; of two at the same time the one that left the line first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Due {
    pub(super) at: u64,
    order: u64,
    pub(super) packet: Handle,
}

/// Packets by the time at which they arrive.
///
/// Most come in the order in which they leave: these are a plain queue. Only those that are earlier
/// than one before them go to a heap.
#[derive(Debug, Default)]
pub(super) struct InFlight {
    queue: VecDeque<Due>,
    heap: BinaryHeap<Reverse<Due>>,
    order: u64,
}

impl InFlight {
    pub(super) fn push(&mut self, at: u64, packet: Handle) {
        let due = Due { at, order: self.order, packet };
        self.order += 1;
        if self.queue.back().is_none_or(|last| last.at <= at) {
            self.queue.push_back(due);
        } else {
            self.heap.push(Reverse(due));
        }
    }

    pub(super) fn first(&self) -> Option<Due> {
        let first = [self.queue.front().copied(), self.heap.peek().map(|due| due.0)];
        first.into_iter().flatten().min()
    }

    pub(super) fn pop(&mut self) -> Option<Due> {
        let heap_first = match (self.queue.front(), self.heap.peek()) {
            (Some(queued), Some(Reverse(other))) => other < queued,
            (None, Some(_)) => true,
            (_, None) => false,
        };
        if heap_first { self.heap.pop().map(|due| due.0) } else { self.queue.pop_front() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    #[test]
    fn they_arrive_by_time_and_then_in_order() {
        let times = [5, 5, 9, 3, 9, 1, 3, 20, 10, 5];
        let mut in_flight = InFlight::default();
        for (packet, at) in (0..).zip(times) {
            in_flight.push(at, packet);
        }
        let mut expected: Vec<_> = times.into_iter().zip(0_u32..).collect();
        expected.sort();
        let mut found = Vec::new();
        while let Some(first) = in_flight.first() {
            let due = in_flight.pop().unwrap();
            assert_eq!(first, due);
            found.push((due.at, due.packet));
        }
        assert_eq!(found, expected);
        assert!(in_flight.pop().is_none());
    }
}
