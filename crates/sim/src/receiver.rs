//! The receiving side of a TCP connection as Linux has it, around smoltcp's TCP.
//!
//! smoltcp keeps track of 32 gaps, reports one of them, and delays acknowledgments in another way. So it sees segments in
//! order only: those that arrive too early are kept here, and acknowledged here with the three newest blocks
//! (RFC 2018). Of smoltcp's own acknowledgments, one of a single segment waits for a second segment, unless the
//! connection is new or the segment is the last one of a write.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;
use core::net::IpAddr;
use core::time::Duration;

use adit_packet::{Headers, Instant, Layer, PacketBuf, TcpFlags, TcpHeader, ip_protocol};

use crate::ip::append_header;
use crate::seen::{Seen, set_ack};

/// What has arrived of a stream, and what of it is acknowledged.
#[derive(Debug)]
pub(crate) struct Receiver {
    mss: u64,
    /// How long an acknowledgment waits; `None`: not at all.
    delay: Option<Duration>,
    /// Bytes after the next expected one that are kept.
    room: u64,
    /// The sequence number of place 0, once it is known.
    origin: Option<u32>,
    /// The next place that is expected, and the last one that we said so of.
    next: u64,
    acked: u64,
    held: BTreeMap<u64, Held>,
    /// What smoltcp takes next.
    ready: VecDeque<PacketBuf>,
    /// The newest acknowledgment of the peer, and the end of what smoltcp has sent.
    heard: u32,
    sent: u32,
    /// What is held, the newest first.
    blocks: Vec<(u64, u64)>,
    has_sack: bool,
    /// Acknowledgments that do not wait, as at the start of a connection.
    quick: u32,
    /// Whether the next acknowledgment does not wait.
    is_urgent: bool,
    /// Whether what smoltcp acknowledges now is acknowledged already.
    is_answered: bool,
    waiting: Option<(u64, Vec<u8>)>,
    due: Instant,
    /// The window of the last acknowledgment.
    window: u16,
}

/// A segment that arrived too early.
#[derive(Debug)]
struct Held {
    end: u64,
    seen: Seen,
    packet: PacketBuf,
}

/// `TCP_MAX_QUICKACKS`.
const QUICK_MAX: u32 = 16;
/// Blocks that are remembered (`TCP_NUM_SACKS`) and sent.
const BLOCKS_KEPT: usize = 4;
const BLOCKS_SENT: usize = 3;
/// Two empty options, kind and length of blocks; timestamps and two empty options.
const BLOCKS_HEADER: [u8; 3] = [1, 1, 5];
const TIMESTAMPS_HEADER: [u8; 4] = [1, 1, 8, 10];
impl Receiver {
    pub(crate) fn new(mss: usize, delay: Option<Duration>, room: usize) -> Self {
        let shift = (usize::BITS - room.leading_zeros()).saturating_sub(16);
        Self {
            mss: u64::try_from(mss).unwrap_or(u64::MAX),
            delay,
            room: u64::try_from(room).unwrap_or(u64::MAX),
            origin: None,
            next: 0,
            acked: 0,
            held: BTreeMap::new(),
            ready: VecDeque::new(),
            heard: 0,
            sent: 0,
            blocks: Vec::new(),
            has_sack: false,
            quick: QUICK_MAX,
            is_urgent: false,
            is_answered: false,
            waiting: None,
            due: Instant::MAX,
            window: u16::try_from(room >> shift).unwrap_or(u16::MAX),
        }
    }

    /// When [`Self::poll`] has something to do; [`Instant::MAX`]: never.
    pub(crate) const fn due(&self) -> Instant {
        self.due
    }

    /// The acknowledgment that has waited enough.
    pub(crate) fn poll(&mut self, now: Instant) -> Option<Vec<u8>> {
        if self.due > now {
            return None;
        }
        self.due = Instant::MAX;
        let (place, packet) = self.waiting.take()?;
        self.acked = self.acked.max(place);
        Some(packet)
    }

