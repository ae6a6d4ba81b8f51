//! An end of a link as people write it: `pc`, `gw:eth0`, `h` for all of a group, `h[1-100]:eth1`.

use crate::model::NodeName;
use adit_device::IfName;
use adit_service::config::value::{Value, Wrong};

/// The most nodes of one range: all that a lab may have.
const RANGE_MAX: u32 = 2000;

/// An end of one or more links.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ends {
    /// Its nodes.
    pub(super) nodes: Nodes,
    /// The interface of each.
    pub(super) interface: Option<IfName>,
}

/// The nodes of an end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Nodes {
    /// A node, or all of a group.
    Named(NodeName),
    /// These.
    Range(Vec<NodeName>),
}

/// Reads `NODE[:INTERFACE]`, where NODE is a name or `NAME[1-3,7]`.
pub(super) fn read(value: &Value<'_>) -> Result<Ends, Wrong> {
    let text =
        value.as_text().ok_or_else(|| Wrong::expected("a node as \"pc\" or \"gw:eth0\"", value))?;
    let (node, interface) = match text.split_once(':') {
        Some((node, interface)) => {
            let at = node.len() + 1..text.len();
            let interface = interface.parse::<IfName>().map_err(|error| {
                Wrong::new(format_args!("has no interface of that name: {error}")).part(at)
            })?;
            (node, Some(interface))
        }
        None => (text, None),
    };
    let nodes = match node.split_once('[') {
        Some((stem, range)) => {
            let at = stem.len()..node.len();
            Nodes::Range(members(stem, range).map_err(|wrong| wrong.part(at))?)
        }
        None => {
            let name = node.parse::<NodeName>();
            Nodes::Named(name.map_err(|error| Wrong::new("is no name").help(error))?)
        }
    };
    Ok(Ends { nodes, interface })
}

/// The names of `h` and `1-3,7]`.
fn members(stem: &str, range: &str) -> Result<Vec<NodeName>, Wrong> {
    const HELP: &str = "write a range as h[1-100], or h[1-3,7]";
    let wrong = || Wrong::new("has a wrong range").help(HELP);
    let range = range.strip_suffix(']').ok_or_else(wrong)?;
    let mut names = Vec::new();
    for part in range.split(',') {
        let number = |text: &str| {
            let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
            text.parse::<u32>().ok().filter(|_| is_number).ok_or_else(wrong)
        };
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (number(first)?, number(last)?);
        if first > last {
            return Err(wrong().help(format_args!("did you mean [{last}-{first}]?")));
        }
        if last - first >= RANGE_MAX || names.len() >= RANGE_MAX as usize {
            return Err(Wrong::new(format_args!("has more than {RANGE_MAX} nodes")));
        }
        for number in first..=last {
            let name = format!("{stem}{number}").parse::<NodeName>();
            names.push(name.map_err(|error| Wrong::new("is no name").help(error))?);
        }
    }
    Ok(names)
}
