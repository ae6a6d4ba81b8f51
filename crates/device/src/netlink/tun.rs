//! The report of the TUN/TAP driver through netlink.

use super::message::{attributes, read_u8, read_u32};
use super::uapi::{
    IFLA_TUN_GROUP, IFLA_TUN_MULTI_QUEUE, IFLA_TUN_NUM_DISABLED_QUEUES, IFLA_TUN_NUM_QUEUES,
    IFLA_TUN_OWNER, IFLA_TUN_PERSIST, IFLA_TUN_PI, IFLA_TUN_TYPE, IFLA_TUN_VNET_HDR,
};
use std::fmt;

/// The mode of a device: the layer that it works at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mode {
    /// Layer 3: IP packets.
    Tun,
    /// Layer 2: Ethernet frames.
    Tap,
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Tun => "tun",
            Self::Tap => "tap",
        })
    }
}

/// A TUN or TAP device as its driver reports it (`tun_fill_info` in Linux `drivers/net/tun.c`).
///
/// It is the only report of the packet-information mode: `TUNGETIFF` does not show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TunInfo {
    /// TUN or TAP.
    pub mode: Mode,
    /// The user who may attach without privileges, as an id of the reader's user namespace.
    pub owner: Option<u32>,
    /// The group that may attach without privileges.
    pub group: Option<u32>,
    /// Four bytes of packet information precede each packet.
    pub pi: bool,
    /// A virtio-net header precedes each packet.
    pub vnet_hdr: bool,
    /// The device outlives its last queue.
    pub persist: bool,
    /// Several queues may attach.
    pub multi_queue: bool,
    /// The number of enabled queues; reported for multi-queue devices only.
    pub queues: Option<u32>,
    /// The number of disabled queues; reported for multi-queue devices only.
    pub queues_disabled: Option<u32>,
}

impl TunInfo {
    /// Decodes the attributes in `IFLA_INFO_DATA`; `None` if they give neither TUN nor TAP.
    pub(super) fn decode(data: &[u8]) -> Option<Self> {
        let mut mode = None;
        let mut info = Self {
            mode: Mode::Tun,
            owner: None,
            group: None,
            pi: false,
            vnet_hdr: false,
            persist: false,
            multi_queue: false,
            queues: None,
            queues_disabled: None,
        };
        let flag = |value| read_u8(value).is_some_and(|flag| flag != 0);
        for (kind, value) in attributes(data) {
            match kind {
                IFLA_TUN_TYPE => {
                    mode = match read_u8(value) {
                        Some(1) => Some(Mode::Tun),
                        Some(2) => Some(Mode::Tap),
                        _ => None,
                    }
                }
                IFLA_TUN_OWNER => info.owner = read_u32(value),
                IFLA_TUN_GROUP => info.group = read_u32(value),
                IFLA_TUN_PI => info.pi = flag(value),
                IFLA_TUN_VNET_HDR => info.vnet_hdr = flag(value),
                IFLA_TUN_PERSIST => info.persist = flag(value),
                IFLA_TUN_MULTI_QUEUE => info.multi_queue = flag(value),
                IFLA_TUN_NUM_QUEUES => info.queues = read_u32(value),
                IFLA_TUN_NUM_DISABLED_QUEUES => info.queues_disabled = read_u32(value),
                _ => {}
            }
        }
        mode.map(|mode| Self { mode, ..info })
    }
}

crate::wire_enum! { Mode { 0 = Tun, 1 = Tap } }
