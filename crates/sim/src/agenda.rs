//! What is due next, of many.

use alloc::collections::BinaryHeap;
use alloc::vec::Vec;
use core::cmp::Reverse;

use adit_packet::Instant;

/// When each of many things is due, by its number.
#[derive(Debug, Default)]
pub(crate) struct Agenda {
    /// One entry a change: one that is not in `due` any more is skipped.
    heap: BinaryHeap<Reverse<(Instant, usize)>>,
    /// [`Instant::MAX`]: never.
    due: Vec<Instant>,
}

impl Agenda {
    pub(crate) fn set(&mut self, at: usize, due: Instant) {
        if at >= self.due.len() {
            self.due.resize(at + 1, Instant::MAX);
        }
        if self.due[at] != due {
            self.due[at] = due;
            if due != Instant::MAX {
                self.heap.push(Reverse((due, at)));
            }
        }
    }

    /// When the first is due; [`Instant::MAX`]: never.
    pub(crate) fn next(&mut self) -> Instant {
        while let Some(&Reverse((due, at))) = self.heap.peek() {
            if self.due[at] == due {
                return due;
            }
            self.heap.pop();
        }
        Instant::MAX
    }

    /// Takes all that are due, in the order of their numbers; they are not due until they are set again.
    pub(crate) fn take(&mut self, now: Instant, taken: &mut Vec<usize>) {
        taken.clear();
        while self.next() <= now
            && let Some(Reverse((_, at))) = self.heap.pop()
        {
            self.due[at] = Instant::MAX;
            taken.push(at);
        }
        taken.sort_unstable();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_is_found_whatever_changed() {
        let mut agenda = Agenda::default();
        let at = Instant::from_nanos;
        let mut taken = Vec::new();
        assert_eq!(agenda.next(), Instant::MAX);
        for (number, due) in [(3, 30), (1, 10), (2, 10), (1, 40), (3, 5), (3, 30), (1, 10)] {
            agenda.set(number, at(due));
        }
        assert_eq!(agenda.next(), at(10));
        agenda.take(at(10), &mut taken);
        assert_eq!(taken, [1, 2]);
        agenda.set(2, at(50));
        agenda.set(2, Instant::MAX);
        agenda.take(at(100), &mut taken);
        assert_eq!(taken, [3]);
        assert_eq!(agenda.next(), Instant::MAX);
    }
}
