//! ICMP of the inside: echo requests to the NAT itself, and to hosts outside.

use alloc::boxed::Box;
use core::net::SocketAddr;

use adit_packet::{Icmp, Instant, Meta, PacketBuf, icmp};

use super::udp::any_address;
use super::{Entry, Inside, Nat};
use crate::translate::echo::{Echo, fill_checksum};
use crate::translate::news::FlowChange;
use crate::translate::table::{Class, Key};
use crate::translate::wire::{self, Path};
use adit_engine::DropReason;
use adit_engine::Endpoint;
use adit_engine::Outbox;
use adit_engine::flow::{self, FlowError, FlowEvent, FlowId, FlowRequest, Transport};

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
        if message.kind() != request || message.code() != 0 {
            return out.discard(packet, DropReason::NOT_TRANSLATED);
        }
        let (identifier, _) = message.echo();
        if self.config.gateway(inside.to) == Some(inside.to) {
            packet.truncate(inside.headers.end());
            packet.advance(at);
            return reply(inside, packet, out);
        }
        self.echo_request(inside, identifier, at, packet, out);
    }

    fn echo_request(
        &mut self,
        inside: &Inside<'_>,
        identifier: u16,
        at: usize,
        mut packet: PacketBuf,
        out: &mut Outbox,
    ) {
        let protocol = inside.headers.protocol().unwrap_or(0);
        let from = SocketAddr::new(inside.from, identifier);
        let seen = SocketAddr::new(inside.to, 0);
        let key = Key::new(protocol, from, None);
        let found = self.table.find(&key);
        let known = match found.and_then(|flow| self.table.get_mut(flow)) {
            Some(Entry::Echo(echo)) => echo.remotes().place_of(seen),
            _ => None,
        };
        let Some(to) = known.or_else(|| self.destination(inside, 0, &packet, out)) else {
            return out.discard(packet, DropReason::FILTERED);
        };
        let to = SocketAddr::new(to.ip(), 0);
        let Some(flow) = found.or_else(|| self.bind_echo(inside, key, from, out)) else {
            return out.discard(packet, DropReason::OUT_OF_FLOWS);
        };
        packet.truncate(inside.headers.end());
        packet.advance(at);
        packet.meta = Meta { hop_limit: inside.hop_limit, ..Meta::default() };
        let Some(Entry::Echo(echo)) = self.table.get_mut(flow) else {
            return out.discard(packet, DropReason::NO_DESTINATION);
        };
        if known.is_none() {
            echo.remotes().add(to, seen);
        }
        echo.send(to, packet, out);
        self.table.touch(flow, inside.now);
        if found.is_none() {
            self.note(flow, FlowChange::Opened);
        }
    }

    pub(super) fn echo_from_flow(
        &mut self,
        now: Instant,
        flow: FlowId,
        mut packet: PacketBuf,
        out: &mut Outbox,
    ) {
        let Some(from) = flow::pop_address(&mut packet) else {
            return out.discard(packet, DropReason::MALFORMED);
        };
        let mtu = self.config.mtu;
        if let Some(Entry::Echo(echo)) = self.table.get_mut(flow) {
            if !self.rates.pass_to(echo.inside(), packet.len(), now) {
                return out.discard(packet, DropReason::SOURCE_RATE);
            }
            echo.receive(from, mtu, packet, out);
            self.table.touch(flow, now);
        } else {
            out.discard(packet, DropReason::NO_DESTINATION);
        }
    }

    pub(super) fn echo_event(
        &mut self,
        now: Instant,
        flow: FlowId,
        event: FlowEvent,
        out: &mut Outbox,
    ) {
        let Some(Entry::Echo(echo)) = self.table.get_mut(flow) else { return };
        let (inside, port) = (echo.inside(), echo.port());
        match event {
            FlowEvent::Failed(error) => {
                let seen = echo.latest().filter(|_| error == FlowError::Prohibited);
                if let Some(seen) = seen {
                    // The host refuses ping sockets.
                    let (quoted, len) = echo.quoted(seen, echo.sequence());
                    let wire::Error { kind, code, .. } = wire::Error::prohibited(inside.is_ipv4());
                    let event = FlowEvent::Icmp { to: seen, from: None, kind, code, mtu: 0 };
                    let quoted = quoted.get(..len).unwrap_or_default();
                    self.pass_error(now, port, inside, event, quoted, out);
                }
                self.remove(flow, None, out);
            }
            FlowEvent::Icmp { to, .. } => {
                let Some(seen) = echo.remotes().name_of(SocketAddr::new(to.ip(), 0)) else {
                    return;
                };
                let (quoted, len) = echo.quoted(seen, to.port());
                let quoted = quoted.get(..len).unwrap_or_default();
                self.pass_error(now, port, inside, event, quoted, out);
            }
            _ => {}
        }
    }

    /// Makes a mapping for an inside address and identifier.
    fn bind_echo(
        &mut self,
        inside: &Inside<'_>,
        key: Key,
        from: SocketAddr,
        out: &mut Outbox,
    ) -> Option<FlowId> {
        let local = any_address(from);
        let bind = FlowRequest::Bind { transport: Transport::Echo, local, or_any_port: true };
        let entry =
            |flow| Entry::Echo(Box::new(Echo::new(flow, inside.port, inside.from, from.port())));
        self.bind(inside, key, Class::Echo, bind, entry, out)
    }
}

/// Answers an echo request to the NAT itself.
fn reply(inside: &Inside<'_>, mut packet: PacketBuf, out: &mut Outbox) {
    let is_v4 = inside.from.is_ipv4();
    if let Some(kind) = packet.bytes_mut().first_mut() {
        *kind = if is_v4 { icmp::v4::ECHO_REPLY } else { icmp::v6::ECHO_REPLY };
    }
    let protocol = inside.headers.protocol().unwrap_or(0);
    let path = Path { from: inside.to, to: inside.from, protocol };
    packet.meta = Meta::default();
    fill_checksum(path, packet.bytes_mut());
    if path.prepend(&mut packet, Some(0)) {
        out.send(Endpoint::Port(inside.port), packet);
    } else {
        out.discard(packet, DropReason::TOO_BIG);
    }
}
