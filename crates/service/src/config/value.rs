//! Values of a configuration, and what they can be read as.
//!
//! Each function here is for [`Table::get`](crate::config::table::Table::get); those that read a text are also for
//! the command line.

use crate::config::problem::Problems;
use crate::config::source::Source;
use crate::config::suggest::nearest;
use crate::config::table::Entry;
use crate::config::table::Table;
use adit_device::MacAddr;
use std::borrow::Cow;
use std::fmt::{self, Display};
use std::ops::{Range, RangeInclusive};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

/// A value and where it stands.
#[derive(Clone, Debug)]
pub struct Value<'a> {
    pub source: &'a Source,
    pub span: Range<usize>,
    pub kind: Kind<'a>,
}

/// What a value is.
#[derive(Clone, Debug)]
pub enum Kind<'a> {
    /// A string of TOML.
    Text(Cow<'a, str>),
    /// From the command line, where nothing tells a number from a string.
    Word(Cow<'a, str>),
    /// A whole number.
    Integer(i128),
    /// A number with a point.
    Float(f64),
    /// `true` or `false`.
    Boolean(bool),
    /// Values in brackets, or tables of one name.
    List(Vec<Value<'a>>),
    /// Keys and values.
    Table(Vec<Entry<'a>>),
    /// What nothing here takes, and what it is.
    Other(&'static str),
}

/// Why a value is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong {
    /// What is wrong.
    pub message: String,
    /// What may have been meant, or what helps.
    pub help: Option<String>,
    /// The bytes of the text that are wrong, if not all.
    pub part: Option<Range<usize>>,
}

impl Wrong {
    /// A reason without help.
    pub fn new(message: impl Display) -> Self {
        Self { message: message.to_string(), help: None, part: None }
    }

    /// With what helps.
    pub fn help(self, help: impl Display) -> Self {
        Self { help: Some(help.to_string()), ..self }
    }

    /// Only these bytes of the text are wrong.
    pub fn part(self, part: Range<usize>) -> Self {
        Self { part: Some(part), ..self }
    }

    /// A value of the wrong type.
    pub fn expected(what: &str, value: &Value<'_>) -> Self {
        Self::new(format_args!("is to be {what}, not {}", value.type_name()))
    }
}

impl Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        self.help.as_ref().map_or(Ok(()), |help| write!(f, ": {help}"))
    }
}

impl<'a> Value<'a> {
    /// The text of a string, or of a word of the command line.
    pub fn as_text(&self) -> Option<&str> {
        match &self.kind {
            Kind::Text(text) | Kind::Word(text) => Some(text),
            _ => None,
        }
    }

    /// The text of what is no list and no table, as the command line would have it.
    pub fn plain(&self) -> Option<String> {
        match &self.kind {
            Kind::Text(text) | Kind::Word(text) => Some(text.clone().into_owned()),
            Kind::Integer(number) => Some(number.to_string()),
            Kind::Float(number) => Some(number.to_string()),
            Kind::Boolean(is) => Some(is.to_string()),
            Kind::List(_) | Kind::Table(_) | Kind::Other(_) => None,
        }
    }

    /// The same as a table by this name: one of a file; `key=value,key` as the whole text of an
    /// option, `key=value+key` within one.
    pub fn as_table(&self, name: &str, problems: &'a Problems) -> Option<Table<'a>> {
        match &self.kind {
            Kind::Table(entries) => {
                let (span, entries) = (self.span.clone(), entries.clone());
                Some(Table::new(self.source, problems, name.to_owned(), span, entries))
            }
            Kind::Word(text) if text.contains('=') => {
                let is_whole = self.span == (0..text.len());
                let separator = if is_whole { ',' } else { '+' };
                Some(self.source.words_in((text, self.span.start), separator, problems))
            }
            _ => None,
        }
    }

    /// What it was read from.
    pub fn source(&self) -> &'a Source {
        self.source
    }

    /// Tells of the mistake in it, as the value of `key`.
    pub fn wrong(&self, key: &str, wrong: Wrong, problems: &Problems) {
        // Text between simple quotes begins after them; with escapes, its bytes are elsewhere.
        let quoted = self.source.text().get(self.span.clone()).unwrap_or_default();
        let skipped = match &self.kind {
            Kind::Text(text) => quoted.find(&**text),
            _ => Some(0),
        };
        let span = match (wrong.part, skipped) {
            (Some(part), Some(skipped)) => {
                let start = self.span.start + skipped;
                start + part.start..start + part.end
            }
            _ => self.span.clone(),
        };
        problems.push(self.source, span, format_args!("`{key}` {}", wrong.message), wrong.help);
    }

    /// The words of a list on the command line, as `10+20`.
    pub fn split(&self, words: &str) -> Vec<Self> {
        let mut at = self.span.start;
        let one = |word: &str| {
            let span = at..at + word.len();
            at = span.end + 1;
            Self { source: self.source, span, kind: Kind::Word(word.to_owned().into()) }
        };
        words.split('+').map(one).collect()
    }

    fn type_name(&self) -> Cow<'static, str> {
        match &self.kind {
            Kind::Text(text) if text.len() > 40 => "a long text".into(),
            Kind::Word(text) if text.len() > 40 => "a long word".into(),
            Kind::Text(text) => format!("the text \"{text}\"").into(),
            Kind::Word(text) => format!("`{text}`").into(),
            Kind::Integer(number) => format!("the number {number}").into(),
            Kind::Float(number) => format!("the number {number}").into(),
            Kind::Boolean(is) => if *is { "true" } else { "false" }.into(),
            Kind::List(_) => "a list".into(),
            Kind::Table(_) => "a table".into(),
            Kind::Other(what) => (*what).into(),
        }
    }
}

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
            Kind::Word(word) => word.parse().ok(),
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
            Wrong::new(format_args!("is to be from {from} to {to}, not {number}"))
        })
    }
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
        Err(Wrong::new(format_args!("is to be from {from} to {to}, not {number}")))
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

