//! The line: when a packet can be sent, and until when that takes.

use alloc::sync::Arc;
use alloc::vec::Vec;

use super::opportunities::Opportunities;
use super::profile::{Profile, Rate};
use super::steps::Steps;

/// Times a second has in a nanosecond clock.
const SECOND: u64 = 1_000_000_000;

/// The line, which sends one packet after the other. Times are nanoseconds of the owner's clock;
/// `u64::MAX` is never.
#[derive(Debug)]
pub(super) enum Line {
    Unlimited,
    Fixed(Fixed),
    Stepped(Stepped),
    Trace(Trace),
}

impl Line {
    /// A line whose schedule, if it has one, begins at `origin`.
    pub(super) fn new(profile: &Profile, origin: u64) -> Self {
        let base = match &profile.rate {
            Rate::Unlimited => None,
            Rate::Fixed(rate) => Some(rate.bits_per_second()),
            Rate::Trace(trace) => return Self::Trace(Trace::new(Arc::clone(trace), origin)),
        };
        match (&profile.steps, base) {
            (Some(steps), _) if steps.has_rate() => {
                Self::Stepped(Stepped::new(Arc::clone(steps), base, origin))
            }
            (_, Some(rate)) => Self::Fixed(Fixed { rate, carry: 0 }),
            (_, None) => Self::Unlimited,
        }
    }

    pub(super) const fn is_unlimited(&self) -> bool {
        matches!(self, Self::Unlimited)
    }

    /// When a packet that is ready at `ready` begins to be sent.
    pub(super) fn start(&self, ready: u64) -> u64 {
        match self {
            Self::Unlimited | Self::Fixed(_) => ready,
            Self::Stepped(line) => line.start(ready),
            Self::Trace(line) => line.start(ready),
        }
    }

    /// Sends a packet from `start` on, as [`Self::start`] gave it, and says when its last byte is out.
    pub(super) fn send(&mut self, start: u64, wire_len: u32) -> u64 {
        match self {
            Self::Unlimited => start,
            Self::Fixed(line) => line.send(start, wire_len),
            Self::Stepped(line) => line.send(start, wire_len),
            Self::Trace(line) => line.send(start, wire_len),
        }
    }

    /// The rate in bits a second by which a queue's limit in time is measured.
    pub(super) fn rate(&self, now: u64) -> u64 {
        match self {
            Self::Unlimited => u64::MAX,
            Self::Fixed(line) => line.rate,
            Self::Stepped(line) => line.rate(now),
            Self::Trace(line) => line.trace.mean_rate().bits_per_second(),
        }
    }
}

/// A line of one rate.
#[derive(Debug)]
pub(super) struct Fixed {
    rate: u64,
    /// What the division by the rate left over, in bits and nanoseconds: it goes to the next packet.
    carry: u64,
}

impl Fixed {
    fn send(&mut self, start: u64, wire_len: u32) -> u64 {
        // 2^32 bytes would overflow; a packet has 2^16, and ATM and overhead add an eighth.
        let work = (u64::from(wire_len) * 8).saturating_mul(SECOND).saturating_add(self.carry);
        self.carry = work % self.rate;
        start.saturating_add(work / self.rate)
    }
}

/// A line whose rate changes, also while a packet is being sent.
#[derive(Debug)]
pub(super) struct Stepped {
    steps: Arc<Steps>,
    /// Where steps have no rate; `None`: unlimited.
    base: Option<u64>,
    origin: u64,
    /// The carry of [`Fixed`], and the rate it was left over at.
    carry: (u64, u64),
    /// What a round of repeated steps sends, in bits and nanoseconds; `None` if they are not repeated
    /// or unlimited somewhere.
    round: Option<(u64, u128)>,
    fastest: u64,
}

impl Stepped {
    fn new(steps: Arc<Steps>, base: Option<u64>, origin: u64) -> Self {
        let mut line = Self { steps, base, origin, carry: (0, 0), round: None, fastest: 0 };
        let rates: Vec<_> = line
            .steps
            .as_slice()
            .iter()
            .map(|step| step.rate.map(|rate| rate.bits_per_second()))
            .collect();
        let known = rates.iter().map(|rate| rate.or(base));
        line.fastest = known.chain([base]).flatten().max().unwrap_or(0);
        line.round = line.work_of_a_round();
        line
    }

