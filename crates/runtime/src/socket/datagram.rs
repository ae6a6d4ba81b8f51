//! Frames as datagrams on unix sockets, as QEMU's `-netdev dgram` has them: one datagram a frame.
//!
//! Guests are told apart by the address to which they are bound; all of them are answered from the
//! one socket, for a guest that has connected its own takes datagrams from no other.

use crate::event::{Event, Gone};
use crate::format::framing::{FRAME_LEN_MAX, FRAME_LEN_MIN};
use crate::port::Port;
use crate::port::egress::{Egress, Refusal, Sink};
use crate::port::{Cx, Io, Kit, Recv};
use crate::runner::ListenerId;
use crate::runner::Runner;
use crate::runner::serve::FRAMES_MAX;
use crate::socket::Shared;
use crate::socket::listener::{SocketPath, bind_unix};
use adit_engine::{Engine, PortId};
use adit_packet::{Batch, Instant, PacketBuf, Pool};
use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvFlags, SendAncillaryBuffer, SendFlags, SocketAddrUnix, SocketType,
    recvmsg, sendmsg_addr,
};
use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// How many guests one socket has: beyond it, strangers are not heard.
const GUESTS_MAX: usize = 1024;

/// How soon a guest whose queue is full is tried again, and how seldom at last. The kernel takes ten
/// datagrams for one receiver (`net.unix.max_dgram_qlen`), and does not tell a sender to many when
/// there is room again.
const RETRY_FIRST: Duration = Duration::from_micros(100);
const RETRY_LAST: Duration = Duration::from_millis(20);

/// A bound socket with the guests that have been heard on it.
pub struct DatagramSocket {
    socket: Arc<OwnedFd>,
    path: Arc<SocketPath>,
    guests: Vec<(SocketAddrUnix, PortId)>,
    /// Where the last datagram's sender stands: the next one is most often of the same.
    last: usize,
    /// Datagrams from nowhere, from too many guests, or that are no frames.
    pub refused: u64,
}

impl DatagramSocket {
    pub fn bind(path: &Path) -> io::Result<Self> {
        let (socket, path) = bind_unix(path, SocketType::DGRAM)?;
        Ok(Self {
            socket: Arc::new(socket),
            path: Arc::new(path),
            guests: Vec::new(),
            last: 0,
            refused: 0,
        })
    }

    pub fn fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    pub fn path(&self) -> &Path {
        self.path.path()
    }

    /// One port for the only guest at `remote`, instead of a port for each.
    pub fn into_port(self, remote: &Path) -> io::Result<DatagramPort> {
        let remote = SocketAddrUnix::new(remote)?;
        let sink = DatagramSink { socket: self.socket, remote, is_member: false };
        Ok(DatagramPort::new(sink, Some(self.path), None))
    }

    pub fn members(&self) -> Vec<PortId> {
        self.guests.iter().map(|&(_, id)| id).collect()
    }

    pub fn join(&mut self, peer: SocketAddrUnix, id: PortId) -> io::Result<()> {
        if self.guests.iter().any(|(known, _)| *known == peer) {
            return Err(Errno::EXIST.into());
        }
        self.guests.push((peer, id));
        Ok(())
    }

    pub fn leave(&mut self, id: PortId) {
        self.guests.retain(|&(_, guest)| guest != id);
    }

    fn find(&mut self, peer: &SocketAddrUnix) -> Option<PortId> {
        let is_it = |(known, _): &(SocketAddrUnix, PortId)| known == peer;
        if !self.guests.get(self.last).is_some_and(is_it) {
            self.last = self.guests.iter().position(is_it)?;
        }
        self.guests.get(self.last).map(|&(_, id)| id)
    }
}

/// What came out of a datagram socket.
enum Datagram {
    Frame(PacketBuf, Option<SocketAddrUnix>),
    /// Too short, too long, or there was no buffer for it.
    Dropped {
        no_buffer: bool,
    },
    Nothing,
    Failed(Errno),
}

