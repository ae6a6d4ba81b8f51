//! The last events of a service, numbered, for clients that come later or come again.
//!
//! A number is one higher than that of the event before. The first follows the time of the start in microseconds, so
//! a client that reconnects also learns that the service has restarted: its last number is not in this journal.

use schemars::JsonSchema;
use serde::Serialize;
use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

/// The most events that are kept: ten a second for over a minute.
const EVENTS_MAX: usize = 1024;

/// The most bytes of events that are kept: a thousand of them of a kilobyte.
const BYTES_MAX: usize = 1 << 20;

/// As much is written to a client at a time.
const CHUNK_LEN: usize = 64 << 10;

/// How events are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// A JSON object in each line.
    Lines,
    /// Server-sent events (HTML, 9.2): the number as `id`, the same object as `data`.
    ServerSent,
}

/// The events of a service.
#[derive(Debug)]
pub struct Journal {
    ring: Mutex<Ring>,
    last: AtomicU64,
}

#[derive(Debug)]
struct Ring {
    /// The number before the first.
    begin: u64,
    /// The number of the last; its events are at the end of those that are kept.
    last: u64,
    kept: VecDeque<Box<str>>,
    bytes: usize,
}

/// A line of `/events` that is about the stream.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Mark {
    /// Events follow: those after the number `seq`.
    Start {
        /// The number.
        seq: u64,
    },
    /// Events before those that follow are lost to this client.
    Gap {
        /// The number before the next.
        seq: u64,
        /// How many are lost; null if that is unknown, as the service has restarted.
        lost: Option<u64>,
    },
    /// Nothing has happened for a while.
    Alive {
        /// The number of the last event.
        seq: u64,
    },
}

impl Journal {
    /// An empty one.
    #[must_use]
    pub fn new() -> Self {
        let micros = since_1970().as_micros();
        let begin = u64::try_from(micros).unwrap_or(0);
        let ring = Ring { begin, last: begin, kept: VecDeque::new(), bytes: 0 };
        Self { ring: Mutex::new(ring), last: AtomicU64::new(begin) }
    }

    /// The number of the last event.
    pub fn last(&self) -> u64 {
        self.last.load(Ordering::Acquire)
    }

    /// Keeps an event, a JSON object.
    pub fn push(&self, event: &str) {
        let Some(rest) = event.strip_prefix('{') else { return };
        let mut ring = self.lock();
        ring.last += 1;
        let seq = ring.last;
        let line = format!("{{\"seq\":{seq},\"time_s\":{:.3},{rest}", since_1970().as_secs_f64());
        ring.bytes += line.len();
        ring.kept.push_back(line.into());
        while ring.kept.len() > EVENTS_MAX || ring.bytes > BYTES_MAX {
            let gone = ring.kept.pop_front();
            ring.bytes -= gone.map_or(0, |line| line.len());
        }
        self.last.store(seq, Ordering::Release);
    }

    /// Appends what follows the number `after` to `out`, up to some 64 KiB, and returns the number of the last that
    /// it has appended. With 0 that is all that is kept.
    pub fn read(&self, after: u64, format: Format, out: &mut Vec<u8>) -> u64 {
        let ring = self.lock();
        let kept = u64::try_from(ring.kept.len()).unwrap_or(0);
        let oldest = ring.last - kept;
        let after = if after == 0 { ring.begin } else { after };
        let is_known = (ring.begin..=ring.last).contains(&after);
        let mut at = after;
        if !is_known || after < oldest {
            at = oldest;
            let lost = is_known.then(|| oldest - after);
            write(out, format, at, &Mark::Gap { seq: at, lost }.to_string());
        }
        let skipped = usize::try_from(at - oldest).unwrap_or(usize::MAX);
        let begin = out.len();
        for line in ring.kept.iter().skip(skipped) {
            if out.len() - begin >= CHUNK_LEN {
                break;
            }
            at += 1;
            write(out, format, at, line);
        }
        at
    }

