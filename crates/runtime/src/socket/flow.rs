//! The socket of one flow: a TCP connection, or a connected UDP socket. Nothing here blocks.

use crate::wake::reactor::Interest;
use adit_engine::{FlowError, FlowEvent, Transport};
use adit_packet::{Gso, PacketBuf, Pool};
use quinn_udp::{RecvMeta, Transmit, UdpSockRef, UdpSocketState};
use rustix::io::Errno;
use rustix::net::sockopt::{self, Ipv4PathMtuDiscovery, Ipv6PathMtuDiscovery};
use rustix::net::{RecvAncillaryBuffer, RecvFlags, SendFlags, Shutdown, recvmsg};
use socket2::{Domain, Protocol, Socket, Type};
use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

/// The system calls of this file, and of the sockets of flows.
pub(crate) const SYSCALLS: &[&str] = &[
    "accept4",
    "bind",
    "connect",
    "getpeername",
    "getsockname",
    "getsockopt",
    "ioctl",
    "listen",
    "recvfrom",
    "recvmmsg",
    "recvmsg",
    "sendmmsg",
    "sendmsg",
    "sendto",
    "setsockopt",
    "shutdown",
    "socket",
];

/// How many bytes of a stream the engine may send beyond those that the kernel has taken: they wait here
/// while the socket is full. 256 KiB are 2 ms at 1 Gbit/s, in which a loop has many turns.
pub(crate) const WINDOW: u64 = 256 * 1024;

/// How many bytes of credit are worth an event.
const CREDIT_STEP: u64 = WINDOW / 16;

/// How many bytes the kernel holds that it has not sent: with more, what is sent is old when it leaves.
const NOT_SENT_MAX: u32 = 128 * 1024;

/// How many messages of an error queue are thrown away in one go.
const ERRORS_MAX: usize = 16;

/// How long what waits is sent after the engine has closed a flow, if the peer takes nothing.
const LINGER: Duration = Duration::from_secs(60);

/// One flow.
#[derive(Debug)]
pub(crate) enum Flow {
    Tcp(TcpFlow),
    Udp(UdpFlow),
}

/// What [`Flow::recv`] found.
#[derive(Debug)]
pub(crate) enum FlowRecv {
    Packet(PacketBuf),
    /// Something happened that is no packet.
    Event(FlowEvent),
    Nothing,
    /// There is no buffer: to be read later.
    NoBuffer,
}

impl Flow {
    /// Opens a socket and connects it.
    pub(crate) fn open(transport: Transport, to: SocketAddr) -> Result<Self, FlowError> {
        match transport {
            Transport::Tcp => TcpFlow::open(to).map(Self::Tcp),
            Transport::Udp => UdpFlow::open(to).map(Self::Udp),
            _ => Err(Errno::PROTONOSUPPORT.into()),
        }
        .map_err(|error: io::Error| flow_error(&error))
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(tcp) => tcp.socket.as_fd(),
            Self::Udp(udp) => udp.socket.as_fd(),
        }
    }

    /// What its socket must be waited for now.
    pub(crate) fn interest(&self) -> Interest {
        match self {
            Self::Tcp(tcp) => tcp.interest(),
            Self::Udp(_) => Interest::READ,
        }
    }

    /// The next thing that came.
    pub(crate) fn recv(&mut self, pool: &mut Pool) -> FlowRecv {
        match self {
            Self::Tcp(tcp) => tcp.recv(pool),
            Self::Udp(udp) => udp.recv(pool),
        }
    }
}

/// A TCP connection.
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
    /// Bytes that were given to the engine, and how many it takes.
    delivered: u64,
    credit: u64,
    has_finished: bool,
    wants_shutdown: bool,
    has_shut_down: bool,
}

impl TcpFlow {
    fn open(to: SocketAddr) -> io::Result<Self> {
        let kind = Type::STREAM.nonblocking().cloexec();
        let socket = Socket::new(Domain::for_address(to), kind, Some(Protocol::TCP))?;
        socket.set_tcp_nodelay(true)?;
        // An old kernel may not have it: then more waits.
        let _ = socket.set_tcp_notsent_lowat(NOT_SENT_MAX);
        match socket.connect(&to.into()) {
            Err(error) if Errno::from_io_error(&error) != Some(Errno::INPROGRESS) => {
                return Err(error);
            }
            // Also if it is connected already: the descriptor is writable then.
            _ => {}
        }
        Ok(Self {
            socket,
            is_connected: false,
            taken: 0,
            pending: Vec::new(),
            start: 0,
            reported: 0,
            delivered: 0,
            credit: 0,
            has_finished: false,
            wants_shutdown: false,
            has_shut_down: false,
        })
    }

    fn interest(&self) -> Interest {
        Interest {
            readable: self.is_connected && !self.has_finished && self.delivered < self.credit,
            writable: !self.is_connected || self.is_waiting(),
        }
    }

    /// Whether bytes wait for the socket.
    pub(crate) fn is_waiting(&self) -> bool {
        self.start < self.pending.len()
    }

