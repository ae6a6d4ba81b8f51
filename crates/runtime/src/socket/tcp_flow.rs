//! The TCP connection of a flow.

use crate::socket::flow_event::{FlowRecv, flow_error, path_mtu, read_errors};
use crate::socket::hop_limit::HopLimit;
use adit_device::{discard_received, received_before_urgent, report_icmp_errors, set_peek_offset};
use adit_engine::{FlowError, FlowEvent};
use adit_packet::{PacketBuf, Pool};
use rustix::io::Errno;
use rustix::net::{RecvAncillaryBuffer, RecvFlags, SendFlags, Shutdown, recvmsg};
use socket2::{Domain, Protocol, Socket, Type};
use std::io::{self, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

/// How many bytes of a stream the engine may send beyond those that the kernel has taken: they wait here
/// while the socket is full. 256 KiB are 2 ms at 1 Gbit/s, in which a loop has many turns.
pub(crate) const WINDOW: u64 = 256 * 1024;

/// How many bytes of credit are worth an event.
const CREDIT_STEP: u64 = WINDOW / 16;

/// How many bytes the kernel holds that it has not sent: with more, what is sent is old when it leaves.
const NOT_SENT_MAX: u32 = 128 * 1024;

/// How long what waits is sent after the engine has closed a flow, if the peer takes nothing.
const LINGER: Duration = Duration::from_secs(60);

/// A TCP connection, whose descriptor is reported once for each change (edge-triggered).
#[derive(Debug)]
pub(crate) struct TcpFlow {
    socket: Socket,
    is_connected: bool,
    /// Bytes of the engine that the kernel has taken.
    taken: u64,
    /// Bytes of the engine that the kernel has no room for, of which `start` went already.
    pending: Vec<u8>,
    start: usize,
    /// The credit that the engine knows of.
    reported: u64,
    /// Where the next bytes for the engine are, and how many it takes.
    position: u64,
    credit: u64,
    /// The peer's direction ends here, which the engine knows.
    end: Option<u64>,
    /// There may be something to read.
    is_readable: bool,
    /// No change of the descriptor announces what comes next: the end, an error, urgent data.
    is_special: bool,
    /// The offset of the peer's latest urgent byte.
    urgent: Option<u64>,
    kept: Option<Kept>,
    wants_shutdown: bool,
    has_shut_down: bool,
}

/// Of a flow whose bytes stay in the socket until the engine releases them.
#[derive(Debug)]
struct Kept {
    piece_max: usize,
    released: u64,
    /// The kernel knows where to read next (`SO_PEEK_OFF`).
    has_offset: bool,
}

impl TcpFlow {
    /// Opens a socket and connects it, from this local port if it is free.
    pub(crate) fn open(
        from: Option<IpAddr>,
        to: SocketAddr,
        port: u16,
        hop_limit: u8,
    ) -> io::Result<Self> {
        let any: IpAddr = match to {
            SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let with_port = Some(SocketAddr::new(from.unwrap_or(any), port)).filter(|_| port != 0);
        let connected = with_port.and_then(|local| connect(to, Some(local), hop_limit).ok());
        let socket = match connected {
            Some(socket) => socket,
            // Somebody else has the port, or uses it for the same remote address.
            None => connect(to, from.map(|from| SocketAddr::new(from, 0)), hop_limit)?,
        };
        Ok(Self::new(socket))
    }

    /// A connection that a listener accepted.
    pub(crate) fn accepted(socket: Socket) -> io::Result<Self> {
        set_options(&socket)?;
        Ok(Self::new(socket))
    }

    const fn new(socket: Socket) -> Self {
        Self {
            socket,
            is_connected: false,
            taken: 0,
            pending: Vec::new(),
            start: 0,
            reported: 0,
            position: 0,
            credit: 0,
            end: None,
            is_readable: false,
            is_special: false,
            urgent: None,
            kept: None,
            wants_shutdown: false,
            has_shut_down: false,
        }
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// The socket of a flow that was not used.
    pub(crate) fn into_socket(self) -> Socket {
        self.socket
    }

    /// Notes that there may be something to read.
    pub(crate) fn note_readable(&mut self, is_special: bool) {
        self.is_readable = true;
        self.is_special |= is_special;
    }

    /// Notes where the peer's urgent byte is, which has come.
    pub(crate) fn find_urgent(&mut self) {
        let released = self.kept.as_ref().map_or(self.position, |kept| kept.released);
        if self.kept.as_ref().is_some_and(|kept| kept.has_offset) {
            // It was set before.
            let _ = set_peek_offset(&self.socket, 0);
        }
        let before = received_before_urgent(&self.socket).ok().flatten();
        self.urgent = before.map(|len| released + u64::try_from(len).unwrap_or(u64::MAX));
        self.restore_offset();
    }

    /// Has the kernel read at the position again.
    fn restore_offset(&self) {
        if let Some(kept) = self.kept.as_ref().filter(|kept| kept.has_offset) {
            let ahead = i32::try_from(self.position - kept.released).unwrap_or(i32::MAX);
            // It was set before.
            let _ = set_peek_offset(&self.socket, ahead);
        }
    }

    /// Whether it should be read now.
    pub(crate) fn wants_read(&self) -> bool {
        let is_at_end = self.end == Some(self.position);
        self.is_connected && self.is_readable && self.position < self.credit && !is_at_end
    }

    /// Whether an event of its descriptor concerns what it sends.
    pub(crate) fn wants_write(&self) -> bool {
        !self.is_connected || self.is_waiting()
    }

    /// Whether bytes wait for the socket.
    pub(crate) fn is_waiting(&self) -> bool {
        self.start < self.pending.len()
    }

    /// The socket is writable, or has failed: ends the connect, and sends what waits.
    pub(crate) fn writable(&mut self, events: &mut impl FnMut(FlowEvent)) -> Result<(), FlowError> {
        if !self.is_connected {
            if let Some(error) = self.socket.take_error().map_err(|error| flow_error(&error))? {
                // An ICMP message may have been why.
                read_errors(&self.socket, None, events);
                return Err(flow_error(&error));
            }
            let local = self.socket.local_addr().ok().and_then(|local| local.as_socket());
            let Some(local) = local else { return Err(FlowError::Other) };
            self.is_connected = true;
            if local.is_ipv6() {
                // It concerns the connect alone: later a router's error must not end the connection.
                let _ = report_icmp_errors(&self.socket, false, false);
            }
            events(FlowEvent::Connected { local, path_mtu: path_mtu(&self.socket, local) });
        }
        self.flush(events)
    }

    /// Sends bytes of the engine.
    pub(crate) fn send(
        &mut self,
        packet: &PacketBuf,
        events: &mut impl FnMut(FlowEvent),
    ) -> Result<(), FlowError> {
        let bytes = packet.bytes();
        let waiting = self.pending.len() - self.start;
        // The engine has exceeded its credit: a byte that is left out would corrupt the stream.
        if u64::try_from(waiting + bytes.len()).unwrap_or(u64::MAX) > WINDOW {
            return Err(FlowError::Other);
        }
        let mut rest = bytes;
        if self.is_connected && waiting == 0 {
            // An urgent byte that has to wait is sent as any other.
            let flags = if packet.meta.urgent { SendFlags::OOB } else { SendFlags::empty() };
            let count = self.write(rest, flags)?;
            rest = rest.get(count..).unwrap_or_default();
        }
        if !rest.is_empty() {
            self.pending.extend_from_slice(rest);
        }
        self.report_credit(events);
        Ok(())
    }

    fn flush(&mut self, events: &mut impl FnMut(FlowEvent)) -> Result<(), FlowError> {
        let pending = std::mem::take(&mut self.pending);
        let waiting = pending.get(self.start..).unwrap_or_default();
        let written = self.write(waiting, SendFlags::empty());
        self.pending = pending;
        self.start += written?;
        if self.start == self.pending.len() {
            self.pending.clear();
            self.start = 0;
        } else if self.start > self.pending.len() / 2 {
            self.pending.drain(..self.start);
            self.start = 0;
        }
        self.report_credit(events);
        self.shut_down_if_done()
    }

    /// How many of the bytes the kernel takes.
    fn write(&mut self, bytes: &[u8], flags: SendFlags) -> Result<usize, FlowError> {
        let mut rest = bytes;
        while !rest.is_empty() {
            match rustix::net::send(&self.socket, rest, flags | SendFlags::NOSIGNAL) {
                Ok(count) => rest = rest.get(count..).unwrap_or_default(),
                Err(Errno::AGAIN) => break,
                Err(Errno::INTR) => {}
                Err(error) => return Err(flow_error(&error.into())),
            }
        }
        let count = bytes.len() - rest.len();
        self.taken += u64::try_from(count).unwrap_or(0);
        Ok(count)
    }

    fn report_credit(&mut self, events: &mut impl FnMut(FlowEvent)) {
        let until = self.taken + WINDOW;
        if self.is_connected && until >= self.reported + CREDIT_STEP {
            self.reported = until;
            events(FlowEvent::Credit { until });
        }
    }

    /// The engine takes the bytes before this offset.
    pub(crate) fn set_credit(&mut self, until: u64) {
        self.credit = self.credit.max(until);
    }

    /// Keeps the bytes that are read from now on.
    pub(crate) fn keep(&mut self, piece_max: u32) {
        let has_offset = set_peek_offset(&self.socket, 0).is_ok();
        let piece_max = usize::try_from(piece_max).unwrap_or(usize::MAX).max(1);
        self.kept = Some(Kept { piece_max, released: self.position, has_offset });
    }

    /// Gives up kept bytes.
    pub(crate) fn release(&mut self, until: u64) {
        let Some(kept) = &mut self.kept else { return };
        let mut count = until.saturating_sub(kept.released);
        while count > 0 {
            let part = usize::try_from(count).unwrap_or(usize::MAX);
            match discard_received(&self.socket, part) {
                Ok(0) | Err(_) => break,
                // The kernel moves its offset back by as much.
                Ok(gone) => count -= u64::try_from(gone).unwrap_or(count),
            }
        }
        kept.released = kept.released.max(until);
        self.position = self.position.max(kept.released);
    }

    /// Reads kept bytes again.
    pub(crate) fn seek(&mut self, to: u64, until: u64) {
        let Some(kept) = &self.kept else { return };
        let ahead = to.saturating_sub(kept.released);
        (self.position, self.credit) = (kept.released + ahead, until);
        self.restore_offset();
        self.is_readable = true;
    }

    /// Ends our direction behind what waits.
    pub(crate) fn shut_down(&mut self) -> Result<(), FlowError> {
        self.wants_shutdown = true;
        self.shut_down_if_done()
    }

    fn shut_down_if_done(&mut self) -> Result<(), FlowError> {
        if self.wants_shutdown && self.is_connected && !self.is_waiting() && !self.has_shut_down {
            self.has_shut_down = true;
            let done = rustix::net::shutdown(&self.socket, Shutdown::Write);
            done.map_err(|error| flow_error(&error.into()))?;
        }
        Ok(())
    }

    /// The engine has closed the flow: whether something waits still, for which a peer that takes nothing
    /// has a minute.
    pub(crate) fn linger(&mut self) -> bool {
        if let Some(kept) = &self.kept {
            // What was delivered is taken: with unread bytes the kernel would send a RST.
            let position = self.position.max(kept.released);
            self.release(position);
        }
        if self.is_waiting() {
            let _ = self.socket.set_tcp_user_timeout(Some(LINGER));
        }
        self.is_waiting()
    }

    /// Has the kernel send a RST when it is closed.
    pub(crate) fn reset(&self) {
        // Without it the peer sees a FIN.
        let _ = self.socket.set_linger(Some(Duration::ZERO));
    }

    pub(crate) fn recv(&mut self, pool: &mut Pool) -> FlowRecv {
        if !self.wants_read() {
            return FlowRecv::Nothing;
        }
        let Some(mut packet) = pool.take_large() else { return FlowRecv::NoBuffer };
        let room = usize::try_from(self.credit - self.position).unwrap_or(usize::MAX);
        let piece_max = self.kept.as_ref().map_or(usize::MAX, |kept| kept.piece_max);
        let spare = packet.spare_mut();
        // The urgent byte is a piece of its own.
        let before_urgent = self.urgent.and_then(|urgent| urgent.checked_sub(self.position));
        let is_urgent = before_urgent == Some(0);
        let piece_max = match before_urgent {
            Some(before) => piece_max.min(usize::try_from(before).unwrap_or(usize::MAX).max(1)),
            None => piece_max,
        };
        let room = room.min(spare.len()).min(piece_max);
        let found = match self.read(&mut spare[..room]) {
            Ok(0) => {
                self.is_readable = false;
                self.end = Some(self.position);
                FlowRecv::Event(FlowEvent::Finished)
            }
            Ok(count) => {
                self.position += u64::try_from(count).unwrap_or(0);
                // It was all there was: more is a change of the descriptor.
                self.is_readable = count == room || self.is_special;
                // The kernel wrote no more than there is room.
                let _ = packet.set_len(count);
                packet.meta.urgent = is_urgent;
                return FlowRecv::Packet(packet);
            }
            Err(Errno::AGAIN) => {
                self.is_readable = false;
                FlowRecv::Nothing
            }
            Err(Errno::INTR) => FlowRecv::Nothing,
            Err(error) => FlowRecv::Event(FlowEvent::Failed(flow_error(&error.into()))),
        };
        pool.give(packet);
        found
    }

    /// Reads at the position.
    fn read(&self, into: &mut [u8]) -> Result<usize, Errno> {
        let peek = RecvFlags::PEEK | RecvFlags::DONTWAIT;
        match &self.kept {
            None => Ok(rustix::net::recv(&self.socket, into, RecvFlags::DONTWAIT)?.0),
            Some(kept) if kept.has_offset => Ok(rustix::net::recv(&self.socket, into, peek)?.0),
            Some(kept) => {
                // An old kernel reads from the first byte that is kept.
                let before = usize::try_from(self.position - kept.released).unwrap_or(0);
                let mut skipped = vec![0; before];
                let mut bufs = [IoSliceMut::new(&mut skipped), IoSliceMut::new(into)];
                let mut control = RecvAncillaryBuffer::default();
                let count = recvmsg(&self.socket, &mut bufs, &mut control, peek)?.bytes;
                match count.checked_sub(before) {
                    Some(0) if !self.is_special => Err(Errno::AGAIN),
                    Some(count) => Ok(count),
                    None => Err(Errno::AGAIN),
                }
            }
        }
    }

    /// The error that a hang-up stands for while the engine takes nothing: bytes before it are delivered
    /// first.
    pub(crate) fn take_error(&self) -> Option<FlowError> {
        let has_bytes =
            rustix::net::recv(&self.socket, &mut [0; 1], RecvFlags::PEEK | RecvFlags::DONTWAIT)
                .is_ok_and(|(_, count)| count > 0);
        if has_bytes {
            self.restore_offset();
            return None;
        }
        self.socket.take_error().ok().flatten().map(|error| flow_error(&error))
    }
}

/// A socket that connects, from a local port if one is given.
fn connect(to: SocketAddr, local: Option<SocketAddr>, hop_limit: u8) -> io::Result<Socket> {
    let kind = Type::STREAM.nonblocking().cloexec();
    let socket = Socket::new(Domain::for_address(to), kind, Some(Protocol::TCP))?;
    set_options(&socket)?;
    HopLimit::default().set(&socket, to.is_ipv4(), hop_limit)?;
    if to.is_ipv6() {
        // IPv4 has the error of a connect in any case.
        report_icmp_errors(&socket, false, true)?;
    }
    if let Some(local) = local {
        if to.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        // For connections to several remote addresses, as they share a port in the kernel.
        socket.set_reuse_address(true)?;
        socket.bind(&local.into())?;
    }
    match socket.connect(&to.into()) {
        Err(error) if Errno::from_io_error(&error) != Some(Errno::INPROGRESS) => Err(error),
        // Also if it is connected already: the descriptor is writable then.
        _ => Ok(socket),
    }
}

fn set_options(socket: &Socket) -> io::Result<()> {
    socket.set_tcp_nodelay(true)?;
    // An urgent byte stays in its place in the stream.
    socket.set_out_of_band_inline(true)?;
    // An old kernel may not have it: then more waits.
    let _ = socket.set_tcp_notsent_lowat(NOT_SENT_MAX);
    Ok(())
}
