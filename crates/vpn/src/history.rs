//! The last hour of a tunnel: rate, latency and drops, in a ring of fixed size.

use adit_packet::Instant;
use adit_tunnel::Totals;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::time::Duration;

/// The time between two samples of the counters, while there is traffic.
pub(crate) const SAMPLED: Duration = Duration::from_secs(1);

/// The time of a slot.
const EVERY: Duration = Duration::from_secs(10);

/// As many slots are kept: an hour.
const SLOTS: usize = 360;

/// The last hour of a tunnel.
#[derive(Clone, Debug, Default)]
pub struct History {
    slots: VecDeque<Slot>,
    /// The number of the last slot since the start of the clock.
    number: u64,
    last: Totals,
    at: Instant,
}

/// What happened in the time of a slot.
#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    received: u64,
    sent: u64,
    dropped: u64,
    round_trip: Option<Duration>,
}

/// The last hour of a tunnel.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(title = "adit tunnel show --history")]
pub struct HistoryView {
    /// The time of a slot, in seconds.
    pub every_s: u64,
    /// The slots, the oldest first; at most an hour of them, and since the start of the tunnel.
    pub slots: Vec<SlotView>,
}

/// What happened in the time of a slot.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct SlotView {
    /// How long ago it began, in seconds.
    pub age_s: f64,
    /// Bytes received from all peers.
    pub received_bytes: u64,
    /// Bytes sent to all peers.
    pub sent_bytes: u64,
    /// Packets dropped, of all peers and sockets.
    pub dropped: u64,
    /// The longest round trip of a handshake that ended in it, in milliseconds; absent if there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub round_trip_ms: Option<f64>,
}

impl History {
    /// The time up to which counters were noted.
    pub(crate) const fn noted(&self) -> Instant {
        self.at
    }

    /// Notes the counters of a moment. What they grew since the last moment belongs to the slot of the moment:
    /// without traffic there are no samples, and nothing grows.
    pub(crate) fn note(&mut self, now: Instant, totals: Totals) {
        self.go_to(now);
        let grown = |before: u64, now: u64| now.saturating_sub(before);
        let (last, is_first) = (self.last, self.slots.len() == 1 && self.at == Instant::default());
        if let Some(slot) = self.slots.back_mut().filter(|_| !is_first) {
            slot.received += grown(last.received, totals.received);
            slot.sent += grown(last.sent, totals.sent);
            slot.dropped += grown(last.dropped, totals.dropped);
            slot.round_trip = slot.round_trip.max(totals.round_trip);
        }
        (self.last, self.at) = (totals, now);
    }

    /// Begins the slots up to that of `now`.
    fn go_to(&mut self, now: Instant) {
        let number = number(now);
        if self.slots.is_empty() {
            self.number = number;
            self.slots.push_back(Slot::default());
        }
        let new = usize::try_from(number.saturating_sub(self.number)).unwrap_or(usize::MAX);
        for _ in 0..new.min(SLOTS) {
            if self.slots.len() >= SLOTS {
                self.slots.pop_front();
            }
            self.slots.push_back(Slot::default());
        }
        self.number = self.number.max(number);
    }

    /// The slots up to `now`.
    #[must_use]
    pub fn view(&self, now: Instant) -> HistoryView {
        let mut all = Self { slots: self.slots.clone(), ..Self::default() };
        all.number = self.number;
        all.go_to(now);
        let count = u64::try_from(all.slots.len()).unwrap_or(0);
        let first = (all.number + 1).saturating_sub(count);
        let slots = (first..).zip(&all.slots).map(|(number, slot)| SlotView {
            age_s: (now.since(Instant::ZERO).as_secs_f64() - start(number).as_secs_f64()).max(0.0),
            received_bytes: slot.received,
            sent_bytes: slot.sent,
            dropped: slot.dropped,
            round_trip_ms: slot.round_trip.map(|time| time.as_secs_f64() * 1000.0),
        });
        HistoryView { every_s: EVERY.as_secs(), slots: slots.collect() }
    }
}

/// A sample stands for the time before it, so that what was sent late in a slot stays there.
fn number(now: Instant) -> u64 {
    let time = now.since(Instant::ZERO).saturating_sub(SAMPLED / 2);
    time.as_secs() / EVERY.as_secs()
}

fn start(number: u64) -> Duration {
    EVERY.saturating_mul(u32::try_from(number).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Instant {
        Instant::ZERO.checked_add(Duration::from_secs(seconds)).unwrap()
    }

    #[test]
    fn the_last_hour_is_kept_and_no_more() {
        let mut history = History::default();
        let mut totals = Totals::default();
        for second in 1..=7200 {
            // After a second of each slot, it is quiet for an hour and a half in the middle.
            totals.received += 100;
            totals.dropped += 1;
            totals.round_trip = (second % 120 == 0).then_some(Duration::from_millis(second / 120));
            history.note(at(second), totals);
        }
        let view = history.view(at(7200));
        assert_eq!((view.every_s, view.slots.len()), (10, SLOTS));
        assert!(
            view.slots.iter().rev().skip(1).all(|slot| slot.received_bytes == 1000),
            "{view:?}"
        );
        assert!(view.slots[0].age_s <= 3600.0 && view.slots[SLOTS - 1].age_s <= 10.0);
        let trips = view.slots.iter().filter_map(|slot| slot.round_trip_ms).count();
        assert_eq!(trips, 30);
        // Silence shows as such, whether there are samples or not.
        let later = history.view(at(7800));
        assert_eq!(later.slots.len(), SLOTS);
        assert!(later.slots.iter().rev().take(59).all(|slot| slot.received_bytes == 0));
        history.note(at(100_000), totals);
        let empty = history.view(at(100_000));
        assert!(empty.slots.iter().all(|slot| slot.received_bytes == 0 && slot.dropped == 0));
        assert_eq!(history.slots.len(), SLOTS);
    }

    #[test]
    fn a_tunnel_begins_with_nothing_and_counters_may_begin_again() {
        let mut history = History::default();
        assert_eq!(history.view(at(5)).slots.len(), 1);
        let totals = Totals { sent: 500, ..Totals::default() };
        history.note(at(5), totals);
        history.note(at(6), Totals { sent: 700, ..totals });
        history.note(at(7), Totals { sent: 100, ..totals });
        let sent: Vec<u64> = history.view(at(8)).slots.iter().map(|slot| slot.sent_bytes).collect();
        assert_eq!(sent, [200]);
    }
}
