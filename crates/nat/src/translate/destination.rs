//! Destinations of rules, as people write them.

use alloc::format;
use alloc::string::String;
use core::fmt;
use core::ops::RangeInclusive;
use core::str::FromStr;

use adit_packet::IpPrefix;

use super::policy::Rule;
use super::spec::parse_ports;

/// Destinations: `PREFIX`, `PREFIX:PORT[-PORT]`, IPv6 with ports in brackets; `any` for all addresses.
///
/// ```
/// use adit_nat::Destination;
///
/// let mail: Destination = "any:25".parse()?;
/// assert_eq!(mail.rules(false).count(), 2);
/// let one: Destination = "[2001:db8::/32]:8000-8009".parse()?;
/// assert_eq!(one.to_string(), "[2001:db8::/32]:8000-8009");
/// # Ok::<(), String>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destination {
    /// The addresses; `None` for all of both families.
    pub prefix: Option<IpPrefix>,
    /// The ports; `None` for all, and for ICMP, which has none.
    pub ports: Option<RangeInclusive<u16>>,
}

impl Destination {
    /// The rules that allow or deny it: one for each family.
    pub fn rules(&self, allows: bool) -> impl Iterator<Item = Rule> + use<> {
        let both = [Some(IpPrefix::ALL_V4), Some(IpPrefix::ALL_V6)];
        let prefixes = self.prefix.map_or(both, |prefix| [Some(prefix), None]);
        let ports = self.ports.clone().unwrap_or(0..=u16::MAX);
        let rule = move |to| Rule { allows, to, ports: ports.clone() };
        prefixes.into_iter().flatten().map(rule)
    }
}

impl FromStr for Destination {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let prefix = |text: &str| match text {
            "any" => Ok(None),
            _ => IpPrefix::parse_network(text).map(Some).map_err(|error| {
                format!("`{}` is not an address, a prefix or `any`: {error}", text.escape_debug())
            }),
        };
        let bracketed = text.strip_prefix('[').and_then(|rest| rest.split_once(']'));
        let (address, ports) = match (bracketed, text.split_once(':')) {
            (Some((address, "")), _) => (address, None),
            (Some((address, rest)), _) => {
                let ports = rest.strip_prefix(':').ok_or("`:` and a port must follow `]`")?;
                (address, Some(ports))
            }
            // With two colons it is IPv6.
            (None, Some((address, ports))) if !ports.contains(':') => (address, Some(ports)),
            (None, _) => (text, None),
        };
        Ok(Self { prefix: prefix(address)?, ports: ports.map(parse_ports).transpose()? })
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.prefix, &self.ports) {
            (None, _) => f.write_str("any")?,
            (Some(prefix), Some(_)) if prefix.ip().is_ipv6() => write!(f, "[{prefix}]")?,
            (Some(prefix), _) => write!(f, "{prefix}")?,
        }
        match &self.ports {
            None => Ok(()),
            Some(ports) if ports.start() == ports.end() => write!(f, ":{}", ports.start()),
            Some(ports) => write!(f, ":{}-{}", ports.start(), ports.end()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;

    #[test]
    fn a_destination_reads_and_prints() {
        for (text, printed) in [
            ("any", "any"),
            ("any:25", "any:25"),
            ("10.0.0.0/8", "10.0.0.0/8"),
            ("192.0.2.1", "192.0.2.1/32"),
            ("192.0.2.1:80-89", "192.0.2.1/32:80-89"),
            ("2001:db8::/32", "2001:db8::/32"),
            ("::1", "::1/128"),
            ("[::1]:80", "[::1/128]:80"),
            ("[fd00::/8]", "fd00::/8"),
            ("[any]:80", "any:80"),
        ] {
            let destination: Destination = text.parse().unwrap();
            assert_eq!(destination.to_string(), printed, "{text}");
            assert_eq!(printed.parse(), Ok(destination), "{text}");
        }
        for wrong in [
            "",
            ":25",
            "any:",
            "any:0",
            "10.0.0.1/8",
            "10.0.0.0/33",
            "example.org",
            "[::1",
            "[::1]80",
            "10.0.0.0/8:80-79",
            "any:25/udp",
        ] {
            assert!(wrong.parse::<Destination>().is_err(), "{wrong}");
        }
    }
}
