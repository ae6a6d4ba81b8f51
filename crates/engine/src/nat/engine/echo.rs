//! ICMP of the inside: echo requests to the NAT itself.

use adit_packet::{Icmp, PacketBuf, icmp};

use super::{Inside, Nat};
use crate::drop_reason::DropReason;
use crate::endpoint::Endpoint;
use crate::nat::wire::Path;
use crate::outbox::Outbox;

impl Nat {
    pub(super) fn icmp_from_inside(
        &mut self,
        inside: &Inside<'_>,
        mut packet: PacketBuf,
        out: &mut Outbox,
    ) {
        let is_v4 = inside.from.is_ipv4();
        let at = inside.headers.transport().unwrap_or(0);
        let message = packet.bytes().get(at..inside.headers.end()).unwrap_or_default();
        let Ok(message) = Icmp::parse(message) else {
            return out.discard(packet, DropReason::MALFORMED);
        };
        let request = if is_v4 { icmp::v4::ECHO_REQUEST } else { icmp::v6::ECHO_REQUEST };
        let is_own = self.config.gateway(inside.to) == Some(inside.to);
        if message.kind() != request || !is_own {
            return out.discard(packet, DropReason::NOT_TRANSLATED);
        }
        packet.truncate(inside.headers.end());
        packet.advance(at);
        let reply = if is_v4 { icmp::v4::ECHO_REPLY } else { icmp::v6::ECHO_REPLY };
        if let Some(kind) = packet.bytes_mut().first_mut() {
            *kind = reply;
        }
        let protocol = inside.headers.protocol().unwrap_or(0);
        let path = Path { from: inside.to, to: inside.from, protocol };
        packet.meta = adit_packet::Meta::default();
        match (path.from, path.to) {
            (core::net::IpAddr::V6(from), core::net::IpAddr::V6(to)) => {
                icmp::fill_checksum_v6(from, to, packet.bytes_mut());
            }
            _ => icmp::fill_checksum_v4(packet.bytes_mut()),
        }
        if path.prepend(&mut packet, Some(0)) {
            out.send(Endpoint::Port(inside.port), packet);
        } else {
            out.discard(packet, DropReason::TOO_BIG);
        }
    }
}
