//! A distribution of delays given by its values.

use alloc::format;
use alloc::string::ToString;
use alloc::vec::Vec;
use core::time::Duration;

use super::file::{self, ParseError, quoted};
use adit_packet::units::parse_millis;

/// An empirical distribution of delays: measured values, of which each is as likely as the others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DelayTable {
    /// Nanoseconds, lowest first; at least one.
    sorted: Vec<u64>,
}

impl DelayTable {
    /// More values change no percentile that anybody reads.
    pub const LEN_MAX: usize = 1 << 20;
    /// The longest delay: 1 hour, so that no packet is held for longer than anybody waits.
    pub const VALUE_MAX: Duration = Duration::from_secs(3600);

    /// The distribution of these values, in any order.
    ///
    /// # Errors
    ///
    /// If there are none, more than [`Self::LEN_MAX`], or one above [`Self::VALUE_MAX`].
    pub fn new(values: impl IntoIterator<Item = Duration>) -> Result<Self, ParseError> {
        let mut sorted = Vec::new();
        for value in values {
            if sorted.len() == Self::LEN_MAX {
                return Err(ParseError::whole(format!("more than {} values", Self::LEN_MAX)));
            }
            if value > Self::VALUE_MAX {
                return Err(ParseError::whole(format!(
                    "a delay of {value:?} is longer than 1 hour"
                )));
            }
            sorted.push(u64::try_from(value.as_nanos()).unwrap_or(u64::MAX));
        }
        if sorted.is_empty() {
            return Err(ParseError::whole("no values"));
        }
        sorted.sort_unstable();
        Ok(Self { sorted })
    }

    /// Reads a file with one delay a line, as `12.5ms`; without a unit it is milliseconds. `#` starts
    /// a comment.
    ///
    /// # Errors
    ///
    /// The first line that is no delay; or as [`Self::new`].
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        file::check_len(text)?;
        let mut values = Vec::new();
        for (number, line) in file::lines(text) {
            if values.len() == Self::LEN_MAX {
                return Err(ParseError::new(number, format!("more than {} values", Self::LEN_MAX)));
            }
            let value =
                parse_millis(line).map_err(|wrong| ParseError::new(number, wrong.to_string()))?;
            if value > Self::VALUE_MAX {
                let problem = format!("{}: a delay must be at most 1 hour", quoted(line));
                return Err(ParseError::new(number, problem));
            }
            values.push(value);
        }
        Self::new(values)
    }

    /// How many values there are.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "there is at least one")]
    pub fn len(&self) -> usize {
        self.sorted.len()
    }

    /// The lowest value.
    #[must_use]
    pub fn min(&self) -> Duration {
        Duration::from_nanos(self.sorted.first().copied().unwrap_or(0))
    }

    /// The value that a share `at` (0 to 1) of the distribution is below, in nanoseconds; between
    /// two values by straight interpolation.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "an index below 2^20 and a fraction; delays below 2^42"
    )]
    pub(super) fn quantile(&self, at: f64) -> f64 {
        let place = at.clamp(0.0, 1.0) * (self.sorted.len() - 1) as f64;
        let index = place as usize;
        let low = self.sorted.get(index).copied().unwrap_or(0);
        let high = self.sorted.get(index + 1).copied().unwrap_or(low);
        low as f64 + (place - index as f64) * (high - low) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::{String, ToString};

    #[test]
    fn a_file_of_delays() {
        let table = DelayTable::parse("# measured\n10ms\n 30 # ms\n\n20.5 ms\n").unwrap();
        assert_eq!(table.len(), 3);
        assert_eq!(table.min(), Duration::from_millis(10));
        assert!((table.quantile(0.5) - 20_500_000.0).abs() < 1e-3);
        assert!((table.quantile(0.25) - 15_250_000.0).abs() < 1e-3);
        assert!((table.quantile(1.0) - 30_000_000.0).abs() < 1e-3);
    }

    #[test]
    fn an_error_has_its_line() {
        let error = |text| DelayTable::parse(text).unwrap_err();
        assert_eq!(error("1\n2\nthree\n").line, 3);
        assert_eq!(error("1\n2h\n").line, 2);
        assert_eq!(error("-1\n").line, 1);
        assert_eq!(error("# nothing\n").to_string(), "no values");
        let long: String = "1\n".repeat(DelayTable::LEN_MAX + 1);
        assert_eq!(error(&long).line, DelayTable::LEN_MAX + 1);
        let long = "\u{1b}[31m".repeat(100);
        assert!(error(&long).to_string().len() < 300);
    }
}
