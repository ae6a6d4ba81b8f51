//! Bit rates.

use super::error::{UnitError, quoted};
use super::rounded;
use super::scale::{Scale, Unit};
use alloc::format;
use core::fmt;
use core::str::FromStr;

const RATE: Scale = Scale {
    what: "a bit rate",
    units: &[
        Unit { name: "bit", aliases: &["bits", "bps"], size: 1 },
        Unit { name: "kbit", aliases: &["k", "kb", "kbits", "kbps"], size: 1_000 },
        Unit { name: "mbit", aliases: &["m", "mb", "mbits", "mbps"], size: 1_000_000 },
        Unit { name: "gbit", aliases: &["g", "gb", "gbits", "gbps"], size: 1_000_000_000 },
    ],
    synonyms: &[("bit/s", "bit"), ("kbit/s", "kbit"), ("mbit/s", "mbit"), ("gbit/s", "gbit")],
    bare: None,
    examples: &["mbit"],
};

/// A bit rate: bits per second, printed and read as `tc` writes them: `100mbit`, `1.5gbit`.
///
/// ```
/// use adit_packet::units::Bitrate;
///
/// let rate: Bitrate = "2.5mbit".parse()?;
/// assert_eq!(rate.bits_per_second(), 2_500_000);
/// assert_eq!(rate.to_string(), "2.5mbit");
/// # Ok::<(), adit_packet::units::UnitError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bitrate(u64);

impl Bitrate {
    /// 1 Tbit/s, the maximum accepted from text: a packet takes less than a nanosecond then.
    pub const MAX: Self = Self(1_000_000_000_000);

    /// `bits` per second.
    #[must_use]
    pub const fn from_bits_per_second(bits: u64) -> Self {
        Self(bits)
    }

    /// Bits per second.
    #[must_use]
    pub const fn bits_per_second(self) -> u64 {
        self.0
    }
}

impl FromStr for Bitrate {
    type Err = UnitError;

    /// Reads `100mbit`, `1.5gbit`, `64kbit/s`, `9600bit`; without a unit only `0`.
    fn from_str(text: &str) -> Result<Self, UnitError> {
        let rate = Self(RATE.parse(text)?);
        if rate <= Self::MAX {
            return Ok(rate);
        }
        let help = Some(format!("the maximum is {}", Self::MAX));
        Err(UnitError {
            message: format!("{} is too large", quoted(text.trim())),
            help,
            part: 0..text.len(),
        })
    }
}

/// Prints exactly, in the largest unit that needs at most three decimals; `{:#}` rounds: `1.25 Gbit/s`.
impl fmt::Display for Bitrate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if f.alternate() {
            return f.pad(&rounded::rate(self.0));
        }
        let is_short =
            |unit: &&Unit| self.0 >= unit.size && self.0.is_multiple_of((unit.size / 1000).max(1));
        match RATE.units.iter().rev().find(is_short) {
            Some(unit) => f.pad(&unit.exact(self.0)),
            None => f.pad("0bit"),
        }
    }
}
