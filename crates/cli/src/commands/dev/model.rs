//! The JSON of a device: the names of `ip -d -j link` where it has one.

use crate::commands::dev::holders::{Found, Holder};
use adit_device::IfIndex;
use adit_device::netlink::{Address, AddressFlags, LinkFlags, LinkInfo, LinkStats, TunInfo};
use schemars::JsonSchema;
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::Duration;

/// A TUN or TAP device.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[schemars(title = "a TUN or TAP device")]
pub(crate) struct Device {
    /// The interface index in its namespace.
    pub(crate) ifindex: u32,
    /// The name.
    pub(crate) ifname: String,
    /// UP, NO-CARRIER and the like.
    pub(crate) flags: Vec<String>,
    /// The IP MTU in bytes.
    pub(crate) mtu: u32,
    /// The queueing discipline.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) qdisc: Option<String>,
    /// The bridge of which it is a port.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) master: Option<String>,
    /// Whether packets pass (RFC 2863).
    pub(crate) operstate: String,
    /// Whether the kernel or a program moves it from dormant to up.
    pub(crate) linkmode: String,
    /// The group of links that it is in.
    pub(crate) group: String,
    /// Length of its queue towards the program, in packets.
    pub(crate) txqlen: u32,
    /// Its hardware type: `none` for TUN, `ether` for TAP.
    pub(crate) link_type: String,
    /// The hardware address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) address: Option<String>,
    /// Whether `broadcast` is the address of the one peer.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) link_pointtopoint: bool,
    /// The hardware broadcast address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) broadcast: Option<String>,
    /// How many users requested promiscuous mode.
    pub(crate) promiscuity: u32,
    /// How many users requested all multicast frames.
    pub(crate) allmulti: u32,
    /// The minimum MTU.
    pub(crate) min_mtu: u32,
    /// The maximum MTU.
    pub(crate) max_mtu: u32,
    /// The driver's own settings.
    pub(crate) linkinfo: Info,
    /// How its IPv6 link-local address is generated; absent without IPv6.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) inet6_addr_gen_mode: Option<String>,
    /// The maximum number of queues from the kernel to the program.
    pub(crate) num_tx_queues: u32,
    /// The maximum number of queues from the program to the kernel.
    pub(crate) num_rx_queues: u32,
    /// The longest super-packet that the stack builds for it, in bytes.
    pub(crate) gso_max_size: u32,
    /// The most segments in one.
    pub(crate) gso_max_segs: u32,
    /// The longest TCP super-packet that it accepts, in bytes.
    pub(crate) tso_max_size: u32,
    /// The most segments in one.
    pub(crate) tso_max_segs: u32,
    /// The longest super-packet that GRO builds, in bytes.
    pub(crate) gro_max_size: u32,
    /// Its description.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ifalias: Option<String>,
    /// Further names.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) altnames: Vec<String>,
    /// The counters, with `-s`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) stats64: Option<Stats>,
    /// Its IP addresses.
    pub(crate) addr_info: Vec<Addr>,
    /// The processes that hold a queue of it, as far as they are visible to this user.
    pub(crate) holders: Vec<Holder>,
    /// Whether some processes could not be inspected, so that there may be further holders: those of other
    /// users are visible only to root.
    pub(crate) holders_partial: bool,
}

/// The driver's settings.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub(crate) struct Info {
    /// Always `tun`: the driver has one name for both.
    pub(crate) info_kind: &'static str,
    pub(crate) info_data: Data,
}

/// The settings of the TUN/TAP driver.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[expect(clippy::struct_excessive_bools, reason = "the driver's own flags")]
pub(crate) struct Data {
    /// `tun` or `tap`.
    pub(crate) r#type: String,
    /// Four bytes of packet information stand before each packet.
    pub(crate) pi: bool,
    /// A virtio-net header stands before each packet.
    pub(crate) vnet_hdr: bool,
    /// More than one queue may be attached.
    pub(crate) multi_queue: bool,
    /// Queues attached and enabled; multi-queue devices only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) numqueues: Option<u32>,
    /// Queues attached and disabled; multi-queue devices only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) numdisabled: Option<u32>,
    /// It persists after its last queue is closed.
    pub(crate) persist: bool,
    /// The user allowed to attach: the name, or the ID if it has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) user: Option<Id>,
    /// The group allowed to attach.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) group: Option<Id>,
}

/// A user or group.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(untagged)]
pub(crate) enum Id {
    Name(String),
    Number(u32),
}

/// The counters as the kernel names them: `rx` counts packets from the program.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub(crate) struct Stats {
    pub(crate) rx: Received,
    pub(crate) tx: Sent,
}

