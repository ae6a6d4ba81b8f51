//! Answers for virtual hosts: ARP, neighbor solicitations and ping, for every address of the subnets except
//! the device's own.
//!
//! It never answers malformed packets, fragments or wrong checksums, nor for or to a broadcast, multicast or
//! unspecified address. An answer is never longer than its request, so it cannot amplify. Probes for a free
//! address (ARP probes of RFC 5227, duplicate address detection of RFC 4862) get no answer.

use adit_device::MacAddr;
use adit_device::netlink::IpPrefix;
use adit_packet::checksum::{self, Sum};
use adit_runtime::format::pcapng::LinkType;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The MAC address of every virtual host, locally administered.
const MAC: MacAddr = MacAddr([0x02, b'a', b'd', b'i', b't', 1]);
/// The MAC address of virtual hosts if the device itself has [`MAC`].
const MAC_ELSE: MacAddr = MacAddr([0x02, b'a', b'd', b'i', b't', 2]);

const ETHERNET_LEN: usize = 14;
const IPV6_LEN: usize = 40;
const ICMPV6: u8 = 58;

/// Answers for the virtual hosts of some subnets.
#[derive(Debug)]
pub struct Responder {
    link: LinkType,
    /// The device's own addresses, each with the length of its subnet's prefix.
    subnets: Vec<IpPrefix>,
    mac: MacAddr,
}

impl Responder {
    /// Answers for the subnets of the device's `addresses`; `device_mac` is the MAC of a TAP.
    pub fn new(
        link: LinkType,
        addresses: impl IntoIterator<Item = IpPrefix>,
        device_mac: Option<MacAddr>,
    ) -> Self {
        let mac = if device_mac == Some(MAC) { MAC_ELSE } else { MAC };
        // Link-local addresses belong to real hosts.
        let is_global = |prefix: &IpPrefix| match prefix.ip() {
            IpAddr::V4(ip) => !ip.is_link_local(),
            IpAddr::V6(ip) => !ip.is_unicast_link_local(),
        };
        Self { link, subnets: addresses.into_iter().filter(is_global).collect(), mac }
    }

