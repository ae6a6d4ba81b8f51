//! The configuration of a switch and its ports: plain data.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use adit_packet::{IpPrefix, MacAddr, ether_type};

use crate::endpoint::PortId;
use crate::switch::vlan::{VlanId, VlanSet};

/// The configuration of a switch.
///
/// Later versions may add fields: build it with `..SwitchConfig::default()`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SwitchConfig {
    /// The time after which a learned address without traffic expires: at least 1 s.
    pub ageing: Duration,
    /// The size of the address table, static addresses included: at most [`Self::FDB_LIMIT_MAX`].
    /// It cannot be changed later.
    pub fdb_limit: usize,
    /// How often per second an address may move to another port. After that it stays at its previous
    /// port for the rest of the second.
    pub moves_per_second: u8,
    /// The loop guard.
    pub loop_guard: LoopGuardConfig,
    /// Whether frames may pass by the switch.
    pub accelerate: Accelerate,
    /// Port mirrors: at most [`Self::MIRRORS_MAX`].
    pub mirrors: Vec<Mirror>,
    /// A secret random number, unique to this switch. It gives the switch its name in loop probes, and
    /// keys the hash of the address table, so that no host can cause collisions. It cannot be changed
    /// later.
    pub seed: u64,
}

impl SwitchConfig {
    /// The maximum number of ports: a broadcast to all of them fills a sixteenth of an
    /// [`Outbox`](crate::Outbox).
    pub const PORTS_MAX: usize = 1024;
    /// The maximum size of the address table: 64 MiB of memory.
    pub const FDB_LIMIT_MAX: usize = 1 << 20;
    /// The maximum number of mirrors: every frame of a mirrored port checks each of them.
    pub const MIRRORS_MAX: usize = 32;
}

impl Default for SwitchConfig {
    fn default() -> Self {
        Self {
            ageing: Duration::from_secs(300), // 802.1Q, table 8-6
            fdb_limit: 8192,
            moves_per_second: 5,
            loop_guard: LoopGuardConfig::default(),
            accelerate: Accelerate::default(),
            mirrors: Vec::new(),
            seed: 0,
        }
    }
}

/// Whether frames that the switch only forwards may pass by it, through the kernel
/// ([`fast_path`](crate::fast_path)).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Accelerate {
    /// Where that is possible.
    #[default]
    Auto,
    /// Nowhere.
    Off,
    /// As with [`Self::Auto`]. The switch's owner fails where it is not possible.
    Require,
}

/// How loops are detected, and how long a port stays blocked.
///
/// Later versions may add fields: build it with `..LoopGuardConfig::default()`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoopGuardConfig {
    /// Whether to block a port on which a loop shows.
    pub enabled: bool,
    /// The interval of probes on each port, at least 10 ms. A loop is detected after at most two.
    pub probe_interval: Duration,
    /// Port changes of an address per second that count as flapping.
    pub flaps_per_second: u8,
    /// The time for which a port is blocked before a retry. It doubles while the loop persists.
    pub hold: Duration,
    /// The maximum time between two retries.
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

/// The configuration of a port. The default forwards everything and checks nothing.
///
/// Later versions may add fields: build it with `..PortConfig::default()`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortConfig {
    /// The VLANs that it carries, and their tags.
    pub vlan: VlanMode,
    /// Isolated ports exchange no frames with each other. Frames for unknown addresses are not flooded
    /// to them.
    pub isolated: bool,
    /// Ports of one group exchange no frames (split horizon).
    pub group: Option<GroupId>,
    /// An address learned here does not expire while the port is up, and no other port may use it. An
    /// address that moved here becomes sticky after 30 s.
    pub sticky: bool,
    /// Frames for the reserved addresses 01:80:c2:00:00:0x (BPDU, LACP, LLDP, 802.1X) are flooded between
    /// ports that have this set, as the cables of a lab would. Without it, and pause frames always, they
    /// are dropped.
    pub forward_reserved: bool,
    /// The maximum number of addresses learned here.
    pub fdb_limit: usize,
    /// The checks of ingress frames.
    pub guard: GuardConfig,
    /// The rate limits of flooded ingress frames.
    pub storm: StormConfig,
}

impl Default for PortConfig {
    fn default() -> Self {
        Self {
            vlan: VlanMode::Transparent,
            isolated: false,
            group: None,
            sticky: false,
            forward_reserved: false,
            fdb_limit: 1024,
            guard: GuardConfig::default(),
            storm: StormConfig::default(),
        }
    }
}

/// The number of a group of ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupId(pub u16);

/// The VLANs of a port, and their tags.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum VlanMode {
    /// All VLANs, unchanged. Tagged frames keep their tags and are separated by the outer one. Untagged
    /// frames form a network of their own, which only transparent ports share.
    #[default]
    Transparent,
    /// One VLAN, untagged. A tagged ingress frame is dropped; a priority tag is removed.
    Access(VlanId),
    /// Several VLANs, tagged except one.
    Trunk(Trunk),
    /// One provider VLAN (`QinQ`): every ingress frame, tagged or not, gets a service tag (0x88a8) in front.
    /// It is removed at egress.
    Tunnel(VlanId),
}

