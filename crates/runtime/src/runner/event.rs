//! What a loop reports beside packets.

use crate::netem::PortNetem;
use crate::port::{Gone, Port, PortCounters};
use crate::runner::hubs::ListenerId;
use crate::wake::reactor::Token;
use crate::wake::signals::Signal;
use adit_engine::PortId;
use std::io;
use std::net::SocketAddr;

/// Whether the loop continues after an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// It continues.
    Continue,
    /// It stops: [`Runner::run`](crate::Runner::run) returns.
    Stop,
}

/// Something that happened beside packets.
#[derive(Debug)]
pub enum Event {
    /// A port ended and is detached already; the engine still knows it. Reported once a port.
    PortGone {
        /// The port.
        port: PortId,
        /// Why.
        why: Gone,
        /// The emulated links that it had.
        netem: PortNetem,
        /// What went through it.
        counters: PortCounters,
    },
    /// The link of a port went down: nothing passes until it is up.
    PortDown(PortId),
    /// The link of a port came up.
    PortUp(PortId),
    /// A new port at a listener: attach it, or drop it to refuse it.
    Accepted(ListenerId, Box<dyn Port>),
    /// A listener accepts nothing for a while: the process has no descriptor left. Reported once until it
    /// accepts again.
    AcceptPaused(io::Error),
    /// A listener failed for good and is closed.
    ListenerGone(ListenerId, io::Error),
    /// A descriptor given to [`Runner::watch`](crate::Runner::watch) is ready.
    Ready(Token),
    /// The path to a peer takes no UDP payload longer than this; longer ones are lost.
    TooBig {
        /// The peer.
        to: SocketAddr,
        /// Bytes after the UDP header.
        len_max: usize,
    },
    /// A signal came.
    Signal(Signal),
    /// The time given to [`Runner::set_alarm`](crate::Runner::set_alarm) has come.
    Alarm,
}