    /// The subnets that it answers for.
    pub fn subnets(&self) -> impl Iterator<Item = IpPrefix> + '_ {
        self.subnets.iter().map(|prefix| prefix.network())
    }

    /// Writes the answer to `packet`, if it has one, into `out`, from the link's first byte on.
    pub fn reply<'a>(&self, packet: &[u8], out: &'a mut Vec<u8>) -> Option<&'a [u8]> {
        out.clear();
        match self.link {
            LinkType::Raw => match packet.first()? >> 4 {
                4 => self.echo_v4(packet, out)?,
                6 => self.echo_v6(packet, out)?,
                _ => return None,
            },
            LinkType::Ethernet => self.frame(packet, out)?,
        }
        debug_assert!(out.len() <= packet.len(), "an answer is no longer than its question");
        Some(out)
    }

    fn frame(&self, frame: &[u8], out: &mut Vec<u8>) -> Option<()> {
        let (header, payload) = frame.split_first_chunk::<ETHERNET_LEN>()?;
        let [d0, d1, d2, d3, d4, d5, s0, s1, s2, s3, s4, s5, t0, t1] = *header;
        let to = MacAddr([d0, d1, d2, d3, d4, d5]);
        let from = MacAddr([s0, s1, s2, s3, s4, s5]);
        if !from.is_station() || from == self.mac {
            return None;
        }
        out.extend(from.0);
        out.extend(self.mac.0);
        out.extend([t0, t1]);
        match [t0, t1] {
            [0x08, 0x06] if to == self.mac || to == MacAddr::BROADCAST => {
                self.arp(from, payload, out)
            }
            [0x08, 0x00] if to == self.mac => self.echo_v4(payload, out),
            [0x86, 0xdd] if to == self.mac => self.echo_v6(payload, out).or_else(|| {
                out.truncate(ETHERNET_LEN);
                self.neighbour(payload, out)
            }),
            // RFC 2464, section 7: the group of a solicited node.
            [0x86, 0xdd] if to.0[..3] == [0x33, 0x33, 0xff] => self.neighbour(payload, out),
            _ => None,
        }
    }

    /// RFC 826.
    fn arp(&self, from: MacAddr, payload: &[u8], out: &mut Vec<u8>) -> Option<()> {
        let message = payload.first_chunk::<28>()?;
        // Ethernet, IPv4, lengths 6 and 4, a request.
        let (head, rest) = message.split_at(8);
        if head != [0, 1, 8, 0, 6, 4, 0, 1] {
            return None;
        }
        let (sender_mac, rest) = rest.split_first_chunk::<6>()?;
        let (sender, rest) = rest.split_first_chunk::<4>()?;
        let (_, target) = rest.split_first_chunk::<6>()?;
        let target = <[u8; 4]>::try_from(target).ok()?;
        let is_sound = *sender_mac == from.0 && is_host_v4((*sender).into()) && *sender != target;
        if !is_sound || !self.stands_in_for(Ipv4Addr::from(target).into()) {
            return None;
        }
        out.extend([0, 1, 8, 0, 6, 4, 0, 2]);
        out.extend(self.mac.0);
        out.extend(target);
        out.extend(from.0);
        out.extend(sender);
        Some(())
    }

    /// RFC 792.
    fn echo_v4(&self, packet: &[u8], out: &mut Vec<u8>) -> Option<()> {
        let header = packet.first_chunk::<20>()?;
        let [version_ihl, _, l0, l1, _, _, f0, f1, _, protocol, _, _, addresses @ ..] = *header;
        let len = usize::from(u16::from_be_bytes([l0, l1]));
        // We do not answer options; more-fragments and offset must be zero.
        let is_whole = version_ihl == 0x45 && u16::from_be_bytes([f0, f1]) & 0x3fff == 0;
        if !is_whole || protocol != 1 || checksum::of(header) != 0 {
            return None;
        }
        let message = packet.get(20..len)?;
        if message.first_chunk::<2>()? != &[8, 0] || message.len() < 8 {
            return None;
        }
        let [s0, s1, s2, s3, d0, d1, d2, d3] = addresses;
        let (source, destination) = (Ipv4Addr::new(s0, s1, s2, s3), Ipv4Addr::new(d0, d1, d2, d3));
        if !is_host_v4(source)
            || source == destination
            || !self.stands_in_for(destination.into())
            || checksum::of(message) != 0
        {
            return None;
        }
        let start = out.len();
        out.extend(&header[..8]);
        out.extend([64, 1, 0, 0]);
        out.extend(destination.octets());
        out.extend(source.octets());
        let sum = checksum::of(&out[start..]);
        put(out, start + 10, sum);
        let start = out.len();
        out.extend([0, 0, 0, 0]);
        out.extend(&message[4..]);
        let sum = checksum::of(&out[start..]);
        put(out, start + 2, sum);
        Some(())
    }

    /// RFC 4443, section 4.
    fn echo_v6(&self, packet: &[u8], out: &mut Vec<u8>) -> Option<()> {
        let (source, destination, message) = icmp_v6(packet)?;
        let is_request = message.first_chunk::<2>()? == &[128, 0] && message.len() >= 8;
        if !is_request || source == destination || !self.stands_in_for(destination.into()) {
            return None;
        }
        let start = begin_icmp_v6(out, destination, source, message.len(), 64)?;
        out.extend([129, 0, 0, 0]);
        out.extend(&message[4..]);
        finish_icmp_v6(out, start, destination, source)
    }

    /// RFC 4861, sections 4.3, 4.4 and 7.1.1.
    fn neighbour(&self, packet: &[u8], out: &mut Vec<u8>) -> Option<()> {
        let (source, destination, message) = icmp_v6(packet)?;
        let hop_limit = packet[7];
        let (head, rest) = message.split_first_chunk::<8>()?;
        let (target, options) = rest.split_first_chunk::<16>()?;
        if hop_limit != 255 || head[..2] != [135, 0] {
            return None;
        }
        let target = Ipv6Addr::from(*target);
        let is_for_target = destination == target || destination == solicited_node(target);
        if !is_for_target || source == target || !self.stands_in_for(target.into()) {
            return None;
        }
        let has_address = has_source_address(options)?;
        // A multicast solicitation must carry the source link-layer address; a unicast one need not.
        if destination != target && !has_address {
            return None;
        }
        let len = if has_address { 32 } else { 24 };
        let start = begin_icmp_v6(out, target, source, len, 255)?;
        // Solicited and override.
        out.extend([136, 0, 0, 0, 0x60, 0, 0, 0]);
        out.extend(target.octets());
        if has_address {
            out.extend([2, 1]);
            out.extend(self.mac.0);
        }
        finish_icmp_v6(out, start, target, source)
    }

    /// Whether `ip` is a virtual host: in one of the subnets, and not the device itself.
    fn stands_in_for(&self, ip: IpAddr) -> bool {
        let is_own = |prefix: &IpPrefix| prefix.ip() == ip;
        let covers = |prefix: &&IpPrefix| prefix.contains(ip);
        if self.subnets.iter().any(is_own) {
            return false;
        }
        self.subnets.iter().filter(covers).any(|prefix| match ip {
            IpAddr::V4(ip) => {
                let hosts = u32::MAX.checked_shr(u32::from(prefix.len())).unwrap_or(0);
                // The first address is the network, the last its broadcast; RFC 3021 makes both
                // hosts where there are two only.
                let number = ip.to_bits() & hosts;
                is_host_v4(ip) && (hosts <= 1 || (number != 0 && number != hosts))
            }
            // RFC 4291, section 2.6.1: the first address is the routers' anycast address.
            IpAddr::V6(ip) => is_host_v6(ip) && IpAddr::V6(ip) != prefix.network().ip(),
        })
    }
}

