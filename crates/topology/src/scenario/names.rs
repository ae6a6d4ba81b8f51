//! The names that a scenario may use.

use super::part::{Part, Target};
use crate::model::{Kind, Lab, LinkName, NodeName};
use adit_service::config::suggest::nearest;
use adit_service::config::value::Wrong;

/// The names of a lab and of the traffic that has started so far.
#[derive(Clone, Debug)]
pub struct Names<'a> {
    lab: &'a Lab,
    /// The traffic that has a name.
    pub traffic: Vec<String>,
}

impl<'a> Names<'a> {
    /// Those of a lab.
    #[must_use]
    pub const fn new(lab: &'a Lab) -> Self {
        Self { lab, traffic: Vec::new() }
    }

    /// A node in which adit sends, receives and runs commands.
    ///
    /// # Errors
    /// An unknown name, or a node of another kind.
    pub fn host(&self, name: &str) -> Result<NodeName, Wrong> {
        let node = self.lab.node(name);
        let what = match node.map(|node| &node.kind) {
            Some(Kind::Host(_)) => return self.node(name),
            Some(Kind::Guest(_)) => "a guest, in which adit runs nothing",
            Some(Kind::Switch(_)) => "a switch",
            Some(Kind::Nat(_)) => "a NAT",
            Some(Kind::Outside(_)) => "outside the lab",
            None => return self.node(name),
        };
        Err(Wrong::new(format_args!("needs a host, and `{name}` is {what}")))
    }

    /// A node of any kind.
    ///
    /// # Errors
    /// An unknown name.
    pub fn node(&self, name: &str) -> Result<NodeName, Wrong> {
        match self.lab.node(name) {
            Some(node) => Ok(node.name.clone()),
            None => Err(unknown("node", name, self.nodes())),
        }
    }

    /// A link.
    ///
    /// # Errors
    /// An unknown name.
    pub fn link(&self, name: &str) -> Result<LinkName, Wrong> {
        match self.lab.link(name) {
            Some(link) => Ok(link.name.clone()),
            None => Err(unknown("link", name, self.links())),
        }
    }

    /// A node, or else a link.
    ///
    /// # Errors
    /// An unknown name.
    pub fn part(&self, name: &str) -> Result<Part, Wrong> {
        if let Ok(node) = self.node(name) {
            return Ok(Part::Node(node));
        }
        let known = self.nodes().chain(self.links());
        self.link(name).map(Part::Link).map_err(|_| unknown("link or node", name, known))
    }

    /// A host, a guest or an address.
    ///
    /// # Errors
    /// An unknown name.
    pub fn target(&self, text: &str) -> Result<Target, Wrong> {
        if let Ok(address) = text.parse() {
            return Ok(Target::Address(address));
        }
        match self.lab.node(text).map(|node| &node.kind) {
            Some(Kind::Guest(_)) => self.node(text),
            _ => self.host(text),
        }
        .map(Target::Node)
    }

    /// Traffic with a name.
    ///
    /// # Errors
    /// An unknown name.
    pub fn traffic(&self, name: &str) -> Result<String, Wrong> {
        if self.traffic.iter().any(|known| known == name) {
            return Ok(name.to_owned());
        }
        let wrong = unknown("traffic", name, self.traffic.iter().map(String::as_str));
        let help = "a step before must start it: traffic = { name = ..., from = ..., to = ... }";
        Err(Wrong { help: wrong.help.or_else(|| Some(help.to_owned())), ..wrong })
    }

    fn nodes(&self) -> impl Iterator<Item = &str> {
        self.lab.nodes.iter().map(|node| node.name.as_str())
    }

    fn links(&self) -> impl Iterator<Item = &str> {
        self.lab.links.iter().map(|link| link.name.as_str())
    }
}

fn unknown<'n>(what: &str, name: &str, known: impl Iterator<Item = &'n str>) -> Wrong {
    let wrong = Wrong::new(format_args!("names an unknown {what}: `{name}`"));
    match nearest(name, known) {
        Some(near) => wrong.help(format_args!("did you mean `{near}`?")),
        None => wrong,
    }
}
