//! The list of all changes to the host.

use crate::changes::filter::{FilterTable, TableId};
use adit_device::netlink::{
    Address, AddressFlags, IpFamily, Route, RouteKind, Rule, RuleAction, TABLE_MAIN,
};
use adit_device::{IfIndex, IfName, MacAddr, Mode, NamePattern, wire_enum, wire_structs};
use adit_runtime::text::user::{Group, User};
use std::fmt;
use std::mem::discriminant;

/// With it, the reverse path filter looks at the mark of a packet (`ip-sysctl.rst`, `src_valid_mark`).
pub(crate) const SRC_VALID_MARK: &str = "/proc/sys/net/ipv4/conf/all/src_valid_mark";

/// One change. Its `Display` is the line that `--dry-run` prints.
///
/// Performing an action makes sure that its result is there: an address that the device has already is no
/// error and changes nothing. Actions on "the device" are about the one device of their executor.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Action {
    /// Creates the device, or attaches to it.
    OpenDevice(OpenDevice),
    /// Closes the executor's queue: a new device that nobody else holds is gone.
    CloseDevice,
    /// Deletes a TUN or TAP device.
    DeleteDevice(IfName),
    /// Sets which hardware the device shows, as an ARPHRD number.
    SetLinkType(u16),
    /// Sets the user who may attach.
    SetOwner(User),
    /// Sets the group that may attach.
    SetGroup(Group),
    /// Sets whether the device stays when its last queue is closed.
    SetPersistent(bool),
    /// Moves the device to another network namespace, given as users write it.
    MoveTo(String),
    /// Renames the device.
    Rename(IfName),
    /// Sets the IP MTU in bytes.
    SetMtu(u32),
    /// Sets how many packets wait for the reader.
    SetTxQueueLen(u32),
    /// Sets the longest super-packet that the stack makes, in bytes.
    SetGsoMaxSize(u32),
    /// Sets the hardware address.
    SetMac(MacAddr),
    /// Sets the description; an empty one removes it.
    SetAlias(String),
    /// Makes the device a port of a bridge, or of none.
    SetMaster(Option<IfName>),
    /// Sets the device up or down.
    SetUp(bool),
    /// Sets the carrier of a device that another program holds.
    SetCarrier(bool),
    /// Adds an address to the device.
    AddAddress(Address),
    /// Deletes an address from the device.
    DeleteAddress(Address),
    /// Adds a route through the device, or of a kind that needs none.
    AddRoute(Route),
    /// Deletes a route through the device, or of a kind that needs none.
    DeleteRoute(Route),
    /// Adds a routing rule.
    AddRule(Rule),
    /// Deletes a routing rule.
    DeleteRule(Rule),
    /// Sets `src_valid_mark`. It is not unset while a rule of the namespace looks at marks.
    SetValidMark(bool),
    /// Creates a table of the packet filter, or replaces it as a whole.
    SetFilter(FilterTable),
    /// Deletes a table of the packet filter.
    DeleteFilter(TableId),
    /// Runs a program.
    Run(Program),
}

/// How the device is opened: with one queue that does not block.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "the flags of TUNSETIFF")]
pub struct OpenDevice {
    /// IP packets or Ethernet frames.
    pub mode: Mode,
    /// Its name, or a pattern.
    pub name: NamePattern,
    /// Whether it is new; otherwise it must exist.
    pub is_new: bool,
    /// The index that it must have.
    pub index: Option<IfIndex>,
    /// Four bytes of packet information before each packet.
    pub packet_info: bool,
    /// A virtio-net header before each packet.
    pub vnet_hdr: bool,
    /// Whether super-packets cross, as far as the kernel has offloads for them.
    pub offload: bool,
    /// Whether more than one queue may attach.
    pub multi_queue: bool,
    /// Whether packets go through NAPI and GRO.
    pub napi: bool,
    /// Whether it has a carrier from the start.
    pub carrier: bool,
}

impl OpenDevice {
    /// A device without any header, with a carrier.
    #[must_use]
    pub const fn new(mode: Mode, name: NamePattern, is_new: bool) -> Self {
        Self {
            mode,
            name,
            is_new,
            index: None,
            packet_info: false,
            vnet_hdr: false,
            offload: false,
            multi_queue: false,
            napi: false,
            carrier: true,
        }
    }
}

/// A program that runs to its end; no shell reads its words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// The program and its arguments.
    pub words: Vec<String>,
    /// What it reads from standard input.
    pub input: Option<String>,
    /// The program that reverts it; empty if there is none.
    pub undo: Vec<String>,
    /// What it is for.
    pub purpose: Purpose,
}

