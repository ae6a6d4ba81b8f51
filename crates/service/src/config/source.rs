//! The text that a configuration is read from.

use crate::config::problem::Problems;
use crate::config::table::{Entry, Table};
use crate::config::value::{Kind, Value};
use crate::error::{Error, Result};
use std::fs::File;
use std::io::Read;
use std::ops::Range;
use std::path::{Path, PathBuf};
use toml::Spanned;
use toml::de::{DeTable, DeValue};
use zeroize::Zeroizing;

/// The largest configuration: ten thousand ports with every key that there is take less.
const SOURCE_LEN_MAX: usize = 1 << 20;

/// How many places are told of that are no TOML: of a file with more the rest makes no sense.
const FAULTS_MAX: usize = 3;

/// A file, or an option of the command line.
#[derive(Clone, Debug)]
pub struct Source {
    name: String,
    path: PathBuf,
    /// There may be keys in it.
    text: Zeroizing<String>,
}

/// A place in a source, for people.
#[derive(Debug)]
pub struct Place<'a> {
    pub line: usize,
    pub column: usize,
    pub width: usize,
    pub text: &'a str,
}

impl Source {
    /// Reads a file.
    ///
    /// # Errors
    /// That of open(2) or read(2); a file that is too large or not UTF-8 is a mistake at the place
    /// where that shows.
    pub fn read(path: &Path) -> Result<Self> {
        let file = File::open(path)
            .map_err(|error| Error::io("read", path.display().to_string(), &error))?;
        Self::read_from(path, &file)
    }

    /// Reads a file that another one, or a request, names: a regular one only, for nobody may be made
    /// to wait for a pipe.
    ///
    /// # Errors
    /// As [`Source::read`].
    pub fn read_named(path: &Path) -> Result<Self> {
        let file = open_regular(path)
            .map_err(|error| Error::io("read", path.display().to_string(), &error))?;
        Self::read_from(path, &file)
    }

    /// Reads a file that is open already, so that what was looked at is what is read.
    ///
    /// # Errors
    /// As [`Source::read`].
    pub fn read_from(path: &Path, file: impl Read) -> Result<Self> {
        let name = path.display().to_string();
        let failed = |error| Error::io("read", &name, &error);
        let limit = u64::try_from(SOURCE_LEN_MAX).unwrap_or(u64::MAX) + 1;
        // Room for all of it from the start: what a vector leaves behind when it grows is not wiped.
        let mut bytes = Vec::with_capacity(SOURCE_LEN_MAX + 1);
        file.take(limit).read_to_end(&mut bytes).map_err(failed)?;
        let is_too_large = bytes.len() > SOURCE_LEN_MAX;
        // What is shown of a file that is not UTF-8 is the part before the place.
        let (text, wrong) = match String::from_utf8(bytes) {
            Ok(text) => (text, None),
            Err(error) => {
                let end = error.utf8_error().valid_up_to();
                let mut bytes = error.into_bytes();
                bytes.truncate(end);
                (String::from_utf8_lossy(&bytes).into_owned(), Some(end))
            }
        };
        let source = Self { name, path: path.to_owned(), text: text.into() };
        let fault = |span, message: &str, help: String| {
            let problems = Problems::default();
            problems.push(&source, span, message, Some(help));
            problems.check(&source.name)
        };
        if is_too_large {
            let help = format!("the most is {} MiB: is it the right file?", SOURCE_LEN_MAX >> 20);
            fault(0..0, "the file is too large for a configuration", help)?;
        }
        if let Some(at) = wrong {
            fault(at..at, "a byte that is no UTF-8", "save the file as UTF-8".to_owned())?;
        }
        Ok(source)
    }

    /// A text that is at hand; `name` is what mistakes are told of.
    pub fn new(name: impl Into<String>, text: impl Into<String>) -> Self {
        Self { name: name.into(), path: PathBuf::new(), text: Zeroizing::new(text.into()) }
    }

    /// How it is called.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The path of a file that this one names: from the folder that this one is in.
    pub fn beside(&self, path: impl AsRef<Path>) -> PathBuf {
        self.path.parent().unwrap_or(Path::new("")).join(path)
    }