    /// Takes a segment. Returns an acknowledgment that leaves at once.
    pub(crate) fn arrived(
        &mut self,
        packet: PacketBuf,
        seen: &Seen,
        layer: Layer,
    ) -> Option<Vec<u8>> {
        // A SYN alone comes again; smoltcp's answer to the first one says the same.
        if seen.flags.contains(TcpFlags::SYN.with(TcpFlags::ACK)) && self.next == 0 {
            self.origin = Some(seen.sequence.wrapping_add(1));
            self.has_sack = seen.permits_sack;
            self.heard = seen.ack;
        }
        if is_after(seen.ack, self.heard) && !is_after(seen.ack, self.sent) {
            self.heard = seen.ack;
        }
        let is_special = seen.flags.intersects(TcpFlags::SYN.with(TcpFlags::RST));
        let len = u64::from(seen.len) + u64::from(seen.flags.contains(TcpFlags::FIN));
        let Some(start) = self.place(seen.sequence).filter(|_| !is_special && len > 0) else {
            self.ready.push_back(packet);
            return None;
        };
        let end = start.saturating_add_unsigned(len);
        let (Ok(end), next) = (u64::try_from(end), self.next) else { return None };
        let start = u64::try_from(start).unwrap_or_default();
        let is_early = start > next;
        let fills = !self.held.is_empty();
        let way = if is_early || end <= next || fills { Way::back(&packet, layer) } else { None };
        if is_early || end <= next {
            self.quick = QUICK_MAX;
            if is_early && end <= next.saturating_add(self.room) {
                self.hold(start, Held { end, seen: *seen, packet });
            }
            return self.answer(seen, way?);
        }
        self.pass(seen, packet);
        self.next = end;
        while let Some(first) = self.held.first_entry().filter(|first| *first.key() <= self.next) {
            let Held { end, seen, packet } = first.remove();
            if end > self.next {
                self.next = end;
                self.pass(&seen, packet);
            }
        }
        let next = self.next;
        self.blocks.retain(|&(_, end)| end > next);
        if !self.held.is_empty() {
            self.is_answered = true;
            return self.answer(seen, way?);
        }
        let is_pushed = seen.flags.intersects(TcpFlags::FIN.with(TcpFlags::PSH));
        self.is_urgent |= fills || is_pushed || self.quick > 0 || self.next - self.acked > self.mss;
        None
    }

    /// The packets that smoltcp takes next: as much as half of its buffer, since the window that it has offered last is
    /// never smaller.
    pub(crate) fn feed(&mut self, inbox: &mut VecDeque<PacketBuf>) {
        let mut left = usize::try_from(self.room / 2).unwrap_or(usize::MAX);
        while left > 0
            && let Some(packet) = self.ready.pop_front()
        {
            left = left.saturating_sub(packet.len());
            inbox.push_back(packet);
        }
    }

    /// Whether there is more of them.
    pub(crate) fn has_more(&self) -> bool {
        !self.ready.is_empty()
    }

    /// A segment leaves smoltcp; whether it leaves the host now.
    pub(crate) fn leaves(&mut self, now: Instant, segment: &Seen, packet: &[u8]) -> bool {
        let ends = TcpFlags::SYN.with(TcpFlags::FIN).with(TcpFlags::RST);
        let extra = u32::from(segment.flags.intersects(ends));
        let end = segment.sequence.wrapping_add(segment.len).wrapping_add(extra);
        if segment.flags.contains(TcpFlags::SYN) || is_after(end, self.sent) {
            self.sent = end;
        }
        if segment.flags.contains(TcpFlags::SYN) {
            // smoltcp took the peer's, which came before there was a connection.
            if segment.flags.contains(TcpFlags::ACK) && self.next == 0 {
                self.origin = Some(segment.ack);
                self.has_sack = segment.permits_sack;
                self.heard = segment.sequence;
            }
            return true;
        }
        if segment.flags.contains(TcpFlags::RST) {
            return true;
        }
        let Some(place) = self.place(segment.ack).and_then(|place| u64::try_from(place).ok())
        else {
            return true;
        };
        self.window = segment.window;
        let is_pure = segment.len == 0 && !segment.flags.intersects(ends);
        if is_pure && place < self.next {
            // It takes the rest in a moment.
            return false;
        }
        if is_pure && place <= self.acked && self.is_answered {
            self.is_answered = false;
            return false;
        }
        let (Some(delay), true, false) =
            (self.delay, is_pure && place > self.acked, self.is_urgent)
        else {
            self.quick = self.quick.saturating_sub(u32::from(place > self.acked));
            self.acked = self.acked.max(place);
            self.settle();
            return true;
        };
        if self.waiting.is_none() {
            self.due = now + delay;
        }
        self.waiting = Some((place, packet.to_vec()));
        false
    }

