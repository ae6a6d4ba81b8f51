//! The text of a lab file, from parts.

use crate::model::NodeName;
use std::fmt::Write as _;

/// The most nodes and the most links of an import: the largest graph of the Topology Zoo has 754 nodes.
pub(crate) const PARTS_MAX: usize = 10_000;

/// A network that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Imported {
    /// The text of the lab file.
    pub text: String,
    /// What was left out, one line each.
    pub notes: Vec<String>,
    /// How many nodes it has.
    pub nodes: usize,
    /// How many links it has.
    pub links: usize,
}

/// What to do with a node that needs a container image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Images {
    /// It is an error.
    #[default]
    Rejected,
    /// It becomes a host or a router with the programs of this machine.
    Hosts,
}

/// A network that is read: sections of TOML, in their order.
#[derive(Debug, Default)]
pub(crate) struct Draft {
    /// How the lab is called.
    pub(crate) name: Option<String>,
    /// What is said before all sections.
    pub(crate) about: Vec<String>,
    /// Its nodes.
    pub(crate) nodes: Vec<NodeDraft>,
    /// Its links.
    pub(crate) links: Vec<LinkDraft>,
    /// What was left out.
    pub(crate) notes: Vec<String>,
}

/// A node.
#[derive(Debug)]
pub(crate) struct NodeDraft {
    /// `host`, `router`, `switch`, `outside`.
    pub(crate) kind: &'static str,
    pub(crate) name: NodeName,
    /// What stands after its name as a comment.
    pub(crate) comment: Option<String>,
    /// Keys and values in TOML.
    pub(crate) keys: Vec<(String, String)>,
    /// Its interfaces: name, and keys and values in TOML.
    pub(crate) interfaces: Vec<(String, Vec<(String, String)>)>,
}

/// A link.
#[derive(Debug, Default)]
pub(crate) struct LinkDraft {
    /// `node` or `node:interface`.
    pub(crate) ends: [String; 2],
    /// Keys and values in TOML.
    pub(crate) keys: Vec<(String, String)>,
}

impl NodeDraft {
    /// A node without settings.
    pub(crate) fn new(kind: &'static str, name: NodeName) -> Self {
        Self { kind, name, comment: None, keys: Vec::new(), interfaces: Vec::new() }
    }

    /// The keys of an interface, which is added if it is new.
    pub(crate) fn interface(&mut self, name: &str) -> &mut Vec<(String, String)> {
        let known = self.interfaces.iter().position(|(known, _)| known == name);
        let at = known.unwrap_or_else(|| {
            self.interfaces.push((name.to_owned(), Vec::new()));
            self.interfaces.len() - 1
        });
        &mut self.interfaces[at].1
    }
}

/// Adds a value in TOML to the list of a key.
pub(crate) fn add_to_list(keys: &mut Vec<(String, String)>, key: &str, value: &str) {
    match keys.iter_mut().find(|(known, _)| known == key) {
        Some((_, list)) => {
            list.truncate(list.len() - 1);
            *list += &format!(", {value}]");
        }
        None => keys.push((key.to_owned(), format!("[{value}]"))),
    }
}

/// A text as a string of TOML, in which nothing is a parameter of the lab.
pub(crate) fn quoted(text: &str) -> String {
    toml_edit::Value::from(text.replace("${", "$${")).to_string()
}

/// Texts as an array of TOML.
pub(crate) fn array<S: AsRef<str>>(texts: &[S]) -> String {
    let texts: Vec<_> = texts.iter().map(|text| quoted(text.as_ref())).collect();
    format!("[{}]", texts.join(", "))
}

/// A text on one line, for a comment.
fn line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

impl Draft {
    /// Adds a note, once.
    pub(crate) fn note(&mut self, note: impl Into<String>) {
        let note = line(&note.into());
        if !self.notes.contains(&note) {
            self.notes.push(note);
        }
    }

    /// Writes the lab file; `source` is the name of the file that was read.
    pub(crate) fn write(self, source: &str) -> Imported {
        let mut text = format!("# Imported by adit from {}.\n", line(source));
        for about in &self.about {
            text += &format!("# {}\n", line(about));
        }
        for note in &self.notes {
            text += &format!("# Not imported: {note}\n");
        }
        if let Some(name) = &self.name {
            text += &format!("name = {}\n", quoted(name));
        }
        for node in &self.nodes {
            let comment = node.comment.as_ref().map(|comment| format!("  # {}", line(comment)));
            text += &format!("\n[{}.{}]{}\n", node.kind, node.name, comment.unwrap_or_default());
            write_keys(&mut text, &node.keys);
            for (interface, keys) in &node.interfaces {
                let interface = key(interface);
                text += &format!("[{}.{}.interface.{interface}]\n", node.kind, node.name);
                write_keys(&mut text, keys);
            }
        }
        for link in &self.links {
            text += &format!("\n[[link]]\nends = {}\n", array(&link.ends));
            write_keys(&mut text, &link.keys);
        }
        let (nodes, links) = (self.nodes.len(), self.links.len());
        Imported { text, notes: self.notes, nodes, links }
    }
}

fn write_keys(text: &mut String, keys: &[(String, String)]) {
    for (name, value) in keys {
        writeln!(text, "{} = {value}", key(name)).expect("a string takes all");
    }
}

/// A key, quoted where TOML demands it.
fn key(name: &str) -> String {
    let is_bare = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    if !name.is_empty() && name.chars().all(is_bare) { name.to_owned() } else { quoted(name) }
}
