//! From the socket to the inside: what may be sent, what was lost, and what the runtime must deliver.
//!
//! ```text
//! una          rxt            max             limit      edge
//!  |---####----|----####-------|--------------|-----------|        offsets in the stream
//!      sacked      sacked        to come        the inside's window
//! ```
//!
//! The bytes themselves stay in the socket ([`FlowRequest::Keep`]) until the inside has acknowledged them.
//! This type decides which of them the runtime delivers next: new ones within the windows of the inside
//! and of congestion control (RFC 5681), or lost ones again (RFC 6675 with SACK, RFC 6582 without).

use alloc::vec::Vec;
use core::time::Duration;

use adit_packet::Instant;

use super::rtt::Rtt;
use adit_engine::flow::FlowRequest;

/// Ranges of SACKed bytes that are remembered; with more, the last ones are forgotten, which costs a
/// retransmission.
const SACKED_MAX: usize = 32;

/// Timeouts in a row after which the inside counts as gone: 15, as Linux (`tcp_retries2`), at least 13
/// minutes.
const TIMEOUTS_MAX: u32 = 15;

/// The most bytes on the way to the inside: 100 ms at 640 Mbit/s, or what a local link holds many times.
const WINDOW_MAX: u64 = 8 << 20;

/// Why bytes are sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cause {
    Duplicates,
    Timeout,
}

#[derive(Clone, Copy, Debug)]
struct Recovery {
    cause: Cause,
    /// It ends when all bytes sent before it began are acknowledged.
    until: u64,
    /// Lost bytes before it were sent again.
    resent: u64,
}

/// What the runtime must do now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Wish {
    pub(super) release: Option<FlowRequest>,
    pub(super) deliver: Option<FlowRequest>,
}

/// The direction to the inside.
#[derive(Debug)]
pub(super) struct Down {
    /// All bytes before it were acknowledged.
    pub(super) una: u64,
    /// The runtime's next bytes are at this offset.
    pub(super) position: u64,
    /// Bytes before it were sent at least once.
    pub(super) max: u64,
    /// The socket's direction ends here.
    pub(super) end: Option<u64>,
    pub(super) fin_sent: bool,
    /// It must be sent again. What acknowledges the first one still counts.
    fin_is_lost: bool,
    pub(super) fin_acknowledged: bool,
    /// What the runtime knows: it may deliver up to here, and keeps from here on.
    limit: u64,
    released: u64,
    /// The inside's window, and the segment that it came with.
    window: u64,
    window_seq: i64,
    window_ack: u64,
    mss: u64,
    has_sack: bool,
    cwnd: u64,
    ssthresh: u64,
    recovery: Option<Recovery>,
    duplicates: u64,
    /// In order, apart from each other, after `una`.
    sacked: Vec<(u64, u64)>,
    rtt: Rtt,
    /// Bytes up to an offset that were sent at that time, and not again.
    timed: Option<(u64, Instant)>,
    timeouts: u32,
}

impl Down {
    pub(super) fn new(mss: u16, has_sack: bool) -> Self {
        let mss = u64::from(mss);
        Self {
            una: 0,
            position: 0,
            max: 0,
            end: None,
            fin_sent: false,
            fin_is_lost: false,
            fin_acknowledged: false,
            limit: 0,
            released: 0,
            window: 0,
            window_seq: i64::MIN,
            window_ack: 0,
            mss,
            has_sack,
            // RFC 6928: ten segments.
            cwnd: 10 * mss,
            ssthresh: u64::MAX,
            recovery: None,
            duplicates: 0,
            sacked: Vec::new(),
            rtt: Rtt::new(),
            timed: None,
            timeouts: 0,
        }
    }

    /// The inside's window as its SYN or its first ACK said.
    pub(super) const fn set_window(&mut self, window: u64) {
        self.window = window;
    }

    /// The acknowledgment of the SYN took that long.
    pub(super) fn opened(&mut self, rtt: Duration) {
        self.rtt.measured(rtt);
    }