    /// What a round after the first one sends.
    fn work_of_a_round(&self) -> Option<(u64, u128)> {
        let period = u64::try_from(self.steps.period()?.as_nanos()).ok()?;
        let end = self.origin.checked_add(period.checked_mul(2)?)?;
        let (mut at, mut work) = (self.origin + period, 0);
        while at < end {
            let (rate, until) = self.at(at);
            work += u128::from(rate?) * u128::from(until.min(end) - at);
            at = until;
        }
        Some((period, work))
    }

    /// The rate at `now` (`None`: unlimited) and until when it holds.
    fn at(&self, now: u64) -> (Option<u64>, u64) {
        let held = self.steps.at(now.saturating_sub(self.origin));
        let rate = held.step.and_then(|step| step.rate).map(|rate| rate.bits_per_second());
        let until = held.until.map_or(u64::MAX, |until| self.origin.saturating_add(until));
        (rate.or(self.base), until)
    }

    fn rate(&self, now: u64) -> u64 {
        match self.at(now).0 {
            None => u64::MAX,
            Some(0) => self.fastest,
            Some(rate) => rate,
        }
    }

    fn start(&self, ready: u64) -> u64 {
        let mut at = ready;
        // The steps of a round, and those of the round that it began in.
        for _ in 0..=2 * self.steps.as_slice().len() + 2 {
            match self.at(at) {
                (Some(0), u64::MAX) => break,
                (Some(0), until) => at = until,
                _ => return at,
            }
        }
        u64::MAX
    }

    fn send(&mut self, start: u64, wire_len: u32) -> u64 {
        let second = u128::from(SECOND);
        let mut work = u128::from(wire_len) * 8 * second;
        let (first, _) = self.at(start);
        if first == Some(self.carry.1) {
            work += u128::from(self.carry.0);
        }
        let mut at = start;
        loop {
            let (rate, until) = self.at(at);
            let Some(rate) = rate else { return at };
            let most = u128::from(rate) * u128::from(until - at);
            if work <= most && rate != 0 {
                let (time, carry) = (work / u128::from(rate), work % u128::from(rate));
                self.carry = (u64::try_from(carry).unwrap_or(0), rate);
                return at.saturating_add(u64::try_from(time).unwrap_or(u64::MAX));
            }
            if until == u64::MAX {
                return u64::MAX;
            }
            work -= most.min(work);
            at = until;
            // Many rounds at once, or a slow line with short steps would take for ever.
            if let Some((period, each)) = self.round
                && at.saturating_sub(self.origin) >= period
                && each < work
            {
                if each == 0 {
                    return u64::MAX;
                }
                let rounds = u64::try_from((work - 1) / each).unwrap_or(u64::MAX);
                at = at.saturating_add(rounds.saturating_mul(period));
                work -= each * u128::from(rounds);
            }
            if at == u64::MAX {
                return at;
            }
        }
    }
}

/// A line that sends at the moments of a trace.
#[derive(Debug)]
pub(super) struct Trace {
    trace: Arc<Opportunities>,
    origin: u64,
    /// The number of the next opportunity, over all rounds.
    next: u64,
    /// The present one: its moment and what is left of it.
    at: u64,
    left: u64,
}

impl Trace {
    const fn new(trace: Arc<Opportunities>, origin: u64) -> Self {
        Self { trace, origin, next: 0, at: 0, left: 0 }
    }

    fn start(&self, ready: u64) -> u64 {
        if self.left > 0 && ready <= self.at {
            return self.at;
        }
        self.find(ready).1
    }

    fn send(&mut self, start: u64, wire_len: u32) -> u64 {
        if self.left == 0 || start > self.at {
            self.advance(start);
        }
        let mut bytes = u64::from(wire_len);
        while bytes > self.left {
            bytes -= self.left;
            self.advance(self.at);
        }
        self.left -= bytes;
        self.at
    }

    fn advance(&mut self, from: u64) {
        let (number, at) = self.find(from);
        (self.next, self.at, self.left) = (number + 1, at, Opportunities::BYTES);
    }

