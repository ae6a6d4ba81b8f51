//! What a scenario is played in.

use super::expect::{Answers, Ping};
use super::part::{Part, Target};
use super::step::Setting;
use super::traffic::Traffic;
use crate::model::{LinkName, NodeName};
use adit_service::error::Result;
use std::path::PathBuf;
use std::time::Duration;

/// A lab in which a scenario is played: one that runs, or one in virtual time.
///
/// All calls return when they are done. Times count from the start of the scenario. An error means that the world could
/// not do what was asked, not that an expectation failed.
pub trait World {
    /// Why it cannot do what an event or expectation needs. Such an entry is skipped.
    fn lacks(&self, _need: Need<'_>) -> Option<String> {
        None
    }

    /// The time since the start of the scenario.
    fn now(&self) -> Duration;

    /// Lets time pass until a moment.
    ///
    /// # Errors
    /// The lab has ended.
    fn wait_until(&mut self, moment: Duration) -> Result<()>;

    /// A link or node fails.
    ///
    /// # Errors
    /// There is no such part, or the kernel refuses it.
    fn fail(&mut self, part: &Part) -> Result<()>;

    /// A link or node works again.
    ///
    /// # Errors
    /// As [`Self::fail`].
    fn heal(&mut self, part: &Part) -> Result<()>;

    /// The emulation of a link changes between two packets.
    ///
    /// # Errors
    /// There is no such link, or settings exclude each other.
    fn set(&mut self, link: &LinkName, setting: &Setting) -> Result<()>;

    /// Starts traffic, and returns its number for [`Self::traffic`].
    ///
    /// # Errors
    /// A node has no address of the family, or cannot send.
    fn start(&mut self, traffic: &Traffic) -> Result<usize>;

    /// Waits until traffic has ended, or until a moment, when it is stopped.
    ///
    /// # Errors
    /// Its sender or receiver failed.
    fn traffic(&mut self, number: usize, until: Duration) -> Result<Moved>;

    /// Sends echo requests, [`Ping::INTERVAL`] apart.
    ///
    /// # Errors
    /// The sender cannot send.
    fn ping(&mut self, ping: &Ping) -> Result<Echoes>;

    /// The nodes that packets pass from a node to a target, both ends included; as far as they come.
    ///
    /// # Errors
    /// The sender cannot send.
    fn route(&mut self, from: &NodeName, to: &Target) -> Result<Vec<NodeName>>;

    /// Runs a command in a node by `sh -c`, for at most a time.
    ///
    /// # Errors
    /// It cannot be run.
    fn run(&mut self, node: &NodeName, command: &str, limit: Duration) -> Result<Ran>;

    /// Starts to capture what these nodes send and receive, until [`Self::end_capture`]; whether it captures at all.
    ///
    /// # Errors
    /// A file cannot be written.
    fn begin_capture(&mut self, _nodes: &[NodeName], _title: &str) -> Result<bool> {
        Ok(false)
    }

    /// Ends capturing and returns the files, or deletes them.
    ///
    /// # Errors
    /// A file cannot be written.
    fn end_capture(&mut self, _keep: bool) -> Result<Vec<PathBuf>> {
        Ok(Vec::new())
    }
}

/// What an event or expectation needs, and not each world has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need<'a> {
    /// A station that sends and receives.
    Station(&'a NodeName),
    /// A program that runs in it.
    Program(&'a NodeName),
    /// A congestion control of TCP.
    Congestion(&'a str),
}

/// What traffic moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moved {
    /// The bytes of payload that the receiver read.
    pub bytes: u64,
    /// From the start to the end of the traffic: TCP's first SYN to the last byte read.
    pub time: Duration,
    /// Whether it ended by itself, and all was received.
    pub is_complete: bool,
}

/// The answers to echo requests.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Echoes {
    /// The number of requests.
    pub sent: u32,
    /// The round trip time of each that was answered.
    pub times: Vec<Duration>,
}

/// How a command ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ran {
    /// Its exit status; 128 and the signal that killed it; `None`: it was stopped after its time.
    pub status: Option<i32>,
    /// What it printed to both outputs: the first 64 KiB.
    pub output: String,
}

impl Ran {
    /// Bytes of output that are kept.
    pub const OUTPUT_MAX: usize = 64 << 10;
}

impl Ping {
    /// The time between two requests.
    pub const INTERVAL: Duration = Duration::from_millis(10);

    /// How long an answer may take.
    #[must_use]
    pub fn wait(&self) -> Duration {
        let within = match self.answers {
            Answers::Some { within, .. } => within.unwrap_or_default(),
            Answers::Never => Duration::ZERO,
        };
        (2 * within).max(Duration::from_secs(1))
    }
}
