//! Fragments: those of the inside put together within bounds, and large datagrams cut for it.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::net::IpAddr;

use adit_packet::{Fragment, Headers, Instant, Ipv6Header, PacketBuf, UdpHeader, ip_protocol};

use super::config::timeout;
use super::wire::{self, Path};
use crate::drop_reason::DropReason;
use crate::endpoint::{Endpoint, PortId};
use crate::outbox::Outbox;

/// Datagrams of one source that are put together at a time: what a sender has on the way on a local link.
const PER_SOURCE_MAX: usize = 16;

/// Datagrams of all sources.
const DATAGRAMS_MAX: usize = 1024;

/// Fragments of one datagram: 65,535 bytes in those of the least MTU of IPv4 with room to spare.
const FRAGMENTS_MAX: usize = 128;

/// The length of the IPv6 fragment header.
const FRAGMENT_LEN: usize = 8;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Key {
    from: IpAddr,
    to: IpAddr,
    protocol: u8,
    id: u32,
}

/// A datagram of which some fragments came.
#[derive(Debug)]
struct Partial {
    key: Key,
    began: Instant,
    /// The payload, with holes.
    bytes: Vec<u8>,
    /// The ranges that are there, in order.
    ranges: Vec<(usize, usize)>,
    /// The length of the whole payload, once the last fragment is there.
    whole: Option<usize>,
}

/// Puts fragments together. Fragments that overlap discard the whole datagram (RFC 5722, and for IPv4 RFC
/// 1858 and 3128, whose attacks need them).
#[derive(Debug)]
pub(super) struct Reassembler {
    /// The oldest first.
    partials: VecDeque<Partial>,
    bytes: usize,
    bytes_max: usize,
}

impl Reassembler {
    pub(super) const fn new(bytes_max: usize) -> Self {
        Self { partials: VecDeque::new(), bytes: 0, bytes_max }
    }

    /// When the oldest datagram is given up.
    pub(super) fn next_timeout(&self) -> Option<Instant> {
        self.partials.front().map(|partial| partial.began + timeout::FRAGMENTS)
    }

    /// Gives up datagrams that are too old.
    pub(super) fn expire(&mut self, now: Instant) {
        while self.next_timeout().is_some_and(|at| at <= now) {
            self.forget(0);
        }
    }

    /// Takes a fragment; the whole packet if it was the last one that was missing.
    pub(super) fn take(
        &mut self,
        now: Instant,
        headers: &Headers,
        packet: PacketBuf,
        out: &mut Outbox,
    ) -> Option<PacketBuf> {
        let parsed = headers.fragment().zip(headers.addresses(packet.bytes()));
        let Some((fragment, (from, to))) = parsed else {
            out.discard(packet, DropReason::MALFORMED);
            return None;
        };
        let protocol = headers.protocol().unwrap_or(0);
        let key = Key { from, to, protocol, id: fragment.id };
        // The transport header of a first fragment is part of the payload.
        let start = headers.transport().unwrap_or_else(|| headers.payload());
        let payload = packet.bytes().get(start..headers.end()).unwrap_or_default();
        let range = (usize::from(fragment.offset), usize::from(fragment.offset) + payload.len());
        // Only the last fragment has a length that is no multiple of eight.
        let is_possible = !payload.is_empty()
            && range.1 <= usize::from(u16::MAX) - Ipv6Header::LEN
            && (!fragment.more || payload.len().is_multiple_of(8));
        if !is_possible {
            out.discard(packet, DropReason::MALFORMED);
            return None;
        }
        let Some(at) = self.place(now, key) else {
            out.discard(packet, DropReason::QUEUE_FULL);
            return None;
        };
        let before = self.partials.get(at).map_or(0, |partial| partial.bytes.capacity());
        let added =
            self.partials.get_mut(at).is_some_and(|partial| partial.add(range, fragment, payload));
        let after = self.partials.get(at).map_or(0, |partial| partial.bytes.capacity());
        self.bytes += after - before;
        if !added {
            self.forget(at);
            out.discard(packet, DropReason::MALFORMED);
            return None;
        }
        out.absorb(packet);
        if !self.partials.get(at).is_some_and(Partial::is_whole) {
            return None;
        }
        let whole = self.forget(at)?;
        let path = Path { from, to, protocol };
        let mut packet = out.make(whole.bytes.len())?;
        // It has room for as much, and for headers.
        let is_built = packet.extend(&whole.bytes).is_ok() && path.prepend(&mut packet, Some(0));
        if !is_built {
            out.discard(packet, DropReason::TOO_BIG);
            return None;
        }
        Some(packet)
    }

    /// The place of a datagram, which is made if it has none; `None` if its source has too many.
    fn place(&mut self, now: Instant, key: Key) -> Option<usize> {
        while self.bytes > self.bytes_max {
            self.forget(0)?;
        }
        if let Some(at) = self.partials.iter().position(|partial| partial.key == key) {
            return Some(at);
        }
        let of_source = self.partials.iter().filter(|partial| partial.key.from == key.from).count();
        if of_source >= PER_SOURCE_MAX {
            // Its own oldest one makes room: others lose nothing.
            let oldest = self.partials.iter().position(|partial| partial.key.from == key.from)?;
            self.forget(oldest);
        }
        if self.partials.len() >= DATAGRAMS_MAX {
            self.forget(0);
        }
        self.partials.push_back(Partial {
            key,
            began: now,
            bytes: Vec::new(),
            ranges: Vec::new(),
            whole: None,
        });
        Some(self.partials.len() - 1)
    }

