//! Policy routing rules, which select the routing table of a packet.

use super::Netlink;
use super::family;
use super::message::{Message, Request, attributes, read_ip, read_string, read_u32, split};
use super::route::ROUTE_PROTOCOL;
use super::uapi::{
    FIB_RULE_INVERT, FRA_DST, FRA_FWMARK, FRA_FWMASK, FRA_IIFNAME, FRA_OIFNAME, FRA_PRIORITY,
    FRA_PROTOCOL, FRA_SRC, FRA_SUPPRESS_PREFIXLEN, FRA_TABLE, FRA_UID_RANGE, RTM_DELRULE,
    RTM_GETRULE, RTM_NEWRULE,
};
use crate::IfName;
use crate::{wire_enum, wire_structs};
use adit_packet::{IpFamily, IpPrefix};
use netlink_packet_core::{NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL};
use std::ffi::OsStr;
use std::io;
use std::ops::RangeInclusive;
use std::os::unix::ffi::OsStrExt;

/// What a rule does with matching packets: `FR_ACT_*` of `linux/fib_rules.h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RuleAction {
    /// Looks up a route in this table; without a match the next rule is tried.
    Table(u32),
    /// Drops them silently.
    Blackhole,
    /// Drops them and reports "network unreachable" to the sender.
    Unreachable,
    /// Drops them and reports "administratively prohibited" to the sender.
    Prohibit,
    /// An action without a name in this library (`goto`, `nop`).
    Other(u8),
}

const FR_ACT_TO_TBL: u8 = 1;
const FR_ACT_BLACKHOLE: u8 = 6;
const FR_ACT_UNREACHABLE: u8 = 7;
const FR_ACT_PROHIBIT: u8 = 8;

/// A packet mark and the mask of its relevant bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FwMark {
    /// The mark.
    pub mark: u32,
    /// The bits that are compared; usually all.
    pub mask: u32,
}

impl From<u32> for FwMark {
    fn from(mark: u32) -> Self {
        Self { mark, mask: u32::MAX }
    }
}

/// A rule, existing or wanted: a packet must match all fields that are set. Minor versions may add
/// fields: end a literal with `..Rule::new(family, action)`.
///
/// ```
/// use adit_device::netlink::{IpFamily, Rule, RuleAction};
/// // Unmarked packets, which are not the tunnel's own, use the tunnel's routes in table 51820.
/// let rule = Rule {
///     fwmark: Some(51820.into()),
///     invert: true,
///     ..Rule::new(IpFamily::V4, RuleAction::Table(51820))
/// };
/// assert_eq!(rule.priority, None);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// IPv4 or IPv6.
    pub family: IpFamily,
    /// Its priority: lower numbers come first. `None` lets the kernel put it before all rules but
    /// rule 0.
    pub priority: Option<u32>,
    /// The source network.
    pub from: Option<IpPrefix>,
    /// The destination network.
    pub to: Option<IpPrefix>,
    /// The packet mark.
    pub fwmark: Option<FwMark>,
    /// The incoming link; `lo` for this host's own packets.
    pub iif: Option<IfName>,
    /// The link that the sending socket is bound to.
    pub oif: Option<IfName>,
    /// The users of the sending socket.
    pub uid_range: Option<RangeInclusive<u32>>,
    /// What the kernel does with matching packets.
    pub action: RuleAction,
    /// Inverts the match.
    pub invert: bool,
    /// Ignores routes of the table with a prefix of this length or shorter.
    pub suppress_prefixlength: Option<u32>,
    /// The protocol, which identifies the program that added it; on deletion 0 matches any.
    pub protocol: u8,
}

impl Rule {
    /// A rule of ours ([`ROUTE_PROTOCOL`]) that matches every packet.
    #[must_use]
    pub const fn new(family: IpFamily, action: RuleAction) -> Self {
        Self {
            family,
            priority: None,
            from: None,
            to: None,
            fwmark: None,
            iif: None,
            oif: None,
            uid_range: None,
            action,
            invert: false,
            suppress_prefixlength: None,
            protocol: ROUTE_PROTOCOL,
        }
    }

