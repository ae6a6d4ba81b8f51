//! The netlink socket: requests and their answers.

use super::error::{acknowledgement, end_of_dump, malformed};
use super::message::{Message, Request, messages};
use crate::Netns;
use crate::sys::netlink::{NetlinkOption, enable};
use netlink_packet_core::{NLM_F_DUMP_INTR, NLMSG_DONE, NLMSG_ERROR, NLMSG_NOOP, NLMSG_OVERRUN};
use rustix::io::{Errno, retry_on_intr};
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, sockopt};
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

/// The maximum length of a datagram from the kernel. It writes at most 32 KiB; only a single
/// message, of a link with hundreds of virtual functions, may be longer.
const DATAGRAM_LEN_MAX: usize = 4 << 20;

/// The initial buffer, enough for almost every datagram.
const BUFFER_LEN: usize = 32 << 10;

/// The maximum number of datagrams to discard after an answer that was not read to its end: more
/// than the longest list has.
const STALE_DATAGRAMS_MAX: usize = 1 << 20;

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

impl Netlink {
    /// A socket in the network namespace of the calling thread.
    ///
    /// # Errors
    /// EMFILE, ENFILE; EPERM in a sandbox that forbids netlink.
    pub fn open() -> io::Result<Self> {
        let socket = Socket::open(0)?;
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
        netns.run(Self::open)?
    }

    /// The socket, for ioctls that any socket of the namespace accepts.
    pub(crate) fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Sends a request that changes something, and waits for the acknowledgement.
    pub(super) fn change(&mut self, request: &mut Request) -> io::Result<()> {
        self.exchange(request, &mut |_| {})
    }

    /// Sends a request for one object, and returns the first answer that `decode` accepts.
    pub(super) fn query<T>(
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
    pub(super) fn list<T>(
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

/// The answers to one request so far.
#[derive(Debug)]
pub(super) struct Answers {
    sequence: u32,
    /// The kernel reported that the list changed during the dump.
    interrupted: bool,
}

impl Answers {
    pub(super) const fn new(sequence: u32) -> Self {
        Self { sequence, interrupted: false }
    }

    /// Passes the answers of one datagram to `visit`. Breaks with the result of the request once it
    /// is among them: EINTR for a list that changed.
    pub(super) fn take(
        &mut self,
        datagram: &[u8],
        visit: &mut dyn FnMut(&Message<'_>),
    ) -> ControlFlow<io::Result<()>> {
        for message in messages(datagram).filter(|message| message.sequence == self.sequence) {
            self.interrupted |= message.flags & NLM_F_DUMP_INTR != 0;
            let result = match message.kind {
                NLMSG_ERROR => acknowledgement(message.flags, message.body),
                NLMSG_DONE => end_of_dump(message.flags, message.body),
                NLMSG_OVERRUN => Err(Errno::NOBUFS.into()),
                NLMSG_NOOP => continue,
                _ => {
                    visit(&message);
                    continue;
                }
            };
            let changed = if self.interrupted { Err(Errno::INTR.into()) } else { Ok(()) };
            return ControlFlow::Break(result.and(changed));
        }
        ControlFlow::Continue(())
    }
}

/// A netlink socket with its receive buffer.
#[derive(Debug)]
pub(super) struct Socket {
    pub(super) fd: OwnedFd,
    buffer: Vec<u8>,
}

impl Socket {
    /// A socket that joins these multicast groups (a bit mask).
    pub(super) fn open(groups: u32) -> io::Result<Self> {
        let fd = rustix::net::socket_with(
            AddressFamily::NETLINK,
            SocketType::RAW,
            SocketFlags::CLOEXEC,
            None, // NETLINK_ROUTE is number 0
        )?;
        rustix::net::bind(&fd, &SocketAddrNetlink::new(0, groups))?;
        // Connected to the kernel, the socket accepts no messages of other processes.
        rustix::net::connect(&fd, &SocketAddrNetlink::new(0, 0))?;
        Ok(Self { fd, buffer: Vec::new() })
    }

    /// Receives the next datagram, whole.
    ///
    /// # Errors
    /// EAGAIN if none came in time; ENOBUFS if the kernel dropped some; EMSGSIZE if it exceeded
    /// [`DATAGRAM_LEN_MAX`] and was discarded.
    pub(super) fn recv(&mut self, flags: RecvFlags) -> io::Result<&[u8]> {
        let peek = flags | RecvFlags::PEEK | RecvFlags::TRUNC;
        let (_, len) = retry_on_intr(|| rustix::net::recv(&self.fd, &mut [0_u8; 1][..], peek))?;
        let room = len.clamp(BUFFER_LEN, DATAGRAM_LEN_MAX);
        if self.buffer.len() != room {
            self.buffer.resize(room, 0);
            self.buffer.shrink_to(room);
        }
        let flags = flags | RecvFlags::TRUNC;
        let (_, len) = retry_on_intr(|| rustix::net::recv(&self.fd, &mut self.buffer[..], flags))?;
        self.buffer.get(..len).ok_or_else(|| Errno::MSGSIZE.into())
    }

    /// Discards all queued datagrams, which also ends a dump in progress.
    fn discard_all(&mut self) -> io::Result<()> {
        for _ in 0..STALE_DATAGRAMS_MAX {
            match self.recv(RecvFlags::DONTWAIT) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => {}
                Err(error) if error.raw_os_error() == Some(libc::EMSGSIZE) => {}
                Err(error) => return Err(error),
                Ok(_) => {}
            }
        }
        Err(Errno::BUSY.into())
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::super::uapi::RTM_GETLINK;
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
