//! Which destinations the inside reaches, and where they are.

use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use core::ops::RangeInclusive;

use adit_packet::IpPrefix;

/// Destinations that the inside may or may not reach.
///
/// The first of the rules that matches decides. If none does, [`denied by default`](is_denied_by_default)
/// are the host's loopback, link-local and metadata addresses, multicast, and the host's own addresses;
/// all others are reached. A redirect is a permission: it applies unless a rule denies its outside address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Policy {
    /// The rules, in order.
    pub rules: Vec<Rule>,
    /// Inside destinations that stand for outside ones.
    pub redirects: Vec<Redirect>,
    /// The host's own addresses, and the networks that it takes for its own.
    pub host_addresses: Vec<IpPrefix>,
}

/// A rule of a [`Policy`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Whether it allows.
    pub allows: bool,
    /// The destinations.
    pub to: IpPrefix,
    /// The destination ports; ICMP has port 0.
    pub ports: RangeInclusive<u16>,
}

/// An inside destination that stands for an outside one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redirect {
    /// The address that the inside uses.
    pub from: IpAddr,
    /// Its ports; `0..=65535` for all.
    pub ports: RangeInclusive<u16>,
    /// The address that is reached.
    pub to: IpAddr,
    /// Its port; `None` for the same.
    pub port: Option<u16>,
}

/// What a policy says of a destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is reached at this address.
    Reached(SocketAddr),
    /// It is denied.
    Denied,
}

impl Policy {
    /// Lets the inside reach ports of the host's loopback at an address of the NAT (its gateway).
    pub fn allow_host(&mut self, gateway: IpAddr, ports: RangeInclusive<u16>) {
        let to = match gateway {
            IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        };
        self.redirects.push(Redirect { from: gateway, ports, to, port: None });
    }

    /// The rule that decides about an outside address.
    pub(crate) fn rule_for(&self, at: SocketAddr) -> Option<&Rule> {
        let matches = |rule: &&Rule| rule.to.contains(at.ip()) && rule.ports.contains(&at.port());
        self.rules.iter().find(matches)
    }

    /// What becomes of a flow to this destination.
    #[must_use]
    pub fn verdict(&self, to: SocketAddr) -> Verdict {
        let redirect = |one: &&Redirect| one.from == to.ip() && one.ports.contains(&to.port());
        let redirected = self.redirects.iter().find(redirect);
        let at = redirected
            .map_or(to, |one| SocketAddr::new(one.to, one.port.unwrap_or_else(|| to.port())));
        let allows = match self.rule_for(at) {
            Some(rule) => rule.allows,
            None => {
                let is_of_host = |prefix: &IpPrefix| prefix.contains(at.ip());
                redirected.is_some()
                    || !(is_denied_by_default(at.ip())
                        || self.host_addresses.iter().any(is_of_host))
            }
        };
        if allows { Verdict::Reached(at) } else { Verdict::Denied }
    }
}

/// Whether an address is denied without a rule: "this host", loopback, link-local (where the metadata of
/// clouds is), metadata elsewhere, multicast, reserved and broadcast addresses.
#[must_use]
pub fn is_denied_by_default(ip: IpAddr) -> bool {
    /// Metadata services outside of link-local: EC2 over IPv6, Alibaba Cloud.
    const METADATA_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254);
    const METADATA_V4: Ipv4Addr = Ipv4Addr::new(100, 100, 100, 200);
    match ip {
        IpAddr::V4(ip) => {
            let [first, ..] = ip.octets();
            matches!(first, 0 | 127 | 224..) || ip.is_link_local() || ip == METADATA_V4
        }
        IpAddr::V6(ip) => {
            // ::/96 holds ::, ::1 and the deprecated IPv4-compatible addresses; IPv4-mapped ones would
            // reach IPv4 destinations past the rules for them.
            ip.to_bits() >> 32 == 0
                || ip.to_ipv4_mapped().is_some()
                || ip.is_unicast_link_local()
                || ip.is_multicast()
                || ip == METADATA_V6
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec;

    fn at(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn what_hurts_is_denied_and_the_rest_is_reached() {
        let host_addresses = ["192.0.2.9/32", "10.9.0.0/16", "2001:db8:9::/48"];
        let host_addresses = host_addresses.map(|prefix| prefix.parse().unwrap()).to_vec();
        let policy = Policy { host_addresses, ..Policy::default() };
        for denied in [
            "127.0.0.1:80",
            "127.9.9.9:1",
            "0.0.0.0:80",
            "169.254.169.254:80",
            "224.0.0.251:5353",
            "255.255.255.255:67",
            "240.0.0.1:1",
            "100.100.100.200:80",
            "192.0.2.9:22",
            "10.9.8.7:22",
            "[2001:db8:9::7]:22",
            "[::1]:80",
            "[::]:80",
            "[fe80::1]:80",
            "[ff02::fb]:5353",
            "[::ffff:127.0.0.1]:80",
            "[::127.0.0.1]:80",
            "[fd00:ec2::254]:80",
        ] {
            assert_eq!(policy.verdict(at(denied)), Verdict::Denied, "{denied}");
        }
        for reached in ["192.0.2.1:80", "10.0.0.1:1", "[2001:db8::1]:443", "[fd00::1]:80"] {
            assert_eq!(policy.verdict(at(reached)), Verdict::Reached(at(reached)));
        }
    }

    #[test]
    fn the_first_rule_decides_and_redirects_open_what_they_name() {
        let mut policy = Policy::default();
        let rule = |allows, to: &str, ports| Rule { allows, to: to.parse().unwrap(), ports };
        policy.rules = vec![
            rule(true, "169.254.169.254/32", 80..=80),
            rule(true, "192.0.2.1/32", 443..=443),
            rule(false, "192.0.2.0/24", 0..=65535),
        ];
        policy.allow_host(at("10.0.2.2:0").ip(), 8080..=8081);
        for (to, reached) in [
            ("169.254.169.254:80", Some("169.254.169.254:80")),
            ("169.254.169.254:81", None),
            ("192.0.2.1:443", Some("192.0.2.1:443")),
            ("192.0.2.1:80", None),
            ("10.0.2.2:8081", Some("127.0.0.1:8081")),
            ("10.0.2.2:8082", Some("10.0.2.2:8082")),
            ("127.0.0.1:8080", None),
        ] {
            let expected = reached.map_or(Verdict::Denied, |to| Verdict::Reached(at(to)));
            assert_eq!(policy.verdict(at(to)), expected, "{to}");
        }
        policy.rules.insert(0, rule(false, "127.0.0.0/8", 8080..=8080));
        assert_eq!(policy.verdict(at("10.0.2.2:8080")), Verdict::Denied);
    }
}
