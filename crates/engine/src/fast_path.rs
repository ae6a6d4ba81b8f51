//! What an engine leaves to something faster than itself: a kernel that forwards frames between two of its
//! ports without asking.
//!
//! The engine decides and declares. It says what is the same for all frames that come in at a port
//! ([`FastPort`]), and which addresses are where ([`Station`]). A frame may pass by the engine if its source is
//! a declared station of its ingress port, its destination one of another port in the same VLAN, the two ports
//! may meet, and both declarations are of the present epoch. All other frames must be handled by the engine.
//!
//! What is declared may be withdrawn: a station by [`FastChange::Withdraw`], everything by another epoch. The
//! loop does both before it sends what the engine sent, so nobody sees an answer before the change.

use adit_packet::{Instant, MacAddr};
use core::time::Duration;

use crate::endpoint::PortId;

/// An engine that declares which frames need not be handled by it.
pub trait FastPath {
    /// The present epoch. A declaration of another epoch is void.
    fn epoch(&self) -> u64;

    /// What holds for frames that come in at a port; `None` if all of them must be handled.
    fn port(&self, id: PortId) -> Option<FastPort>;

    /// Whether frames from and to a port may pass by the engine at all; no port's may in the beginning.
    fn set_port(&mut self, id: PortId, on: bool);

    /// Takes the next declaration or withdrawal.
    fn next_change(&mut self) -> Option<FastChange>;

    /// Frames from that station have passed by, the last one at `at`.
    fn note_seen(&mut self, key: StationKey, port: PortId, at: Instant);

    /// Frames have passed by: at their ingress port, or at their egress port.
    fn note_passed(&mut self, id: PortId, ingress: Passed, egress: Passed);
}

/// What holds for all frames that come in at one port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FastPort {
    /// How their VLAN is found.
    pub tags: FastTags,
    /// They do not go to another port with this number.
    pub group: Option<u16>,
    /// They do not go to another isolated port.
    pub isolated: bool,
}

/// How the VLAN of a frame is found that comes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FastTags {
    /// It is that of the tag, of any type; 0 without a tag, or with one that has no VLAN.
    Any,
    /// It is this one. Frames with a tag must be handled.
    Access(u16),
    /// It is that of the tag. Frames with a tag of another type, or with one that has no VLAN, must be handled.
    Trunk {
        /// The type of the tag.
        tpid: u16,
        /// The VLAN without a tag; without one, the frame must be handled.
        pvid: Option<u16>,
    },
}

/// An address in a VLAN; 0 is the untagged network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StationKey {
    /// The VLAN.
    pub vlan: u16,
    /// The address.
    pub mac: MacAddr,
}

/// An address that frames may come from and go to without the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Station {
    /// The address.
    pub key: StationKey,
    /// Where it is.
    pub port: PortId,
    /// When a frame from it was last seen.
    pub seen: Instant,
    /// How long after that frames may go to it; `None` for ever.
    pub lifetime: Option<Duration>,
    /// How frames to it leave.
    pub form: FastForm,
}

/// How a frame leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FastForm {
    /// With the tag of its VLAN, of the type with which it came or of the ingress port; in VLAN 0 as it came.
    Kept,
    /// Without the tag of its VLAN.
    Untagged,
    /// With a tag of this type.
    Tagged(u16),
}

/// A change of what is declared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FastChange {
    /// This station, in the present epoch.
    Declare(Station),
    /// No longer that one.
    Withdraw(StationKey),
}

/// Frames that passed by an engine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Passed {
    /// How many; a super-packet counts as one.
    pub frames: u64,
    /// Their bytes with all tags.
    pub bytes: u64,
}
