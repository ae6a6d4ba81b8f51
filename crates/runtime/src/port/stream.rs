//! A byte stream of frames as a port: one connection of a unix socket, or standard input and output.
//! Each frame has its length before it (u32, big endian), as QEMU's `-netdev stream` has it.

use crate::format::framing::{Decoder, Encoder, Next};
use crate::port::byte_stream::ByteStream;
use crate::port::{Cx, Gone, Port, Recv, Wait};
use adit_packet::{Batch, Layer, PacketBuf, SuperPacket, finish_checksum};
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

/// A stream of frames in both directions. It carries no offloads: super-packets are cut up and
/// checksums finished before.
pub struct StreamPort {
    name: String,
    stream: ByteStream,
    decoder: Decoder,
    encoder: Encoder,
    /// The last read took less than there was room for: nothing is left to be read now.
    is_drained: bool,
}

impl StreamPort {
    /// A port on a connected stream socket.
    ///
    /// # Errors
    /// Those of fcntl(2).
    pub fn socket(name: impl Into<String>, socket: OwnedFd) -> io::Result<Self> {
        Ok(Self::new(name, ByteStream::socket(socket)?))
    }

    /// A port on a byte stream.
    pub fn new(name: impl Into<String>, stream: ByteStream) -> Self {
        Self {
            name: name.into(),
            stream,
            decoder: Decoder::new(),
            encoder: Encoder::new(),
            is_drained: false,
        }
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
            let headers = cx.scratch.headers.get_mut(..whole.header_len())?;
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
        if self.stream.is_full() {
            return Ok(false);
        }
        self.write()?;
        Ok(self.encoder.push(head, tail))
    }

    fn write(&mut self) -> Result<(), Gone> {
        let count = self.stream.write(self.encoder.bytes())?;
        self.encoder.written(count);
        Ok(())
    }
}

debug_as_port!(StreamPort);

impl Port for StreamPort {
    fn name(&self) -> &str {
        &self.name
    }

    fn recv(&mut self, cx: &mut Cx<'_>) -> Recv {
        loop {
            match self.decoder.next_frame() {
                Next::Frame(frame) => return cx.copy(frame),
                Next::Runt => {
                    cx.counters.malformed += 1;
                    return Recv::Dropped;
                }
                Next::TooLong => return Recv::Gone(Gone::Protocol("a frame of more than 64 KiB")),
                Next::More if std::mem::take(&mut self.is_drained) => return Recv::Nothing,
                Next::More => {}
            }
            let spare = self.decoder.spare_mut();
            match self.stream.read(spare) {
                Ok(Some(count)) => {
                    self.is_drained = count < spare.len();
                    self.decoder.filled(count);
                }
                Ok(None) => return Recv::Nothing,
                Err(gone) => return Recv::Gone(gone),
            }
        }
    }

    fn send(&mut self, cx: &mut Cx<'_>, batch: &mut Batch) -> Result<(), Gone> {
        let mut result = Ok(());
        for mut packet in batch.drain(..) {
            if result.is_ok() {
                result = self.push(cx, &mut packet);
            }
            cx.pool.give(packet);
        }
        result?;
        if self.stream.is_full() { Ok(()) } else { self.write() }
    }

    fn flush(&mut self, _: &mut Cx<'_>) -> Result<(), Gone> {
        if self.encoder.is_empty() && self.stream.is_gone() {
            return Err(Gone::Closed);
        }
        self.write()
    }

    fn descriptors(&self, each: &mut dyn FnMut(BorrowedFd<'_>, Wait)) {
        self.stream.descriptors(each);
    }

    fn wants_room(&self) -> bool {
        !self.encoder.is_empty()
    }

    fn has_more(&self) -> bool {
        self.decoder.has_next()
    }

    fn failed(&mut self) -> Option<Gone> {
        self.stream.is_gone().then_some(Gone::Closed)
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
