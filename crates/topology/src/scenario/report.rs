//! The result of a scenario.

use adit_packet::units::{self, Bitrate};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// The result of a scenario.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(title = "result of a lab's scenario")]
pub struct Report {
    /// The lab.
    pub lab: String,
    /// The seed of the run; a run in virtual time repeats with it.
    pub seed: u64,
    /// Whether it ran in virtual time.
    pub is_virtual: bool,
    /// Whether no event and no expectation failed.
    pub passed: bool,
    /// How long the scenario took, in seconds of the lab.
    pub seconds: f64,
    /// Its steps.
    pub steps: Vec<StepReport>,
}

/// The result of a step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct StepReport {
    /// Its number, from 1.
    pub step: usize,
    /// Its title.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What it did and checked, in order.
    pub entries: Vec<Entry>,
}

/// The result of an event or an expectation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Entry {
    /// What was done or expected.
    pub text: String,
    /// Whether it is an event or an expectation.
    pub kind: Kind,
    /// How it ended.
    pub outcome: Outcome,
    /// When it began, in seconds since the start of the scenario.
    pub at: f64,
    /// How long it took, in seconds.
    pub seconds: f64,
    /// How often it was tried.
    pub tries: u32,
    /// What was measured in the last try.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub measured: Option<Measured>,
    /// Why it could not be done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Recordings of what failed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub captures: Vec<PathBuf>,
}

impl Entry {
    /// Whether it ended as expected.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.outcome == Outcome::Passed
    }
}

/// What an entry is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Something that a step causes.
    Event,
    /// Something that a step expects.
    Expectation,
    /// The end of traffic.
    Traffic,
}

/// How an entry ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// As expected.
    Passed,
    /// Otherwise.
    Failed,
    /// It could not be done.
    Error,
    /// This world cannot do it.
    Skipped,
}

/// What was measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Measured {
    /// Answers to echo requests.
    Ping {
        /// Requests.
        sent: u32,
        /// Answers.
        received: u32,
        /// The median of the round trip times, in milliseconds.
        #[serde(skip_serializing_if = "Option::is_none")]
        rtt_ms: Option<f64>,
    },
    /// A transfer.
    Transfer {
        /// Bytes of payload that were read.
        bytes: u64,
        /// From its start to its end, in seconds.
        seconds: f64,
        /// Bits of payload a second.
        rate: u64,
        /// Whether all was received.
        is_complete: bool,
    },
    /// The nodes on the way.
    Route(Vec<String>),
    /// A command.
    Command {
        /// Its exit status; none: it was stopped after its time.
        #[serde(skip_serializing_if = "Option::is_none")]
        status: Option<i32>,
        /// What it printed.
        output: String,
    },
}

impl fmt::Display for Measured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ping { sent, received, rtt_ms: None } => {
                write!(f, "{received} of {sent} answered")
            }
            Self::Ping { sent: 1, rtt_ms: Some(rtt), .. } => {
                write!(f, "{:#}", units::duration(Duration::from_secs_f64(rtt.max(0.0) / 1e3)))
            }
            Self::Ping { sent, received, rtt_ms: Some(rtt) } => {
                let rtt = units::duration(Duration::from_secs_f64(rtt.max(0.0) / 1e3));
                write!(f, "{received} of {sent} answered, median {rtt:#}")
            }
            Self::Transfer { bytes, seconds, rate, is_complete } => {
                let time = units::duration(Duration::from_secs_f64(seconds.max(0.0)));
                let rate = Bitrate::from_bits_per_second(*rate);
                let rest = if *is_complete { "" } else { ", incomplete" };
                write!(f, "{rate:#}, {:#} in {time:#}{rest}", units::size(*bytes))
            }
            Self::Route(nodes) => f.write_str(&nodes.join(" > ")),
            Self::Command { status, output } => {
                match status {
                    Some(status) => write!(f, "status {status}")?,
                    None => f.write_str("stopped after its time")?,
                }
                // The last line says most.
                match output.lines().rfind(|line| !line.trim().is_empty()) {
                    Some(line) => write!(f, ": {}", adit_service::text::clean(line)),
                    None => Ok(()),
                }
            }
        }
    }
}

impl Report {
    /// All entries, with the number of their step.
    pub fn entries(&self) -> impl Iterator<Item = (usize, &Entry)> {
        self.steps.iter().flat_map(|step| step.entries.iter().map(move |entry| (step.step, entry)))
    }

    /// The number of entries that failed.
    #[must_use]
    pub fn failures(&self) -> usize {
        let has_failed = |entry: &Entry| matches!(entry.outcome, Outcome::Failed | Outcome::Error);
        self.entries().filter(|(_, entry)| has_failed(entry)).count()
    }
}
