//! A snapshot as text.

use crate::metrics::families::{Family, Type};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{Registry, Unit};
use std::fmt;

/// A name without its unit, and the unit: the end of a name.
fn split(name: &str) -> (&str, Option<Unit>) {
    let units = [("_bytes", Unit::Bytes), ("_seconds", Unit::Seconds)];
    let found = units.into_iter().find_map(|(end, unit)| Some((name.strip_suffix(end)?, unit)));
    found.map_or((name, None), |(name, unit)| (name, Some(unit)))
}

/// What a service counts at one moment: copied on the loop's thread, written on another one.
pub trait Snapshot: fmt::Debug + Send + Sync + 'static {
    /// Writes the samples, each family once.
    ///
    /// # Errors
    /// Those of the page.
    fn write(&self, page: &mut Page<'_>) -> fmt::Result;
}

impl Snapshot for Box<dyn Snapshot> {
    fn write(&self, page: &mut Page<'_>) -> fmt::Result {
        self.as_ref().write(page)
    }
}

/// Both.
impl<A: Snapshot, B: Snapshot> Snapshot for (A, B) {
    fn write(&self, page: &mut Page<'_>) -> fmt::Result {
        self.0.write(page)?;
        self.1.write(page)
    }
}

/// The snapshots of a program as OpenMetrics; each sample has the label `name`.
#[must_use]
pub fn text(name: String, snapshot: impl Snapshot) -> String {
    let labels = [("name".into(), name.into())];
    let mut registry = Registry::with_labels(labels.into_iter());
    registry.register_collector(Box::new(Scraped(snapshot)));
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry)
        .expect("a String takes everything");
    text
}

#[derive(Debug)]
struct Scraped<S>(S);

impl<S: Snapshot> Collector for Scraped<S> {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        self.0.write(&mut Page { encoder })
    }
}

/// The text that is being written.
#[derive(Debug)]
pub struct Page<'a> {
    encoder: DescriptorEncoder<'a>,
}

impl Page<'_> {
    /// Writes the samples of a family; nothing if there are none.
    ///
    /// # Errors
    /// Those of `write`.
    pub fn family(
        &mut self,
        family: &Family,
        write: impl FnOnce(&mut Samples<'_, '_>) -> fmt::Result,
    ) -> fmt::Result {
        let (name, unit) = split(&family.name);
        let head = Head { name, unit: unit.as_ref(), kind: family.kind, help: family.help };
        write(&mut Samples { labels: family.labels, state: State::Empty(&mut self.encoder, head) })
    }

    /// Writes a family that has one sample without labels.
    ///
    /// # Errors
    /// None in practice.
    pub fn one(&mut self, family: &Family, value: impl Into<Number>) -> fmt::Result {
        let value = value.into();
        self.family(family, |samples| samples.add(&[], value))
    }
}

/// What stands above the samples of a family.
#[derive(Clone, Copy, Debug)]
struct Head<'a> {
    name: &'a str,
    unit: Option<&'a Unit>,
    kind: Type,
    help: &'a str,
}

/// The samples of one family.
#[derive(Debug)]
pub struct Samples<'a, 'e> {
    labels: &'static [&'static str],
    state: State<'a, 'e>,
}

