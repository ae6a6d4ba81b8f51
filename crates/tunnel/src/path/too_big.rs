//! ICMP errors for packets that exceed the path MTU (RFC 1191, RFC 4443).

use core::net::{IpAddr, Ipv4Addr};

use adit_packet::{
    Headers, IcmpHeader, Ipv4, Ipv4Header, Ipv6Header, PacketBuf, icmp, ip_protocol,
};

use adit_engine::Outbox;

/// The length of the quoted packet: an ICMP message has at most 576 bytes (RFC 1812, 4.3.2.3).
const QUOTE_V4: usize = 576 - 20 - 8;
/// The length of the quoted packet: the answer fits the minimum MTU of IPv6 (RFC 4443, 2.4 c).
const QUOTE_V6: usize = 1280 - 40 - 8;

/// Whether a packet of `len` bytes that is too long must be refused: IPv4 with DF, and IPv6 over 1280 bytes, which
/// every IPv6 link carries (RFC 8200, 5). The outer network fragments all others
/// ([`may_fragment`](adit_packet::Meta::may_fragment)). `packet` may be a super-packet of such packets.
pub(crate) fn must_not_be_cut(packet: &[u8], len: usize) -> bool {
    match Ipv4::parse(packet) {
        Ok(ipv4) => ipv4.dont_fragment(),
        Err(_) => len > 1280,
    }
}

/// Makes the "too big" message to the sender of a packet. Its source is the destination of the packet: the
/// sender only evaluates the quoted packet. `None` if no answer is allowed (RFC 1122, 3.2.2).
pub(crate) fn answer(packet: &[u8], mtu: usize, out: &mut Outbox) -> Option<PacketBuf> {
    let headers = Headers::parse_packet(packet).ok()?;
    let (source, destination) = headers.addresses(packet)?;
    let is_error = headers.transport().is_some_and(|at| {
        let kind = packet.get(at).copied().unwrap_or_default();
        match headers.protocol() {
            Some(ip_protocol::ICMP) => {
                !matches!(kind, icmp::v4::ECHO_REQUEST | icmp::v4::ECHO_REPLY)
            }
            Some(ip_protocol::ICMP6) => kind < 128,
            _ => false,
        }
    });
    let later = headers.fragment().is_some_and(|fragment| fragment.offset != 0);
    let nobody = source.is_unspecified()
        || source.is_multicast()
        || source == IpAddr::V4(Ipv4Addr::BROADCAST)
        || destination == IpAddr::V4(Ipv4Addr::BROADCAST)
        || destination.is_multicast() && source.is_ipv4();
    if is_error || later || nobody {
        return None;
    }
    let quote_len = if source.is_ipv4() { QUOTE_V4 } else { QUOTE_V6 };
    let quote = packet.get(..packet.len().min(quote_len))?;
    match (source, destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            let header = IcmpHeader::too_big_v4(u16::try_from(mtu).unwrap_or(u16::MAX));
            let ip = Ipv4Header {
                tos: 0xc0, // internetwork control (RFC 1812, 4.3.2.5)
                total_len: u16::try_from(20 + IcmpHeader::LEN + quote.len()).ok()?,
                id: 0,
                dont_fragment: false,
                fragment: None,
                ttl: 64,
                protocol: ip_protocol::ICMP,
                source: destination,
                destination: source,
            };
            let mut answer = message(&ip.to_bytes(), header, quote, out)?;
            icmp::fill_checksum_v4(answer.bytes_mut().get_mut(20..)?);
            Some(answer)
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            // IPv6 has no links under 1280; the sender would ignore a smaller value.
            let header = IcmpHeader::too_big_v6(u32::try_from(mtu.max(1280)).ok()?);
            let ip = Ipv6Header {
                class: 0,
                flow_label: 0,
                payload_len: u16::try_from(IcmpHeader::LEN + quote.len()).ok()?,
                next_header: ip_protocol::ICMP6,
                hop_limit: 64,
                source: destination,
                destination: source,
            };
            let mut answer = message(&ip.to_bytes(), header, quote, out)?;
            icmp::fill_checksum_v6(destination, source, answer.bytes_mut().get_mut(40..)?);
            Some(answer)
        }
        _ => None,
    }
}

fn message(ip: &[u8], header: IcmpHeader, quote: &[u8], out: &mut Outbox) -> Option<PacketBuf> {
    let mut answer = out.make(ip.len() + IcmpHeader::LEN + quote.len())?;
    // It has that much room.
    let _ = answer.extend(ip);
    let _ = answer.extend(&header.to_bytes());
    let _ = answer.extend(quote);
    Some(answer)
}

#[cfg(test)]
mod tests {
    use super::*;
    use adit_packet::{Icmp, Pool, PoolConfig};
    use std::vec::Vec;

    fn outbox() -> Outbox {
        Outbox::new(Pool::new(PoolConfig::default()))
    }

    fn v4(protocol: u8, payload: &[u8]) -> Vec<u8> {
        let header = Ipv4Header {
            tos: 0,
            total_len: u16::try_from(20 + payload.len()).unwrap(),
            id: 0,
            dont_fragment: true,
            fragment: None,
            ttl: 64,
            protocol,
            source: [192, 0, 2, 1].into(),
            destination: [198, 51, 100, 1].into(),
        };
        [&header.to_bytes(), payload].concat()
    }

    #[test]
    fn an_answer_quotes_the_packet() {
        let packet = v4(47, &[7; 1400]);
        let answer = answer(&packet, 1380, &mut outbox()).unwrap();
        let ip = Ipv4::parse(answer.bytes()).unwrap();
        assert!(ip.has_valid_checksum());
        assert_eq!(ip.destination(), Ipv4Addr::new(192, 0, 2, 1));
        assert!(icmp::has_valid_checksum_v4(ip.payload()));
        let icmp = Icmp::parse(ip.payload()).unwrap();
        assert_eq!(icmp.header().mtu_v4(), Some(1380));
        assert_eq!(icmp.body(), &packet[..548]);
        assert_eq!(answer.len(), 576);
    }

    #[test]
    fn an_answer_over_ipv6() {
        let header = Ipv6Header {
            class: 0,
            flow_label: 0,
            payload_len: 1400,
            next_header: 59,
            hop_limit: 64,
            source: "2001:db8::1".parse().unwrap(),
            destination: "2001:db8::2".parse().unwrap(),
        };
        let packet = [&header.to_bytes()[..], &[0; 1400]].concat();
        let answer = answer(&packet, 1300, &mut outbox()).unwrap();
        assert_eq!(answer.len(), 1280);
        let message = &answer.bytes()[40..];
        assert!(icmp::has_valid_checksum_v6(header.destination, header.source, message));
        assert_eq!(Icmp::parse(message).unwrap().header().mtu_v6(), Some(1300));
    }

    #[test]
    fn errors_are_not_answered_with_errors() {
        let mut out = outbox();
        assert!(answer(&v4(1, &[3, 4, 0, 0, 0, 0, 0, 0]), 1000, &mut out).is_none());
        assert!(answer(&v4(1, &[8, 0, 0, 0, 0, 0, 0, 0]), 1000, &mut out).is_some());
        assert!(answer(&[0x45; 10], 1000, &mut out).is_none());
    }
}
