//! Segments: the interfaces that reach each other without a router.
//!
//! A link between two hosts is one. Switches join those of their ports, a VLAN apart from the next: an untagged frame of
//! an access port and one of a trunk whose native VLAN is the same are in one segment.

use crate::model::{Attachments, Kind, Lab};
use adit_engine::switch::{PortConfig, VlanId, VlanMode};
use std::collections::{BTreeSet, HashMap};

/// The segments of a lab, in the order of the links that end in them.
#[derive(Debug)]
pub(super) struct Segments {
    /// The ends of links at hosts, guests and NATs, in the order of the links.
    pub(super) members: Vec<Vec<Member>>,
}

/// An end of a link at a node that has addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Member {
    pub(super) node: usize,
    pub(super) link: usize,
    pub(super) end: usize,
}

/// The VLAN of untagged frames that no port gives a VLAN.
const UNTAGGED: u16 = 0;

/// A frame on a cable: untagged, or with the tag of a VLAN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum OnCable {
    Untagged,
    Tagged(VlanId),
}

/// Sets of numbers from 0 on that are joined step by step; at first each number is a set of its own.
pub(crate) struct Sets(Vec<usize>);

impl Sets {
    pub(crate) fn new(count: usize) -> Self {
        Self((0..count).collect())
    }

    /// A member of the set of `at`, the same for all of its members.
    pub(crate) fn root(&mut self, mut at: usize) -> usize {
        while self.0[at] != at {
            self.0[at] = self.0[self.0[at]];
            at = self.0[at];
        }
        at
    }

    /// Joins two sets; false: they are one already.
    pub(crate) fn join(&mut self, one: usize, other: usize) -> bool {
        let (one, other) = (self.root(one), self.root(other));
        self.0[one.max(other)] = one.min(other);
        one != other
    }
}

/// The networks inside switches: one for each VLAN of each.
#[derive(Default)]
struct Inside(HashMap<(usize, u16), usize>);

impl Inside {
    fn of(&mut self, switch: usize, vlan: u16, sets: &mut Sets) -> usize {
        *self.0.entry((switch, vlan)).or_insert_with(|| {
            sets.0.push(sets.0.len());
            sets.0.len() - 1
        })
    }
}

impl Segments {
    pub(super) fn new(lab: &Lab, attachments: &Attachments) -> Self {
        let is_switch = |node: usize| matches!(lab.nodes[node].kind, Kind::Switch(_));
        let vlans = vlans(lab);
        // The two ends of link N are 2 N and 2 N + 1.
        let mut sets = Sets::new(2 * lab.links.len());
        let mut inside = Inside::default();
        for (number, link) in lab.links.iter().enumerate() {
            let nodes = attachments.nodes[number];
            let [a, b] = link.ends.each_ref().map(|end| &end.port);
            match nodes.map(is_switch) {
                [false, false] => _ = sets.join(2 * number, 2 * number + 1),
                [true, true] => {
                    for &vlan in &vlans {
                        let pairs = [
                            (nodes, vlan, across(a, vlan, b)),
                            ([nodes[1], nodes[0]], vlan, across(b, vlan, a)),
                        ];
                        for ([from, to], vlan, there) in pairs {
                            if let Some(there) = there {
                                let from = inside.of(from, vlan, &mut sets);
                                let to = inside.of(to, there, &mut sets);
                                sets.join(from, to);
                            }
                        }
                    }
                }
                [at_a, _] => {
                    let (switch, port, end) =
                        if at_a { (nodes[0], a, 1) } else { (nodes[1], b, 0) };
                    // A host sends and expects frames without a tag.
                    if let Some(vlan) = of_host(port) {
                        let network = inside.of(switch, vlan, &mut sets);
                        sets.join(network, 2 * number + end);
                    }
                }
            }
        }
        Self::collect(lab, attachments, sets)
    }

    fn collect(lab: &Lab, attachments: &Attachments, mut sets: Sets) -> Self {
        let mut members: Vec<Vec<Member>> = Vec::new();
        let mut numbers = HashMap::new();
        for (link, nodes) in attachments.nodes.iter().enumerate() {
            for (end, &node) in nodes.iter().enumerate() {
                if !lab.nodes[node].is_station() && !matches!(lab.nodes[node].kind, Kind::Nat(_)) {
                    continue;
                }
                let root = sets.root(2 * link + end);
                let number = *numbers.entry(root).or_insert(members.len());
                if number == members.len() {
                    members.push(Vec::new());
                }
                members[number].push(Member { node, link, end });
            }
        }
        Self { members }
    }
}

/// The VLANs that a frame of some host can be in, and [`UNTAGGED`].
pub(crate) fn vlans(lab: &Lab) -> BTreeSet<u16> {
    let ends = lab.links.iter().flat_map(|link| &link.ends);
    let untagged = ends.filter_map(|end| of_host(&end.port));
    untagged.chain([UNTAGGED]).collect()
}

/// The VLAN at one switch of a frame that is in `vlan` at another, over a cable between these ports.
pub(crate) fn across(from: &PortConfig, vlan: u16, to: &PortConfig) -> Option<u16> {
    ingress(to, egress(from, vlan)?)
}

/// The VLAN of a host at a port, which sends frames without a tag.
pub(crate) fn of_host(port: &PortConfig) -> Option<u16> {
    ingress(port, OnCable::Untagged)
}

/// How a frame of a VLAN leaves by a port, if it does.
fn egress(port: &PortConfig, vlan: u16) -> Option<OnCable> {
    let tagged = VlanId::new(vlan);
    match &port.vlan {
        VlanMode::Transparent => Some(tagged.map_or(OnCable::Untagged, OnCable::Tagged)),
        VlanMode::Access(own) | VlanMode::Tunnel(own) => {
            (tagged == Some(*own)).then_some(OnCable::Untagged)
        }
        VlanMode::Trunk(trunk) => {
            let vlan = tagged?;
            if trunk.untagged.contains(vlan) {
                return Some(OnCable::Untagged);
            }
            trunk.tagged.contains(vlan).then_some(OnCable::Tagged(vlan))
        }
    }
}

/// The VLAN of a frame that comes in by a port, if it is not dropped.
fn ingress(port: &PortConfig, frame: OnCable) -> Option<u16> {
    match (&port.vlan, frame) {
        (VlanMode::Transparent, OnCable::Untagged) => Some(UNTAGGED),
        (VlanMode::Transparent, OnCable::Tagged(vlan)) => Some(vlan.number()),
        (VlanMode::Access(own), OnCable::Untagged) | (VlanMode::Tunnel(own), _) => {
            Some(own.number())
        }
        (VlanMode::Access(_), OnCable::Tagged(_)) => None,
        (VlanMode::Trunk(trunk), OnCable::Untagged) => trunk.pvid.map(VlanId::number),
        (VlanMode::Trunk(trunk), OnCable::Tagged(vlan)) => {
            let carries = trunk.tagged.contains(vlan) || trunk.untagged.contains(vlan);
            carries.then(|| vlan.number())
        }
    }
}
