//! What is drawn.

use crate::model::{Kind, Lab, Link};
use crate::plan::Plan;
use crate::report as live;
use adit_engine::switch::VlanMode;
use adit_service::netem::keys::to_json;
use adit_service::netem::report::LinkReport;
use adit_service::switch::model::Counters;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};
use std::time::Duration;

/// A network as it is drawn.
#[derive(Clone, Debug, Default, Serialize, JsonSchema)]
#[schemars(title = "adit lab graph")]
pub struct Drawing {
    /// What stands above it.
    pub title: String,
    /// Its nodes.
    pub nodes: Vec<DrawnNode>,
    /// Its links.
    pub links: Vec<DrawnLink>,
}

/// A node as it is drawn.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct DrawnNode {
    /// Its name.
    pub name: String,
    /// What it is.
    pub shape: Shape,
    /// Whether it has failed.
    pub has_failed: bool,
    /// Its addresses, or what else is of interest.
    pub notes: Vec<String>,
}

/// What a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Shape {
    /// The way out by a NAT.
    Nat,
    /// A port outside the lab.
    Outside,
    /// A host that forwards.
    Router,
    /// A switch.
    Switch,
    /// A host.
    Host,
    /// A virtual machine.
    Guest,
}

/// A link as it is drawn.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct DrawnLink {
    /// Its name.
    pub name: String,
    /// Its nodes, by their places.
    pub ends: [usize; 2],
    /// The interfaces at its ends; empty at a switch or NAT.
    pub interfaces: [String; 2],
    /// What it is like, in a few words; empty for a plain cable.
    pub label: String,
    /// Whether it has delay, loss, a rate or other effects.
    pub is_emulated: bool,
    /// Whether it works.
    pub state: LinkState,
    /// What it carries from its first end to the second and back; `None` if the lab does not run.
    pub flows: Option<[Flow; 2]>,
}

/// Whether a link works.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LinkState {
    /// It carries packets.
    #[default]
    Up,
    /// It has failed.
    Failed,
}

/// What passes in a direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Flow {
    /// Bits per second in the last interval.
    pub bits_per_second: u64,
    /// Packets dropped since the start.
    pub drops: u64,
}

impl Shape {
    /// All, in the order of a legend.
    pub(super) const ALL: [Self; 6] =
        [Self::Nat, Self::Outside, Self::Router, Self::Switch, Self::Host, Self::Guest];

    /// What a legend calls it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Nat => "NAT",
            Self::Outside => "outside",
            Self::Router => "router",
            Self::Switch => "switch",
            Self::Host => "host",
            Self::Guest => "guest",
        }
    }
}

impl Drawing {
    /// The drawing of a plan, without traffic.
    #[must_use]
    pub fn of(plan: &Plan) -> Self {
        let lab = &plan.lab;
        let mut nodes: Vec<DrawnNode> = lab
            .nodes
            .iter()
            .map(|node| {
                let shape = match &node.kind {
                    Kind::Host(host) if host.forward => Shape::Router,
                    Kind::Host(_) => Shape::Host,
                    Kind::Switch(_) => Shape::Switch,
                    Kind::Nat(_) => Shape::Nat,
                    Kind::Guest(_) => Shape::Guest,
                    Kind::Outside(_) => Shape::Outside,
                };
                let notes = if let Kind::Outside(port) = &node.kind {
                    vec![port.clone()]
                } else {
                    Vec::new()
                };
                DrawnNode { name: node.name.to_string(), shape, has_failed: false, notes }
            })
            .collect();
        for station in &plan.stations {
            let addresses = station.interfaces.iter().flat_map(|interface| &interface.addresses);
            nodes[station.node].notes = addresses.map(ToString::to_string).collect();
        }
        let links = (0..lab.links.len()).filter_map(|index| drawn_link(lab, plan, index)).collect();
        let title = lab.name.as_ref().map_or_else(|| "lab".to_owned(), ToString::to_string);
        Self { title, nodes, links }
    }

    /// The drawing of a running lab, with what passed in the `interval` between two reports.
    #[must_use]
    pub fn of_running(before: &live::Lab, now: &live::Lab, interval: Duration) -> Self {
        let nodes = now.nodes.iter().map(|node| DrawnNode {
            name: node.name.clone(),
            shape: shape(&node.kind),
            has_failed: node.failed,
            notes: node
                .interfaces
                .iter()
                .flat_map(|interface| interface.addresses.clone())
                .collect(),
        });
        let links = now.links.iter().filter_map(|link| {
            let before = before.links.iter().find(|before| before.name == link.name);
            running_link(now, link, before.unwrap_or(link), interval)
        });
        Self { title: now.name.clone(), nodes: nodes.collect(), links: links.collect() }
    }

    /// The links of each node, and the node at the other end of each.
    pub(super) fn neighbours(&self) -> Vec<Vec<(usize, usize)>> {
        let mut neighbours = vec![Vec::new(); self.nodes.len()];
        for (index, link) in self.links.iter().enumerate() {
            let [a, b] = link.ends;
            neighbours[a].push((index, b));
            if a != b {
                neighbours[b].push((index, a));
            }
        }
        neighbours
    }
}