    fn forget(&mut self, at: usize) -> Option<Partial> {
        let partial = self.partials.remove(at)?;
        self.bytes -= partial.bytes.capacity();
        Some(partial)
    }
}

impl Partial {
    /// Adds a fragment. `false`: it overlaps another one, or contradicts it.
    fn add(&mut self, range: (usize, usize), fragment: Fragment, payload: &[u8]) -> bool {
        let at = self.ranges.partition_point(|other| other.0 < range.0);
        // The same fragment twice is no attack.
        if self.ranges.get(at) == Some(&range) && self.bytes.get(range.0..range.1) == Some(payload)
        {
            return true;
        }
        let overlaps = |other: &(usize, usize)| other.0 < range.1 && range.0 < other.1;
        let is_past_end = self.whole.is_some_and(|whole| range.1 > whole);
        let is_before_others = !fragment.more && self.bytes.len() > range.1;
        let is_second_end = !fragment.more && self.whole.is_some();
        if self.ranges.iter().any(overlaps)
            || is_past_end
            || is_before_others
            || is_second_end
            || self.ranges.len() >= FRAGMENTS_MAX
        {
            return false;
        }
        if self.bytes.len() < range.1 {
            self.bytes.resize(range.1, 0);
        }
        if let Some(room) = self.bytes.get_mut(range.0..range.1) {
            room.copy_from_slice(payload);
        }
        self.ranges.insert(at, range);
        if !fragment.more {
            self.whole = Some(range.1);
        }
        true
    }

    fn is_whole(&self) -> bool {
        let there: usize = self.ranges.iter().map(|range| range.1 - range.0).sum();
        self.whole == Some(there)
    }
}

/// Sends a datagram to the inside in fragments.
pub(super) fn send_udp(
    path: Path,
    ports: (u16, u16),
    datagram: &[u8],
    mtu: u16,
    id: u32,
    port: PortId,
    out: &mut Outbox,
) {
    let len = UdpHeader::LEN + datagram.len();
    let Ok(short) = u16::try_from(len) else { return };
    let mut header =
        UdpHeader { source_port: ports.0, destination_port: ports.1, len: short, checksum: 0 };
    let sum = path.pseudo(len).add_bytes(&header.to_bytes()).add_bytes(datagram);
    header.checksum = sum.finish_udp();
    let is_v4 = path.to.is_ipv4();
    let extra = if is_v4 { 0 } else { FRAGMENT_LEN };
    let room = usize::from(mtu) - wire::ip_header_len(path.to) - extra;
    let room = room - room % 8;
    let header = header.to_bytes();
    let mut offset = 0;
    while offset < len {
        let end = (offset + room).min(len);
        let fragment = Fragment { offset: u16::try_from(offset).unwrap_or(0), more: end < len, id };
        let Some(mut packet) = out.make(end - offset) else { return };
        let head: &[u8] = if offset == 0 { &header } else { &[] };
        let from = offset.saturating_sub(UdpHeader::LEN);
        let payload = datagram.get(from..end - UdpHeader::LEN).unwrap_or_default();
        // It has room for as much.
        let _ = packet.extend(head).and_then(|()| packet.extend(payload));
        if put(path, fragment, &mut packet) {
            out.send(Endpoint::Port(port), packet);
        } else {
            out.discard(packet, DropReason::TOO_BIG);
        }
        offset = end;
    }
}

/// Puts the IP header, and for IPv6 the fragment header, before a fragment.
fn put(path: Path, fragment: Fragment, packet: &mut PacketBuf) -> bool {
    if !path.to.is_ipv4() {
        let [i0, i1, i2, i3] = fragment.id.to_be_bytes();
        let [o0, o1] = (fragment.offset | u16::from(fragment.more)).to_be_bytes();
        let Some(room) = packet.prepend(FRAGMENT_LEN) else { return false };
        room.copy_from_slice(&[path.protocol, 0, o0, o1, i0, i1, i2, i3]);
    }
    let Ok(len) = u16::try_from(packet.len()) else { return false };
    let id = u16::try_from(fragment.id & 0xffff).unwrap_or(0);
    let Some((head, head_len)) = path.header(len, Some(id), Some(fragment)) else { return false };
    let Some(room) = packet.prepend(head_len) else { return false };
    room.iter_mut().zip(head).for_each(|(to, from)| *to = from);
    true
}

/// Whether a protocol is put together: others are not translated.
pub(super) const fn is_translated(protocol: u8) -> bool {
    matches!(protocol, ip_protocol::UDP | ip_protocol::TCP | ip_protocol::ICMP | ip_protocol::ICMP6)
}