/// What a text is parsed to, `what` in a few words with an example.
pub fn parsed<T: FromStr>(what: &'static str) -> impl Fn(&Value<'_>) -> Result<T, Wrong>
where
    T::Err: Display,
{
    move |value| {
        let text = value.as_text().ok_or_else(|| Wrong::expected(what, value))?;
        text.parse().map_err(|error: T::Err| {
            Wrong::new(format_args!("is to be {what}, not `{text}`")).help(error)
        })
    }
}

/// A MAC address.
pub fn mac(value: &Value<'_>) -> Result<MacAddr, Wrong> {
    parsed("a MAC address as \"02:00:00:00:00:01\"")(value)
}

/// The path of a file, from the folder of the one that names it.
pub fn path(value: &Value<'_>) -> Result<PathBuf, Wrong> {
    Ok(value.source().beside(text(value)?))
}

/// A time, as `"20ms"`.
pub fn duration(value: &Value<'_>) -> Result<Duration, Wrong> {
    quantity(value, "a time", "ms", parse_duration)
}

/// A time of which most people mean seconds, as `"60s"`.
pub fn long_duration(value: &Value<'_>) -> Result<Duration, Wrong> {
    let parse = |text: &str| parse_quantity(text, &TIMES, None, "s").map(Duration::from_nanos);
    quantity(value, "a time", "s", parse)
}

/// A number of bytes, as `"64KiB"`; a number alone is bytes.
pub fn size(value: &Value<'_>) -> Result<u64, Wrong> {
    if let Kind::Integer(number) = value.kind {
        return u64::try_from(number).map_err(|_| Wrong::new("is below 0"));
    }
    quantity(value, "a size", "MB", parse_size)
}

/// Bits in a second, as `"100mbit"`.
pub fn rate(value: &Value<'_>) -> Result<u64, Wrong> {
    quantity(value, "a rate", "mbit", parse_rate)
}

