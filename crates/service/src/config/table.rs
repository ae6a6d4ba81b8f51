//! A table of a configuration, asked key by key.

use crate::config::entry::{Entry, Kind, Value, Wrong};
use crate::config::problems::Problems;
use crate::config::source::Source;
use crate::config::suggest::nearest;
use crate::config::words;
use std::fmt;
use std::ops::Range;

/// A table of which the known keys are asked for, one by one; [`Table::finish`] reports the rest.
#[derive(Debug)]
#[must_use = "`finish` reports unknown keys"]
pub struct Table<'a> {
    source: &'a Source,
    problems: &'a Problems,
    /// How the table is called: empty at the top, else as `[switch]`.
    name: String,
    span: Range<usize>,
    entries: Vec<Entry<'a>>,
    known: Vec<&'static str>,
    missing: Vec<&'static str>,
}

impl<'a> Table<'a> {
    /// The table at the top of `source`.
    pub(super) const fn new(
        source: &'a Source,
        problems: &'a Problems,
        entries: Vec<Entry<'a>>,
    ) -> Self {
        Self::within(source, problems, String::new(), 0..0, entries)
    }

    const fn within(
        source: &'a Source,
        problems: &'a Problems,
        name: String,
        span: Range<usize>,
        entries: Vec<Entry<'a>>,
    ) -> Self {
        Self { source, problems, name, span, entries, known: Vec::new(), missing: Vec::new() }
    }

    /// A value as a table called `name`: one of a file; `key=value,key` as the whole text of an option,
    /// `key=value+key` within one. `None` if it is something else.
    pub fn of_value(name: &str, value: &Value<'a>, problems: &'a Problems) -> Option<Self> {
        let (source, span) = (value.source, value.span.clone());
        match &value.kind {
            Kind::Table(entries) => {
                Some(Self::within(source, problems, name.to_owned(), span, entries.clone()))
            }
            Kind::Word(text) if text.contains('=') => {
                let is_whole = span == (0..text.len());
                let separator = if is_whole { ',' } else { '+' };
                let entries = words::entries(source, (text, span.start), separator, problems);
                let span = if source.text().is_empty() { 0..0 } else { span };
                Some(Self::within(source, problems, String::new(), span, entries))
            }
            _ => None,
        }
    }