/// Addresses and ICMPv6 message of a packet with valid lengths and checksum.
fn icmp_v6(packet: &[u8]) -> Option<(Ipv6Addr, Ipv6Addr, &[u8])> {
    let header = packet.first_chunk::<IPV6_LEN>()?;
    let [_, _, _, _, l0, l1, next, _, addresses @ ..] = header;
    if header[0] >> 4 != 6 || *next != ICMPV6 {
        return None;
    }
    let len = u16::from_be_bytes([*l0, *l1]);
    let message = packet.get(IPV6_LEN..IPV6_LEN + usize::from(len))?;
    let (source, destination) = addresses.split_first_chunk::<16>()?;
    let source = Ipv6Addr::from(*source);
    let destination = Ipv6Addr::from(<[u8; 16]>::try_from(destination).ok()?);
    let sum = Sum::pseudo_v6(source, destination, ICMPV6, u32::from(len)).add_bytes(message);
    (is_host_v6(source) && sum.finish() == 0).then_some((source, destination, message))
}

/// Appends an IPv6 header and returns the start of its ICMPv6 message of `len` bytes.
fn begin_icmp_v6(
    out: &mut Vec<u8>,
    source: Ipv6Addr,
    destination: Ipv6Addr,
    len: usize,
    hop_limit: u8,
) -> Option<usize> {
    out.extend([0x60, 0, 0, 0]);
    out.extend(u16::try_from(len).ok()?.to_be_bytes());
    out.extend([ICMPV6, hop_limit]);
    out.extend(source.octets());
    out.extend(destination.octets());
    Some(out.len())
}

/// Fills in the checksum of the ICMPv6 message from `start` on.
fn finish_icmp_v6(
    out: &mut [u8],
    start: usize,
    source: Ipv6Addr,
    destination: Ipv6Addr,
) -> Option<()> {
    let len = u32::try_from(out.len() - start).ok()?;
    let sum = Sum::pseudo_v6(source, destination, ICMPV6, len).add_bytes(&out[start..]);
    put(out, start + 2, sum.finish());
    Some(())
}

fn put(out: &mut [u8], at: usize, word: u16) {
    out[at..at + 2].copy_from_slice(&word.to_be_bytes());
}

/// Whether there is a source link-layer address option; `None` if the options are malformed.
fn has_source_address(mut options: &[u8]) -> Option<bool> {
    let mut found = false;
    while let Some((&kind, rest)) = options.split_first() {
        let len = usize::from(*rest.first()?) * 8;
        if len == 0 {
            return None;
        }
        options = options.get(len..)?;
        found |= kind == 1 && len == 8;
    }
    Some(found)
}

/// RFC 4291, section 2.7.1.
fn solicited_node(ip: Ipv6Addr) -> Ipv6Addr {
    let [.., a, b, c] = ip.octets();
    Ipv6Addr::from([0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, a, b, c])
}

fn is_host_v4(ip: Ipv4Addr) -> bool {
    // 240.0.0.0/4 is reserved, and its last address is the broadcast.
    ip.octets()[0] != 0 && ip.octets()[0] < 224 && !ip.is_loopback()
}

fn is_host_v6(ip: Ipv6Addr) -> bool {
    !ip.is_multicast() && !ip.is_unspecified() && !ip.is_loopback()
}

#[cfg(test)]
mod tests;
