//! Rare news from a switch, for its owner to log.

use alloc::collections::VecDeque;
use core::fmt;

use adit_packet::MacAddr;

use crate::drop_reason::DropReason;
use crate::endpoint::PortId;
use crate::switch::vlan::VlanId;

/// What an owner of a switch may want to know. Notice that repeats itself is told once a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SwitchEvent {
    /// A port was blocked, for a loop shows on it.
    PortBlocked {
        /// The port.
        port: PortId,
        /// How it shows.
        cause: LoopCause,
    },
    /// The loop is gone and the port works again.
    PortUnblocked {
        /// The port.
        port: PortId,
    },
    /// An address appeared on another port.
    MacMoved {
        /// Its VLAN.
        vlan: Option<VlanId>,
        /// The address.
        mac: MacAddr,
        /// Where it was.
        from: PortId,
        /// Where it is.
        to: PortId,
    },
    /// A port used an address that is static or sticky on another one.
    MacRefused {
        /// Its VLAN.
        vlan: Option<VlanId>,
        /// The address.
        mac: MacAddr,
        /// Whose it is.
        owner: PortId,
        /// Who used it.
        port: PortId,
    },
    /// A port has as many learned addresses as it may: further ones are not learned.
    PortLimit {
        /// The port.
        port: PortId,
    },
    /// The table has as many addresses as it may: further ones are not learned.
    TableFull,
    /// More frames of a kind came in at a port than may be flooded.
    Storm {
        /// The port.
        port: PortId,
        /// Of which kind.
        kind: StormKind,
    },
    /// A guard of a port dropped a frame.
    Guarded {
        /// The port.
        port: PortId,
        /// The source of the frame.
        mac: MacAddr,
        /// Which guard.
        reason: DropReason,
    },
    /// So many events were lost here, for nobody took them.
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
            Self::PortLimit { port } => {
                write!(f, "port {port} has reached its limit of learned addresses")
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

/// How a loop shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoopCause {
    /// A probe that left by one of our ports came back.
    Probe {
        /// The port at the other end of the loop; the blocked one itself if the loop is behind it.
        other: PortId,
    },
    /// An address appears on one port and another in turn, too often for a host that moves.
    Flapping {
        /// Its VLAN.
        vlan: Option<VlanId>,
        /// The address.
        mac: MacAddr,
        /// The other port.
        other: PortId,
    },
}

impl fmt::Display for LoopCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Probe { other } => write!(f, "a probe sent by port {other} came back"),
            Self::Flapping { vlan, mac, other } => {
                write!(f, "{mac}{} flaps between this port and port {other}", InVlan(vlan))
            }
        }
    }
}

/// The kinds of frames that are flooded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StormKind {
    /// To all.
    Broadcast,
    /// To a group.
    Multicast,
    /// To an address that is on no port yet.
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

/// Events that nobody has taken yet: a bounded queue.
#[derive(Debug)]
pub(super) struct Events {
    queue: VecDeque<SwitchEvent>,
    lost: u64,
}

impl Events {
    /// A second of all kinds of news from some thirty ports.
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
