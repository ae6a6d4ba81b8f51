//! What the inside may reach and how much of it, as people ask for it.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use adit_packet::IpPrefix;
use adit_packet::units::{self, Bitrate, UnitError};

use super::config::Limits;
use super::destination::Destination;
use super::policy::{Policy, Rule};

/// What the inside may reach, and how much of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Access {
    /// Ports of the host's loopback that the inside reaches at the NAT's address.
    pub allow_host: Vec<u16>,
    /// Destinations that are reached, whatever else denies them.
    pub allow: Vec<Destination>,
    /// Destinations that are denied.
    pub deny: Vec<Destination>,
    /// The most flows of one address inside.
    pub flow_limit: Option<u32>,
    /// The most flows that one address inside begins in a second.
    pub flow_rate: Option<u32>,
    /// The most bits a second of one address inside, in each direction.
    pub source_rate: Option<Bitrate>,
}

impl Access {
    /// Reads a limit from 1 on, as `500` or `10k`.
    ///
    /// # Errors
    /// It is no number, 0, or too large.
    pub fn parse_count(text: &str) -> Result<u32, String> {
        let count = units::parse_count(text).map_err(|error| error.to_string())?;
        let count = u32::try_from(count).ok().filter(|count| *count > 0);
        count.ok_or_else(|| "the range is 1 to 4G".into())
    }

    /// Reads the rate of an address, as `10mbit`.
    ///
    /// # Errors
    /// It is no rate, or 0.
    pub fn parse_rate(text: &str) -> Result<Bitrate, String> {
        let rate: Bitrate = text.parse().map_err(|error: UnitError| error.to_string())?;
        if rate.bits_per_second() > 0 { Ok(rate) } else { Err("the rate must not be 0".into()) }
    }

    /// The policy of a NAT with these addresses of its own, on a host with those.
    pub fn policy(
        &self,
        gateways: impl IntoIterator<Item = IpAddr>,
        host_addresses: Vec<IpPrefix>,
    ) -> Policy {
        let mut policy = Policy { host_addresses, ..Policy::default() };
        for gateway in gateways {
            self.allow_host.iter().for_each(|&port| policy.allow_host(gateway, port..=port));
        }
        // The first that matches decides: what is allowed is reached, whatever is denied.
        let loopback = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
        for (&port, ip) in self.allow_host.iter().flat_map(|port| loopback.map(|ip| (port, ip))) {
            policy.rules.push(Rule { allows: true, to: IpPrefix::host(ip), ports: port..=port });
        }
        policy.rules.extend(self.allow.iter().flat_map(|to| to.rules(true)));
        policy.rules.extend(self.deny.iter().flat_map(|to| to.rules(false)));
        policy
    }

    /// Sets the limits of each address inside.
    pub fn limit(&self, limits: &mut Limits) {
        limits.flows_per_source = self.flow_limit.unwrap_or(limits.flows_per_source);
        limits.new_flows_per_second = self.flow_rate;
        limits.source_rate = self.source_rate;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_counts_and_rates_from_one_on() {
        assert_eq!(Access::parse_count("10k"), Ok(10_000));
        assert_eq!(Access::parse_rate("1.5mbit").unwrap().bits_per_second(), 1_500_000);
        for wrong in ["0", "", "x", "5G"] {
            assert!(Access::parse_count(wrong).is_err(), "{wrong}");
        }
        for wrong in ["0", "", "10", "2tbit"] {
            assert!(Access::parse_rate(wrong).is_err(), "{wrong}");
        }
    }
}
