//! What programs that run tell at their control sockets, and how it is printed.

use crate::config::value::word_of;
use crate::netem::report::{Links, Netem};
use crate::sandbox::{self, SandboxState};
use crate::switch::keys::Flags;
use crate::switch::port::TAGS;
use adit_engine::switch::{
    FdbEntry, FdbKind, PortConfig, PortCounters, PortState, SwitchConfig, VlanMode, VlanSet,
};
use adit_packet::Instant;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A switch that runs.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(title = "adit switch show")]
pub struct Switch {
    /// Its name.
    pub name: String,
    /// Its process.
    pub pid: u32,
    /// The sandbox that its process is in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sandbox: Option<SandboxState>,
    /// The file that it was started from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// How it differs from that file: what `adit switch save` writes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unsaved: Vec<String>,
    /// What the links of its ports draw their decisions from.
    #[serde(default)]
    pub seed: u64,
    /// How long an address is kept without a frame from it, in seconds.
    pub ageing_s: f64,
    /// Addresses in its table.
    pub fdb_entries: usize,
    /// Addresses that fit.
    pub fdb_limit: usize,
    /// How often an address may move in a second.
    pub moves_per_second: u8,
    /// Whether ports on which a loop shows are blocked.
    pub loop_guard: bool,
    /// Datagrams that came to its sockets for no port: of unknown senders, of other VXLAN segments.
    pub strangers: u64,
    /// Frames for a port that was removed meanwhile.
    pub astray: u64,
    /// What the kernel forwards for it; not there if that is off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kernel: Option<Kernel>,
    /// Its ports.
    pub ports: Vec<Port>,
    /// Copies for somebody who watches.
    pub mirrors: Vec<Mirror>,
}

/// What the kernel forwards for a switch: frames between known addresses on ports at which nothing else is
/// done with them.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Kernel {
    /// Why it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
    /// The ports between which it may.
    pub ports: Vec<String>,
    /// The other ports that are interfaces.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<LeftOut>,
    /// The addresses between which it does: those with `kernel` in the list of addresses.
    pub addresses: usize,
    /// Frames that it has forwarded.
    pub frames: u64,
}

/// An interface from and to which the kernel does not forward.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct LeftOut {
    /// The port.
    pub port: String,
    /// Why.
    pub why: String,
}

/// A port of a switch.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(title = "adit switch show PORT")]
pub struct Port {
    /// Its name.
    pub name: String,
    /// What it is, as `tap:a,netns=blue`.
    pub port: String,
    /// Whether it takes part.
    pub state: State,
    /// Why it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The IP MTU of its device.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u32>,
    /// Which VLANs it carries.
    pub vlan: Vlan,
    /// The group within which nothing is forwarded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub split_horizon: Option<u16>,
    /// Its flags.
    #[serde(flatten)]
    pub flags: Flags,
    /// Addresses on it.
    pub fdb_entries: usize,
    /// Addresses that may be learned here.
    pub fdb_limit: usize,
    /// What may come in.
    pub guard: Guard,
    /// How many frames in a second may come in of what is flooded.
    pub storm: Storm,
    /// What its cable is like; not there if it is perfect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub netem: Option<Netem>,
    /// What happened on it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<Links>,
    /// What came in.
    pub ingress: Counters,
    /// What went out.
    pub egress: Counters,
}

/// Whether a port takes part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It does.
    Forwarding,
    /// Its link is down.
    Down,
    /// A loop shows on it.
    Blocked,
    /// Copies go there, and nothing else.
    Mirror,
    /// It waits for somebody to connect.
    Listening,
    /// It ended by itself, or could not be opened.
    Gone,
}

impl State {
    /// Its word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Forwarding => "forwarding",
            Self::Down => "down",
            Self::Blocked => "blocked",
            Self::Mirror => "mirror",
            Self::Listening => "listening",
            Self::Gone => "gone",
        }
    }
}

/// Which VLANs a port carries.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "mode", rename_all = "lowercase")]
pub enum Vlan {
    /// All of them, as they come.
    Any,
    /// One, untagged.
    Access {
        /// Its number.
        vlan: u16,
    },
    /// Several, tagged but for some.
    Trunk {
        /// Those that are tagged, as `10`, `20-29`.
        tagged: Vec<String>,
        /// Those that are not.
        untagged: Vec<String>,
        /// That of frames that come in untagged.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pvid: Option<u16>,
        /// The kind of tag: customer or service.
        tag: String,
    },
    /// One provider's VLAN around all others.
    Tunnel {
        /// Its number.
        vlan: u16,
    },
}

