//! What was asked of a link and what happened, as text and as JSON.

use crate::netem::keys::{self, to_json};
use crate::netem::profile::Profiles;
use crate::netem::words;
use crate::sandbox::SandboxState;
use adit_engine::Counter;
use adit_engine::netem::{Counts, Direction, Estimate, Histogram, Link, Report};
use adit_runtime::PortNetem;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;

/// A link: its settings and what has happened.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(title = "adit netem show")]
pub struct LinkStatus {
    /// Its name.
    pub name: String,
    /// Its process.
    pub pid: u32,
    /// The sandbox that its process is in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sandbox: Option<SandboxState>,
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

/// What a link is asked to be like: the keys that a profile has, those only that are not as in a
/// perfect one.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Netem {
    /// From the first port to the second; into a switch.
    #[schemars(schema_with = "keys::schema")]
    pub a_to_b: Keys,
    /// From the second port to the first; out of a switch.
    #[schemars(schema_with = "keys::schema")]
    pub b_to_a: Keys,
}

/// What happened on the cable of a port of a switch.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Links {
    /// Into the switch.
    pub ingress: LinkReport,
    /// Out of the switch.
    pub egress: LinkReport,
}

impl Links {
    /// The report of the links of a port; `None` if it has none.
    pub fn new(netem: &PortNetem) -> Option<Self> {
        let report = |link: &Option<Box<Link>>| Some(LinkReport::new(link.as_ref()?));
        Some(Self { ingress: report(&netem.ingress)?, egress: report(&netem.egress)? })
    }
}

/// Keys of a profile, each with its value as a text.
pub type Keys = serde_json::Map<String, Value>;

impl Netem {
    /// The report of these profiles.
    pub fn new(profiles: &Profiles) -> Self {
        Self { a_to_b: to_json(&profiles.a_to_b), b_to_a: to_json(&profiles.b_to_a) }
    }
}

/// `delay=20ms loss=1%`, or that there is nothing.
pub fn keys_text(keys: &Keys) -> String {
    if keys.is_empty() {
        return "perfect".to_owned();
    }
    let one =
        |(key, value): (&String, &Value)| format!("{key}={}", value.as_str().unwrap_or_default());
    keys.iter().map(one).collect::<Vec<_>>().join(" ")
}

/// One direction of a link: what was asked of it and what happened since its start.
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
    /// If the settings were changed: what happened under each of them, in order, the last 17 at most.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub settings: Vec<Self>,
}

impl LinkReport {
    /// The report of a direction with those of its settings.
    fn with_settings(whole: &Report, settings: impl Iterator<Item = Report>) -> Self {
        let settings: Vec<Self> = settings.map(|report| Self::from(&report)).collect();
        let settings = if settings.len() > 1 { settings } else { Vec::new() };
        Self { settings, ..Self::from(whole) }
    }

    /// What is reported of a direction of a link.
    #[must_use]
    pub fn new(link: &Link) -> Self {
        Self::with_settings(&link.report(), link.reports())
    }

    /// What is reported of a direction of an engine.
    #[must_use]
    pub fn of_engine(engine: &adit_engine::netem::Netem, direction: Direction) -> Self {
        Self::with_settings(&engine.report(direction), engine.reports(direction))
    }
}

/// The counters of a direction of a link by their names, as the engine lists them
/// ([`Counts::each`](adit_engine::netem::Counts::each)).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LinkCounts(BTreeMap<String, u64>);

impl LinkCounts {
    /// The counter of a name; 0 from an older version that does not have it.
    pub fn get(&self, name: &str) -> u64 {
        self.0.get(name).copied().unwrap_or(0)
    }

    /// What was dropped and is not the loss that was asked for: how many, and why.
    pub fn drops(&self) -> impl Iterator<Item = (u64, &'static str)> + '_ {
        let of = |counter: Counter| Some((self.get(counter.name), counter.dropped?));
        Counts::default().each().filter_map(of).filter(|(count, _)| *count > 0)
    }
}

impl From<&Counts> for LinkCounts {
    fn from(counts: &Counts) -> Self {
        Self(counts.each().map(|counter| (counter.name.to_owned(), counter.value)).collect())
    }
}

impl JsonSchema for LinkCounts {
    fn schema_name() -> Cow<'static, str> {
        "LinkCounts".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let one = |counter: Counter| {
            let schema = json!({ "type": "integer", "minimum": 0, "description": counter.help });
            (counter.name.to_owned(), schema)
        };
        let properties: serde_json::Map<String, Value> =
            Counts::default().each().map(one).collect();
        json_schema!({
            "type": "object",
            "description": "What happened to packets.",
            "properties": properties,
            "required": properties.keys().collect::<Vec<_>>(),
        })
    }
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
    /// How many packets.
    pub count: u64,
    /// The shortest.
    pub min_ms: f64,
    /// The mean.
    pub mean_ms: f64,
    /// The median.
    pub p50_ms: f64,
    /// 90 % are at most this.
    pub p90_ms: f64,
    /// 99 % are at most this.
    pub p99_ms: f64,
    /// 99.9 % are at most this.
    pub p999_ms: f64,
    /// The longest.
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

impl From<&Report> for LinkReport {
    fn from(report: &Report) -> Self {
        let asked = &report.asked;
        // A share that was not asked for is 0, and is left out.
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
            settings: Vec::new(),
        }
    }
}
