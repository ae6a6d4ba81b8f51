//! Which running lab a command is about.

use crate::commands::running::ask;
use adit_lab::live::LAB;
use adit_service::control::client::Client;
use adit_service::control::name::Name;
use adit_service::error::{Error, Kind, Result};
use adit_topology::report::{Lab, Node};
use std::time::Duration;

/// The name of the lab that commands are about, in its nodes and in the command of 'adit lab run'.
pub(crate) const LAB_VARIABLE: &str = "ADIT_LAB";

/// Selects one of the running labs.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Which {
    /// The name of the lab, if several are running
    #[arg(short, long, value_name = "LAB")]
    lab: Option<Name>,
}

impl Which {
    /// The selected lab.
    pub(crate) fn client(self) -> Result<Client> {
        self.or_named(None)
    }

    /// Whether the command line names a lab.
    pub(crate) const fn is_given(&self) -> bool {
        self.lab.is_some()
    }

    /// Whether there is one lab that is meant.
    pub(crate) fn is_one(&self) -> bool {
        self.clone().client().is_ok()
    }

    /// The selected lab; `word` is its name, unless an option gives that.
    pub(crate) fn or_named(self, word: Option<Name>) -> Result<Client> {
        let of_environment = || std::env::var(LAB_VARIABLE).ok()?.parse().ok();
        Client::find(self.lab.or(word).or_else(of_environment), LAB)
    }
}

/// What a lab reports.
pub(crate) fn lab(client: &Client) -> Result<Lab> {
    ask(client, "/lab")
}

/// The nodes of a lab in which something can run.
pub(super) fn hosts(client: &Client) -> Result<Vec<Node>> {
    let report = lab(client)?;
    let hosts = report.nodes.into_iter().filter(|node| matches!(&*node.kind, "host" | "router"));
    Ok(hosts.collect())
}

/// The failure to find a node.
pub(super) fn unknown(node: &str, client: &Client) -> Error {
    let message = format!("'{}' has no node called '{node}'", client.name());
    Error::new(Kind::NotFound, &adit_lab::keeper::PART, message)
        .hint("List its parts: 'adit lab show'.")
}

/// Whether a request failed because the lab has ended. The lab closes its connections before its socket.
pub(super) fn has_ended(client: &Client, error: &Error) -> bool {
    if error.kind == Kind::NotFound {
        return true;
    }
    for _ in 0..20 {
        match client.get("/") {
            Ok(_) => return false,
            Err(error) if error.kind == Kind::NotFound => return true,
            Err(_) => std::thread::sleep(Duration::from_millis(50)),
        }
    }
    false
}