    /// Whether bytes or the FIN are on the way.
    pub(super) const fn is_in_flight(&self) -> bool {
        self.max > self.una || (self.fin_sent && !self.fin_acknowledged)
    }

    /// Whether the inside's window is closed and nothing on the way will make it tell when it opens.
    pub(super) const fn must_probe(&self) -> bool {
        self.window == 0 && !self.is_in_flight() && self.end.is_none()
    }

    /// Notes an acknowledgment of the bytes before `ack` from a segment at `seq`, one without bytes of its
    /// own if it `is_pure`. Whether bytes were acknowledged that were not before.
    pub(super) fn acknowledged(
        &mut self,
        now: Instant,
        seq: i64,
        ack: u64,
        window: u64,
        is_pure: bool,
    ) -> bool {
        let end = self.end.filter(|_| self.fin_sent);
        let is_final = end.is_some_and(|end| ack > end);
        let ack = ack.min(self.max);
        if ack < self.una {
            return false;
        }
        // RFC 9293, 3.10.7.4: only a newer segment changes the window.
        let is_newer = self.window_seq < seq || (self.window_seq == seq && self.window_ack <= ack);
        let is_same_window = self.window == window;
        if is_newer {
            (self.window, self.window_seq, self.window_ack) = (window, seq, ack);
        }
        let has_ended = is_final && !self.fin_acknowledged;
        self.fin_acknowledged |= is_final;
        self.timeouts = if self.window == 0 || ack > self.una { 0 } else { self.timeouts };
        if ack == self.una {
            if is_pure && is_same_window && self.max > self.una {
                self.duplicates += 1;
            }
            return has_ended;
        }
        let count = ack - self.una;
        self.una = ack;
        self.duplicates = 0;
        self.sacked.retain(|range| range.1 > ack);
        if let Some(first) = self.sacked.first_mut() {
            first.0 = first.0.max(ack);
        }
        if let Some((_, sent)) = self.timed.filter(|timed| timed.0 <= ack) {
            self.rtt.measured(now.since(sent));
            self.timed = None;
        }
        self.advance(count);
        true
    }

    /// Notes a SACK block.
    pub(super) fn sacked(&mut self, start: u64, end: u64) {
        let (mut start, mut end) = (start.max(self.una), end.min(self.max));
        if start >= end {
            return;
        }
        self.sacked.retain(|range| {
            let joins = range.0 <= end && start <= range.1;
            if joins {
                (start, end) = (start.min(range.0), end.max(range.1));
            }
            !joins
        });
        let at = self.sacked.partition_point(|range| range.0 < start);
        self.sacked.insert(at, (start, end));
        self.sacked.truncate(SACKED_MAX);
    }

    /// Begins to send again if enough says that bytes are lost: three duplicate acknowledgments, or more
    /// than three segments SACKed (RFC 6675, 5).
    pub(super) fn detect_loss(&mut self) {
        let is_lost = self.duplicates >= 3 || self.sacked_bytes(u64::MAX) > 3 * self.mss;
        if is_lost && self.recovery.is_none() && self.max > self.una {
            self.ssthresh = (self.pipe() / 2).max(2 * self.mss);
            self.cwnd = self.ssthresh;
            self.timed = None;
            self.recovery =
                Some(Recovery { cause: Cause::Duplicates, until: self.max, resent: self.una });
        }
    }

    /// Nothing was acknowledged in time. `false`: so often that the inside is gone.
    pub(super) fn timed_out(&mut self) -> bool {
        self.timeouts += 1;
        if self.max > self.una {
            if self.recovery.is_none_or(|recovery| recovery.cause != Cause::Timeout) {
                self.ssthresh = (self.pipe() / 2).max(2 * self.mss);
            }
            self.recovery =
                Some(Recovery { cause: Cause::Timeout, until: self.max, resent: self.una });
        }
        self.cwnd = self.mss;
        self.duplicates = 0;
        self.sacked.clear();
        self.timed = None;
        self.fin_is_lost = self.fin_sent && !self.fin_acknowledged;
        self.timeouts <= TIMEOUTS_MAX
    }

