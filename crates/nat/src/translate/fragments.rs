//! Fragments: those of the inside put together within bounds, and large datagrams cut for it.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::net::IpAddr;

use adit_packet::{Fragment, Headers, Instant, Ipv6Header, PacketBuf, ip_protocol};

use super::config::timeout;
use super::wire::{self, Path};
use adit_engine::DropReason;
use adit_engine::Outbox;
use adit_engine::{Endpoint, PortId};

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

/// Sends a payload of IP, in two parts, to the inside in fragments.
pub(super) fn send(
    path: Path,
    head: &[u8],
    body: &[u8],
    mtu: u16,
    id: u32,
    port: PortId,
    out: &mut Outbox,
) {
    let len = head.len() + body.len();
    let extra = if path.to.is_ipv4() { 0 } else { FRAGMENT_LEN };
    let room = usize::from(mtu) - wire::ip_header_len(path.to) - extra;
    let room = room - room % 8;
    let mut offset = 0;
    while offset < len {
        let end = (offset + room).min(len);
        // What has no place in 16 bits is longer than any packet.
        let Ok(start) = u16::try_from(offset) else { return };
        let fragment = Fragment { offset: start, more: end < len, id };
        let Some(mut packet) = out.make(end - offset) else { return };
        let head = head.get(offset..).unwrap_or_default();
        let from = offset.saturating_sub(len - body.len());
        let payload = body.get(from..end - (len - body.len())).unwrap_or_default();
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

#[cfg(test)]
mod tests {
    use super::*;
    use adit_packet::{Batch, Ipv4Header, Pool, PoolConfig};
    use std::vec;

    struct Rig {
        reassembler: Reassembler,
        out: Outbox,
        now: Instant,
    }

    impl Rig {
        fn new(bytes_max: usize) -> Self {
            let out = Outbox::new(Pool::new(PoolConfig::default()));
            Self { reassembler: Reassembler::new(bytes_max), out, now: Instant::ZERO }
        }

        /// A fragment of UDP from a host; the payload of the whole packet if it is complete.
        fn take(
            &mut self,
            host: u8,
            id: u32,
            offset: u16,
            more: bool,
            bytes: &[u8],
        ) -> Option<Vec<u8>> {
            let header = Ipv4Header {
                tos: 0,
                total_len: u16::try_from(20 + bytes.len()).unwrap(),
                id: u16::try_from(id).unwrap(),
                dont_fragment: false,
                fragment: Some(Fragment { offset, more, id }),
                ttl: 64,
                protocol: ip_protocol::UDP,
                source: [10, 0, 2, host].into(),
                destination: [192, 0, 2, 1].into(),
            };
            let mut packet = self.out.make(20 + bytes.len()).unwrap();
            packet.extend(&header.to_bytes()).unwrap();
            packet.extend(bytes).unwrap();
            let headers = Headers::parse_packet(packet.bytes()).unwrap();
            let whole = self.reassembler.take(self.now, &headers, packet, &mut self.out)?;
            let payload = whole.bytes()[20..].to_vec();
            self.out.absorb(whole);
            Some(payload)
        }
    }

    #[test]
    fn fragments_in_any_order_make_the_datagram() {
        let whole: Vec<u8> = (0..3000_u16).map(|at| at.to_be_bytes()[1]).collect();
        let cuts = [(0, 1480), (1480, 2960), (2960, 3000)];
        for order in [[0, 1, 2], [2, 0, 1], [1, 2, 0]] {
            let mut rig = Rig::new(1 << 20);
            let mut got = None;
            for at in order {
                let (start, end) = cuts[at];
                let offset = u16::try_from(start).unwrap();
                assert_eq!(got, None);
                // Twice: a duplicate is no overlap.
                got = rig.take(1, 7, offset, end < 3000, &whole[start..end]);
                if got.is_none() {
                    assert_eq!(rig.take(1, 7, offset, end < 3000, &whole[start..end]), None);
                }
            }
            assert_eq!(got.as_ref(), Some(&whole));
            assert_eq!(rig.reassembler.bytes, 0);
        }
    }

    #[test]
    fn overlaps_discard_the_datagram() {
        for (offset, more, len) in [(8, true, 16), (0, true, 8), (24, false, 8), (16, false, 3)] {
            let mut rig = Rig::new(1 << 20);
            assert_eq!(rig.take(1, 7, 0, true, &[1; 16]), None);
            assert_eq!(rig.take(1, 7, 32, true, &[2; 8]), None);
            rig.take(1, 7, offset, more, &vec![3; len]);
            assert_eq!(rig.reassembler.partials.len(), 0, "{offset} {more} {len}");
            assert_eq!(rig.out.counts().discarded(), 1);
        }
    }

    #[test]
    fn orphans_are_bounded_by_source_by_bytes_and_by_time() {
        let mut rig = Rig::new(100_000);
        assert_eq!(rig.take(1, 1, 0, true, &[0; 800]), None);
        for id in 0..10_000 {
            assert_eq!(rig.take(2, id, 0, true, &[0; 800]), None);
            assert!(rig.reassembler.bytes <= 102_000);
        }
        assert_eq!(rig.reassembler.partials.len(), 1 + PER_SOURCE_MAX);
        let whole = rig.take(1, 1, 800, false, &[0; 3]);
        assert_eq!(whole.map(|whole| whole.len()), Some(803), "others lose nothing");
        for host in 3..250 {
            (0..9).for_each(|id| drop(rig.take(host, id, 800, true, &[0; 800])));
            assert!(rig.reassembler.bytes <= 104_000);
        }
        rig.now += timeout::FRAGMENTS;
        rig.reassembler.expire(rig.now);
        assert_eq!((rig.reassembler.partials.len(), rig.reassembler.bytes), (0, 0));
        assert_eq!(rig.reassembler.next_timeout(), None);
    }

    #[test]
    fn what_is_cut_is_put_together_again() {
        for (to, id) in [("10.0.2.1", 9), ("fd00::1", 9)] {
            let to: IpAddr = to.parse().unwrap();
            let from = if to.is_ipv4() { "192.0.2.1" } else { "2001:db8::1" }.parse().unwrap();
            let path = Path { from, to, protocol: ip_protocol::UDP };
            let mut rig = Rig::new(1 << 20);
            let body: Vec<u8> = (0..40_000_u32).map(|at| at.to_be_bytes()[2]).collect();
            send(path, &[1; 8], &body, 1500, id, PortId(0), &mut rig.out);
            let (mut batch, mut whole) = (Batch::new(), None);
            while rig.out.next_group(&mut batch).is_some() {
                for packet in batch.drain(..) {
                    assert!(packet.len() <= 1500);
                    let headers = Headers::parse_packet(packet.bytes()).unwrap();
                    whole = rig.reassembler.take(rig.now, &headers, packet, &mut rig.out);
                }
            }
            let whole = whole.unwrap();
            let head = wire::ip_header_len(to);
            assert_eq!(whole.bytes()[head..], [&[1; 8][..], &body].concat());
        }
    }
}