fn receive(socket: BorrowedFd<'_>, pool: &mut Pool, kit: &mut Kit) -> Datagram {
    let mut control = RecvAncillaryBuffer::default();
    let flags = RecvFlags::DONTWAIT | RecvFlags::TRUNC;
    let Some(room) = pool.ready(&mut kit.pair, 0) else {
        // What stays unread would be ready for ever.
        let mut bufs = [IoSliceMut::new(&mut kit.scratch)];
        return match recvmsg(socket, &mut bufs, &mut control, flags) {
            Ok(_) => Datagram::Dropped { no_buffer: true },
            Err(Errno::AGAIN) => Datagram::Nothing,
            Err(error) => Datagram::Failed(error),
        };
    };
    let mut bufs = [IoSliceMut::new(room)];
    let message = match recvmsg(socket, &mut bufs, &mut control, flags) {
        Ok(message) => message,
        Err(Errno::AGAIN) => return Datagram::Nothing,
        Err(Errno::INTR) => return Datagram::Dropped { no_buffer: false },
        Err(error) => return Datagram::Failed(error),
    };
    if !(FRAME_LEN_MIN..=FRAME_LEN_MAX).contains(&message.bytes) {
        return Datagram::Dropped { no_buffer: false };
    }
    let peer = message.address.and_then(|address| SocketAddrUnix::try_from(address).ok());
    match kit.pair.settle(message.bytes) {
        Some(packet) => Datagram::Frame(packet, peer),
        None => Datagram::Dropped { no_buffer: false },
    }
}

/// A guest that sends datagrams.
pub struct DatagramPort {
    sink: DatagramSink,
    egress: Egress,
    /// The file of a socket that is this port's own.
    path: Option<Arc<SocketPath>>,
    /// What made the guest known.
    first: Option<Box<[u8]>>,
    /// The listener's place, of a guest.
    place: Option<u16>,
    retry_at: Option<Instant>,
    retry_after: Duration,
}

impl DatagramPort {
    fn new(sink: DatagramSink, path: Option<Arc<SocketPath>>, place: Option<u16>) -> Self {
        Self {
            sink,
            egress: Egress::new(),
            path,
            first: None,
            place,
            retry_at: None,
            retry_after: RETRY_FIRST,
        }
    }

    /// The socket, if it is this port's own.
    pub fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.path.is_some().then(|| self.sink.socket.as_fd())
    }

    /// The listener's place and the guest's address, of a guest.
    pub fn peer(&self) -> Option<(u16, SocketAddrUnix)> {
        Some((self.place?, self.sink.remote.clone()))
    }

    pub fn recv(&mut self, cx: &mut Cx<'_>) -> Recv {
        if let Some(first) = self.first.take() {
            let packet = cx.pool.take(first.len()).and_then(|mut packet| {
                packet.extend(&first).ok()?;
                Some(packet)
            });
            return packet.map_or(Recv::Dropped, Recv::Packet);
        }
        if self.path.is_none() {
            return Recv::Nothing;
        }
        match receive(self.sink.socket.as_fd(), cx.pool, cx.kit) {
            Datagram::Frame(packet, Some(peer)) if peer == self.sink.remote => Recv::Packet(packet),
            Datagram::Frame(packet, _) => {
                cx.counters.malformed += 1;
                cx.pool.give(packet);
                Recv::Dropped
            }
            Datagram::Dropped { no_buffer } => {
                let count =
                    if no_buffer { &mut cx.counters.no_buffer } else { &mut cx.counters.malformed };
                *count += 1;
                Recv::Dropped
            }
            Datagram::Nothing => Recv::Nothing,
            Datagram::Failed(error) => Recv::Gone(Gone::Failed(error.into())),
        }
    }

    pub fn send(&mut self, cx: &mut Cx<'_>, batch: &mut Batch) -> Result<(), Gone> {
        let result = self.egress.send(&mut self.sink, cx, batch);
        self.set_retry(cx.now, false);
        result
    }

    pub fn flush(&mut self, cx: &mut Cx<'_>) -> Result<(), Gone> {
        let before = cx.counters.sent;
        let result = self.egress.flush(&mut self.sink, cx);
        self.retry_at = None;
        self.set_retry(cx.now, cx.counters.sent == before);
        result
    }

    pub fn next_timeout(&self) -> Option<Instant> {
        self.retry_at
    }

    pub fn close(&mut self, pool: &mut Pool) {
        self.egress.clear(pool);
    }

    /// Sets when what waits is tried again, later each time that nothing went.
    fn set_retry(&mut self, now: Instant, in_vain: bool) {
        if !self.egress.is_waiting() {
            (self.retry_at, self.retry_after) = (None, RETRY_FIRST);
        } else if self.retry_at.is_none() {
            let longer = (self.retry_after * 2).min(RETRY_LAST);
            self.retry_after = if in_vain { longer } else { RETRY_FIRST };
            self.retry_at = Some(now + self.retry_after);
        }
    }
}

