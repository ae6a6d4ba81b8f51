//! Messages between this process and a copy of it: how far the copy has come, descriptors, failures.

use crate::descriptors;
use crate::error::{Error, Kind, Report, Result, SYSTEM, kind_of, number_of};
use rustix::net::{
    AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType,
    sendmsg, socketpair,
};
use serde::{Deserialize, Serialize};
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// The longest message: a failure with its remedy.
const MESSAGE_LEN_MAX: usize = 8 << 10;

/// The most sockets that are opened beside a device.
pub const SOCKETS_MAX: usize = 128;

/// The most descriptors of one message.
const FDS_MAX: usize = 4 + SOCKETS_MAX;

/// How far the processes have come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Stage {
    /// The holder waits for its maps of users and groups.
    InUserNamespace,
    /// The namespaces are there.
    Ready,
    /// The command runs; with a pidfd of it.
    Started,
    /// A device was opened; with its queue, netlink for routes, the sockets that were wanted, the listening socket of
    /// spliced connections, and netlink for sockets that listen.
    Attached,
}

/// One end of a pair of sockets. The other end reads EOF when this one's process has ended.
#[derive(Debug)]
pub(crate) struct Channel(OwnedFd);

/// What a copy of this process reports.
#[derive(Debug, Default)]
pub(crate) struct Message {
    /// How far it has come.
    pub(crate) stage: Option<Stage>,
    /// What could not be done.
    pub(crate) warning: Option<String>,
    /// The content of the private resolv.conf, for the holder.
    pub(crate) resolv_conf: Option<String>,
    /// Descriptors that it hands over.
    pub(crate) fds: Vec<OwnedFd>,
}

#[derive(Serialize, Deserialize)]
enum Wire {
    Stage(Stage),
    Warning(String),
    Failed { exit: u8, report: Box<Report> },
    GoOn,
    ResolvConf(String),
}

/// Writes the private resolv.conf of a command.
#[derive(Debug)]
pub struct ResolvConfWriter(Channel);

impl ResolvConfWriter {
    pub(super) fn new(channel: &Channel) -> io::Result<Self> {
        Ok(Self(Channel(channel.0.try_clone()?)))
    }

    /// Replaces its content.
    ///
    /// # Errors
    /// EPIPE: the command has ended; EMSGSIZE: it is too long.
    pub fn write(&self, content: String) -> io::Result<()> {
        if content.len() > MESSAGE_LEN_MAX / 2 {
            return Err(rustix::io::Errno::MSGSIZE.into());
        }
        self.0.send(&Wire::ResolvConf(content), &[])
    }
}

impl Channel {
    pub(crate) fn pair() -> io::Result<(Self, Self)> {
        let (a, b) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        Ok((Self(a), Self(b)))
    }

    /// Reports that `stage` is reached, with descriptors for the other end.
    pub(crate) fn reached(&self, stage: Stage, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        self.send(&Wire::Stage(stage), fds)
    }

    pub(crate) fn warn(&self, warning: String) -> io::Result<()> {
        self.send(&Wire::Warning(warning), &[])
    }

    pub(crate) fn fail(&self, error: Error) -> io::Result<()> {
        let exit = number_of(&error);
        self.send(&Wire::Failed { exit, report: error.report }, &[])
    }

    /// Lets the other end go on.
    pub(crate) fn go_on(&self) -> io::Result<()> {
        self.send(&Wire::GoOn, &[])
    }

    /// Waits for [`Self::go_on`] of the other end.
    pub(crate) fn wait(&self) -> io::Result<()> {
        self.receive().map(drop)
    }

    fn send(&self, wire: &Wire, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        let bytes = serde_json::to_vec(wire)?;
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FDS_MAX))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !fds.is_empty() && !control.push(SendAncillaryMessage::ScmRights(fds)) {
            return Err(rustix::io::Errno::MSGSIZE.into());
        }
        let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
        sendmsg(&self.0, &[IoSlice::new(&bytes)], &mut control, flags)?;
        Ok(())
    }

    /// Waits for a message; a failure of the other end is the inner error.
    pub(crate) fn receive(&self) -> io::Result<Result<Message>> {
        let mut bytes = vec![0; MESSAGE_LEN_MAX];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FDS_MAX))];
        let (len, fds) = descriptors::recv(self.0.as_fd(), &mut bytes, &mut space)?;
        let read = bytes.get(..len.bytes).filter(|read| !read.is_empty());
        let read = read.ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))?;
        Ok(match serde_json::from_slice(read)? {
            Wire::Stage(stage) => Ok(Message { stage: Some(stage), fds, ..Message::default() }),
            Wire::Warning(warning) => Ok(Message { warning: Some(warning), ..Message::default() }),
            Wire::GoOn => Ok(Message::default()),
            Wire::ResolvConf(text) => Ok(Message { resolv_conf: Some(text), ..Message::default() }),
            Wire::Failed { exit, report } => {
                Err(Error { kind: kind_of(exit.into()).unwrap_or(Kind::Refused), report })
            }
        })
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Reports a failure of the operating system while doing `what`.
pub(crate) fn failure(what: &str, object: &str, error: &io::Error) -> Error {
    let mut new = Error::io(what, object, error);
    new.report.code = SYSTEM.code.to_owned();
    new
}
