//! One table of the packet filter (nftables).
//!
//! A host accepts packets for each of its addresses on every device, so that others on its network could
//! reach the address of a tunnel without the tunnel (CVE-2019-14899): those packets are dropped. Answers to
//! the tunnel's marked datagrams get that mark again, so that a strict reverse path filter accepts them
//! (`src_valid_mark` in ip-sysctl.rst). `wg-quick` sets the same rules.
//!
//! The kill switch is a table of its own, `inet adit-NAME`. It rejects what would leave by another device,
//! and it outlives its owner.

use adit_device::netlink::IpFamily;
use adit_device::{IfName, wire_enum, wire_structs};
use std::fmt;
use std::net::IpAddr;

/// What the names of our tables begin with; the device's name follows.
pub const TABLE_PREFIX: &str = "adit-";

/// A table and its rules. Each family has tables of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilterTable {
    /// Which table.
    pub id: TableId,
    /// Its rules.
    pub rules: Vec<FilterRule>,
}

/// Identifies a table of the packet filter: one a device and family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TableId {
    /// The packets that pass it.
    pub family: TableFamily,
    /// The device that the table belongs to.
    pub device: IfName,
}

/// The packets that pass a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TableFamily {
    /// IPv4 or IPv6. The table is stale when its owner is gone.
    Ip(IpFamily),
    /// Both: the kill switch, which stays when its owner is gone.
    KillSwitch,
}

wire_structs! {
    FilterTable { id, rules }
    TableId { family, device }
}

wire_enum! { TableFamily { 0 = Ip(family), 1 = KillSwitch } }

wire_enum! { FilterRule {
    0 = OnlyThroughDevice(ip),
    1 = SaveMark(mark),
    2 = RestoreMark(mark),
    3 = OnlyOutByDevice(mark),
    4 = OnlyForwardByDevice,
} }

impl TableId {
    /// The kill switch of a device.
    #[must_use]
    pub const fn kill_switch(device: IfName) -> Self {
        Self { family: TableFamily::KillSwitch, device }
    }

    /// Whether it is a kill switch.
    #[must_use]
    pub const fn is_kill_switch(&self) -> bool {
        matches!(self.family, TableFamily::KillSwitch)
    }
}

impl FilterTable {
    /// The kill switch of a device whose own datagrams have this mark.
    #[must_use]
    pub fn kill_switch(device: IfName, mark: u32) -> Self {
        Self { id: TableId::kill_switch(device), rules: FilterRule::only_out(mark).to_vec() }
    }

    /// Whether a start must fail without it: the user asked for that nothing leaves by another way.
    #[must_use]
    pub fn is_required(&self) -> bool {
        self.rules.iter().any(|rule| matches!(rule, FilterRule::OnlyOutByDevice(_)))
    }
}

/// A rule; its kind says which chain it is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FilterRule {
    /// Drops packets from other hosts to this address that did not come through the device.
    OnlyThroughDevice(IpAddr),
    /// Copies this mark from a datagram that is sent to its connection.
    SaveMark(u32),
    /// Copies this mark from a connection to the datagrams that arrive.
    RestoreMark(u32),
    /// Rejects packets of this host that leave by another device, except datagrams with this mark, and
    /// what the network itself needs: DHCP and neighbor discovery.
    OnlyOutByDevice(u32),
    /// Rejects packets of other hosts that pass this one between other devices.
    OnlyForwardByDevice,
}

/// The chains: name, hook, priority.
const CHAINS: [(&str, &str, i16); 5] = [
    ("preraw", "prerouting", -300),
    ("premangle", "prerouting", -150),
    ("postmangle", "postrouting", -150),
    ("output", "output", 0),
    ("forward", "forward", 0),
];

