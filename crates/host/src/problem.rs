//! One problem of a configuration, with its place.

use crate::text::clean;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::ops::Range;

/// The most characters of a line that are shown.
const EXCERPT_LEN_MAX: usize = 120;

/// A problem of a configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Problem {
    /// The file, or the option of the command line.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// The column, from 1, in characters.
    pub column: usize,
    /// What is wrong.
    pub message: String,
    /// What may have been meant, or what helps.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
    /// The line as it stands in the file.
    pub excerpt: String,
    /// How many characters of it are wrong.
    pub width: usize,
}

impl Problem {
    /// A problem at the bytes `span` of `text`.
    pub fn new(
        (file, text): (&str, &str),
        span: Range<usize>,
        message: impl fmt::Display,
        help: Option<String>,
    ) -> Self {
        let mut at = span.start.min(text.len());
        while !text.is_char_boundary(at) {
            at -= 1;
        }
        let (before, after) = text.split_at(at);
        let line_start = before.rfind('\n').map_or(0, |end| end + 1);
        let line_end = after.find('\n').map_or(text.len(), |end| at + end);
        let excerpt = text.get(line_start..line_end).unwrap_or_default();
        let excerpt = excerpt.trim_end_matches('\r').trim_start_matches('\u{feff}');
        let head = before.get(line_start..).unwrap_or_default().trim_start_matches('\u{feff}');
        let end = span.end.clamp(at, line_end);
        Self {
            file: file.to_owned(),
            line: before.matches('\n').count() + 1,
            column: head.chars().count() + 1,
            message: message.to_string(),
            help,
            excerpt: excerpt.to_owned(),
            width: text.get(at..end).map_or(1, |part| part.chars().count()),
        }
    }
}

/// `lab.toml:3:1: unknown key`, the line, and a caret below the place.
impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, line, column, message, help, excerpt, width } = self;
        if excerpt.is_empty() {
            write!(f, "{}: {}", clean(file), clean(message))?;
            return help.as_ref().map_or(Ok(()), |help| write!(f, ": {}", clean(help)));
        }
        write!(f, "{}:{line}:{column}: {}", clean(file), clean(message))?;
        let number = line.to_string();
        // A tab is shown as one space, so that the caret stands below its character.
        let shown = |c: char| if c == '\t' { ' ' } else { c };
        // A long line is shown from a little before the place.
        let from = if *column > EXCERPT_LEN_MAX / 2 { column - EXCERPT_LEN_MAX / 4 } else { 1 };
        let part = excerpt.chars().skip(from - 1).take(EXCERPT_LEN_MAX).map(shown);
        // What has no shape of its own gets one of one character: the caret must not move.
        let part: String = part.map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
        let margin = " ".repeat(number.len());
        let indent = " ".repeat(column - from);
        let room = EXCERPT_LEN_MAX.saturating_sub(column - from).max(1);
        let carets = "^".repeat((*width).clamp(1, room));
        write!(f, "\n {number} | {part}\n {margin} | {indent}{carets}")?;
        match help {
            Some(help) => write!(f, " {}", clean(help)),
            None => Ok(()),
        }
    }
}
