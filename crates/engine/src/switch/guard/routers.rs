//! Messages that only routers send, in IPv4 and IPv6, in tunnels of IP in IP as well.

use adit_packet::{Ipv4, Ipv6, icmp, ip_protocol};

use crate::drop_reason::DropReason;
use crate::switch::guard::require::{is_upper_layer, require};

/// The most packets of IP in IP that are read.
const NESTED_MAX: u8 = 4;
/// IGMP, IPv4 in IP and IPv6 in IP (IANA, Protocol Numbers).
const IGMP: u8 = 2;
const IPV4_IN_IP: u8 = 4;
const IPV6_IN_IP: u8 = 41;

/// The length of a PPPoE session header (RFC 2516, 4), and the point-to-point protocols of IP.
const PPPOE_LEN: usize = 6;
const PPP_IPV4: u16 = 0x0021;
const PPP_IPV6: u16 = 0x0057;

/// Checks the message above IP, of a packet that is whole or a first fragment.
///
/// # Errors
///
/// [`DropReason::RA_GUARD`] for a router's message; another reason if the message is hidden.
pub(super) fn refuse_routers(protocol: u8, message: &[u8]) -> Result<(), DropReason> {
    refuse(protocol, message, NESTED_MAX)
}

/// Checks the packet in a PPPoE session.
///
/// # Errors
///
/// Those of [`refuse_routers`].
pub(super) fn refuse_routers_in_pppoe(session: &[u8]) -> Result<(), DropReason> {
    let ppp = session.get(PPPOE_LEN..).unwrap_or_default();
    // An odd first byte is a protocol of one byte (RFC 1661, 2).
    match *ppp {
        [short, ref packet @ ..] if short & 1 == 1 => refuse_in_ppp(u16::from(short), packet),
        [high, low, ref packet @ ..] => refuse_in_ppp(u16::from_be_bytes([high, low]), packet),
        _ => Ok(()),
    }
}

fn refuse_in_ppp(protocol: u16, packet: &[u8]) -> Result<(), DropReason> {
    match protocol {
        PPP_IPV4 => refuse(IPV4_IN_IP, packet, NESTED_MAX),
        PPP_IPV6 => refuse(IPV6_IN_IP, packet, NESTED_MAX),
        _ => Ok(()),
    }
}

fn refuse(protocol: u8, message: &[u8], nested: u8) -> Result<(), DropReason> {
    let is_routers: fn(u8) -> bool = match protocol {
        ip_protocol::ICMP => is_routers_icmp4,
        ip_protocol::ICMP6 => is_routers_icmp6,
        IGMP => is_routers_igmp,
        IPV4_IN_IP | IPV6_IN_IP => {
            let nested = nested.checked_sub(1).ok_or(DropReason::FILTERED)?;
            return if protocol == IPV4_IN_IP {
                refuse_in_ipv4(message, nested)
            } else {
                refuse_in_ipv6(message, nested)
            };
        }
        _ => return Ok(()),
    };
    let kind = *message.first().ok_or(DropReason::MALFORMED)?;
    require(!is_routers(kind), DropReason::RA_GUARD)
}

fn refuse_in_ipv4(packet: &[u8], nested: u8) -> Result<(), DropReason> {
    let ipv4 = Ipv4::parse(packet).map_err(|_| DropReason::MALFORMED)?;
    if ipv4.fragment().is_some_and(|fragment| fragment.offset != 0) {
        return Ok(());
    }
    refuse(ipv4.protocol(), ipv4.payload(), nested)
}

fn refuse_in_ipv6(packet: &[u8], nested: u8) -> Result<(), DropReason> {
    let ipv6 = Ipv6::parse(packet).map_err(|_| DropReason::MALFORMED)?;
    let upper = ipv6.upper_layer().map_err(|_| DropReason::MALFORMED)?;
    if upper.fragment.is_some_and(|fragment| fragment.offset != 0) {
        return Ok(());
    }
    require(is_upper_layer(upper.protocol), DropReason::FILTERED)?;
    refuse(upper.protocol, upper.payload, nested)
}

/// Redirect (RFC 792) and router advertisement (RFC 1256).
const fn is_routers_icmp4(kind: u8) -> bool {
    matches!(kind, 5 | 9)
}

/// Multicast listener query (RFC 2710), router advertisement, redirect (RFC 4861), router renumbering (RFC
/// 2894), multicast router advertisement and termination (RFC 4286).
const fn is_routers_icmp6(kind: u8) -> bool {
    matches!(kind, 130 | icmp::v6::ROUTER_ADVERTISEMENT | 137 | 138 | 151 | 153)
}

/// Membership query (RFC 2236), multicast router advertisement and termination (RFC 4286).
const fn is_routers_igmp(kind: u8) -> bool {
    matches!(kind, 0x11 | 0x30 | 0x32)
}