struct DatagramSink {
    socket: Arc<OwnedFd>,
    remote: SocketAddrUnix,
    /// Whether the port ends when the guest's socket does; one that was named may come later.
    is_member: bool,
}

impl DatagramSink {
    fn send(&self, parts: &[IoSlice<'_>]) -> Result<(), Refusal> {
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        let mut control = SendAncillaryBuffer::default();
        match sendmsg_addr(&self.socket, &self.remote, parts, &mut control, flags) {
            Ok(_) => Ok(()),
            Err(Errno::AGAIN) => Err(Refusal::Room),
            Err(Errno::CONNREFUSED | Errno::NOENT | Errno::CONNRESET) if self.is_member => {
                Err(Refusal::Gone(Gone::Closed))
            }
            Err(Errno::CONNREFUSED | Errno::NOENT | Errno::CONNRESET) => Err(Refusal::Down),
            Err(Errno::NOBUFS | Errno::NOMEM) => Err(Refusal::Full),
            Err(Errno::MSGSIZE) => Err(Refusal::TooBig),
            Err(_) => Err(Refusal::Refused),
        }
    }
}

impl Sink for DatagramSink {
    fn send_packet(&mut self, packet: &PacketBuf) -> Result<(), Refusal> {
        self.send(&[IoSlice::new(packet.bytes())])
    }

    fn send_parts(&mut self, head: &[u8], tail: &[u8]) -> Result<(), Refusal> {
        self.send(&[head, tail].map(IoSlice::new))
    }

    fn takes_offloads(&self) -> bool {
        false
    }
}

impl<E: Engine> Runner<E> {
    /// Reads a socket of guests until it has nothing more, has had its share, or a new guest came.
    pub fn serve_datagrams(&mut self, place: u16) {
        for _ in 0..FRAMES_MAX {
            let slot = self.shared.get_mut(usize::from(place)).and_then(Option::as_mut);
            let Some(Shared::Datagram(socket)) = slot.map(|slot| &mut slot.kind) else { return };
            match receive(socket.socket.as_fd(), self.out.pool(), &mut self.kit) {
                Datagram::Frame(packet, Some(peer)) => {
                    if let Some(id) = socket.find(&peer) {
                        self.take_in(id, packet);
                        continue;
                    }
                    let is_bound = peer.path().is_some() || peer.abstract_name().is_some();
                    if is_bound && socket.guests.len() < GUESTS_MAX {
                        let port = new_guest(socket, place, peer, packet.bytes());
                        self.events.push_back(Event::Accepted(ListenerId(place), port));
                        self.out.pool().give(packet);
                        break;
                    }
                    socket.refused += 1;
                    self.out.pool().give(packet);
                }
                Datagram::Frame(packet, None) => {
                    socket.refused += 1;
                    self.out.pool().give(packet);
                }
                Datagram::Dropped { .. } => socket.refused += 1,
                Datagram::Nothing => break,
                Datagram::Failed(error) => {
                    self.unshare(place);
                    let event = Event::ListenerGone(ListenerId(place), error.into());
                    self.events.push_back(event);
                    break;
                }
            }
        }
        self.flush();
    }
}

fn new_guest(socket: &DatagramSocket, place: u16, peer: SocketAddrUnix, first: &[u8]) -> Port {
    let name = match peer.path_bytes() {
        Some(path) => format!("unix:{}", String::from_utf8_lossy(path)),
        None => {
            let name = String::from_utf8_lossy(peer.abstract_name().unwrap_or_default());
            format!("unix:@{name}")
        }
    };
    let sink = DatagramSink { socket: Arc::clone(&socket.socket), remote: peer, is_member: true };
    let mut port = DatagramPort::new(sink, None, Some(place));
    port.first = Some(first.into());
    Port::new(name, None, Io::Datagram(Box::new(port)))
}
