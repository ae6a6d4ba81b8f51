//! A number and a unit, without rounding: the common part of durations, rates, sizes and counts.

use super::error::{UnitError, quoted};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

/// A unit.
#[derive(Debug)]
pub(super) struct Unit {
    /// As it is printed.
    pub(super) name: &'static str,
    /// Names in other programs: not accepted, but they lead to a suggestion.
    pub(super) aliases: &'static [&'static str],
    /// In the smallest unit of the scale.
    pub(super) size: u64,
}

/// The units of a quantity.
#[derive(Debug)]
pub(super) struct Scale {
    /// The quantity with its article, for messages.
    pub(super) what: &'static str,
    /// The units from small to large.
    pub(super) units: &'static [Unit],
    /// Further accepted names, with the names that they stand for.
    pub(super) synonyms: &'static [(&'static str, &'static str)],
    /// The size of a number without a unit; `None` refuses it.
    pub(super) bare: Option<u64>,
    /// The units of the examples in messages.
    pub(super) examples: &'static [&'static str],
}

impl Scale {
    /// The value of `text` in the smallest unit; a finer fraction is truncated.
    pub(super) fn parse(&self, text: &str) -> Result<u64, UnitError> {
        self.parse_exact(text).map(|(value, _)| value)
    }

    /// The value of `text` in the smallest unit, which must be whole.
    pub(super) fn parse_whole(&self, text: &str) -> Result<u64, UnitError> {
        match self.parse_exact(text)? {
            (value, true) => Ok(value),
            (_, false) => {
                let message = format!("{} is not a whole number", quoted(text.trim()));
                Err(UnitError { message, help: None, part: 0..text.len() })
            }
        }
    }

    /// The value, and whether nothing was cut off.
    fn parse_exact(&self, text: &str) -> Result<(u64, bool), UnitError> {
        let error = |message, help| UnitError { message, help, part: 0..text.len() };
        let end = text.trim_end().len();
        let start = text.len() - text.trim_start().len();
        let trimmed = text.trim();
        let Some(number) = Number::at_start(trimmed) else {
            let message = match trimmed {
                "" => format!("{} is missing", self.what),
                _ => format!("{} is not {}", quoted(trimmed), self.what),
            };
            return Err(error(message, Some(format!("write {}", self.example("20")))));
        };
        let unit = trimmed.get(number.text.len()..).unwrap_or_default().trim_start();
        let size = match (unit, self.bare) {
            ("", Some(size)) => size,
            ("", None) if number.is_zero() => 1,
            ("", None) => {
                let help = format!("did you mean {}?", self.example(number.text));
                return Err(error(format!("{} has no unit", quoted(trimmed)), Some(help)));
            }
            (unit, _) => self.size_of(unit).ok_or_else(|| UnitError {
                message: format!("unknown unit {}", quoted(unit)),
                help: Some(self.suggestion(number.text, unit)),
                part: (end - unit.len()).max(start)..end,
            })?,
        };
        number.times(size).ok_or_else(|| error(format!("{} is too large", quoted(trimmed)), None))
    }

    fn size_of(&self, unit: &str) -> Option<u64> {
        let is_it = |name: &str| name.to_lowercase() == unit.to_lowercase();
        let synonym = self.synonyms.iter().find(|(name, _)| is_it(name));
        let unit = synonym.map_or(unit, |(_, name)| name);
        self.units.iter().find(|known| known.name.eq_ignore_ascii_case(unit)).map(|unit| unit.size)
    }

    fn suggestion(&self, number: &str, unit: &str) -> String {
        let names = || self.units.iter().map(|known| known.name);
        let by_alias = self
            .units
            .iter()
            .find(|known| known.aliases.iter().any(|alias| alias.eq_ignore_ascii_case(unit)));
        let near = || names().find(|name| name.len() > 1 && is_one_mistake_away(name, unit));
        match by_alias.map(|known| known.name).or_else(near) {
            Some(name) => format!("did you mean {}?", quoted(&format!("{number}{name}"))),
            None => {
                let names: Vec<_> = names().collect();
                let (last, others) = names.split_last().unwrap_or((&"", &[]));
                format!("the units are {} and {last}", others.join(", "))
            }
        }
    }

    /// `20ms` or `20s`, in backquotes.
    fn example(&self, number: &str) -> String {
        let examples: Vec<_> =
            self.examples.iter().map(|unit| quoted(&format!("{number}{unit}"))).collect();
        examples.join(" or ")
    }
}

impl Unit {
    /// `value` in this unit with all its decimals, and the unit.
    pub(super) fn exact(&self, value: u64) -> String {
        let digits = self.size.ilog10() as usize;
        let (whole, rest) = (value / self.size, value % self.size);
        if rest == 0 {
            return format!("{whole}{}", self.name);
        }
        debug_assert!(10_u64.pow(self.size.ilog10()) == self.size, "only powers of 10 are cut");
        let rest = format!("{rest:0digits$}");
        format!("{whole}.{}{}", rest.trim_end_matches('0'), self.name)
    }
}

/// A decimal number without sign and exponent.
struct Number<'a> {
    text: &'a str,
    whole: u64,
    fraction: &'a str,
}

impl<'a> Number<'a> {
    /// The number that `text` begins with; `None` if there is none, or one with two points, with one
    /// at its end, or of more than 64 bits.
    fn at_start(text: &'a str) -> Option<Self> {
        let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
        let text = text.get(..end)?;
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        let is_number = !text.is_empty() && !text.ends_with('.') && !fraction.contains('.');
        let whole = match whole {
            "" => "0",
            whole => whole,
        };
        is_number.then(|| whole.parse().ok().map(|whole| Self { text, whole, fraction }))?
    }

    fn is_zero(&self) -> bool {
        self.whole == 0 && self.fraction.bytes().all(|digit| digit == b'0')
    }

    /// The number times `size`, and whether that is whole; `None` if it is too large.
    fn times(&self, size: u64) -> Option<(u64, bool)> {
        // 18 decimals are more than any unit has, and 10^18 times a unit fits 128 bits.
        let digits = self.fraction.get(..self.fraction.len().min(18))?;
        let scale = 10_u128.pow(u32::try_from(digits.len()).ok()?);
        let fraction = if digits.is_empty() { 0 } else { digits.parse::<u128>().ok()? };
        let product = fraction * u128::from(size);
        let is_whole = product % scale == 0
            && self.fraction.bytes().skip(digits.len()).all(|digit| digit == b'0');
        let value =
            self.whole.checked_mul(size)?.checked_add(u64::try_from(product / scale).ok()?)?;
        Some((value, is_whole))
    }
}

/// Whether one letter was left out, put in or exchanged, or two neighbours were swapped.
fn is_one_mistake_away(word: &str, typed: &str) -> bool {
    let (word, typed) = (word.to_ascii_lowercase(), typed.to_ascii_lowercase());
    let (a, b) = (word.as_bytes(), typed.as_bytes());
    let same = a.iter().zip(b).take_while(|(a, b)| a == b).count();
    let (a, b) = (a.get(same..).unwrap_or_default(), b.get(same..).unwrap_or_default());
    match (a, b) {
        ([_, a @ ..], [_, b @ ..]) if a == b => true,
        ([_, a @ ..], b) if a == b => true,
        (a, [_, b @ ..]) if a == b => true,
        ([a1, a2, a @ ..], [b1, b2, b @ ..]) => a1 == b2 && a2 == b1 && a == b,
        _ => false,
    }
}
