//! TCP's congestion control as Linux's `reno` does it, around smoltcp's TCP.
//!
//! smoltcp's own Reno is that of RFC 5681 alone: the first acknowledgment of new data ends a recovery.
//! Where a window lost two packets, the second one then costs another halving, or a timeout of a second.
//! Kernels know better since RFC 6582 (`NewReno`). So smoltcp is left to send, repeat and time out, and
//! this decides how much it may have in flight: the host feeds no more than that to the socket. That
//! the next packet of a recovery must be repeated, smoltcp learns from duplicates of the
//! acknowledgment that says so, which the host makes.
//!
//! ```text
//!            slow start ──── cwnd >= ssthresh ───> congestion avoidance
//!                └──────────────┬────────────────────────┘  ^
//!                   third duplicate: ssthresh = flight / 2  │ all is acknowledged
//!                               v                           │ that was sent before
//!                           recovery  ──────────────────────┘
//!                               └─ acknowledged in part: repeat the next, stay
//! ```

use adit_packet::{Headers, Layer, TcpFlags, ip_protocol};

/// The part of a segment that matters here.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen {
    pub(crate) source: u16,
    pub(crate) destination: u16,
    pub(crate) sequence: u32,
    ack: u32,
    flags: TcpFlags,
    window: u16,
    len: u32,
}

impl Seen {
    /// `None` for what is not TCP.
    pub(crate) fn parse(bytes: &[u8], layer: Layer) -> Option<Self> {
        let headers: Headers = layer.parse(bytes).ok()?;
        if headers.protocol()? != ip_protocol::TCP {
            return None;
        }
        let (source, destination) = headers.ports(bytes)?;
        let header: &[u8; 16] = bytes.get(headers.transport()?..)?.first_chunk()?;
        let [_, _, _, _, s0, s1, s2, s3, a0, a1, a2, a3, _, flags, w0, w1] = *header;
        Some(Self {
            source,
            destination,
            sequence: u32::from_be_bytes([s0, s1, s2, s3]),
            ack: u32::from_be_bytes([a0, a1, a2, a3]),
            flags: TcpFlags(flags),
            window: u16::from_be_bytes([w0, w1]),
            len: u32::try_from(headers.end() - headers.payload()).ok()?,
        })
    }
}

/// How much a connection may have in flight.
#[derive(Clone, Debug)]
pub(crate) struct Reno {
    mss: usize,
    cwnd: usize,
    ssthresh: usize,
    /// Bytes acknowledged since the window last grew, in congestion avoidance.
    acked: usize,
    /// The first sequence number that is not acknowledged, and the one after the last that was sent.
    unacked: u32,
    next: u32,
    window: u16,
    duplicates: usize,
    /// In recovery: what was next when it began.
    recover: Option<u32>,
    /// Packets that will be repeated because we said so.
    repeats: usize,
}

impl Reno {
    /// The initial window in segments (RFC 6928).
    const INITIAL: usize = 10;
    /// What says that a packet was lost and not only late (RFC 5681, 3.2).
    const DUPLICATES: usize = 3;

    pub(crate) const fn new(mss: usize) -> Self {
        Self {
            mss,
            cwnd: Self::INITIAL * mss,
            ssthresh: usize::MAX,
            acked: 0,
            unacked: 0,
            next: 0,
            window: 0,
            duplicates: 0,
            recover: None,
            repeats: 0,
        }
    }

    pub(crate) const fn mss(&self) -> usize {
        self.mss
    }

    /// Bytes that may be in flight: also one new segment for each of the first duplicates (limited
    /// transmit, RFC 3042).
    pub(crate) fn window(&self) -> usize {
        if self.recover.is_some() {
            return self.cwnd;
        }
        self.cwnd + self.duplicates.min(Self::DUPLICATES - 1) * self.mss
    }

    /// A segment leaves.
    pub(crate) fn sent(&mut self, segment: &Seen) {
        if segment.flags.contains(TcpFlags::SYN) {
            self.unacked = segment.sequence.wrapping_add(1);
            self.next = self.unacked;
            return;
        }
        let end = segment.sequence.wrapping_add(segment.len);
        if is_before(self.next, end) {
            self.next = end;
        } else if segment.len > 0 && segment.sequence == self.unacked {
            if let Some(repeats) = self.repeats.checked_sub(1) {
                self.repeats = repeats;
            } else {
                self.timed_out();
            }
        }
    }

    /// A segment arrives. Returns how many duplicates of it are to follow.
    pub(crate) fn arrived(&mut self, segment: &Seen) -> usize {
        if !segment.flags.contains(TcpFlags::ACK) || is_before(self.next, segment.ack) {
            return 0;
        }
        if is_before(self.unacked, segment.ack) {
            let acked = segment.ack.wrapping_sub(self.unacked);
            self.unacked = segment.ack;
            self.window = segment.window;
            return self.advance(usize::try_from(acked).unwrap_or_default());
        }
        let ends = TcpFlags::SYN.with(TcpFlags::FIN).with(TcpFlags::RST);
        let is_duplicate = segment.ack == self.unacked
            && segment.len == 0
            && segment.window == self.window
            && self.unacked != self.next
            && !segment.flags.intersects(ends);
        self.window = segment.window;
        if is_duplicate {
            self.duplicate();
        }
        0
    }

