//! A byte stream as a port: one guest at a unix socket, or standard input and output.

use super::Gone;
use super::framing::{Decoder, Encoder, Next};
use super::port::{Cx, Recv};
use adit_packet::{Batch, Layer, PacketBuf, SuperPacket, finish_checksum};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::Errno;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// A stream of frames in both directions. It carries no offloads: super-packets are cut up and
/// checksums finished before.
pub(super) struct StreamPort {
    reader: Handle,
    /// Where it is another one than the reader.
    writer: Option<Handle>,
    decoder: Decoder,
    encoder: Encoder,
    /// The last read took less than there was room for: nothing is left to be read now.
    is_drained: bool,
    /// The last write found no room: only the descriptor tells when there is some.
    is_blocked: bool,
}

impl StreamPort {
    /// A connected socket.
    pub(super) fn socket(socket: OwnedFd) -> io::Result<Self> {
        Ok(Self::new(Handle::new(socket)?, None))
    }

    /// A descriptor for each direction.
    pub(super) fn pair(reader: OwnedFd, writer: OwnedFd) -> io::Result<Self> {
        Ok(Self::new(Handle::new(reader)?, Some(Handle::new(writer)?)))
    }

    fn new(reader: Handle, writer: Option<Handle>) -> Self {
        Self {
            reader,
            writer,
            decoder: Decoder::new(),
            encoder: Encoder::new(),
            is_drained: false,
            is_blocked: false,
        }
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.reader.fd.as_fd()
    }

    pub(super) fn write_fd(&self) -> Option<BorrowedFd<'_>> {
        self.writer.as_ref().map(|writer| writer.fd.as_fd())
    }

    pub(super) fn recv(&mut self, cx: &mut Cx<'_>) -> Recv {
        loop {
            match self.decoder.next() {
                Next::Frame(frame) => {
                    let packet = cx.pool.take(frame.len()).and_then(|mut packet| {
                        packet.extend(frame).ok()?;
                        Some(packet)
                    });
                    return packet.map_or_else(
                        || {
                            cx.counters.no_buffer += 1;
                            Recv::Dropped
                        },
                        Recv::Packet,
                    );
                }
                Next::Runt => {
                    cx.counters.malformed += 1;
                    return Recv::Dropped;
                }
                Next::TooLong => return Recv::Gone(Gone::Protocol("a frame of more than 64 KiB")),
                Next::More if std::mem::take(&mut self.is_drained) => return Recv::Nothing,
                Next::More => {}
            }
            let spare = self.decoder.spare_mut();
            match rustix::io::read(&self.reader.fd, &mut *spare) {
                Ok(0) => return Recv::Gone(Gone::Closed),
                Ok(count) => {
                    self.is_drained = count < spare.len();
                    self.decoder.filled(count);
                }
                Err(Errno::AGAIN) => return Recv::Nothing,
                Err(Errno::INTR) => {}
                Err(Errno::CONNRESET | Errno::PIPE) => return Recv::Gone(Gone::Closed),
                Err(error) => return Recv::Gone(Gone::Failed(error.into())),
            }
        }
    }

    /// Whether frames are here that no descriptor tells of.
    pub(super) fn has_more(&self) -> bool {
        self.decoder.has_next()
    }

    pub(super) fn send(&mut self, cx: &mut Cx<'_>, batch: &mut Batch) -> Result<(), Gone> {
        let mut result = Ok(());
        for mut packet in batch.drain(..) {
            if result.is_ok() {
                result = self.push(cx, &mut packet);
            }
            cx.pool.give(packet);
        }
        result?;
        if self.is_blocked { Ok(()) } else { self.write() }
    }

    pub(super) fn flush(&mut self) -> Result<(), Gone> {
        // A pipe whose reader went is ready for ever, also while there is nothing to write.
        if self.encoder.is_empty() && self.writer.as_ref().is_some_and(Handle::has_failed) {
            return Err(Gone::Closed);
        }
        self.write()
    }

    pub(super) fn is_waiting(&self) -> bool {
        !self.encoder.is_empty()
    }

    /// Appends a packet's frames, as many as there is room for.
    fn push(&mut self, cx: &mut Cx<'_>, packet: &mut PacketBuf) -> Result<(), Gone> {
        if !packet.meta.vnet.is_super_packet() {
            if finish_checksum(packet).is_err() {
                cx.counters.refused += 1;
                return Ok(());
            }
            let went = self.push_frame(packet.bytes(), &[])?;
            count(cx, went, packet.len());
            return Ok(());
        }
        let whole = SuperPacket::parse(packet.bytes(), &packet.meta.vnet, Layer::Frame);
        let Some((whole, headers)) = whole.ok().and_then(|whole| {
            let headers = cx.kit.headers.get_mut(..whole.header_len())?;
            Some((whole, headers))
        }) else {
            cx.counters.refused += 1;
            return Ok(());
        };
        let mut went = true;
        for segment in whole.segments() {
            went &= segment.write_headers(headers).is_ok()
                && self.push_frame(headers, segment.payload())?;
        }
        count(cx, went, packet.len());
        Ok(())
    }

    /// Appends a frame, after making room for it if the stream takes some; whether it went.
    fn push_frame(&mut self, head: &[u8], tail: &[u8]) -> Result<bool, Gone> {
        if self.encoder.push(head, tail) {
            return Ok(true);
        }
        if self.is_blocked {
            return Ok(false);
        }
        self.write()?;
        Ok(self.encoder.push(head, tail))
    }

    fn write(&mut self) -> Result<(), Gone> {
        let writer = self.writer.as_ref().unwrap_or(&self.reader);
        self.is_blocked = false;
        while !self.encoder.is_empty() {
            match writer.write(self.encoder.bytes()) {
                Ok(count) => self.encoder.written(count),
                Err(Errno::AGAIN) => {
                    self.is_blocked = true;
                    return Ok(());
                }
                Err(Errno::INTR) => {}
                Err(Errno::PIPE | Errno::CONNRESET) => return Err(Gone::Closed),
                Err(error) => return Err(Gone::Failed(error.into())),
            }
        }
        Ok(())
    }
}

