//! Rare news from a switch, for its owner to log.

use alloc::collections::VecDeque;
use core::fmt;

use adit_packet::MacAddr;

use crate::drop_reason::DropReason;
use crate::endpoint::PortId;
use crate::switch::vlan::VlanId;

/// An event for the owner of a switch. Repeated events of a port are reported once per second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SwitchEvent {
    /// A port was blocked because of a loop.
    PortBlocked {
        /// The port.
        port: PortId,
        /// How the loop was detected.
        cause: LoopCause,
    },
    /// The loop is gone; the port forwards again.
    PortUnblocked {
        /// The port.
        port: PortId,
    },
    /// An address moved to another port.
    MacMoved {
        /// Its VLAN.
        vlan: Option<VlanId>,
        /// The address.
        mac: MacAddr,
        /// Its previous port.
        from: PortId,
        /// Its port now.
        to: PortId,
    },
    /// A port used an address that is static or sticky on another port, or that flaps between this port
    /// and its home.
    MacRefused {
        /// Its VLAN.
        vlan: Option<VlanId>,
        /// The address.
        mac: MacAddr,
        /// The port that owns it.
        owner: PortId,
        /// The port that used it.
        port: PortId,
    },
    /// A port reached its limit of learned addresses.
    PortLimit {
        /// The port.
        port: PortId,
        /// Its limit.
        limit: usize,
    },
    /// The address table is full: further addresses are not learned.
    TableFull,
    /// A port exceeded its limit of flooded frames.
    Storm {
        /// The port.
        port: PortId,
        /// The kind of frames.
        kind: StormKind,
    },
    /// A guard dropped a frame.
    Guarded {
        /// The port.
        port: PortId,
        /// The source of the frame.
        mac: MacAddr,
        /// The guard.
        reason: DropReason,
    },
    /// This many events were lost, because the owner did not take them.
    Lost(u64),
}

impl fmt::Display for SwitchEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::PortBlocked { port, cause } => write!(f, "port {port} blocked: {cause}"),
            Self::PortUnblocked { port } => write!(f, "port {port} unblocked: the loop is gone"),
            Self::MacMoved { vlan, mac, from, to } => {
                write!(f, "{mac}{} moved from port {from} to port {to}", InVlan(vlan))
            }
            Self::MacRefused { vlan, mac, owner, port } => {
                write!(
                    f,
                    "{mac}{} refused on port {port}: it belongs to port {owner}",
                    InVlan(vlan)
                )
            }
            Self::PortLimit { port, limit } => {
                write!(f, "port {port} has reached its limit of {limit} learned addresses")
            }
            Self::TableFull => f.write_str("the address table is full"),
            Self::Storm { port, kind } => write!(f, "storm of {kind} on port {port}"),
            Self::Guarded { port, mac, reason } => {
                write!(f, "frame from {mac} dropped on port {port}: {reason}")
            }
            Self::Lost(count) => write!(f, "{count} events lost"),
        }
    }
}

struct InVlan(Option<VlanId>);

impl fmt::Display for InVlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |vlan| write!(f, " in vlan {vlan}"))
    }
}

/// How a loop was detected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoopCause {
    /// A probe returned.
    Probe {
        /// The port that sent the probe; the blocked port itself if the loop is behind it.
        other: PortId,
    },
}

impl fmt::Display for LoopCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Probe { other } => write!(f, "a probe sent by port {other} came back"),
        }
    }
}

/// The kinds of flooded frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StormKind {
    /// Broadcast.
    Broadcast,
    /// Multicast.
    Multicast,
    /// Unicast to an unknown address.
    UnknownUnicast,
}

impl fmt::Display for StormKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Broadcast => "broadcast",
            Self::Multicast => "multicast",
            Self::UnknownUnicast => "unknown unicast",
        })
    }
}

/// A bounded queue of events.
#[derive(Debug)]
pub(super) struct Events {
    queue: VecDeque<SwitchEvent>,
    lost: u64,
}

impl Events {
    /// A second of all kinds of events from 30 ports.
    const MAX: usize = 256;

    pub(super) fn new() -> Self {
        Self { queue: VecDeque::with_capacity(Self::MAX), lost: 0 }
    }

    pub(super) fn push(&mut self, event: SwitchEvent) {
        if self.queue.len() < Self::MAX {
            self.queue.push_back(event);
        } else {
            self.lost += 1;
        }
    }

    pub(super) fn pop(&mut self) -> Option<SwitchEvent> {
        self.queue.pop_front().or_else(|| match core::mem::take(&mut self.lost) {
            0 => None,
            lost => Some(SwitchEvent::Lost(lost)),
        })
    }
}
