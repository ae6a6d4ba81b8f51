//! Topologies of containerlab: kinds that run on this machine, their links, and of their commands the ones
//! that only set addresses, routes and sysctls; other commands run as programs of the node.

mod commands;
mod link;
mod node;
mod state;

use crate::import::names::Names;
use crate::import::text::{Draft, Images, PARTS_MAX};
use crate::import::yaml::{self, Value};
use adit_service::config::problems::Problems;
use adit_service::config::source::Source;
use state::State;

/// Keys of the file that say nothing about the network.
const SILENT: [&str; 4] = ["name", "topology", "prefix", "debug"];

/// Reads a topology.
pub(crate) fn read(source: &Source, images: Images, problems: &Problems) -> Draft {
    let mut state = State::new(source, images, problems);
    if let Some(root) = yaml::read(source, problems) {
        file(&mut state, &root);
    }
    state.finish()
}

fn file(state: &mut State<'_>, root: &Value) {
    let Some(topology) = root.get("topology") else {
        state.problem(
            root,
            "not a topology",
            "a topology has `topology:` with `nodes:` and `links:`",
        );
        return;
    };
    for (key, _) in root.entries().iter().filter(|(key, _)| !SILENT.contains(&key.as_str())) {
        state.draft.note(format!("`{key}`"));
    }
    if let Some(name) = root.get("name").and_then(Value::text) {
        state.draft.name = Some(Names::default().unique(name, "lab").to_string());
    }
    for (key, _) in topology.entries() {
        if !["nodes", "links", "defaults", "kinds", "groups"].contains(&key.as_str()) {
            state.draft.note(format!("`topology.{key}`"));
        }
    }
    let nodes = topology.get("nodes").map_or(&[][..], Value::entries);
    if nodes.is_empty() {
        state.problem(topology, "no nodes", "list them in `topology.nodes`");
    }
    for (index, (name, node)) in nodes.iter().enumerate() {
        if index == PARTS_MAX {
            state.problem(node, &format!("more than {PARTS_MAX} nodes"), "take a part of it");
            break;
        }
        let taken = node::read(state, name, &node::Levels::new(node, topology));
        state.nodes.insert(name.clone(), taken);
    }
    let links = topology.get("links").map_or(&[][..], Value::list);
    for (index, link) in links.iter().enumerate() {
        if index == PARTS_MAX {
            state.problem(link, &format!("more than {PARTS_MAX} links"), "take a part of it");
            break;
        }
        link::read(state, link);
    }
}
