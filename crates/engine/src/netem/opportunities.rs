//! Recorded links: at which moments a packet could be sent.

use alloc::format;
use alloc::vec::Vec;
use core::time::Duration;

use super::file::{self, ParseError, quoted};
use adit_packet::units::Bitrate;

/// A trace of opportunities to send, repeated when it ends: at each of its moments
/// [`Self::BYTES`] bytes pass, whether one packet, several or a part of one; what nothing waits for
/// is gone.
///
/// Source: Mahimahi, `src/frontend/link_queue.cc` and mm-link(1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opportunities {
    /// Nanoseconds from the start, never falling; the last one is above 0 and ends the trace.
    at: Vec<u64>,
}

const MILLISECOND: u64 = 1_000_000;

impl Opportunities {
    /// Bytes of one opportunity.
    pub const BYTES: u64 = 1500;
    /// 12 Mbit/s for 4.6 hours, or 1.2 Gbit/s for 3 minutes.
    pub const LEN_MAX: usize = 1 << 24;
    /// The last moment: 24 hours.
    pub const MILLISECONDS_MAX: u64 = 86_400_000;

    /// The trace of opportunities at these milliseconds, which never fall.
    ///
    /// # Errors
    ///
    /// If there are none or more than [`Self::LEN_MAX`], one is before the one before it, or the last
    /// is 0 or above [`Self::MILLISECONDS_MAX`]. The line is the number of the value, from 1.
    pub fn new(milliseconds: impl IntoIterator<Item = u64>) -> Result<Self, ParseError> {
        let mut trace = Self { at: Vec::new() };
        for (number, value) in (1..).zip(milliseconds) {
            trace.add(number, value)?;
        }
        trace.finish()
    }

    /// Reads Mahimahi's format: one number a line, the milliseconds from the start.
    ///
    /// # Errors
    ///
    /// The first line that is no number; or as [`Self::new`].
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        file::check_len(text)?;
        let mut trace = Self { at: Vec::new() };
        for (number, line) in file::lines(text) {
            let value = line.parse().map_err(|_| {
                ParseError::new(number, format!("{}: expected whole milliseconds", quoted(line)))
            })?;
            trace.add(number, value)?;
        }
        trace.finish()
    }

    fn add(&mut self, line: usize, value: u64) -> Result<(), ParseError> {
        if self.at.len() == Self::LEN_MAX {
            return Err(ParseError::new(line, format!("more than {} lines", Self::LEN_MAX)));
        }
        if value > Self::MILLISECONDS_MAX {
            return Err(ParseError::new(
                line,
                format!("{value}: a trace can last at most 24 hours"),
            ));
        }
        let value = value * MILLISECOND;
        if self.at.last().is_some_and(|&before| before > value) {
            return Err(ParseError::new(line, "earlier than the line before"));
        }
        self.at.push(value);
        Ok(())
    }

    fn finish(self) -> Result<Self, ParseError> {
        match self.at.last() {
            None => Err(ParseError::whole("no moments")),
            Some(0) => Err(ParseError::whole(
                "the last time must be above 0: it is the length of the trace",
            )),
            Some(_) => Ok(self),
        }
    }

    /// How many opportunities there are before it repeats.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "there is at least one")]
    pub fn len(&self) -> usize {
        self.at.len()
    }

    /// After how long it repeats.
    #[must_use]
    pub fn period(&self) -> Duration {
        Duration::from_nanos(self.period_nanos())
    }

    /// The rate over the whole trace.
    #[must_use]
    pub fn mean_rate(&self) -> Bitrate {
        let count = u128::try_from(self.at.len()).unwrap_or(u128::MAX);
        let bits = count * u128::from(Self::BYTES) * 8;
        let rate = bits * 1_000_000_000 / u128::from(self.period_nanos());
        Bitrate::from_bits_per_second(u64::try_from(rate).unwrap_or(u64::MAX))
    }

    fn period_nanos(&self) -> u64 {
        self.at.last().copied().unwrap_or(MILLISECOND)
    }

    /// The first opportunity that is not before `since` (from the start of the first round) and not
    /// before number `from`, both over all rounds: its number and its moment.
    pub(super) fn next(&self, from: u64, since: u64) -> (u64, u64) {
        let (count, period) = (u64::try_from(self.at.len()).unwrap_or(1), self.period_nanos());
        // The moment that ends a round belongs to it, so the round of `since` may be the one before.
        let round = since.saturating_sub(1) / period;
        let within = since - round * period;
        let index = self.at.partition_point(|&at| at < within);
        let number = round * count + u64::try_from(index).unwrap_or(0);
        let number = number.max(from);
        let at = usize::try_from(number % count).ok().and_then(|index| self.at.get(index));
        (number, (number / count).saturating_mul(period).saturating_add(at.copied().unwrap_or(0)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec;

    #[test]
    fn it_repeats_without_a_gap() {
        let trace = Opportunities::parse("0\n2\n2\n5\n").unwrap();
        assert_eq!((trace.len(), trace.period()), (4, Duration::from_millis(5)));
        assert_eq!(trace.mean_rate().bits_per_second(), 4 * 12_000 * 200);
        let (mut from, mut moments) = (0, vec![]);
        for _ in 0..9 {
            let (number, at) = trace.next(from, 0);
            moments.push(at / MILLISECOND);
            from = number + 1;
        }
        assert_eq!(moments, [0, 2, 2, 5, 5, 7, 7, 10, 10]);
    }

    #[test]
    fn past_opportunities_are_skipped() {
        let trace = Opportunities::parse("1\n4\n").unwrap();
        let at = |since| trace.next(0, since).1;
        assert_eq!(at(0), MILLISECOND);
        assert_eq!(at(MILLISECOND), MILLISECOND);
        assert_eq!(at(MILLISECOND + 1), 4 * MILLISECOND);
        assert_eq!(at(4 * MILLISECOND), 4 * MILLISECOND);
        assert_eq!(at(4 * MILLISECOND + 1), 5 * MILLISECOND);
        assert_eq!(at(400 * MILLISECOND + 1), 401 * MILLISECOND);
    }

    #[test]
    fn an_error_has_its_line() {
        for (text, line) in [
            ("1\n2\nx", 3),
            ("1\n3\n2", 3),
            ("1.5", 1),
            ("-1", 1),
            ("86400001", 1),
            ("", 0),
            ("0", 0),
        ] {
            assert_eq!(Opportunities::parse(text).unwrap_err().line, line, "{text}");
        }
    }
}
