//! What a connection has sent and the peer has not acknowledged: what arrived, what is lost, what flies.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::time::Duration;

use adit_packet::{Instant, TcpFlags};

use crate::seen::{Seen, set_ack};

/// The segments that are not acknowledged, by their place in the stream.
#[derive(Debug, Default)]
pub(crate) struct Scoreboard {
    /// The sequence number of place 0.
    origin: u32,
    /// The first place that is not acknowledged, and the one after the last that was sent.
    unacked: u64,
    next: u64,
    segments: VecDeque<Segment>,
    /// How many of them fly, have arrived, are lost.
    flying: usize,
    arrived: usize,
    lost: usize,
    /// Counts all that is sent, repetitions included.
    stamp: u64,
    newest: Newest,
    /// Acknowledgments that say nothing new, of a peer that does not say what arrived.
    duplicates: usize,
    /// The last acknowledgment that we sent.
    ack: u32,
    /// Buffers for copies.
    spare: Vec<Vec<u8>>,
}

/// What was sent last of all that arrived.
#[derive(Debug, Default)]
struct Newest {
    /// Its number, and the number before the last acknowledgment.
    stamp: u64,
    before: u64,
    /// How long its acknowledgment took, and the shortest such time of all.
    rtt: Duration,
    rtt_min: Option<Duration>,
    /// Whether a segment arrived after later ones, without being repeated.
    has_reordering: bool,
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
    /// Segments of which it says, in order or not, that they arrived.
    pub(crate) acked: usize,
    pub(crate) sacked: usize,
    /// Whether all before a later place has arrived.
    pub(crate) advances: bool,
    pub(crate) rtt: Option<Duration>,
}

