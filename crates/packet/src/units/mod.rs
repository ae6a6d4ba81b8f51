//! Durations, bit rates, sizes, shares and counts as people write and read them.
//!
//! One set of rules holds everywhere:
//!
//! | quantity | units | examples |
//! |---|---|---|
//! | [duration](parse_duration) | `ns`, `us`, `ms`, `s`, `m` or `min`, `h`, `d` | `20ms`, `1.5s`, `5m` |
//! | [bit rate](Bitrate) | `bit`, `kbit`, `mbit`, `gbit`, each with or without `/s` | `100mbit`, `1.5gbit` |
//! | [size](parse_size) | `B`; powers of 1000: `k` or `kB`, `M` or `MB`, `G` or `GB`, `T` or `TB`; of 1024: `Ki` or `KiB`, ... | `1500`, `10MB`, `64KiB` |
//! | [share](parse_share) | `%`; without it a number below 1 | `2.5%`, `0.025` |
//! | [count](parse_count) | powers of 1000: `k`, `M`, `G` | `500`, `10k` |
//!
//! - A number is decimal and may have a point: `1.5s`, `.25us`. It has no sign and no exponent.
//! - Case is ignored (`100Mbit`, `64kib`), and spaces may precede the unit (`20 ms`).
//! - `k`, `M` and `G` are powers of 1000 in sizes too, as in rates and counts. (`tc` and
//!   `tcpdump -C` take 1024 there.) Powers of 1024 always have an `i`.
//! - `bps`, `kbps`, ... are refused: they mean bytes per second in `tc`, bits elsewhere.
//! - Zero needs no unit; other durations and rates do. [`parse_seconds`] and [`parse_millis`] are for
//!   options where a bare number has a meaning.
//! - Fractions of a nanosecond, a bit or a byte are truncated.
//!
//! The printers are exact: `{}` gives a text that parses back to the same value, such as `1.5s` or
//! `64KiB`. `{:#}` rounds to three or four digits for people: `1.25 s`, `64 KiB`, `2.5 %`.
//!
//! ```
//! use adit_packet::units;
//! use core::time::Duration;
//!
//! let time = units::parse_duration("5m")?;
//! assert_eq!(time, Duration::from_secs(300));
//! assert_eq!(units::duration(time).to_string(), "5m");
//! assert_eq!(format!("{:#}", units::duration(Duration::from_nanos(28_123))), "28.12 us");
//! assert_eq!(
//!     units::parse_duration("20msec").unwrap_err().to_string(),
//!     "unknown unit `msec`; did you mean `20ms`?"
//! );
//! # Ok::<(), units::UnitError>(())
//! ```

mod error;
mod rate;
mod rounded;
mod scale;
mod share;

pub use error::UnitError;
pub use rate::Bitrate;
pub use rounded::number as rounded;
pub use share::{Share, parse_share};

use core::fmt;
use core::time::Duration;
use scale::{Scale, Unit};

const DURATION: Scale = Scale {
    what: "a duration",
    units: &[
        Unit { name: "ns", aliases: &["nsec", "nanos", "nanoseconds"], size: 1 },
        Unit { name: "us", aliases: &["usec", "micros", "microseconds"], size: 1_000 },
        Unit { name: "ms", aliases: &["msec", "millis", "milliseconds"], size: 1_000_000 },
        Unit { name: "s", aliases: &["sec", "secs", "second", "seconds"], size: 1_000_000_000 },
        Unit { name: "m", aliases: &["mins", "minute", "minutes"], size: 60 * 1_000_000_000 },
        Unit { name: "h", aliases: &["hr", "hrs", "hour", "hours"], size: 3_600 * 1_000_000_000 },
        Unit { name: "d", aliases: &["day", "days"], size: 86_400 * 1_000_000_000 },
    ],
    synonyms: &[("µs", "us"), ("μs", "us"), ("min", "m")],
    bare: None,
    examples: &["ms", "s"],
};

const SIZE: Scale = Scale {
    what: "a size",
    units: &[
        Unit { name: "B", aliases: &["byte", "bytes"], size: 1 },
        Unit { name: "kB", aliases: &["kilobytes"], size: 1_000 },
        Unit { name: "KiB", aliases: &[], size: 1 << 10 },
        Unit { name: "MB", aliases: &["megabytes"], size: 1_000_000 },
        Unit { name: "MiB", aliases: &[], size: 1 << 20 },
        Unit { name: "GB", aliases: &["gigabytes"], size: 1_000_000_000 },
        Unit { name: "GiB", aliases: &[], size: 1 << 30 },
        Unit { name: "TB", aliases: &["terabytes"], size: 1_000_000_000_000 },
        Unit { name: "TiB", aliases: &[], size: 1 << 40 },
    ],
    synonyms: &[
        ("k", "kB"),
        ("M", "MB"),
        ("G", "GB"),
        ("T", "TB"),
        ("Ki", "KiB"),
        ("Mi", "MiB"),
        ("Gi", "GiB"),
        ("Ti", "TiB"),
    ],
    bare: Some(1),
    examples: &["kB", "KiB"],
};

