//! Echo requests of the inside: an inside address and identifier, and the hosts that it asks.

use core::net::{IpAddr, SocketAddr};

use adit_packet::{IcmpHeader, Meta, PacketBuf, icmp, ip_protocol};

use super::fragments;
use super::remotes::Remotes;
use super::wire::{self, Path};
use adit_engine::DropReason;
use adit_engine::Outbox;
use adit_engine::flow::{self, FlowId};
use adit_engine::{Endpoint, PortId};

/// The mapping of an inside address and ICMP identifier to a socket of the host.
#[derive(Debug)]
pub(super) struct Echo {
    flow: FlowId,
    port: PortId,
    inside: IpAddr,
    identifier: u16,
    /// The remotes, with port 0.
    remotes: Remotes,
    /// The sequence number of the latest request.
    sequence: u16,
    bytes: (u64, u64),
}

impl Echo {
    pub(super) const fn new(flow: FlowId, port: PortId, inside: IpAddr, identifier: u16) -> Self {
        let remotes = Remotes::new();
        Self { flow, port, inside, identifier, remotes, sequence: 0, bytes: (0, 0) }
    }

    pub(super) const fn port(&self) -> PortId {
        self.port
    }

    pub(super) const fn inside(&self) -> IpAddr {
        self.inside
    }

    pub(super) const fn identifier(&self) -> u16 {
        self.identifier
    }

    pub(super) const fn remotes(&mut self) -> &mut Remotes {
        &mut self.remotes
    }

    /// The host that was asked last.
    pub(super) fn latest(&self) -> Option<SocketAddr> {
        self.remotes.latest()
    }

    pub(super) const fn bytes_moved(&self) -> (u64, u64) {
        self.bytes
    }

    /// Sends the message in `packet`, which has nothing else, to a remote.
    pub(super) fn send(&mut self, to: SocketAddr, mut packet: PacketBuf, out: &mut Outbox) {
        if let Some(&[a, b]) = packet.bytes().get(6..8).and_then(|bytes| bytes.first_chunk()) {
            self.sequence = u16::from_be_bytes([a, b]);
        }
        self.bytes.0 += u64::try_from(packet.len()).unwrap_or(0);
        if flow::push_address(&mut packet, to) {
            out.send(Endpoint::Flow(self.flow), packet);
        } else {
            out.discard(packet, DropReason::NO_BUFFER);
        }
    }

    /// Sends an answer of a remote to the inside, under the inside's identifier.
    pub(super) fn receive(
        &mut self,
        from: SocketAddr,
        mtu: u16,
        mut packet: PacketBuf,
        out: &mut Outbox,
    ) {
        let from = SocketAddr::new(from.ip(), 0);
        let Some(seen) = self.remotes.name_of(from) else {
            return out.discard(packet, DropReason::UNSOLICITED);
        };
        let reply = if self.inside.is_ipv4() { icmp::v4::ECHO_REPLY } else { icmp::v6::ECHO_REPLY };
        let head = packet.bytes_mut().first_chunk_mut::<{ IcmpHeader::LEN }>();
        let Some(head) = head.filter(|head| head[0] == reply) else {
            return out.discard(packet, DropReason::NOT_TRANSLATED);
        };
        [head[4], head[5]] = self.identifier.to_be_bytes();
        self.bytes.1 += u64::try_from(packet.len()).unwrap_or(0);
        let path = self.path(seen.ip()).reversed();
        fill_checksum(path, packet.bytes_mut());
        packet.meta = Meta::default();
        if wire::ip_header_len(path.to) + packet.len() > usize::from(mtu) {
            let id = u32::from(self.sequence);
            fragments::send(path, &[], packet.bytes(), mtu, id, self.port, out);
            out.absorb(packet);
        } else if path.prepend(&mut packet, Some(0)) {
            out.send(Endpoint::Port(self.port), packet);
        } else {
            out.discard(packet, DropReason::TOO_BIG);
        }
    }

    /// The sequence number of the latest request.
    pub(super) const fn sequence(&self) -> u16 {
        self.sequence
    }

    /// The headers of a request, as an ICMP error quotes it, and their length.
    pub(super) fn quoted(&self, seen: SocketAddr, sequence: u16) -> ([u8; 48], usize) {
        let request =
            if self.inside.is_ipv4() { icmp::v4::ECHO_REQUEST } else { icmp::v6::ECHO_REQUEST };
        let message = IcmpHeader::echo(request, self.identifier, sequence).to_bytes();
        self.path(seen.ip()).quote(&message)
    }

    const fn path(&self, to: IpAddr) -> Path {
        let protocol = if self.inside.is_ipv4() { ip_protocol::ICMP } else { ip_protocol::ICMP6 };
        Path { from: self.inside, to, protocol }
    }
}

/// Writes the checksum of an ICMP message.
pub(super) fn fill_checksum(path: Path, message: &mut [u8]) {
    match (path.from, path.to) {
        (IpAddr::V6(from), IpAddr::V6(to)) => icmp::fill_checksum_v6(from, to, message),
        _ => icmp::fill_checksum_v4(message),
    }
}