/// The VLANs of a trunk port.
///
/// Source: IEEE 802.1Q, 6.9 and 8.8; `bridge vlan` of iproute2 has the same parts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trunk {
    /// The VLANs that it carries tagged. Frames of other VLANs are dropped.
    pub tagged: VlanSet,
    /// The VLANs that leave it untagged, usually the native one.
    pub untagged: VlanSet,
    /// The VLAN of untagged ingress frames; `None` drops them.
    pub pvid: Option<VlanId>,
    /// The kind of tag that it reads and writes. Tags of the other kind are payload.
    pub tag: TagKind,
}

impl Trunk {
    /// Creates a trunk that carries `allowed` tagged and `native` untagged.
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

/// The checks of ingress frames. The default accepts everything.
///
/// The checks cannot be bypassed by encapsulation: with any check enabled, fragments, extension headers,
/// nested tags and LLC/SNAP frames that would hide the contents are dropped.
///
/// Later versions may add fields: build it with `..GuardConfig::default()`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GuardConfig {
    /// The allowed source MAC addresses; empty allows all. At most [`Self::LIST_MAX`].
    pub macs: Vec<MacAddr>,
    /// The allowed source IP addresses; empty allows all. At most [`Self::LIST_MAX`].
    ///
    /// The list applies to both families: without an IPv6 prefix no IPv6 passes. List link-local addresses
    /// as well. Messages by which a host gets its address always pass: DHCP from 0.0.0.0, and from
    /// `::` duplicate address detection for a listed address, router solicitations and multicast listener
    /// reports.
    pub addresses: Vec<IpPrefix>,
    /// Requires the frame's MAC address and a listed IP address in ARP messages.
    pub arp: bool,
    /// Requires the frame's MAC address and a listed IP address in neighbour discovery.
    pub nd: bool,
    /// Drops messages of DHCP servers, v4 and v6.
    pub no_dhcp_server: bool,
    /// Drops router advertisements and redirects.
    pub no_router: bool,
}

impl GuardConfig {
    /// The maximum length of a list, which is searched from its start for every frame.
    pub const LIST_MAX: usize = 64;
}

/// The rate limits of flooded ingress frames; `None` is unlimited.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StormConfig {
    /// Broadcast frames.
    pub broadcast: Option<StormRate>,
    /// Multicast frames.
    pub multicast: Option<StormRate>,
    /// Unicast frames for an unknown address.
    pub unknown_unicast: Option<StormRate>,
}

/// A rate of frames. A super-packet counts as many times as it has segments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StormRate {
    /// The average rate in frames per second; 0 drops all.
    pub frames_per_second: u32,
    /// The maximum burst in frames: at least 1.
    pub burst: u32,
}

/// A port mirror: sends copies of frames to an observer.
///
/// Later versions may add fields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mirror {
    /// The destination of the copies. If it is a port of the switch, that port gets nothing else, and its
    /// ingress frames are dropped.
    pub to: PortId,
    /// The mirrored ports; empty for all.
    pub ports: Vec<PortId>,
    /// The mirrored direction.
    pub direction: MirrorDirection,
    /// The filter of copied frames.
    pub filter: MirrorFilter,
    /// The maximum length of a copy in bytes. In a truncated copy,
    /// [`Meta::truncated`](adit_packet::Meta::truncated) is the number of missing bytes, and the virtio-net header is
    /// empty.
    pub truncate: Option<usize>,
}

/// The direction that a mirror copies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum MirrorDirection {
    /// Ingress frames, unmodified, including those that the switch drops.
    Ingress,
    /// Egress frames, as they leave.
    Egress,
    /// Both. A frame between two mirrored ports is copied twice.
    #[default]
    Both,
}

/// The filter of a mirror.
#[derive(Clone, Debug, Default)]
pub enum MirrorFilter {
    /// All frames.
    #[default]
    All,
    /// Frames that match every given part.
    Match(FrameMatch),
    /// Frames that the program accepts, truncated to the length that it returns.
    Program(Arc<dyn FrameFilter>),
}

/// Two programs are equal if they are the same object.
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

/// A frame pattern; `None` matches anything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct FrameMatch {
    /// The VLAN of its outer tag.
    pub vlan: Option<VlanId>,
    /// Its source or destination MAC address.
    pub mac: Option<MacAddr>,
    /// Its `EtherType`, after the tags.
    pub ether_type: Option<u16>,
    /// Its IP protocol.
    pub protocol: Option<u8>,
    /// Its source or destination port (TCP, UDP).
    pub port: Option<u16>,
}

/// A program that selects frames, e.g. classic BPF.
pub trait FrameFilter: fmt::Debug + Send + Sync {
    /// The number of bytes of `frame` to copy: 0 rejects it, more than its length copies all.
    fn keep(&self, frame: &[u8]) -> usize;
}
