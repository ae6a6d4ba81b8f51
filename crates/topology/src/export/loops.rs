//! Loops of bridges, in which a broadcast would circle for ever.

use super::ends::pairs;
use crate::model::{Kind, Node};
use crate::plan::Plan;
use crate::plan::segments::Sets;
use std::collections::{BTreeMap, BTreeSet};

/// A bridge: the name of its switch, and its VLAN.
type Bridge<'a> = (&'a str, u16);

/// The bridges that are connected to a loop: all of them need the spanning tree protocol.
pub(super) fn looped(plan: &Plan) -> BTreeSet<Bridge<'_>> {
    let is_switch = |node: &Node| matches!(node.kind, Kind::Switch(_));
    let mut numbers: BTreeMap<Bridge<'_>, usize> = BTreeMap::new();
    let mut cables = Vec::new();
    for (index, link) in plan.lab.links.iter().enumerate() {
        let names = link.ends.each_ref().map(|end| end.node.as_str());
        if !names.iter().all(|name| plan.lab.node(name).is_some_and(is_switch)) {
            continue;
        }
        for pair in pairs(plan, index) {
            cables.push([0, 1].map(|end| {
                let next = numbers.len();
                *numbers.entry((names[end], pair.vlans[end])).or_insert(next)
            }));
        }
    }
    let mut sets = Sets::new(numbers.len());
    let closing: Vec<usize> =
        cables.into_iter().filter_map(|[a, b]| (!sets.join(a, b)).then_some(a)).collect();
    let roots: BTreeSet<usize> = closing.into_iter().map(|at| sets.root(at)).collect();
    let is_looped = |&(_, number): &(Bridge<'_>, usize)| roots.contains(&sets.root(number));
    numbers.into_iter().filter(is_looped).map(|(bridge, _)| bridge).collect()
}