    /// How long an acknowledgment is waited for.
    pub(super) fn timeout(&self) -> Duration {
        self.rtt.timeout(self.timeouts)
    }

    /// Bytes at `position` were delivered, and are sent now.
    pub(super) fn sent(&mut self, now: Instant, len: u64) {
        let start = self.position;
        self.position += len;
        if self.position > self.max {
            self.max = self.position;
            if self.timed.is_none() && self.recovery.is_none() {
                self.timed = Some((self.position, now));
            }
        } else if let Some(recovery) = &mut self.recovery {
            recovery.resent = recovery.resent.max(self.position);
        }
        // What was timed is sent again: its time says nothing (Karn).
        if self.timed.is_some_and(|timed| start < timed.0 && self.position < self.max) {
            self.timed = None;
        }
    }

    /// Whether the FIN must be sent now: all bytes before it were.
    pub(super) fn must_finish(&self) -> bool {
        let is_whole = self.recovery.is_none_or(|recovery| recovery.resent >= recovery.until);
        let is_missing = !self.fin_sent || (self.fin_is_lost && !self.fin_acknowledged);
        self.end == Some(self.max) && is_missing && (is_whole || self.una == self.max)
    }

    /// The FIN was sent.
    pub(super) const fn finished(&mut self) {
        (self.fin_sent, self.fin_is_lost) = (true, false);
    }

    /// What the runtime must know now: bytes to release, bytes to deliver.
    pub(super) fn wish(&self) -> Wish {
        let release =
            (self.una > self.released).then_some(FlowRequest::Release { until: self.una });
        let (from, until) = self.wanted();
        let is_open = self.limit > self.position;
        let deliver = if from != self.position {
            // Also if nothing may be sent: what the runtime may deliver is not wanted any more.
            (until > from || is_open || self.position < self.una)
                .then_some(FlowRequest::Seek { to: from, until: until.max(from) })
        } else {
            // Less than a segment of new bytes is waited for, unless nothing is on the way (RFC 9293,
            // 3.8.6.2.1).
            let is_idle = self.max == self.una && !is_open;
            let is_worth = from < self.max || is_idle || until >= self.limit + self.mss;
            (until > self.limit && is_worth).then_some(FlowRequest::Credit { until })
        };
        Wish { release, deliver }
    }

    /// The runtime knows.
    pub(super) const fn wished(&mut self, request: FlowRequest) {
        match request {
            FlowRequest::Release { until } => self.released = until,
            FlowRequest::Credit { until } => self.limit = until,
            FlowRequest::Seek { to, until } => (self.position, self.limit) = (to, until),
            _ => {}
        }
    }

    /// The range that should be sent now; empty if none.
    fn wanted(&self) -> (u64, u64) {
        let allowed = self.cwnd.saturating_sub(self.pipe());
        if let Some(recovery) = self.recovery
            && let Some((start, end)) = self.hole(recovery)
        {
            // The first one goes in any case (RFC 6675, 5, step 4.3).
            let is_first = recovery.resent <= self.una;
            let allowed = if is_first { allowed.max(self.mss) } else { allowed };
            let whole = allowed - allowed % self.mss;
            return (start, end.min(start + whole));
        }
        let edge = self.una + self.window.min(WINDOW_MAX);
        (self.max, edge.min(self.max + allowed).max(self.max))
    }

