//! One connection between worker and helper: a message a time, with descriptors.

use crate::descriptors;
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, ReturnFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags,
    SocketType, sendmsg, socketpair,
};
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// The longest message: a table of the packet filter, the instructions of a program, a failure with its remedy.
pub(super) const MESSAGE_LEN_MAX: usize = 128 << 10;

/// The most descriptors of one message: the maps of a program.
const FDS_MAX: usize = 8;

/// One end of a line. The other end reads EOF when this one is closed.
#[derive(Debug)]
pub(super) struct Line(OwnedFd);

impl Line {
    pub(super) fn pair() -> io::Result<(Self, Self)> {
        let kind = SocketType::SEQPACKET;
        let (a, b) = socketpair(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None)?;
        Ok((Self(a), Self(b)))
    }

    /// Sends a message.
    ///
    /// # Errors
    /// EPIPE: the other process has ended; EMSGSIZE: it is too long, or has too many descriptors.
    pub(super) fn send(&self, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FDS_MAX))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        let fits = fds.is_empty() || control.push(SendAncillaryMessage::ScmRights(fds));
        if !fits || bytes.len() > MESSAGE_LEN_MAX {
            return Err(Errno::MSGSIZE.into());
        }
        sendmsg(&self.0, &[IoSlice::new(bytes)], &mut control, SendFlags::NOSIGNAL)?;
        Ok(())
    }

    /// Waits for a message; `None` at the end.
    ///
    /// # Errors
    /// EMSGSIZE: it was too long; EMFILE: this process has no room for its descriptors.
    pub(super) fn recv(&self) -> io::Result<Option<(Vec<u8>, Vec<OwnedFd>)>> {
        let mut bytes = vec![0; MESSAGE_LEN_MAX];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FDS_MAX))];
        let (received, fds) = descriptors::recv(self.0.as_fd(), &mut bytes, &mut space)?;
        if received.flags.contains(ReturnFlags::TRUNC) {
            return Err(Errno::MSGSIZE.into());
        }
        // There is space for as many as are sent.
        if received.flags.contains(ReturnFlags::CTRUNC) {
            return Err(Errno::MFILE.into());
        }
        bytes.truncate(received.bytes);
        Ok((!bytes.is_empty()).then_some((bytes, fds)))
    }
}

impl From<Line> for OwnedFd {
    fn from(line: Line) -> Self {
        line.0
    }
}

impl From<OwnedFd> for Line {
    fn from(fd: OwnedFd) -> Self {
        Self(fd)
    }
}