    fn request(&self, kind: u16, flags: u16) -> Request {
        let mut request = Request::new(kind, flags, &self.header());
        let numbers = [
            (FRA_PRIORITY, self.priority),
            (FRA_FWMARK, self.fwmark.map(|mark| mark.mark)),
            (FRA_FWMASK, self.fwmark.map(|mark| mark.mask)),
            (FRA_SUPPRESS_PREFIXLEN, self.suppress_prefixlength),
        ];
        for (kind, number) in numbers {
            if let Some(number) = number {
                request.u32(kind, number);
            }
        }
        if self.protocol != 0 {
            request.attribute(FRA_PROTOCOL, &[self.protocol]);
        }
        if let RuleAction::Table(table) = self.action {
            request.u32(FRA_TABLE, table);
        }
        for (kind, prefix) in [(FRA_SRC, self.from), (FRA_DST, self.to)] {
            if let Some(prefix) = prefix.filter(|prefix| prefix.len() > 0) {
                request.ip(kind, prefix.ip());
            }
        }
        for (kind, name) in [(FRA_IIFNAME, self.iif), (FRA_OIFNAME, self.oif)] {
            if let Some(name) = name {
                request.string(kind, name.as_bytes());
            }
        }
        if let Some(range) = &self.uid_range {
            let mut value = [0; 8];
            value[..4].copy_from_slice(&range.start().to_ne_bytes());
            value[4..].copy_from_slice(&range.end().to_ne_bytes());
            request.attribute(FRA_UID_RANGE, &value);
        }
        request
    }

    /// `struct fib_rule_hdr` of `linux/fib_rules.h`.
    ///
    /// ```text
    /// | family u8 | destination length u8 | source length u8 | tos u8 |
    /// | table u8 | 0 u8 | 0 u8 | action u8 | flags u32 |
    /// ```
    fn header(&self) -> [u8; 12] {
        let len = |prefix: Option<IpPrefix>| prefix.map_or(0, IpPrefix::len);
        let (action, table) = match self.action {
            // A table above 255 goes into FRA_TABLE only.
            RuleAction::Table(table) => (FR_ACT_TO_TBL, u8::try_from(table).unwrap_or(0)),
            RuleAction::Blackhole => (FR_ACT_BLACKHOLE, 0),
            RuleAction::Unreachable => (FR_ACT_UNREACHABLE, 0),
            RuleAction::Prohibit => (FR_ACT_PROHIBIT, 0),
            RuleAction::Other(action) => (action, 0),
        };
        let flags = if self.invert { FIB_RULE_INVERT } else { 0 };
        let [f0, f1, f2, f3] = flags.to_ne_bytes();
        let family = family::number(self.family);
        [family, len(self.to), len(self.from), 0, table, 0, 0, action, f0, f1, f2, f3]
    }
}

impl Netlink {
    /// The IPv4 and IPv6 rules, in order of priority.
    ///
    /// # Errors
    /// ETIMEDOUT if the kernel does not answer; EINTR if the list kept changing.
    pub fn rules(&mut self) -> io::Result<Vec<Rule>> {
        let mut rules = Vec::new();
        for family in [IpFamily::V4, IpFamily::V6] {
            let mut header = [0; 12];
            header[0] = family::number(family);
            let mut request = Request::new(RTM_GETRULE, NLM_F_DUMP, &header);
            // A kernel without IPv6 returns the IPv4 rules again.
            let list = self.list(&mut request, |message| {
                new_rule(message).filter(|rule| rule.family == family)
            });
            match list {
                // A kernel without policy routing for this family.
                Err(error) if error.raw_os_error() == Some(libc::EAFNOSUPPORT) => {}
                list => rules.extend(list?),
            }
        }
        Ok(rules)
    }

    /// Adds a rule.
    ///
    /// # Errors
    /// EEXIST if the same rule exists; EINVAL if a prefix has the other family or the table is
    /// missing; EPERM.
    pub fn add_rule(&mut self, rule: &Rule) -> io::Result<()> {
        self.change(&mut rule.request(RTM_NEWRULE, NLM_F_CREATE | NLM_F_EXCL))
    }

