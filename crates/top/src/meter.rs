//! Rates of counters, now and over the last minute, ten minutes and hour.

use std::collections::HashMap;
use std::collections::VecDeque;
use std::hash::Hash;
use std::time::{Duration, Instant};

/// Bars of a history.
pub(crate) const SLOTS: usize = 60;

/// The histories that are kept: the time of a bar of each.
pub(crate) const EVERY: [Duration; 3] =
    [Duration::from_secs(1), Duration::from_secs(10), Duration::from_secs(60)];

/// As many rows have a history: a table of more is not read, and each takes 4 KiB.
const TRACKS_MAX: usize = 4096;

/// Counters of a row: bytes of both directions, and dropped packets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counters {
    pub(crate) received: u64,
    pub(crate) sent: u64,
    pub(crate) dropped: u64,
}

/// Rates of a row: bits and dropped packets per second.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Rates {
    pub(crate) received: f64,
    pub(crate) sent: f64,
    pub(crate) dropped: f64,
}

impl Rates {
    const fn list(self) -> [f64; 3] {
        [self.received, self.sent, self.dropped]
    }
}

/// Rates of all rows.
#[derive(Debug)]
pub(crate) struct Meter<K> {
    tracks: HashMap<K, Track>,
}

impl<K> Default for Meter<K> {
    fn default() -> Self {
        Self { tracks: HashMap::new() }
    }
}

/// The counters of a row, and what they were.
#[derive(Clone, Debug)]
pub(crate) struct Track {
    last: Counters,
    at: Instant,
    pub(crate) rates: Rates,
    histories: [History; 3],
}

/// Means of rates, the last 60.
#[derive(Clone, Debug, Default)]
struct History {
    slots: [VecDeque<f64>; 3],
    /// What came since the last slot, and in which time.
    sums: [f64; 3],
    since: Duration,
}

impl<K: Hash + Eq> Meter<K> {
    /// Notes the counters of a row at a moment; its rates since the moment before.
    pub(crate) fn note(&mut self, key: K, at: Instant, counters: Counters) -> Rates {
        let is_full = self.tracks.len() >= TRACKS_MAX;
        match self.tracks.get_mut(&key) {
            Some(track) => {
                track.note(at, counters);
                track.rates
            }
            None if is_full => Rates::default(),
            None => {
                let histories = Default::default();
                let track = Track { last: counters, at, rates: Rates::default(), histories };
                self.tracks.insert(key, track);
                Rates::default()
            }
        }
    }

    /// Forgets rows that were not there at `at`.
    pub(crate) fn forget_older(&mut self, at: Instant) {
        self.tracks.retain(|_, track| track.at == at);
    }

    /// The history of a row: received, sent, dropped, the last at the end. `span` chooses one of [`EVERY`].
    pub(crate) fn history(&self, key: &K, span: usize) -> Option<[Vec<f64>; 3]> {
        let slots = &self.tracks.get(key)?.histories.get(span)?.slots;
        Some(slots.each_ref().map(|slots| slots.iter().copied().collect()))
    }
}

impl Track {
    fn note(&mut self, at: Instant, now: Counters) {
        let time = at.saturating_duration_since(self.at);
        let seconds = time.as_secs_f64();
        if seconds <= 0.0 {
            return;
        }
        // A counter that began again grew from zero.
        let grown = |before: u64, now: u64| if now < before { now } else { now - before };
        let rate = |before, now, factor: f64| float(grown(before, now)) * factor / seconds;
        self.rates = Rates {
            received: rate(self.last.received, now.received, 8.0),
            sent: rate(self.last.sent, now.sent, 8.0),
            dropped: rate(self.last.dropped, now.dropped, 1.0),
        };
        for (history, every) in self.histories.iter_mut().zip(EVERY) {
            history.push(self.rates.list(), time, every);
        }
        (self.last, self.at) = (now, at);
    }
}

/// A turn that comes so much early fills a slot.
const EARLY: Duration = Duration::from_millis(100);

impl History {
    fn push(&mut self, rates: [f64; 3], time: Duration, every: Duration) {
        self.since += time;
        for (sum, rate) in self.sums.iter_mut().zip(rates) {
            *sum += rate * time.as_secs_f64();
        }
        if self.since + EARLY < every {
            return;
        }
        let seconds = self.since.as_secs_f64();
        for (slots, sum) in self.slots.iter_mut().zip(&mut self.sums) {
            if slots.len() >= SLOTS {
                slots.pop_front();
            }
            slots.push_back(std::mem::take(sum) / seconds);
        }
        self.since = Duration::ZERO;
    }
}

#[expect(clippy::cast_precision_loss, reason = "a rate is rounded")]
const fn float(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_those_since_the_last_turn_and_histories_are_their_means() {
        let (mut meter, start) = (Meter::default(), Instant::now());
        let mut counters = Counters::default();
        for second in 0..=200_u32 {
            // 1 kB each second, in the second minute 2 kB; a drop every second.
            counters.received += if (61..=120).contains(&second) { 2000 } else { 1000 };
            counters.dropped += 1;
            let rates = meter.note("a", start + Duration::from_secs(1) * second, counters);
            assert_eq!(rates.received > 0.0, second > 0);
        }
        let [received, sent, dropped] = meter.history(&"a", 0).unwrap();
        assert_eq!((received.len(), received[0]), (SLOTS, 8000.0));
        assert!(sent.iter().all(|rate| *rate == 0.0) && dropped.iter().all(|rate| *rate == 1.0));
        assert_eq!(meter.history(&"a", 1).unwrap()[0].len(), 20);
        let minutes = &meter.history(&"a", 2).unwrap()[0];
        assert_eq!(minutes.len(), 3);
        assert!((minutes[1] - 16_000.0).abs() < 1000.0, "{minutes:?}");
        // A counter that began again, and a row that is gone.
        let later = start + Duration::from_secs(201);
        let again = meter.note("a", later, Counters { received: 500, ..Counters::default() });
        assert_eq!(again.received, 4000.0);
        meter.note("b", later + Duration::from_secs(1), counters);
        meter.forget_older(later + Duration::from_secs(1));
        assert!(meter.history(&"a", 0).is_none() && meter.history(&"b", 0).is_some());
    }

    #[test]
    fn memory_is_bounded() {
        let (mut meter, at) = (Meter::default(), Instant::now());
        for key in 0..TRACKS_MAX + 10 {
            meter.note(key, at, Counters::default());
        }
        assert_eq!(meter.tracks.len(), TRACKS_MAX);
        for turn in 1..200 {
            meter.note(0, at + Duration::from_secs(turn), Counters::default());
        }
        assert!(meter.history(&0, 0).unwrap().iter().all(|slots| slots.len() == SLOTS));
    }
}