/// A share of all, from 0 to 1: `"2.5%"` or `0.025`.
pub fn share(value: &Value<'_>) -> Result<f64, Wrong> {
    match &value.kind {
        Kind::Float(number) if (0.0..1.0).contains(number) => Ok(*number),
        Kind::Integer(0) => Ok(0.0),
        Kind::Integer(number) => Err(Wrong::expected("a share", value)
            .help(format_args!("for one in a hundred write \"1%\": \"{number}%\""))),
        Kind::Float(number) => Err(Wrong::expected("a share from 0 to below 1", value)
            .help(format_args!("did you mean \"{number}%\"?"))),
        Kind::Text(_) | Kind::Word(_) => parse_share(value.as_text().unwrap_or_default())
            .map_err(|wrong| told("a share", value, wrong)),
        _ => Err(Wrong::expected("a share as \"1%\"", value)),
    }
}

/// A unit and how many of the smallest it is.
type Unit = (&'static str, u64);

/// Times in nanoseconds.
const TIMES: [Unit; 7] = [
    ("ns", 1),
    ("us", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("min", 60_000_000_000),
    ("h", 3_600_000_000_000),
    ("d", 86_400_000_000_000),
];

/// Sizes in bytes.
const SIZES: [Unit; 7] = [
    ("B", 1),
    ("kB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
];

/// Rates in bits a second, named as tc names them.
const RATES: [Unit; 4] =
    [("bit", 1), ("kbit", 1_000), ("mbit", 1_000_000), ("gbit", 1_000_000_000)];

/// `20ms`, `1.5s`, `5min`.
pub fn parse_duration(text: &str) -> Result<Duration, Wrong> {
    parse_quantity(text, &TIMES, None, "ms").map(Duration::from_nanos)
}

/// `1500`, `64KiB`, `10MB`.
pub fn parse_size(text: &str) -> Result<u64, Wrong> {
    parse_quantity(text, &SIZES, Some("B"), "B")
}

/// `100mbit`, `1.5gbit`, `0.5mbit/s`.
pub fn parse_rate(text: &str) -> Result<u64, Wrong> {
    parse_quantity(text.strip_suffix("/s").unwrap_or(text), &RATES, None, "mbit")
}

/// `2.5%` or `0.025`.
pub fn parse_share(text: &str) -> Result<f64, Wrong> {
    let (number, factor) = match text.strip_suffix('%') {
        Some(number) => (number.trim_end(), 0.01),
        None => (text, 1.0),
    };
    let number: f64 = decimal(number)
        .and_then(|_| number.parse().ok())
        .ok_or_else(|| Wrong::new(format_args!("`{text}` is no share")).help("write it as 2.5%"))?;
    let share = number * factor;
    match text.strip_suffix('%') {
        _ if share > 1.0 => {
            let wrong = Wrong::new(format_args!("`{text}` is more than all"));
            Err(if factor < 1.0 {
                wrong
            } else {
                wrong.help(format_args!("did you mean {text}%?"))
            })
        }
        None if number > 0.0 && number.fract() == 0.0 => {
            Err(Wrong::new(format_args!("`{text}` may be a share of all or in a hundred"))
                .help(format_args!("did you mean {text}%?")))
        }
        _ => Ok(share),
    }
}

fn quantity<T>(
    value: &Value<'_>,
    what: &str,
    example: &str,
    parse: impl Fn(&str) -> Result<T, Wrong>,
) -> Result<T, Wrong> {
    match &value.kind {
        Kind::Text(_) | Kind::Word(_) => {
            parse(value.as_text().unwrap_or_default()).map_err(|wrong| told(what, value, wrong))
        }
        Kind::Integer(number) => Err(Wrong::expected(&format!("{what} with its unit"), value)
            .help(format_args!("did you mean \"{number}{example}\"?"))),
        _ => Err(Wrong::expected(&format!("{what} as \"20{example}\""), value)),
    }
}

/// The mistake of a text, as part of a sentence that begins with the key.
fn told(what: &str, value: &Value<'_>, wrong: Wrong) -> Wrong {
    let text = value.as_text().unwrap_or_default();
    let message = if text.is_empty() {
        "is empty".to_owned()
    } else {
        format!("is to be {what}: {}", wrong.message)
    };
    Wrong { message, ..wrong }
}

/// A decimal number and a unit as a whole number of the smallest unit; without a unit `default`, and
/// if there is none, `example` may have been meant.
fn parse_quantity(
    text: &str,
    units: &[Unit],
    default: Option<&str>,
    example: &str,
) -> Result<u64, Wrong> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let unit_span = end..text.len();
    let unit = unit.trim();
    let known = || units.iter().map(|(unit, _)| *unit);
    let list = || known().collect::<Vec<_>>().join(", ");
    let Some((whole, fraction)) = decimal(number) else {
        let wrong = Wrong::new(format_args!("`{text}` is no number with a unit"));
        return Err(wrong.help(format_args!("the units are {}", list())));
    };
    let unit = match (unit, default) {
        ("", Some(default)) => default,
        ("", None) => {
            let wrong = Wrong::new(format_args!("`{text}` has no unit"));
            return Err(wrong.help(format_args!("did you mean {text}{example}?")));
        }
        (unit, _) => unit,
    };
    // People write Mbit and KBIT; only of bytes does the case make a difference, and there not two.
    let found = units.iter().find(|(known, _)| known.eq_ignore_ascii_case(unit));
    let Some((_, factor)) = found else {
        let wrong = Wrong::new(format_args!("`{unit}` is no unit of it")).part(unit_span);
        let is_meant = |(alias, meant): &&(&str, &str)| {
            alias.eq_ignore_ascii_case(unit) && known().any(|known| known == *meant)
        };
        let near = (ALIASES.iter().find(is_meant))
            .map(|(_, meant)| *meant)
            .or_else(|| nearest(unit, known()));
        return Err(match near {
            Some(near) => wrong.help(format_args!("did you mean {number}{near}?")),
            None => wrong.help(format_args!("the units are {}", list())),
        });
    };
    whole
        .checked_mul(*factor)
        .zip(fraction_of(fraction, *factor))
        .and_then(|(whole, part)| whole.checked_add(part))
        .ok_or_else(|| Wrong::new(format_args!("`{text}` is too large")))
}

/// What others call a unit.
const ALIASES: [(&str, &str); 27] = [
    ("msec", "ms"),
    ("millis", "ms"),
    ("usec", "us"),
    ("µs", "us"),
    ("nsec", "ns"),
    ("sec", "s"),
    ("secs", "s"),
    ("seconds", "s"),
    ("m", "min"),
    ("m", "mbit"),
    ("k", "kB"),
    ("m", "MB"),
    ("g", "GB"),
    ("ki", "KiB"),
    ("mi", "MiB"),
    ("gi", "GiB"),
    ("kb", "kbit"),
    ("minutes", "min"),
    ("hours", "h"),
    ("days", "d"),
    ("kbps", "kbit"),
    ("mbps", "mbit"),
    ("gbps", "gbit"),
    ("k", "kbit"),
    ("g", "gbit"),
    ("mb", "mbit"),
    ("bps", "bit"),
];

/// The digits before and after the point.
fn decimal(number: &str) -> Option<(u64, &str)> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let has_digits = !whole.is_empty() || !fraction.is_empty();
    if !has_digits || !digits(whole) || !digits(fraction) {
        return None;
    }
    let whole = if whole.is_empty() { "0" } else { whole };
    Some((whole.parse().ok()?, fraction))
}

/// `0.fraction` of `factor`, rounded down.
fn fraction_of(fraction: &str, factor: u64) -> Option<u64> {
    // 18 digits are more than any factor has, and 10^18 of them fit.
    let digits = fraction.get(..fraction.len().min(18))?;
    let count = u32::try_from(digits.len()).ok()?;
    let number = if digits.is_empty() { 0 } else { digits.parse::<u128>().ok()? };
    u64::try_from(number * u128::from(factor) / 10u128.pow(count)).ok()
}
