//! What the loop orders, and what the keeper reports.

use crate::keeper::text::{list, maybe, one};
use adit_device::{IfName, MacAddr};
use adit_packet::IpPrefix;
use adit_service::error::Error;
use adit_topology::model::{PrivateFile, Restart};
use serde::{Deserialize, Serialize};
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::Duration;

/// A node, by a number that the loop chooses.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct NodeKey(pub u32);

/// A program, by a number that the loop chooses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ProgramKey(pub u32);

/// An order, by its number: its report has the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Ticket(pub(super) u64);

/// What the keeper does. Each order has one report, and they are done in their order; only [`Self::Command`]
/// takes its time.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Order {
    /// Makes a node: [`Done::Node`].
    Node(Box<NodeSpec>),
    /// Changes what programs of a node see that start from now on.
    Private(NodeKey, Private),
    /// Writes settings below `/proc/sys` of a node.
    Sysctls(NodeKey, Vec<(String, String)>),
    /// Ends a node, its interfaces, and all processes in it.
    RemoveNode(NodeKey),
    /// Makes a TAP in a node: [`Done::Tap`].
    Tap(NodeKey, InterfaceSpec),
    /// Makes a veth pair between two nodes, or in one.
    Veth(Box<[(NodeKey, InterfaceSpec); 2]>),
    /// Moves an interface of the host, here named first, into a node. As root only.
    Adopt(#[serde(with = "one")] IfName, NodeKey, InterfaceSpec),
    /// Changes an interface that was ordered before to what it shall be now.
    Interface(NodeKey, InterfaceSpec),
    /// Removes an interface of a node; one of the host goes back.
    RemoveInterface(NodeKey, #[serde(with = "one")] IfName),
    /// Notes the addresses and routes of an interface: one of that name that is made next gets those that programs added.
    Keep(NodeKey, #[serde(with = "one")] IfName),
    /// Sets the routes of a node: what was ordered before and is not here is removed.
    Routes(NodeKey, Vec<RouteSpec>),
    /// Takes an interface down or up; its addresses and routes are back when it is up.
    Up(NodeKey, #[serde(with = "one")] IfName, bool),
    /// Starts a program: [`Done::Started`].
    Run(Box<ProgramSpec>),
    /// Ends a program, and does not start it again: SIGTERM, after this time SIGKILL.
    Stop(ProgramKey, Duration),
    /// Sends a program, and what it started, a signal.
    Signal(ProgramKey, i32),
    /// Runs a command to its end: [`Done::Output`].
    Command(Box<CommandSpec>),
    /// Finds the way into a node for a process of this user: [`Done::Door`].
    Door(NodeKey),
    /// Forgets which hardware addresses the neighbors of a node have: another host may have them now.
    ForgetNeighbors(NodeKey),
}

/// A node that is made.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct NodeSpec {
    /// By what orders name it.
    pub key: NodeKey,
    /// What errors name it, and its host name.
    pub name: String,
    /// Whether it forwards packets between its interfaces.
    pub forward: bool,
    /// Settings below `/proc/sys`, with dots.
    pub sysctls: Vec<(String, String)>,
    /// What its programs see; `None`: the files and the host name of the host.
    pub private: Option<Private>,
    /// Names for `ip netns`, of which it gets the first one that is free, as long as it is there.
    pub names: Vec<String>,
}

/// Files that only the programs of a node see.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Private {
    /// The content of `/etc/hosts`.
    pub hosts: String,
    /// The content of `/etc/resolv.conf`; empty: no name server.
    pub resolv_conf: String,
    /// Others, in `/etc` and `/run`.
    pub files: Vec<PrivateFile>,
}

/// An interface that is made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InterfaceSpec {
    /// Its name inside.
    #[serde(with = "one")]
    pub name: IfName,
    /// Its MAC address; `None`: what the kernel chooses.
    #[serde(with = "maybe")]
    pub mac: Option<MacAddr>,
    /// Its IP MTU.
    pub mtu: u32,
    /// Its addresses.
    #[serde(with = "list")]
    pub addresses: Vec<IpPrefix>,
}

