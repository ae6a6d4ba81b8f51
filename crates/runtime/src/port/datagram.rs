//! Frames as datagrams on unix sockets, as QEMU's `-netdev dgram` has them: one datagram a frame.
//!
//! Senders are told apart by the address to which they are bound; all of them are answered from the
//! one socket, for a sender that has connected its own takes datagrams from no other.

use crate::format::framing::{FRAME_LEN_MAX, FRAME_LEN_MIN};
use crate::port::egress::{Egress, Refusal, Sink};
use crate::port::{Cx, Gone, Hub, HubCx, HubRecv, Port, Recv, Scratch, Wait};
use crate::socket::unix::{SocketPath, bind_unix};
use adit_device::broker::UnixSocket;
use adit_engine::PortId;
use adit_packet::{Batch, Instant, PacketBuf, Pool};
use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvFlags, SendAncillaryBuffer, SendFlags, SocketAddrUnix, recvmsg,
    sendmsg, sendmsg_addr,
};
use std::any::Any;
use std::collections::HashMap;
use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

/// The system calls of an open socket.
pub(crate) const SYSCALLS: &[&str] = &["recvfrom", "recvmsg", "sendmsg", "sendto"];

/// How many senders one socket has ports for; datagrams of others are refused.
const PORTS_MAX: usize = 1024;

/// How soon a guest whose queue is full is tried again, and how seldom at last. The kernel takes ten
/// datagrams for one receiver (`net.unix.max_dgram_qlen`), and does not tell a sender to many when
/// there is room again.
const RETRY_FIRST: Duration = Duration::from_micros(100);
const RETRY_LAST: Duration = Duration::from_millis(20);

/// A bound socket with the ports of the senders that have been heard on it.
pub struct DatagramHub {
    socket: Arc<OwnedFd>,
    path: Arc<SocketPath>,
    /// Unique also after another socket was bound to the same path.
    name: Arc<str>,
    ports: HashMap<SocketAddrUnix, PortId>,
    senders: HashMap<PortId, SocketAddrUnix>,
    /// The sender of the last datagram: the next one is most often from the same.
    last: Option<(SocketAddrUnix, PortId)>,
    /// The next datagram may be from a sender whose port was returned and is not attached yet.
    has_accepted: bool,
    /// Datagrams without a sender's address, from too many senders, or that are no frames.
    refused: u64,
}

impl DatagramHub {
    /// Binds a socket; its file is removed with it.
    ///
    /// # Errors
    /// EADDRINUSE: a process has bound it; EEXIST: there is a file that is no socket.
    pub fn bind(path: &Path) -> io::Result<Self> {
        let (socket, path) = bind_unix(path, UnixSocket::Datagram)?;
        let (device, inode) = path.identity();
        Ok(Self {
            socket: Arc::new(socket),
            name: format!("unix:{} ({device}:{inode})", path.path().display()).into(),
            path: Arc::new(path),
            ports: HashMap::new(),
            senders: HashMap::new(),
            last: None,
            has_accepted: false,
            refused: 0,
        })
    }

    /// Its absolute path.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.path.path()
    }

    /// One port for the only sender at `remote`, instead of a port for each.
    ///
    /// # Errors
    /// ENAMETOOLONG.
    pub fn into_port(self, name: impl Into<String>, remote: &Path) -> io::Result<DatagramPort> {
        let remote = SocketAddrUnix::new(remote)?;
        let sink = SocketSink { socket: self.socket, remote: Some(remote), is_member: false };
        Ok(DatagramPort::new(name.into(), sink, Some(self.path), None))
    }

    fn find(&mut self, sender: &SocketAddrUnix) -> Option<PortId> {
        if let Some((last, id)) = &self.last
            && last == sender
        {
            return Some(*id);
        }
        let id = *self.ports.get(sender)?;
        self.last = Some((sender.clone(), id));
        Some(id)
    }

    fn new_port(&self, sender: SocketAddrUnix, first: &[u8]) -> DatagramPort {
        let name = match sender.path_bytes() {
            Some(path) => format!("unix:{}", String::from_utf8_lossy(path)),
            None => {
                let name = String::from_utf8_lossy(sender.abstract_name().unwrap_or_default());
                format!("unix:@{name}")
            }
        };
        let socket = Arc::clone(&self.socket);
        let sink = SocketSink { socket, remote: Some(sender), is_member: true };
        let mut port = DatagramPort::new(name, sink, None, Some(Arc::clone(&self.name)));
        port.first = Some(first.into());
        port
    }
}