impl Vlan {
    fn new(mode: &VlanMode) -> Self {
        match mode {
            VlanMode::Transparent => Self::Any,
            VlanMode::Access(vlan) => Self::Access { vlan: vlan.number() },
            VlanMode::Tunnel(vlan) => Self::Tunnel { vlan: vlan.number() },
            VlanMode::Trunk(trunk) => Self::Trunk {
                tagged: ranges(&trunk.tagged),
                untagged: ranges(&trunk.untagged),
                pvid: trunk.pvid.map(|vlan| vlan.number()),
                tag: word_of(&TAGS, &trunk.tag).to_owned(),
            },
        }
    }

    /// For a table: `any`, `10`, `trunk 10,20 untagged 1`.
    pub fn text(&self) -> String {
        match self {
            Self::Any => "any".to_owned(),
            Self::Access { vlan } => vlan.to_string(),
            Self::Tunnel { vlan } => format!("tunnel {vlan}"),
            Self::Trunk { tagged, untagged, pvid, .. } => {
                let mut text = format!("trunk {}", tagged.join(","));
                if !untagged.is_empty() {
                    text.push_str(&format!(" untagged {}", untagged.join(",")));
                }
                match pvid {
                    Some(pvid) if untagged.as_slice() == [pvid.to_string()] => {}
                    Some(pvid) => text.push_str(&format!(" pvid {pvid}")),
                    None => {}
                }
                text
            }
        }
    }
}

/// What may come in at a port.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Guard {
    /// The source MAC addresses; empty: any.
    pub mac: Vec<String>,
    /// The source IP addresses; empty: any.
    pub ip: Vec<String>,
    /// Its flags.
    #[serde(flatten)]
    pub flags: Flags<true>,
}

impl Guard {
    /// For people; nothing if all may come in.
    pub fn text(&self) -> Option<String> {
        let mut words: Vec<String> = Vec::new();
        words.extend((!self.mac.is_empty()).then(|| format!("mac {}", self.mac.join(" "))));
        words.extend((!self.ip.is_empty()).then(|| format!("ip {}", self.ip.join(" "))));
        words.extend(self.flags.on().map(str::to_owned));
        (!words.is_empty()).then(|| words.join(", "))
    }
}

/// How many frames in a second may come in; not there: any number.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Storm {
    /// For all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub broadcast: Option<u32>,
    /// For a group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub multicast: Option<u32>,
    /// For an address that is on no port yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unknown: Option<u32>,
}

impl Storm {
    /// For people; nothing if any number may come in.
    pub fn text(&self) -> Option<String> {
        let limits = [
            (self.broadcast, "broadcast"),
            (self.multicast, "multicast"),
            (self.unknown, "unknown"),
        ];
        let one = |(limit, kind): (Option<u32>, &str)| Some(format!("{} {kind}", limit?));
        let words: Vec<String> = limits.into_iter().filter_map(one).collect();
        (!words.is_empty()).then(|| format!("{} frames a second", words.join(", ")))
    }
}

/// What went one way through a port; a super-packet is one frame.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Counters {
    /// Frames.
    pub frames: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Frames that went no further, by reason.
    pub drops: BTreeMap<String, u64>,
}

impl Counters {
    /// All that were dropped.
    pub fn dropped(&self) -> u64 {
        self.drops.values().sum()
    }

    pub(super) fn note(&mut self, why: &str, count: u64) {
        if count > 0 {
            *self.drops.entry(why.to_owned()).or_default() += count;
        }
    }
}

/// A mirror.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Mirror {
    /// Where copies go: a file or a port.
    pub to: String,
    /// The ports that are watched; empty: all.
    pub ports: Vec<String>,
    /// Which way of them: ingress, egress or both.
    pub direction: String,
    /// Which frames, in tcpdump's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filter: Option<String>,
    /// How many bytes of each at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub truncate: Option<usize>,
    /// Copies that went there.
    pub frames: u64,
    /// Copies for which there was no room: in memory, or at who reads them.
    #[serde(default)]
    pub missed: u64,
}

/// Some of the addresses of a switch's table.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Page {
    /// The addresses, in no order.
    pub addresses: Vec<Address>,
    /// The `page` of the next request; not there at the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// An address of a switch's table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(title = "adit switch fdb: an entry of the list")]
