//! The addresses of an inside that the NAT chooses.

use alloc::string::{String, ToString};
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use adit_packet::IpPrefix;

use crate::guest::GuestConfig;

/// The addresses of the inside: those that slirp4netns has, so that what users know holds.
///
/// ```text
/// 10.0.2.2    fd00::2     the NAT
/// 10.0.2.3    fd00::3     its name server
/// 10.0.2.100  fd00::100   the device inside
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InsideAddresses {
    /// The device, with the network.
    pub v4: IpPrefix,
    /// The same for IPv6.
    pub v6: IpPrefix,
}

/// The address of the NAT, among those of its network.
const GATEWAY: u32 = 2;

/// The address of its name server.
const NAME_SERVER: u32 = 3;

impl InsideAddresses {
    /// The usual addresses.
    ///
    /// # Errors
    /// None.
    pub fn usual() -> Result<Self, String> {
        let prefix = |ip: IpAddr, len| IpPrefix::new(ip, len).map_err(|error| error.to_string());
        let v4 = prefix(Ipv4Addr::new(10, 0, 2, 100).into(), 24)?;
        Ok(Self { v4, v6: prefix(Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 0x100).into(), 64)? })
    }

    /// The first guest of each family, in the usual networks or in these.
    ///
    /// # Errors
    /// Two networks are of one family, or one is too small.
    pub fn of_guests(networks: &[IpPrefix]) -> Result<Self, String> {
        let guests = GuestConfig::of(networks).map_err(|error| error.to_string())?;
        let first = guests.first_guests();
        let of_family = |is_v4| first.iter().copied().find(|one| one.ip().is_ipv4() == is_v4);
        match (of_family(true), of_family(false)) {
            (Some(v4), Some(v6)) => Ok(Self { v4, v6 }),
            _ => Err("a family has no guests".into()),
        }
    }

    /// The addresses of the device, or of the first guest.
    #[must_use]
    pub const fn devices(&self) -> [IpAddr; 2] {
        [self.v4.ip(), self.v6.ip()]
    }

    /// The NAT's addresses.
    #[must_use]
    pub fn gateways(&self) -> (Option<Ipv4Addr>, Option<Ipv6Addr>) {
        self.at(GATEWAY)
    }

    /// The NAT's addresses, IPv4 first.
    pub fn gateway_ips(&self) -> impl Iterator<Item = IpAddr> + use<> {
        ips(self.at(GATEWAY))
    }

    /// The addresses of the name server inside, IPv4 first.
    pub fn name_servers(&self) -> impl Iterator<Item = IpAddr> + use<> {
        ips(self.at(NAME_SERVER))
    }

    /// An address of each network by its number.
    fn at(&self, number: u32) -> (Option<Ipv4Addr>, Option<Ipv6Addr>) {
        let v4 = match self.v4.network().ip() {
            IpAddr::V4(ip) => ip.to_bits().checked_add(number).map(Ipv4Addr::from_bits),
            IpAddr::V6(_) => None,
        };
        let v6 = match self.v6.network().ip() {
            IpAddr::V6(ip) => ip.to_bits().checked_add(number.into()).map(Ipv6Addr::from_bits),
            IpAddr::V4(_) => None,
        };
        (v4, v6)
    }
}

fn ips((v4, v6): (Option<Ipv4Addr>, Option<Ipv6Addr>)) -> impl Iterator<Item = IpAddr> {
    v4.map(IpAddr::V4).into_iter().chain(v6.map(IpAddr::V6))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    #[test]
    fn the_nat_and_its_name_server_have_the_first_numbers_of_each_network() {
        let text =
            |ips: Vec<IpAddr>| -> Vec<String> { ips.iter().map(|ip| ip.to_string()).collect() };
        let usual = InsideAddresses::usual().unwrap();
        assert_eq!(text(usual.devices().to_vec()), ["10.0.2.100", "fd00::100"]);
        assert_eq!(text(usual.gateway_ips().collect()), ["10.0.2.2", "fd00::2"]);
        assert_eq!(text(usual.name_servers().collect()), ["10.0.2.3", "fd00::3"]);
        let guests = InsideAddresses::of_guests(&["10.9.0.0/24".parse().unwrap()]).unwrap();
        assert_eq!(text(guests.devices().to_vec()), ["10.9.0.15", "fd00::15"]);
        assert_eq!(text(guests.gateway_ips().collect()), ["10.9.0.2", "fd00::2"]);
        assert!(InsideAddresses::of_guests(&["10.9.0.0/30".parse().unwrap()]).is_err());
    }
}
