//! Figures of many turns: median and spread.

use crate::case::{Case, Sample};
use crate::mover::MoverKind;
use serde::Serialize;
use std::time::Duration;

/// The report that `--json` prints.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    /// The kernel's release.
    pub(crate) kernel: String,
    /// How many cores the process may use.
    pub(crate) cores: usize,
    /// How many turns each mover had in each case.
    pub(crate) rounds: u32,
    /// How long a turn was meant to take.
    pub(crate) seconds: f64,
    /// The movers of each case, one after the other, the ceiling first.
    pub(crate) results: Vec<Row>,
}

impl Report {
    pub(crate) fn new(rounds: u32, time: Duration, results: Vec<Row>) -> Self {
        let kernel = rustix::system::uname().release().to_string_lossy().into_owned();
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self { kernel, cores, rounds, seconds: time.as_secs_f64(), results }
    }
}

/// One mover in one case.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    /// What was moved.
    pub(crate) case: String,
    /// Who moved it: `plain loop` is the ceiling.
    pub(crate) mover: String,
    /// The figures; nothing if they could not be measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) figures: Option<Figures>,
    /// Why they could not be measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) missing: Option<String>,
}

/// What was measured.
#[derive(Debug, Serialize)]
pub(crate) struct Figures {
    /// Packets, or super-packets, a second.
    pub(crate) packets_per_second: Spread,
    /// Bits of packets, without the queue's headers, in 10^9 a second.
    pub(crate) gigabits_per_second: Spread,
    /// Nanoseconds of all cores together for a packet, those of its maker included; nothing if the
    /// turns were too short for the kernel's clock of 10 ms.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cpu_ns_per_packet: Option<Spread>,
    /// Packets a second against those of the plain loop in the same round.
    pub(crate) ratio: Spread,
}

/// Several turns as one figure.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Spread {
    /// The middle one.
    pub(crate) median: f64,
    /// The lowest.
    pub(crate) lowest: f64,
    /// The highest.
    pub(crate) highest: f64,
}

impl Spread {
    /// `None` without values.
    fn of(values: impl Iterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.collect();
        values.sort_by(f64::total_cmp);
        let middle = values.len() / 2;
        let upper = *values.get(middle)?;
        let lower = if values.len().is_multiple_of(2) { *values.get(middle - 1)? } else { upper };
        let median = f64::midpoint(lower, upper);
        Some(Self { median, lowest: *values.first()?, highest: *values.last()? })
    }
}

#[expect(clippy::cast_precision_loss, reason = "53 bits are enough for a rate")]
fn float(count: u64) -> f64 {
    count as f64
}

impl Sample {
    /// Counts a second; a turn is never shorter than the clock shows.
    fn rate(&self, count: u64) -> f64 {
        float(count) / self.time.max(Duration::from_nanos(1)).as_secs_f64()
    }
}

impl Row {
    /// The turns of a mover beside those of the ceiling.
    pub(crate) fn new(
        case: Case,
        kind: MoverKind,
        samples: &[Sample],
        ceiling: &[Sample],
        failure: Option<&str>,
    ) -> Self {
        let figures = if failure.is_none() { figures(samples, ceiling) } else { None };
        let missing = match (failure, &figures) {
            (Some(failure), _) => Some(failure.to_owned()),
            (None, None) => Some("no packet moved".to_owned()),
            (None, Some(_)) => None,
        };
        Self { case: case.name().to_owned(), mover: kind.name().to_owned(), figures, missing }
    }
}

fn figures(samples: &[Sample], ceiling: &[Sample]) -> Option<Figures> {
    if samples.iter().chain(ceiling).any(|sample| sample.packets == 0) {
        return None;
    }
    let pairs = samples.iter().zip(ceiling);
    let cpu = samples.iter().filter(|sample| !sample.cpu.is_zero());
    Some(Figures {
        packets_per_second: Spread::of(samples.iter().map(|sample| sample.rate(sample.packets)))?,
        gigabits_per_second: Spread::of(
            samples.iter().map(|sample| sample.rate(sample.bytes) * 8.0 / 1e9),
        )?,
        cpu_ns_per_packet: Spread::of(
            cpu.map(|sample| sample.cpu.as_secs_f64() * 1e9 / float(sample.packets)),
        ),
        ratio: Spread::of(
            pairs.map(|(ours, other)| ours.rate(ours.packets) / other.rate(other.packets)),
        )?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle() {
        let spread = Spread::of([3.0, 1.0, 2.0].into_iter()).unwrap();
        assert_eq!((spread.lowest, spread.median, spread.highest), (1.0, 2.0, 3.0));
        assert_eq!(Spread::of([4.0, 1.0].into_iter()).unwrap().median, 2.5);
        assert!(Spread::of(std::iter::empty()).is_none());
    }

    #[test]
    fn what_failed_has_a_reason_and_no_figures() {
        let row = Row::new(Case::Read(64), MoverKind::Adit, &[], &[], Some("why"));
        assert!(row.figures.is_none());
        assert_eq!(row.missing.as_deref(), Some("why"));
        let row = Row::new(Case::Read(64), MoverKind::Adit, &[], &[], None);
        assert!(row.missing.is_some());
    }
}
