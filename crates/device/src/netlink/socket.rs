//! Datagrams of netlink: the socket, and the answers to one request.

use super::error::{acknowledgement, end_of_dump};
use super::message::{Message, messages};
use crate::Netns;
use crate::broker::{self, Request};
use netlink_packet_core::{NLM_F_DUMP_INTR, NLMSG_DONE, NLMSG_ERROR, NLMSG_NOOP, NLMSG_OVERRUN};
use rustix::io::{Errno, retry_on_intr};
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType};
use std::io;
use std::ops::ControlFlow;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// The maximum length of a datagram from the kernel. It writes at most 32 KiB; only a single
/// message, of a link with hundreds of virtual functions, may be longer.
const DATAGRAM_LEN_MAX: usize = 4 << 20;

/// The initial buffer, enough for almost every datagram.
const BUFFER_LEN: usize = 32 << 10;

/// The maximum number of datagrams to discard after an answer that was not read to its end: more
/// than the longest list has.
const STALE_DATAGRAMS_MAX: usize = 1 << 20;

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

/// The number of `NETLINK_ROUTE`.
pub(super) const ROUTE: u8 = 0;

/// The number of `NETLINK_SOCK_DIAG`.
pub(super) const SOCK_DIAG: u8 = 4;

/// The number of `NETLINK_NETFILTER`.
pub(super) const NETFILTER: u8 = 12;

/// Opens a socket of netlink with the privileges of this process; it joins the groups of a bit mask.
///
/// # Errors
/// EPROTONOSUPPORT: this crate does not use the protocol; EPERM: a group needs `CAP_NET_ADMIN`; those of [`Netns::run`].
pub fn open_socket(netns: Option<&Netns>, protocol: u8, groups: u32) -> io::Result<OwnedFd> {
    let open = || -> io::Result<OwnedFd> {
        let protocol = match protocol {
            ROUTE => None,
            SOCK_DIAG => Some(rustix::net::netlink::SOCK_DIAG),
            NETFILTER => Some(rustix::net::netlink::NETFILTER),
            _ => return Err(Errno::PROTONOSUPPORT.into()),
        };
        let (family, kind) = (AddressFamily::NETLINK, SocketType::RAW);
        let fd = rustix::net::socket_with(family, kind, SocketFlags::CLOEXEC, protocol)?;
        rustix::net::bind(&fd, &SocketAddrNetlink::new(0, groups))?;
        // Connected to the kernel, the socket accepts no messages of other processes.
        rustix::net::connect(&fd, &SocketAddrNetlink::new(0, 0))?;
        Ok(fd)
    };
    netns.map_or_else(open, |netns| netns.run(open)?)
}

/// A netlink socket with its receive buffer.
#[derive(Debug)]
pub(super) struct Socket {
    pub(super) fd: OwnedFd,
    buffer: Vec<u8>,
}

impl Socket {
    /// A socket that is open.
    pub(super) fn adopt(fd: OwnedFd) -> Self {
        Self { fd, buffer: Vec::new() }
    }

    /// A socket of a protocol in a namespace, or that of the calling thread. It joins these multicast groups (a bit
    /// mask).
    pub(super) fn open(netns: Option<&Netns>, protocol: u8, groups: u32) -> io::Result<Self> {
        let with = netns.map(AsFd::as_fd);
        let opened = broker::open(&Request::Netlink(protocol, groups), with.as_slice());
        let fd = opened.unwrap_or_else(|| open_socket(netns, protocol, groups))?;
        Ok(Self::adopt(fd))
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
    pub(super) fn discard_all(&mut self) -> io::Result<()> {
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
