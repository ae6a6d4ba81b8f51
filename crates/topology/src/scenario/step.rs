//! Steps and their events.

use super::expect::Expectation;
use super::part::Part;
use super::traffic::Traffic;
use crate::model::{LinkName, NodeName};
use adit_service::netem::profile::Profiles;
use std::fmt;
use std::time::Duration;

/// What happens in a lab, in order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Scenario {
    /// Its steps, one after the other.
    pub steps: Vec<Step>,
}

/// A step: it waits, causes its events, then checks its expectations, each in order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Step {
    /// Its title in reports.
    pub name: Option<String>,
    /// When it starts.
    pub start: Start,
    /// What it causes.
    pub events: Vec<Event>,
    /// What it expects.
    pub expect: Vec<Expectation>,
}

/// When a step starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// This long after the start of the scenario; at once if that has passed.
    At(Duration),
    /// This long after the end of the step before.
    After(Duration),
}

impl Default for Start {
    fn default() -> Self {
        Self::After(Duration::ZERO)
    }
}

/// A new setting of a link.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Setting {
    /// The whole of it.
    pub profiles: Profiles,
    /// What changes, as the control socket takes it.
    pub keys: serde_json::Map<String, serde_json::Value>,
}

/// What a step causes.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// A link or a node fails.
    Fail(Part),
    /// It works again.
    Heal(Part),
    /// The emulation of a link changes.
    Set {
        /// The link.
        link: LinkName,
        /// What it is like from now on.
        setting: Box<Setting>,
    },
    /// A command runs in a node, to its end. It fails the step unless its status is 0.
    Run {
        /// The node.
        node: NodeName,
        /// For `sh -c`.
        command: String,
    },
    /// Traffic starts. The step does not wait for its end.
    Traffic(Traffic),
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fail(part) => write!(f, "fail {part}"),
            Self::Heal(part) => write!(f, "heal {part}"),
            Self::Set { link, .. } => write!(f, "set {link}"),
            Self::Run { node, command } => write!(f, "run {node} {command:?}"),
            Self::Traffic(traffic) => write!(f, "traffic {} {}", traffic.from, traffic.to),
        }
    }
}