    /// What it was read from.
    pub fn source(&self) -> &'a Source {
        self.source
    }

    /// Where its mistakes go.
    pub fn problems(&self) -> &'a Problems {
        self.problems
    }

    /// Whether the key is there; it is known by that.
    pub fn has(&mut self, key: &'static str) -> bool {
        self.value(key).is_some()
    }

    /// Whether the key is there; it need not be known.
    pub fn contains(&self, key: &str) -> bool {
        self.entries.iter().any(|entry| is_same(&entry.key, key))
    }

    /// The value of a key, as it stands; `None` if the key is not there.
    pub fn value(&mut self, key: &'static str) -> Option<&Value<'a>> {
        if !self.known.contains(&key) {
            self.known.push(key);
        }
        self.entries.iter().find(|entry| is_same(&entry.key, key)).map(|entry| &entry.value)
    }

    /// What `read` makes of the value of a key; `None` if it is not there, or wrong.
    pub fn get<T>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(&Value<'a>) -> Result<T, Wrong>,
    ) -> Option<T> {
        let problems = self.problems;
        let value = self.value(key)?;
        read(value).map_err(|wrong| value.wrong(key, wrong, problems)).ok()
    }

    /// As [`Table::get`] of a key that must be there.
    pub fn required<T>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(&Value<'a>) -> Result<T, Wrong>,
    ) -> Option<T> {
        if !self.has(key) {
            self.missing.push(key);
        }
        self.get(key, read)
    }

    /// What `read` makes of each value of a list; one value alone is a list as well. Wrong ones are
    /// told of and left out.
    pub fn list<T>(
        &mut self,
        key: &'static str,
        read: impl Fn(&Value<'a>) -> Result<T, Wrong>,
    ) -> Vec<T> {
        let problems = self.problems;
        let Some(value) = self.value(key) else { return Vec::new() };
        let read =
            |value: &Value<'a>| read(value).map_err(|wrong| value.wrong(key, wrong, problems)).ok();
        match &value.kind {
            Kind::List(list) => list.iter().filter_map(read).collect(),
            Kind::Word(words) => value.split(words).iter().filter_map(read).collect(),
            _ => read(value).into_iter().collect(),
        }
    }

    /// The table of a key; `None` if it is not there, or no table.
    pub fn table(&mut self, key: &'static str) -> Option<Self> {
        let (problems, name) = (self.problems, self.path(key));
        let value = self.value(key)?;
        let table = Self::of_value(&name, value, problems);
        if table.is_none() {
            let help = Some(format!("write it as `[{name}]` on a line of its own"));
            let wrong = Wrong { help, ..Wrong::expected("a table", value) };
            value.wrong(key, wrong, problems);
        }
        table
    }

    /// The tables of a key that may be there more than once, as `[[port]]`.
    pub fn tables(&mut self, key: &'static str) -> Vec<Self> {
        let (source, problems, name) = (self.source, self.problems, self.path(key));
        let Some(value) = self.value(key) else { return Vec::new() };
        let one = |value: &Value<'a>| match &value.kind {
            Kind::Table(entries) => {
                let (span, entries) = (value.span.clone(), entries.clone());
                Some(Self::within(source, problems, name.clone(), span, entries))
            }
            _ => {
                let help = Some(format!("write each as `[[{name}]]` on a line of its own"));
                let wrong = Wrong { help, ..Wrong::expected("a table", value) };
                value.wrong(key, wrong, problems);
                None
            }
        };
        match &value.kind {
            Kind::List(list) => list.iter().filter_map(one).collect(),
            _ => one(value).into_iter().collect(),
        }
    }

    /// Reports an error in the value of a key that shows only beside others; without the key, in the
    /// table.
    pub fn wrong(&self, key: &str, message: impl fmt::Display, help: impl Into<Option<String>>) {
        let entry = self.entries.iter().find(|entry| is_same(&entry.key, key));
        let span = entry.map_or(self.span.clone(), |entry| entry.value.span.clone());
        self.problems.push(self.source, span, message, help.into());
    }

    /// Its entries, in the order in which they stand.
    pub fn entries(&self) -> &[Entry<'a>] {
        &self.entries
    }

    /// Its entries, in the order in which they stand.
    #[must_use]
    pub fn into_entries(self) -> Vec<Entry<'a>> {
        self.entries
    }

    /// Its keys, in the order in which they stand.
    pub fn keys(self) -> Vec<String> {
        self.entries.into_iter().map(|entry| entry.key.into_owned()).collect()
    }

    /// The keys and values as an object that `Source::json` reads: for options, whose values are
    /// words.
    pub fn to_json(&self) -> serde_json::Map<String, serde_json::Value> {
        let one = |entry: &Entry<'a>| {
            let value = match &entry.value.kind {
                Kind::Boolean(is) => (*is).into(),
                _ => entry.value.plain().map_or(serde_json::Value::Null, Into::into),
            };
            (entry.key.clone().into_owned(), value)
        };
        self.entries.iter().map(one).collect()
    }

    /// Reports every key that was not read, and those that are missing.
    pub fn finish(self) {
        let mut meant = Vec::new();
        for (at, entry) in self.entries.iter().enumerate() {
            if self.problems.is_full() {
                return;
            }
            if let Some(known) = self.known.iter().find(|known| is_same(&entry.key, known)) {
                let mut before = self.entries.iter().take(at);
                if before.any(|before| is_same(&before.key, known)) {
                    let message = format!("`{}` is given twice", entry.key);
                    self.problems.push(self.source, entry.key_span.clone(), message, None);
                }
                continue;
            }
            // A key that is there already is not the one that was meant.
            let is_free = |key: &&&str| !self.contains(key);
            let free = self.known.iter().filter(is_free).copied();
            let near = nearest(&entry.key, free)
                .or_else(|| nearest(&entry.key, self.known.iter().copied()));
            meant.extend(near);
            let help = match near {
                Some(near) => format!("did you mean `{near}`?"),
                None if self.known.is_empty() => "no key is allowed here".to_owned(),
                None => format!("known here: {}", self.known.join(", ")),
            };
            let message = format!("unknown key `{}`{}", entry.key, self.place());
            let span = entry.key_span.clone();
            self.problems.push(self.source, span, message, Some(help));
        }
        for key in self.missing.iter().filter(|key| !meant.contains(*key)) {
            let message = format!("`{key}` is missing{}", self.place());
            self.problems.push(self.source, self.span.clone(), message, None);
        }
    }

    fn place(&self) -> String {
        if self.name.is_empty() { String::new() } else { format!(" in [{}]", self.name) }
    }

    fn path(&self, key: &str) -> String {
        if self.name.is_empty() { key.to_owned() } else { format!("{}.{key}", self.name) }
    }
}

/// Whether two keys are one: `-` and `_` are alike, for people mix them up.
fn is_same(given: &str, known: &str) -> bool {
    let folded = |byte: u8| if byte == b'_' { b'-' } else { byte };
    given.bytes().map(folded).eq(known.bytes().map(folded))
}