    /// The place of a sequence number near the next one that is expected.
    fn place(&self, sequence: u32) -> Option<i64> {
        let low = u32::try_from(self.next & 0xffff_ffff).unwrap_or_default();
        let distance = sequence.wrapping_sub(self.origin?.wrapping_add(low)).cast_signed();
        i64::try_from(self.next).ok()?.checked_add(i64::from(distance))
    }

    fn settle(&mut self) {
        (self.waiting, self.due, self.is_urgent) = (None, Instant::MAX, false);
    }

    /// Gives smoltcp a segment in order, with the newest acknowledgment: with an older one it drops the bytes too.
    fn pass(&mut self, seen: &Seen, mut packet: PacketBuf) {
        if seen.ack != self.heard
            && let Some(segment) = packet.bytes_mut().get_mut(seen.transport..)
        {
            set_ack(segment, self.heard);
        }
        self.ready.push_back(packet);
    }

    fn hold(&mut self, start: u64, held: Held) {
        let mut block = (start, held.end);
        if self.held.get(&start).is_none_or(|known| known.end < held.end) {
            self.held.insert(start, held);
        }
        self.blocks.retain(|&(left, right)| {
            let touches = left <= block.1 && right >= block.0;
            if touches {
                block = (left.min(block.0), right.max(block.1));
            }
            !touches
        });
        self.blocks.insert(0, block);
        self.blocks.truncate(BLOCKS_KEPT);
    }

    /// An acknowledgment of all that is there, as an answer to a segment.
    fn answer(&mut self, seen: &Seen, way: Way) -> Option<Vec<u8>> {
        self.acked = self.next;
        self.settle();
        let mut options = Vec::new();
        if let Some(value) = seen.timestamp {
            options.extend(TIMESTAMPS_HEADER);
            options.extend(1_u32.to_be_bytes());
            options.extend(value.to_be_bytes());
        }
        let blocks = self.blocks.get(..self.blocks.len().min(BLOCKS_SENT)).unwrap_or_default();
        if self.has_sack && !blocks.is_empty() {
            options.extend(BLOCKS_HEADER);
            options.push(u8::try_from(2 + 8 * blocks.len()).ok()?);
            for &(left, right) in blocks {
                options.extend(self.sequence(left)?.to_be_bytes());
                options.extend(self.sequence(right)?.to_be_bytes());
            }
        }
        let header = TcpHeader {
            source_port: seen.destination,
            destination_port: seen.source,
            sequence: seen.ack,
            acknowledgment: self.sequence(self.next)?,
            flags: TcpFlags::ACK,
            window: self.window,
            checksum: 0,
            urgent: 0,
        };
        let mut segment = header.to_bytes(u8::try_from(options.len()).ok()?).to_vec();
        segment.extend(options);
        way.packet(segment)
    }

    fn sequence(&self, place: u64) -> Option<u32> {
        let low = u32::try_from(place & 0xffff_ffff).ok()?;
        Some(self.origin?.wrapping_add(low))
    }
}

/// Whether a sequence number comes after another one.
const fn is_after(one: u32, other: u32) -> bool {
    one.wrapping_sub(other).cast_signed() > 0
}

/// The way back to the sender of a packet.
struct Way {
    /// The header of the link.
    link: Vec<u8>,
    from: IpAddr,
    to: IpAddr,
}

impl Way {
    fn back(packet: &PacketBuf, layer: Layer) -> Option<Self> {
        let headers: Headers = layer.parse(packet.bytes()).ok()?;
        let (to, from) = headers.addresses(packet.bytes())?;
        let mut link = packet.bytes().get(..headers.network())?.to_vec();
        if let Some((to, from)) = link.get_mut(..12).map(|macs| macs.split_at_mut(6)) {
            to.swap_with_slice(from);
        }
        Some(Self { link, from, to })
    }

    /// A packet with a TCP segment, whose checksum is filled in.
    fn packet(self, mut segment: Vec<u8>) -> Option<Vec<u8>> {
        let len = u16::try_from(segment.len()).ok()?;
        let mut packet = self.link;
        let sum = append_header(&mut packet, (self.from, self.to), ip_protocol::TCP, len, true)?;
        let checksum = sum.add_bytes(&segment).finish();
        segment.get_mut(16..18)?.copy_from_slice(&checksum.to_be_bytes());
        packet.extend(segment);
        Some(packet)
    }
}

#[cfg(test)]
mod tests;
