//! Bytes in both directions, non-blocking: a connected socket, or a descriptor for each direction.

use crate::port::{Gone, Wait};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::Errno;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// The two directions, and whether the one to write to is full.
#[derive(Debug)]
pub struct ByteStream {
    reader: Handle,
    /// Where it is another one than the reader.
    writer: Option<Handle>,
    is_full: bool,
}

impl ByteStream {
    /// A connected socket, or one that is about to be.
    pub fn socket(socket: OwnedFd) -> io::Result<Self> {
        Ok(Self { reader: Handle::new(socket)?, writer: None, is_full: false })
    }

    /// A descriptor for each direction.
    pub fn pair(reader: OwnedFd, writer: OwnedFd) -> io::Result<Self> {
        let (reader, writer) = (Handle::new(reader)?, Some(Handle::new(writer)?));
        Ok(Self { reader, writer, is_full: false })
    }

    /// The descriptor to read from; of a socket, the only one.
    pub fn reader(&self) -> BorrowedFd<'_> {
        self.reader.fd.as_fd()
    }

    /// Calls `each` with the descriptors.
    pub fn descriptors(&self, each: &mut dyn FnMut(BorrowedFd<'_>, Wait)) {
        match &self.writer {
            None => each(self.reader.fd.as_fd(), Wait::Both),
            Some(writer) => {
                each(self.reader.fd.as_fd(), Wait::Read);
                each(writer.fd.as_fd(), Wait::Write);
            }
        }
    }

    /// How many bytes came; none if there are none now.
    pub fn read(&self, room: &mut [u8]) -> Result<Option<usize>, Gone> {
        loop {
            match rustix::io::read(&self.reader.fd, &mut *room) {
                Ok(0) => return Err(Gone::Closed),
                Ok(count) => return Ok(Some(count)),
                Err(Errno::AGAIN) => return Ok(None),
                Err(Errno::INTR) => {}
                Err(error) => return Err(gone(error)),
            }
        }
    }

    /// Writes as many of the bytes as there is room for; how many.
    pub fn write(&mut self, bytes: &[u8]) -> Result<usize, Gone> {
        let writer = self.writer.as_ref().unwrap_or(&self.reader);
        let mut rest = bytes;
        self.is_full = false;
        while !rest.is_empty() && !self.is_full {
            match writer.write(rest) {
                Ok(count) => rest = rest.get(count..).unwrap_or_default(),
                Err(Errno::AGAIN) => self.is_full = true,
                Err(Errno::INTR) => {}
                Err(error) => return Err(gone(error)),
            }
        }
        Ok(bytes.len() - rest.len())
    }

    /// Whether the last write found no room: then only the descriptor shows when there is some.
    pub fn is_full(&self) -> bool {
        self.is_full
    }

    /// Whether the reader of our write descriptor has gone (POLLERR). Only with separate descriptors: EOF on
    /// the read side does not show it, and epoll reports the error forever if it is ignored.
    pub fn is_gone(&self) -> bool {
        self.writer.as_ref().is_some_and(Handle::has_failed)
    }
}

fn gone(error: Errno) -> Gone {
    match error {
        Errno::PIPE | Errno::CONNRESET => Gone::Closed,
        error => Gone::Failed(error.into()),
    }
}

/// A descriptor that is non-blocking until it is dropped. It may be shared with other programs (the
/// standard streams are), so its flags are restored then.
#[derive(Debug)]
struct Handle {
    fd: OwnedFd,
    flags: OFlags,
    is_socket: bool,
}

impl Handle {
    fn new(fd: OwnedFd) -> io::Result<Self> {
        let flags = fcntl_getfl(&fd)?;
        if !flags.contains(OFlags::NONBLOCK) {
            fcntl_setfl(&fd, flags | OFlags::NONBLOCK)?;
        }
        let is_socket = rustix::net::sockopt::socket_type(&fd).is_ok();
        Ok(Self { fd, flags, is_socket })
    }

    fn write(&self, bytes: &[u8]) -> rustix::io::Result<usize> {
        if self.is_socket {
            // Without a signal, whatever the program does with SIGPIPE.
            return rustix::net::send(&self.fd, bytes, rustix::net::SendFlags::NOSIGNAL);
        }
        rustix::io::write(&self.fd, bytes)
    }

    /// Whether the other end has gone.
    fn has_failed(&self) -> bool {
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        let mut fds = [PollFd::new(&self.fd, PollFlags::empty())];
        let polled = poll(&mut fds, Some(&now));
        polled.is_ok() && fds.iter().any(|fd| fd.revents().contains(PollFlags::ERR))
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        if !self.flags.contains(OFlags::NONBLOCK) {
            let _ = fcntl_setfl(&self.fd, self.flags);
        }
    }
}
