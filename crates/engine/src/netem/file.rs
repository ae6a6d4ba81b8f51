//! What the parsers of files have in common.

use alloc::string::String;
use core::fmt;

/// A file holds at most so many bytes: a trace of an hour at 100 Mbit/s.
pub const FILE_LEN_MAX: usize = 256 << 20;

/// What is wrong in a file, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseError {
    /// The line, from 1; 0 if it is the file as a whole.
    pub line: usize,
    /// What is wrong.
    pub problem: String,
}

impl ParseError {
    pub(super) fn new(line: usize, problem: impl Into<String>) -> Self {
        Self { line, problem: problem.into() }
    }

    pub(super) fn whole(problem: impl Into<String>) -> Self {
        Self::new(0, problem)
    }
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line != 0 {
            write!(f, "line {}: ", self.line)?;
        }
        f.write_str(&self.problem)
    }
}

impl core::error::Error for ParseError {}

/// The lines that say something, numbered from 1: without comments (`#` to the end of the line),
/// spaces around them and empty ones.
pub(super) fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default().trim());
    (1..).zip(lines).filter(|(_, line)| !line.is_empty())
}

/// Refuses a file that is too long to be read.
pub(super) fn check_len(text: &str) -> Result<(), ParseError> {
    if text.len() > FILE_LEN_MAX {
        return Err(ParseError::whole(alloc::format!("longer than {FILE_LEN_MAX} bytes")));
    }
    Ok(())
}

/// Word `text` for a message: what is not printable replaced, and not too long.
pub(super) fn quoted(text: &str) -> String {
    const LEN_MAX: usize = 40;
    let mut out: String = text.chars().take(LEN_MAX).flat_map(char::escape_debug).collect();
    if text.chars().nth(LEN_MAX).is_some() {
        out.push_str("...");
    }
    alloc::format!("'{out}'")
}
