//! What a running lab reports, as JSON.

use adit_service::netem::report::{Links, Netem};
use adit_service::sandbox::SandboxState;
use adit_service::switch::model::Counters;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::net::IpAddr;
use std::path::PathBuf;

/// A lab that runs.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(title = "adit lab show")]
pub struct Lab {
    /// Its name.
    pub name: String,
    /// Its process.
    pub pid: u32,
    /// The process that holds its namespaces.
    pub keeper: u32,
    /// The sandbox that its process is in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sandbox: Option<SandboxState>,
    /// The file that it was started from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<PathBuf>,
    /// What every random decision is drawn from.
    pub seed: u64,
    /// How far it is.
    pub state: State,
    /// What is not as wanted, the most important first.
    pub problems: Vec<String>,
    /// Its nodes.
    pub nodes: Vec<Node>,
    /// Its links.
    pub links: Vec<Link>,
}

/// How far a lab is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Namespaces are made, or programs started.
    Starting,
    /// Everything is there, and every program is ready.
    Ready,
    /// Something failed.
    Degraded,
}

impl State {
    /// Its word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Ready => "ready",
            Self::Degraded => "degraded",
        }
    }
}

/// A node of a lab.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Node {
    /// Its name.
    pub name: String,
    /// What it is: host, router, switch, nat, guest, outside.
    pub kind: String,
    /// Whether it was made to fail.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub failed: bool,
    /// The socket of its serial console, if it is a guest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub console: Option<PathBuf>,
    /// Its interfaces.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub interfaces: Vec<Interface>,
    /// Its programs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub programs: Vec<Program>,
}

impl Node {
    /// The address that is used for it where one must do.
    #[must_use]
    pub fn address(&self, is_v6: bool) -> Option<IpAddr> {
        let all = self.interfaces.iter().flat_map(|interface| &interface.addresses);
        let all = all.filter_map(|address| address.split('/').next()?.parse::<IpAddr>().ok());
        all.into_iter().find(|ip| ip.is_ipv6() == is_v6)
    }
}

/// An interface of a node.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// The link that ends there.
    pub link: String,
    /// Its MAC address.
    pub mac: String,
    /// Its IP MTU.
    pub mtu: u16,
    /// Its addresses, with their prefix lengths.
    pub addresses: Vec<String>,
}

/// A program of a node.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Program {
    /// Its name.
    pub name: String,
    /// Whether it runs.
    pub state: ProgramState,
    /// Its process, while it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// Its last exit status, as shells print it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u8>,
    /// How often it was started again.
    pub restarts: u64,
    /// Why it does not run, or is not ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Whether a program runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ProgramState {
    /// It waits for the programs before it.
    Waiting,
    /// It runs and is not ready yet.
    Starting,
    /// It runs.
    Running,
    /// It has ended without a failure.
    Done,
    /// It has failed.
    Failed,
    /// It was killed as its node failed, and starts again when that is healed.
    Stopped,
}

impl ProgramState {
    /// Its word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Stopped => "stopped",
        }
    }
}

/// A link of a lab.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Link {
    /// Its name.
    pub name: String,
    /// Its ends, a and b: `pc:eth0`, `lan`.
    pub ends: [String; 2],
    /// How it is made: veth, taps, port, patch.
    pub medium: String,
    /// Whether packets pass.
    pub state: LinkState,
    /// Its settings; none: it is a plain cable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub netem: Option<Netem>,
    /// What happened on it: from a to b as `ingress`, from b to a as `egress`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<Links>,
    /// What came from a; a super-packet is one frame.
    pub from_a: Counters,
    /// What came from b.
    pub from_b: Counters,
}

/// Whether packets pass through a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LinkState {
    /// They do.
    Up,
    /// It was made to fail.
    Failed,
    /// An end of it is not there.
    Down,
}

impl LinkState {
    /// Its word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Failed => "failed",
            Self::Down => "down",
        }
    }
}

/// Files by which a process of the same user enters a node.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Door {
    /// The process that holds the namespaces.
    pub keeper: u32,
    /// The network.
    pub net: PathBuf,
    /// The mounts.
    pub mount: PathBuf,
    /// The host name.
    pub uts: PathBuf,
}

/// The network namespace of a node.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Network {
    /// The node.
    pub node: String,
    /// Its namespace; none: it is a guest, in which adit sends nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub net: Option<PathBuf>,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
}

/// What a command left.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct CommandOutput {
    /// Its status as shells print it; none: its time was over, and it was killed.
    pub status: Option<u8>,
    /// What it wrote to standard output.
    pub stdout: String,
    /// What it wrote to standard error.
    pub stderr: String,
    /// Whether it wrote more than is kept.
    pub is_cut: bool,
}

/// A part of the output of a program.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct LogPart {
    /// The node.
    pub node: String,
    /// The program.
    pub program: String,
    /// What it wrote, from there on.
    pub text: String,
    /// Where it begins, in bytes since the start.
    pub from: u64,
    /// Where it ends: the `from` of the next request.
    pub to: u64,
}

/// An event of a lab.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Happened {
    /// Its number, from 1 on.
    pub number: u64,
    /// Seconds since the lab was started.
    pub at_s: f64,
    /// The event for people.
    #[serde(default)]
    pub text: String,
    /// The event, as `adit lab up --json` prints it.
    pub event: Value,
}
