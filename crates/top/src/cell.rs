//! The value of a cell of a table: how it sorts, and how it reads.

use adit_packet::units::{Bitrate, duration};
use schemars::JsonSchema;
use serde::Serialize;
use std::cmp::Ordering;
use std::fmt;
use std::time::Duration;

/// The value of a cell; a program gets it without its unit.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum Cell {
    /// A text.
    Text(String),
    /// A number of things.
    Count(u64),
    /// Bits per second.
    Bits(f64),
    /// Things per second.
    PerSecond(f64),
    /// A time in seconds.
    Seconds(f64),
    /// There is no value.
    None,
}

impl Cell {
    /// A text that may come from elsewhere, without control characters.
    pub(crate) fn text(text: impl AsRef<str>) -> Self {
        Self::Text(adit_service::text::clean(text.as_ref()))
    }

    /// A time.
    #[must_use]
    pub const fn seconds(time: Duration) -> Self {
        Self::Seconds(time.as_secs_f64())
    }

    /// Whether it is a number, which stands at the right of its column.
    pub(crate) const fn is_number(&self) -> bool {
        matches!(self, Self::Count(_) | Self::Bits(_) | Self::PerSecond(_) | Self::Seconds(_))
    }

    /// What sorts it, before it has a unit.
    fn number(&self) -> Option<f64> {
        match self {
            #[expect(clippy::cast_precision_loss, reason = "for an order, and rounded")]
            Self::Count(count) => Some(*count as f64),
            Self::Bits(value) | Self::PerSecond(value) | Self::Seconds(value) => Some(*value),
            Self::Text(_) | Self::None => None,
        }
    }

    /// The order of two cells of a column: numbers by value, texts by their characters, nothing first.
    pub(crate) fn order(&self, other: &Self) -> Ordering {
        match (self.number(), other.number()) {
            (Some(a), Some(b)) => a.total_cmp(&b),
            (a, b) if a.is_some() != b.is_some() => a.is_some().cmp(&b.is_some()),
            _ => self.to_string().cmp(&other.to_string()),
        }
    }
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::Count(count) => count.fmt(f),
            Self::Bits(bits) => f.write_str(&short(*bits)),
            Self::PerSecond(value) if *value < 0.05 => f.write_str("0"),
            Self::PerSecond(value) if *value < 10.0 => write!(f, "{value:.1}"),
            Self::PerSecond(value) => write!(f, "{value:.0}"),
            Self::Seconds(seconds) => f.write_str(&age(*seconds)),
            Self::None => f.write_str("-"),
        }
    }
}

/// Three digits and an SI prefix: `0`, `999`, `12.3k`.
fn short(value: f64) -> String {
    let (mut value, mut prefix) = (value.round(), "");
    for larger in ["k", "M", "G", "T", "P"] {
        if value < 999.5 {
            break;
        }
        (value, prefix) = (value / 1000.0, larger);
    }
    match value {
        whole if prefix.is_empty() || whole >= 99.95 => format!("{whole:.0}{prefix}"),
        tens if tens >= 9.995 => format!("{tens:.1}{prefix}"),
        ones => format!("{ones:.2}{prefix}"),
    }
}

/// `0`, `12.3 kbit/s`.
pub(crate) fn bits_text(bits: f64) -> String {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a rate is not negative, and a cast saturates"
    )]
    let whole = bits.round() as u64;
    if whole == 0 { "0".to_owned() } else { format!("{:#}", Bitrate::from_bits_per_second(whole)) }
}

/// `0.2 s`, `23 s`, `5 min`, `3 h`, `12 d`.
pub(crate) fn age(seconds: f64) -> String {
    match seconds {
        s if s < 0.1 => {
            format!("{:#}", duration(Duration::from_secs_f64((s.max(0.0) * 1e5).round() / 1e5)))
        }
        s if s < 10.0 => format!("{s:.1} s"),
        s if s < 120.0 => format!("{s:.0} s"),
        s if s < 7200.0 => format!("{:.0} min", s / 60.0),
        s if s < 172_800.0 => format!("{:.0} h", s / 3600.0),
        s => format!("{:.0} d", s / 86_400.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_read_with_units_and_sort_by_value() {
        let texts = [
            (Cell::Bits(0.4), "0"),
            (Cell::Bits(999.4), "999"),
            (Cell::Bits(999.6), "1.00k"),
            (Cell::Bits(12_340_000.0), "12.3M"),
            (Cell::Bits(999_600_000.0), "1.00G"),
            (Cell::Bits(123e9), "123G"),
            (Cell::PerSecond(0.0), "0"),
            (Cell::PerSecond(1.25), "1.2"),
            (Cell::PerSecond(1250.0), "1250"),
            (Cell::Seconds(0.0123), "12.3 ms"),
            (Cell::Seconds(23.4), "23 s"),
            (Cell::Seconds(3600.0), "60 min"),
            (Cell::Seconds(90_000.0), "25 h"),
            (Cell::Seconds(1e6), "12 d"),
            (Cell::None, "-"),
            (Cell::text("a\x1b[2Jb"), "a\\u{1b}[2Jb"),
        ];
        for (cell, text) in texts {
            assert_eq!(cell.to_string(), text);
        }
        assert_eq!((bits_text(0.4), bits_text(1_234_000.0)), ("0".into(), "1.234 Mbit/s".into()));
        assert_eq!(Cell::Count(10).order(&Cell::Count(9)), Ordering::Greater);
        assert_eq!(Cell::None.order(&Cell::Count(0)), Ordering::Less);
        assert_eq!(Cell::text("b").order(&Cell::text("a")), Ordering::Greater);
    }
}