/// What a program is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// The user wants it: its failure ends a start.
    Hook,
    /// It sets name servers: its failure is a warning.
    NameServers,
}

/// What the failure of an action means for the list that it is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnFailure {
    /// The list ends, and what was done is undone.
    Abort,
    /// A warning: most users can do without.
    Warn,
    /// Nothing: it costs speed only.
    Ignore,
}

impl Action {
    /// What its failure means.
    #[must_use]
    pub fn on_failure(&self) -> OnFailure {
        match self {
            Self::SetFilter(table) if table.is_required() => OnFailure::Abort,
            Self::SetFilter(_) | Self::SetValidMark(_) => OnFailure::Warn,
            Self::Run(Program { purpose: Purpose::NameServers, .. }) => OnFailure::Warn,
            Self::SetGsoMaxSize(_) => OnFailure::Ignore,
            _ => OnFailure::Abort,
        }
    }

    /// The warning that reports its failure.
    #[must_use]
    pub fn warning(&self, error: &str) -> String {
        match self {
            Self::SetFilter(_) => format!(
                "cannot set the packet filter: {error}; hosts on the local network can reach the tunnel's \
                 addresses without the tunnel"
            ),
            Self::Run(_) => format!("name servers: {error}"),
            _ => error.to_owned(),
        }
    }

    /// Whether its result goes with the device.
    #[must_use]
    pub const fn is_on_device(&self) -> bool {
        match self {
            Self::AddRoute(route) | Self::DeleteRoute(route) => needs_device(route),
            Self::AddRule(_)
            | Self::DeleteRule(_)
            | Self::SetValidMark(_)
            | Self::SetFilter(_)
            | Self::DeleteFilter(_)
            | Self::Run(_)
            | Self::DeleteDevice(_) => false,
            _ => true,
        }
    }

    /// Whether it overwrites what `other` has set: the two revert to the same state.
    #[must_use]
    pub fn replaces(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::SetFilter(one), Self::SetFilter(other)) => one.id == other.id,
            (Self::Run(one), Self::Run(other)) => {
                one.purpose == Purpose::NameServers
                    && one.purpose == other.purpose
                    && !one.undo.is_empty()
                    && one.undo == other.undo
            }
            (
                Self::OpenDevice(_)
                | Self::SetMtu(_)
                | Self::SetTxQueueLen(_)
                | Self::SetGsoMaxSize(_)
                | Self::SetMac(_)
                | Self::SetAlias(_)
                | Self::SetMaster(_)
                | Self::SetUp(_)
                | Self::SetValidMark(_),
                _,
            ) => discriminant(self) == discriminant(other),
            _ => false,
        }
    }
}

wire_enum! { Purpose { 0 = Hook, 1 = NameServers } }

wire_structs! {
    OpenDevice {
        mode, name, is_new, index, packet_info, vnet_hdr, offload, multi_queue, napi, carrier,
    }
    Program { words, input, undo, purpose }
}

wire_enum! { Action {
    0 = OpenDevice(device),
    1 = CloseDevice,
    2 = DeleteDevice(name),
    3 = SetLinkType(number),
    4 = SetOwner(user),
    5 = SetGroup(group),
    6 = SetPersistent(on),
    7 = MoveTo(netns),
    8 = Rename(name),
    9 = SetMtu(mtu),
    10 = SetTxQueueLen(packets),
    11 = SetGsoMaxSize(bytes),
    12 = SetMac(mac),
    13 = SetAlias(alias),
    14 = SetMaster(master),
    15 = SetUp(up),
    16 = SetCarrier(on),
    17 = AddAddress(address),
    18 = DeleteAddress(address),
    19 = AddRoute(route),
    20 = DeleteRoute(route),
    21 = AddRule(rule),
    22 = DeleteRule(rule),
    23 = SetValidMark(on),
    24 = SetFilter(table),
    25 = DeleteFilter(id),
    26 = Run(program),
} }