impl std::fmt::Debug for DatagramHub {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        (self as &dyn Hub).fmt(f)
    }
}

impl Hub for DatagramHub {
    fn name(&self) -> &str {
        &self.name
    }

    fn fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    fn recv(&mut self, cx: &mut HubCx<'_>) -> HubRecv {
        if std::mem::take(&mut self.has_accepted) {
            return HubRecv::Nothing;
        }
        match receive(self.socket.as_fd(), cx.pool, cx.scratch) {
            Datagram::Frame(packet, Some(sender)) => {
                if let Some(id) = self.find(&sender) {
                    cx.arrivals.push(id, packet);
                    return HubRecv::Some;
                }
                let is_bound = sender.path().is_some() || sender.abstract_name().is_some();
                if is_bound && self.ports.len() < PORTS_MAX {
                    let port = self.new_port(sender, packet.bytes());
                    cx.pool.give(packet);
                    self.has_accepted = true;
                    return HubRecv::Accepted(Box::new(port));
                }
                self.refused += 1;
                cx.pool.give(packet);
                HubRecv::Some
            }
            Datagram::Frame(packet, None) => {
                self.refused += 1;
                cx.pool.give(packet);
                HubRecv::Some
            }
            Datagram::Dropped { .. } => {
                self.refused += 1;
                HubRecv::Some
            }
            Datagram::Nothing => HubRecv::Nothing,
            Datagram::Failed(error) => HubRecv::Gone(error.into()),
        }
    }

    fn join(&mut self, id: PortId, port: &mut dyn Port) -> io::Result<()> {
        let port = (port as &mut dyn Any).downcast_mut::<DatagramPort>().ok_or(Errno::INVAL)?;
        let sender = port.sink.remote.clone().ok_or(Errno::INVAL)?;
        if self.ports.contains_key(&sender) {
            return Err(Errno::EXIST.into());
        }
        self.ports.insert(sender.clone(), id);
        self.senders.insert(id, sender);
        Ok(())
    }

    fn leave(&mut self, id: PortId) {
        if let Some(sender) = self.senders.remove(&id) {
            self.ports.remove(&sender);
        }
        self.last = None;
    }

