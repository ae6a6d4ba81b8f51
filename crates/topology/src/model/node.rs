//! A node of a network.

use crate::model::name::NodeName;
use crate::model::program::{PrivateFile, Program, Restart};
use adit_device::{IfName, MacAddr};
use adit_engine::switch::SwitchConfig;
use adit_nat::{Destination, PublishSpec};
use adit_packet::IpPrefix;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

/// A node of a network.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// How it is called.
    pub name: NodeName,
    /// What it is.
    pub kind: Kind,
}

/// What a node is.
#[derive(Clone, Debug, PartialEq)]
pub enum Kind {
    /// A network namespace; a router is one that forwards.
    Host(Box<Host>),
    /// A switch of adit's.
    Switch(Box<SwitchConfig>),
    /// The way out: hosts behind it reach the outside through sockets of the host.
    Nat(Box<NatNode>),
    /// A virtual machine.
    Guest(Box<Guest>),
    /// A port outside the lab, as `adit switch --port` writes it: `dev:eth1`, `tap:x`, `unix:/run/x.sock`.
    Outside(String),
}

/// A network namespace.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Host {
    /// Whether it forwards packets between its interfaces.
    pub forward: bool,
    /// Everything that leaves by this interface gets its address as source (masquerade of the kernel).
    pub masquerade: Option<IfName>,
    /// Its interfaces for which something is given, `lo` included; others are filled in.
    pub interfaces: BTreeMap<IfName, Interface>,
    /// Addresses of its only interface, or of `lo` if it has none.
    pub addresses: Vec<IpPrefix>,
    /// Routes beside those that are filled in.
    pub routes: Vec<Route>,
    /// Who computes its routes.
    pub routing: Routing,
    /// Settings below `/proc/sys`, as `net.ipv4.tcp_congestion_control`.
    pub sysctls: BTreeMap<String, String>,
    /// More names for `/etc/hosts`, beside those of all nodes.
    pub names: Vec<(String, IpAddr)>,
    /// Name servers; empty: none, unless it is behind a NAT.
    pub dns: Vec<IpAddr>,
    /// Programs that run in it.
    pub programs: Vec<Program>,
    /// Files that only this node sees.
    pub files: Vec<PrivateFile>,
}

/// What is given for an interface.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Interface {
    /// Its addresses; a family of which there is none is filled in.
    pub addresses: Vec<IpPrefix>,
    /// Its MAC address; `None`: drawn from the seed.
    pub mac: Option<MacAddr>,
}

/// A route that is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// Where it leads.
    pub to: IpPrefix,
    /// The next hop.
    pub via: IpAddr,
    /// Its metric; the smallest wins.
    pub metric: Option<u32>,
}

/// Who computes the routes of a node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Routing {
    /// The plan: the shortest path to each segment.
    #[default]
    Static,
    /// Nobody: only the connected networks and what is given.
    None,
    /// BIRD with OSPF.
    BirdOspf,
    /// BIRD with BGP, an autonomous system a node.
    BirdBgp,
    /// FRR with OSPF.
    FrrOspf,
    /// FRR with BGP, an autonomous system a node.
    FrrBgp,
}

/// The way out by a NAT.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NatNode {
    /// Ports of the host that lead to a node.
    pub publish: Vec<(NodeName, PublishSpec)>,
    /// Ports of the host's loopback that are reached at the NAT's address.
    pub allow_host: Vec<u16>,
    /// Destinations that are reached, whatever else denies them.
    pub allow: Vec<Destination>,
    /// Destinations that are denied.
    pub deny: Vec<Destination>,
}

/// A virtual machine of QEMU.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Guest {
    /// Its kernel; `None`: it boots from its disk.
    pub kernel: Option<PathBuf>,
    /// Its first root file system.
    pub initrd: Option<PathBuf>,
    /// What follows on the kernel's command line.
    pub append: String,
    /// Its disk, which it cannot change (`snapshot=on`).
    pub disk: Option<PathBuf>,
    /// MiB of memory; 0: 256.
    pub memory: u32,
    /// More arguments of QEMU.
    pub arguments: Vec<String>,
    /// Its interfaces for which something is given; others are filled in.
    pub interfaces: BTreeMap<IfName, Interface>,
    /// Addresses of its only interface.
    pub addresses: Vec<IpPrefix>,
    /// When QEMU is started again.
    pub restart: Restart,
    /// It is ready once its console has printed this; empty: once its network cards are connected.
    pub ready: String,
    /// How long it has until then; 0: 60 seconds.
    pub ready_within: Duration,
}

impl Kind {
    /// Its word in a file.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Host(host) if host.forward => "router",
            Self::Host(_) => "host",
            Self::Switch(_) => "switch",
            Self::Nat(_) => "nat",
            Self::Guest(_) => "guest",
            Self::Outside(_) => "outside",
        }
    }
}

impl Node {
    /// A host without settings.
    #[must_use]
    pub fn host(name: NodeName) -> Self {
        Self { name, kind: Kind::Host(Box::default()) }
    }

    /// A host that forwards.
    #[must_use]
    pub fn router(name: NodeName) -> Self {
        let host = Host { forward: true, ..Host::default() };
        Self { name, kind: Kind::Host(Box::new(host)) }
    }

    /// A switch with the usual settings.
    #[must_use]
    pub fn switch(name: NodeName) -> Self {
        Self { name, kind: Kind::Switch(Box::default()) }
    }

    /// The host, if it is one.
    #[must_use]
    pub const fn as_host(&self) -> Option<&Host> {
        match &self.kind {
            Kind::Host(host) => Some(host),
            _ => None,
        }
    }

    /// What is given for a node with interfaces: the addresses of its only one, and what each has.
    #[must_use]
    pub const fn given(&self) -> Option<(&Vec<IpPrefix>, &BTreeMap<IfName, Interface>)> {
        match &self.kind {
            Kind::Host(host) => Some((&host.addresses, &host.interfaces)),
            Kind::Guest(guest) => Some((&guest.addresses, &guest.interfaces)),
            _ => None,
        }
    }

    /// Whether it is a virtual machine.
    #[must_use]
    pub const fn is_guest(&self) -> bool {
        matches!(self.kind, Kind::Guest(_))
    }

    /// Whether it has interfaces of its own, with addresses: a host or a guest.
    #[must_use]
    pub const fn is_station(&self) -> bool {
        matches!(self.kind, Kind::Host(_) | Kind::Guest(_))
    }

    /// Whether it is an engine of the lab's process: what a cable joins without a device.
    #[must_use]
    pub const fn is_engine(&self) -> bool {
        matches!(self.kind, Kind::Switch(_) | Kind::Nat(_))
    }
}
