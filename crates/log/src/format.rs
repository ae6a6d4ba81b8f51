//! A message as bytes: a line of text or JSON, or a datagram for the journal.

use crate::destination::Format;
use crate::record::Record;
use adit_service::text::clean;
use anstyle::{AnsiColor, Style};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};
use std::time::SystemTime;
use tracing::Level;

/// A line of `--log-format json`: when, how important, which part of adit, what, and the fields of the event.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(title = "adit --log-format json: one line")]
pub struct Line<'a> {
    /// When, in UTC, as RFC 3339 with microseconds.
    time: String,
    /// `error`, `warn`, `info`, `debug` or `trace`.
    level: &'static str,
    /// The part of adit.
    target: &'static str,
    /// The event, as in the schema `events`; `log` for what is no event, `error` for what ended the program.
    event: &'a str,
    /// What happened, for people.
    message: &'a str,
    /// The fields of the event; `left_out` in a report of messages that were left out.
    #[serde(flatten)]
    fields: &'a Map<String, Value>,
}

/// A message in a format, ready to be written.
pub(crate) fn bytes(format: Format, colors: bool, record: &Record) -> Vec<u8> {
    match format {
        Format::Text => text(colors, record).into_bytes(),
        Format::Json => json(record),
        Format::Journal => journal(record),
    }
}

/// The message, one or more lines. What a line says is never said by its colour alone.
fn text(colors: bool, record: &Record) -> String {
    let style = match record.level {
        _ if !colors => Style::new(),
        Level::ERROR => AnsiColor::Red.on_default(),
        Level::WARN => AnsiColor::Yellow.on_default(),
        Level::INFO => Style::new(),
        _ => Style::new().dimmed(),
    };
    // What code logs has no sentence of its own about its part of adit.
    let before = record.place.map_or(String::new(), |_| format!("{}: ", record.target.name()));
    let after: String = match record.place {
        Some(_) => {
            record.fields.iter().map(|(key, value)| format!(" {key}={}", plain(value))).collect()
        }
        None => String::new(),
    };
    // Each line by itself: `clean` would escape the ends of lines.
    let line = |line: &str| format!("{style}{before}{}{after}{style:#}\n", clean(line));
    record.message.lines().map(line).collect()
}

fn json(record: &Record) -> Vec<u8> {
    let line = Line {
        time: time(record.time),
        level: name(record.level),
        target: record.target.name(),
        event: &record.code,
        message: message(record),
        fields: &record.fields,
    };
    // Strings and numbers: it always has a JSON form.
    let mut bytes = serde_json::to_vec(&line).unwrap_or_default();
    bytes.push(b'\n');
    bytes
}

/// Fields as systemd-journald receives them (systemd.io/JOURNAL_NATIVE_PROTOCOL): `KEY=value` and a line feed; a value
/// of several lines with its length, 64 bits in little endian, before it.
fn journal(record: &Record) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut field = |key: &str, value: &str| {
        bytes.extend(key.as_bytes());
        if value.contains('\n') {
            bytes.push(b'\n');
            bytes.extend(u64::try_from(value.len()).unwrap_or_default().to_le_bytes());
        } else {
            bytes.push(b'=');
        }
        bytes.extend(value.as_bytes());
        bytes.push(b'\n');
    };
    field("MESSAGE", message(record));
    field("PRIORITY", priority(record.level));
    field("SYSLOG_IDENTIFIER", "adit");
    field("ADIT_TARGET", record.target.name());
    field("ADIT_EVENT", &record.code);
    if let Some((file, line)) = record.place {
        field("CODE_FILE", file);
        field("CODE_LINE", &line.to_string());
    }
    for (key, value) in record.fields.iter().filter(|(_, value)| !value.is_object()) {
        let key: String = key.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
        field(&format!("ADIT_{}", key.to_ascii_uppercase()), &plain(value));
    }
    bytes
}

/// The message without the word that its level says.
fn message(record: &Record) -> &str {
    record.message.strip_prefix("warning: ").unwrap_or(&record.message)
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(list) => list.iter().map(plain).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}

const fn name(level: Level) -> &'static str {
    match level {
        Level::ERROR => "error",
        Level::WARN => "warn",
        Level::INFO => "info",
        Level::DEBUG => "debug",
        Level::TRACE => "trace",
    }
}

/// The priority of syslog.
const fn priority(level: Level) -> &'static str {
    match level {
        Level::ERROR => "3",
        Level::WARN => "4",
        Level::INFO => "6",
        _ => "7",
    }
}

fn time(at: SystemTime) -> String {
    let at = Timestamp::try_from(at).unwrap_or(Timestamp::UNIX_EPOCH);
    at.strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use adit_service::event::Event;
    use adit_service::log::TargetId;
    use std::time::Duration;

    fn record(event: &Event) -> Record {
        let time = SystemTime::UNIX_EPOCH + Duration::new(1_795_320_800, 123_456_789);
        Record { time, ..Record::of_event(TargetId::SWITCH, event, None) }
    }

    fn gone() -> Record {
        record(&Event::PortGone { port: "tap:a".into(), reason: "it\nended".into() })
    }

    fn written(format: Format, colors: bool, record: &Record) -> String {
        String::from_utf8_lossy(&bytes(format, colors, record)).into_owned()
    }

    #[test]
    fn text_is_the_message_alone_and_coloured_for_a_terminal() {
        let note = record(&Event::Note { message: "warning: a\u{1b}[31m\nb".into() });
        assert_eq!(written(Format::Text, false, &note), "warning: a\\u{1b}[31m\nb\n");
        let lines = "\u{1b}[33mwarning: a\\u{1b}[31m\u{1b}[0m\n\u{1b}[33mb\u{1b}[0m\n";
        assert_eq!(written(Format::Text, true, &note), lines);
        let mut logged = record(&Event::Detail { message: "reads".into() });
        logged.place = Some(("a.rs", 7));
        logged.fields.insert("file".to_owned(), "x".into());
        assert_eq!(written(Format::Text, false, &logged), "switch: reads file=x\n");
    }

    #[test]
    fn json_is_the_event_with_time_and_level() {
        let line = written(Format::Json, true, &gone());
        assert_eq!(
            line,
            "{\"time\":\"2026-11-22T04:13:20.123456Z\",\"level\":\"warn\",\"target\":\"switch\",\
             \"event\":\"port-gone\",\"message\":\"tap:a gone: it\\nended\",\"port\":\"tap:a\",\
             \"reason\":\"it\\nended\"}\n"
        );
    }

    #[test]
    fn the_journal_gets_fields_and_long_values_with_their_length() {
        let expected = "MESSAGE\n\u{14}\0\0\0\0\0\0\0tap:a gone: it\nended\nPRIORITY=4\n\
                        SYSLOG_IDENTIFIER=adit\nADIT_TARGET=switch\nADIT_EVENT=port-gone\n\
                        ADIT_PORT=tap:a\nADIT_REASON\n\u{8}\0\0\0\0\0\0\0it\nended\n";
        assert_eq!(written(Format::Journal, false, &gone()), expected);
        let warning =
            written(Format::Journal, false, &record(&Event::Note { message: "warning: x".into() }));
        assert!(warning.starts_with("MESSAGE=x\nPRIORITY=4\n"), "{warning}");
    }
}
