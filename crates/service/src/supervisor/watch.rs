//! The health of a service: its report, judged beside an earlier one.

use crate::health::{Finding, Health};
use adit_packet::Instant;
use schemars::JsonSchema;
use serde::Serialize;
use std::time::Duration;

/// How old the earlier report should be: drops are judged by their rate over this time.
const SPAN: Duration = Duration::from_secs(5);

/// An earlier report of that age says nothing of what happens now.
const SPAN_MAX: Duration = Duration::from_secs(60);

/// The reply to `GET /health`.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct HealthReply {
    /// Whether nothing is wrong.
    pub healthy: bool,
    /// What is wrong, the most important first.
    pub findings: Vec<Finding>,
}

/// The last reports for which `/health` was asked.
#[derive(Debug)]
pub(super) struct Watch<R> {
    older: Option<(R, Instant)>,
    newer: Option<(R, Instant)>,
}

impl<R: Health> Watch<R> {
    pub(super) const fn new() -> Self {
        Self { older: None, newer: None }
    }

    /// Judges a report.
    pub(super) fn judge(&mut self, report: R, now: Instant) -> HealthReply {
        let is_fresh = |(_, at): &mut (R, Instant)| now.since(*at) <= SPAN_MAX;
        self.older = self.older.take().filter(|one| now.since(one.1) <= SPAN_MAX);
        self.newer = self.newer.take_if(is_fresh);
        let before = self.older.as_ref().or(self.newer.as_ref());
        let findings = report.findings(before.map(|(report, at)| (report, now.since(*at))));
        if self.newer.as_ref().is_none_or(|(_, at)| now.since(*at) >= SPAN) {
            self.older = self.newer.replace((report, now));
        }
        HealthReply { healthy: findings.is_empty(), findings }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::PORT_DOWN;

    /// Counts drops, and is ill if they grow by ten a second.
    struct Counter(u64);

    impl Health for Counter {
        fn findings(&self, before: Option<(&Self, Duration)>) -> Vec<Finding> {
            let grows =
                before.is_some_and(|(before, over)| self.0 - before.0 >= 10 * over.as_secs());
            grows.then(|| Finding::new(&PORT_DOWN, "a", "drops")).into_iter().collect()
        }
    }

    #[test]
    fn drops_are_judged_by_what_happened_in_the_last_seconds() {
        let mut watch = Watch::new();
        let mut at = |count, seconds| {
            watch.judge(Counter(count), Instant::ZERO + Duration::from_secs(seconds)).healthy
        };
        assert!(at(1000, 100), "the first says nothing of now");
        assert!(!at(1020, 101));
        // Whoever asks often moves the earlier report on by no more than others do.
        assert!(!at(1050, 105));
        assert!(!at(1070, 107));
        assert!(at(1070, 112), "none for five seconds");
        assert!(at(1070, 113));
        assert!(at(900_000, 500), "too long ago");
    }
}
