//! One table of the packet filter (nftables).
//!
//! A host accepts packets for each of its addresses on every device, so that others on its network could
//! reach the address of a tunnel without the tunnel (CVE-2019-14899): those packets are dropped. Answers to
//! the tunnel's marked datagrams get that mark again, so that a strict reverse path filter accepts them
//! (`src_valid_mark` in ip-sysctl.rst). `wg-quick` sets the same rules.

use adit_device::IfName;
use adit_device::netlink::IpFamily;
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
    /// IPv4 or IPv6.
    pub family: IpFamily,
    /// The device that the table belongs to.
    pub device: IfName,
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
}

/// The chains: name, hook, priority.
const CHAINS: [(&str, &str, i16); 3] = [
    ("preraw", "prerouting", -300),
    ("premangle", "prerouting", -150),
    ("postmangle", "postrouting", -150),
];

impl FilterRule {
    const fn chain(self) -> &'static str {
        match self {
            Self::OnlyThroughDevice(_) => "preraw",
            Self::RestoreMark(_) => "premangle",
            Self::SaveMark(_) => "postmangle",
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
        for (chain, hook, priority) in CHAINS {
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
                }?;
            }
            f.write_str(" };")?;
        }
        f.write_str(" }")
    }
}

/// A family in the words of nft(8).
pub(crate) const fn word(family: IpFamily) -> &'static str {
    match family {
        IpFamily::V4 => "ip",
        IpFamily::V6 => "ip6",
    }
}