    /// Appends a line that is about the stream.
    pub fn mark(mark: Mark, format: Format, out: &mut Vec<u8>) {
        let (Mark::Start { seq } | Mark::Gap { seq, .. } | Mark::Alive { seq }) = mark;
        write(out, format, seq, &mark.to_string());
    }

    fn lock(&self) -> MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Journal {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&serde_json::to_string(self).map_err(|_| fmt::Error)?)
    }
}

fn write(out: &mut Vec<u8>, format: Format, seq: u64, line: &str) {
    let text = match format {
        Format::Lines => format!("{line}\n"),
        Format::ServerSent => format!("id: {seq}\ndata: {line}\n\n"),
    };
    out.extend_from_slice(text.as_bytes());
}

fn since_1970() -> Duration {
    SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    fn lines(journal: &Journal, after: u64) -> (Vec<Value>, u64) {
        let mut out = Vec::new();
        let last = journal.read(after, Format::Lines, &mut out);
        let text = String::from_utf8(out).unwrap();
        (text.lines().map(|line| serde_json::from_str(line).unwrap()).collect(), last)
    }

    #[test]
    fn who_comes_again_loses_nothing_that_is_kept() {
        let journal = Journal::new();
        let begin = journal.last();
        for number in 0..10 {
            journal.push(&format!("{{\"event\":\"note\",\"message\":\"{number}\"}}"));
        }
        let (all, last) = lines(&journal, 0);
        assert_eq!((all.len(), last), (10, begin + 10));
        assert_eq!((&all[0]["seq"], &all[9]["message"]), (&(begin + 1).into(), &"9".into()));
        let (rest, last) = lines(&journal, begin + 7);
        assert_eq!((rest.len(), last), (3, begin + 10));
        assert_eq!(lines(&journal, begin + 10), (vec![], begin + 10));
    }

    #[test]
    fn who_comes_too_late_learns_of_the_gap() {
        let journal = Journal::new();
        let begin = journal.last();
        let kept = u64::try_from(EVENTS_MAX).unwrap();
        for _ in 0..kept + 5 {
            journal.push("{\"event\":\"note\"}");
        }
        let (all, last) = lines(&journal, begin + 2);
        assert_eq!((&all[0]["event"], &all[0]["lost"]), (&"gap".into(), &3.into()));
        assert_eq!((&all[0]["seq"], &all[1]["seq"]), (&(begin + 5).into(), &(begin + 6).into()));
        // The rest comes with the next call.
        let (rest, last) = lines(&journal, last);
        assert_eq!(u64::try_from(all.len() - 1 + rest.len()).unwrap(), kept);
        assert_eq!(last, begin + 5 + kept);
        assert_eq!(lines(&journal, begin + 5).0.len(), all.len() - 1, "the oldest is still there");
        for of_another_start in [1, begin - 1, begin + 5 + kept + 1] {
            let (all, _) = lines(&journal, of_another_start);
            assert_eq!((&all[0]["event"], &all[0]["lost"]), (&"gap".into(), &Value::Null));
        }
    }

    #[test]
    fn memory_is_bounded_and_the_longest_event_passes() {
        let journal = Journal::new();
        let long = format!("{{\"event\":\"note\",\"message\":\"{}\"}}", "x".repeat(BYTES_MAX / 4));
        for _ in 0..10 {
            journal.push(&long);
        }
        assert!(journal.lock().bytes <= BYTES_MAX);
        let (all, _) = lines(&journal, journal.last() - 1);
        assert_eq!(all.len(), 1);
    }

    #[test]
    fn server_sent_events_have_their_number_as_id() {
        let journal = Journal::new();
        journal.push("{\"event\":\"note\"}");
        let mut out = Vec::new();
        let seq = journal.read(0, Format::ServerSent, &mut out);
        let text = String::from_utf8(out).unwrap();
        assert!(text.starts_with(&format!("id: {seq}\ndata: {{\"seq\":{seq},")), "{text}");
        assert!(text.ends_with("}\n\n"), "{text}");
    }
}
