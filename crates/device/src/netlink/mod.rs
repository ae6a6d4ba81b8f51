//! Links, addresses, routes and rules of a network namespace, through routing netlink
//! (rtnetlink(7)), with blocking calls.
//!
//! One [`Netlink`] is a socket in one network namespace. Reading requires no privileges:
//!
//! ```
//! use adit_device::netlink::Netlink;
//!
//! let mut netlink = Netlink::open()?;
//! for link in netlink.links()? {
//!     println!("{}: {}: <{}> mtu {}", link.index, link.name, link.flags, link.mtu);
//!     for (_, address) in netlink.addresses(Some(link.index))? {
//!         println!("    {} scope {}", address.local, address.scope);
//!     }
//! }
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! Links are identified by index, so that a rename breaks nothing. Names, aliases and labels are
//! bytes, as in the kernel.
//!
//! # Errors
//!
//! Every call returns an [`std::io::Error`]. If the kernel gave a message, the error prints it, and
//! [`NetlinkError::of`] finds it. [`raw_errno`] returns the errno in either case; `raw_os_error`
//! alone does not.

mod addr;
mod change;
mod classifier;
mod error;
mod family;
mod filter_monitor;
mod flags;
mod fuzzing;
mod link;
mod listeners;
mod message;
mod monitor;
mod neighbor;
mod own;
mod route;
mod rule;
mod socket;
mod stats;
#[cfg(test)]
mod tests;
mod tun;
mod uapi;

pub use addr::{Address, AddressFlags, Scope};
pub use adit_packet::{HARDWARE_ADDRESS_LEN_MAX, HardwareAddress, HardwareType};
pub use adit_packet::{IpFamily, IpPrefix, PrefixError};
pub use change::LinkChange;
pub use classifier::ClassifierFilter;
pub use error::{NetlinkError, raw_errno};
pub use filter_monitor::FilterMonitor;
pub use flags::{AddrGenMode, LinkFlags, LinkMode, OperState};
pub use fuzzing::decode_for_fuzzing;
pub use link::LinkInfo;
pub use listeners::Listeners;
pub use monitor::{Event, Monitor};
pub use own::OwnAddresses;
pub use route::{NextHop, ROUTE_PROTOCOL, Route, RouteKind, TABLE_LOCAL, TABLE_MAIN};
pub use rule::{FwMark, Rule, RuleAction};
pub use stats::LinkStats;
pub use tun::{Mode, TunInfo};

use crate::Netns;
use crate::sys::netlink::{NetlinkOption, enable};
use error::malformed;
use message::{Message, Request};
use rustix::io::{Errno, retry_on_intr};
use rustix::net::{RecvFlags, SendFlags, sockopt};
pub use socket::open_socket;
use socket::{Answers, ROUTE, Socket};
use std::io;
use std::ops::ControlFlow;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

/// The maximum wait for an answer. The kernel answers at once, unless another process holds its
/// routing lock (a module is loading, thousands of devices are being deleted).
pub const ANSWER_TIME_MAX: Duration = Duration::from_secs(20);

/// The maximum number of attempts for a list that changes while it is read.
pub const LIST_ATTEMPTS_MAX: u32 = 16;

/// The maximum number of entries in one list (4 Mi): four times the routes of the Internet.
pub const ENTRIES_MAX: usize = 1 << 22;

/// A netlink socket for the links, addresses, routes and rules of one network namespace: that of
/// the thread that opened it.
///
/// Every call sends a request, which the kernel executes before the send returns, and waits for the
/// answer, at most [`ANSWER_TIME_MAX`] (ETIMEDOUT). Lists are consistent: one that changed while it
/// was read is read again. Reading requires no privileges; changes require `CAP_NET_ADMIN` over the
/// namespace (EPERM).
#[derive(Debug)]
pub struct Netlink {
    socket: Socket,
    sequence: u32,
    /// An answer was not read to its end: discard the rest before the next request.
    stale: bool,
}

impl From<Netlink> for OwnedFd {
    /// The socket, for [`Netlink::adopt`] in another process.
    fn from(netlink: Netlink) -> Self {
        netlink.socket.fd
    }
}

impl Netlink {
    /// A socket in the network namespace of the calling thread.
    ///
    /// # Errors
    /// EMFILE, ENFILE; EPERM in a sandbox that forbids netlink.
    pub fn open() -> io::Result<Self> {
        Self::with(Socket::open(None, ROUTE, 0)?)
    }