    fn find(&self, from: u64) -> (u64, u64) {
        let (number, at) = self.trace.next(self.next, from.saturating_sub(self.origin));
        (number, self.origin.saturating_add(at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netem::Bitrate;

    fn fixed(rate: u64) -> Profile {
        Profile { rate: Rate::Fixed(Bitrate::from_bits_per_second(rate)), ..Profile::default() }
    }

    fn stepped(rate: Rate, steps: &str) -> Line {
        let steps = Some(Arc::new(Steps::parse(steps).unwrap()));
        Line::new(&Profile { rate, steps, ..Profile::default() }, 0)
    }

    /// Packets one after the other: the end of the last one.
    fn send_all(line: &mut Line, count: u32, wire_len: u32) -> u64 {
        (0..count).fold(0, |at, _| {
            let start = line.start(at);
            line.send(start, wire_len)
        })
    }

    #[test]
    fn the_rate_is_exact_to_the_nanosecond() {
        // Rates that divide nothing: what is left over must not be lost.
        for rate in [7_777_777, 99_999_989, 333_333_333, 9_999_999_967] {
            let mut line = Line::new(&fixed(rate), 0);
            let end = send_all(&mut line, 100_003, 1237);
            let exact = 100_003 * 1237 * 8 * u128::from(SECOND) / u128::from(rate);
            assert_eq!(u128::from(end), exact, "{rate}");
        }
    }

    #[test]
    fn a_slow_line_and_a_fast_one() {
        assert_eq!(Line::new(&fixed(1), 0).send(5, 1), 5 + 8 * SECOND);
        let mut line = Line::new(&fixed(1_000_000_000_000), 0);
        assert_eq!(send_all(&mut line, 1000, 125), 1000);
        assert_eq!(Line::Unlimited.send(5, 1500), 5);
    }

    #[test]
    fn a_rate_changes_while_a_packet_is_sent() {
        // 12,000 bits: 1 ms at 8 Mbit/s are 8000 of them, the others take 4 ms at 1 Mbit/s.
        let text = "time,rate\n0,8mbit\n1ms,1mbit\n";
        assert_eq!(stepped(Rate::Unlimited, text).send(0, 1500), 5_000_000);
        // Stopped for 10 ms in between.
        let text = "time,rate\n0,8mbit\n1ms,0\n11ms,1mbit\n";
        let mut line = stepped(Rate::Unlimited, text);
        assert_eq!(line.send(0, 1500), 15_000_000);
        assert_eq!(line.start(2_000_000), 11_000_000);
        // And then for ever.
        let mut line = stepped(Rate::Unlimited, "time,rate\n1ms,0\n");
        assert_eq!((line.send(0, 1500), line.start(1_000_000)), (0, u64::MAX));
        assert_eq!(line.rate(0), u64::MAX);
    }

    #[test]
    fn repeated_steps_give_their_mean() {
        // 1 ms of 10 Mbit/s in 4 ms: 2.5 Mbit/s, for an odd number of packets.
        let text = "time,rate\n0,0\n1ms,10mbit\n2ms,0\n4ms,repeat\n";
        let mut line = stepped(Rate::Unlimited, text);
        let end = send_all(&mut line, 8333, 1500);
        let mean = 8333 * 12_000 * u128::from(SECOND) / u128::from(end);
        assert!(mean.abs_diff(2_500_000) < 250, "{mean}");
        // A packet of thousands of rounds is as exact as one by one.
        let mut line = stepped(Rate::Unlimited, "time,rate\n0,0\n1us,1kbit\n2us,repeat\n");
        assert_eq!(line.send(1_000, 1500).div_ceil(1000), 24_000_000);
        let none = "time,rate\n0,0\n1us,0\n2us,repeat\n";
        assert_eq!(stepped(Rate::Unlimited, none).start(5), u64::MAX);
    }

    #[test]
    fn a_trace_sends_what_it_says() {
        let trace = Arc::new(Opportunities::parse("1\n1\n4\n10\n").unwrap());
        let profile = Profile { rate: Rate::Trace(trace), ..Profile::default() };
        let mut line = Line::new(&profile, 1_000_000_000);
        let mut at = 1_000_000_000;
        let mut ends = Vec::new();
        for bytes in [1500, 700, 700, 200, 1500, 4500] {
            let start = line.start(at);
            at = line.send(start, bytes);
            ends.push((at - 1_000_000_000) / 1_000_000);
        }
        // 100 of the second 1500, 1400 of the third, and so on.
        assert_eq!(ends, [1, 1, 1, 4, 10, 14]);
        // What nothing waited for is gone.
        let late = 1_000_000_000 + 25_000_000;
        assert_eq!(line.start(late), 1_000_000_000 + 30_000_000);
    }
}
