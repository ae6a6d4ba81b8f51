//! Why something failed: one variant a cause, although many causes share an errno.

use crate::{ErrorKind, NameError};
use std::fmt;

/// The cause of an [`Error`](crate::Error), found out after the failure.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Cause {
    /// The name breaks a rule.
    Name(NameError),
    /// There is no device of that name.
    NoSuchDevice,
    /// The descriptor is not one of a TUN or TAP device.
    NotATun,
    /// The descriptor has no device yet.
    Unattached,
    /// The device is of the other mode.
    WrongMode {
        /// What it is.
        have: crate::Mode,
        /// What was asked for.
        want: crate::Mode,
    },
    /// No descriptor was passed.
    NoDescriptor,
    /// Nothing more is known than the errno.
    Other,
}

impl Cause {
    /// The kind, to match on.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Name(_) => ErrorKind::InvalidName,
            Self::NoSuchDevice => ErrorKind::NotFound,
            Self::NotATun | Self::Unattached | Self::WrongMode { .. } => ErrorKind::Mismatch,
            Self::NoDescriptor => ErrorKind::NotFound,
            Self::Other => ErrorKind::Other,
        }
    }

    /// The stable code, as `ADIT-E0201`.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Name(_) => "ADIT-E0201",
            Self::NoSuchDevice => "ADIT-E0223",
            Self::NotATun => "ADIT-E0601",
            Self::WrongMode { .. } => "ADIT-E0602",
            Self::Unattached => "ADIT-E0603",
            Self::NoDescriptor => "ADIT-E0604",
            Self::Other => "ADIT-E0999",
        }
    }

    /// What helps, in one sentence.
    #[must_use]
    pub fn remedy(&self) -> String {
        String::new()
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(error) => error.fmt(f),
            Self::NoSuchDevice => f.write_str("there is no such device"),
            Self::NotATun => f.write_str("it is not a TUN or TAP device"),
            Self::WrongMode { have, want } => write!(f, "it is a {have} device, not a {want}"),
            Self::Unattached => f.write_str("it has no device yet"),
            Self::NoDescriptor => f.write_str("no descriptor was passed"),
            Self::Other => f.write_str("the kernel refused"),
        }
    }
}