const COUNT: Scale = Scale {
    what: "a count",
    units: &[
        Unit { name: "k", aliases: &[], size: 1_000 },
        Unit { name: "M", aliases: &[], size: 1_000_000 },
        Unit { name: "G", aliases: &[], size: 1_000_000_000 },
    ],
    synonyms: &[],
    bare: Some(1),
    examples: &["k", "M"],
};

/// Reads a duration: `20ms`, `1.5s`, `300us`, `5m` (minutes), `1h`, `7d`; without a unit only `0`.
///
/// # Errors
///
/// [`UnitError`]: no number, no unit or an unknown one, or more than 584 years.
pub fn parse_duration(text: &str) -> Result<Duration, UnitError> {
    DURATION.parse(text).map(Duration::from_nanos)
}

/// Reads a duration as [`parse_duration`]; a number without a unit is seconds.
///
/// # Errors
///
/// [`UnitError`], as [`parse_duration`].
pub fn parse_seconds(text: &str) -> Result<Duration, UnitError> {
    Scale { bare: Some(1_000_000_000), ..DURATION }.parse(text).map(Duration::from_nanos)
}

/// Reads a duration as [`parse_duration`]; a number without a unit is milliseconds.
///
/// # Errors
///
/// [`UnitError`], as [`parse_duration`].
pub fn parse_millis(text: &str) -> Result<Duration, UnitError> {
    Scale { bare: Some(1_000_000), ..DURATION }.parse(text).map(Duration::from_nanos)
}

/// Reads a size in bytes: `1500`, `64KiB`, `10MB`, `10k`. Powers of 1024 have an `i`.
///
/// # Errors
///
/// [`UnitError`]: no number, an unknown unit, or 2^64 bytes and more.
pub fn parse_size(text: &str) -> Result<u64, UnitError> {
    SIZE.parse(text)
}

/// Reads a number of things: `500`, `10k`, `1.5M`. The result must be whole.
///
/// # Errors
///
/// [`UnitError`]: no whole number, an unknown unit, or 2^64 and more.
pub fn parse_count(text: &str) -> Result<u64, UnitError> {
    COUNT.parse_whole(text)
}

/// A duration that prints exactly, as [`parse_duration`] reads it: `20ms`, `1.5s`, `5m`.
///
/// More than 584 years print as seconds, which [`parse_duration`] refuses.
#[must_use]
pub const fn duration(duration: Duration) -> Time {
    Time(duration)
}

/// A size in bytes that prints exactly, as [`parse_size`] reads it: `64KiB`, `10MB`, `1500B`.
#[must_use]
pub const fn size(bytes: u64) -> Size {
    Size(bytes)
}

/// A count that prints exactly, as [`parse_count`] reads it: `500`, `10k`.
#[must_use]
pub const fn count(count: u64) -> Count {
    Count(count)
}

/// A share that prints exactly, as [`parse_share`] reads it: `2.5%`.
#[must_use]
pub const fn share(share: f64) -> Share {
    Share(share)
}

/// Prints a [`duration`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time(Duration);

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Ok(nanos) = u64::try_from(self.0.as_nanos()) else {
            return write!(f, "{}s", self.0.as_secs());
        };
        if f.alternate() {
            return f.pad(&rounded::time(nanos));
        }
        // Minutes and more only if they are whole: 90 s are no 1.5 minutes to most readers.
        let whole = DURATION.units.iter().rev().find(|unit| {
            unit.size >= 60_000_000_000 && nanos > 0 && nanos.is_multiple_of(unit.size)
        });
        let below = || DURATION.units.iter().take(4).rev().find(|unit| nanos >= unit.size);
        match whole.or_else(below) {
            Some(unit) => f.pad(&unit.exact(nanos)),
            None => f.pad("0s"),
        }
    }
}

/// Prints a [`size`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(u64);

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if f.alternate() {
            return f.pad(&rounded::size(self.0));
        }
        let whole = |unit: &&Unit| self.0 > 0 && self.0.is_multiple_of(unit.size);
        // The largest unit of which it is a whole number; B is one always.
        match SIZE.units.iter().rev().find(whole) {
            Some(unit) => f.pad(&unit.exact(self.0)),
            None => f.pad("0B"),
        }
    }
}

/// Prints a [`count`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Count(u64);

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = |unit: &&Unit| self.0 > 0 && self.0.is_multiple_of(unit.size);
        match COUNT.units.iter().rev().find(whole) {
            Some(unit) => f.pad(&unit.exact(self.0)),
            None => fmt::Display::fmt(&self.0, f),
        }
    }
}

#[cfg(test)]
mod tests;