/// What a host needs of its network before anything else works: DHCP, DHCPv6, neighbor discovery, and the
/// reports without which a switch that snoops on multicast drops the latter.
const NETWORK_NEEDS: &str = "udp sport 68 udp dport 67 accept; \
     ip6 daddr { fe80::/10, ff02::/16 } udp sport 546 udp dport 547 accept; \
     icmpv6 type { nd-router-solicit, nd-neighbor-solicit, nd-neighbor-advert } ip6 hoplimit 255 accept; \
     icmpv6 type { mld-listener-report, mld-listener-done, mld2-listener-report } ip6 hoplimit 1 accept;";

impl FilterRule {
    /// What keeps packets from leaving by another device.
    #[must_use]
    pub const fn only_out(mark: u32) -> [Self; 2] {
        [Self::OnlyOutByDevice(mark), Self::OnlyForwardByDevice]
    }

    const fn chain(self) -> &'static str {
        match self {
            Self::OnlyThroughDevice(_) => "preraw",
            Self::RestoreMark(_) => "premangle",
            Self::SaveMark(_) => "postmangle",
            Self::OnlyOutByDevice(_) => "output",
            Self::OnlyForwardByDevice => "forward",
        }
    }
}

impl fmt::Display for TableId {
    /// Its name in the words of nft(8). Device names have letters, digits, `-`, `_` and `.`, as nft takes
    /// them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {TABLE_PREFIX}{}", word(self.family), self.device)
    }
}

impl fmt::Display for FilterTable {
    /// The table in the words of nft(8), on one line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "table {} {{", self.id)?;
        let (family, device) = (word(self.id.family), self.id.device);
        let reject = match self.id.family {
            TableFamily::Ip(IpFamily::V4) => "reject with icmp type admin-prohibited",
            TableFamily::Ip(IpFamily::V6) => "reject with icmpv6 type admin-prohibited",
            TableFamily::KillSwitch => "reject with icmpx type admin-prohibited",
        };
        let is_used = |chain: &str| self.rules.iter().any(|rule| rule.chain() == chain);
        for (chain, hook, priority) in CHAINS.into_iter().filter(|(chain, ..)| is_used(chain)) {
            write!(f, " chain {chain} {{ type filter hook {hook} priority {priority};")?;
            for rule in self.rules.iter().filter(|rule| rule.chain() == chain) {
                let datagrams = "meta l4proto { tcp, udp }";
                match rule {
                    FilterRule::OnlyThroughDevice(ip) => write!(
                        f,
                        " iifname != \"{device}\" {family} daddr {ip} fib saddr type != local drop;"
                    ),
                    FilterRule::SaveMark(mark) => {
                        write!(f, " {datagrams} meta mark {mark} ct mark set meta mark;")
                    }
                    FilterRule::RestoreMark(mark) => {
                        write!(f, " {datagrams} ct mark {mark} meta mark set ct mark;")
                    }
                    FilterRule::OnlyOutByDevice(mark) => write!(
                        f,
                        " oifname {{ \"lo\", \"{device}\" }} accept; meta mark {mark} accept; \
                         {NETWORK_NEEDS} {reject};"
                    ),
                    FilterRule::OnlyForwardByDevice => write!(
                        f,
                        " oifname \"{device}\" accept; iifname \"{device}\" accept; {reject};"
                    ),
                }?;
            }
            f.write_str(" };")?;
        }
        f.write_str(" }")
    }
}

/// A family in the words of nft(8).
pub(crate) const fn word(family: TableFamily) -> &'static str {
    match family {
        TableFamily::Ip(IpFamily::V4) => "ip",
        TableFamily::Ip(IpFamily::V6) => "ip6",
        TableFamily::KillSwitch => "inet",
    }
}

/// The family of a word of nft(8).
pub(crate) fn family(known: &str) -> Option<TableFamily> {
    let all =
        [TableFamily::Ip(IpFamily::V4), TableFamily::Ip(IpFamily::V6), TableFamily::KillSwitch];
    all.into_iter().find(|family| word(*family) == known)
}