    fn with(socket: Socket) -> io::Result<Self> {
        sockopt::set_socket_timeout(&socket.fd, sockopt::Timeout::Recv, Some(ANSWER_TIME_MAX))?;
        for option in [NetlinkOption::CapAck, NetlinkOption::ExtAck, NetlinkOption::GetStrictChk] {
            match enable(socket.as_fd(), option) {
                // Older kernels give fewer messages, and we filter their lists ourselves.
                Err(error) if error.raw_os_error() == Some(libc::ENOPROTOOPT) => {}
                result => result?,
            }
        }
        Ok(Self { socket, sequence: 0, stale: false })
    }

    /// A socket in `netns`. The calling thread stays in its own namespace.
    ///
    /// # Errors
    /// As [`Netlink::open`] and [`Netns::run`].
    pub fn open_in(netns: &Netns) -> io::Result<Self> {
        Self::with(Socket::open(Some(netns), ROUTE, 0)?)
    }

    /// The socket that another process opened by [`Netlink::open`] and passed on: it stays a socket of
    /// that process's namespace, whatever namespace this one is in.
    #[must_use]
    pub fn adopt(fd: OwnedFd) -> Self {
        Self { socket: Socket::adopt(fd), sequence: 0, stale: true }
    }

    /// The socket, for ioctls that any socket of the namespace accepts.
    pub(crate) fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Sends a request that changes something, and waits for the acknowledgement.
    fn change(&mut self, request: &mut Request) -> io::Result<()> {
        self.exchange(request, &mut |_| {})
    }

    /// Sends a request for one object, and returns the first answer that `decode` accepts.
    fn query<T>(
        &mut self,
        request: &mut Request,
        decode: impl Fn(&Message<'_>) -> Option<T>,
    ) -> io::Result<T> {
        let mut found = None;
        self.exchange(request, &mut |message| {
            if found.is_none() {
                found = decode(message);
            }
        })?;
        found.ok_or_else(malformed)
    }

    /// Sends a dump request, and collects the answers that `decode` accepts.
    fn list<T>(
        &mut self,
        request: &mut Request,
        decode: impl Fn(&Message<'_>) -> Option<T>,
    ) -> io::Result<Vec<T>> {
        for _ in 0..LIST_ATTEMPTS_MAX {
            let mut entries = Vec::new();
            let mut overflow = false;
            let result = self.exchange(request, &mut |message| {
                overflow |= entries.len() == ENTRIES_MAX;
                if !overflow {
                    entries.extend(decode(message));
                }
            });
            match result {
                Ok(()) if overflow => return Err(Errno::OVERFLOW.into()),
                Ok(()) => return Ok(entries),
                Err(error) if is_worth_another_try(&error) => {}
                Err(error) => return Err(error),
            }
        }
        Err(Errno::INTR.into())
    }

    /// Sends one request, and visits its answers up to the last; EINTR if a list changed meanwhile.
    fn exchange(
        &mut self,
        request: &mut Request,
        visit: &mut dyn FnMut(&Message<'_>),
    ) -> io::Result<()> {
        if self.stale {
            self.socket.discard_all()?;
        }
        self.sequence = self.sequence.wrapping_add(1);
        let bytes = request.finish(self.sequence)?;
        retry_on_intr(|| rustix::net::send(&self.socket.fd, bytes, SendFlags::empty()))?;
        // An early return leaves answers behind, until the last one was seen.
        self.stale = true;
        let mut answers = Answers::new(self.sequence);
        let result = loop {
            let datagram = match self.socket.recv(RecvFlags::empty()) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Err(Errno::TIMEDOUT.into());
                }
                result => result?,
            };
            if let ControlFlow::Break(result) = answers.take(datagram, visit) {
                break result;
            }
        };
        self.stale = false;
        result
    }
}

/// Whether a failed list may succeed at the next attempt.
fn is_worth_another_try(error: &io::Error) -> bool {
    // EBUSY: the kernel still works on the previous dump, which was abandoned.
    matches!(error.raw_os_error(), Some(libc::EINTR | libc::ENOBUFS | libc::EBUSY))
}

#[cfg(test)]
mod socket_tests {
    use super::uapi::RTM_GETLINK;
    use super::*;
    use netlink_packet_core::NLM_F_DUMP;

    #[test]
    fn an_answer_that_was_given_up_does_not_spoil_the_next() {
        let mut netlink = Netlink::open().unwrap();
        let links = netlink.links().unwrap();
        for _ in 0..3 {
            let mut request = Request::new(RTM_GETLINK, NLM_F_DUMP, &[0; 16]);
            let bytes = request.finish(4711).unwrap();
            rustix::net::send(&netlink.socket.fd, bytes, SendFlags::empty()).unwrap();
            netlink.stale = true;
            assert_eq!(netlink.links().unwrap().len(), links.len());
        }
    }
}
