//! Keys and values as they were read, before their types are checked.

use crate::config::problems::Problems;
use crate::config::source::{FilesRefused, Source};
use std::borrow::Cow;
use std::fmt::{self, Display};
use std::ops::Range;

/// A key and its value.
#[derive(Clone, Debug)]
pub struct Entry<'a> {
    /// The key.
    pub key: Cow<'a, str>,
    /// The bytes of the source that are the key.
    pub key_span: Range<usize>,
    /// The value.
    pub value: Value<'a>,
}

/// A value and where it stands.
#[derive(Clone, Debug)]
pub struct Value<'a> {
    /// What it was read from.
    pub source: &'a Source,
    /// The bytes of the source that are the value.
    pub span: Range<usize>,
    /// Its type and content.
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
        Self::new(format_args!("must be {what}, not {}", value.type_name()))
    }
}

impl From<FilesRefused> for Wrong {
    fn from(refused: FilesRefused) -> Self {
        Self::new(refused)
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

    /// What it was read from.
    pub fn source(&self) -> &'a Source {
        self.source
    }

    /// Reports the error in it, as the value of `key`.
    pub fn wrong(&self, key: &str, wrong: Wrong, problems: &Problems) {
        // Text between simple quotes begins after them; with escapes or parameters, its bytes are elsewhere.
        let quoted = self.source.text().get(self.span.clone()).unwrap_or_default();
        let skipped = self.as_text().map_or(Some(0), |text| quoted.find(text));
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
