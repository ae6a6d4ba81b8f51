//! The hashed part of a packet. The eBPF program in `program.rs` finds the same bytes in the
//! kernel: change both together; a test compares them on random packets.

use crate::Mode;
use adit_packet::{HashReport, HashTypes, Toeplitz};

/// Two IPv6 addresses and two ports.
pub(super) const TUPLE_LEN_MAX: usize = Toeplitz::INPUT_MAX;

/// The maximum number of IPv6 extension headers to skip; a packet with more is hashed by its
/// addresses.
pub(super) const EXTENSIONS_MAX: usize = 8;

/// The maximum number of VLAN tags to skip; a frame with more is not hashed.
pub(super) const VLAN_TAGS_MAX: usize = 2;

pub(super) const ETHERTYPE_IPV4: u16 = 0x0800;
pub(super) const ETHERTYPE_IPV6: u16 = 0x86dd;
/// 802.1Q and 802.1ad.
pub(super) const ETHERTYPES_VLAN: [u16; 2] = [0x8100, 0x88a8];

pub(super) const TCP: u8 = 6;
pub(super) const UDP: u8 = 17;
pub(super) const AUTHENTICATION: u8 = 51;
/// Hop-by-hop options, routing, destination options: length in units of 8 bytes, less one. A
/// fragment header is not skipped: all fragments of a packet must reach the same queue.
pub(super) const EXTENSIONS: [u8; 3] = [0, 43, 60];

/// More fragments, and the offset: the bits of IPv4's third word that only fragments set.
pub(super) const FRAGMENT_BITS: u16 = 0x3fff;

/// Source address and destination address, and, if hashed, source port and destination port.
#[derive(Debug)]
pub(super) struct Tuple {
    bytes: [u8; TUPLE_LEN_MAX],
    len: usize,
    report: HashReport,
}

impl Tuple {
    /// The tuple of `packet`, or `None` if it is of none of the `types`.
    pub(super) fn of(mode: Mode, types: HashTypes, packet: &[u8]) -> Option<Self> {
        let packet = match mode {
            Mode::Tun => packet,
            Mode::Tap => after_ethernet(packet)?,
        };
        match packet.first()? >> 4 {
            4 => Self::of_ipv4(types, packet),
            6 => Self::of_ipv6(types, packet),
            _ => None,
        }
    }

    fn of_ipv4(types: HashTypes, packet: &[u8]) -> Option<Self> {
        let header: &[u8; 20] = packet.first_chunk()?;
        let header_len = usize::from(header[0] & 15) * 4;
        if header_len < header.len() {
            return None;
        }
        let fragment = u16::from_be_bytes([header[6], header[7]]) & FRAGMENT_BITS != 0;
        let transport = match header[9] {
            TCP if types.contains(HashTypes::TCP4) => Some(HashReport::Tcp4),
            UDP if types.contains(HashTypes::UDP4) => Some(HashReport::Udp4),
            _ => None,
        };
        let ports = packet.get(header_len..).and_then(|rest| rest.first_chunk());
        match (transport, ports) {
            (Some(report), Some(ports)) if !fragment => {
                Some(Self::new(&header[12..], Some(ports), report))
            }
            _ if types.contains(HashTypes::IPV4) => {
                Some(Self::new(&header[12..], None, HashReport::Ipv4))
            }
            _ => None,
        }
    }

    fn of_ipv6(types: HashTypes, packet: &[u8]) -> Option<Self> {
        let header: &[u8; 40] = packet.first_chunk()?;
        let transport = transport_of_ipv6(types, header[6], &packet[header.len()..]);
        match transport {
            Some((report, ports)) => Some(Self::new(&header[8..], Some(ports), report)),
            None if types.contains(HashTypes::IPV6) => {
                Some(Self::new(&header[8..], None, HashReport::Ipv6))
            }
            None => None,
        }
    }

    fn new(addresses: &[u8], ports: Option<&[u8; 4]>, report: HashReport) -> Self {
        let mut bytes = [0; TUPLE_LEN_MAX];
        let mut len = addresses.len();
        bytes[..len].copy_from_slice(addresses);
        if let Some(ports) = ports {
            bytes[len..len + ports.len()].copy_from_slice(ports);
            len += ports.len();
        }
        Self { bytes, len, report }
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    pub(super) fn report(&self) -> HashReport {
        self.report
    }
}

/// The IP packet in an Ethernet frame, or `None` if type or version are not of IP.
fn after_ethernet(frame: &[u8]) -> Option<&[u8]> {
    let mut rest = frame.get(12..)?;
    for _ in 0..=VLAN_TAGS_MAX {
        let (ethertype, payload) = rest.split_first_chunk()?;
        let ethertype = u16::from_be_bytes(*ethertype);
        if !ETHERTYPES_VLAN.contains(&ethertype) {
            let version = match ethertype {
                ETHERTYPE_IPV4 => 4,
                ETHERTYPE_IPV6 => 6,
                _ => return None,
            };
            return (payload.first()? >> 4 == version).then_some(payload);
        }
        rest = payload.get(2..)?;
    }
    None
}

/// The ports behind the extension headers, if they exist and are hashed.
fn transport_of_ipv6(
    types: HashTypes,
    mut next_header: u8,
    mut rest: &[u8],
) -> Option<(HashReport, &[u8; 4])> {
    for _ in 0..=EXTENSIONS_MAX {
        match next_header {
            TCP if types.contains(HashTypes::TCP6) => {
                return Some((HashReport::Tcp6, rest.first_chunk()?));
            }
            UDP if types.contains(HashTypes::UDP6) => {
                return Some((HashReport::Udp6, rest.first_chunk()?));
            }
            _ => {}
        }
        let [next, len]: [u8; 2] = *rest.first_chunk()?;
        let len = if EXTENSIONS.contains(&next_header) {
            (usize::from(len) + 1) * 8
        } else if next_header == AUTHENTICATION {
            (usize::from(len) + 2) * 4
        } else {
            return None;
        };
        next_header = next;
        rest = rest.get(len..)?;
    }
    None
}
