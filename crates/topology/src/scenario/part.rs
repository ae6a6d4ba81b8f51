//! What a step names: parts of a lab, and where packets go.

use crate::model::{LinkName, NodeName};
use std::fmt;
use std::net::IpAddr;

/// What can fail.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// All links of a node.
    Node(NodeName),
    /// A link.
    Link(LinkName),
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Node(name) => name.fmt(f),
            Self::Link(name) => name.fmt(f),
        }
    }
}

/// Where packets go: a node, or an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// The first address of a node: IPv4 if it has one.
    Node(NodeName),
    /// This address.
    Address(IpAddr),
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Node(name) => name.fmt(f),
            Self::Address(address) => address.fmt(f),
        }
    }
}