fn drawn_link(lab: &Lab, plan: &Plan, index: usize) -> Option<DrawnLink> {
    let link = &lab.links[index];
    let place = |end: usize| lab.nodes.iter().position(|node| node.name == link.ends[end].node);
    let interface = |end: usize| {
        let interfaces = plan.stations.iter().flat_map(|station| &station.interfaces);
        let found = interfaces.into_iter().find(|interface| interface.link == (index, end));
        found.map_or_else(String::new, |interface| interface.name.to_string())
    };
    Some(DrawnLink {
        name: link.name.to_string(),
        ends: [place(0)?, place(1)?],
        interfaces: [interface(0), interface(1)],
        label: label(link),
        is_emulated: link.netem.is_some(),
        state: LinkState::Up,
        flows: None,
    })
}

/// The settings of a link in a few words, both directions if they differ: `vlan 10 20ms loss 1%`.
fn label(link: &Link) -> String {
    let vlans = link.ends.iter().filter_map(|end| match &end.port.vlan {
        VlanMode::Transparent => None,
        VlanMode::Access(vlan) => Some(format!("vlan {vlan}")),
        VlanMode::Trunk(_) => Some("trunk".to_owned()),
        VlanMode::Tunnel(vlan) => Some(format!("vlan tunnel {vlan}")),
    });
    let mut parts: Vec<String> = vlans.collect();
    parts.dedup();
    if let Some(profiles) = &link.netem {
        let (there, back) = (words(to_json(&profiles.a_to_b)), words(to_json(&profiles.b_to_a)));
        parts.push(if there == back { there } else { format!("{there} / {back}") });
    }
    parts.join(" ")
}

/// The settings of a direction that people look for first, and how many others there are.
fn words(mut keys: Map<String, Value>) -> String {
    let first = [("delay", ""), ("jitter", "\u{b1}"), ("rate", ""), ("loss", "loss ")];
    let first = first.iter().filter_map(|(key, before)| {
        let value = keys.remove(*key)?;
        Some(format!("{before}{}", value.as_str().unwrap_or_default()))
    });
    let mut words: Vec<String> = first.collect();
    if !keys.is_empty() {
        words.push(format!("+{}", keys.len()));
    }
    words.join(" ")
}

/// The shape of a node by the word of its kind.
fn shape(kind: &str) -> Shape {
    let known = Shape::ALL.into_iter().find(|shape| shape.as_str().eq_ignore_ascii_case(kind));
    known.unwrap_or(Shape::Host)
}

fn running_link(
    lab: &live::Lab,
    link: &live::Link,
    before: &live::Link,
    interval: Duration,
) -> Option<DrawnLink> {
    let end = |end: usize| {
        let (node, interface) = link.ends[end].split_once(':').unwrap_or((&link.ends[end], ""));
        let place = lab.nodes.iter().position(|known| known.name == node)?;
        Some((place, interface.to_owned()))
    };
    let [(a, first), (b, other)] = [end(0)?, end(1)?];
    let label = link.netem.as_ref().map(|netem| {
        let (there, back) = (words(netem.a_to_b.clone()), words(netem.b_to_a.clone()));
        if there == back { there } else { format!("{there} / {back}") }
    });
    let millis = u64::try_from(interval.as_millis()).unwrap_or(u64::MAX).max(1);
    let lost = |way: Option<&LinkReport>| -> u64 {
        way.map_or(0, |way| way.counts.drops().map(|(count, _)| count).sum())
    };
    let flow = |now: &Counters, before: &Counters, way: Option<&LinkReport>| Flow {
        bits_per_second: now.bytes.saturating_sub(before.bytes).saturating_mul(8_000) / millis,
        drops: now.dropped() + lost(way),
    };
    let ways = link.link.as_ref();
    Some(DrawnLink {
        name: link.name.clone(),
        ends: [a, b],
        interfaces: [first, other],
        is_emulated: label.is_some(),
        label: label.unwrap_or_default(),
        state: if link.state == live::LinkState::Up { LinkState::Up } else { LinkState::Failed },
        flows: Some([
            flow(&link.from_a, &before.from_a, ways.map(|ways| &ways.ingress)),
            flow(&link.from_b, &before.from_b, ways.map(|ways| &ways.egress)),
        ]),
    })
}

impl DrawnLink {
    /// What stands at the link: its settings, and its traffic if it has any.
    pub(super) fn caption(&self) -> String {
        let mut parts: Vec<String> = Vec::new();
        if self.state == LinkState::Failed {
            parts.push("failed".to_owned());
        }
        if !self.label.is_empty() {
            parts.push(self.label.clone());
        }
        if let Some([there, back]) = self.flows.filter(|flows| *flows != [Flow::default(); 2]) {
            parts.push(format!(
                "\u{2192}{} \u{2190}{}",
                rate(there.bits_per_second),
                rate(back.bits_per_second)
            ));
            let drops = there.drops.saturating_add(back.drops);
            if drops > 0 {
                parts.push(format!("{drops} dropped"));
            }
        }
        parts.join(", ")
    }
}

/// A rate of three digits at most: `12.3M`.
fn rate(bits: u64) -> String {
    let (unit, size) = match bits {
        0..1_000 => return bits.to_string(),
        1_000..1_000_000 => ("k", 1_000),
        1_000_000..1_000_000_000 => ("M", 1_000_000),
        _ => ("G", 1_000_000_000),
    };
    let (whole, tenth) = (bits / size, bits % size * 10 / size);
    if whole < 100 && tenth > 0 {
        format!("{whole}.{tenth}{unit}")
    } else {
        format!("{whole}{unit}")
    }
}
