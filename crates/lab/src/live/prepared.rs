//! What is opened beside the loop before a lab is made or changed.

use crate::live::diff::Diff;
use crate::live::guest;
use crate::live::outlet::WantedOutlet;
use adit_runtime::Opened;
use adit_service::error::{Error, Result};
use adit_service::kinds;
use adit_topology::model::Kind;
use adit_topology::plan::Plan;
use std::collections::BTreeMap;

/// The ports at ends of new links that are not in a namespace of the lab.
#[derive(Debug, Default)]
pub(super) struct Prepared {
    /// By the place of the link, and which end.
    ports: BTreeMap<(usize, usize), Opened>,
}

impl Prepared {
    /// Opens what the new links of a plan need. It takes its time: not on the loop's thread.
    ///
    /// # Errors
    /// A port cannot be opened.
    pub(super) fn open(plan: &Plan, diff: &Diff) -> Result<Self> {
        let mut ports = BTreeMap::new();
        for &link in &diff.new_links {
            for end in 0..2 {
                let name = &plan.lab.links[link].ends[end].node;
                let Some(node) = plan.lab.node(name.as_str()) else { continue };
                let opened = match &node.kind {
                    Kind::Nat(_) => {
                        let wanted = WantedOutlet::of(plan, (link, end));
                        let wanted = wanted.ok_or_else(|| {
                            Error::usage(format!("the NAT '{name}' has no network at this link"))
                        })?;
                        Opened::Ports(vec![wanted.open()?])
                    }
                    Kind::Outside(text) => {
                        let spec = kinds::parse(text).map_err(Error::usage)?;
                        spec.open()?
                    }
                    Kind::Guest(_) => guest::open(plan, (link, end))?,
                    Kind::Host(_) | Kind::Switch(_) => continue,
                };
                ports.insert((link, end), opened);
            }
        }
        Ok(Self { ports })
    }

    /// The port at an end.
    pub(super) fn take(&mut self, end: (usize, usize)) -> Option<Opened> {
        self.ports.remove(&end)
    }
}
