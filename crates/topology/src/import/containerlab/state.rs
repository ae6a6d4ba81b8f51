//! What is read of a topology so far.

use crate::import::names::Names;
use crate::import::text::{Draft, Images};
use crate::import::yaml::Value;
use crate::model::NodeName;
use adit_service::config::problems::Problems;
use adit_service::config::source::Source;
use std::collections::BTreeMap;

/// What is read so far.
pub(super) struct State<'a> {
    pub(super) source: &'a Source,
    pub(super) problems: &'a Problems,
    pub(super) images: Images,
    pub(super) draft: Draft,
    /// The nodes of the file and what became of each.
    pub(super) nodes: BTreeMap<String, Taken>,
    names: Names,
    /// Keys that were left out, and at which nodes.
    left_out: BTreeMap<String, Vec<String>>,
}

/// What became of a node of the file.
#[derive(Clone, Debug)]
pub(super) enum Taken {
    /// A node, by its place in the draft.
    Node(usize),
    /// The namespace of the host: each of its interfaces is a node of its own.
    Host,
    /// It was rejected; its links are not reported too.
    Rejected,
}

impl<'a> State<'a> {
    pub(super) fn new(source: &'a Source, images: Images, problems: &'a Problems) -> Self {
        Self {
            source,
            problems,
            images,
            draft: Draft::default(),
            nodes: BTreeMap::new(),
            names: Names::default(),
            left_out: BTreeMap::new(),
        }
    }

    /// A name for a node that is called `name` in the file.
    pub(super) fn name(&mut self, name: &str) -> NodeName {
        self.names.unique(name, "node")
    }

    /// Notes that a key of a node is left out.
    pub(super) fn leave_out(&mut self, key: &str, node: &str) {
        let nodes = self.left_out.entry(key.to_owned()).or_default();
        if !nodes.iter().any(|known| known == node) {
            nodes.push(node.to_owned());
        }
    }

    pub(super) fn problem(&self, at: &Value, message: &str, help: &str) {
        self.problems.push(self.source, at.span.clone(), message, Some(help.to_owned()));
    }

    /// The draft, with notes on all that was left out.
    pub(super) fn finish(mut self) -> Draft {
        for (key, nodes) in self.left_out {
            self.draft.note(format!("`{key}` of {}", nodes.join(", ")));
        }
        self.draft
    }
}