#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub(crate) struct Received {
    pub(crate) bytes: u64,
    pub(crate) packets: u64,
    pub(crate) errors: u64,
    pub(crate) dropped: u64,
    pub(crate) over_errors: u64,
    pub(crate) multicast: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub(crate) struct Sent {
    pub(crate) bytes: u64,
    pub(crate) packets: u64,
    pub(crate) errors: u64,
    pub(crate) dropped: u64,
    pub(crate) carrier_errors: u64,
    pub(crate) collisions: u64,
}

/// An IP address of a device, as `ip -j addr` has it.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub(crate) struct Addr {
    /// `inet` or `inet6`.
    pub(crate) family: &'static str,
    /// The host's own address.
    pub(crate) local: String,
    /// The peer's address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) address: Option<String>,
    /// The length of the network's prefix.
    pub(crate) prefixlen: u8,
    /// The broadcast address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) broadcast: Option<String>,
    /// Its scope.
    pub(crate) scope: String,
    #[serde(flatten)]
    pub(crate) flags: AddrFlags,
    /// The label that old programs show.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) label: Option<String>,
    /// In seconds; 4294967295 means forever.
    pub(crate) valid_life_time: u32,
    /// In seconds; 4294967295 means forever.
    pub(crate) preferred_life_time: u32,
}

/// The flags of an address in the words of `ip`; one that is not set is absent.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[expect(clippy::struct_excessive_bools, reason = "the kernel's own flags")]
pub(crate) struct AddrFlags {
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) secondary: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) temporary: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) nodad: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) optimistic: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) dadfailed: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) home: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) deprecated: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) tentative: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) dynamic: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) mngtmpaddr: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) noprefixroute: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) autojoin: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not", rename = "stable-privacy")]
    pub(crate) stable_privacy: bool,
}

/// A device that was deleted.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[schemars(title = "a device that was deleted")]
pub(crate) struct Deleted {
    /// The index that it had.
    pub(crate) ifindex: u32,
    /// The name that it had.
    pub(crate) ifname: String,
}

/// The inputs of a [`Device`] besides the link itself.
#[derive(Clone, Debug, Default)]
pub(crate) struct Around {
    /// The names of masters.
    pub(crate) names: BTreeMap<IfIndex, String>,
    pub(crate) addresses: BTreeMap<IfIndex, Vec<Address>>,
    pub(crate) holders: Found,
    /// Whether to include counters.
    pub(crate) stats: bool,
}

impl Device {
    /// Returns `None` unless the link is a TUN or TAP device.
    pub(crate) fn new(link: &LinkInfo, around: &Around) -> Option<Self> {
        let tun = link.tun.as_ref()?;
        let ifname = link.name.to_string();
        let point_to_point = link.flags.contains(LinkFlags::POINTOPOINT);
        let own = around.addresses.get(&link.index).into_iter().flatten();
        Some(Self {
            ifindex: link.index.get(),
            flags: link.flags.words().map(str::to_owned).collect(),
            mtu: link.mtu,
            qdisc: link.qdisc.clone(),
            master: link.master.map(|master| {
                around.names.get(&master).cloned().unwrap_or_else(|| format!("if{master}"))
            }),
            operstate: link.operstate.to_string(),
            linkmode: link.link_mode.to_string(),
            group: if link.group == 0 { "default".into() } else { link.group.to_string() },
            txqlen: link.txqueuelen,
            link_type: link.hardware_type.to_string(),
            address: link.address.as_ref().map(ToString::to_string),
            link_pointtopoint: point_to_point && link.broadcast.is_some(),
            broadcast: link.broadcast.as_ref().map(ToString::to_string),
            promiscuity: link.promiscuity,
            allmulti: link.allmulti,
            min_mtu: link.min_mtu,
            max_mtu: link.max_mtu,
            linkinfo: Info { info_kind: "tun", info_data: Data::new(tun) },
            inet6_addr_gen_mode: link.inet6_addr_gen_mode.map(|mode| mode.to_string()),
            num_tx_queues: link.num_tx_queues,
            num_rx_queues: link.num_rx_queues,
            gso_max_size: link.gso_max_size,
            gso_max_segs: link.gso_max_segs,
            tso_max_size: link.tso_max_size,
            tso_max_segs: link.tso_max_segs,
            gro_max_size: link.gro_max_size,
            ifalias: link.alias.as_ref().map(|alias| alias.to_string_lossy().into_owned()),
            altnames: link.altnames.iter().map(|n| n.to_string_lossy().into_owned()).collect(),
            stats64: around.stats.then(|| Stats::new(&link.stats)),
            addr_info: own.map(Addr::new).collect(),
            holders: around.holders.by_device.get(&ifname).cloned().unwrap_or_default(),
            holders_partial: around.holders.partial,
            ifname,
        })
    }
}

