//! Segments to the inside: their headers, and RSTs of no connection.

use core::net::IpAddr;

use adit_packet::{Gso, PacketBuf, TcpFlags, TcpHeader};

use super::segment::{Options, Segment};
use crate::translate::wire::{self, Path};
use adit_engine::DropReason;
use adit_engine::Outbox;
use adit_engine::{Endpoint, PortId};

/// The least segment size that is used, as Linux's `TCP_MIN_SND_MSS`: a smaller one would make thousands
/// of segments of one piece.
pub(super) const MSS_MIN: u16 = 88;

/// Answers a segment of no connection with a RST.
pub(in crate::translate) fn refuse(
    path: Path,
    port: PortId,
    ports: (u16, u16),
    segment: &Segment,
    out: &mut Outbox,
) {
    if let Some(numbers) = segment.refusal() {
        send_rst(path, port, ports, numbers, out);
    }
}

pub(super) fn send_rst(
    path: Path,
    port: PortId,
    (source_port, destination_port): (u16, u16),
    (sequence, acknowledgment): (u32, Option<u32>),
    out: &mut Outbox,
) -> bool {
    let Some(packet) = out.make(0) else { return false };
    let flags = if acknowledgment.is_some() { TcpFlags::ACK } else { TcpFlags(0) };
    let header = TcpHeader {
        source_port,
        destination_port,
        sequence,
        acknowledgment: acknowledgment.unwrap_or(0),
        flags: flags.with(TcpFlags::RST),
        window: 0,
        checksum: 0,
        urgent: 0,
    };
    put(path, port, u16::MAX, &header, &Options::new(), packet, out);
    true
}

/// Puts TCP and IP headers before the bytes of `packet`, its checksum left to be finished, and sends it to
/// the inside; as a super-packet if it has more bytes than a segment.
pub(super) fn put(
    path: Path,
    port: PortId,
    mss: u16,
    header: &TcpHeader,
    options: &Options,
    mut packet: PacketBuf,
    out: &mut Outbox,
) {
    let len = packet.len();
    let options = options.bytes();
    let options_len = u8::try_from(options.len()).unwrap_or(0);
    let ip_len = wire::ip_header_len(path.to);
    let header_len = TcpHeader::LEN + options.len();
    let sum = path.pseudo(header_len + len).fold();
    let header = TcpHeader { checksum: sum, ..*header }.to_bytes(options_len);
    if let Some(room) = packet.prepend(header_len) {
        room.iter_mut().zip(header.iter().chain(options)).for_each(|(to, from)| *to = *from);
    }
    let mut vnet = wire::partial_checksum(ip_len, 16);
    if len > usize::from(mss) {
        vnet.gso = if path.to.is_ipv4() { Gso::Tcp4 } else { Gso::Tcp6 };
        vnet.gso_size = mss;
        vnet.hdr_len = u16::try_from(ip_len + header_len).unwrap_or(0);
    }
    packet.meta.vnet = vnet;
    if path.prepend(&mut packet, None) {
        out.send(Endpoint::Port(port), packet);
    } else {
        out.discard(packet, DropReason::TOO_BIG);
    }
}

/// A SYN of the inside as an ICMP error quotes it, and its length; `ports` are those of segments to the inside.
pub(super) fn quoted_syn(path: Path, (to, from): (u16, u16), seq: u32) -> ([u8; 48], usize) {
    let mut head = [0; 8];
    let bytes = [&from.to_be_bytes()[..], &to.to_be_bytes(), &seq.to_be_bytes()];
    head.iter_mut().zip(bytes.into_iter().flatten()).for_each(|(to, from)| *to = *from);
    path.quote(&head)
}

/// The longest payload of a segment that the inside may send.
pub(super) fn own_mss(family_of: IpAddr, mtu: u16) -> u16 {
    mtu - u16::try_from(wire::ip_header_len(family_of) + TcpHeader::LEN).unwrap_or(0)
}

/// The offset in a stream of a sequence number that is near `near`; `base` is the number of its first byte.
pub(super) fn distance(base: u32, near: u64, seq: u32) -> i64 {
    let there = base.wrapping_add(low(near));
    let ahead = seq.wrapping_sub(there).cast_signed();
    i64::try_from(near).unwrap_or(i64::MAX).saturating_add(i64::from(ahead))
}

#[expect(clippy::cast_possible_truncation, reason = "sequence numbers wrap")]
pub(super) const fn low(offset: u64) -> u32 {
    offset as u32
}