pub struct Address {
    /// The address.
    pub mac: String,
    /// Its VLAN; not there in the untagged network of transparent ports.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vlan: Option<u16>,
    /// The port that it is on.
    pub port: String,
    /// How it came there: dynamic, sticky or static.
    pub kind: String,
    /// How many seconds ago a frame from it was seen; not there for a static one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub age_s: Option<u64>,
    /// Whether the kernel forwards frames to it and from it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub kernel: bool,
}

impl Address {
    /// The entry `entry` at `now`, on the port of that name.
    pub fn new(entry: &FdbEntry, port: String, now: Instant) -> Self {
        let kind = match entry.kind {
            FdbKind::Dynamic => "dynamic",
            FdbKind::Sticky => "sticky",
            FdbKind::Static => "static",
        };
        let age = (entry.kind != FdbKind::Static).then(|| now.since(entry.seen).as_secs());
        Self {
            mac: entry.mac.to_string(),
            vlan: entry.vlan.map(|vlan| vlan.number()),
            port,
            kind: kind.to_owned(),
            age_s: age,
            kernel: entry.is_fast,
        }
    }
}

/// The report of a port.
pub fn port(
    (name, text): (&str, &str),
    config: &PortConfig,
    state: Option<PortState>,
    counters: Option<&PortCounters>,
    of_loop: Option<(Option<u32>, &adit_runtime::PortCounters)>,
) -> Port {
    let state = match state {
        None => State::Gone,
        Some(PortState::Forwarding) => State::Forwarding,
        Some(PortState::Down) => State::Down,
        Some(PortState::Mirror) => State::Mirror,
        Some(PortState::Blocked { .. }) => State::Blocked,
    };
    let (mut ingress, mut egress) = (Counters::default(), Counters::default());
    if let Some(counters) = counters {
        (ingress.frames, ingress.bytes) = (counters.ingress_frames, counters.ingress_bytes);
        (egress.frames, egress.bytes) = (counters.egress_frames, counters.egress_bytes);
        counters.ingress_drops().for_each(|(why, count)| ingress.note(why.as_str(), count));
        counters.egress_drops().for_each(|(why, count)| egress.note(why.as_str(), count));
    }
    if let Some((_, counters)) = of_loop {
        counters.ingress_drops().for_each(|(why, count)| ingress.note(why, count));
        counters.egress_drops().for_each(|(why, count)| egress.note(why, count));
    }
    let rate =
        |rate: Option<adit_engine::switch::StormRate>| rate.map(|rate| rate.frames_per_second);
    Port {
        name: name.to_owned(),
        port: text.to_owned(),
        state,
        reason: None,
        mtu: of_loop.and_then(|(mtu, _)| mtu),
        vlan: Vlan::new(&config.vlan),
        split_horizon: config.group.map(|group| group.0),
        flags: Flags::new(config),
        fdb_entries: 0,
        fdb_limit: config.fdb_limit,
        guard: Guard {
            mac: config.guard.macs.iter().map(ToString::to_string).collect(),
            ip: config.guard.addresses.iter().map(ToString::to_string).collect(),
            flags: Flags::new(config),
        },
        storm: Storm {
            broadcast: rate(config.storm.broadcast),
            multicast: rate(config.storm.multicast),
            unknown: rate(config.storm.unknown_unicast),
        },
        netem: None,
        link: None,
        ingress,
        egress,
    }
}

/// The report of a switch, without ports and mirrors yet.
pub fn switch(name: String, config: &SwitchConfig, fdb_entries: usize) -> Switch {
    Switch {
        name,
        pid: std::process::id(),
        sandbox: sandbox::state(),
        file: None,
        unsaved: Vec::new(),
        seed: 0,
        ageing_s: config.ageing.as_secs_f64(),
        fdb_entries,
        fdb_limit: config.fdb_limit,
        moves_per_second: config.moves_per_second,
        loop_guard: config.loop_guard.enabled,
        strangers: 0,
        astray: 0,
        kernel: None,
        ports: Vec::new(),
        mirrors: Vec::new(),
    }
}

/// VLANs as `10`, `20-29`.
pub(super) fn ranges(set: &VlanSet) -> Vec<String> {
    let mut list: Vec<(u16, u16)> = Vec::new();
    for vlan in set.iter() {
        let number = vlan.number();
        match list.last_mut() {
            Some((_, to)) if *to + 1 == number => *to = number,
            _ => list.push((number, number)),
        }
    }
    let text = |(from, to): (u16, u16)| {
        if from == to { from.to_string() } else { format!("{from}-{to}") }
    };
    list.into_iter().map(text).collect()
}