    fn refused(&self) -> u64 {
        self.refused
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

fn receive(socket: BorrowedFd<'_>, pool: &mut Pool, scratch: &mut Scratch) -> Datagram {
    let mut control = RecvAncillaryBuffer::default();
    let flags = RecvFlags::DONTWAIT | RecvFlags::TRUNC;
    let Some(room) = pool.ready(&mut scratch.pair, 0) else {
        // What stays unread would be ready for ever.
        let mut bufs = [IoSliceMut::new(&mut scratch.bytes)];
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
    match scratch.pair.settle(message.bytes) {
        Some(packet) => Datagram::Frame(packet, peer),
        None => Datagram::Dropped { no_buffer: false },
    }
}

/// One sender of datagrams as a port.
pub struct DatagramPort {
    name: String,
    sink: SocketSink,
    egress: Egress,
    /// The file of a socket that is this port's own.
    path: Option<Arc<SocketPath>>,
    /// The datagram that made the sender known.
    first: Option<Box<[u8]>>,
    /// The name of the hub that it shares.
    hub: Option<Arc<str>>,
    retry_at: Option<Instant>,
    retry_after: Duration,
}

impl DatagramPort {
    fn new(
        name: String,
        sink: SocketSink,
        path: Option<Arc<SocketPath>>,
        hub: Option<Arc<str>>,
    ) -> Self {
        Self {
            name,
            sink,
            egress: Egress::new(),
            path,
            first: None,
            hub,
            retry_at: None,
            retry_after: RETRY_FIRST,
        }
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

debug_as_port!(DatagramPort);

impl Port for DatagramPort {
    fn name(&self) -> &str {
        &self.name
    }

    fn descriptors(&self, each: &mut dyn FnMut(BorrowedFd<'_>, Wait)) {
        // A datagram socket has room while one of its senders has none: time decides, not the descriptor.
        if self.path.is_some() {
            each(self.sink.socket.as_fd(), Wait::Read);
        }
    }

    fn hub(&self) -> Option<&str> {
        self.hub.as_deref()
    }

    fn recv(&mut self, cx: &mut Cx<'_>) -> Recv {
        if let Some(first) = self.first.take() {
            return cx.copy(&first);
        }
        if self.path.is_none() {
            return Recv::Nothing;
        }
        match receive(self.sink.socket.as_fd(), cx.pool, cx.scratch) {
            Datagram::Frame(packet, peer) if peer == self.sink.remote => Recv::Packet(packet),
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
            Datagram::Failed(error) => Recv::Failed(error.into()),
        }
    }

    fn send(&mut self, cx: &mut Cx<'_>, batch: &mut Batch) -> Result<(), Gone> {
        let result = self.egress.send(&mut self.sink, cx, batch);
        self.set_retry(cx.now, false);
        result
    }

    fn flush(&mut self, cx: &mut Cx<'_>) -> Result<(), Gone> {
        let before = cx.counters.sent;
        let result = self.egress.flush(&mut self.sink, cx);
        self.retry_at = None;
        self.set_retry(cx.now, cx.counters.sent == before);
        result
    }

    fn queued(&self) -> Option<usize> {
        Some(self.egress.queued())
    }

    fn next_timeout(&self) -> Option<Instant> {
        self.retry_at
    }

    fn close(&mut self, pool: &mut Pool) -> Option<JoinHandle<()>> {
        self.egress.clear(pool);
        None
    }
}

/// The sending side of a socket that keeps the bounds of datagrams.
pub(crate) struct SocketSink {
    pub socket: Arc<OwnedFd>,
    /// The receiver; `None` on a connected socket.
    pub remote: Option<SocketAddrUnix>,
    /// Whether the port ends with the receiver's socket; a receiver that was named may come later.
    pub is_member: bool,
}

impl Sink for SocketSink {
    fn send_parts(&mut self, head: &[u8], tail: &[u8]) -> Result<(), Refusal> {
        let parts = [head, tail].map(IoSlice::new);
        let parts = if tail.is_empty() { &parts[..1] } else { &parts };
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        let mut control = SendAncillaryBuffer::default();
        let sent = match &self.remote {
            Some(remote) => sendmsg_addr(&self.socket, remote, parts, &mut control, flags),
            None => sendmsg(&self.socket, parts, &mut control, flags),
        };
        match sent {
            Ok(_) => Ok(()),
            Err(Errno::AGAIN) => Err(Refusal::Room),
            Err(
                Errno::CONNREFUSED | Errno::NOENT | Errno::CONNRESET | Errno::PIPE | Errno::NOTCONN,
            ) => Err(if self.is_member { Refusal::Gone(Gone::Closed) } else { Refusal::Down }),
            Err(Errno::NOBUFS | Errno::NOMEM) => Err(Refusal::Full),
            Err(Errno::MSGSIZE) => Err(Refusal::TooBig),
            Err(_) => Err(Refusal::Refused),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use adit_packet::PoolConfig;

    #[test]
    fn a_first_datagram_without_a_buffer_is_counted() {
        let (socket, _other) = std::os::unix::net::UnixDatagram::pair().unwrap();
        let sink = SocketSink { socket: Arc::new(socket.into()), remote: None, is_member: true };
        let mut port = DatagramPort::new("a".to_owned(), sink, None, None);
        port.first = Some([0; 60].into());
        let none = PoolConfig { small_limit: 0, large_limit: 0, ..PoolConfig::default() };
        let (mut pool, mut scratch, mut counters) =
            (Pool::new(none), Scratch::new(), crate::port::PortCounters::default());
        let mut cx = Cx {
            now: Instant::from_nanos(0),
            handled: adit_engine::Handled::NOTHING,
            pool: &mut pool,
            scratch: &mut scratch,
            counters: &mut counters,
        };
        assert!(matches!(port.recv(&mut cx), Recv::Dropped));
        assert_eq!(counters.no_buffer, 1);
    }
}
