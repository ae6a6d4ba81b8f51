//! UDP mappings: found, bound, ended.

use alloc::boxed::Box;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use adit_packet::{Gso, Instant, Meta, PacketBuf, UdpHeader, ip_protocol};

use super::{Entry, Inside, Nat};
use crate::translate::news::FlowChange;
use crate::translate::table::{Class, Key};
use crate::translate::udp::Mapping;
use adit_engine::DropReason;
use adit_engine::Outbox;
use adit_engine::flow::{self, FlowEvent, FlowId, FlowRequest, Request, Transport};

impl Nat {
    pub(super) fn udp_from_inside(
        &mut self,
        inside: &Inside<'_>,
        mut packet: PacketBuf,
        out: &mut Outbox,
    ) {
        let headers = inside.headers;
        let ports = headers.ports(packet.bytes()).zip(headers.transport());
        let Some(((from_port, to_port), at)) = ports else {
            return out.discard(packet, DropReason::MALFORMED);
        };
        let from = SocketAddr::new(inside.from, from_port);
        let seen = SocketAddr::new(inside.to, to_port);
        let key = Key::new(ip_protocol::UDP, from, None);
        let found = self.table.find(&key);
        let known = match found.and_then(|flow| self.table.get_mut(flow)) {
            Some(Entry::Udp(mapping)) => mapping.place_of(seen),
            _ => None,
        };
        let Some(to) = known.or_else(|| self.destination(inside, to_port, &packet, out)) else {
            return out.discard(packet, DropReason::FILTERED);
        };
        let Some(flow) = found.or_else(|| self.bind_udp(inside, key, from, out)) else {
            return out.discard(packet, DropReason::OUT_OF_FLOWS);
        };
        // A datagram may be shorter than its packet says, but a train is whole.
        let end = match packet.meta.vnet.gso {
            Gso::UdpL4 => headers.end(),
            _ => at + udp_len(packet.bytes(), at).min(headers.end() - at),
        };
        packet.truncate(end);
        packet.advance(at + UdpHeader::LEN);
        let Some(Entry::Udp(mapping)) = self.table.get_mut(flow) else {
            return out.discard(packet, DropReason::NO_DESTINATION);
        };
        if known.is_none() {
            mapping.add(to, seen);
        }
        let (may_fragment, hop_limit) = (inside.may_fragment, inside.hop_limit);
        packet.meta = Meta { may_fragment, hop_limit, vnet: packet.meta.vnet, ..Meta::default() };
        mapping.send(to, packet, out);
        let class = mapping.class();
        self.table.reclass(flow, class, inside.now);
        if found.is_none() {
            self.note(flow, FlowChange::Opened);
        }
    }

    pub(super) fn udp_from_flow(
        &mut self,
        now: Instant,
        flow: FlowId,
        mut packet: PacketBuf,
        out: &mut Outbox,
    ) {
        let Some(from) = flow::pop_address(&mut packet) else {
            return out.discard(packet, DropReason::MALFORMED);
        };
        let (filtering, mtu) = (self.config.udp_filtering, self.config.mtu);
        let client = self.name_of_client(from);
        if let Some(Entry::Udp(mapping)) = self.table.get_mut(flow) {
            if !self.rates.pass_to(mapping.inside().ip(), packet.len(), now) {
                return out.discard(packet, DropReason::SOURCE_RATE);
            }
            if let Some(seen) = client.filter(|_| mapping.is_published())
                && mapping.name_of(from).is_none()
            {
                // Its answer must find the way back.
                mapping.add(from, seen);
            }
            let is_known = mapping.name_of(from).is_some();
            mapping.receive(from, filtering, mtu, packet, out);
            if is_known {
                // RFC 4787, REQ-6: what comes in may keep a mapping as well.
                self.table.touch(flow, now);
            }
        } else {
            out.discard(packet, DropReason::NO_DESTINATION);
        }
    }

    pub(super) fn udp_event(
        &mut self,
        now: Instant,
        flow: FlowId,
        event: FlowEvent,
        out: &mut Outbox,
    ) {
        match event {
            FlowEvent::Failed(_) => self.remove(flow, None, out),
            FlowEvent::Icmp { to, .. } => {
                let Some(Entry::Udp(mapping)) = self.table.get(flow) else { return };
                let Some(seen) = mapping.name_of(to) else { return };
                let (quoted, len) = mapping.quoted(seen);
                let (inside, port) = (mapping.inside().ip(), mapping.port());
                let quoted = quoted.get(..len).unwrap_or_default();
                self.pass_error(now, port, inside, event, quoted, out);
            }
            _ => {}
        }
    }

    /// Makes a mapping for an inside address and port.
    fn bind_udp(
        &mut self,
        inside: &Inside<'_>,
        key: Key,
        from: SocketAddr,
        out: &mut Outbox,
    ) -> Option<FlowId> {
        let local = any_address(from);
        let bind = FlowRequest::Bind { transport: Transport::Udp, local, or_any_port: true };
        let entry = |flow| Entry::Udp(Box::new(Mapping::new(flow, inside.port, from)));
        self.bind(inside, key, Class::Udp, bind, entry, out)
    }

    /// Makes an entry that has a bound socket of the host.
    pub(super) fn bind(
        &mut self,
        inside: &Inside<'_>,
        key: Key,
        class: Class,
        bind: FlowRequest,
        entry: impl FnOnce(FlowId) -> Entry,
        out: &mut Outbox,
    ) -> Option<FlowId> {
        if !self.admit(inside.from, inside.now, out) {
            return None;
        }
        let flow = self.table.insert(key, inside.from, class, inside.now, entry)?;
        if out.request(Request::Flow(flow, bind)).is_err() {
            self.table.remove(flow);
            return None;
        }
        Some(flow)
    }
}

/// Any local address of the family of another one, with its port.
pub(super) const fn any_address(from: SocketAddr) -> SocketAddr {
    let any = match from {
        SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    SocketAddr::new(any, from.port())
}

/// The length that a UDP header gives.
fn udp_len(packet: &[u8], at: usize) -> usize {
    let len = packet.get(at + 4..at + 6).and_then(|len| len.first_chunk::<2>());
    len.map_or(UdpHeader::LEN, |&len| usize::from(u16::from_be_bytes(len)).max(UdpHeader::LEN))
}
