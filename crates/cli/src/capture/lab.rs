//! The links of running labs, as interfaces that can be captured: in the namespace of a node at an end.

use adit_device::{IfName, Netns};
use adit_lab::keeper::PART;
use adit_lab::live::LAB;
use adit_service::control::client::{Client, instances};
use adit_service::error::{Error, Kind, Result};
use adit_topology::report::{Lab, Network};
use serde::de::DeserializeOwned;
use std::path::PathBuf;

/// An interface of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) net: PathBuf,
    pub(crate) interface: IfName,
}

fn ask<T: DeserializeOwned>(client: &Client, path: &str) -> Result<T> {
    serde_json::from_value(client.get(path)?).map_err(|error| {
        let message = format!("'{}' runs another version of adit: {error}", client.name());
        Error::new(Kind::Refused, &PART, message)
    })
}

/// The links of all running labs of which an end is an interface: the lab, the link, and its ends.
pub(crate) fn links() -> Vec<(String, String, String)> {
    let of = |name: String| {
        let client = Client::named(name.parse().ok()?, LAB).ok()?;
        let lab: Lab = ask(&client, "/lab").ok()?;
        let links =
            lab.links.into_iter().filter(|link| link.ends.iter().any(|end| end.contains(':')));
        Some(
            links
                .map(move |link| (name.clone(), link.name, link.ends.join(" - ")))
                .collect::<Vec<_>>(),
        )
    };
    instances(LAB).into_iter().filter_map(|one| of(one.name)).flatten().collect()
}

/// Finds the interface that stands for a link, `NODE`, or `NODE:INTERFACE`.
///
/// # Errors
/// There is none, or a node has several.
pub(crate) fn find(client: &Client, part: &str) -> Result<Place> {
    let lab: Lab = ask(client, "/lab")?;
    let link = lab.links.iter().find(|link| link.name == part);
    let end = match link {
        Some(link) => link.ends.iter().find(|end| end.contains(':')).cloned().ok_or_else(|| {
            let message = format!("no end of link '{part}' is an interface: it is inside of adit");
            Error::new(Kind::Conflict, &PART, message)
                .hint("Capture at a host behind it: 'adit lab capture NODE'.")
        })?,
        None => of_node(&lab, part)?,
    };
    let (node, interface) = end.split_once(':').unwrap_or((&end, ""));
    let interface = interface.parse().map_err(|error| Error::usage(format!("'{end}': {error}")))?;
    let networks: Vec<Network> = ask(client, "/lab/networks")?;
    let network = networks.into_iter().find(|network| network.node == node);
    let network = network.ok_or_else(|| not_there(client, part))?;
    let net = network.net.ok_or_else(|| {
        let message = format!("the interfaces of '{node}' are inside of a virtual machine");
        Error::new(Kind::Conflict, &PART, message)
            .hint("Capture at the host behind its link: 'adit lab capture NODE'.")
    })?;
    Ok(Place { net, interface })
}

/// The interface of a node as `node:interface`.
fn of_node(lab: &Lab, part: &str) -> Result<String> {
    if part.contains(':') {
        return Ok(part.to_owned());
    }
    let node = lab.nodes.iter().find(|node| node.name == part).ok_or_else(|| {
        let message = format!("'{}' has no link and no node called '{part}'", lab.name);
        Error::new(Kind::NotFound, &PART, message).hint("List its parts: 'adit lab show'.")
    })?;
    match node.interfaces.as_slice() {
        [one] => Ok(format!("{part}:{}", one.name)),
        several => {
            let names: Vec<String> =
                several.iter().map(|interface| format!("{part}:{}", interface.name)).collect();
            let message = format!("node '{part}' has {} interfaces", several.len());
            Err(Error::usage(message).hint(format!("Name one: {}.", names.join(", "))))
        }
    }
}

fn not_there(client: &Client, part: &str) -> Error {
    let message = format!("'{}' has no interface '{part}'", client.name());
    Error::new(Kind::NotFound, &PART, message)
}

impl Place {
    /// Enters the namespace for good, as its owner. This process must have a single thread.
    ///
    /// # Errors
    /// The lab is another user's, or has ended.
    pub(crate) fn enter(&self) -> Result<()> {
        let entered = Netns::open(&self.net).and_then(|net| net.enter_as_owner());
        entered.map_err(|error| Error::io("enter", "the network of the node", &error))
    }
}
