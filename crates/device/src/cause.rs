//! Causes of failures: one variant per cause, although many causes share an errno.
//!
//! [`catalog`] is the table of variants, codes and texts; `text.rs` prints a cause with the details of
//! its failure.

mod catalog;
mod entry;
mod names;
mod table;
mod text;

#[cfg(test)]
mod tests;

pub use catalog::Cause;
pub use entry::CauseEntry;

use crate::kind::ErrorKind;
use crate::netlink::Mode;

impl Cause {
    /// The entry of the catalogue with this code. Case is ignored, and `ADIT-` may be missing.
    #[must_use]
    pub fn explain(code: &str) -> Option<&'static CauseEntry> {
        let short = |code: &str| code.to_ascii_uppercase().trim_start_matches("ADIT-").to_owned();
        let code = short(code);
        Self::CATALOG.iter().find(|entry| short(entry.code) == code)
    }

    /// Adds the mode of the device, for a remedy that creates one.
    pub(crate) fn of_mode(self, of: Mode) -> Self {
        match self {
            Self::NoSuchDevice { mode: None } => Self::NoSuchDevice { mode: Some(of) },
            Self::DeviceGone { mode: None } => Self::DeviceGone { mode: Some(of) },
            cause => cause,
        }
    }

    /// The kind of failure.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.entry().kind
    }

    /// The stable code, as `ADIT-E0215`.
    #[must_use]
    pub fn code(&self) -> &'static str {
        self.entry().code
    }

    /// What to do, with the details of the failure where they help: one or more instructions.
    ///
    /// Commands name the device as `NAME`; [`Error::remedy`](crate::Error::remedy) fills it in.
    #[must_use]
    pub fn remedy(&self) -> String {
        text::remedy(self).unwrap_or_else(|| self.entry().remedy.to_owned())
    }
}
