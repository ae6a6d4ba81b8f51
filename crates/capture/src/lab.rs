//! The links of running labs, as something that can be captured: an interface in the namespace of a node at an end, or a
//! pipe into which the lab writes copies, for links that have no interface.

use adit_device::{IfName, Netns};
use adit_lab::keeper::PART;
use adit_lab::live::LAB;
use adit_service::control::client::{Client, instances};
use adit_service::control::http::{Method, escape};
use adit_service::error::{Error, Kind, Result};
use adit_topology::report::{Lab, Network};
use rustix::fs::{CWD, FileType, Mode, OFlags, mknodat};
use serde::de::DeserializeOwned;
use serde_json::json;
use std::io;
use std::os::fd::AsRawFd;
use std::path::PathBuf;

/// Where packets of a lab are seen.
#[derive(Debug)]
pub enum Place {
    /// An interface, in a network namespace.
    Interface(PathBuf, IfName),
    /// Inside of the lab: the name of the link.
    Inside(String),
}

/// What is captured in the end.
#[derive(Debug)]
pub enum Source {
    /// An interface of the namespace of this process.
    Interface(IfName),
    /// A recording that goes on as long as it is open.
    Pipe(PathBuf),
}

fn ask<T: DeserializeOwned>(client: &Client, path: &str) -> Result<T> {
    serde_json::from_value(client.get(path)?).map_err(|error| {
        let message = format!("'{}' runs another version of adit: {error}", client.name());
        Error::new(Kind::Refused, &PART, message)
    })
}

/// The links of all running labs: the lab, the link, and its ends.
pub fn links() -> Vec<(String, String, String)> {
    let of = |name: String| {
        let client = Client::named(name.parse().ok()?, LAB).ok()?;
        let lab: Lab = ask(&client, "/lab").ok()?;
        let links = lab.links.into_iter();
        let links = links.map(move |link| (name.clone(), link.name, link.ends.join(" - ")));
        Some(links.collect::<Vec<_>>())
    };
    instances(LAB).into_iter().filter_map(|one| of(one.name)).flatten().collect()
}

/// Finds where the packets of a link, `NODE`, or `NODE:INTERFACE` are seen.
///
/// # Errors
/// There is none, or a node has several.
pub fn find(client: &Client, part: &str) -> Result<Place> {
    let lab: Lab = ask(client, "/lab")?;
    let link = lab.links.iter().find(|link| link.name == part);
    let end = match link {
        Some(link) => match link.ends.iter().find(|end| end.contains(':')) {
            Some(end) => end.clone(),
            None => return Ok(Place::Inside(link.name.clone())),
        },
        None => of_node(&lab, part)?,
    };
    let (node, interface) = end.split_once(':').unwrap_or((&end, ""));
    let interface = interface.parse().map_err(|error| Error::usage(format!("'{end}': {error}")))?;
    let networks: Vec<Network> = ask(client, "/lab/networks")?;
    let network = networks.into_iter().find(|network| network.node == node);
    let network = network.ok_or_else(|| not_there(client, part))?;
    Ok(match network.net {
        Some(net) => Place::Interface(net, interface),
        // A guest, in which nothing is captured: at the link of its interface.
        None => {
            Place::Inside(link_of(&lab, node, &interface).ok_or_else(|| not_there(client, part))?)
        }
    })
}

/// The link that ends at an interface.
fn link_of(lab: &Lab, node: &str, interface: &IfName) -> Option<String> {
    let node = lab.nodes.iter().find(|known| known.name == node)?;
    let is_it = |own: &&adit_topology::report::Interface| own.name == interface.to_string();
    node.interfaces.iter().find(is_it).map(|own| own.link.clone())
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
    /// Begins: enters the namespace for good, as its owner, or has the lab write into a pipe. This process must have a
    /// single thread.
    ///
    /// # Errors
    /// The lab is another user's, or has ended.
    pub fn begin(self, client: &Client) -> Result<Source> {
        match self {
            Self::Interface(net, interface) => {
                let entered = Netns::open(&net).and_then(|net| net.enter_as_owner());
                let failed = |error| Error::io("enter", "the network of the node", &error);
                entered.map_err(failed)?;
                Ok(Source::Interface(interface))
            }
            Self::Inside(link) => copies(client, &link).map(Source::Pipe),
        }
    }
}

/// A pipe with copies of the packets of a link. The lab ends it when its reader has gone, and it ends with the lab.
fn copies(client: &Client, link: &str) -> Result<PathBuf> {
    let failed = |error: io::Error| Error::io("make", "a pipe for the packets", &error);
    let socket = client.name().socket_path();
    let path = socket.with_extension(format!("capture-{}", std::process::id()));
    let mode = Mode::RUSR | Mode::WUSR;
    mknodat(CWD, &path, FileType::Fifo, mode, 0).map_err(|errno| failed(errno.into()))?;
    // Without a reader the lab could not open it.
    let open = || rustix::fs::open(&path, OFlags::RDONLY | OFlags::NONBLOCK, Mode::empty());
    let opened = open().map_err(|errno| failed(errno.into()));
    let begun = opened.and_then(|reader| {
        let body = json!({ "file": path });
        let target = format!("/lab/links/{}/capture", escape(link));
        client.send(Method::Post, &target, &body)?;
        Ok(reader)
    });
    // Both ends are open.
    let _ = std::fs::remove_file(&path);
    let reader = begun?;
    // It is read by this path, for as long as the process lives.
    let path = PathBuf::from(format!("/proc/self/fd/{}", reader.as_raw_fd()));
    std::mem::forget(reader);
    Ok(path)
}