/// So many later segments arrived before one counts as lost at once (RFC 5681, 3.2).
const REORDERED_MAX: usize = 3;
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

    /// Segments that fly, as far as is known.
    pub(crate) const fn in_flight(&self) -> usize {
        self.flying.saturating_sub(self.duplicates)
    }

    /// Whether a single segment is not acknowledged.
    pub(crate) fn is_alone(&self) -> bool {
        self.segments.len() == 1
    }

    /// Whether later segments than an unacknowledged one have arrived.
    pub(crate) const fn has_gap(&self) -> bool {
        self.arrived > 0 || self.duplicates > 0
    }

    /// The place of a sequence number near those that are not acknowledged.
    fn place(&self, sequence: u32) -> Option<u64> {
        let low = u32::try_from(self.unacked & 0xffff_ffff).unwrap_or_default();
        let here = self.origin.wrapping_add(low);
        let distance = sequence.wrapping_sub(here).cast_signed();
        self.unacked.checked_add_signed(i64::from(distance))
    }

    /// Takes a copy of a segment that leaves; whether it is a new one.
    pub(crate) fn sent(&mut self, now: Instant, segment: &Seen, packet: &[u8]) -> bool {
        let Some(start) = self.place(segment.sequence) else { return false };
        let end = start + u64::from(segment.len);
        self.stamp += 1;
        let stamp = self.stamp;
        if end <= self.next {
            // smoltcp repeats it after its own timeout.
            if let Some(old) = self.segments.iter_mut().find(|old| old.start == start) {
                if old.state == State::Lost {
                    (self.lost, self.flying) = (self.lost - 1, self.flying + 1);
                    old.state = State::Flying;
                }
                (old.stamp, old.sent, old.is_repeated) = (stamp, now, true);
            }
            return false;
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
        self.flying += 1;
        self.segments.push_back(segment);
        true
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
        self.newest.before = self.newest.stamp;
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
        seen.advances = true;
        while let Some(first) = self.segments.front_mut() {
            if first.end > ack {
                first.start = first.start.max(ack);
                break;
            }
            let Some(first) = self.segments.pop_front() else { break };
            match first.state {
                State::Arrived => self.arrived -= 1,
                State::Lost => self.lost -= 1,
                State::Flying => self.flying -= 1,
            }
            if first.state != State::Arrived {
                seen.acked += 1;
                self.newest.arrived(now, &first, seen);
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
                State::Flying => self.flying -= 1,
            }
            segment.state = State::Arrived;
            self.arrived += 1;
            seen.sacked += 1;
            self.newest.arrived(now, segment, seen);
        }
    }

    /// Finds what is lost, by time (RFC 8985, 6.2): what was sent before something that has arrived, if that had
    /// enough time. Returns whether there is more of it, and when there may be.
    pub(crate) fn find_lost(
        &mut self,
        now: Instant,
        in_recovery: bool,
        smoothed: Duration,
    ) -> (bool, Option<Instant>) {
        if self.duplicates == REORDERED_MAX && self.lost == 0 {
            return (self.lose_first(), None);
        }
        let newest = &self.newest;
        let is_sure = !newest.has_reordering && (in_recovery || self.arrived >= REORDERED_MAX);
        let patience = if is_sure {
            Duration::ZERO
        } else {
            (newest.rtt_min.unwrap_or_default() / 4).min(smoothed / 8)
        };
        let (mut found, mut next) = (false, None::<Instant>);
        for segment in &mut self.segments {
            if segment.stamp >= newest.stamp {
                if segment.is_repeated {
                    continue;
                }
                // All after it were sent later still.
                break;
            }
            if segment.state != State::Flying {
                continue;
            }
            let at = segment.sent + newest.rtt + patience;
            if at <= now {
                segment.state = State::Lost;
                self.flying -= 1;
                self.lost += 1;
                found = true;
            } else {
                next = Some(next.map_or(at, |next| next.max(at)));
            }
        }
        (found, next)
    }

    fn lose_first(&mut self) -> bool {
        match self.segments.front_mut() {
            Some(first) if first.state == State::Flying => {
                first.state = State::Lost;
                self.flying -= 1;
                self.lost += 1;
                true
            }
            _ => false,
        }
    }

    /// After a timeout the first one is lost, and all that had enough time (RFC 8985, 6.3).
    pub(crate) fn time_out(&mut self, now: Instant) {
        for (at, segment) in self.segments.iter_mut().enumerate() {
            let had_time = at == 0 || segment.sent + self.newest.rtt <= now;
            if segment.state == State::Flying && had_time {
                segment.state = State::Lost;
                self.flying -= 1;
                self.lost += 1;
            }
        }
        self.duplicates = 0;
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
        self.segments.get(at).filter(|last| last.state == State::Flying)?;
        self.flying -= 1;
        self.repeat(at, now)
    }

    fn repeat(&mut self, at: usize, now: Instant) -> Option<Vec<u8>> {
        self.stamp += 1;
        let segment = self.segments.get_mut(at)?;
        (segment.state, segment.stamp, segment.sent) = (State::Flying, self.stamp, now);
        segment.is_repeated = true;
        self.flying += 1;
        let mut packet = segment.packet.clone();
        let transport = packet.get_mut(segment.transport..)?;
        // What has arrived from the peer in the meantime is acknowledged with it.
        set_ack(transport, self.ack);
        Some(packet)
    }
}

impl Newest {
    fn arrived(&mut self, now: Instant, segment: &Segment, seen: &mut Acknowledged) {
        let rtt = now.since(segment.sent);
        if segment.is_repeated {
            // Sooner than possible: the one before it arrived after all.
            if self.rtt_min.is_some_and(|shortest| rtt < shortest) {
                return;
            }
        } else {
            seen.rtt = Some(rtt);
            self.rtt_min = Some(self.rtt_min.map_or(rtt, |shortest| shortest.min(rtt)));
            self.has_reordering |= segment.stamp < self.before;
        }
        self.rtt = rtt;
        self.stamp = self.stamp.max(segment.stamp);
    }
}

#[cfg(test)]
mod tests;
