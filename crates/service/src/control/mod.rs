//! How a running program is asked and told: JSON over HTTP/1.1 on a unix socket.
//!
//! ```text
//! program that runs                              program that asks
//! Name -> Claim (one of that name, or its PID)
//!         Server (fd for the loop's epoll)  <--  Client, or: curl --unix-socket /run/adit/lab.sock http://x/
//!           serve(|request| reply)
//! ```
//!
//! A server has one descriptor that becomes readable when there is something to do, also when a client
//! has been idle for too long, so any loop can have it beside its ports. It never blocks: a request,
//! its reply and the time for them are bounded, and a reader that takes nothing is dropped and counted.
//! What takes its time is answered later ([`Reply::Later`](server::Reply::Later)).
//!
//! Who may ask: root, the user who runs the program, and the group of the socket; others may read what is not
//! private. The kernel reports the user (`SO_PEERCRED`, `SO_PEERGROUPS`).

pub mod browser;
pub mod client;
mod connection;
pub mod http;
pub mod openapi;
pub mod page;
pub mod rights;
pub mod route;
pub mod server;
pub mod socket;
pub mod survey;

#[cfg(test)]
mod tests;

pub use adit_host::{name, notify};

use crate::error::Entry;
use adit_host::name::{PLACE, TAKEN};

/// The option of commands for the name of a running service of a kind.
fn option_of(kind: &str) -> &'static str {
    if kind == "lab" { "--lab" } else { "--name" }
}

/// Nobody listens.
const NOT_RUNNING: Entry = Entry {
    code: "ADIT-E0823",
    title: "no program of that name is running",
    explanation: "There is no control socket of that name in $XDG_RUNTIME_DIR/adit or /run/adit, or \
                  no program listens on it.",
    remedy: "List the running programs: 'adit list'.",
};

/// The other side does not speak as it should.
pub const CONTROL: Entry = Entry {
    code: "ADIT-E0824",
    title: "the running program cannot be reached",
    explanation: "The program exists, but it does not answer in time, refuses this user, is of another \
                  kind, or speaks another version of the protocol.",
    remedy: "",
};

/// The codes of control sockets.
pub const CATALOG: [Entry; 4] = [TAKEN, NOT_RUNNING, CONTROL, PLACE];