    /// Reads it as TOML; what is wrong goes to `problems`, and the rest can be used.
    pub fn parse<'a>(&'a self, problems: &'a Problems) -> Table<'a> {
        let (table, errors) = DeTable::parse_recoverable(&self.text);
        for error in errors.iter().take(FAULTS_MAX) {
            let span = error.span().unwrap_or(0..0);
            problems.push(self, span, error.message(), None);
        }
        if errors.len() > FAULTS_MAX {
            // What else it says would be told of as keys that nobody wrote.
            let message = format!("{} more places are no TOML", errors.len() - FAULTS_MAX);
            let help = Some("is it the right file?".to_owned());
            problems.push(self, self.text.len()..self.text.len(), message, help);
            return Table::new(self, problems, String::new(), 0..0, Vec::new());
        }
        Table::new(self, problems, String::new(), 0..0, entries(self, table.into_inner()))
    }

    /// Reads it as `key=value,key,key=value`, the options of a port on the command line, from the
    /// byte `from` on. A key alone is `true`; a comma inside a value is written twice.
    pub fn words<'a>(&'a self, from: usize, problems: &'a Problems) -> Table<'a> {
        let text = self.text.get(from..).unwrap_or_default();
        self.words_in((text, from), ',', problems)
    }

    /// The same of a text that stands at the byte `at` of it, between single `separator`s; of a
    /// request, which has no places, nowhere.
    pub fn words_in<'a>(
        &'a self,
        (text, at): (&str, usize),
        separator: char,
        problems: &'a Problems,
    ) -> Table<'a> {
        let place = |start: usize, end: usize| {
            if self.text.is_empty() { 0..0 } else { at + start..at + end }
        };
        let mut entries: Vec<Entry<'a>> = Vec::new();
        for span in words_of(text, separator) {
            let word = text.get(span.clone()).unwrap_or_default();
            let (key, value) = match word.split_once('=') {
                Some((key, value)) => (key, Some(value)),
                None => (word, None),
            };
            let key_end = span.start + key.len();
            let key_span = place(span.start, key_end);
            let (value_span, kind) = match value {
                Some(value) => {
                    (place(key_end + 1, span.end), Kind::Word(unescaped(value, separator).into()))
                }
                None => (key_span.clone(), Kind::Boolean(true)),
            };
            if key.is_empty() {
                problems.push(self, key_span, "a key is missing here", None);
            } else if entries.iter().any(|entry| entry.key == key) {
                problems.push(self, key_span, format_args!("`{key}` is given twice"), None);
            } else {
                let value = Value { source: self, span: value_span, kind };
                entries.push(Entry { key: key.to_owned().into(), key_span, value });
            }
        }
        Table::new(self, problems, String::new(), place(0, text.len()), entries)
    }

    /// Reads it as the text of the option `key`, or of several: `--delay 20ms` is the entry `delay`.
    pub fn option<'a>(&'a self, key: &'a str) -> Entry<'a> {
        let span = 0..self.text.len();
        let value = Value { source: self, span, kind: Kind::Word(self.text.as_str().into()) };
        Entry { key: key.into(), key_span: 0..0, value }
    }

    /// A table of entries that were read elsewhere.
    pub fn table<'a>(&'a self, entries: Vec<Entry<'a>>, problems: &'a Problems) -> Table<'a> {
        Table::new(self, problems, String::new(), 0..0, entries)
    }

    /// What somebody in the folder `folder` asks for at a control socket.
    pub fn request(folder: &Path) -> Self {
        Self {
            name: "request".to_owned(),
            path: folder.join("request"),
            text: Zeroizing::default(),
        }
    }

    /// Reads a JSON object; there mistakes have no place but the name of their key.
    pub fn json<'a>(
        &'a self,
        object: &serde_json::Map<String, serde_json::Value>,
        problems: &'a Problems,
    ) -> Table<'a> {
        Table::new(self, problems, String::new(), 0..0, json_entries(self, object))
    }

    /// Where the bytes `span` are.
    pub fn place(&self, span: Range<usize>) -> Place<'_> {
        let mut at = span.start.min(self.text.len());
        while !self.text.is_char_boundary(at) {
            at -= 1;
        }
        let (before, after) = self.text.split_at(at);
        let line_start = before.rfind('\n').map_or(0, |end| end + 1);
        let line_end = after.find('\n').map_or(self.text.len(), |end| at + end);
        let text = self.text.get(line_start..line_end).unwrap_or_default();
        let text = text.trim_end_matches('\r').trim_start_matches('\u{feff}');
        let head = before.get(line_start..).unwrap_or_default().trim_start_matches('\u{feff}');
        let end = span.end.clamp(at, line_end);
        Place {
            line: before.matches('\n').count() + 1,
            column: head.chars().count() + 1,
            width: self.text.get(at..end).map_or(1, |part| part.chars().count()),
            text,
        }
    }
}