/// A route of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteSpec {
    /// Where it leads.
    #[serde(with = "one")]
    pub to: IpPrefix,
    /// The next hop; `None`: it is on the link.
    pub via: Option<IpAddr>,
    /// By which interface; `None`: that of the next hop.
    #[serde(with = "maybe")]
    pub interface: Option<IfName>,
    /// Its metric.
    pub metric: Option<u32>,
}

/// A program of a node.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ProgramSpec {
    /// By what orders and reports name it.
    pub key: ProgramKey,
    /// Where it runs.
    pub node: NodeKey,
    /// The program and its arguments; it is looked up in `PATH`.
    pub words: Vec<String>,
    /// Variables that are added to its environment.
    pub environment: Vec<(String, String)>,
    /// The directory in which it starts; `None`: `/`.
    pub directory: Option<PathBuf>,
    /// Where its output goes.
    pub output: Output,
    /// When it is started again.
    pub restart: Restart,
    /// A command of the node that succeeds once the program is ready; empty: at once.
    pub ready: Vec<String>,
    /// How long it has until it is ready.
    pub ready_within: Duration,
}

/// Where the output of a program goes, standard output and error.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Output {
    /// Nowhere.
    Null,
    /// To the end of a file of the host.
    File(PathBuf),
    /// To a pipe of which [`Done::Started`] has the other end; it stays the same when the program is started again.
    Pipe,
}

/// A command that runs to its end.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CommandSpec {
    /// Where it runs.
    pub node: NodeKey,
    /// The program and its arguments; it is looked up in `PATH`.
    pub words: Vec<String>,
    /// Variables that are added to its environment.
    pub environment: Vec<(String, String)>,
    /// The directory in which it starts; `None`: `/`.
    pub directory: Option<PathBuf>,
    /// It is killed after this time.
    pub within: Duration,
}

/// What the keeper reports.
#[derive(Debug)]
pub enum Report {
    /// An order was done.
    Done(Ticket, Done),
    /// An order could not be done; of what it makes nothing is left.
    Failed(Ticket, Error),
    /// A program changed its state.
    Program(ProgramEvent),
    /// A program that had ended runs again, as this process, or could not be started.
    Restarted(ProgramKey, Result<u32, Error>),
}

/// A change of the state of a program.
#[derive(Debug, Serialize, Deserialize)]
pub enum ProgramEvent {
    /// It is ready.
    Ready(ProgramKey),
    /// It was not ready in time, and runs on.
    NotReady(ProgramKey),
    /// It has ended.
    Exited {
        /// The program.
        program: ProgramKey,
        /// Its status as shells print it: 128 + n after signal n.
        status: u8,
        /// When it is started again.
        again_in: Option<Duration>,
    },
}

/// The result of an order.
#[derive(Debug)]
pub enum Done {
    /// Nothing to add.
    Plainly,
    /// A node: a file of its network namespace, which any process of this user may open while the keeper runs.
    Node(PathBuf),
    /// A TAP: its queue, with the offloads and headers of adit's ports, and a netlink socket of its namespace.
    Tap {
        /// For `Device::adopt_with`.
        queue: OwnedFd,
        /// For `Netlink::adopt`.
        netlink: OwnedFd,
    },
    /// A program runs.
    Started {
        /// Its number as this process sees it.
        pid: u32,
        /// The end to read of [`Output::Pipe`].
        output: Option<OwnedFd>,
    },
    /// A command has ended.
    Output(CommandOutput),
    /// The way into a node.
    Door(Door),
}

/// What a command left.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommandOutput {
    /// Its status as shells print it; `None`: it was killed, its time was over.
    pub status: Option<u8>,
    /// What it wrote to standard output, at most [`CommandOutput::LEN_MAX`].
    pub stdout: String,
    /// What it wrote to standard error, at most [`CommandOutput::LEN_MAX`].
    pub stderr: String,
    /// Whether it wrote more than that.
    pub is_cut: bool,
}

impl CommandOutput {
    /// The most bytes of each output.
    pub const LEN_MAX: usize = 256 << 10;
}

/// Files by which a process of the same user enters a node: namespaces of the keeper.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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

/// What is sent to the keeper.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Line<T> {
    /// The content of `/etc/hosts` of the nodes that follow: most have the same.
    Hosts(String),
    Order(Ticket, T),
}
