//! TCP's congestion control and loss recovery as Linux has them with `reno`, around smoltcp's TCP.
//!
//! smoltcp's own recovery repeats one segment a round trip, and its shortest timeout is a second. Kernels know from
//! selective acknowledgments which segments arrived and repeat all others within one round trip. So smoltcp
//! is left to send new data, and this decides how much it may have in flight (the host feeds no more than that to the
//! socket), keeps a copy of what is, and repeats it. smoltcp sees no duplicate acknowledgment.
//!
//! ```text
//!            slow start ──── cwnd >= ssthresh ───> congestion avoidance
//!                └──────────────┬────────────────────────┘  ^
//!          three later ones arrived: ssthresh = cwnd / 2    │ all is acknowledged
//!                               v                           │ that was sent before
//!                           recovery  ──────────────────────┘
//!             as much is sent as arrives, in proportion to ssthresh (RFC 6937)
//! ```
//!
//! What is lost is found by time (RFC 8985): sent before something that has arrived. What is lost at the end, with nothing
//! after it, is found by a probe after two round trips, 200 ms later if it is a single segment, and else by a timeout of
//! at least 200 ms, as in Linux.

use alloc::vec::Vec;
use core::time::Duration;

use adit_packet::{Instant, TcpFlags};

use crate::scoreboard::Scoreboard;
use crate::seen::Seen;

/// How much a connection may have in flight, and what must be repeated.
#[derive(Debug)]
pub(crate) struct Reno {
    mss: usize,
    /// Both in segments, as in Linux: a short one counts as much as a full one.
    cwnd: usize,
    ssthresh: usize,
    /// Segments acknowledged since the window last grew, in congestion avoidance.
    acked: usize,
    /// Whether what is in flight has filled the window since it last grew.
    is_limited: bool,
    board: Scoreboard,
    recovery: Option<Recovery>,
    rtt: Rtt,
    /// When a probe is sent or the timeout passes; [`Instant::MAX`]: never.
    timer: Instant,
    /// When a segment that may only be late counts as lost; [`Instant::MAX`]: never.
    late: Instant,
    /// Probes and timeouts since the last acknowledgment.
    expired: u32,
}

/// A recovery, by proportional rate reduction (RFC 6937).
#[derive(Clone, Copy, Debug)]
struct Recovery {
    /// It ends when this is acknowledged.
    end: u64,
    /// The window when it began.
    before: usize,
    /// Segments that arrived and that were sent since.
    delivered: usize,
    sent: usize,
    /// After a timeout, slow start goes on instead.
    after_timeout: bool,
}

/// The smoothed round trip time (RFC 6298).
#[derive(Clone, Copy, Debug, Default)]
struct Rtt {
    smoothed: Option<Duration>,
    variation: Duration,
}

impl Rtt {
    /// Linux's `TCP_RTO_MIN`.
    const MIN: Duration = Duration::from_millis(200);
    const INITIAL: Duration = Duration::from_secs(1);
    const MAX: Duration = Duration::from_secs(120);

    fn measured(&mut self, rtt: Duration) {
        match self.smoothed {
            None => (self.smoothed, self.variation) = (Some(rtt), rtt / 2),
            Some(smoothed) => {
                self.variation = (self.variation * 3 + smoothed.abs_diff(rtt)) / 4;
                self.smoothed = Some((smoothed * 7 + rtt) / 8);
            }
        }
    }

    fn timeout(&self, expired: u32) -> Duration {
        let first = self
            .smoothed
            .map_or(Self::INITIAL, |smoothed| smoothed + (self.variation * 4).max(Self::MIN));
        first.saturating_mul(1 << expired.min(16)).min(Self::MAX)
    }
}

impl Reno {
    /// The initial window in segments (RFC 6928).
    const INITIAL: usize = 10;
    /// How long a receiver may wait with its acknowledgment of a single segment (`TCP_RTO_MIN`).
    const ACK_WAIT: Duration = Duration::from_millis(200);
    /// What is added to a probe's two round trips (`TCP_TIMEOUT_MIN`).
    const PROBE_MIN: Duration = Duration::from_millis(2);

    pub(crate) fn new(mss: usize) -> Self {
        Self {
            mss,
            cwnd: Self::INITIAL,
            ssthresh: usize::MAX,
            acked: 0,
            is_limited: false,
            board: Scoreboard::default(),
            recovery: None,
            rtt: Rtt::default(),
            timer: Instant::MAX,
            late: Instant::MAX,
            expired: 0,
        }
    }

    pub(crate) const fn mss(&self) -> usize {
        self.mss
    }

    /// Bytes that may be sent and not acknowledged: what is lost or has arrived does not count against the window.
    pub(crate) fn window(&self) -> usize {
        self.board.outstanding() + self.cwnd.saturating_sub(self.board.in_flight()) * self.mss
    }

    /// When [`Self::poll`] has something to do; [`Instant::MAX`]: never.
    pub(crate) fn due(&self) -> Instant {
        self.timer.min(self.late)
    }

    /// A segment leaves, in a packet of these bytes.
    pub(crate) fn sent(&mut self, now: Instant, segment: &Seen, packet: &[u8]) {
        if segment.flags.contains(TcpFlags::SYN) {
            self.board.start(segment.sequence.wrapping_add(1));
            return;
        }
        self.board.set_ack(segment.ack);
        if segment.len == 0 {
            return;
        }
        let is_new = self.board.sent(now, segment, packet);
        if let Some(recovery) = &mut self.recovery {
            recovery.sent += usize::from(is_new);
        }
        self.is_limited |= self.board.in_flight() >= self.cwnd;
        if self.timer == Instant::MAX {
            self.set_timer(now);
        }
    }

