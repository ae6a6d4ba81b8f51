//! The nodes of a running lab.

use crate::keeper::NodeKey;
use crate::live::faults::Faults;
use crate::live::guest::Sockets;
use crate::live::kernel::KernelEnd;
use crate::live::programs::Programs;
use crate::live::wiring::Wiring;
use adit_service::error::{Error, Kind as ErrorKind, Result};
use adit_topology::model::NodeName;
use adit_topology::plan::Plan;
use adit_topology::report;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// The nodes by their names.
#[derive(Debug, Default)]
pub(super) struct Nodes {
    all: BTreeMap<NodeName, Node>,
    next: u32,
}

#[derive(Debug)]
struct Node {
    /// What the keeper knows it by; `None`: it has no namespace.
    key: Option<NodeKey>,
    /// Its network namespace.
    net: Option<PathBuf>,
}

impl Nodes {
    /// Adds a node; returns its key if it has a namespace.
    pub(super) fn add(&mut self, name: NodeName, has_namespace: bool) -> Option<NodeKey> {
        let key = has_namespace.then(|| {
            self.next += 1;
            NodeKey(self.next)
        });
        self.all.insert(name, Node { key, net: None });
        key
    }

    /// Takes a node away; returns its key if it has a namespace.
    pub(super) fn remove(&mut self, name: &NodeName) -> Option<NodeKey> {
        self.all.remove(name)?.key
    }

    pub(super) fn count(&self) -> usize {
        self.all.len()
    }

    /// What the keeper knows a node by.
    pub(super) fn key(&self, name: &NodeName) -> Option<NodeKey> {
        self.all.get(name)?.key
    }

    /// The node that a request names.
    pub(super) fn name(&self, name: &str) -> Result<NodeName> {
        let known = name.parse().ok().filter(|name: &NodeName| self.all.contains_key(name));
        known.ok_or_else(|| {
            let message = format!("the lab has no node called '{name}'");
            Error::new(ErrorKind::NotFound, &crate::keeper::PART, message)
                .object(name)
                .hint("List its parts: 'adit lab show'.")
        })
    }

    /// The host that a request names, in which programs run.
    pub(super) fn host(&self, plan: &Plan, name: &str) -> Result<NodeKey> {
        let node = self.name(name)?;
        let is_guest = plan.lab.node(name).is_some_and(adit_topology::model::Node::is_guest);
        let (why, hint) = match self.key(&node) {
            Some(key) if !is_guest => return Ok(key),
            Some(_) => (
                "it is a virtual machine",
                format!(
                    "Use its console: 'adit lab shell {name}'; or log in over the network, as by \
                 'adit lab exec HOST -- ssh {name}'."
                ),
            ),
            None => (
                "it has no network namespace",
                "Hosts and routers are listed by: 'adit lab show'.".to_owned(),
            ),
        };
        let message = format!("nothing can run in '{name}': {why}");
        Err(Error::new(ErrorKind::Conflict, &crate::keeper::PART, message).object(name).hint(hint))
    }

    pub(super) fn set_net(&mut self, name: &NodeName, net: PathBuf) {
        if let Some(node) = self.all.get_mut(name) {
            node.net = Some(net);
        }
    }

    /// Where the kernel counts what passes through plain links.
    pub(super) fn kernel_ends(&self, wiring: &Wiring) -> Vec<KernelEnd> {
        let nets = self.all.values().filter_map(|node| Some((node.key?, node.net.clone()?)));
        let nets: BTreeMap<NodeKey, PathBuf> = nets.collect();
        let ends = wiring.kernel_ends().filter_map(|(link, end, node, interface)| {
            Some(KernelEnd { link: link.clone(), end, net: nets.get(&node)?.clone(), interface })
        });
        ends.collect()
    }

    /// What the keeper knows the hosts of a plan by.
    pub(super) fn hosts(&self, plan: &Plan) -> impl Iterator<Item = NodeKey> {
        let hosts = plan.lab.nodes.iter().filter(|node| node.as_host().is_some());
        hosts.filter_map(|node| self.key(&node.name))
    }

    /// The networks of all hosts, then the addresses of guests.
    pub(super) fn networks(&self, plan: &Plan) -> Vec<report::Network> {
        let of = |station: &adit_topology::plan::Station| {
            let node = &plan.lab.nodes[station.node];
            let net = self.all.get(&node.name)?.net.clone().filter(|_| !node.is_guest());
            let addresses = station.interfaces.iter().flat_map(|of| &of.addresses);
            let addresses = addresses.chain(&station.loopback).map(|address| address.ip());
            Some(report::Network {
                node: node.name.to_string(),
                net,
                addresses: addresses.collect(),
            })
        };
        let mut all: Vec<report::Network> = plan.stations.iter().filter_map(of).collect();
        all.sort_by_key(|network| network.net.is_none());
        all
    }

    /// The reports of all nodes.
    pub(super) fn report(
        &self,
        plan: &Plan,
        programs: &Programs,
        faults: &Faults,
        guests: &Sockets,
    ) -> Vec<report::Node> {
        let stations: BTreeMap<usize, &adit_topology::plan::Station> =
            plan.stations.iter().map(|station| (station.node, station)).collect();
        let nodes = plan.lab.nodes.iter().enumerate();
        let report = |(at, node): (usize, &adit_topology::model::Node)| {
            let interfaces = stations.get(&at).map_or(&[][..], |station| &station.interfaces);
            let interfaces = interfaces.iter().map(|interface| report::Interface {
                name: interface.name.to_string(),
                link: plan.lab.links[interface.link.0].name.to_string(),
                mac: interface.mac.to_string(),
                mtu: interface.mtu,
                addresses: interface.addresses.iter().map(ToString::to_string).collect(),
            });
            report::Node {
                name: node.name.to_string(),
                kind: node.kind.word().to_owned(),
                failed: faults.has_node(&node.name),
                interfaces: interfaces.collect(),
                console: self
                    .key(&node.name)
                    .filter(|_| node.is_guest())
                    .map(|key| guests.console(key)),
                programs: programs.report(&node.name),
            }
        };
        nodes.map(report).collect()
    }
}
