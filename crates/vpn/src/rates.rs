//! How fast each peer sends and receives: from samples of the counters, taken while there is traffic.

use crate::engine::TunnelEngine;
use crate::history::{History, SAMPLED as EVERY};
use adit_packet::Instant;
use adit_runtime::{PeerCounters, Runner};
use adit_service::error::Result;
use adit_service::supervisor::value;
use adit_tunnel::{PeerStatus, PublicKey};
use serde_json::Value;
use std::collections::{HashMap, VecDeque};
use std::time::Duration;

/// The time that a rate is the mean of. A sample is that old at most one [`EVERY`] later.
const SPAN: Duration = Duration::from_secs(2);

/// How many samples are kept: the oldest is older than [`SPAN`].
const KEPT: usize = 4;

/// The counters of all peers in the last seconds.
#[derive(Debug, Default)]
pub struct Rates {
    samples: VecDeque<Sample>,
    /// The last sample differs from the one before: another one must follow.
    is_busy: bool,
    /// The last hour.
    history: History,
}

#[derive(Debug, Default)]
struct Sample {
    at: Instant,
    bytes: HashMap<PublicKey, [u64; 2]>,
}

/// The rates of a peer in bits per second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rate {
    /// From the peer.
    pub received: u64,
    /// To the peer.
    pub sent: u64,
}

impl Rates {
    /// Takes a sample if one is due; whether it did. Without traffic none is due, so that an idle tunnel does
    /// not wake.
    pub fn sample(&mut self, runner: &Runner<TunnelEngine>) -> bool {
        let (now, tunnel) = (runner.now(), &runner.engine().tunnel);
        let is_due = self.samples.back().is_none_or(|last| now.since(last.at) >= EVERY);
        if is_due {
            self.push(now, tunnel.traffic());
            note(&mut self.history, runner);
        }
        is_due
    }

    fn push(&mut self, now: Instant, bytes: impl Iterator<Item = (PublicKey, [u64; 2])>) {
        let kept = self.samples.len() >= KEPT;
        let mut sample = kept.then(|| self.samples.pop_front()).flatten().unwrap_or_default();
        sample.at = now;
        sample.bytes.clear();
        sample.bytes.extend(bytes);
        self.is_busy = self.samples.back().is_none_or(|last| last.bytes != sample.bytes);
        self.samples.push_back(sample);
    }

    /// The last hour.
    ///
    /// # Errors
    /// None in practice: it consists of numbers.
    pub fn report(&self, runner: &Runner<TunnelEngine>) -> Result<Value> {
        // The last slot is not over: it has what came since the last sample as well.
        let mut history = self.history.clone();
        note(&mut history, runner);
        value(&history.view(runner.now()))
    }

    /// When the next sample is due, if there was traffic since the one before the last.
    #[must_use]
    pub fn next_due(&self) -> Option<Instant> {
        let last = self.samples.back().filter(|_| self.is_busy)?;
        last.at.checked_add(EVERY)
    }

    /// The rates of a peer over the last two to three seconds.
    #[must_use]
    pub fn of(&self, now: Instant, status: &PeerStatus) -> Rate {
        let bytes = [status.bytes_received, status.bytes_sent];
        self.rate(now, &status.public_key, bytes)
    }

    fn rate(&self, now: Instant, peer: &PublicKey, bytes: [u64; 2]) -> Rate {
        let is_old = |sample: &&Sample| now.since(sample.at) >= SPAN;
        let from = self.samples.iter().rev().find(is_old).or(self.samples.front());
        let Some(from) = from else { return Rate::default() };
        // Without traffic there are no samples: what came since an older one came in the span.
        let micros = now.since(from.at).clamp(SPAN, SPAN + EVERY).as_micros();
        let before = from.bytes.get(peer).copied().unwrap_or_default();
        let rate = |bytes: u64, before: u64| {
            let count = u128::from(bytes.saturating_sub(before));
            u64::try_from(count * 8_000_000 / micros).unwrap_or(u64::MAX)
        };
        let ([received, sent], [received_before, sent_before]) = (bytes, before);
        Rate { received: rate(received, received_before), sent: rate(sent, sent_before) }
    }
}

/// Datagrams and trains that the sockets lost.
const fn lost(counters: &PeerCounters) -> u64 {
    let sent = counters.too_big + counters.refused + counters.queue_full;
    sent + counters.overflow + counters.late + counters.no_buffer
}

/// Notes the counters of this moment.
fn note(history: &mut History, runner: &Runner<TunnelEngine>) {
    let mut totals = runner.engine().tunnel.totals(history.noted());
    totals.dropped += runner.peers().map_or(0, |sockets| lost(&sockets.counters()));
    history.note(runner.now(), totals);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_that_of_the_last_seconds() {
        let (mut rates, key) = (Rates::default(), PublicKey([1; 32]));
        let at = |millis| Instant::ZERO.checked_add(Duration::from_millis(millis)).unwrap();
        assert_eq!(rates.rate(at(0), &key, [500, 0]), Rate::default());
        // 1 Mbit/s received, 8 kbit/s sent, for 10 s.
        let bytes = |millis| [125 * millis, millis];
        for second in 0..=10 {
            rates.push(at(second * 1000), [(key, bytes(second * 1000))].into_iter());
            assert_eq!(rates.next_due(), Some(at(second * 1000 + 1000)));
        }
        let steady = Rate { received: 1_000_000, sent: 8_000 };
        assert_eq!(rates.rate(at(10_500), &key, bytes(10_500)), steady);
        assert_eq!(rates.rate(at(10_000), &key, bytes(10_000)), steady);
        // It ends: one sample more, and then none until there is traffic.
        rates.push(at(11_000), [(key, bytes(10_500))].into_iter());
        rates.push(at(12_000), [(key, bytes(10_500))].into_iter());
        assert_eq!(rates.next_due(), None);
        assert_eq!(rates.rate(at(14_000), &key, bytes(10_500)), Rate::default());
        // After an hour 3000 bytes are those of the last three seconds.
        let [received, sent] = bytes(10_500);
        let rate = rates.rate(at(3_600_000), &key, [received + 3_000, sent]);
        assert_eq!(rate, Rate { received: 8_000, sent: 0 });
        // A peer that is new, and one that came again, with counters from zero.
        assert_eq!(rates.rate(at(3_600_000), &PublicKey([2; 32]), [0, 300]).sent, 800);
        assert_eq!(rates.rate(at(3_600_000), &key, [10, 10]), Rate::default());
        assert!(rates.samples.len() <= KEPT);
    }
}