    /// A segment arrives; whether smoltcp must not see it.
    pub(crate) fn arrived(&mut self, now: Instant, segment: &Seen) -> bool {
        if !segment.flags.contains(TcpFlags::ACK) {
            return false;
        }
        let before = self.board.in_flight();
        let seen = self.board.acknowledged(now, segment);
        if !seen.is_valid {
            return false;
        }
        if let Some(rtt) = seen.rtt {
            self.rtt.measured(rtt);
        }
        let arrived = seen.acked + seen.sacked;
        if seen.acked > 0 {
            self.expired = 0;
        }
        let newly_lost = self.find_lost(now);
        let is_over = self.recovery.is_some_and(|recovery| self.board.unacked() >= recovery.end);
        match &mut self.recovery {
            Some(_) if is_over => {
                self.cwnd = if self.recovery.is_some_and(|recovery| recovery.after_timeout) {
                    self.cwnd
                } else {
                    self.ssthresh
                };
                self.recovery = None;
            }
            Some(recovery) if !recovery.after_timeout => {
                recovery.delivered += arrived;
                self.reduce(arrived, seen.advances && !newly_lost);
            }
            _ if seen.advances => self.grow(arrived, before),
            _ => {}
        }
        if arrived > 0 {
            self.set_timer(now);
        }
        // A duplicate says nothing to smoltcp but to repeat, which is done here.
        seen.is_duplicate
    }

    /// Does what is due, and returns the packets to be repeated.
    pub(crate) fn poll(&mut self, now: Instant) -> Vec<Vec<u8>> {
        let mut packets = Vec::new();
        if self.timer <= now {
            self.expire(now, &mut packets);
        }
        if self.late <= now && self.find_lost(now) {
            self.reduce(1, false);
        }
        if self.recovery.is_some() {
            while self.board.in_flight() < self.cwnd.max(1)
                && let Some(packet) = self.board.repeat_lost(now)
            {
                if let Some(recovery) = &mut self.recovery {
                    recovery.sent += 1;
                }
                packets.push(packet);
            }
        }
        packets
    }

    fn expire(&mut self, now: Instant, packets: &mut Vec<Vec<u8>>) {
        if self.board.outstanding() == 0 {
            self.timer = Instant::MAX;
            return;
        }
        // First a probe: the last segment again, whose acknowledgment shows what is lost before it.
        if self.expired == 0
            && self.recovery.is_none()
            && !self.board.has_gap()
            && let Some(packet) = self.board.probe(now)
        {
            packets.push(packet);
            self.expired = 1;
            self.timer = now + self.rtt.timeout(0);
            return;
        }
        self.expired += 1;
        if !self.recovery.is_some_and(|recovery| recovery.after_timeout) {
            self.ssthresh = (self.cwnd / 2).max(2);
        }
        self.board.time_out(now);
        self.cwnd = self.board.in_flight() + 1;
        self.recover(true);
        self.timer = now + self.rtt.timeout(self.expired - 1);
    }

    /// Looks for what is lost, and begins a recovery; whether there is more of it.
    fn find_lost(&mut self, now: Instant) -> bool {
        let smoothed = self.rtt.smoothed.unwrap_or_default();
        let (newly_lost, late) = self.board.find_lost(now, self.recovery.is_some(), smoothed);
        self.late = late.unwrap_or(Instant::MAX);
        if newly_lost && self.recovery.is_none() {
            self.ssthresh = (self.cwnd / 2).max(2);
            self.recover(false);
        }
        newly_lost
    }

    fn recover(&mut self, after_timeout: bool) {
        let (end, before) = (self.board.next(), self.cwnd);
        let recovery = Recovery { end, before, delivered: 0, sent: 0, after_timeout };
        (self.recovery, self.acked, self.is_limited) = (Some(recovery), 0, false);
    }

    /// The window during a recovery (RFC 6937, 3; Linux: `tcp_cwnd_reduction`).
    fn reduce(&mut self, arrived: usize, is_progress: bool) {
        let Some(recovery) = self.recovery.filter(|recovery| !recovery.after_timeout) else {
            return;
        };
        let pipe = self.board.in_flight();
        let room = if pipe > self.ssthresh {
            let share = recovery.delivered.saturating_mul(self.ssthresh);
            share.div_ceil(recovery.before.max(1)).saturating_sub(recovery.sent)
        } else {
            let slow = recovery.delivered.saturating_sub(recovery.sent).max(arrived);
            (slow + usize::from(is_progress)).min(self.ssthresh - pipe)
        };
        // The first repetition goes out in any case.
        let room = if recovery.sent == 0 { room.max(1) } else { room };
        self.cwnd = pipe + room;
    }

    fn grow(&mut self, mut acked: usize, before: usize) {
        if !self.is_limited && before + 2 <= self.cwnd {
            return;
        }
        if self.cwnd < self.ssthresh {
            let more = acked.min(self.ssthresh - self.cwnd);
            self.cwnd += more;
            acked -= more;
        }
        if self.cwnd < self.ssthresh || acked == 0 {
            return;
        }
        self.acked += acked;
        if self.acked >= self.cwnd {
            self.acked -= self.cwnd;
            self.cwnd += 1;
            self.is_limited = false;
        }
    }

    fn set_timer(&mut self, now: Instant) {
        if self.board.outstanding() == 0 {
            self.timer = Instant::MAX;
            return;
        }
        let mut wait = self.rtt.timeout(0);
        if let (Some(smoothed), None, false) =
            (self.rtt.smoothed, self.recovery, self.board.has_gap())
        {
            let alone = if self.board.is_alone() { Self::ACK_WAIT } else { Self::PROBE_MIN };
            wait = wait.min(smoothed * 2 + alone);
        }
        self.timer = now + wait;
    }
}

#[cfg(test)]
mod tests;
