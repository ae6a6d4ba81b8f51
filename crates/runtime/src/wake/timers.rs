//! Deadlines of many, of which the earliest is known: a binary heap that knows where each one is.
//!
//! ```text
//! heap       [ (t=3, key 7)  (t=5, key 2)  (t=9, key 4) ... ]     the earliest is first
//! positions  key -> index in the heap
//! ```
//!
//! Setting a deadline moves one entry, O(log n); a deadline that moves with every packet leaves nothing
//! behind. Without allocation once it has been as large.

use adit_packet::Instant;

/// The position of a key that has no deadline.
const NONE: u32 = u32::MAX;

/// The deadlines of keys: small numbers, as indexes are.
#[derive(Debug, Default)]
pub(crate) struct Timers {
    heap: Vec<(Instant, u32)>,
    positions: Vec<u32>,
}

impl Timers {
    /// The earliest deadline.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.heap.first().map(|&(at, _)| at)
    }

    /// Takes out a key whose deadline has come.
    pub(crate) fn pop_due(&mut self, now: Instant) -> Option<u32> {
        let &(at, key) = self.heap.first()?;
        if at > now {
            return None;
        }
        self.set(key, None);
        Some(key)
    }

    /// Sets the deadline of a key, or takes it away.
    #[inline]
    pub(crate) fn set(&mut self, key: u32, at: Option<Instant>) {
        match (self.position(key), at) {
            (None, None) => {}
            (None, Some(at)) => self.insert(key, at),
            (Some(place), Some(at)) => {
                if let Some(entry) = self.heap.get_mut(place)
                    && entry.0 != at
                {
                    entry.0 = at;
                    self.sift(place);
                }
            }
            (Some(place), None) => self.remove(place, key),
        }
    }

    fn position(&self, key: u32) -> Option<usize> {
        let place = *self.positions.get(index(key))?;
        (place != NONE).then(|| index(place))
    }

    fn insert(&mut self, key: u32, at: Instant) {
        if self.positions.len() <= index(key) {
            self.positions.resize(index(key) + 1, NONE);
        }
        self.heap.push((at, key));
        let place = self.heap.len() - 1;
        self.note(place);
        self.sift(place);
    }

    fn remove(&mut self, place: usize, key: u32) {
        if let Some(position) = self.positions.get_mut(index(key)) {
            *position = NONE;
        }
        self.heap.swap_remove(place);
        if place < self.heap.len() {
            self.note(place);
            self.sift(place);
        }
    }

    /// Moves an entry up or down to where it belongs.
    fn sift(&mut self, mut place: usize) {
        while place > 0 && self.at(place) < self.at((place - 1) / 2) {
            self.swap(place, (place - 1) / 2);
            place = (place - 1) / 2;
        }
        loop {
            let (left, right) = (2 * place + 1, 2 * place + 2);
            let mut least = place;
            for child in [left, right] {
                if child < self.heap.len() && self.at(child) < self.at(least) {
                    least = child;
                }
            }
            if least == place {
                return;
            }
            self.swap(place, least);
            place = least;
        }
    }

    fn at(&self, place: usize) -> Instant {
        self.heap.get(place).map_or(Instant::MAX, |&(at, _)| at)
    }

    fn swap(&mut self, one: usize, other: usize) {
        self.heap.swap(one, other);
        self.note(one);
        self.note(other);
    }

    /// Notes where the entry at `place` is.
    fn note(&mut self, place: usize) {
        if let Some(&(_, key)) = self.heap.get(place)
            && let Some(position) = self.positions.get_mut(index(key))
        {
            *position = u32::try_from(place).unwrap_or(NONE);
        }
    }
}

fn index(key: u32) -> usize {
    usize::try_from(key).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    proptest! {
        #[test]
        fn it_agrees_with_a_map(
            steps in prop::collection::vec((0..40_u32, prop::option::of(0..100_u64)), 0..300)
        ) {
            let mut timers = Timers::default();
            let mut oracle = BTreeMap::new();
            for (key, at) in steps {
                let at = at.map(Instant::from_nanos);
                timers.set(key, at);
                match at {
                    Some(at) => oracle.insert(key, at),
                    None => oracle.remove(&key),
                };
                prop_assert_eq!(timers.next(), oracle.values().min().copied());
            }
            let now = Instant::from_nanos(50);
            let mut due = Vec::new();
            while let Some(key) = timers.pop_due(now) {
                due.push(key);
            }
            due.sort_unstable();
            let expected: Vec<u32> =
                oracle.iter().filter(|&(_, &at)| at <= now).map(|(&key, _)| key).collect();
            prop_assert_eq!(due, expected);
            prop_assert!(timers.next().is_none_or(|at| at > now));
        }
    }
}