/// Opens a file for reading if it is a regular one, without waiting.
pub fn open_regular(path: &Path) -> std::io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    let flags = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).unwrap_or(0);
    let file = std::fs::OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    if file.metadata()?.is_file() {
        return Ok(file);
    }
    Err(std::io::Error::other("it is no regular file"))
}

/// The entries of a table in the order in which they stand in the file.
fn entries<'a>(source: &'a Source, table: DeTable<'a>) -> Vec<Entry<'a>> {
    let mut entries: Vec<Entry<'a>> = table
        .into_iter()
        .map(|(key, value)| {
            let key_span = key.span();
            Entry { key: key.into_inner(), key_span, value: read(source, value) }
        })
        .collect();
    entries.sort_by_key(|entry| entry.key_span.start);
    entries
}

fn read<'a>(source: &'a Source, value: Spanned<DeValue<'a>>) -> Value<'a> {
    let span = value.span();
    let kind = match value.into_inner() {
        DeValue::String(text) => Kind::Text(text),
        DeValue::Integer(number) => i128::from_str_radix(number.as_str(), number.radix())
            .map_or(Kind::Other("a number that is too large"), Kind::Integer),
        DeValue::Float(number) => {
            number.as_str().parse().map_or(Kind::Other("a number that is too large"), Kind::Float)
        }
        DeValue::Boolean(is) => Kind::Boolean(is),
        DeValue::Datetime(_) => Kind::Other("a date"),
        DeValue::Array(list) => {
            Kind::List(list.into_iter().map(|value| read(source, value)).collect())
        }
        DeValue::Table(table) => Kind::Table(entries(source, table)),
    };
    Value { source, span, kind }
}

fn json_entries<'a>(
    source: &'a Source,
    object: &serde_json::Map<String, serde_json::Value>,
) -> Vec<Entry<'a>> {
    let entry = |(key, value): (&String, &serde_json::Value)| {
        let value = json_value(source, value);
        Entry { key: key.clone().into(), key_span: 0..0, value }
    };
    object.iter().map(entry).collect()
}

fn json_value<'a>(source: &'a Source, value: &serde_json::Value) -> Value<'a> {
    use serde_json::Value as Json;
    let kind = match value {
        Json::Null => Kind::Other("null"),
        Json::Bool(is) => Kind::Boolean(*is),
        Json::Number(number) => match number.as_i128() {
            Some(whole) => Kind::Integer(whole),
            None => number.as_f64().map_or(Kind::Other("a number"), Kind::Float),
        },
        // As on the command line: who asks with curl need not know which values are numbers.
        Json::String(text) => Kind::Word(text.clone().into()),
        Json::Array(list) => Kind::List(list.iter().map(|one| json_value(source, one)).collect()),
        Json::Object(object) => Kind::Table(json_entries(source, object)),
    };
    Value { source, span: 0..0, kind }
}

/// The parts of a text between single separators; a doubled one is none.
fn words_of(text: &str, separator: char) -> Vec<Range<usize>> {
    let mut words = Vec::new();
    if text.is_empty() {
        return words;
    }
    let mut start = 0;
    let mut rest = text.char_indices().peekable();
    while let Some((at, c)) = rest.next() {
        if c == separator && rest.next_if(|&(_, next)| next == separator).is_none() {
            words.push(start..at);
            start = at + 1;
        }
    }
    words.push(start..text.len());
    words
}

/// The text with doubled separators as one.
fn unescaped(text: &str, separator: char) -> String {
    text.replace(&format!("{separator}{separator}"), &separator.to_string())
}
