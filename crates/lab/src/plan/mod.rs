//! A network with everything filled in: what `up` makes, `plan` prints, and the simulator simulates.

use crate::model::{Lab, LinkName, NodeName};
use adit_device::{IfName, MacAddr};
use adit_packet::IpPrefix;
use std::net::IpAddr;

/// A network with everything filled in.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What was wanted.
    pub lab: Lab,
    /// What every random decision is drawn from.
    pub seed: u64,
    /// One for each node that has interfaces of its own (hosts, guests), in the order of the lab.
    pub stations: Vec<Station>,
    /// One for each link, in the order of the lab.
    pub cables: Vec<Cable>,
}

/// A node with interfaces.
#[derive(Clone, Debug)]
pub struct Station {
    /// The node, by its place in the lab.
    pub node: usize,
    /// Its interfaces but `lo`, in the order in which they are numbered.
    pub interfaces: Vec<Interface>,
    /// Its routes beside those to connected networks.
    pub routes: Vec<Route>,
    /// The text of its `/etc/hosts`.
    pub hosts: String,
    /// The text of its `/etc/resolv.conf`; `None`: no name server.
    pub resolv_conf: Option<String>,
}

/// An interface of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Its name inside.
    pub name: IfName,
    /// The link, by its place in the lab, and which end of it.
    pub link: (usize, usize),
    /// Its MAC address.
    pub mac: MacAddr,
    /// Its IP MTU.
    pub mtu: u16,
    /// Its addresses.
    pub addresses: Vec<IpPrefix>,
}

/// A route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// Where it leads.
    pub to: IpPrefix,
    /// The next hop; `None`: it is on the link.
    pub via: Option<IpAddr>,
    /// The interface, by its place among those of the node.
    pub interface: usize,
    /// Its metric.
    pub metric: Option<u32>,
}

/// How a link is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cable {
    /// The link.
    pub name: LinkName,
    /// How it is made.
    pub medium: Medium,
    /// What its random decisions are drawn from.
    pub seed: u64,
}

/// How a link is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Medium {
    /// A veth pair of the kernel: no packet enters this process.
    Veth,
    /// A TAP at each end, joined in this process.
    Taps,
    /// A TAP (or the socket of a guest) at this end; the other end is an engine of this process.
    Port(usize),
    /// A patch cable between two engines of this process: no device, no system call.
    Patch,
}

impl Plan {
    /// The station of a node.
    #[must_use]
    pub fn station(&self, name: &NodeName) -> Option<&Station> {
        self.stations.iter().find(|station| self.lab.nodes[station.node].name == *name)
    }
}