fn count(cx: &mut Cx<'_>, went: bool, len: usize) {
    if went {
        cx.counters.sent += 1;
        cx.counters.sent_bytes += u64::try_from(len).unwrap_or(0);
    } else {
        cx.counters.queue_full += 1;
    }
}

/// A descriptor that does not wait as long as it is here; it may be shared with other programs (the
/// standard streams are), who find it as it was.
pub(super) struct Handle {
    fd: OwnedFd,
    flags: OFlags,
    is_socket: bool,
}

impl Handle {
    pub(super) fn new(fd: OwnedFd) -> io::Result<Self> {
        let flags = fcntl_getfl(&fd)?;
        if !flags.contains(OFlags::NONBLOCK) {
            fcntl_setfl(&fd, flags | OFlags::NONBLOCK)?;
        }
        let is_socket = rustix::net::sockopt::socket_type(&fd).is_ok();
        Ok(Self { fd, flags, is_socket })
    }

    pub(super) fn write(&self, bytes: &[u8]) -> rustix::io::Result<usize> {
        if self.is_socket {
            // Without a signal, whatever the program does with SIGPIPE.
            return rustix::net::send(&self.fd, bytes, rustix::net::SendFlags::NOSIGNAL);
        }
        rustix::io::write(&self.fd, bytes)
    }

    /// Whether the other end has gone, as the descriptor to write to tells it.
    pub(super) fn has_failed(&self) -> bool {
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        let mut fds = [PollFd::new(&self.fd, PollFlags::empty())];
        let polled = poll(&mut fds, Some(&now));
        polled.is_ok() && fds.iter().any(|fd| fd.revents().contains(PollFlags::ERR))
    }
}

impl AsFd for Handle {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        if !self.flags.contains(OFlags::NONBLOCK) {
            let _ = fcntl_setfl(&self.fd, self.flags);
        }
    }
}
