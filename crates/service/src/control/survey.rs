//! All control sockets of the machine that this user can find, whether their programs answer or not.

use crate::control::client::{Client, Instance, LIST_WITHIN};
use crate::control::name::{self, Name};
use crate::error::Result;
use adit_host::name::folders;
use std::path::PathBuf;

/// A control socket.
#[derive(Debug)]
pub struct Found {
    /// The name of its program.
    pub name: Name,
    /// Where the socket is.
    pub path: PathBuf,
    /// What the program says of itself; the error if it does not answer.
    pub about: Result<Instance>,
}

impl Found {
    /// Asks the program, for a short time: one of many may be stopped.
    #[must_use]
    pub fn client(&self) -> Client {
        Client::within(self.name.clone(), self.path.clone(), LIST_WITHIN)
    }
}

/// All control sockets, in the order of their folders and names.
#[must_use]
pub fn survey() -> Vec<Found> {
    let sockets = folders().into_iter().flat_map(|folder| {
        let names = name::names_in(&folder).into_iter();
        names.map(move |name| (name.socket_in(&folder), name))
    });
    sockets
        .map(|(path, name)| {
            let client = Client::within(name.clone(), path.clone(), LIST_WITHIN);
            Found { about: client.about(), name, path }
        })
        .collect()
}
