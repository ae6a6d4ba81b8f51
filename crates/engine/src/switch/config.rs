//! What a switch and its ports are to be: plain data.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use adit_packet::{IpPrefix, MacAddr, ether_type};

use crate::endpoint::PortId;
use crate::switch::vlan::{VlanId, VlanSet};

/// What a switch is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SwitchConfig {
    /// How long a learned address is kept without a frame from it: at least 1 s.
    pub ageing: Duration,
    /// How many addresses are kept in all, static ones included: at most [`Self::FDB_LIMIT_MAX`].
    /// It is fixed when the switch is made.
    pub fdb_limit: usize,
    /// So many times in a second an address may move to another port; then it stays where it was
    /// before until a second has passed.
    pub moves_per_second: u8,
    /// Whether and how loops are found.
    pub loop_guard: LoopGuardConfig,
    /// Copies of frames for somebody who watches: at most [`Self::MIRRORS_MAX`].
    pub mirrors: Vec<Mirror>,
    /// A secret random number of this switch: of it are made its name in probes for loops, which
    /// two switches must not share, and the places of the addresses in its table, which nobody may
    /// foresee. It is fixed when the switch is made.
    pub seed: u64,
}

impl SwitchConfig {
    /// The most ports: a broadcast on all of them fills a sixteenth of an
    /// [`Outbox`](crate::Outbox).
    pub const PORTS_MAX: usize = 1024;
    /// The most addresses that a table may be made for: 64 MiB of memory.
    pub const FDB_LIMIT_MAX: usize = 1 << 20;
    /// The most mirrors: each is looked at for every frame of its ports.
    pub const MIRRORS_MAX: usize = 32;
}

impl Default for SwitchConfig {
    fn default() -> Self {
        Self {
            ageing: Duration::from_secs(300), // 802.1Q, table 8-6
            fdb_limit: 8192,
            moves_per_second: 5,
            loop_guard: LoopGuardConfig::default(),
            mirrors: Vec::new(),
            seed: 0,
        }
    }
}

/// How loops are found and what is done about them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoopGuardConfig {
    /// Whether a port on which a loop shows is blocked.
    pub enabled: bool,
    /// How often a probe leaves each port; a loop shows after two of them at the latest. At least
    /// 10 ms.
    pub probe_interval: Duration,
    /// So many times in a second an address may appear on another port than before: then that is a
    /// loop.
    pub flaps_per_second: u8,
    /// How long a port stays blocked before it is tried again; twice as long each time that the
    /// loop is still there.
    pub hold: Duration,
    /// The longest that a port stays blocked before it is tried again.
    pub hold_max: Duration,
}

impl Default for LoopGuardConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            probe_interval: Duration::from_millis(400),
            flaps_per_second: 20,
            hold: Duration::from_secs(10),
            hold_max: Duration::from_secs(300),
        }
    }
}

/// What a port is to be. The default takes part in everything and checks nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortConfig {
    /// Which VLANs it carries and how.
    pub vlan: VlanMode,
    /// Isolated ports exchange no frame with each other, and get unicast for themselves only: what
    /// is for an unknown address is not flooded to them.
    pub isolated: bool,
    /// No frame goes from one port of a group to another of it (split horizon).
    pub group: Option<GroupId>,
    /// An address learned here is kept until the port goes down, and no other port may use it. One
    /// that comes from another port becomes so when it has been here for 30 s.
    pub sticky: bool,
    /// How many addresses may be learned here.
    pub fdb_limit: usize,
    /// What may come in here.
    pub guard: GuardConfig,
    /// How much may come in here of what is flooded.
    pub storm: StormConfig,
}

impl Default for PortConfig {
    fn default() -> Self {
        Self {
            vlan: VlanMode::Transparent,
            isolated: false,
            group: None,
            sticky: false,
            fdb_limit: 1024,
            guard: GuardConfig::default(),
            storm: StormConfig::default(),
        }
    }
}

/// The number of a group of ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupId(pub u16);

/// Which VLANs a port carries and how.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum VlanMode {
    /// All of them, as they come: tagged frames keep their tags and are kept apart by the outer one,
    /// untagged frames are in a network of their own, which only transparent ports share.
    #[default]
    Transparent,
    /// One VLAN, untagged. A frame that comes in tagged is dropped; a priority tag is taken off.
    Access(VlanId),
    /// Several VLANs, tagged but for one.
    Trunk(Trunk),
    /// One provider VLAN (`QinQ`): what comes in, tagged or not, gets a service tag (0x88a8) in
    /// front; it is taken off again when it leaves here.
    Tunnel(VlanId),
}

/// A port for several VLANs.
///
/// Source: IEEE 802.1Q, 6.9 and 8.8; `bridge vlan` of iproute2 has the same parts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trunk {
    /// The VLANs that it carries tagged. Frames of others are dropped.
    pub tagged: VlanSet,
    /// The VLANs that leave it untagged, most often the native one alone.
    pub untagged: VlanSet,
    /// The VLAN of frames that come in untagged; `None` drops them.
    pub pvid: Option<VlanId>,
    /// The kind of tag that it reads and writes; one of another kind is payload.
    pub tag: TagKind,
}

