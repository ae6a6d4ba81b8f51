//! Messages between the loop and the keeper: lines of JSON with descriptors, many to a datagram.
//!
//! ```text
//! datagram   up to 64 KiB of lines, cut anywhere   SCM_RIGHTS: descriptors of the lines that end in it or later
//! line       a JSON value, '\n'                    its descriptors come in the order of the lines
//! ```

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::VecDeque;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

/// The most bytes of a datagram.
const DATAGRAM_LEN_MAX: usize = 64 << 10;

/// The most descriptors of a datagram; the kernel takes 253.
const FDS_MAX: usize = 64;

/// The longest line: a node with its files.
const LINE_LEN_MAX: usize = 16 << 20;

/// How long to wait while too many descriptors are on their way.
const FDS_ON_THE_WAY: Duration = Duration::from_millis(1);

/// One end of a pair of sockets. The other end reads EOF once all processes that have this one ended.
#[derive(Debug)]
pub(super) struct Wire {
    socket: OwnedFd,
    /// Lines that were not sent yet, and their descriptors.
    out: Vec<u8>,
    out_fds: Vec<OwnedFd>,
    /// What was received and not taken yet, up to `taken`.
    received: Vec<u8>,
    taken: usize,
    fds: VecDeque<OwnedFd>,
}

impl Wire {
    pub(super) fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
        let (a, b) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        Ok((a, b))
    }

    pub(super) const fn new(socket: OwnedFd) -> Self {
        Self {
            socket,
            out: Vec::new(),
            out_fds: Vec::new(),
            received: Vec::new(),
            taken: 0,
            fds: VecDeque::new(),
        }
    }

    /// Adds a line to what is sent next.
    pub(super) fn push(&mut self, value: &impl Serialize) {
        // Our own types: strings, numbers and lists.
        serde_json::to_writer(&mut self.out, value).expect("it is JSON");
        self.out.push(b'\n');
    }

    /// Adds descriptors that belong to the next line.
    pub(super) fn push_fds(&mut self, fds: impl IntoIterator<Item = OwnedFd>) {
        self.out_fds.extend(fds);
    }

    /// Whether as much waits as fits into a datagram.
    pub(super) const fn is_full(&self) -> bool {
        self.out.len() >= DATAGRAM_LEN_MAX || self.out_fds.len() + 4 >= FDS_MAX
    }

    /// The bytes that wait to be sent.
    pub(super) const fn waiting(&self) -> usize {
        self.out.len()
    }

    /// Sends what waits; without blocking as much as there is room for.
    ///
    /// # Errors
    /// EPIPE: the other end has ended.
    pub(super) fn send(&mut self, is_blocking: bool) -> io::Result<()> {
        let mut sent = 0;
        let result = loop {
            let rest = self.out.get(sent..).unwrap_or_default();
            let part = rest.get(..DATAGRAM_LEN_MAX).unwrap_or(rest);
            if part.is_empty() {
                break Ok(());
            }
            match send_one(&self.socket, part, &self.out_fds, is_blocking) {
                Ok(()) => {
                    sent += part.len();
                    self.out_fds.clear();
                }
                Err(Errno::AGAIN) if !is_blocking => break Ok(()),
                Err(Errno::INTR) => {}
                // More descriptors are on their way than this user may have: the other end takes them.
                Err(Errno::TOOMANYREFS) if is_blocking => std::thread::sleep(FDS_ON_THE_WAY),
                Err(errno) => break Err(errno.into()),
            }
        };
        self.out.drain(..sent);
        result
    }

    /// The next line, of what was received.
    ///
    /// # Errors
    /// It is not what was expected.
    pub(super) fn next_line<T: DeserializeOwned>(&mut self) -> io::Result<Option<T>> {
        let rest = self.received.get(self.taken..).unwrap_or_default();
        let Some(len) = rest.iter().position(|&byte| byte == b'\n') else {
            self.received.drain(..self.taken);
            self.taken = 0;
            return Ok(None);
        };
        let line = rest.get(..len).unwrap_or_default();
        let value = serde_json::from_slice(line)?;
        self.taken += len + 1;
        Ok(Some(value))
    }

    /// The next descriptor that came with the lines.
    pub(super) fn next_fd(&mut self) -> io::Result<OwnedFd> {
        self.fds.pop_front().ok_or_else(|| io::ErrorKind::InvalidData.into())
    }

    /// Receives a datagram; false: there is none.
    ///
    /// # Errors
    /// EOF: the other end has ended.
    pub(super) fn receive(&mut self) -> io::Result<bool> {
        let start = self.received.len();
        if start > LINE_LEN_MAX {
            return Err(io::ErrorKind::InvalidData.into());
        }
        self.received.resize(start + DATAGRAM_LEN_MAX, 0);
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FDS_MAX))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let result = rustix::io::retry_on_intr(|| {
            let mut data = [IoSliceMut::new(&mut self.received[start..])];
            let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT;
            recvmsg(&self.socket, &mut data, &mut control, flags)
        });
        let len = result.as_ref().map_or(0, |result| result.bytes);
        self.received.truncate(start + len);
        match result {
            Ok(_) if len == 0 => Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(_) => {
                for message in control.drain() {
                    if let RecvAncillaryMessage::ScmRights(fds) = message {
                        self.fds.extend(fds);
                    }
                }
                Ok(true)
            }
            Err(Errno::AGAIN) => Ok(false),
            Err(Errno::CONNRESET) => Err(io::ErrorKind::UnexpectedEof.into()),
            Err(errno) => Err(errno.into()),
        }
    }
}

fn send_one(
    socket: &OwnedFd,
    bytes: &[u8],
    fds: &[OwnedFd],
    is_blocking: bool,
) -> rustix::io::Result<()> {
    let fds: Vec<BorrowedFd<'_>> = fds.iter().map(AsFd::as_fd).collect();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FDS_MAX))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() && !control.push(SendAncillaryMessage::ScmRights(&fds)) {
        return Err(Errno::MSGSIZE);
    }
    let flags = if is_blocking { SendFlags::empty() } else { SendFlags::DONTWAIT };
    sendmsg(socket, &[IoSlice::new(bytes)], &mut control, flags | SendFlags::NOSIGNAL).map(drop)
}

impl AsFd for Wire {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
