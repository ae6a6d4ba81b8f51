//! The types of values. Each function is for [`Table::get`](crate::config::table::Table::get).

pub use crate::config::entry::{Kind, Value, Wrong};
use crate::config::suggest::nearest;
use adit_device::MacAddr;
use adit_packet::units::{self, Bitrate, UnitError};
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

/// A text.
pub fn text(value: &Value<'_>) -> Result<String, Wrong> {
    match value.as_text() {
        Some("") => Err(Wrong::new("is empty")),
        Some(text) => Ok(text.to_owned()),
        None => Err(Wrong::expected("a text in quotes", value)),
    }
}

/// `true` or `false`.
pub fn boolean(value: &Value<'_>) -> Result<bool, Wrong> {
    match &value.kind {
        Kind::Boolean(is) => Ok(*is),
        Kind::Word(word) if matches!(&**word, "true" | "on" | "yes") => Ok(true),
        Kind::Word(word) if matches!(&**word, "false" | "off" | "no") => Ok(false),
        Kind::Word(_) => Err(Wrong::expected("on or off", value)),
        Kind::Text(text) if matches!(&**text, "true" | "false") => {
            Err(Wrong::expected("true or false", value).help("without quotes"))
        }
        _ => Err(Wrong::expected("true or false", value)),
    }
}

/// A whole number within `range`.
pub fn integer<T>(range: RangeInclusive<T>) -> impl Fn(&Value<'_>) -> Result<T, Wrong>
where
    T: TryFrom<i128> + Display + PartialOrd,
{
    move |value| {
        let number = match &value.kind {
            Kind::Integer(number) => Some(*number),
            Kind::Word(text) => text.parse().ok().or_else(|| count(text)),
            // A quoted number is a mistake, one with a unit is not.
            Kind::Text(text) if text.ends_with(char::is_alphabetic) => count(text),
            _ => None,
        };
        let Some(number) = number else {
            let wrong = Wrong::expected("a whole number", value);
            let is_quoted = value.as_text().is_some_and(|text| text.parse::<i128>().is_ok());
            return Err(if is_quoted { wrong.help("without quotes") } else { wrong });
        };
        let fits = T::try_from(number).ok().filter(|number| range.contains(number));
        fits.ok_or_else(|| {
            let (from, to) = (range.start(), range.end());
            Wrong::new(format_args!("must be from {from} to {to}, not {number}"))
        })
    }
}

/// `10k` as a number.
fn count(text: &str) -> Option<i128> {
    units::parse_count(text).ok().map(i128::from)
}

/// A number within `range`, whole or not.
pub fn number(range: RangeInclusive<f64>) -> impl Fn(&Value<'_>) -> Result<f64, Wrong> {
    move |value| {
        let number = match &value.kind {
            #[expect(
                clippy::cast_precision_loss,
                reason = "checked against a range of small numbers"
            )]
            Kind::Integer(number) => Some(*number as f64),
            Kind::Float(number) => Some(*number),
            Kind::Word(word) => word.parse().ok(),
            _ => None,
        };
        let number = number.ok_or_else(|| Wrong::expected("a number", value))?;
        if range.contains(&number) {
            return Ok(number);
        }
        let (from, to) = (range.start(), range.end());
        Err(Wrong::new(format_args!("must be from {from} to {to}, not {number}")))
    }
}

/// One of `words`, each of which stands for something.
pub fn one_of<'w, T: Clone>(
    words: &'w [(&'w str, T)],
) -> impl Fn(&Value<'_>) -> Result<T, Wrong> + 'w {
    move |value| {
        let known = || words.iter().map(|(word, _)| *word);
        let list = || format!("one of: {}", known().collect::<Vec<_>>().join(", "));
        let Some(text) = value.as_text() else {
            return Err(Wrong::expected("a word in quotes", value).help(list()));
        };
        if let Some((_, meaning)) = words.iter().find(|(word, _)| *word == text) {
            return Ok(meaning.clone());
        }
        let help = match nearest(text, known()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => list(),
        };
        Err(Wrong::new(format_args!("cannot be `{text}`")).help(help))
    }
}

/// The word for a value, as [`one_of`] reads it.
pub fn word_of<T: PartialEq>(words: &[(&'static str, T)], value: &T) -> &'static str {
    words.iter().find(|(_, meaning)| meaning == value).map_or("", |(word, _)| *word)
}

/// What a text is parsed to, `what` in a few words with an example.
pub fn parsed<T: FromStr>(what: &'static str) -> impl Fn(&Value<'_>) -> Result<T, Wrong>
where
    T::Err: Display,
{
    move |value| {
        let text = value.as_text().ok_or_else(|| Wrong::expected(what, value))?;
        text.parse().map_err(|error: T::Err| {
            Wrong::new(format_args!("must be {what}, not `{text}`")).help(error)
        })
    }
}

/// A MAC address.
pub fn mac(value: &Value<'_>) -> Result<MacAddr, Wrong> {
    parsed("a MAC address as \"02:00:00:00:00:01\"")(value)
}

/// The path of a file, from the folder of the one that names it.
pub fn path(value: &Value<'_>) -> Result<PathBuf, Wrong> {
    Ok(value.source().beside(text(value)?)?)
}

/// A duration: `"20ms"`, `"5m"`.
pub fn duration(value: &Value<'_>) -> Result<Duration, Wrong> {
    quantity(value, "a duration", "ms", units::parse_duration)
}

/// A number of bytes: `"64KiB"`, `"10k"`; a number alone is bytes.
pub fn size(value: &Value<'_>) -> Result<u64, Wrong> {
    if let Kind::Integer(number) = value.kind {
        return u64::try_from(number).map_err(|_| Wrong::new("must not be negative"));
    }
    quantity(value, "a size", "MB", units::parse_size)
}

/// Bits per second: `"100mbit"`.
pub fn rate(value: &Value<'_>) -> Result<Bitrate, Wrong> {
    quantity(value, "a bit rate", "mbit", str::parse)
}

/// A share of all, from 0 to 1: `"2.5%"` or `0.025`.
pub fn share(value: &Value<'_>) -> Result<f64, Wrong> {
    match &value.kind {
        Kind::Float(number) if (0.0..1.0).contains(number) => Ok(*number),
        Kind::Integer(0) => Ok(0.0),
        Kind::Integer(number) => {
            Err(Wrong::expected("a share", value).help(format_args!("did you mean \"{number}%\"?")))
        }
        Kind::Float(number) => Err(Wrong::expected("a share from 0 to below 1", value)
            .help(format_args!("did you mean \"{number}%\"?"))),
        Kind::Text(_) | Kind::Word(_) => quantity(value, "a share", "%", units::parse_share),
        _ => Err(Wrong::expected("a share as \"1%\"", value)),
    }
}

fn quantity<T>(
    value: &Value<'_>,
    what: &str,
    example: &str,
    parse: impl Fn(&str) -> Result<T, UnitError>,
) -> Result<T, Wrong> {
    match (value.as_text(), &value.kind) {
        (Some(""), _) => Err(Wrong::new("is empty")),
        (Some(text), _) => parse(text).map_err(|error| Wrong {
            message: format!("must be {what}: {}", error.message()),
            help: error.help().map(str::to_owned),
            part: Some(error.part()),
        }),
        (None, Kind::Integer(number)) => {
            Err(Wrong::expected(&format!("{what} with its unit"), value)
                .help(format_args!("did you mean \"{number}{example}\"?")))
        }
        _ => Err(Wrong::expected(&format!("{what} as \"20{example}\""), value)),
    }
}
