//! A network namespace as people write it.

use crate::error::{Error, NETNS, Result};
use adit_device::Netns;

/// The namespace that a user means: a path has a slash, a process id is a number, all else a name.
pub fn open_netns(text: &str) -> Result<Netns> {
    let opened = if text.contains('/') {
        Netns::open(text)
    } else {
        // A namespace may have a number for a name, which then goes first.
        match (Netns::named(text), text.parse()) {
            (Err(_), Ok(pid)) => Netns::of_pid(pid),
            (named, _) => named,
        }
    };
    opened.map_err(|error| netns_error("open", text, &error))
}

/// A failure to `what` a namespace.
#[must_use]
pub fn netns_error(what: &str, name: &str, error: &std::io::Error) -> Error {
    Error::io(what, format_args!("network namespace '{name}'"), error)
        .code(&NETNS)
        .object(name)
        .hint(NETNS.remedy)
}