/// Whether packets of a route leave through a device.
pub(crate) const fn needs_device(route: &Route) -> bool {
    matches!(route.kind, RouteKind::Unicast)
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OpenDevice(device) => device.fmt(f),
            Self::CloseDevice => f.write_str("close the device"),
            Self::DeleteDevice(name) => write!(f, "delete device {name}"),
            Self::SetLinkType(number) => write!(f, "set the link type to {number}"),
            Self::SetOwner(user) => write!(f, "set the owner to {user}"),
            Self::SetGroup(group) => write!(f, "set the group to {group}"),
            Self::SetPersistent(true) => f.write_str("make it persistent"),
            Self::SetPersistent(false) => f.write_str("make it transient"),
            Self::MoveTo(netns) => write!(f, "move it to namespace {netns}"),
            Self::Rename(name) => write!(f, "rename it to {name}"),
            Self::SetMtu(mtu) => write!(f, "set the MTU to {mtu}"),
            Self::SetTxQueueLen(packets) => write!(f, "set the queue length to {packets}"),
            Self::SetGsoMaxSize(bytes) => write!(f, "set the GSO size to {bytes}"),
            Self::SetMac(mac) => write!(f, "set the hardware address to {mac}"),
            Self::SetAlias(alias) => write!(f, "set the alias to {alias}"),
            Self::SetMaster(Some(master)) => write!(f, "make it a port of {master}"),
            Self::SetMaster(None) => f.write_str("remove it from its bridge"),
            Self::SetUp(true) => f.write_str("bring it up"),
            Self::SetUp(false) => f.write_str("bring it down"),
            Self::SetCarrier(on) => write!(f, "set the carrier {}", if *on { "on" } else { "off" }),
            Self::AddAddress(address) => write!(f, "add address {}", address_text(address)),
            Self::DeleteAddress(address) => write!(f, "delete address {}", address_text(address)),
            Self::AddRoute(route) => write!(f, "add route {}", route_text(route)),
            Self::DeleteRoute(route) => write!(f, "delete route {}", route_text(route)),
            Self::AddRule(rule) => write!(f, "add rule {}", rule_text(rule)),
            Self::DeleteRule(rule) => write!(f, "delete rule {}", rule_text(rule)),
            Self::SetValidMark(on) => write!(f, "write {} to {SRC_VALID_MARK}", u8::from(*on)),
            Self::SetFilter(table) => write!(f, "nft add {table}"),
            Self::DeleteFilter(id) => write!(f, "nft delete table {id}"),
            Self::Run(program) => write!(f, "run {}", program.words.join(" ")),
        }
    }
}

impl fmt::Display for OpenDevice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verb = if self.is_new { "create" } else { "attach to" };
        write!(f, "{verb} {} device {}", self.mode, self.name)?;
        if let Some(index) = self.index {
            write!(f, " as index {index}")?;
        }
        let with = [
            (self.packet_info, "packet information"),
            (self.vnet_hdr, "a virtio-net header"),
            (self.multi_queue, "several queues"),
            (self.napi, "NAPI"),
            (!self.carrier, "no carrier"),
        ];
        let mut word = " with";
        for (_, what) in with.iter().filter(|(is_on, _)| *is_on) {
            write!(f, "{word} {what}")?;
            word = ",";
        }
        Ok(())
    }
}

/// An address, as `adit` prints it.
#[must_use]
pub fn address_text(address: &Address) -> String {
    let nodad = if address.flags.contains(AddressFlags::NODAD) { ", nodad" } else { "" };
    match address.peer {
        Some(peer) => format!("{} peer {peer}{nodad}", address.local.ip()),
        None => format!("{}{nodad}", address.local),
    }
}

/// A route in the words of `ip route`, without its device.
#[must_use]
pub fn route_text(route: &Route) -> String {
    let mut text = route.destination.to_string();
    if !needs_device(route) {
        text = format!("{} {text}", route.kind);
    }
    if let Some(gateway) = route.gateway {
        text.push_str(&format!(" via {gateway}"));
    }
    if route.table != TABLE_MAIN {
        text.push_str(&format!(" table {}", route.table));
    }
    if let Some(metric) = route.metric {
        text.push_str(&format!(" metric {metric}"));
    }
    text
}

/// A rule in the words of `ip rule`.
#[must_use]
pub fn rule_text(rule: &Rule) -> String {
    let mut text = match rule.family {
        IpFamily::V4 => "-4",
        IpFamily::V6 => "-6",
    }
    .to_owned();
    if rule.invert {
        text.push_str(" not");
    }
    if let Some(mark) = rule.fwmark {
        text.push_str(&format!(" fwmark {:#x}", mark.mark));
    }
    if let RuleAction::Table(table) = rule.action {
        match table {
            TABLE_MAIN => text.push_str(" lookup main"),
            table => text.push_str(&format!(" lookup {table}")),
        }
    }
    if let Some(len) = rule.suppress_prefixlength {
        text.push_str(&format!(" suppress_prefixlength {len}"));
    }
    text
}
