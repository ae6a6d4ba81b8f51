//! The error type: operation, object, cause and remedy.

use crate::IfName;
use crate::broker::{Failure, FailureDetails};
use crate::cause::{Cause, Reported};
use crate::kind::ErrorKind;
use std::borrow::Cow;
use std::fmt;
use std::io;

/// A result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A failed operation on a device, a link or a namespace.
///
/// It prints the operation, its object and the cause; the error of the operating system is the
/// [`source`](std::error::Error::source). [`Error::remedy`] says what to do.
///
/// `Debug` prints all of it on several lines, for `unwrap` and for errors that leave `main`:
///
/// ```text
/// Error: cannot create tun0: creating a device requires CAP_NET_ADMIN over the network namespace: ...
///   help: Do one of these: run the program with sudo; ...
///   code: ADIT-E0210
/// ```
pub struct Error {
    op: Cow<'static, str>,
    object: String,
    cause: Box<Cause>,
    source: io::Error,
}

impl Error {
    /// An error of `op` (a verb, such as "create") on `object` (such as "tun0").
    pub fn new(
        op: impl Into<Cow<'static, str>>,
        object: impl fmt::Display,
        cause: Cause,
        source: io::Error,
    ) -> Self {
        Self { op: op.into(), object: object.to_string(), cause: Box::new(cause), source }
    }

    /// A failure of the process that has the privileges.
    #[must_use]
    pub fn of_failure(mut failure: Failure, op: &'static str, object: impl fmt::Display) -> Self {
        let details = failure.details.take();
        let source = io::Error::from(failure);
        let Some(details) = details else {
            return Self::new(op, object, Cause::Other, source);
        };
        let FailureDetails { op, object, code, text, remedy } = *details;
        let cause = match Cause::explain(&code) {
            Some(entry) => Cause::Reported(Reported { entry, text, remedy }),
            None => Cause::Other,
        };
        Self::new(op, object, cause, source)
    }

    /// The kind of failure.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.cause.kind()
    }

    /// Why it failed, as determined after the failure.
    #[must_use]
    pub fn cause(&self) -> &Cause {
        &self.cause
    }

    /// The stable code of the cause, such as `ADIT-E0212`.
    #[must_use]
    pub fn code(&self) -> &'static str {
        self.cause.code()
    }

    /// What to do: one or more instructions. Commands in it name the device.
    #[must_use]
    pub fn remedy(&self) -> String {
        let remedy = self.cause.remedy();
        // Only a name that a shell does not interpret.
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
        let is_plain = self.object.bytes().all(plain) && !self.object.starts_with('-');
        if self.object.parse::<IfName>().is_ok() && is_plain {
            remedy.replace("NAME", &self.object)
        } else {
            remedy
        }
    }

    /// The operation, such as "create".
    #[must_use]
    pub fn op(&self) -> &str {
        &self.op
    }

    /// The object of the operation: the name of a device, an address, a file.
    #[must_use]
    pub fn object(&self) -> &str {
        &self.object
    }

    /// The errno of the operating system, if there is one.
    #[must_use]
    pub fn errno(&self) -> Option<i32> {
        crate::netlink::raw_errno(&self.source)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot {} {}: {}", self.op, self.object, self.cause)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}: {}\n  help: {}\n  code: {}", self.source, self.remedy(), self.code())
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}

/// Wraps the error; [`Error::errno`] is still available from the inner value.
impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        Self::new(error.source.kind(), error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_what_to_do() {
        let source = io::Error::from_raw_os_error(libc::EIO);
        let error = Error::new("send over", "t0", Cause::LinkDown, source);
        assert_eq!(
            format!("{error:?}"),
            "cannot send over t0: the link is down: Input/output error (os error 5)\n  \
             help: Set it up: `adit dev set t0 --up`.\n  code: ADIT-E0401"
        );
    }
}
