//! What was asked of a link and what happened, as text and as JSON.

use crate::link::words;
use crate::switch::model::Netem;
use adit_engine::netem::{Counts, Estimate, Histogram, Report};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// A link: its settings and what has happened.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(title = "adit netem show")]
pub struct LinkStatus {
    /// Its name.
    pub name: String,
    /// Its process.
    pub pid: u32,
    /// The seed of its random decisions.
    pub seed: u64,
    /// Its two ports, a and b.
    pub ports: Vec<End>,
    /// Its settings.
    pub asked: Netem,
    /// From a to b: what has happened.
    pub a_to_b: LinkReport,
    /// From b to a.
    pub b_to_a: LinkReport,
}

/// One end of a link.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct End {
    /// Its name.
    pub name: String,
    /// Why it has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gone: Option<String>,
}

/// One direction of a link: what was asked of it and what happened.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct LinkReport {
    /// What was asked for, in words, in the order in which it applies.
    pub asked: Vec<String>,
    /// For how long, from the first packet on.
    pub seconds: f64,
    /// What happened to packets.
    pub counts: LinkCounts,
    /// The share of packets lost, or marked in place of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub loss: Option<Share>,
    /// The share of packets that came twice.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duplicates: Option<Share>,
    /// The share of packets with wrong bits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub corrupted: Option<Share>,
    /// The share of packets that were made to wait for later ones.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reordered: Option<Share>,
    /// How long packets were in the link.
    pub delay: Times,
    /// How long they waited for the line; nothing without a rate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waiting: Option<Times>,
    /// How much later than due they came out: the error of our timer.
    pub late: Times,
    /// Bits a second while the line was busy, overhead included; nothing without a rate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line_bits_per_second: Option<u64>,
    /// Bits a second that came out, over the whole time.
    pub bits_per_second: u64,
    /// A hash over all decisions: equal for the same seed, profile and packets.
    pub decisions: String,
}

/// How often each thing happened.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, JsonSchema)]
pub struct LinkCounts {
    pub received: u64,
    pub received_bytes: u64,
    /// Super-packets that were cut up.
    pub cut: u64,
    /// Packets after cutting.
    pub packets: u64,
    pub delivered: u64,
    pub delivered_bytes: u64,
    /// In the link now.
    pub held: u64,
    pub malformed: u64,
    /// Came during an outage.
    pub outage: u64,
    pub corrupted: u64,
    pub bit_errors: u64,
    pub lost: u64,
    pub lost_marked: u64,
    pub duplicated: u64,
    pub queue_full: u64,
    /// Dropped by `CoDel` or FQ-CoDel.
    pub queue_managed: u64,
    pub queue_marked: u64,
    /// Dropped because the link held all that it may.
    pub limit: u64,
    /// Dropped because the link was taken off while they were in it.
    #[serde(default)]
    pub cleared: u64,
    pub reordered: u64,
    pub no_buffer: u64,
}

/// A share that was counted, with the bounds of 99.9 % confidence.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Share {
    /// How many packets.
    pub hits: u64,
    /// Of how many.
    pub of: u64,
    /// The share, 0 to 1.
    pub share: f64,
    /// The lower bound.
    pub low: f64,
    /// The upper bound.
    pub high: f64,
}

/// A distribution of times, in milliseconds.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Times {
    pub count: u64,
    pub min_ms: f64,
    pub mean_ms: f64,
    pub p50_ms: f64,
    pub p90_ms: f64,
    pub p99_ms: f64,
    pub p999_ms: f64,
    pub max_ms: f64,
}

impl From<&Histogram> for Times {
    fn from(times: &Histogram) -> Self {
        let ms = |time: Duration| time.as_secs_f64() * 1e3;
        Self {
            count: times.count(),
            min_ms: ms(times.min()),
            mean_ms: ms(times.mean()),
            p50_ms: ms(times.percentile(0.5)),
            p90_ms: ms(times.percentile(0.9)),
            p99_ms: ms(times.percentile(0.99)),
            p999_ms: ms(times.percentile(0.999)),
            max_ms: ms(times.max()),
        }
    }
}

impl From<Estimate> for Share {
    fn from(estimate: Estimate) -> Self {
        let Estimate { hits, of, share, low, high } = estimate;
        Self { hits, of, share, low, high }
    }
}

impl From<&Counts> for LinkCounts {
    fn from(counts: &Counts) -> Self {
        Self {
            received: counts.received,
            received_bytes: counts.received_bytes,
            cut: counts.cut,
            packets: counts.packets,
            delivered: counts.delivered,
            delivered_bytes: counts.delivered_bytes,
            held: counts.held,
            malformed: counts.malformed,
            outage: counts.outage,
            corrupted: counts.corrupted,
            bit_errors: counts.bit_errors,
            lost: counts.lost,
            lost_marked: counts.lost_marked,
            duplicated: counts.duplicated,
            queue_full: counts.queue_full,
            queue_managed: counts.queue_managed,
            queue_marked: counts.queue_marked,
            limit: counts.limit,
            cleared: counts.cleared,
            reordered: counts.reordered,
            no_buffer: counts.no_buffer,
        }
    }
}

impl From<&Report> for LinkReport {
    fn from(report: &Report) -> Self {
        let asked = &report.asked;
        // A share that nobody asked for is nought and tells nothing.
        let told = |estimate: Option<Estimate>| estimate.filter(|found| found.hits > 0);
        let waited = report.line_rate.is_some();
        Self {
            asked: words::profile(asked),
            seconds: report.time.as_secs_f64(),
            counts: (&report.counts).into(),
            loss: report
                .loss
                .filter(|found| found.hits > 0 || asked.loss.share() > 0.0)
                .map(Share::from),
            duplicates: told(report.duplicates).map(Share::from),
            corrupted: told(report.corrupted).map(Share::from),
            reordered: told(report.reordered).map(Share::from),
            delay: (&report.delay).into(),
            waiting: waited.then(|| (&report.waiting).into()),
            late: (&report.late).into(),
            line_bits_per_second: report.line_rate.map(|rate| rate.bits_per_second()),
            bits_per_second: report.goodput.bits_per_second(),
            decisions: format!("{:016x}", report.decisions),
        }
    }
}
