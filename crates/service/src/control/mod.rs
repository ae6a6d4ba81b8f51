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
//! Who may ask: the user who runs the program, root, and the group of the socket (mode 0660); the
//! kernel reports the user (`SO_PEERCRED`).

pub mod client;
pub mod http;
pub mod name;
pub mod notify;
pub mod server;
pub mod socket;

#[cfg(test)]
mod tests;

use crate::error::{Entry, Error, Kind};

/// Another program has the name.
const TAKEN: Entry = Entry {
    code: "ADIT-E0822",
    title: "a program of that name is already running",
    explanation: "Each switch, link and tunnel has a name, by which its control socket is found. A second \
                  one of the same name would take the devices of the first.",
    remedy: "Stop the running one ('adit list' shows its kind), or choose another --name.",
};

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

/// The folder is no safe place.
pub const PLACE: Entry = Entry {
    code: "ADIT-E0825",
    title: "the folder for control sockets cannot be used",
    explanation: "Control sockets are in $XDG_RUNTIME_DIR/adit, and without that variable in \
                  /run/user/UID/adit, or in /run/adit if that user has no such folder. \
                  The folder must belong to this user or to root, and others must not be able to write \
                  to it.",
    remedy: "Set XDG_RUNTIME_DIR to a folder of your own, or run the program as root.",
};

/// The codes of control sockets.
pub const CATALOG: [Entry; 4] = [TAKEN, NOT_RUNNING, CONTROL, PLACE];

/// The kinds of failure by their numbers in the protocol, which are the exit statuses of the client.
const NUMBERS: [(Kind, u8); 7] = [
    (Kind::Usage, 2),
    (Kind::Permission, 3),
    (Kind::NotFound, 4),
    (Kind::Conflict, 5),
    (Kind::Timeout, 6),
    (Kind::Refused, 7),
    // Partly done: the error lists what was.
    (Kind::Refused, PARTLY),
];

/// The number of any failure after something was done.
const PARTLY: u8 = 8;

/// The number of a failure in the protocol.
#[must_use]
pub fn number_of(error: &Error) -> u8 {
    if !error.report.done.is_empty() {
        return PARTLY;
    }
    let number = NUMBERS.iter().find(|(kind, _)| *kind == error.kind).map(|(_, number)| *number);
    number.unwrap_or(7)
}

/// The kind of failure with this number.
#[must_use]
pub fn kind_of(number: u64) -> Option<Kind> {
    NUMBERS.iter().find(|(_, known)| u64::from(*known) == number).map(|(kind, _)| *kind)
}
