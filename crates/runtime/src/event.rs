//! What the loop tells its owner.

use crate::netem::PortNetem;
use crate::port::Port;
use crate::runner::{ListenerId, Runner};
use adit_engine::{Engine, PortId};
use std::fmt;
use std::io;
use std::net::SocketAddr;

/// Who owns a loop: is told what happens, between two batches, on the loop's thread.
pub trait Handler<E: Engine> {
    /// Takes notice of an event. It must not wait: while it does, no packet moves.
    fn event(&mut self, runner: &mut Runner<E>, event: Event) -> Flow;

    /// Is called once each turn: whoever's engine has news polls it here. It must not wait either.
    fn turn(&mut self, runner: &mut Runner<E>) {
        let _ = runner;
    }
}

/// Whether the loop goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// It does.
    Continue,
    /// It ends: [`Runner::run`] returns.
    Stop,
}

/// Something that happened beside packets.
#[derive(Debug)]
pub enum Event {
    /// A port ended and is detached already; the engine still knows it. Told once a port.
    PortGone {
        /// Which.
        port: PortId,
        /// Why.
        why: Gone,
        /// The links that it had.
        netem: PortNetem,
    },
    /// The link of a port went down: nothing goes through until it is up.
    PortDown(PortId),
    /// The link of a port came up.
    PortUp(PortId),
    /// Somebody new at a listener: the port is to be attached, or dropped to refuse it.
    Accepted(ListenerId, Port),
    /// A listener takes nobody for a while: the process has no descriptor left. Told once until it
    /// works again.
    AcceptPaused(io::Error),
    /// A listener failed for good and is closed.
    ListenerGone(ListenerId, io::Error),
    /// A descriptor given to [`Runner::watch`] is ready.
    Ready(Token),
    /// The path to a peer takes no UDP payload longer than this; what was longer is lost.
    TooBig {
        /// The peer.
        to: SocketAddr,
        /// Bytes after the UDP header.
        len_max: usize,
    },
    /// A signal came.
    Signal(Signal),
    /// The time given to [`Runner::set_alarm`] has come.
    Alarm,
}

/// Why a port ended.
#[derive(Debug)]
pub enum Gone {
    /// The device or interface was deleted.
    Deleted,
    /// Its network namespace was deleted.
    NamespaceDeleted,
    /// The other end closed the connection.
    Closed,
    /// A recording was played to its end.
    Played,
    /// The other end does not speak the protocol.
    Protocol(&'static str),
    /// Anything else.
    Failed(io::Error),
}

impl fmt::Display for Gone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Deleted => f.write_str("it was deleted"),
            Self::NamespaceDeleted => f.write_str("its network namespace was deleted"),
            Self::Closed => f.write_str("the other end closed the connection"),
            Self::Played => f.write_str("the recording is at its end"),
            Self::Protocol(what) => write!(f, "the other end sent {what}"),
            Self::Failed(error) => error.fmt(f),
        }
    }
}

/// The signals that a loop hears.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// SIGHUP: read the configuration again.
    Hangup,
    /// SIGINT.
    Interrupt,
    /// SIGTERM.
    Terminate,
    /// SIGUSR1: say how it goes.
    User1,
}

/// The name of a watched descriptor, chosen by who watches it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Token(pub u32);

/// What a watched descriptor is waited for, or is ready for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Interest {
    /// Something can be read; also when the other end has closed.
    pub readable: bool,
    /// There is room to write.
    pub writable: bool,
}
