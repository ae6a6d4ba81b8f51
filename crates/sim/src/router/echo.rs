//! Answers to echo requests.

use adit_packet::{
    Icmp, IcmpHeader, Ipv4, Ipv4Header, Ipv4Mut, Ipv6, Ipv6Header, Ipv6Mut, PacketBuf, icmp,
    ip_protocol,
};

/// The hop limit of packets that begin here.
const HOP_LIMIT: u8 = 64;

/// Makes the answer of an echo request out of it; `false` if it is none.
pub(super) fn answer(packet: &mut PacketBuf) -> bool {
    if packet.meta.vnet.is_super_packet() {
        return false;
    }
    answer_v4(packet.bytes_mut()) || answer_v6(packet.bytes_mut())
}

fn answer_v4(packet: &mut [u8]) -> bool {
    let Ok(ip) = Ipv4::parse(packet) else { return false };
    let (source, destination, header) = (ip.source(), ip.destination(), ip.header_len());
    let is_whole = ip.fragment().is_none() && ip.protocol() == ip_protocol::ICMP;
    let is_valid = is_whole && icmp::has_valid_checksum_v4(ip.payload());
    let Some(reply) = reply(ip.payload(), icmp::v4::ECHO_REQUEST, icmp::v4::ECHO_REPLY)
        .filter(|_| is_valid && header == Ipv4Header::LEN)
    else {
        return false;
    };
    let Some(message) = packet.get_mut(header..) else { return false };
    write(message, reply);
    icmp::fill_checksum_v4(message);
    if let Ok(mut ip) = Ipv4Mut::parse(packet) {
        ip.set_source(destination);
        ip.set_destination(source);
        ip.set_ttl(HOP_LIMIT);
    }
    true
}

fn answer_v6(packet: &mut [u8]) -> bool {
    let Ok(ip) = Ipv6::parse(packet) else { return false };
    let (source, destination) = (ip.source(), ip.destination());
    let is_valid = ip.next_header() == ip_protocol::ICMP6
        && icmp::has_valid_checksum_v6(source, destination, ip.payload());
    let Some(reply) =
        reply(ip.payload(), icmp::v6::ECHO_REQUEST, icmp::v6::ECHO_REPLY).filter(|_| is_valid)
    else {
        return false;
    };
    let Some(message) = packet.get_mut(Ipv6Header::LEN..) else { return false };
    write(message, reply);
    icmp::fill_checksum_v6(destination, source, message);
    if let Ok(mut ip) = Ipv6Mut::parse(packet) {
        ip.set_source(destination);
        ip.set_destination(source);
        ip.set_hop_limit(HOP_LIMIT);
    }
    true
}

fn reply(message: &[u8], request: u8, kind: u8) -> Option<IcmpHeader> {
    let header = Icmp::parse(message).ok()?.header();
    (header.kind == request && header.code == 0).then_some(IcmpHeader { kind, ..header })
}

fn write(message: &mut [u8], header: IcmpHeader) {
    let header = header.to_bytes();
    message.iter_mut().zip(header).for_each(|(to, from)| *to = from);
}
