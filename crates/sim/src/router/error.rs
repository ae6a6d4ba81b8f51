//! ICMP errors about packets that were not forwarded.

use core::net::IpAddr;

use adit_engine::Outbox;
use adit_packet::{IcmpHeader, Ipv4, Ipv4Header, Ipv6, Ipv6Header, PacketBuf, icmp, ip_protocol};

/// Why a packet is not forwarded.
#[derive(Clone, Copy, Debug)]
pub(super) enum IcmpError {
    HopLimit,
    NoRoute,
    NoNeighbour,
    /// The MTU of the next link.
    TooBig(u16),
}

/// The longest error: what every host takes (RFC 1812, 4.3.2.3; RFC 4443, 2.4).
const LEN_MAX_V4: usize = 576;
const LEN_MAX_V6: usize = 1280;

impl IcmpError {
    /// The packet that reports it; `None` if none may be sent (RFC 1122, 3.2.2; RFC 4443, 2.4).
    pub(super) fn about(
        self,
        packet: &[u8],
        from: IpAddr,
        to: IpAddr,
        out: &mut Outbox,
    ) -> Option<PacketBuf> {
        if to.is_multicast() || to.is_unspecified() || is_error(packet) {
            return None;
        }
        let (ip, max) = if to.is_ipv4() {
            (Ipv4Header::LEN, LEN_MAX_V4)
        } else {
            (Ipv6Header::LEN, LEN_MAX_V6)
        };
        let quoted = packet.get(..max - ip - IcmpHeader::LEN).unwrap_or(packet);
        let len = IcmpHeader::LEN + quoted.len();
        let mut report = out.make(ip + len)?;
        if self.write(&mut report, quoted, from, to).is_none() {
            out.absorb(report);
            return None;
        }
        Some(report)
    }

    fn write(self, report: &mut PacketBuf, quoted: &[u8], from: IpAddr, to: IpAddr) -> Option<()> {
        let len = u16::try_from(IcmpHeader::LEN + quoted.len()).ok()?;
        let hop_limit = 64;
        let header = self.header(to.is_ipv4()).to_bytes();
        let start = match (from, to) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                let ip = Ipv4Header {
                    // Precedence of network control, as the kernel sends it (RFC 1812, 4.3.2.5).
                    tos: 0xc0,
                    total_len: len + 20,
                    id: 0,
                    dont_fragment: false,
                    fragment: None,
                    ttl: hop_limit,
                    protocol: ip_protocol::ICMP,
                    source,
                    destination,
                };
                report.extend(&ip.to_bytes()).ok()?;
                Ipv4Header::LEN
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                let ip = Ipv6Header {
                    class: 0,
                    flow_label: 0,
                    payload_len: len,
                    next_header: ip_protocol::ICMP6,
                    hop_limit,
                    source,
                    destination,
                };
                report.extend(&ip.to_bytes()).ok()?;
                Ipv6Header::LEN
            }
            _ => return None,
        };
        report.extend(&header).ok()?;
        report.extend(quoted).ok()?;
        let message = report.bytes_mut().get_mut(start..)?;
        match (from, to) {
            (IpAddr::V6(from), IpAddr::V6(to)) => icmp::fill_checksum_v6(from, to, message),
            _ => icmp::fill_checksum_v4(message),
        }
        Some(())
    }

    fn header(self, is_v4: bool) -> IcmpHeader {
        use icmp::{v4, v6};
        let (kind, code) = match (self, is_v4) {
            (Self::TooBig(mtu), true) => return IcmpHeader::too_big_v4(mtu),
            (Self::TooBig(mtu), false) => return IcmpHeader::too_big_v6(u32::from(mtu)),
            (Self::HopLimit, true) => (v4::TIME_EXCEEDED, 0),
            (Self::HopLimit, false) => (v6::TIME_EXCEEDED, 0),
            (Self::NoRoute, true) => (v4::UNREACHABLE, 0),
            (Self::NoRoute, false) => (v6::UNREACHABLE, 0),
            (Self::NoNeighbour, true) => (v4::UNREACHABLE, v4::CODE_HOST),
            (Self::NoNeighbour, false) => (v6::UNREACHABLE, v6::CODE_ADDRESS),
        };
        IcmpHeader { kind, code, rest: [0; 4] }
    }
}

/// Whether a packet is an ICMP error, or a fragment that is not the first one.
fn is_error(packet: &[u8]) -> bool {
    if let Ok(ip) = Ipv4::parse(packet) {
        let is_later = ip.fragment().is_some_and(|fragment| fragment.offset > 0);
        let kind = ip.payload().first().copied();
        let is_query =
            matches!(kind, Some(icmp::v4::ECHO_REPLY | icmp::v4::ECHO_REQUEST | 13..=18));
        return is_later || (ip.protocol() == ip_protocol::ICMP && !is_query);
    }
    let Ok(ip) = Ipv6::parse(packet) else { return true };
    // Errors are below 128.
    ip.next_header() == ip_protocol::ICMP6 && ip.payload().first().is_none_or(|kind| *kind < 128)
}
