//! `fd:N`: a descriptor that the program inherited: a queue of a TAP or TUN device, a stream with QEMU's
//! framing, or a connected datagram socket with one frame a datagram.

use crate::error::{Error, Result};
use crate::format::framing::{FRAME_LEN_MAX, FRAME_LEN_MIN};
use crate::port::datagram::SocketSink;
use crate::port::egress::Egress;
use crate::port::kind::{Key, Kind, Opened, PortOptions};
use crate::port::kinds::device::DevicePort;
use crate::port::stream::StreamPort;
use crate::port::{Cx, Gone, Port, Recv, Wait};
use crate::text::words::{SpecError, parsed};
use adit_device::process::require_peer;
use adit_device::rights::stat_of;
use adit_device::{Device, Mode};
use adit_packet::{Batch, Pool};
use rustix::fs::FileType;
use rustix::io::Errno;
use rustix::net::sockopt::socket_type;
use rustix::net::{RecvFlags, SocketType, recv};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::thread::JoinHandle;

/// `fd:N`: an inherited descriptor.
pub static FD: Kind = Kind {
    prefix: "fd",
    argument: "N",
    help: "an inherited descriptor: a TAP queue, a stream as unix: has it, or a datagram socket",
    keys: &[Key::new("tun", "", "it is the queue of a TUN device")],
    parse: |argument, words| {
        let number: RawFd = parsed(argument.at, "the number of a descriptor", argument.text)?;
        if number < 3 {
            return Err(SpecError::new(
                argument.at,
                "descriptors below 3 are the standard streams",
            )
            .hint("write stdio for standard input and output"));
        }
        Ok(Box::new(FdSpec { number, is_tun: words.flag("tun")? }))
    },
};

/// What `fd:` asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FdSpec {
    /// The number of the descriptor.
    pub number: RawFd,
    /// Whether it is the queue of a TUN device.
    pub is_tun: bool,
}

impl PortOptions for FdSpec {
    fn open(&self) -> Result<Opened> {
        let name = format!("fd:{}", self.number);
        let failed = |error: io::Error| {
            let hint = match Errno::from_io_error(&error) {
                Some(Errno::BADF) => "Open it before the program starts: adit ... 5<>/dev/net/tun",
                Some(Errno::BUSY) => "Only inherited descriptors can be ports.",
                _ => "It must be a TAP queue, a stream socket or a connected datagram socket.",
            };
            Error::io("use", &name, &error).hint(hint)
        };
        let fd = adit_device::take_inherited(self.number).map_err(failed)?;
        match FileType::from_raw_mode(stat_of(&fd).map_err(failed)?.stx_mode.into()) {
            FileType::CharacterDevice => {
                let mode = if self.is_tun { Mode::Tun } else { Mode::Tap };
                Ok(Opened::port(DevicePort::new(Device::adopt(fd, mode)?)?))
            }
            FileType::Socket => match socket_type(&fd).map_err(|error| failed(error.into()))? {
                SocketType::STREAM => {
                    Ok(Opened::port(StreamPort::socket(name.clone(), fd).map_err(failed)?))
                }
                SocketType::DGRAM | SocketType::SEQPACKET => {
                    Ok(Opened::port(SocketPort::new(name.clone(), fd).map_err(failed)?))
                }
                _ => Err(failed(Errno::PROTOTYPE.into())),
            },
            _ => Err(failed(Errno::NOTSOCK.into())),
        }
    }

    fn is_layer3(&self) -> bool {
        self.is_tun
    }

    fn needs_owner(&self) -> bool {
        true
    }
}

/// A connected socket that keeps the bounds of messages: one frame each. It carries no offloads.
pub struct SocketPort {
    name: String,
    sink: SocketSink,
    egress: Egress,
}

impl SocketPort {
    /// A port on a connected datagram or seqpacket socket.
    ///
    /// # Errors
    /// ENOTCONN: it has no peer.
    pub fn new(name: impl Into<String>, socket: OwnedFd) -> io::Result<Self> {
        require_peer(socket.as_fd())?;
        rustix::io::ioctl_fionbio(&socket, true)?;
        let sink = SocketSink { socket: Arc::new(socket), remote: None, is_member: true };
        Ok(Self { name: name.into(), sink, egress: Egress::new() })
    }
}

debug_as_port!(SocketPort);

impl Port for SocketPort {
    fn name(&self) -> &str {
        &self.name
    }

    fn recv(&mut self, cx: &mut Cx<'_>) -> Recv {
        let (has_room, flags) = (true, RecvFlags::DONTWAIT | RecvFlags::TRUNC);
        let (room, has_room) = match cx.pool.ready(&mut cx.scratch.pair, 0) {
            Some(room) => (room, has_room),
            // Read and dropped: epoll reports what stays unread forever.
            None => (&mut *cx.scratch.bytes, false),
        };
        let len = match recv(&self.sink.socket, room, flags) {
            Ok((_, 0)) => return Recv::Gone(Gone::Closed),
            Ok((_, len)) => len,
            Err(Errno::AGAIN) => return Recv::Nothing,
            Err(Errno::CONNRESET) => return Recv::Gone(Gone::Closed),
            Err(error) => return Recv::Failed(error.into()),
        };
        if !has_room {
            cx.counters.no_buffer += 1;
            return Recv::Dropped;
        }
        let is_frame = (FRAME_LEN_MIN..=FRAME_LEN_MAX).contains(&len);
        let packet = is_frame.then(|| cx.scratch.pair.settle(len)).flatten();
        packet.map_or_else(
            || {
                cx.counters.malformed += 1;
                Recv::Dropped
            },
            Recv::Packet,
        )
    }

    fn send(&mut self, cx: &mut Cx<'_>, batch: &mut Batch) -> Result<(), Gone> {
        self.egress.send(&mut self.sink, cx, batch)
    }

    fn flush(&mut self, cx: &mut Cx<'_>) -> Result<(), Gone> {
        self.egress.flush(&mut self.sink, cx)
    }

    fn descriptors(&self, each: &mut dyn FnMut(BorrowedFd<'_>, Wait)) {
        each(self.sink.socket.as_fd(), Wait::Both);
    }

    fn wants_room(&self) -> bool {
        self.egress.is_waiting()
    }

    fn queued(&self) -> Option<usize> {
        Some(self.egress.queued())
    }

    fn close(&mut self, pool: &mut Pool) -> Option<JoinHandle<()>> {
        self.egress.clear(pool);
        None
    }
}