/// The head is written with the first sample.
#[derive(Debug)]
enum State<'a, 'e> {
    Empty(&'a mut DescriptorEncoder<'e>, Head<'a>),
    Begun(MetricEncoder<'a>, Type),
    Failed,
}

/// The value of a sample.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Number {
    /// A count.
    Whole(u64),
    /// A time, or another measure.
    Real(f64),
}

impl From<u64> for Number {
    fn from(value: u64) -> Self {
        Self::Whole(value)
    }
}

impl From<usize> for Number {
    fn from(value: usize) -> Self {
        Self::Whole(u64::try_from(value).unwrap_or(u64::MAX))
    }
}

impl From<bool> for Number {
    fn from(value: bool) -> Self {
        Self::Whole(value.into())
    }
}

impl From<f64> for Number {
    fn from(value: f64) -> Self {
        Self::Real(value)
    }
}

/// The labels of a sample, each with its value.
pub type Labels<'a> = &'a [(&'a str, &'a str)];

impl<'a> Samples<'a, '_> {
    /// Adds a sample of a counter, a gauge or an info, which is 1.
    ///
    /// # Errors
    /// None in practice.
    pub fn add(&mut self, labels: Labels<'_>, value: impl Into<Number>) -> fmt::Result {
        let (encoder, kind) = self.encoder(labels)?;
        if kind == Type::Info {
            return encoder.encode_info(&labels);
        }
        let mut sample = encoder.encode_family(&labels)?;
        match (kind, value.into()) {
            (Type::Counter, Number::Whole(value)) => {
                sample.encode_counter::<NoLabelSet, u64, u64>(&value, None)
            }
            (Type::Counter, Number::Real(value)) => {
                sample.encode_counter::<NoLabelSet, f64, u64>(&value, None)
            }
            (_, Number::Whole(value)) => sample.encode_gauge(&value),
            (_, Number::Real(value)) => sample.encode_gauge(&value),
        }
    }

    /// Adds a histogram: the sum, and the counts of values at most so large and larger than the bound before.
    ///
    /// # Errors
    /// None in practice.
    pub fn histogram(&mut self, sum: f64, buckets: &[(f64, u64)]) -> fmt::Result {
        let (encoder, _) = self.encoder(&[])?;
        let count = buckets.iter().map(|(_, count)| count).sum();
        encoder.encode_histogram::<NoLabelSet>(sum, count, buckets, None)
    }

    fn encoder(
        &mut self,
        labels: Labels<'_>,
    ) -> Result<(&mut MetricEncoder<'a>, Type), fmt::Error> {
        let is_listed = |(label, _): &(&str, &str)| self.labels.contains(label);
        debug_assert!(labels.iter().all(is_listed), "{labels:?} are in {:?}", self.labels);
        let state = std::mem::replace(&mut self.state, State::Failed);
        self.state = match state {
            State::Empty(encoder, head) => {
                let kind = match head.kind {
                    Type::Counter => MetricType::Counter,
                    Type::Gauge => MetricType::Gauge,
                    Type::Histogram => MetricType::Histogram,
                    Type::Info => MetricType::Info,
                };
                let encoder = encoder.encode_descriptor(head.name, head.help, head.unit, kind)?;
                State::Begun(encoder, head.kind)
            }
            state => state,
        };
        match &mut self.state {
            State::Begun(encoder, kind) => Ok((encoder, *kind)),
            _ => Err(fmt::Error),
        }
    }
}

/// OpenMetrics as the older text format: without units, `# EOF` and the type info, and with the name of its samples
/// above a counter.
pub(super) fn plain(open: &str) -> String {
    let mut plain = String::with_capacity(open.len());
    // HELP comes before TYPE, which decides about its name.
    let mut help = None;
    for line in open.lines() {
        let mut words = line.splitn(4, ' ');
        let comment =
            (words.next() == Some("#")).then(|| (words.next(), words.next(), words.next()));
        match comment {
            Some((Some("HELP"), name, text)) => help = name.zip(text),
            Some((Some("TYPE"), Some(name), Some(kind))) => {
                let kind = match kind {
                    "info" => "gauge",
                    "unknown" => "untyped",
                    kind => kind,
                };
                let suffix = match (kind, line.ends_with(" info")) {
                    ("counter", _) => "_total",
                    (_, true) => "_info",
                    _ => "",
                };
                if let Some((name, text)) = help.take() {
                    plain += &format!("# HELP {name}{suffix} {text}\n");
                }
                plain += &format!("# TYPE {name}{suffix} {kind}\n");
            }
            Some(_) => {}
            None => {
                plain += line;
                plain.push('\n');
            }
        }
    }
    plain
}
