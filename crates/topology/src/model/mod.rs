//! The wanted network: plain data, whatever it comes from (a file, a generated topology, an import, the API).
//!
//! A [`Lab`] has nodes and links between two nodes. What is left out (addresses, routes, MAC addresses, seeds)
//! is filled in by a plan. Nothing here knows how a network is made.

mod check;
mod link;
mod name;
mod node;
mod program;
mod tunnel;

pub use check::{At, Attachments, Fault};
pub use link::{End, Link};
pub use name::{LinkName, NodeName};
pub use node::{Guest, Host, Interface, Kind, NatNode, Node, Route, Routing};
pub use program::{PrivateFile, Program, Restart};
pub use tunnel::Tunnel;

use adit_packet::IpPrefix;
use adit_service::control::name::Name;
use adit_service::log::Filter;
use adit_service::metrics::ListenAddress;

/// A network as it is wanted.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Lab {
    /// How it is called.
    pub name: Option<Name>,
    /// What every random decision is drawn from, below [`Self::SEED_LIMIT`]; `None`: any.
    pub seed: Option<u64>,
    /// Its nodes, each with a name of its own, in the order in which they are shown.
    pub nodes: Vec<Node>,
    /// Its links, each with a name of its own.
    pub links: Vec<Link>,
    /// Its WireGuard tunnels between hosts, each with a name of its own.
    pub tunnels: Vec<Tunnel>,
    /// The networks of which each segment gets one; empty: [`Self::POOLS`].
    pub pools: Vec<IpPrefix>,
    /// Where the metrics and the page of a lab that runs are read by TCP.
    pub metrics: Option<ListenAddress>,
    /// What a lab that runs logs.
    pub log: Option<Filter>,
}

impl Lab {
    /// Seeds are below 2^53, so that every reader of JSON keeps them.
    pub const SEED_LIMIT: u64 = 1 << 53;

    /// The networks of which each segment gets one: 10.0.0.0/8 and fd00:ad17::/32.
    pub const POOLS: [&str; 2] = ["10.0.0.0/8", "fd00:ad17::/32"];

    /// The node of a name.
    #[must_use]
    pub fn node(&self, name: &str) -> Option<&Node> {
        self.nodes.iter().find(|node| node.name.as_str() == name)
    }

    /// The link of a name.
    #[must_use]
    pub fn link(&self, name: &str) -> Option<&Link> {
        self.links.iter().find(|link| link.name.as_str() == name)
    }
}
