//! What every program counts, whatever it is.

use crate::metrics::families::{BUILD, CONTROL_REQUESTS, LOOP_TURN, START_TIME};
use crate::metrics::page::{Page, Snapshot};
use adit_runtime::TurnTimes;
use std::fmt;
use std::time::Duration;

/// The counts of a program and its loop.
#[derive(Clone, Debug)]
pub(crate) struct Program {
    /// What it is, as `switch`.
    pub kind: &'static str,
    /// When it started, since 1970.
    pub started: Duration,
    /// The turns of its loop.
    pub turns: TurnTimes,
    /// Requests at its control socket by what became of them.
    pub requests: [(&'static str, u64); 3],
}

impl Snapshot for Program {
    fn write(&self, page: &mut Page<'_>) -> fmt::Result {
        page.family(&BUILD, |samples| {
            samples.add(&[("kind", self.kind), ("version", env!("CARGO_PKG_VERSION"))], true)
        })?;
        page.one(&START_TIME, self.started.as_secs_f64())?;
        page.family(&LOOP_TURN, |samples| {
            let bound = |bound: Option<Duration>| bound.map_or(f64::INFINITY, |b| b.as_secs_f64());
            let counts = self.turns.counts().map(|(at_most, count)| (bound(at_most), count));
            samples.histogram(self.turns.sum().as_secs_f64(), &counts.collect::<Vec<_>>())
        })?;
        page.family(&CONTROL_REQUESTS, |samples| {
            let mut results = self.requests.iter();
            results.try_for_each(|(result, count)| samples.add(&[("result", result)], *count))
        })
    }
}
