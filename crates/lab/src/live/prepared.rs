//! What is opened beside the loop before a lab is made or changed.

use crate::live::confine::outside_ports;
use crate::live::diff::Diff;
use crate::live::guest::{self, Sockets};
use crate::live::outlet::WantedOutlet;
use adit_runtime::Opened;
use adit_service::error::{Error, Kind as ErrorKind, Report, Result};
use adit_service::kinds;
use adit_topology::model::{Kind, NodeName};
use adit_topology::plan::Plan;
use std::collections::BTreeMap;

/// The ports at ends of new links that are not in a namespace of the lab.
#[derive(Debug)]
pub(super) struct Prepared {
    /// By the place of the link, and which end.
    ports: BTreeMap<(usize, usize), Opened>,
    /// Where those of guests are.
    pub(super) guests: Sockets,
}

impl Prepared {
    /// For a change that opens no port.
    pub(super) const fn nothing(guests: Sockets) -> Self {
        Self { ports: BTreeMap::new(), guests }
    }

    /// Opens what the new links of a plan need, beside what those of the old one have. It takes its time: not on the loop's thread.
    ///
    /// # Errors
    /// A port cannot be opened.
    pub(super) fn open(
        plan: &Plan,
        old: Option<&Plan>,
        diff: &Diff,
        guests: Sockets,
    ) -> Result<Self> {
        let ports: Vec<_> = old.into_iter().chain([plan]).flat_map(outside_ports).collect();
        guests.files.list(ports.iter());
        diff.new_nodes.iter().try_for_each(|&node| guest::check(&plan.lab.nodes[node]))?;
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
                    Kind::Outside(text) => outside(name, text)?,
                    Kind::Guest(_) => guests.open(plan, (link, end))?,
                    Kind::Host(_) | Kind::Switch(_) => continue,
                };
                ports.insert((link, end), opened);
            }
        }
        Ok(Self { ports, guests })
    }

    /// The port at an end.
    pub(super) fn take(&mut self, end: (usize, usize)) -> Option<Opened> {
        self.ports.remove(&end)
    }
}

/// Opens a port outside the lab.
fn outside(node: &NodeName, text: &str) -> Result<Opened> {
    let spec = kinds::parse(text).map_err(Error::usage)?;
    let opened = spec.open().map_err(Error::from);
    opened.map_err(|error| {
        if error.kind != ErrorKind::Permission {
            return error;
        }
        let message = format!(
            "permission denied to use '{text}' of the host as '{node}': {}",
            error.report.message
        );
        Error { report: Box::new(Report { message, ..*error.report }), ..error }.hint(
            "The lab of a user has no rights over the host's interfaces. Run it as root; or make a persistent TAP \
             for it once, 'sudo adit dev add NAME --mode tap --user $USER --up', and write `port = \"tap:NAME\"`.",
        )
    })
}
