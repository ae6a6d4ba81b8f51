//! Why something failed: one variant a cause, although many causes share an errno.
//!
//! The variants with their codes and words are the table of [`catalog`]; what a cause found out
//! about its failure is put into words by `text.rs`.

mod catalog;
mod names;
mod table;
mod text;

#[cfg(test)]
mod tests;

pub use catalog::Cause;

use crate::ErrorKind;

/// What `adit explain` knows of one cause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CauseEntry {
    /// The stable code, as `ADIT-E0215`.
    pub code: &'static str,
    /// The kind, to match on.
    pub kind: ErrorKind,
    /// The cause in one sentence, without what was found out about the particular failure.
    pub title: &'static str,
    /// How it comes about, and how it is told from others with the same errno.
    pub explanation: &'static str,
    /// What helps, in one sentence.
    pub remedy: &'static str,
}

impl Cause {
    /// The entry of the catalogue with this code, in whatever case; the `ADIT-` may be missing.
    #[must_use]
    pub fn explain(code: &str) -> Option<&'static CauseEntry> {
        let short = |code: &str| code.to_ascii_uppercase().trim_start_matches("ADIT-").to_owned();
        let code = short(code);
        Self::CATALOG.iter().find(|entry| short(entry.code) == code)
    }

    /// The kind, to match on.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.entry().kind
    }

    /// The stable code, as `ADIT-E0215`.
    #[must_use]
    pub fn code(&self) -> &'static str {
        self.entry().code
    }

    /// What helps, in one sentence.
    #[must_use]
    pub fn remedy(&self) -> String {
        text::remedy(self).unwrap_or_else(|| self.entry().remedy.to_owned())
    }
}