    /// The next range that counts as lost.
    fn hole(&self, recovery: Recovery) -> Option<(u64, u64)> {
        let lost_before = match recovery.cause {
            Cause::Timeout => recovery.until,
            Cause::Duplicates if self.has_sack => {
                self.sacked.last().map_or(self.una, |last| last.0)
            }
            Cause::Duplicates => 0,
        };
        // What duplicates alone say: the first segment (RFC 6582).
        let lost_before = lost_before.max(self.una + self.mss).min(recovery.until);
        let mut start = recovery.resent.max(self.una);
        for &(sacked, end) in &self.sacked {
            if start < sacked {
                return Some((start, sacked.min(lost_before))).filter(|hole| hole.0 < hole.1);
            }
            start = start.max(end);
        }
        Some((start, lost_before)).filter(|hole| hole.0 < hole.1)
    }

    /// How many bytes are on the way, as far as is known (RFC 6675, 4).
    fn pipe(&self) -> u64 {
        let highest = self.sacked.last().map_or(self.una, |last| last.1);
        let unsacked = |end: u64| (end - self.una).saturating_sub(self.sacked_bytes(end));
        match self.recovery {
            None if self.has_sack => unsacked(self.max),
            Some(Recovery { cause: Cause::Timeout, until, resent }) => {
                unsacked(resent.max(self.una)) + self.max.saturating_sub(until.max(self.una))
            }
            Some(Recovery { resent, .. }) if self.has_sack => {
                unsacked(resent.clamp(self.una, highest)) + (self.max - highest)
            }
            _ => (self.max - self.una).saturating_sub(self.duplicates * self.mss),
        }
    }

    /// How many bytes before `end` were SACKed.
    fn sacked_bytes(&self, end: u64) -> u64 {
        self.sacked.iter().map(|range| range.1.min(end).saturating_sub(range.0)).sum()
    }

