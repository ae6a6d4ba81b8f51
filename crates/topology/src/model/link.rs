//! A link between two nodes.

use crate::model::name::{LinkName, NodeName};
use adit_device::IfName;
use adit_engine::switch::PortConfig;
use adit_service::netem::profile::Profiles;

/// A link between two nodes.
#[derive(Clone, Debug, PartialEq)]
pub struct Link {
    /// How it is called.
    pub name: LinkName,
    /// Its two ends, `a` and `b`.
    pub ends: [End; 2],
    /// What it is like; `None`: a plain cable.
    pub netem: Option<Profiles>,
    /// The IP MTU of both ends; 0: 1500.
    pub mtu: u16,
    /// What it costs to use it: 1, unless another cost is given.
    pub cost: u32,
}

/// An end of a link.
#[derive(Clone, Debug, PartialEq)]
pub struct End {
    /// The node.
    pub node: NodeName,
    /// The interface of a host; `None`: the next free `ethN`.
    pub interface: Option<IfName>,
    /// At a switch: the settings of its port.
    pub port: PortConfig,
}

impl End {
    /// An end at a node.
    #[must_use]
    pub fn new(node: NodeName) -> Self {
        Self { node, interface: None, port: PortConfig::default() }
    }
}

impl Link {
    /// A plain cable between two nodes.
    #[must_use]
    pub fn new(name: LinkName, a: NodeName, b: NodeName) -> Self {
        Self { name, ends: [End::new(a), End::new(b)], netem: None, mtu: 0, cost: 1 }
    }
}
