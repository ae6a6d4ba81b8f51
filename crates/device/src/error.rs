//! What went wrong: what was tried, on what, why, and what helps.

use crate::IfName;
use crate::cause::Cause;
use std::fmt;
use std::io;

/// A result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Something that was asked of a device and did not happen.
///
/// Its text says what was tried on what and why it failed; the operating system's own error is the
/// [`source`](std::error::Error::source). What helps is in [`Error::remedy`].
#[derive(Debug)]
pub struct Error {
    op: &'static str,
    object: String,
    cause: Box<Cause>,
    source: io::Error,
}

impl Error {
    /// An error of `op` (as "create device") on `object` (as "tun0").
    pub fn new(
        op: &'static str,
        object: impl fmt::Display,
        cause: Cause,
        source: io::Error,
    ) -> Self {
        Self { op, object: object.to_string(), cause: Box::new(cause), source }
    }

    /// The kind, to match on.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.cause.kind()
    }

    /// Why it failed, with what was found out about it after the failure.
    #[must_use]
    pub fn cause(&self) -> &Cause {
        &self.cause
    }

    /// The stable code of the cause, as `ADIT-E0212`.
    #[must_use]
    pub fn code(&self) -> &'static str {
        self.cause.code()
    }

    /// What helps, in one sentence; where it gives a command for a device, with the device's name.
    #[must_use]
    pub fn remedy(&self) -> String {
        let remedy = self.cause.remedy();
        // Only what a shell takes as it stands.
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
        let is_plain = self.object.bytes().all(plain) && !self.object.starts_with('-');
        if self.object.parse::<IfName>().is_ok() && is_plain {
            remedy.replace("NAME", &self.object)
        } else {
            remedy
        }
    }

    /// What was tried, as "create device".
    #[must_use]
    pub fn op(&self) -> &'static str {
        self.op
    }

    /// On what it was tried: the name of a device, an address, a file.
    #[must_use]
    pub fn object(&self) -> &str {
        &self.object
    }

    /// The operating system's number, where there is one.
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

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}

/// The original error of the operating system is inside, its number included.
impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        Self::new(error.source.kind(), error)
    }
}

/// What sort of failure it is; [`Cause`] tells it exactly.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A capability, an owner or a file mode stands against it.
    NotPermitted,
    /// Another program has it.
    Busy,
    /// There is one of that name already.
    Exists,
    /// There is none.
    NotFound,
    /// The name breaks a rule for names.
    InvalidName,
    /// A value that this kind of device does not take.
    InvalidValue,
    /// What is there is not of the kind that was asked for.
    Mismatch,
    /// This kernel has no such feature.
    Unsupported,
    /// A limit of the kernel or of the process is reached.
    Limit,
    /// The packet is not one that the kernel takes.
    Malformed,
    /// The link is down: nothing can be sent until it is up; the device is still there.
    LinkDown,
    /// The device was deleted: nothing more will come.
    DeviceGone,
    /// Nothing to read or no room to write now.
    WouldBlock,
    /// Anything else; the errno tells.
    Other,
}

impl ErrorKind {
    /// What an error of [`Queue::recv`](crate::Queue::recv) and its kin means.
    ///
    /// EBADFD, and EFAULT of a read that was blocked, say that the device is gone; EIO that the
    /// link is down; EINVAL that the packet is not one. Source: `drivers/net/tun.c`.
    #[must_use]
    pub fn of_queue(error: &io::Error) -> Self {
        match error.raw_os_error() {
            Some(libc::EBADFD | libc::EFAULT | libc::ENODEV) => Self::DeviceGone,
            Some(libc::EIO) => Self::LinkDown,
            Some(libc::EAGAIN) => Self::WouldBlock,
            Some(libc::EINVAL) => Self::Malformed,
            Some(libc::EBUSY) => Self::Busy,
            _ => Self::Other,
        }
    }
}
