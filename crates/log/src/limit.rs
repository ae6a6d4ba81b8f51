//! The same message at most once a second, with a count of those that were left out.

use crate::record::Record;
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// How long the same message is left out after it was written.
const INTERVAL: Duration = Duration::from_secs(1);

/// The most messages that are remembered. A flood of different ones shares one entry beyond that, so it can
/// neither fill the memory nor the log.
const ENTRIES_MAX: usize = 512;

/// The entry that further messages share.
const SHARED: u64 = 0;

/// The messages of the last second.
#[derive(Debug, Default)]
pub(crate) struct Limiter {
    entries: HashMap<u64, Entry>,
}

#[derive(Debug)]
struct Entry {
    until: Instant,
    left_out: u64,
    /// The first message that was left out, for the report.
    record: Option<Record>,
}

impl Limiter {
    /// Whether a message is written now; otherwise it is counted. The flag says that a report became due that was not
    /// before.
    pub(crate) fn admit(&mut self, now: Instant, record: &Record) -> Admission {
        let mut key = record.key();
        if !self.entries.contains_key(&key) && self.entries.len() >= ENTRIES_MAX {
            self.entries.retain(|_, entry| entry.left_out > 0 || entry.until > now);
            if self.entries.len() >= ENTRIES_MAX {
                key = SHARED;
            }
        }
        let until = now + INTERVAL;
        let fresh = || Entry { until, left_out: 0, record: None };
        let Some(entry) = self.entries.get_mut(&key) else {
            self.entries.insert(key, fresh());
            return Admission::Write;
        };
        if entry.until <= now && entry.left_out == 0 {
            *entry = fresh();
            return Admission::Write;
        }
        entry.left_out += 1;
        if entry.left_out > 1 {
            return Admission::LeftOut;
        }
        entry.record = Some(record.clone());
        Admission::FirstLeftOut
    }

    /// When [`Limiter::due`] has something to report; `None` if nothing was left out.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        let waiting = self.entries.values().filter(|entry| entry.left_out > 0);
        waiting.map(|entry| entry.until).min()
    }

    /// The reports of what was left out until `now`; the messages stay limited for another second.
    pub(crate) fn due(&mut self, now: Instant) -> Vec<Record> {
        let mut reports = Vec::new();
        self.entries.retain(|_, entry| {
            if entry.until > now {
                return true;
            }
            let Some(record) = entry.record.take() else { return false };
            reports.push(record.left_out(entry.left_out));
            (entry.left_out, entry.until) = (0, now + INTERVAL);
            true
        });
        reports
    }

    /// All reports, at the end.
    pub(crate) fn finish(&mut self) -> Vec<Record> {
        let entries = std::mem::take(&mut self.entries).into_values();
        entries.filter_map(|entry| Some(entry.record?.left_out(entry.left_out))).collect()
    }
}

/// What happens to a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Admission {
    /// It is written.
    Write,
    /// It is left out, and a report becomes due.
    FirstLeftOut,
    /// It is left out, as others before.
    LeftOut,
}

#[cfg(test)]
mod tests {
    use super::*;
    use adit_service::log::TargetId;

    fn record(message: &str) -> Record {
        Record::new(TargetId::SWITCH, "test", message.to_owned())
    }

    fn texts(records: Vec<Record>) -> Vec<String> {
        records.into_iter().map(|record| record.message).collect()
    }

    #[test]
    fn the_same_message_is_written_once_a_second_and_the_rest_is_counted() {
        let (mut limiter, start) = (Limiter::default(), Instant::now());
        let at = |millis| start + Duration::from_millis(millis);
        assert_eq!(limiter.admit(at(0), &record("a")), Admission::Write);
        assert_eq!(limiter.admit(at(1), &record("b")), Admission::Write, "another message");
        assert_eq!(limiter.next_due(), None);
        assert_eq!(limiter.admit(at(10), &record("a")), Admission::FirstLeftOut);
        for millis in 11..110 {
            assert_eq!(limiter.admit(at(millis), &record("a")), Admission::LeftOut);
        }
        assert_eq!(limiter.next_due(), Some(at(1000)));
        assert!(limiter.due(at(999)).is_empty());
        assert_eq!(texts(limiter.due(at(1000))), ["a: 100 more were left out"]);
        // The report was a message of this kind.
        assert_eq!(limiter.admit(at(1500), &record("a")), Admission::FirstLeftOut);
        assert_eq!(texts(limiter.due(at(2000))), ["a: 1 more was left out"]);
        assert!(limiter.due(at(3000)).is_empty());
        assert_eq!(limiter.admit(at(3001), &record("a")), Admission::Write);
    }

    #[test]
    fn an_object_makes_a_message_its_own_whatever_it_says() {
        let (mut limiter, now) = (Limiter::default(), Instant::now());
        let of = |port: &str, message: &str| {
            let mut record = record(message);
            record.fields.insert("port".to_owned(), port.into());
            record
        };
        assert_eq!(limiter.admit(now, &of("tap:a", "1")), Admission::Write);
        assert_eq!(limiter.admit(now, &of("tap:b", "1")), Admission::Write);
        assert_eq!(limiter.admit(now, &of("tap:a", "2")), Admission::FirstLeftOut);
    }

    #[test]
    fn a_flood_of_different_messages_is_bounded_and_counted() {
        let (mut limiter, now) = (Limiter::default(), Instant::now());
        let admitted = (0..10_000)
            .filter(|n| limiter.admit(now, &record(&n.to_string())) == Admission::Write)
            .count();
        assert_eq!(admitted, ENTRIES_MAX + 1);
        assert_eq!(limiter.entries.len(), ENTRIES_MAX + 1);
        let left_out: u64 = limiter.entries.values().map(|entry| entry.left_out).sum();
        assert_eq!(left_out, 10_000 - ENTRIES_MAX as u64 - 1);
        assert_eq!(limiter.finish().len(), 1);
    }
}
