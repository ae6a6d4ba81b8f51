//! The address before a datagram of a bound flow.

use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};

/// A datagram behind the address that it is from.
pub(super) fn addressed(from: SocketAddr, datagram: &[u8]) -> Vec<u8> {
    let ip = match from.ip() {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    };
    [&ip.octets()[..], &from.port().to_be_bytes(), datagram].concat()
}
