//! What a connection has sent and the peer has not acknowledged: what arrived, what is lost, what flies.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::time::Duration;

use adit_packet::{Instant, TcpFlags, TcpMut};

use crate::seen::Seen;

/// The segments that are not acknowledged, by their place in the stream.
#[derive(Debug, Default)]
pub(crate) struct Scoreboard {
    /// The sequence number of place 0.
    origin: u32,
    /// The first place that is not acknowledged, and the one after the last that was sent.
    unacked: u64,
    next: u64,
    segments: VecDeque<Segment>,
    /// Bytes that fly.
    flying: usize,
    arrived: usize,
    lost: usize,
    /// Counts all that is sent, repetitions included.
    stamp: u64,
    /// The last one of which the peer said that it arrived.
    delivered: u64,
    /// Acknowledgments that say nothing new, of a peer that does not say what arrived.
    duplicates: usize,
    /// The last acknowledgment that we sent.
    ack: u32,
    /// Buffers for copies.
    spare: Vec<Vec<u8>>,
}

#[derive(Debug)]
struct Segment {
    start: u64,
    end: u64,
    packet: Vec<u8>,
    /// Where the TCP header begins.
    transport: usize,
    state: State,
    stamp: u64,
    sent: Instant,
    is_repeated: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Flying,
    Arrived,
    Lost,
}

/// What an acknowledgment said.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Acknowledged {
    /// It is about what was sent.
    pub(crate) is_valid: bool,
    /// It is a duplicate of the one before.
    pub(crate) is_duplicate: bool,
    /// Bytes of which it says, in order or not, that they arrived.
    pub(crate) acked: usize,
    pub(crate) sacked: usize,
    pub(crate) rtt: Option<Duration>,
}

/// So many later segments arrived before one counts as lost (RFC 5681, 3.2).
const REORDERED_MAX: u64 = 3;
/// Buffers that are kept.
const SPARE_MAX: usize = 64;

impl Scoreboard {
    /// The stream begins with this sequence number.
    pub(crate) fn start(&mut self, sequence: u32) {
        if self.next == 0 {
            self.origin = sequence;
        }
    }

    pub(crate) const fn set_ack(&mut self, ack: u32) {
        self.ack = ack;
    }

    pub(crate) const fn unacked(&self) -> u64 {
        self.unacked
    }

    pub(crate) const fn next(&self) -> u64 {
        self.next
    }

    /// Bytes that are not acknowledged.
    pub(crate) fn outstanding(&self) -> usize {
        usize::try_from(self.next - self.unacked).unwrap_or(usize::MAX)
    }

    /// Bytes that fly, as far as is known.
    pub(crate) fn in_flight(&self) -> usize {
        let one = self.segments.front().map_or(0, Segment::len);
        self.flying.saturating_sub(self.duplicates * one)
    }

    /// The place of a sequence number near those that are not acknowledged.
    fn place(&self, sequence: u32) -> Option<u64> {
        let low = u32::try_from(self.unacked & 0xffff_ffff).unwrap_or_default();
        let here = self.origin.wrapping_add(low);
        let distance = sequence.wrapping_sub(here).cast_signed();
        self.unacked.checked_add_signed(i64::from(distance))
    }

    /// Takes a copy of a segment that leaves; returns its length.
    pub(crate) fn sent(&mut self, now: Instant, segment: &Seen, packet: &[u8]) -> usize {
        let Some(start) = self.place(segment.sequence) else { return 0 };
        let end = start + u64::from(segment.len);
        self.stamp += 1;
        let stamp = self.stamp;
        if end <= self.next {
            // smoltcp repeats it after its own timeout.
            if let Some(old) = self.segments.iter_mut().find(|old| old.start == start) {
                if old.state == State::Lost {
                    (self.lost, self.flying) = (self.lost - 1, self.flying + old.len());
                    old.state = State::Flying;
                }
                (old.stamp, old.sent, old.is_repeated) = (stamp, now, true);
            }
            return 0;
        }
        let mut copy = self.spare.pop().unwrap_or_default();
        copy.clear();
        copy.extend_from_slice(packet);
        let segment = Segment {
            start: start.max(self.next),
            end,
            packet: copy,
            transport: segment.transport,
            state: State::Flying,
            stamp,
            sent: now,
            is_repeated: false,
        };
        self.next = end;
        let len = segment.len();
        self.flying += len;
        self.segments.push_back(segment);
        len
    }

    /// Takes an acknowledgment.
    pub(crate) fn acknowledged(&mut self, now: Instant, segment: &Seen) -> Acknowledged {
        let mut seen = Acknowledged::default();
        // A FIN has a place of its own.
        let Some(ack) = self.place(segment.ack).filter(|ack| *ack <= self.next + 1) else {
            return seen;
        };
        seen.is_valid = true;
        let ack = ack.min(self.next);
        let blocks = segment.blocks.into_iter().flatten();
        let has_blocks = segment.blocks.iter().any(Option::is_some);
        let ends = TcpFlags::SYN.with(TcpFlags::FIN).with(TcpFlags::RST);
        seen.is_duplicate = ack == self.unacked
            && segment.len == 0
            && self.next > self.unacked
            && !segment.flags.intersects(ends);
        if ack > self.unacked {
            self.advance(now, ack, &mut seen);
        }
        for (left, right) in blocks {
            if let (Some(left), Some(right)) = (self.place(left), self.place(right)) {
                self.arrive(now, left, right, &mut seen);
            }
        }
        if seen.is_duplicate && !has_blocks {
            self.duplicates += 1;
        }
        seen
    }

