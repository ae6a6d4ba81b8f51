//! YAML as a tree with places, of bounded depth and size.

use adit_service::config::problems::Problems;
use adit_service::config::source::Source;
use saphyr_parser::{Event, Marker, Parser, ScanError, Span};
use std::collections::BTreeMap;
use std::ops::Range;

/// The deepest nesting: a topology has six levels.
const DEPTH_MAX: usize = 64;

/// The most values, aliases expanded: what a file of a mebibyte can hold without any.
const VALUES_MAX: usize = 200_000;

/// A value and its place.
#[derive(Clone, Debug)]
pub(crate) struct Value {
    pub(crate) span: Range<usize>,
    pub(crate) kind: Kind,
}

/// What a value is.
#[derive(Clone, Debug)]
pub(crate) enum Kind {
    /// A scalar, as its text; empty for null.
    Scalar(String),
    List(Vec<Value>),
    /// In the order of the file; a later key replaces an earlier one of the same name.
    Map(Vec<(String, Value)>),
}

impl Value {
    /// The value of a key of a map.
    pub(crate) fn get(&self, key: &str) -> Option<&Self> {
        self.entries().iter().rev().find(|(name, _)| name == key).map(|(_, value)| value)
    }

    /// The entries of a map; none for anything else.
    pub(crate) fn entries(&self) -> &[(String, Self)] {
        if let Kind::Map(entries) = &self.kind { entries } else { &[] }
    }

    /// The values of a list; none for anything else.
    pub(crate) fn list(&self) -> &[Self] {
        if let Kind::List(list) = &self.kind { list } else { &[] }
    }

    /// The text of a scalar.
    pub(crate) fn text(&self) -> Option<&str> {
        if let Kind::Scalar(text) = &self.kind { Some(text) } else { None }
    }

    /// Whether nothing was given.
    pub(crate) fn is_null(&self) -> bool {
        matches!(self.text(), Some("" | "~" | "null"))
    }
}

/// Reads the first document; `None` after a problem.
pub(crate) fn read(source: &Source, problems: &Problems) -> Option<Value> {
    let text = source.text();
    let mut reader = Reader {
        parser: Parser::new_from_str(text),
        offsets: text.char_indices().map(|(at, _)| at).collect(),
        end: text.len(),
        anchors: BTreeMap::new(),
        values: 0,
    };
    match reader.document() {
        Ok(value) => Some(value),
        Err(Failure { at, message }) => {
            problems.push(source, at..at, message, None);
            None
        }
    }
}

/// Why a text is no tree.
struct Failure {
    at: usize,
    message: String,
}

struct Reader<'a> {
    parser: Parser<'a, saphyr_parser::StrInput<'a>>,
    /// Where each character begins: the parser counts characters.
    offsets: Vec<usize>,
    end: usize,
    anchors: BTreeMap<usize, (Value, usize)>,
    /// How many values there are.
    values: usize,
}

impl<'a> Reader<'a> {
    fn document(&mut self) -> Result<Value, Failure> {
        loop {
            let (event, span) = self.next()?;
            match event {
                Event::StreamStart | Event::DocumentStart(_) => {}
                Event::StreamEnd => return Err(self.failure(span.start, "an empty file")),
                event => return self.value(event, span, 0),
            }
        }
    }

    fn next(&mut self) -> Result<(Event<'a>, Span), Failure> {
        match self.parser.next_event() {
            Some(Ok(next)) => Ok(next),
            Some(Err(error)) => Err(self.scan(&error)),
            None => Err(Failure { at: self.end, message: "the file ends too early".to_owned() }),
        }
    }

    fn scan(&self, error: &ScanError) -> Failure {
        self.failure(*error.marker(), &format!("invalid YAML: {}", error.info()))
    }

    fn failure(&self, at: Marker, message: &str) -> Failure {
        Failure { at: self.offset(at), message: message.to_owned() }
    }

    fn offset(&self, at: Marker) -> usize {
        self.offsets.get(at.index()).copied().unwrap_or(self.end)
    }

    fn value(&mut self, event: Event<'a>, span: Span, depth: usize) -> Result<Value, Failure> {
        if depth > DEPTH_MAX {
            let message = format!("nested more than {DEPTH_MAX} deep");
            return Err(self.failure(span.start, &message));
        }
        let before = self.values;
        self.count(1, span.start)?;
        let (kind, anchor) = match event {
            Event::Scalar(text, _, anchor, _) => (Kind::Scalar(text.into_owned()), anchor),
            Event::SequenceStart(anchor, _) => (Kind::List(self.sequence(depth)?), anchor),
            Event::MappingStart(anchor, _) => (Kind::Map(self.mapping(depth)?), anchor),
            Event::Alias(anchor) => {
                let known = self.anchors.get(&anchor).map(|(_, size)| *size);
                let size = known.ok_or_else(|| self.failure(span.start, "an unknown alias"))?;
                self.count(size, span.start)?;
                (self.anchors[&anchor].0.kind.clone(), 0)
            }
            _ => return Err(self.failure(span.start, "a value is missing")),
        };
        let value = Value { span: self.offset(span.start)..self.offset(span.end), kind };
        if anchor != 0 {
            self.anchors.insert(anchor, (value.clone(), self.values - before));
            // The copy for later counts too.
            self.count(self.values - before, span.start)?;
        }
        Ok(value)
    }

    fn count(&mut self, more: usize, at: Marker) -> Result<(), Failure> {
        self.values += more;
        if self.values <= VALUES_MAX {
            return Ok(());
        }
        Err(self.failure(at, &format!("more than {VALUES_MAX} values, aliases expanded")))
    }

    fn sequence(&mut self, depth: usize) -> Result<Vec<Value>, Failure> {
        let mut list = Vec::new();
        loop {
            let (event, span) = self.next()?;
            if matches!(event, Event::SequenceEnd) {
                return Ok(list);
            }
            list.push(self.value(event, span, depth + 1)?);
        }
    }

    fn mapping(&mut self, depth: usize) -> Result<Vec<(String, Value)>, Failure> {
        let mut entries: Vec<(String, Value)> = Vec::new();
        let mut merged: Vec<(String, Value)> = Vec::new();
        loop {
            let (event, span) = self.next()?;
            if matches!(event, Event::MappingEnd) {
                // Keys of the map itself win over merged ones (`<<: *name`), so they come last.
                merged.append(&mut entries);
                return Ok(merged);
            }
            let key = self.value(event, span, depth + 1)?;
            let Kind::Scalar(key) = key.kind else {
                return Err(self.failure(span.start, "a key that is not a text"));
            };
            let (event, span) = self.next()?;
            let value = self.value(event, span, depth + 1)?;
            if key == "<<" {
                let sources = std::slice::from_ref(&value).iter().chain(value.list());
                // Of several sources the first wins.
                for source in sources.rev() {
                    merged.extend(source.entries().iter().cloned());
                }
            } else {
                entries.push((key, value));
            }
        }
    }
}