impl Trunk {
    /// A trunk that carries `allowed` tagged, but `native` untagged.
    #[must_use]
    pub fn new(mut allowed: VlanSet, native: Option<VlanId>) -> Self {
        native.into_iter().for_each(|vlan| allowed.remove(vlan));
        let untagged = native.into_iter().collect();
        Self { tagged: allowed, untagged, pvid: native, tag: TagKind::Customer }
    }
}

/// The kind of a VLAN tag.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum TagKind {
    /// 0x8100 (802.1Q).
    #[default]
    Customer,
    /// 0x88a8 (802.1ad).
    Service,
}

impl TagKind {
    /// The `EtherType` of such a tag.
    #[must_use]
    pub const fn tpid(self) -> u16 {
        match self {
            Self::Customer => ether_type::VLAN,
            Self::Service => ether_type::SERVICE_VLAN,
        }
    }
}

/// What may come in at a port. The default lets everything in.
///
/// The checks are one stage and none is a way around another: fragments, extension headers, tags in
/// tags and LLC/SNAP frames that would hide what is inside are dropped if something is guarded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GuardConfig {
    /// The source MAC addresses that may be used; empty: any. At most [`Self::LIST_MAX`].
    pub macs: Vec<MacAddr>,
    /// The source IP addresses that may be used; empty: any. At most [`Self::LIST_MAX`].
    ///
    /// The list is for both families: without an IPv6 prefix there is no IPv6. Link-local
    /// addresses are to be listed as well. What a host needs to get an address always passes: DHCP
    /// from 0.0.0.0; from `::` the check for duplicates of a listed address, router solicitations
    /// and multicast listener reports.
    pub addresses: Vec<IpPrefix>,
    /// ARP messages must bear the frame's MAC address and a listed IP address.
    pub arp: bool,
    /// Neighbour discovery must bear the frame's MAC address and a listed IP address.
    pub nd: bool,
    /// No messages of a DHCP server, v4 or v6.
    pub no_dhcp_server: bool,
    /// No router advertisements and redirects.
    pub no_router: bool,
}

impl GuardConfig {
    /// The most entries of a list, which is read from its start for every frame.
    pub const LIST_MAX: usize = 64;
}

/// How much of what is flooded may come in at a port; `None`: any amount.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StormConfig {
    /// Frames for all.
    pub broadcast: Option<StormRate>,
    /// Frames for a multicast group.
    pub multicast: Option<StormRate>,
    /// Frames for an address that is on no port yet.
    pub unknown_unicast: Option<StormRate>,
}

/// A rate of frames; a super-packet counts as the frames that it stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StormRate {
    /// Frames in a second in the long run; 0 lets none in.
    pub frames_per_second: u32,
    /// Frames at once after a pause: at least 1.
    pub burst: u32,
}

/// Copies of frames that go to somebody who watches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mirror {
    /// Where the copies go. It need not be a port of the switch; if it is, it gets nothing else, and
    /// what comes in there is dropped.
    pub to: PortId,
    /// The ports that are watched; empty: all.
    pub ports: Vec<PortId>,
    /// What of them is watched.
    pub direction: MirrorDirection,
    /// Which of these frames are copied.
    pub filter: MirrorFilter,
    /// How many bytes of a frame are copied at most. Of a frame that was cut the copy's
    /// [`Meta::cut`](adit_packet::Meta::truncated) says how many bytes are missing, and its virtio-net
    /// header is empty.
    pub truncate: Option<usize>,
}

/// Which way of a port a mirror watches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum MirrorDirection {
    /// What comes in, as it came, also what is then dropped.
    Ingress,
    /// What goes out, as it goes.
    Egress,
    /// Both: a frame between two watched ports is copied twice.
    #[default]
    Both,
}

/// Which frames a mirror copies.
#[derive(Clone, Debug, Default)]
pub enum MirrorFilter {
    /// All.
    #[default]
    All,
    /// Those that agree with every part that is given.
    Match(FrameMatch),
    /// Those of which the program keeps something, and so much of them.
    Program(Arc<dyn FrameFilter>),
}

/// Two programs are equal if they are one and the same.
impl PartialEq for MirrorFilter {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::All, Self::All) => true,
            (Self::Match(ours), Self::Match(theirs)) => ours == theirs,
            (Self::Program(ours), Self::Program(theirs)) => Arc::ptr_eq(ours, theirs),
            _ => false,
        }
    }
}

impl Eq for MirrorFilter {}

/// What a frame must have; `None` is anything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct FrameMatch {
    /// The VLAN of its outer tag.
    pub vlan: Option<VlanId>,
    /// Its source or its destination.
    pub mac: Option<MacAddr>,
    /// Its type after the tags.
    pub ether_type: Option<u16>,
    /// Its protocol above IP.
    pub protocol: Option<u8>,
    /// Its source or its destination port (TCP, UDP).
    pub port: Option<u16>,
}

/// A program that chooses frames, e.g. classic BPF.
pub trait FrameFilter: fmt::Debug + Send + Sync {
    /// How many bytes of `frame` to copy: 0 for none, more than it has for all.
    fn keep(&self, frame: &[u8]) -> usize;
}