    /// Deletes the first rule that matches all fields set here.
    ///
    /// # Errors
    /// ENOENT if there is none; EPERM.
    pub fn delete_rule(&mut self, rule: &Rule) -> io::Result<()> {
        self.change(&mut rule.request(RTM_DELRULE, 0))
    }
}

fn new_rule(message: &Message<'_>) -> Option<Rule> {
    if message.kind == RTM_NEWRULE { decode(message.body) } else { None }
}

/// Decodes the body of an RTM_NEWRULE; `None` if it is malformed or of another family.
pub(super) fn decode(body: &[u8]) -> Option<Rule> {
    let (header, rest) = split::<12>(body)?;
    let [family, to_len, from_len, _, table, _, _, action, f0, f1, f2, f3] = *header;
    let family = family::from_number(family)?;
    let mut rule = Rule {
        priority: Some(0), // the kernel leaves it out where it is 0
        invert: u32::from_ne_bytes([f0, f1, f2, f3]) & FIB_RULE_INVERT != 0,
        protocol: 0,
        ..Rule::new(family, RuleAction::Other(action))
    };
    let mut table = u32::from(table);
    let prefix = |value, len| {
        let ip = read_ip(value).filter(|ip| IpFamily::of(*ip) == family)?;
        IpPrefix::new(ip, len).ok()
    };
    for (kind, value) in attributes(rest) {
        match kind {
            FRA_PRIORITY => rule.priority = read_u32(value),
            FRA_SRC => rule.from = Some(prefix(value, from_len)?),
            FRA_DST => rule.to = Some(prefix(value, to_len)?),
            FRA_FWMARK => {
                let mask = rule.fwmark.map_or(u32::MAX, |mark| mark.mask);
                rule.fwmark = read_u32(value).map(|mark| FwMark { mark, mask });
            }
            FRA_FWMASK => {
                let mark = rule.fwmark.map_or(0, |mark| mark.mark);
                // For a rule that ignores the mark, the kernel reports a mask of 0.
                rule.fwmark =
                    read_u32(value).filter(|mask| *mask != 0).map(|mask| FwMark { mark, mask });
            }
            FRA_IIFNAME => rule.iif = name(value),
            FRA_OIFNAME => rule.oif = name(value),
            FRA_TABLE => table = read_u32(value).unwrap_or(table),
            FRA_PROTOCOL => rule.protocol = value.first().copied().unwrap_or(0),
            FRA_UID_RANGE => rule.uid_range = uid_range(value),
            FRA_SUPPRESS_PREFIXLEN => {
                // -1 stands for "no suppression".
                rule.suppress_prefixlength = read_u32(value).filter(|len| *len != u32::MAX);
            }
            _ => {}
        }
    }
    rule.action = match action {
        FR_ACT_TO_TBL => RuleAction::Table(table),
        FR_ACT_BLACKHOLE => RuleAction::Blackhole,
        FR_ACT_UNREACHABLE => RuleAction::Unreachable,
        FR_ACT_PROHIBIT => RuleAction::Prohibit,
        other => RuleAction::Other(other),
    };
    Some(rule)
}

fn name(value: &[u8]) -> Option<IfName> {
    IfName::new(OsStr::from_bytes(read_string(value))).ok()
}

/// `struct fib_rule_uid_range`: two u32.
fn uid_range(value: &[u8]) -> Option<RangeInclusive<u32>> {
    let (first, last) = split::<4>(value)?;
    Some(u32::from_ne_bytes(*first)..=read_u32(last)?)
}

wire_enum! { RuleAction {
    0 = Table(table), 1 = Blackhole, 2 = Unreachable, 3 = Prohibit, 4 = Other(number),
} }
wire_structs! {
    FwMark { mark, mask }
    Rule {
        family, priority, from, to, fwmark, iif, oif, uid_range, action, invert, suppress_prefixlength,
        protocol,
    }
}
