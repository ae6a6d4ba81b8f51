//! What was asked of a link and what happened, as text and as JSON.

use crate::link::words;
use adit_engine::netem::{Counts, Estimate, Histogram, Report};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::time::Duration;

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

impl LinkReport {
    /// The report as lines of text, `name` (a direction, a port) on the first.
    pub fn lines(&self, name: &str) -> Vec<String> {
        let asked =
            if self.asked.is_empty() { "a perfect link".to_owned() } else { self.asked.join("; ") };
        let counts = &self.counts;
        let mut lines = vec![format!("{name}: {asked}")];
        let cut = if counts.cut > 0 { format!(", {} cut up", counts.cut) } else { String::new() };
        lines.push(format!(
            "  packets    {} in{cut}, {} out, {} held, in {:.3} s",
            counts.received, counts.delivered, counts.held, self.seconds
        ));
        let shares = [
            ("lost", self.loss),
            ("corrupted", self.corrupted),
            ("twice", self.duplicates),
            ("reordered", self.reordered),
        ];
        for (name, share) in shares {
            lines.extend(share.map(|share| format!("  {name:<10} {}", share.text())));
        }
        let drops = self.drops();
        if !drops.is_empty() {
            lines.push(format!("  dropped    {}", drops.join(", ")));
        }
        let marks = counts.lost_marked + counts.queue_marked;
        if marks > 0 {
            lines.push(format!("  marked     {marks} with ECN"));
        }
        lines.extend(self.delay.line("delay"));
        lines.extend(self.waiting.and_then(|times| times.line("waiting")));
        lines.extend(self.late.line("late"));
        if let Some(bits) = self.line_bits_per_second {
            lines.push(format!("  line       {} while it was busy", rate(bits)));
        }
        lines.push(format!("  rate       {} out", rate(self.bits_per_second)));
        lines.push(format!("  decisions  {}", self.decisions));
        lines
    }

    /// What was dropped and not asked for as loss.
    fn drops(&self) -> Vec<String> {
        let counts = &self.counts;
        [
            (counts.outage, "in outages"),
            (counts.queue_full, "queue full"),
            (counts.queue_managed, "by the queue's discipline"),
            (counts.limit, "over the link's limits"),
            (counts.cleared, "as it was taken off"),
            (counts.malformed, "malformed"),
            (counts.no_buffer, "without a buffer"),
        ]
        .into_iter()
        .filter(|&(count, _)| count > 0)
        .map(|(count, why)| format!("{count} {why}"))
        .collect()
    }
}

impl Share {
    fn text(self) -> String {
        format!(
            "{} of {}: {}, with 99.9 % confidence {} to {}",
            self.hits,
            self.of,
            words::share(self.share),
            words::share(self.low),
            words::share(self.high)
        )
    }
}

impl Times {
    fn line(self, name: &str) -> Option<String> {
        let ms = |ms: f64| words::time(Duration::from_secs_f64(ms / 1e3));
        (self.count > 0).then(|| {
            format!(
                "  {name:<10} p50 {}, p90 {}, p99 {}, p99.9 {}, {} to {}",
                ms(self.p50_ms),
                ms(self.p90_ms),
                ms(self.p99_ms),
                ms(self.p999_ms),
                ms(self.min_ms),
                ms(self.max_ms)
            )
        })
    }
}

/// Bits a second with three decimals of its unit.
#[expect(clippy::cast_precision_loss, reason = "53 bits are enough for a rate")]
pub fn rate(bits: u64) -> String {
    match bits as f64 {
        bits if bits >= 1e9 => format!("{:.3} Gbit/s", bits / 1e9),
        bits if bits >= 1e6 => format!("{:.3} Mbit/s", bits / 1e6),
        bits if bits >= 1e3 => format!("{:.3} kbit/s", bits / 1e3),
        bits => format!("{bits:.0} bit/s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_have_their_unit() {
        assert_eq!(rate(999), "999 bit/s");
        assert_eq!(rate(99_999_900), "100.000 Mbit/s");
        assert_eq!(rate(2_500_000_000), "2.500 Gbit/s");
    }
}