impl Data {
    fn new(tun: &TunInfo) -> Self {
        Self {
            r#type: tun.mode.to_string(),
            pi: tun.pi,
            vnet_hdr: tun.vnet_hdr,
            multi_queue: tun.multi_queue,
            numqueues: tun.queues,
            numdisabled: tun.queues_disabled,
            persist: tun.persist,
            user: tun.owner.map(|uid| Id::new(uid, adit_runtime::text::user::user_name(uid))),
            group: tun.group.map(|gid| Id::new(gid, adit_runtime::text::user::group_name(gid))),
        }
    }
}

impl Id {
    fn new(number: u32, name: Option<String>) -> Self {
        name.map_or(Self::Number(number), Self::Name)
    }
}

impl std::fmt::Display for Id {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Name(name) => name.fmt(f),
            Self::Number(number) => number.fmt(f),
        }
    }
}

impl Stats {
    fn new(stats: &LinkStats) -> Self {
        Self {
            rx: Received {
                bytes: stats.rx_bytes,
                packets: stats.rx_packets,
                errors: stats.rx_errors,
                dropped: stats.rx_dropped,
                over_errors: stats.rx_over_errors,
                multicast: stats.multicast,
            },
            tx: Sent {
                bytes: stats.tx_bytes,
                packets: stats.tx_packets,
                errors: stats.tx_errors,
                dropped: stats.tx_dropped,
                carrier_errors: stats.tx_carrier_errors,
                collisions: stats.collisions,
            },
        }
    }
}

impl Addr {
    pub(crate) fn new(address: &Address) -> Self {
        let inet6 = address.local.ip().is_ipv6();
        Self {
            family: if inet6 { "inet6" } else { "inet" },
            local: address.local.ip().to_string(),
            address: address.peer.map(|peer| peer.to_string()),
            prefixlen: address.local.len(),
            broadcast: address.broadcast.map(|broadcast| broadcast.to_string()),
            scope: address.scope.to_string(),
            flags: AddrFlags::new(address.flags, inet6),
            label: address.label.as_ref().map(|label| label.to_string_lossy().into_owned()),
            valid_life_time: seconds(address.valid_lifetime),
            preferred_life_time: seconds(address.preferred_lifetime),
        }
    }

    /// `192.0.2.1/24`, or `192.0.2.1 peer 192.0.2.2/32`.
    pub(crate) fn text(&self) -> String {
        match &self.address {
            Some(peer) => format!("{} peer {peer}/{}", self.local, self.prefixlen),
            None => format!("{}/{}", self.local, self.prefixlen),
        }
    }
}

impl AddrFlags {
    fn new(flags: AddressFlags, inet6: bool) -> Self {
        let has = |flag| flags.contains(flag);
        Self {
            // One bit with two meanings.
            secondary: !inet6 && has(AddressFlags::SECONDARY),
            temporary: inet6 && has(AddressFlags::SECONDARY),
            nodad: has(AddressFlags::NODAD),
            optimistic: has(AddressFlags::OPTIMISTIC),
            dadfailed: has(AddressFlags::DADFAILED),
            home: has(AddressFlags::HOMEADDRESS),
            deprecated: has(AddressFlags::DEPRECATED),
            tentative: has(AddressFlags::TENTATIVE),
            dynamic: !has(AddressFlags::PERMANENT),
            mngtmpaddr: has(AddressFlags::MANAGETEMPADDR),
            noprefixroute: has(AddressFlags::NOPREFIXROUTE),
            autojoin: has(AddressFlags::MCAUTOJOIN),
            stable_privacy: has(AddressFlags::STABLE_PRIVACY),
        }
    }

    /// The words of those that are set.
    pub(crate) fn words(&self) -> Vec<&'static str> {
        let words = [
            (self.secondary, "secondary"),
            (self.temporary, "temporary"),
            (self.nodad, "nodad"),
            (self.optimistic, "optimistic"),
            (self.dadfailed, "dadfailed"),
            (self.home, "home"),
            (self.deprecated, "deprecated"),
            (self.tentative, "tentative"),
            (self.dynamic, "dynamic"),
            (self.mngtmpaddr, "mngtmpaddr"),
            (self.noprefixroute, "noprefixroute"),
            (self.autojoin, "autojoin"),
            (self.stable_privacy, "stable-privacy"),
        ];
        words.into_iter().filter(|(on, _)| *on).map(|(_, word)| word).collect()
    }
}

fn seconds(lifetime: Option<Duration>) -> u32 {
    lifetime.map_or(u32::MAX, |time| u32::try_from(time.as_secs()).unwrap_or(u32::MAX))
}
