//! A rate limit: a token bucket, with FQ-CoDel for the packets that wait.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::time::Duration;

use crate::inner::mark;
use adit_engine::{CoDel, Sojourn};
use adit_packet::{Headers, Instant, Layer, PacketBuf};

use crate::codec::codec;

/// The rate limit of one direction of a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// The rate in bit/s of packets inside the tunnel: at least 1000.
    pub bits_per_second: u64,
    /// The maximum burst in bytes.
    pub burst: u32,
}

codec! { Shape { bits_per_second, burst } }

impl Shape {
    /// The minimum rate: below it a packet would wait for more than 10 s.
    pub const BITS_PER_SECOND_MIN: u64 = 1000;
    /// The default burst: ten full packets, enough for a short exchange without a wait.
    pub const BURST: u32 = 15_000;

    /// The time that `len` bytes take.
    fn time(self, len: usize) -> Duration {
        let rate = u128::from(self.bits_per_second.max(Self::BITS_PER_SECOND_MIN));
        let bits = u128::try_from(len).unwrap_or(u128::MAX).saturating_mul(8);
        let nanos = bits.saturating_mul(1_000_000_000) / rate;
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

/// The maximum number of packets in one shaper: 6 s of full packets at 1 Mbit/s, which CoDel prevents.
const PACKETS_MAX: usize = 512;
/// The number of flow queues: with 16 flows, three of four have their own.
const FLOWS: usize = 64;
/// The quantum of a flow, as in Linux: a full frame.
const QUANTUM: i64 = 1514;
/// `CoDel`'s times (RFC 8289, 4.2 and 4.3).
const CODEL: CoDel =
    CoDel { target: Duration::from_millis(5), interval: Duration::from_millis(100) };
/// A super-packet that takes longer than this is segmented before it waits, so that other packets get between.
const WHOLE_MAX: Duration = Duration::from_millis(2);

/// One direction of a peer.
///
/// Source: RFC 8290 (FQ-CoDel), RFC 8289 (CoDel).
#[derive(Debug)]
pub(crate) struct Shaper {
    shape: Shape,
    /// The time at which the bucket will be full.
    paid: Instant,
    slots: Vec<Slot>,
    free: Vec<usize>,
    flows: Box<[Flow]>,
    new: Turn,
    old: Turn,
    len: usize,
    key: u64,
}

#[derive(Debug)]
struct Slot {
    packet: Option<PacketBuf>,
    came: Instant,
    next: Option<usize>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Flow {
    ends: Option<(usize, usize)>,
    bytes: usize,
    deficit: i64,
    waits: bool,
    next: Option<usize>,
    sojourn: Sojourn,
}

#[derive(Clone, Copy, Debug, Default)]
struct Turn {
    ends: Option<(usize, usize)>,
}

impl Shaper {
    /// Creates a shaper. Without `key` a sender cannot choose the queue of its flows.
    pub(crate) fn new(shape: Shape, key: u64) -> Self {
        Self {
            shape,
            paid: Instant::ZERO,
            slots: Vec::new(),
            free: Vec::new(),
            flows: alloc::vec![Flow::default(); FLOWS].into_boxed_slice(),
            new: Turn::default(),
            old: Turn::default(),
            len: 0,
            key,
        }
    }

    /// Changes the rate; queued packets stay.
    pub(crate) const fn set(&mut self, shape: Shape) {
        self.shape = shape;
    }

    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    /// Whether to segment a super-packet of that length before it is pushed.
    pub(crate) fn wants_segments(&self, len: usize) -> bool {
        self.shape.time(len) > WHOLE_MAX
    }

    /// The time at which [`Self::pop`] returns a packet, if one waits.
    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        (self.len > 0).then(|| self.paid - self.shape.time(self.burst()))
    }

    /// Whether a packet may be sent at once.
    fn is_open(&self, now: Instant) -> bool {
        self.paid.since(now) <= self.shape.time(self.burst())
    }

    fn burst(&self) -> usize {
        usize::try_from(self.shape.burst).unwrap_or(usize::MAX)
    }

    /// Returns the packet as `Ok` if it may be sent at once, and as `Err` if it must be queued.
    pub(crate) fn pass(&mut self, now: Instant, packet: PacketBuf) -> Result<PacketBuf, PacketBuf> {
        if self.len == 0 && self.is_open(now) {
            self.pay(now, packet.len());
            Ok(packet)
        } else {
            Err(packet)
        }
    }

    /// Queues a packet. If there are too many, returns one to drop: the head of the longest flow.
    pub(crate) fn push(
        &mut self,
        now: Instant,
        packet: PacketBuf,
        layer: Layer,
    ) -> Option<PacketBuf> {
        let index = self.flow_of(&packet, layer);
        let len = packet.len();
        let slot = Slot { packet: Some(packet), came: now, next: None };
        let at = match self.free.pop() {
            Some(at) => {
                self.slots[at] = slot;
                at
            }
            None => {
                self.slots.push(slot);
                self.slots.len() - 1
            }
        };
        self.len += 1;
        let flow = &mut self.flows[index];
        flow.bytes += len;
        flow.ends = match flow.ends {
            Some((first, last)) => {
                self.slots[last].next = Some(at);
                Some((first, at))
            }
            None => Some((at, at)),
        };
        if !flow.waits {
            flow.waits = true;
            flow.deficit = QUANTUM;
            self.append(index, true);
        }
        if self.len <= PACKETS_MAX {
            return None;
        }
        let longest = self.flows.iter().enumerate().max_by_key(|(_, flow)| flow.bytes);
        let longest = longest.map(|(index, _)| index)?;
        self.take_first(longest).map(|(packet, _)| packet)
    }

    /// Returns the next packet that may be sent at `now`. CoDel marks packets of ECN-capable flows; those of others that
    /// it drops go to `drop`.
    pub(crate) fn pop(
        &mut self,
        now: Instant,
        layer: Layer,
        mut drop: impl FnMut(PacketBuf),
    ) -> Option<PacketBuf> {
        if !self.is_open(now) {
            return None;
        }
        loop {
            let is_new = self.new.ends.is_some();
            let (index, _) = if is_new { self.new.ends } else { self.old.ends }?;
            let flow = &mut self.flows[index];
            if flow.deficit <= 0 {
                flow.deficit += QUANTUM;
                self.remove_first(is_new);
                self.append(index, false);
                continue;
            }
            if let Some(packet) = self.dequeue(now, layer, index, &mut drop) {
                self.flows[index].deficit -= i64::try_from(packet.len()).unwrap_or(i64::MAX);
                self.pay(now, packet.len());
                return Some(packet);
            }
            // A new flow that ran empty takes one turn as an old one (RFC 8290, 4.2).
            self.remove_first(is_new);
            if is_new && self.old.ends.is_some() {
                self.append(index, false);
            } else {
                self.flows[index].waits = false;
            }
        }
    }

    /// Removes all packets, regardless of the rate.
    pub(crate) fn drain(&mut self) -> impl Iterator<Item = PacketBuf> + '_ {
        self.len = 0;
        self.free.clear();
        self.flows.fill(Flow::default());
        (self.new, self.old) = (Turn::default(), Turn::default());
        self.slots.drain(..).filter_map(|slot| slot.packet)
    }

    fn pay(&mut self, now: Instant, len: usize) {
        self.paid = self.paid.max(now) + self.shape.time(len);
    }

    /// `CoDel` on one flow (RFC 8289, 5).
    fn dequeue(
        &mut self,
        now: Instant,
        layer: Layer,
        index: usize,
        drop: &mut impl FnMut(PacketBuf),
    ) -> Option<PacketBuf> {
        // One packet on a slow line is not a queue (RFC 8290, 5.2: 1 Mbit/s).
        let target = CODEL.target.max(self.shape.time(1514) * 3 / 2);
        while let Some((mut packet, came)) = self.take_first(index) {
            let flow = &mut self.flows[index];
            if flow.bytes <= 1514 {
                flow.sojourn.rest();
                return Some(packet);
            }
            if !flow.sojourn.must_drop(now, now.since(came), CoDel { target, ..CODEL })
                || mark(layer, packet.bytes_mut())
            {
                return Some(packet);
            }
            drop(packet);
        }
        self.flows[index].sojourn.rest();
        None
    }

    fn take_first(&mut self, index: usize) -> Option<(PacketBuf, Instant)> {
        let (first, last) = self.flows[index].ends?;
        let slot = &mut self.slots[first];
        let packet = slot.packet.take()?;
        self.flows[index].ends = slot.next.map(|next| (next, last));
        self.flows[index].bytes -= packet.len();
        self.len -= 1;
        self.free.push(first);
        Some((packet, slot.came))
    }

    fn append(&mut self, index: usize, new: bool) {
        self.flows[index].next = None;
        let turn = if new { &mut self.new } else { &mut self.old };
        turn.ends = match turn.ends {
            Some((first, last)) => {
                self.flows[last].next = Some(index);
                Some((first, index))
            }
            None => Some((index, index)),
        };
    }

    fn remove_first(&mut self, new: bool) {
        let turn = if new { &mut self.new } else { &mut self.old };
        if let Some((first, last)) = turn.ends {
            turn.ends = self.flows[first].next.map(|next| (next, last));
        }
    }

    /// The queue of a packet's flow: by addresses, protocol and ports, or by its first bytes.
    fn flow_of(&self, packet: &PacketBuf, layer: Layer) -> usize {
        let bytes = packet.bytes();
        let flow = layer.parse(bytes).ok().and_then(|headers: Headers| headers.flow(bytes));
        let mut hash = self.key;
        let mut add = |part: &[u8]| {
            for &byte in part {
                hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
            }
        };
        match flow {
            Some(flow) => {
                for address in [flow.source, flow.destination] {
                    match address {
                        core::net::IpAddr::V4(address) => add(&address.octets()),
                        core::net::IpAddr::V6(address) => add(&address.octets()),
                    }
                }
                add(&[flow.protocol]);
                add(&flow.source_port.to_be_bytes());
                add(&flow.destination_port.to_be_bytes());
            }
            None => add(bytes.get(..12).unwrap_or(bytes)),
        }
        hash ^= hash >> 32;
        usize::try_from(hash & u64::from(u32::MAX)).unwrap_or_default() % FLOWS
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use adit_packet::Ecn;

    fn packet(flow: u8, len: usize) -> PacketBuf {
        let mut packet = PacketBuf::new(0, len);
        packet.grow(len).unwrap().fill(flow);
        packet
    }

    fn shaper(bits_per_second: u64) -> Shaper {
        Shaper::new(Shape { bits_per_second, burst: 3000 }, 7)
    }

    /// Feeds packets as fast as they are taken and counts bytes sent in ten seconds.
    #[test]
    fn the_rate_is_kept() {
        for rate in [1_000_000, 10_000_000, 1_000_000_000] {
            let mut shaper = shaper(rate);
            let (mut now, mut sent) = (Instant::ZERO, 0_u64);
            let end = now + Duration::from_secs(1);
            while now < end {
                while shaper.len() < 5 {
                    assert!(shaper.push(now, packet(1, 1000), Layer::Packet).is_none());
                }
                while let Some(packet) = shaper.pop(now, Layer::Packet, drop) {
                    sent += u64::try_from(packet.len()).unwrap();
                }
                now = shaper.next_timeout().unwrap().max(now + Duration::from_nanos(1));
            }
            let bits = sent * 8;
            let wanted = rate..=rate + rate / 100 + 4000 * 8;
            assert!(wanted.contains(&bits), "{rate} {bits}");
        }
    }

    #[test]
    fn a_burst_passes_at_once() {
        let mut shaper = shaper(1_000_000);
        let now = Instant::ZERO + Duration::from_secs(5);
        for _ in 0..4 {
            assert!(shaper.pass(now, packet(1, 1000)).is_ok());
        }
        assert!(shaper.pass(now, packet(1, 1000)).is_err());
        assert!(shaper.pass(now + Duration::from_millis(8), packet(1, 1000)).is_ok());
    }

    /// A flow that sends too much waits and is dropped from; one that sends little does not.
    #[test]
    fn flows_do_not_harm_each_other_and_do_not_wait_long() {
        let mut shaper = shaper(10_000_000);
        let mut dropped = [0_u32; 2];
        let (mut small, mut large) = (0_u32, 0_u32);
        let mut longest = 0;
        for tick in 0..10_000_u64 {
            let now = Instant::ZERO + Duration::from_millis(tick);
            for _ in 0..3 {
                if let Some(gone) = shaper.push(now, packet(9, 1000), Layer::Packet) {
                    dropped[usize::from(gone.bytes()[0] == 1)] += 1;
                }
            }
            if tick % 20 == 0 {
                let gone = shaper.push(now, packet(1, 100), Layer::Packet);
                dropped[usize::from(gone.is_some_and(|gone| gone.bytes()[0] == 1))] += 1;
            }
            while let Some(packet) = shaper.pop(now, Layer::Packet, |gone| {
                dropped[usize::from(gone.bytes()[0] == 1)] += 1;
            }) {
                let count = if packet.bytes()[0] == 1 { &mut small } else { &mut large };
                *count += 1;
            }
            longest = longest.max(shaper.len());
        }
        assert_eq!(small, 500, "none of the small flow was lost");
        assert_eq!(dropped[1], 0);
        assert!((12_000..13_000).contains(&large), "{large}");
        assert!(longest <= PACKETS_MAX);
    }

    /// A flow that sends 10 % too much, of packets with an IP header: how many were dropped and marked by CoDel.
    fn overload(layer: Layer, ecn: Ecn) -> (u32, u32) {
        let mut shaper = shaper(8_000_000);
        let at = if layer == Layer::Frame { 14 } else { 0 };
        let (mut dropped, mut marked) = (0, 0);
        for tick in 0..2000_u64 {
            let now = Instant::ZERO + Duration::from_micros(tick * 900);
            let mut sent = packet(0, 1000);
            sent.bytes_mut()[12..14].copy_from_slice(&[8, 0]);
            sent.bytes_mut()[at] = 0x45;
            ecn.write(&mut sent.bytes_mut()[at..]);
            assert!(shaper.push(now, sent, layer).is_none());
            while let Some(packet) = shaper.pop(now, layer, |_| dropped += 1) {
                marked += u32::from(Ecn::of(&packet.bytes()[at..]) == Ecn::Ce);
            }
        }
        (dropped, marked)
    }

    #[test]
    fn capable_flows_are_marked_and_not_dropped() {
        for layer in [Layer::Packet, Layer::Frame] {
            let (dropped, marked) = overload(layer, Ecn::NotEct);
            assert!(dropped > 20 && marked == 0, "{dropped} {marked}");
            for ecn in [Ecn::Ect0, Ecn::Ect1] {
                let (dropped, marked) = overload(layer, ecn);
                assert!(dropped == 0 && marked > 20, "{layer:?} {dropped} {marked}");
            }
        }
    }

    #[test]
    fn queued_packets_can_be_taken_out() {
        let mut shaper = shaper(1_000_000);
        for flow in 0..20 {
            shaper.push(Instant::ZERO, packet(flow, 100), Layer::Packet);
        }
        assert_eq!(shaper.drain().count(), 20);
        assert_eq!((shaper.len(), shaper.next_timeout()), (0, None));
        assert!(shaper.pop(Instant::MAX, Layer::Packet, drop).is_none());
        shaper.push(Instant::ZERO, packet(1, 100), Layer::Packet);
        assert!(shaper.pop(Instant::ZERO, Layer::Packet, drop).is_some());
    }
}
