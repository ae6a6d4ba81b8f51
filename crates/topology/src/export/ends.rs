//! The ends of links as the script makes them, and how it writes words.

use crate::model::{Kind, Node};
use crate::plan::Plan;

/// An end of a link as the script makes it: the namespace, the interface, and what follows its name.
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
pub(super) fn made(plan: &Plan, index: usize, end: usize) -> Option<Made> {
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
pub(super) fn port(index: usize, end: usize) -> String {
    format!("p{index}.{end}")
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
    [0, 1].iter().all(|end| made(plan, index, *end).is_some())
}
