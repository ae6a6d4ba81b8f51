//! Neighbour discovery (RFC 4861): what is read of it, and router advertisements.

use core::net::{IpAddr, Ipv6Addr};
use core::time::Duration;

use adit_packet::{IcmpHeader, MacAddr, Malformed, NoRoom, PacketBuf, icmp};

use crate::guest::config::{GuestConfig, GuestV6};

/// All nodes of the link (RFC 4291, 2.7.1).
pub(super) const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
/// A redirect (RFC 4861, 4.5).
pub(super) const REDIRECT: u8 = 137;

/// How long guests use the gateway and the name servers without another advertisement: three times the longest
/// interval (RFC 4861, 6.2.1; RFC 8106, 5.1).
const ROUTER_LIFETIME: Duration = Duration::from_secs(1800);
/// How long a prefix is valid, and preferred for new connections.
const PREFIX_VALID: Duration = Duration::from_secs(86_400);
const PREFIX_PREFERRED: Duration = Duration::from_secs(14_400);

/// Bytes of an advertisement's search list: about ten names.
const SEARCH_MAX: usize = 256;

/// The link-layer address option of a router solicitation; `None` if there is none.
///
/// # Errors
///
/// [`Malformed`] if the options do not fill the rest of the message.
pub(super) fn source_link_address(message: &[u8]) -> Result<Option<MacAddr>, Malformed> {
    const SOURCE_LINK_ADDRESS: u8 = 1;
    let mut options = message.get(IcmpHeader::LEN..).ok_or(Malformed::IcmpShort)?;
    let mut found = None;
    while let [kind, words, ..] = *options {
        let (option, rest) = options
            .split_at_checked(usize::from(words) * 8)
            .filter(|_| words != 0)
            .ok_or(Malformed::NeighbourOption)?;
        if let (SOURCE_LINK_ADDRESS, [_, _, a, b, c, d, e, f]) = (kind, option) {
            found = Some(MacAddr([*a, *b, *c, *d, *e, *f]));
        }
        options = rest;
    }
    if options.is_empty() { Ok(found) } else { Err(Malformed::NeighbourOption) }
}

/// The group of the nodes whose addresses end like that (RFC 4291, 2.7.1).
pub(super) const fn solicited_node(ip: Ipv6Addr) -> Ipv6Addr {
    let [.., high, low] = ip.segments();
    Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00 | high & 0xff, low)
}

/// Appends a router advertisement, without checksum.
pub(super) fn router_advertisement(
    config: &GuestConfig,
    v6: &GuestV6,
    packet: &mut PacketBuf,
) -> Result<(), NoRoom> {
    const HOP_LIMIT: u8 = 64;
    /// DHCPv6 gives addresses; and other things.
    const MANAGED: u8 = 0x80;
    const OTHER: u8 = 0x40;
    let flags = if v6.pool.is_some() { MANAGED | OTHER } else { OTHER };
    let [life_0, life_1] =
        u16::try_from(ROUTER_LIFETIME.as_secs()).unwrap_or(u16::MAX).to_be_bytes();
    let rest = [HOP_LIMIT, flags, life_0, life_1];
    let kind = icmp::v6::ROUTER_ADVERTISEMENT;
    packet.extend(&IcmpHeader { kind, code: 0, rest }.to_bytes())?;
    // Reachable time and retransmission timer: the hosts' own.
    packet.extend(&[0; 8])?;
    // Source link-layer address and MTU (RFC 4861, 4.6.1 and 4.6.4).
    packet.extend(&[1, 1])?;
    packet.extend(&config.mac.0)?;
    packet.extend(&[5, 1, 0, 0, 0, 0])?;
    packet.extend(&config.mtu.to_be_bytes())?;
    prefix_information(config, v6, packet)?;
    if !v6.dns.is_empty() {
        // RDNSS (RFC 8106, 5.1).
        packet.extend(&[25, units(8 + 16 * v6.dns.len())?, 0, 0])?;
        packet.extend(&seconds(ROUTER_LIFETIME))?;
        for server in &v6.dns {
            packet.extend(&server.octets())?;
        }
    }
    search_list(config, packet)
}

/// The prefix option (RFC 4861, 4.6.2).
fn prefix_information(
    config: &GuestConfig,
    v6: &GuestV6,
    packet: &mut PacketBuf,
) -> Result<(), NoRoom> {
    const ON_LINK: u8 = 0x80;
    const AUTONOMOUS: u8 = 0x40;
    let IpAddr::V6(network) = v6.prefix.network().ip() else { return Ok(()) };
    // SLAAC needs an interface identifier of 64 bits (RFC 4862, 5.5.3).
    let autonomous = if v6.prefix.len() == 64 { AUTONOMOUS } else { 0 };
    let on_link = if config.off_link { 0 } else { ON_LINK };
    packet.extend(&[3, 4, v6.prefix.len(), on_link | autonomous])?;
    packet.extend(&seconds(PREFIX_VALID))?;
    packet.extend(&seconds(PREFIX_PREFERRED))?;
    packet.extend(&[0; 4])?;
    packet.extend(&network.octets())
}

/// DNSSL (RFC 8106, 5.2), padded with zeros to units of 8 bytes.
fn search_list(config: &GuestConfig, packet: &mut PacketBuf) -> Result<(), NoRoom> {
    let names = config.search_within(SEARCH_MAX);
    let len = (8 + names.clone().map(<[u8]>::len).sum::<usize>()).next_multiple_of(8);
    if len == 8 {
        return Ok(());
    }
    let end = packet.len() + len;
    packet.extend(&[31, units(len)?, 0, 0])?;
    packet.extend(&seconds(ROUTER_LIFETIME))?;
    for name in names {
        packet.extend(name)?;
    }
    let padding = end - packet.len();
    packet.grow(padding).ok_or(NoRoom)?.fill(0);
    Ok(())
}

/// The length of an option in units of 8 bytes.
fn units(bytes: usize) -> Result<u8, NoRoom> {
    u8::try_from(bytes / 8).map_err(|_| NoRoom)
}

fn seconds(time: Duration) -> [u8; 4] {
    u32::try_from(time.as_secs()).unwrap_or(u32::MAX).to_be_bytes()
}
