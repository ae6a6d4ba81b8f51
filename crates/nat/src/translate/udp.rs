//! UDP mappings: an inside address and port, and the remote ones that it talks to.

use core::mem;
use core::net::SocketAddr;

use adit_packet::{Gso, Meta, PacketBuf, UdpHeader, ip_protocol};

use super::config::UdpFiltering;
use super::fragments;
use super::remotes::Remotes;
use super::table::Class;
use super::wire::{self, Path};
use adit_engine::DropReason;
use adit_engine::Outbox;
use adit_engine::datagrams;
use adit_engine::flow::{self, FlowId};
use adit_engine::{Endpoint, PortId};

/// The port of name servers.
const DNS_PORT: u16 = 53;

/// The mapping of an inside address and port to a socket of the host.
#[derive(Debug)]
pub(super) struct Mapping {
    flow: FlowId,
    port: PortId,
    inside: SocketAddr,
    remotes: Remotes,
    is_dns: bool,
    /// A port of the host leads here: anybody may send, and it has no end.
    is_published: bool,
    /// The identification of the next datagram that is fragmented for the inside.
    next_id: u16,
    bytes: (u64, u64),
}

impl Mapping {
    pub(super) const fn new(flow: FlowId, port: PortId, inside: SocketAddr) -> Self {
        Self {
            flow,
            port,
            inside,
            remotes: Remotes::new(),
            is_dns: true,
            is_published: false,
            next_id: 0,
            bytes: (0, 0),
        }
    }

    /// A mapping to which a port of the host leads.
    pub(super) fn published(flow: FlowId, port: PortId, inside: SocketAddr) -> Self {
        Self { is_published: true, ..Self::new(flow, port, inside) }
    }

    pub(super) const fn is_published(&self) -> bool {
        self.is_published
    }

    pub(super) const fn port(&self) -> PortId {
        self.port
    }

    pub(super) const fn inside(&self) -> SocketAddr {
        self.inside
    }

    /// The remote address that was sent to last, as the inside knows it.
    pub(super) fn remote(&self) -> Option<SocketAddr> {
        self.remotes.latest()
    }

    pub(super) const fn bytes_moved(&self) -> (u64, u64) {
        self.bytes
    }

    pub(super) const fn class(&self) -> Class {
        match (self.is_published, self.is_dns) {
            (true, _) => Class::Lasting,
            (false, true) => Class::Dns,
            (false, false) => Class::Udp,
        }
    }

    /// The remotes.
    pub(super) const fn remotes(&mut self) -> &mut Remotes {
        &mut self.remotes
    }

    /// Where the remote that the inside knows as `seen` is; `None` if it never sent there.
    pub(super) fn place_of(&mut self, seen: SocketAddr) -> Option<SocketAddr> {
        self.remotes.place_of(seen)
    }

    /// By which address the inside knows a remote that sent or caused something.
    pub(super) fn name_of(&self, at: SocketAddr) -> Option<SocketAddr> {
        self.remotes.name_of(at)
    }

    /// The inside sends to a remote for the first time.
    pub(super) fn add(&mut self, at: SocketAddr, seen: SocketAddr) {
        self.remotes.add(at, seen);
        self.is_dns &= at.port() == DNS_PORT;
    }

    /// Sends the datagrams in `packet`, which has nothing else, to a remote.
    pub(super) fn send(&mut self, to: SocketAddr, mut packet: PacketBuf, out: &mut Outbox) {
        let vnet = mem::take(&mut packet.meta.vnet);
        if vnet.gso == Gso::UdpL4 {
            packet.meta.vnet.gso = Gso::UdpL4;
            packet.meta.vnet.gso_size = vnet.gso_size;
        }
        self.bytes.0 += u64::try_from(packet.len()).unwrap_or(0);
        if flow::push_address(&mut packet, to) {
            out.send(Endpoint::Flow(self.flow), packet);
        } else {
            out.discard(packet, DropReason::NO_BUFFER);
        }
    }

