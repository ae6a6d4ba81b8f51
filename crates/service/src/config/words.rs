//! `key=value,key,key=value`: options as words. A key alone is `true`; a separator inside a value is
//! written twice.

use crate::config::entry::{Entry, Kind, Value};
use crate::config::problems::Problems;
use crate::config::source::Source;
use std::ops::Range;

/// The entries of `text`, which stands at the byte `at` of `source`, between single `separator`s. A
/// request has no places.
pub(super) fn entries<'a>(
    source: &'a Source,
    (text, at): (&str, usize),
    separator: char,
    problems: &Problems,
) -> Vec<Entry<'a>> {
    let place = |start: usize, end: usize| {
        if source.text().is_empty() { 0..0 } else { at + start..at + end }
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
            problems.push(source, key_span, "a key is missing here", None);
        } else if entries.iter().any(|entry| entry.key == key) {
            problems.push(source, key_span, format_args!("`{key}` is given twice"), None);
        } else {
            let value = Value { source, span: value_span, kind };
            entries.push(Entry { key: key.to_owned().into(), key_span, value });
        }
    }
    entries
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
