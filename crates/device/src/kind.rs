//! Kinds of failures.

use std::io;

/// The kind of a failure, for matching; [`Cause`](crate::Cause) is the exact reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A capability is missing, or an owner, group or file mode does not match.
    NotPermitted,
    /// Another program uses it.
    Busy,
    /// The name, index, address or route exists.
    Exists,
    /// The object does not exist.
    NotFound,
    /// The name is invalid.
    InvalidName,
    /// The device does not accept the value.
    InvalidValue,
    /// The existing object is of another kind than the requested one.
    Mismatch,
    /// The kernel or the device does not support the feature.
    Unsupported,
    /// A limit of the kernel or of the process is reached.
    Limit,
    /// The packet is invalid.
    Malformed,
    /// The link is down: sending fails until it is up; the device still exists.
    LinkDown,
    /// The device was deleted: the queue is of no further use.
    DeviceGone,
    /// Nothing to receive or no room to send at present.
    WouldBlock,
    /// Anything else; see the errno.
    Other,
}

impl ErrorKind {
    /// The kind of an error of [`Queue::recv`](crate::Queue::recv), [`Queue::send`](crate::Queue::send)
    /// and the other methods that move packets.
    ///
    /// EBADFD, and EFAULT of a blocked read, mean that the device was deleted; EIO that the link is
    /// down; EINVAL that the packet is invalid. Source: Linux `drivers/net/tun.c`.
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
