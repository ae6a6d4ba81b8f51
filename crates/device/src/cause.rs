//! Causes of failures: one variant per cause, although many causes share an errno.
//!
//! [`catalog`] is the table of variants, codes and texts; `text.rs` prints a cause with the details of
//! its failure.

mod catalog;
pub(crate) mod diagnose;
mod entry;
mod names;
mod table;
mod text;

#[cfg(test)]
mod tests;

pub use catalog::Cause;
pub use entry::{CauseEntry, Reported};

use crate::kind::ErrorKind;
use crate::netlink::Mode;
use crate::queue::Queue;
use std::io;
use std::os::fd::BorrowedFd;

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

    /// Why `fd` cannot be used as a queue, of a device of mode `want` if given; `None` if it can.
    /// Only reads from the descriptor.
    #[must_use]
    pub fn of_descriptor(fd: BorrowedFd<'_>, want: Option<Mode>) -> Option<Self> {
        diagnose::descriptor::of_descriptor(fd, want)
    }

    /// Why [`LinkChange::carrier`](crate::netlink::LinkChange::carrier) failed.
    #[must_use]
    pub fn of_carrier(error: &io::Error) -> Self {
        diagnose::link::of_carrier(error)
    }

    /// Why [`Netns::open`](crate::Netns::open), `of_pid`, `new_anonymous`, `enter` or `run` failed.
    #[must_use]
    pub fn of_netns(error: &io::Error) -> Self {
        diagnose::netns(error)
    }

    /// Why [`Netns::named`](crate::Netns::named) failed for `name`, with the existing names.
    #[must_use]
    pub fn of_netns_named(name: &str, error: &io::Error) -> Self {
        diagnose::namespace::of_netns_named(name, error)
    }

    /// Why [`Netns::enter_new_rootless`](crate::Netns::enter_new_rootless) failed.
    #[must_use]
    pub fn of_user_namespace(error: &io::Error) -> Self {
        diagnose::namespace::of_user_namespace(error)
    }

    /// Why `queue` did not send `record`, a packet with the headers of the queue's layout.
    #[must_use]
    pub fn of_send(queue: &Queue, record: &[u8], error: &io::Error) -> Self {
        diagnose::queue::of_send(queue, record, error)
    }

    /// Why `queue` received nothing into a buffer of `len` bytes.
    #[must_use]
    pub fn of_recv(queue: &Queue, len: usize, error: &io::Error) -> Self {
        diagnose::queue::of_recv(queue, len, error)
    }

    /// Why [`Queue::attach`](crate::Queue::attach) or [`Queue::detach`](crate::Queue::detach)
    /// failed.
    #[must_use]
    pub fn of_attach(error: &io::Error) -> Self {
        diagnose::setting::of_attach(error)
    }
}
