//! An entry of the catalogue.

use crate::kind::ErrorKind;

/// An entry of the catalogue of causes, as `adit explain` prints it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CauseEntry {
    /// The stable code, as `ADIT-E0215`.
    pub code: &'static str,
    /// The kind of failure.
    pub kind: ErrorKind,
    /// The cause in one sentence without a full stop, for any failure of this cause.
    pub title: &'static str,
    /// How it happens, and how it differs from other causes of the same errno.
    pub explanation: &'static str,
    /// What to do: one or more instructions.
    pub remedy: &'static str,
}

/// A cause that another process found: its entry, and the texts with the details of the failure.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Reported {
    /// The entry of the catalogue.
    pub entry: &'static CauseEntry,
    /// The cause in words.
    pub text: String,
    /// What to do.
    pub remedy: String,
}
