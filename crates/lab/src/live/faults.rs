//! What was made to fail: links, nodes, and parts of the lab that lost the rest of it.

use adit_service::error::{Error, Kind, Result};
use adit_topology::model::{Link, LinkName, NodeName};
use adit_topology::plan::Plan;
use serde_json::Value;
use std::collections::BTreeSet;

/// Nodes that are cut off from all others.
type Part = BTreeSet<NodeName>;

/// What a request lets fail or heals.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) links: Vec<LinkName>,
    pub(super) nodes: Vec<NodeName>,
    pub(super) partition: Part,
}

impl Wanted {
    /// Reads `{"links": ["a-b"], "nodes": [], "partition": []}`; `link` and `node` find what is named.
    ///
    /// # Errors
    /// It is not that; the lab has no such part.
    pub(super) fn read(
        body: &Value,
        link: impl Fn(&str) -> Result<LinkName>,
        node: impl Fn(&str) -> Result<NodeName>,
    ) -> Result<Self> {
        let list = |key: &str| match body.get(key) {
            None => Ok(Vec::<String>::new()),
            Some(list) => serde_json::from_value(list.clone())
                .map_err(|_| Error::usage(format!("`{key}` must be a list of names"))),
        };
        let find = |key: &str| list(key)?.iter().map(|name| node(name)).collect::<Result<Vec<_>>>();
        Ok(Self {
            links: list("links")?.iter().map(|name| link(name)).collect::<Result<_>>()?,
            nodes: find("nodes")?,
            partition: find("partition")?.into_iter().collect(),
        })
    }
}

/// A part that fails or is healed, and the sentence about it.
pub(super) type Change = (String, String);

/// All that fails.
#[derive(Debug, Default)]
pub(super) struct Faults {
    links: BTreeSet<LinkName>,
    nodes: BTreeSet<NodeName>,
    partitions: BTreeSet<Part>,
}

impl Faults {
    /// Lets parts fail.
    pub(super) fn fail(&mut self, wanted: &Wanted) -> Vec<Change> {
        self.links.extend(wanted.links.iter().cloned());
        self.nodes.extend(wanted.nodes.iter().cloned());
        if !wanted.partition.is_empty() {
            self.partitions.insert(wanted.partition.clone());
        }
        changes(wanted, "fails", "cut off from all others")
    }

    /// Heals parts; all that fails if none is named.
    ///
    /// # Errors
    /// These nodes were not cut off.
    pub(super) fn heal(&mut self, wanted: &Wanted) -> Result<Vec<Change>> {
        if *wanted == Wanted::default() {
            let is_any = self.nodes().next().is_some()
                || !self.links.is_empty()
                || !self.partitions.is_empty();
            *self = Self::default();
            let all = ("everything".to_owned(), "everything is healed".to_owned());
            return Ok(is_any.then_some(all).into_iter().collect());
        }
        if !wanted.partition.is_empty() && !self.partitions.remove(&wanted.partition) {
            let message = format!("there is no partition '{}'", text(&wanted.partition));
            let known: Vec<String> = self.partitions.iter().map(text).collect();
            let error = Error::new(Kind::NotFound, &crate::keeper::PART, message);
            return Err(match known.as_slice() {
                [] => error,
                known => error.hint(format!("These are: {}.", known.join("; "))),
            });
        }
        wanted.links.iter().for_each(|link| {
            self.links.remove(link);
        });
        wanted.nodes.iter().for_each(|node| {
            self.nodes.remove(node);
        });
        Ok(changes(wanted, "is healed", "joined with all others again"))
    }

    /// Whether a link fails, by itself or by its ends.
    pub(super) fn fails(&self, link: &Link) -> bool {
        let is_cut = |part: &Part| {
            let [a, b] = link.ends.each_ref().map(|end| part.contains(&end.node));
            a != b
        };
        self.links.contains(&link.name)
            || link.ends.iter().any(|end| self.nodes.contains(&end.node))
            || self.partitions.iter().any(is_cut)
    }

    /// The nodes that fail.
    pub(super) fn nodes(&self) -> impl Iterator<Item = &NodeName> {
        self.nodes.iter()
    }

    /// Whether a node fails.
    pub(super) fn has_node(&self, name: &NodeName) -> bool {
        self.nodes.contains(name)
    }

    /// What fails, for a report.
    pub(super) fn problems(&self) -> impl Iterator<Item = String> {
        let nodes = self.nodes.iter().map(|node| format!("node {node} was made to fail"));
        let links = self.links.iter().map(|link| format!("link {link} was made to fail"));
        let parts = self.partitions.iter();
        nodes
            .chain(links)
            .chain(parts.map(|part| format!("{} cut off from all others", text(part))))
    }

    /// Forgets what is not in a plan.
    pub(super) fn retain(&mut self, plan: &Plan) {
        let links: BTreeSet<&LinkName> = plan.lab.links.iter().map(|link| &link.name).collect();
        let nodes: BTreeSet<&NodeName> = plan.lab.nodes.iter().map(|node| &node.name).collect();
        self.links.retain(|link| links.contains(link));
        self.nodes.retain(|node| nodes.contains(node));
        let parts = std::mem::take(&mut self.partitions).into_iter();
        let parts =
            parts.map(|part| part.into_iter().filter(|node| nodes.contains(node)).collect());
        self.partitions = parts.filter(|part: &Part| !part.is_empty()).collect();
    }
}

fn text(part: &Part) -> String {
    part.iter().map(NodeName::as_str).collect::<Vec<_>>().join(", ")
}

fn changes(wanted: &Wanted, verb: &str, state_of_part: &str) -> Vec<Change> {
    let links = wanted.links.iter().map(|name| (name.to_string(), format!("link {name} {verb}")));
    let nodes = wanted.nodes.iter().map(|name| (name.to_string(), format!("node {name} {verb}")));
    let part = Some(&wanted.partition).filter(|part| !part.is_empty()).map(text);
    let part = part.map(|part| (part.clone(), format!("{part} {state_of_part}")));
    links.chain(nodes).chain(part).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn wanted(body: &Value) -> Wanted {
        let link = |name: &str| Ok(name.parse().unwrap());
        Wanted::read(body, link, |name| Ok(name.parse().unwrap())).unwrap()
    }

    #[test]
    fn a_link_fails_until_each_of_its_causes_is_healed() {
        let name = |text: &str| text.parse().unwrap();
        let link = Link::new("a-b".parse().unwrap(), name("a"), name("b"));
        let causes = [
            json!({ "links": ["a-b"] }),
            json!({ "nodes": ["b"] }),
            json!({ "partition": ["a"] }),
            json!({ "partition": ["c", "b"] }),
        ];
        let mut faults = Faults::default();
        for cause in &causes {
            assert_eq!(faults.fail(&wanted(cause)).len(), 1);
        }
        assert_eq!(faults.fail(&wanted(&json!({ "partition": ["a", "b"] }))).len(), 1);
        for cause in &causes {
            assert!(faults.fails(&link), "{cause}");
            assert_eq!(faults.heal(&wanted(cause)).unwrap().len(), 1);
        }
        assert!(!faults.fails(&link), "its ends are in one part");
        let error = faults.heal(&wanted(&json!({ "partition": ["a"] }))).unwrap_err();
        assert_eq!(error.report.message, "there is no partition 'a'");
        assert_eq!(faults.problems().collect::<Vec<_>>(), ["a, b cut off from all others"]);
        assert_eq!(faults.heal(&Wanted::default()).unwrap().len(), 1);
        assert!(faults.heal(&Wanted::default()).unwrap().is_empty());
    }
}
