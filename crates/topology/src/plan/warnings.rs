//! What is valid but rarely meant.

use crate::model::{Lab, Node};
use std::collections::{BTreeMap, HashMap};

/// Nodes that nobody can reach: without a link, or apart from the largest part of the lab.
pub(super) fn of(lab: &Lab) -> Vec<String> {
    if lab.nodes.is_empty() {
        return vec!["the lab has no nodes: add them to the file as [host.NAME]".to_owned()];
    }
    let places: HashMap<&str, usize> =
        lab.nodes.iter().enumerate().map(|(place, node)| (node.name.as_str(), place)).collect();
    let mut neighbours = vec![Vec::new(); lab.nodes.len()];
    for link in &lab.links {
        let ends = link.ends.each_ref().map(|end| places.get(end.node.as_str()).copied());
        if let [Some(a), Some(b)] = ends {
            neighbours[a].push(b);
            neighbours[b].push(a);
        }
    }
    let mut part_of = vec![None; lab.nodes.len()];
    let mut sizes: BTreeMap<usize, usize> = BTreeMap::new();
    for start in 0..lab.nodes.len() {
        let mut open = vec![start];
        while let Some(at) = open.pop() {
            if part_of[at].is_none() {
                part_of[at] = Some(start);
                *sizes.entry(start).or_default() += 1;
                open.extend(&neighbours[at]);
            }
        }
    }
    let largest = sizes.iter().max_by_key(|(start, size)| (**size, std::cmp::Reverse(**start)));
    let largest = largest.map(|(start, _)| *start);
    let is_alone =
        |(place, _): &(usize, &Node)| neighbours[*place].is_empty() && lab.nodes.len() > 1;
    let alone: Vec<String> = lab
        .nodes
        .iter()
        .enumerate()
        .filter(is_alone)
        .map(|(_, node)| node.name.to_string())
        .collect();
    let mut warnings = Vec::new();
    if !alone.is_empty() {
        let them = if alone.len() == 1 { "it" } else { "them" };
        warnings.push(format!("no link ends at {}: nobody can reach {them}", shown(&alone)));
    }
    for (start, _) in sizes.iter().filter(|(start, size)| **size > 1 && Some(**start) != largest) {
        let members = lab.nodes.iter().zip(&part_of).filter(|(_, part)| **part == Some(*start));
        let names: Vec<String> = members.map(|(node, _)| node.name.to_string()).collect();
        warnings.push(format!("{} are apart from the rest of the lab", shown(&names)));
    }
    warnings
}

/// A few names of a list.
fn shown(names: &[String]) -> String {
    const SHOWN: usize = 5;
    match names.len().checked_sub(SHOWN) {
        None | Some(0) => names.join(", "),
        Some(more) => format!("{} and {more} more", names[..SHOWN].join(", ")),
    }
}