    fn flight(&self) -> usize {
        usize::try_from(self.next.wrapping_sub(self.unacked)).unwrap_or_default()
    }

    fn advance(&mut self, acked: usize) -> usize {
        self.duplicates = 0;
        match self.recover {
            Some(recover) if is_before(self.unacked, recover) => {
                // RFC 6582, 3.2, step 3: repeat the next one, and one new segment for what has left.
                self.cwnd =
                    self.cwnd.saturating_sub(acked) + if acked >= self.mss { self.mss } else { 0 };
                self.cwnd = self.cwnd.max(self.mss);
                self.repeats += 1;
                return Self::DUPLICATES;
            }
            Some(_) => {
                self.recover = None;
                self.repeats = 0;
                self.cwnd = self.ssthresh;
            }
            None if self.cwnd < self.ssthresh => self.cwnd += acked,
            None => {
                self.acked += acked;
                if self.acked >= self.cwnd {
                    self.acked -= self.cwnd;
                    self.cwnd += self.mss;
                }
            }
        }
        0
    }

    fn duplicate(&mut self) {
        self.duplicates += 1;
        if self.recover.is_some() {
            self.cwnd += self.mss;
        } else if self.duplicates == Self::DUPLICATES {
            self.ssthresh = (self.flight() / 2).max(2 * self.mss);
            self.cwnd = self.ssthresh + Self::DUPLICATES * self.mss;
            self.recover = Some(self.next);
            self.repeats = 1;
            self.acked = 0;
        }
    }

    fn timed_out(&mut self) {
        self.ssthresh = (self.flight() / 2).max(2 * self.mss);
        self.cwnd = self.mss;
        (self.recover, self.duplicates, self.acked) = (None, 0, 0);
    }
}

/// Whether sequence number `a` comes before `b` (RFC 9293, 3.4).
const fn is_before(a: u32, b: u32) -> bool {
    a != b && b.wrapping_sub(a) < 1 << 31
}

#[cfg(test)]
mod tests {
    use super::*;

    const MSS: usize = 1000;

    fn data(sequence: u32) -> Seen {
        let len = 1000;
        let (flags, window) = (TcpFlags::ACK, 100);
        Seen { source: 1, destination: 2, sequence, ack: 1, flags, window, len }
    }

    fn ack(ack: u32) -> Seen {
        Seen { ack, len: 0, ..data(1) }
    }

    /// A connection that has sent segments 0 to 9.
    fn started() -> Reno {
        let mut reno = Reno::new(MSS);
        reno.sent(&Seen { flags: TcpFlags::SYN, ..data(u32::MAX) });
        (0..10).for_each(|n| reno.sent(&data(n * 1000)));
        assert_eq!(reno.arrived(&ack(0)), 0);
        reno.duplicates = 0;
        reno
    }

    #[test]
    fn the_window_doubles_and_then_grows_by_a_segment_a_round_trip() {
        let mut reno = started();
        assert_eq!(reno.window(), 10 * MSS);
        (1..=10).for_each(|n| assert_eq!(reno.arrived(&ack(n * 1000)), 0));
        assert_eq!(reno.window(), 20 * MSS);
        reno.ssthresh = 20 * MSS;
        (10..30).for_each(|n| reno.sent(&data(n * 1000)));
        (11..=29).for_each(|n| assert_eq!(reno.arrived(&ack(n * 1000)), 0));
        assert_eq!(reno.window(), 20 * MSS);
        reno.arrived(&ack(30_000));
        assert_eq!(reno.window(), 21 * MSS);
    }

    #[test]
    fn two_losses_in_a_window_halve_it_once() {
        let mut reno = started();
        // Segments 0 and 4 are lost.
        for _ in 0..2 {
            reno.arrived(&ack(0));
        }
        assert_eq!(reno.window(), 12 * MSS, "limited transmit");
        reno.arrived(&ack(0));
        assert_eq!((reno.ssthresh, reno.window()), (5 * MSS, 8 * MSS));
        reno.sent(&data(0));
        (0..5).for_each(|_| assert_eq!(reno.arrived(&ack(0)), 0));
        assert_eq!(reno.window(), 13 * MSS, "each duplicate is a packet that has left");
        assert_eq!(reno.arrived(&ack(4000)), 3, "the next one must be repeated");
        assert_eq!(reno.window(), 10 * MSS);
        reno.sent(&data(4000));
        assert_eq!(reno.arrived(&ack(10_000)), 0);
        assert_eq!((reno.window(), reno.recover), (5 * MSS, None));
    }

    #[test]
    fn a_timeout_starts_again_from_one_segment() {
        let mut reno = started();
        reno.sent(&data(0));
        assert_eq!((reno.window(), reno.ssthresh), (MSS, 5 * MSS));
    }

    #[test]
    fn sequence_numbers_wrap() {
        assert!(is_before(u32::MAX, 3) && !is_before(3, u32::MAX) && !is_before(3, 3));
    }

    #[test]
    fn foreign_segments_change_nothing() {
        let mut reno = started();
        for other in [
            ack(11_000),
            Seen { flags: TcpFlags::default(), ..ack(1000) },
            Seen { window: 99, ..ack(0) },
            Seen { len: 1, window: 99, ..ack(0) },
        ] {
            assert_eq!(reno.arrived(&other), 0);
        }
        assert_eq!((reno.duplicates, reno.window()), (0, 10 * MSS));
    }
}