    /// The socket is writable, or has failed: ends the connect, and sends what waits.
    pub(crate) fn writable(&mut self, events: &mut impl FnMut(FlowEvent)) -> Result<(), FlowError> {
        if !self.is_connected {
            if let Some(error) = self.socket.take_error().map_err(|error| flow_error(&error))? {
                return Err(flow_error(&error));
            }
            let local = self.socket.local_addr().ok().and_then(|local| local.as_socket());
            let Some(local) = local else { return Err(FlowError::Other) };
            self.is_connected = true;
            events(FlowEvent::Connected { local, path_mtu: path_mtu(&self.socket, local) });
        }
        self.flush(events)
    }

    /// Sends bytes of the engine.
    pub(crate) fn send(
        &mut self,
        bytes: &[u8],
        events: &mut impl FnMut(FlowEvent),
    ) -> Result<(), FlowError> {
        let waiting = self.pending.len() - self.start;
        // The engine has exceeded its credit: a byte that is left out would corrupt the stream.
        if u64::try_from(waiting + bytes.len()).unwrap_or(u64::MAX) > WINDOW {
            return Err(FlowError::Other);
        }
        let mut rest = bytes;
        if self.is_connected && waiting == 0 {
            let count = self.write(rest)?;
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
        let written = self.write(pending.get(self.start..).unwrap_or_default());
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
    fn write(&mut self, bytes: &[u8]) -> Result<usize, FlowError> {
        let mut rest = bytes;
        while !rest.is_empty() {
            match rustix::net::send(&self.socket, rest, SendFlags::NOSIGNAL) {
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
    pub(crate) fn linger(&self) -> bool {
        let _ = self.socket.set_tcp_user_timeout(Some(LINGER));
        self.is_waiting()
    }

    /// Has the kernel send a RST when it is closed.
    pub(crate) fn reset(&self) {
        // Without it the peer sees a FIN.
        let _ = self.socket.set_linger(Some(Duration::ZERO));
    }

    fn recv(&mut self, pool: &mut Pool) -> FlowRecv {
        if !self.interest().readable {
            return FlowRecv::Nothing;
        }
        let Some(mut packet) = pool.take_large() else { return FlowRecv::NoBuffer };
        let room = usize::try_from(self.credit - self.delivered).unwrap_or(usize::MAX);
        let spare = packet.spare_mut();
        let room = room.min(spare.len());
        let read = rustix::net::recv(&self.socket, &mut spare[..room], RecvFlags::DONTWAIT);
        let found = match read {
            Ok((0, _)) => {
                self.has_finished = true;
                FlowRecv::Event(FlowEvent::Finished)
            }
            Ok((count, _)) => {
                self.delivered += u64::try_from(count).unwrap_or(0);
                // The kernel wrote no more than there is room.
                let _ = packet.set_len(count);
                return FlowRecv::Packet(packet);
            }
            Err(Errno::AGAIN | Errno::INTR) => FlowRecv::Nothing,
            Err(error) => FlowRecv::Event(FlowEvent::Failed(flow_error(&error.into()))),
        };
        pool.give(packet);
        found
    }

    /// The error that a hang-up without interest stands for.
    pub(crate) fn take_error(&self) -> Option<FlowError> {
        self.socket.take_error().ok().flatten().map(|error| flow_error(&error))
    }
}

/// A connected UDP socket.
#[derive(Debug)]
pub(crate) struct UdpFlow {
    socket: Socket,
    state: UdpSocketState,
    to: SocketAddr,
    local: SocketAddr,
    path_mtu: u16,
}

impl UdpFlow {
    fn open(to: SocketAddr) -> io::Result<Self> {
        let kind = Type::DGRAM.nonblocking().cloexec();
        let socket = Socket::new(Domain::for_address(to), kind, Some(Protocol::UDP))?;
        socket.connect(&to.into())?;
        let state = UdpSocketState::new(UdpSockRef::from(&socket))?;
        adit_device::disable_timestamps(&socket)?;
        // The kernel reports what does not fit the path, as the engine's own client would learn it.
        if to.is_ipv4() {
            sockopt::set_ip_mtu_discover(&socket, Ipv4PathMtuDiscovery::DO)?;
        } else {
            sockopt::set_ipv6_mtu_discover(&socket, Ipv6PathMtuDiscovery::DO)?;
        }
        adit_device::report_icmp_errors(&socket, to.is_ipv4())?;
        let local = socket.local_addr()?.as_socket().ok_or(Errno::AFNOSUPPORT)?;
        let path_mtu = path_mtu(&socket, local);
        Ok(Self { socket, state, to, local, path_mtu })
    }

    /// The event of its opening.
    pub(crate) fn connected(&self) -> FlowEvent {
        FlowEvent::Connected { local: self.local, path_mtu: self.path_mtu }
    }

    /// Sends a datagram or a train of them. What does not go is lost, as on any link.
    pub(crate) fn send(&mut self, packet: &PacketBuf, events: &mut impl FnMut(FlowEvent)) {
        let vnet = &packet.meta.vnet;
        let is_train = vnet.gso == Gso::UdpL4 && packet.len() > usize::from(vnet.gso_size);
        let stride = usize::from(vnet.gso_size).max(1);
        if is_train && self.state.max_gso_segments() > 1 {
            match self.transmit(packet.bytes(), Some(stride)) {
                // The kernel has no trains: one by one.
                Err(Errno::INVAL | Errno::IO) => {}
                result => return self.sent(result, events),
            }
        }
        let stride = if is_train { stride } else { packet.len().max(1) };
        if packet.is_empty() {
            let sent = self.transmit(&[], None);
            self.sent(sent, events);
        }
        for datagram in packet.bytes().chunks(stride) {
            let sent = self.transmit(datagram, None);
            self.sent(sent, events);
        }
    }

    fn transmit(&self, contents: &[u8], stride: Option<usize>) -> Result<(), Errno> {
        let transmit = Transmit {
            destination: self.to,
            ecn: None,
            contents,
            segment_size: stride,
            src_ip: None,
        };
        let sent = self.state.try_send(UdpSockRef::from(&self.socket), &transmit);
        sent.map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))
    }

    fn sent(&mut self, result: Result<(), Errno>, events: &mut impl FnMut(FlowEvent)) {
        match result {
            // A full socket drops, as a full link does.
            Ok(()) | Err(Errno::AGAIN | Errno::NOBUFS) => {}
            Err(error) => events(self.event_of(error)),
        }
    }

    /// The event of an error, which the socket reports once.
    fn event_of(&mut self, error: Errno) -> FlowEvent {
        if error == Errno::MSGSIZE {
            self.path_mtu = path_mtu(&self.socket, self.local);
            return FlowEvent::PathMtu(self.path_mtu);
        }
        FlowEvent::Error(flow_error(&error.into()))
    }

    fn recv(&mut self, pool: &mut Pool) -> FlowRecv {
        let Some(mut packet) = pool.take_large() else { return FlowRecv::NoBuffer };
        let mut meta = [RecvMeta::default()];
        let mut bufs = [IoSliceMut::new(packet.spare_mut())];
        let received = self.state.recv(UdpSockRef::from(&self.socket), &mut bufs, &mut meta);
        let [meta] = meta;
        let Err(error) = received else {
            // The kernel wrote no more than there is room.
            let _ = packet.set_len(meta.len);
            if meta.len > meta.stride {
                packet.meta.vnet.gso = Gso::UdpL4;
                packet.meta.vnet.gso_size = u16::try_from(meta.stride).unwrap_or(u16::MAX);
            }
            return FlowRecv::Packet(packet);
        };
        pool.give(packet);
        match Errno::from_io_error(&error) {
            Some(Errno::AGAIN | Errno::INTR) | None => {
                self.forget_errors();
                FlowRecv::Nothing
            }
            Some(errno) => {
                self.forget_errors();
                FlowRecv::Event(self.event_of(errno))
            }
        }
    }

    /// Empties the error queue: its contents were reported as errors of the socket, and epoll reports a
    /// queue that is not empty forever.
    fn forget_errors(&self) {
        for _ in 0..ERRORS_MAX {
            let (mut bytes, mut control) = ([0; 64], RecvAncillaryBuffer::default());
            let mut bufs = [IoSliceMut::new(&mut bytes)];
            let flags = RecvFlags::ERRQUEUE | RecvFlags::DONTWAIT;
            if recvmsg(&self.socket, &mut bufs, &mut control, flags).is_err() {
                break;
            }
        }
    }
}

/// The path MTU that the kernel knows; 0 if none.
fn path_mtu(socket: &Socket, local: SocketAddr) -> u16 {
    let mtu = if local.is_ipv4() { sockopt::ip_mtu(socket) } else { sockopt::ipv6_mtu(socket) };
    mtu.ok().and_then(|mtu| u16::try_from(mtu.min(65_535)).ok()).unwrap_or(0)
}

/// An error of the operating system, for an engine.
fn flow_error(error: &io::Error) -> FlowError {
    match Errno::from_io_error(error) {
        Some(Errno::CONNREFUSED) => FlowError::Refused,
        Some(Errno::CONNRESET | Errno::PIPE | Errno::CONNABORTED) => FlowError::Reset,
        Some(Errno::NETUNREACH | Errno::NETDOWN) => FlowError::NetUnreachable,
        Some(Errno::HOSTUNREACH | Errno::HOSTDOWN) => FlowError::HostUnreachable,
        Some(Errno::ACCESS | Errno::PERM) => FlowError::Prohibited,
        Some(Errno::TIMEDOUT) => FlowError::TimedOut,
        Some(
            Errno::MFILE
            | Errno::NFILE
            | Errno::ADDRNOTAVAIL
            | Errno::NOBUFS
            | Errno::NOMEM
            | Errno::AGAIN
            | Errno::NOSPC,
        ) => FlowError::Exhausted,
        _ => FlowError::Other,
    }
}