    fn advance(&mut self, now: Instant, ack: u64, seen: &mut Acknowledged) {
        let was_waiting = self.duplicates > 0;
        self.duplicates = 0;
        self.unacked = ack;
        while let Some(first) = self.segments.front_mut() {
            if first.end > ack {
                if first.start < ack {
                    let part = usize::try_from(ack - first.start).unwrap_or_default();
                    first.start = ack;
                    if first.state == State::Flying {
                        self.flying = self.flying.saturating_sub(part);
                    }
                    seen.acked += part;
                }
                break;
            }
            let Some(first) = self.segments.pop_front() else { break };
            match first.state {
                State::Arrived => self.arrived -= 1,
                State::Lost => {
                    self.lost -= 1;
                    seen.acked += first.len();
                }
                State::Flying => {
                    self.flying = self.flying.saturating_sub(first.len());
                    seen.acked += first.len();
                    self.delivered = self.delivered.max(first.stamp);
                    if !first.is_repeated {
                        seen.rtt = Some(now.since(first.sent));
                    }
                }
            }
            if self.spare.len() < SPARE_MAX {
                self.spare.push(first.packet);
            }
        }
        // The peer does not say what arrived: what it waits for next is lost too (RFC 6582).
        if was_waiting && self.arrived == 0 && self.lost == 0 {
            self.lose_first();
        }
    }

    fn arrive(&mut self, now: Instant, left: u64, right: u64, seen: &mut Acknowledged) {
        let first = self.segments.partition_point(|segment| segment.start < left);
        for segment in self.segments.iter_mut().skip(first) {
            if segment.end > right {
                break;
            }
            match segment.state {
                State::Arrived => continue,
                State::Lost => self.lost -= 1,
                State::Flying => self.flying = self.flying.saturating_sub(segment.len()),
            }
            segment.state = State::Arrived;
            self.arrived += 1;
            seen.sacked += segment.len();
            self.delivered = self.delivered.max(segment.stamp);
            if !segment.is_repeated {
                seen.rtt = Some(now.since(segment.sent));
            }
        }
    }

    /// Finds what is lost; whether there is more of it.
    pub(crate) fn find_lost(&mut self) -> bool {
        if self.duplicates == usize::try_from(REORDERED_MAX).unwrap_or_default() && self.lost == 0 {
            return self.lose_first();
        }
        if self.arrived == 0 {
            return false;
        }
        let mut found = false;
        for segment in &mut self.segments {
            if segment.state == State::Flying && segment.stamp + REORDERED_MAX <= self.delivered {
                segment.state = State::Lost;
                self.flying = self.flying.saturating_sub(segment.len());
                self.lost += 1;
                found = true;
            }
        }
        found
    }

    fn lose_first(&mut self) -> bool {
        match self.segments.front_mut() {
            Some(first) if first.state == State::Flying => {
                first.state = State::Lost;
                self.flying = self.flying.saturating_sub(first.len());
                self.lost += 1;
                true
            }
            _ => false,
        }
    }

    /// After a timeout nothing flies any more.
    pub(crate) fn lose_all(&mut self) {
        for segment in self.segments.iter_mut().filter(|segment| segment.state == State::Flying) {
            segment.state = State::Lost;
            self.lost += 1;
        }
        (self.flying, self.duplicates) = (0, 0);
    }

    /// The packet of the first lost segment, which flies again.
    pub(crate) fn repeat_lost(&mut self, now: Instant) -> Option<Vec<u8>> {
        if self.lost == 0 {
            return None;
        }
        let at = self.segments.iter().position(|segment| segment.state == State::Lost)?;
        self.lost -= 1;
        self.repeat(at, now)
    }

    /// The packet of the last segment, if it flies: its acknowledgment decides about all before it.
    pub(crate) fn probe(&mut self, now: Instant) -> Option<Vec<u8>> {
        let at = self.segments.len().checked_sub(1)?;
        let last = self.segments.get(at).filter(|last| last.state == State::Flying)?;
        self.flying = self.flying.saturating_sub(last.len());
        self.stamp += REORDERED_MAX;
        self.repeat(at, now)
    }

    fn repeat(&mut self, at: usize, now: Instant) -> Option<Vec<u8>> {
        self.stamp += 1;
        let segment = self.segments.get_mut(at)?;
        (segment.state, segment.stamp, segment.sent) = (State::Flying, self.stamp, now);
        segment.is_repeated = true;
        self.flying += segment.len();
        let mut packet = segment.packet.clone();
        let transport = packet.get_mut(segment.transport..)?;
        // What has arrived from the peer in the meantime is acknowledged with it.
        if let Ok(mut header) = TcpMut::parse(transport) {
            let old = header.head_mut().get(8..12).and_then(|ack| ack.first_chunk()).copied();
            header.adjust32(u32::from_be_bytes(old?), self.ack);
            header.head_mut()[8..12].copy_from_slice(&self.ack.to_be_bytes());
        }
        Some(packet)
    }
}

impl Segment {
    fn len(&self) -> usize {
        usize::try_from(self.end - self.start).unwrap_or(usize::MAX)
    }
}

#[cfg(test)]
mod tests;
