//! The ends of links as the script makes them, and how it writes words.

use crate::model::{Kind, Node};
use crate::plan::Plan;
use crate::plan::segments::{across, of_host, vlans};

/// An end of a link as the script makes it: the namespace, the interface, and what follows its name.
#[derive(Clone)]
pub(super) struct Made {
    pub(super) namespace: String,
    /// As the kernel has it, not as a batch or a shell writes it.
    pub(super) interface: String,
    pub(super) settings: String,
}

/// Whether a node is a namespace of the script.
pub(super) const fn is_namespace(node: &Node) -> bool {
    matches!(node.kind, Kind::Host(_) | Kind::Switch(_))
}

/// An end of a link; `None` if its node is no namespace.
fn made(plan: &Plan, index: usize, end: usize) -> Option<Made> {
    let link = &plan.lab.links[index];
    let node = plan.lab.node(link.ends[end].node.as_str()).filter(|node| is_namespace(node))?;
    let namespace = node.name.to_string();
    if node.as_host().is_none() {
        return Some(Made { namespace, interface: port(index, end), settings: mtu(link.mtu) });
    }
    let station = plan.station(&node.name)?;
    let interface = station.interfaces.iter().find(|interface| interface.link == (index, end))?;
    let settings = format!(" address {}{}", interface.mac, mtu(interface.mtu));
    Some(Made { namespace, interface: interface.name.to_string(), settings })
}

pub(super) fn mtu(mtu: u16) -> String {
    if mtu == 0 { String::new() } else { format!(" mtu {mtu}") }
}

/// The port of a switch for an end of a link.
fn port(index: usize, end: usize) -> String {
    format!("p{index}.{end}")
}

/// A veth pair of a link, and the VLANs in which its ends are at switches. A link between switches has a pair for each VLAN
/// that it carries: then a bridge for each VLAN is all that a kernel must have.
pub(super) struct Pair {
    pub(super) ends: [Made; 2],
    pub(super) vlans: [u16; 2],
}

/// The pairs of a link; none if a node is no namespace, or no VLAN passes.
pub(super) fn pairs(plan: &Plan, index: usize) -> Vec<Pair> {
    let [Some(a), Some(b)] = [0, 1].map(|end| made(plan, index, end)) else { return Vec::new() };
    let link = &plan.lab.links[index];
    let is_switch = |end: usize| {
        let node = plan.lab.node(link.ends[end].node.as_str());
        node.is_some_and(|node| node.as_host().is_none())
    };
    let [at_a, at_b] = [0, 1].map(|end| &link.ends[end].port);
    let both: Vec<[u16; 2]> = match [is_switch(0), is_switch(1)] {
        [false, false] => vec![[0, 0]],
        [true, false] => of_host(at_a).map(|vlan| [vlan, 0]).into_iter().collect(),
        [false, true] => of_host(at_b).map(|vlan| [0, vlan]).into_iter().collect(),
        [true, true] => {
            let all = vlans(&plan.lab).into_iter();
            all.filter_map(|vlan| Some([vlan, across(at_a, vlan, at_b)?])).collect()
        }
    };
    let pair = |(number, vlans): (usize, [u16; 2])| {
        let ends = [&a, &b].map(|made| Made {
            interface: match number {
                0 => made.interface.clone(),
                _ => format!("{}.{number}", made.interface),
            },
            ..made.clone()
        });
        Pair { ends, vlans }
    };
    both.into_iter().enumerate().map(pair).collect()
}

/// A name in a batch, whose words are separated by spaces and may be in quotes.
pub(super) fn word(name: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | ':' | '@');
    match () {
        () if name.chars().all(is_plain) => name.to_owned(),
        () if name.contains('"') => format!("'{name}'"),
        () => format!("\"{name}\""),
    }
}

pub(super) fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// A text as one word of a shell.
pub(super) fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

/// Whether a link is made: both of its nodes are namespaces.
pub(super) fn is_made(plan: &Plan, index: usize) -> bool {
    !pairs(plan, index).is_empty()
}
