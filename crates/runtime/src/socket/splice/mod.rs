//! Flows whose bytes the kernel moves: a socket of the host joined to one of the engine's client.
//!
//! ```text
//! Request::Splice   the flow waits in `offered`, under the two addresses of its client's connection
//! Listener          accepts that connection: an address of its own is not needed, for it is transparent
//! Joint             the two sockets; splice(2) moves bytes from one to a pipe and from there to the other
//! ```
//!
//! **End.** Both sockets have a linger time of 0 for as long as they are joined: if one fails, or this process
//! is killed, both ends see a RST and never a stream that seems complete. FIN passes as FIN.
//!
//! **Pipes** belong to a direction only while they hold bytes that its receiver has no room for, so idle
//! connections have none. Where no more pipes may be opened, bytes are copied: they stay in the sender's socket
//! until the receiver has taken them.

mod joint;
mod listener;
mod pipes;
#[cfg(test)]
mod tests;
mod way;

pub(crate) use joint::{Joint, Turn};
pub(crate) use listener::{Ends, Listener};
pub(crate) use pipes::Pipes;

use crate::socket::tcp_flow::TcpFlow;
use std::collections::HashMap;

/// The system calls of these files.
pub(crate) const SYSCALLS: &[&str] = &[
    "accept4",
    "fcntl",
    "getsockname",
    "getsockopt",
    "ioctl",
    "pipe2",
    "recvfrom",
    "sendto",
    "setsockopt",
    "shutdown",
    "splice",
];

/// A flow that waits for the connection of its client.
#[derive(Debug)]
pub(crate) struct Offered {
    pub(crate) tcp: Box<TcpFlow>,
    pub(crate) ends: Ends,
}

/// What all spliced flows share.
#[derive(Debug, Default)]
pub(crate) struct Splices {
    pub(crate) listener: Option<Listener>,
    /// Slots of flows that wait.
    pub(crate) offered: HashMap<Ends, u32>,
    pub(crate) pipes: Pipes,
    /// Those that have ended.
    pub(crate) past: SpliceCounts,
}

/// What spliced flows moved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SpliceCounts {
    /// How many connections there were.
    pub connections: u64,
    /// Bytes from the engine's clients.
    pub sent: u64,
    /// Bytes to the engine's clients.
    pub received: u64,
}

impl SpliceCounts {
    pub(crate) fn add(&mut self, joint: &Joint) {
        let (sent, received) = joint.moved();
        self.connections += 1;
        self.sent += sent;
        self.received += received;
    }
}
