//! Text as a table: TOML, words of the command line, JSON of a request.

use crate::config::entry::{Entry, Kind, Value};
use crate::config::problems::Problems;
use crate::config::source::Source;
use crate::config::table::Table;
use crate::config::words;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// How many syntax errors of a file are reported: the rest of a file with more makes no sense.
const FAULTS_MAX: usize = 3;

/// Reads a TOML file. Syntax errors go to `problems`, and the rest can be used. A file without a key is an
/// error too: it is the wrong one, or cut off.
pub fn toml<'a>(source: &'a Source, problems: &'a Problems) -> Table<'a> {
    let (table, errors) = DeTable::parse_recoverable(source.text());
    for error in errors.iter().take(FAULTS_MAX) {
        let span = error.span().unwrap_or(0..0);
        problems.push(source, span, error.message(), None);
    }
    if errors.len() > FAULTS_MAX {
        // The rest would be reported as keys that nobody wrote.
        let message = format!("{} more places are not TOML", errors.len() - FAULTS_MAX);
        let help = Some("is this the right file?".to_owned());
        let end = source.text().len();
        problems.push(source, end..end, message, help);
        return Table::new(source, problems, Vec::new());
    }
    let entries = entries(source, table.into_inner());
    if errors.is_empty() && entries.is_empty() {
        let help = Some("the manual page adit.toml(5) lists the keys".to_owned());
        problems.push(source, 0..0, "the file has no settings", help);
    }
    Table::new(source, problems, entries)
}

/// Reads `key=value,key,key=value`, the options of a port on the command line, from the byte `from` on.
/// A key alone is `true`; a comma inside a value is written twice.
pub fn words<'a>(source: &'a Source, from: usize, problems: &'a Problems) -> Table<'a> {
    let text = source.text().get(from..).unwrap_or_default();
    Table::new(source, problems, words::entries(source, (text, from), ',', problems))
}

/// Reads options of the command line: `--delay 20ms` is the entry `delay`, and its text the source.
pub fn options<'a>(
    all: &'a Source,
    options: impl IntoIterator<Item = (&'a str, &'a Source)>,
    problems: &'a Problems,
) -> Table<'a> {
    let entry = |(key, source): (&'a str, &'a Source)| {
        let (span, kind) = (0..source.text().len(), Kind::Word(source.text().into()));
        Entry { key: key.into(), key_span: 0..0, value: Value { source, span, kind } }
    };
    Table::new(all, problems, options.into_iter().map(entry).collect())
}

/// Reads a JSON object. Its problems have no place but the name of their key.
pub fn json<'a>(
    source: &'a Source,
    object: &serde_json::Map<String, serde_json::Value>,
    problems: &'a Problems,
) -> Table<'a> {
    Table::new(source, problems, json_entries(source, object))
}

/// The entries of a table in the order of the file.
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
            .map_or(Kind::Other("a number out of range"), Kind::Integer),
        DeValue::Float(number) => {
            number.as_str().parse().map_or(Kind::Other("a number out of range"), Kind::Float)
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