    /// Bytes were acknowledged: recovery goes on or ends, the congestion window grows.
    fn advance(&mut self, count: u64) {
        match &mut self.recovery {
            Some(recovery) if self.una < recovery.until => {
                // Without SACK the next segment is lost as well.
                if recovery.cause == Cause::Duplicates && !self.has_sack {
                    recovery.resent = self.una;
                    return;
                }
                recovery.resent = recovery.resent.max(self.una);
                if recovery.cause == Cause::Duplicates {
                    return;
                }
            }
            Some(_) => self.recovery = None,
            None => {}
        }
        if self.cwnd < self.ssthresh {
            self.cwnd += count;
        } else {
            self.cwnd += (self.mss * count / self.cwnd).max(1);
        }
        self.cwnd = self.cwnd.min(WINDOW_MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MSS: u64 = 1000;

    /// A link to the inside that loses what a test says, and its receiver.
    struct Rig {
        down: Down,
        now: Instant,
        /// What the inside has, in segments.
        got: Vec<bool>,
        requests: usize,
        sent: usize,
    }

    impl Rig {
        fn new(has_sack: bool) -> Self {
            let mut down = Down::new(1000, has_sack);
            down.set_window(1 << 20);
            Self { down, now: Instant::ZERO, got: Vec::new(), requests: 0, sent: 0 }
        }

        /// Delivers what is wished, loses segments, acknowledges what came. Whether anything was sent.
        fn round(&mut self, mut is_lost: impl FnMut(u64) -> bool) -> bool {
            self.now += Duration::from_millis(10);
            let mut arrived = Vec::new();
            let before = self.sent;
            for _ in 0..1000 {
                let wish = self.down.wish();
                for request in [wish.release, wish.deliver].into_iter().flatten() {
                    self.down.wished(request);
                    self.requests += 1;
                }
                if self.down.position >= self.down.limit {
                    break;
                }
                while self.down.position < self.down.limit {
                    let at = self.down.position / MSS;
                    self.down.sent(self.now, MSS);
                    self.sent += 1;
                    if !is_lost(at) {
                        arrived.push(at);
                    }
                }
            }
            for at in arrived {
                let at = usize::try_from(at).unwrap();
                if self.got.len() <= at {
                    self.got.resize(at + 1, false);
                }
                self.got[at] = true;
                let next = self.got.iter().position(|got| !got).unwrap_or(self.got.len());
                if at > next && self.down.has_sack {
                    let at = u64::try_from(at).unwrap();
                    self.down.sacked(at * MSS, (at + 1) * MSS);
                }
                let ack = u64::try_from(next).unwrap() * MSS;
                self.down.acknowledged(self.now, 0, ack, 1 << 20, true);
                self.down.detect_loss();
            }
            self.sent > before
        }
    }

    #[test]
    fn the_window_of_congestion_grows_and_nothing_is_sent_twice() {
        let mut rig = Rig::new(true);
        let mut before = 0;
        for _ in 0..6 {
            rig.round(|_| false);
            let sent = rig.sent - before;
            assert!(sent >= 10 && sent > before / 2, "{sent} after {before}");
            before = rig.sent;
        }
        assert_eq!(rig.down.una, u64::try_from(rig.sent).unwrap() * MSS);
    }

    #[test]
    fn what_was_lost_is_sent_again_once_and_alone() {
        for has_sack in [true, false] {
            let mut rig = Rig::new(has_sack);
            (0..4).for_each(|_| assert!(rig.round(|_| false)));
            let sent = rig.sent;
            let first = rig.down.max / MSS;
            rig.round(|at| at == first + 3 || at == first + 9);
            let cwnd = rig.down.cwnd;
            let flown = rig.sent - sent;
            for _ in 0..4 {
                rig.round(|_| false);
            }
            assert_eq!(rig.down.una, rig.down.max, "all came");
            assert!(rig.down.recovery.is_none());
            let distinct = usize::try_from(rig.down.max / MSS).unwrap();
            assert_eq!(rig.sent - distinct, 2, "with SACK {has_sack}: two were lost of {flown}");
            assert!(rig.down.cwnd < cwnd * 4);
        }
    }

    #[test]
    fn a_timeout_sends_all_again_and_gives_up_at_last() {
        let mut rig = Rig::new(true);
        rig.round(|_| true);
        assert_eq!((rig.down.una, rig.down.max), (0, 10 * MSS));
        assert!(!rig.round(|_| false), "nothing more may be sent");
        assert!(rig.down.timed_out());
        for _ in 0..6 {
            rig.round(|_| false);
        }
        assert!(rig.down.una > 10 * MSS && rig.down.una == rig.down.max);
        rig.round(|_| true);
        let given_up = (0..20).position(|_| !rig.down.timed_out());
        assert_eq!(given_up, Some(15));
    }

    #[test]
    fn an_acknowledgment_of_the_end_counts_after_a_timeout() {
        let mut rig = Rig::new(true);
        rig.round(|_| true);
        let end = rig.down.max;
        rig.down.end = Some(end);
        assert!(rig.down.must_finish());
        rig.down.finished();
        assert!(rig.down.timed_out() && !rig.down.must_finish(), "what was lost goes first");
        rig.down.acknowledged(rig.now, 0, end + 1, 1 << 20, true);
        assert!(rig.down.fin_acknowledged && !rig.down.is_in_flight() && !rig.down.must_finish());
    }

    #[test]
    fn a_closed_window_is_probed_and_small_openings_wait() {
        let mut rig = Rig::new(true);
        rig.down.set_window(0);
        assert!(rig.down.must_probe());
        assert_eq!(rig.down.wish(), Wish::default());
        rig.down.acknowledged(rig.now, 0, 0, 100, true);
        assert_eq!(rig.down.wish().deliver, Some(FlowRequest::Credit { until: 100 }));
        rig.down.wished(FlowRequest::Credit { until: 100 });
        rig.down.acknowledged(rig.now, 0, 0, 500, true);
        assert_eq!(rig.down.wish().deliver, None, "that would be a silly window");
        rig.down.acknowledged(rig.now, 0, 0, 2000, true);
        assert_eq!(rig.down.wish().deliver, Some(FlowRequest::Credit { until: 2000 }));
    }
}