    /// Sends datagrams of a remote to the inside.
    pub(super) fn receive(
        &mut self,
        from: SocketAddr,
        filtering: UdpFiltering,
        mtu: u16,
        packet: PacketBuf,
        out: &mut Outbox,
    ) {
        let seen = match (self.name_of(from), filtering) {
            (Some(seen), _) => seen,
            (None, UdpFiltering::EndpointIndependent) => from,
            (None, UdpFiltering::AddressAndPortDependent) => {
                return out.discard(packet, DropReason::UNSOLICITED);
            }
        };
        if seen.is_ipv4() != self.inside.is_ipv4() {
            return out.discard(packet, DropReason::UNSOLICITED);
        }
        self.bytes.1 += u64::try_from(packet.len()).unwrap_or(0);
        let path = Path { from: seen.ip(), to: self.inside.ip(), protocol: ip_protocol::UDP };
        let ports = (seen.port(), self.inside.port());
        let head = wire::ip_header_len(path.to) + UdpHeader::LEN;
        let vnet = packet.meta.vnet;
        let is_train = vnet.gso == Gso::UdpL4;
        let longest = if is_train { usize::from(vnet.gso_size) } else { packet.len() };
        if head + longest <= usize::from(mtu) && head + packet.len() <= usize::from(u16::MAX) {
            return put(path, self.port, ports, packet, out);
        }
        // Datagrams that need fragments, or a train that no super-packet holds: one by one.
        for datagram in datagrams(&packet) {
            self.next_id = self.next_id.wrapping_add(1);
            if head + datagram.len() <= usize::from(mtu) {
                let Some(mut copy) = out.make(datagram.len()) else { break };
                // It has room for as much.
                let _ = copy.extend(datagram);
                put(path, self.port, ports, copy, out);
            } else {
                let id = u32::from(self.next_id);
                let header = whole_header(path, ports, datagram);
                fragments::send(path, &header, datagram, mtu, id, self.port, out);
            }
        }
        out.absorb(packet);
    }

    /// The headers of a datagram to a remote, as an ICMP error quotes it, and their length.
    pub(super) fn quoted(&self, seen: SocketAddr) -> ([u8; 48], usize) {
        let path = Path { from: self.inside.ip(), to: seen.ip(), protocol: ip_protocol::UDP };
        let (source_port, destination_port) = (self.inside.port(), seen.port());
        path.quote(&UdpHeader { source_port, destination_port, len: 8, checksum: 0 }.to_bytes())
    }
}

/// The header of a datagram with its checksum.
fn whole_header(path: Path, ports: (u16, u16), datagram: &[u8]) -> [u8; UdpHeader::LEN] {
    let len = UdpHeader::LEN + datagram.len();
    let (source_port, destination_port) = ports;
    let short = u16::try_from(len).unwrap_or(u16::MAX);
    let mut header = UdpHeader { source_port, destination_port, len: short, checksum: 0 };
    let sum = path.pseudo(len).add_bytes(&header.to_bytes()).add_bytes(datagram);
    header.checksum = sum.finish_udp();
    header.to_bytes()
}

/// Puts UDP and IP headers before a datagram or a train of them, its checksum left to be finished, and
/// sends it to the inside.
fn put(path: Path, port: PortId, ports: (u16, u16), mut packet: PacketBuf, out: &mut Outbox) {
    let vnet = packet.meta.vnet;
    let len = packet.len() + UdpHeader::LEN;
    let header = UdpHeader {
        source_port: ports.0,
        destination_port: ports.1,
        len: u16::try_from(len).unwrap_or(u16::MAX),
        checksum: path.pseudo(len).fold(),
    };
    if let Some(room) = packet.prepend(UdpHeader::LEN) {
        room.copy_from_slice(&header.to_bytes());
    }
    let start = wire::ip_header_len(path.to);
    packet.meta = Meta::default();
    packet.meta.vnet = wire::partial_checksum(start, 6);
    if vnet.gso == Gso::UdpL4 && len - UdpHeader::LEN > usize::from(vnet.gso_size) {
        packet.meta.vnet.gso = Gso::UdpL4;
        packet.meta.vnet.gso_size = vnet.gso_size;
        packet.meta.vnet.hdr_len = u16::try_from(start + UdpHeader::LEN).unwrap_or(0);
    }
    if path.prepend(&mut packet, Some(0)) {
        out.send(Endpoint::Port(port), packet);
    } else {
        out.discard(packet, DropReason::TOO_BIG);
    }
}
