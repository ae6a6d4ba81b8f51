//! Why a text is not a quantity.

use alloc::string::String;
use core::fmt;
use core::ops::Range;

/// Why a text is not a valid quantity, with the correction if one suggests itself.
///
/// It prints as one line: ``unknown unit `msec`; did you mean `20ms`?``
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnitError {
    pub(super) message: String,
    pub(super) help: Option<String>,
    pub(super) part: Range<usize>,
}

impl UnitError {
    /// What is wrong: ``unknown unit `msec` ``.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// What to write instead: ``did you mean `20ms`?``
    #[must_use]
    pub fn help(&self) -> Option<&str> {
        self.help.as_deref()
    }

    /// The bytes of the text that are wrong: the unit, or all.
    #[must_use]
    pub fn part(&self) -> Range<usize> {
        self.part.clone()
    }
}

/// `text` in backquotes, fit for a terminal: nothing that is not printable, at most 40 characters.
pub(super) fn quoted(text: &str) -> String {
    const LEN_MAX: usize = 40;
    let mut out = String::from("`");
    out.extend(text.chars().take(LEN_MAX).flat_map(char::escape_debug));
    if text.chars().nth(LEN_MAX).is_some() {
        out.push_str("...");
    }
    out.push('`');
    out
}

impl fmt::Display for UnitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        self.help.as_ref().map_or(Ok(()), |help| write!(f, "; {help}"))
    }
}

impl core::error::Error for UnitError {}
