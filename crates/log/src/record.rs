//! One message of the log.

use adit_service::error::Report;
use adit_service::event::Event;
use adit_service::log::TargetId;
use serde_json::{Map, Value};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::SystemTime;
use tracing::Level;

/// The fields that identify an object: the same message about another object is another message.
const OBJECTS: [&str; 4] = ["port", "mirror", "peer", "object"];

/// The longest message in bytes; the rest is cut off.
const MESSAGE_LEN_MAX: usize = 8 << 10;

/// One message.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    pub(crate) time: SystemTime,
    pub(crate) level: Level,
    pub(crate) target: TargetId,
    /// What happened, as `port-gone`; `log` of what code logs.
    pub(crate) code: String,
    /// For people; several lines at most of a status.
    pub(crate) message: String,
    pub(crate) fields: Map<String, Value>,
    /// File and line of the code that logs.
    pub(crate) place: Option<(&'static str, u32)>,
}

impl Record {
    /// Of an event; `text` replaces its message.
    pub(crate) fn of_event(target: TargetId, event: &Event, text: Option<String>) -> Self {
        // An event consists of numbers and strings: it always has a JSON form.
        let mut fields = match serde_json::to_value(event) {
            Ok(Value::Object(fields)) => fields,
            _ => Map::new(),
        };
        let code = match fields.remove("event") {
            Some(Value::String(code)) => code,
            _ => String::new(),
        };
        fields.remove("message");
        let message = cut(text.unwrap_or_else(|| event.to_string()));
        let (time, level, place) = (SystemTime::now(), event.level(), None);
        Self { time, level, target, code, message, fields, place }
    }

    /// Of what ended the program.
    pub(crate) fn of_report(target: TargetId, report: &Report) -> Self {
        let fields = match serde_json::to_value(report) {
            Ok(Value::Object(fields)) => fields,
            _ => Map::new(),
        };
        let fields = fields.into_iter().filter(|(key, _)| key != "message").collect();
        Self { level: Level::ERROR, fields, ..Self::new(target, "error", report.message.clone()) }
    }

    /// Of the log itself.
    pub(crate) fn new(target: TargetId, code: &str, message: String) -> Self {
        Self {
            time: SystemTime::now(),
            level: Level::WARN,
            target,
            code: code.to_owned(),
            message: cut(message),
            fields: Map::new(),
            place: None,
        }
    }

    /// What is the same message for the rate limit: its code and its object, or what it says if it has no object.
    pub(crate) fn key(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        (self.target, &self.code, self.place).hash(&mut hasher);
        match OBJECTS.iter().find_map(|key| self.fields.get(*key)?.as_str()) {
            Some(object) => object.hash(&mut hasher),
            None => self.message.hash(&mut hasher),
        }
        hasher.finish()
    }

    /// The report of how often this message was left out.
    pub(crate) fn left_out(mut self, count: u64) -> Self {
        let verb = if count == 1 { "was" } else { "were" };
        self.message = format!("{}: {count} more {verb} left out", self.message);
        self.fields.insert("left_out".to_owned(), count.into());
        self.time = SystemTime::now();
        self
    }
}

/// At most [`MESSAGE_LEN_MAX`] bytes of a text.
fn cut(mut text: String) -> String {
    if text.len() > MESSAGE_LEN_MAX {
        let end = (0..=MESSAGE_LEN_MAX).rev().find(|at| text.is_char_boundary(*at));
        text.truncate(end.unwrap_or(0));
        text.push_str(" ...");
    }
    text
}
