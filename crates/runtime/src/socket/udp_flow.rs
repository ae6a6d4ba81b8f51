//! The UDP socket of a flow, connected to one remote address or bound for all.

use crate::socket::flow_event::{FlowRecv, flow_error, icmp_of, path_mtu, read_errors};
use crate::socket::hop_limit::HopLimit;
use adit_device::report_icmp_errors;
use adit_engine::FlowEvent;
use adit_engine::flow::{pop_address, push_address};
use adit_packet::{Gso, PacketBuf, Pool};
use quinn_udp::{RecvMeta, Transmit, UdpSockRef, UdpSocketState};
use rustix::io::Errno;
use rustix::net::sockopt::{self, Ipv4PathMtuDiscovery, Ipv6PathMtuDiscovery};
use socket2::{Domain, Protocol, Socket, Type};
use std::io::{self, IoSliceMut};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd};

/// Bytes that the socket of a flow holds, each way: with the kernel's default of 208 KiB a burst of
/// super-packets is lost.
const BUFFER_LEN: usize = 1 << 20;

/// A UDP socket.
#[derive(Debug)]
pub(crate) struct UdpFlow {
    socket: Socket,
    state: UdpSocketState,
    /// The remote address, if it is connected.
    to: Option<SocketAddr>,
    local: SocketAddr,
    path_mtu: u16,
    /// The network may fragment what is sent.
    may_fragment: bool,
    hop_limit: HopLimit,
}

impl UdpFlow {
    /// Opens a socket and connects it.
    pub(crate) fn open(from: Option<IpAddr>, to: SocketAddr, hop_limit: u8) -> io::Result<Self> {
        let socket = socket(to)?;
        from.map_or(Ok(()), |from| socket.bind(&SocketAddr::new(from, 0).into()))?;
        socket.connect(&to.into())?;
        let mut flow = Self::new(socket, Some(to))?;
        flow.hop_limit.set(&flow.socket, to.is_ipv4(), hop_limit)?;
        Ok(flow)
    }

    /// Opens a socket and binds it; to another port if this one is not free and any does.
    pub(crate) fn bind(local: SocketAddr, or_any_port: bool) -> io::Result<Self> {
        let socket = socket(local)?;
        if local.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        if let Err(error) = socket.bind(&local.into()) {
            if !or_any_port {
                return Err(error);
            }
            socket.bind(&SocketAddr::new(local.ip(), 0).into())?;
        }
        Self::new(socket, None)
    }

    fn new(socket: Socket, to: Option<SocketAddr>) -> io::Result<Self> {
        let local = socket.local_addr()?.as_socket().ok_or(Errno::AFNOSUPPORT)?;
        let state = UdpSocketState::new(UdpSockRef::from(&socket))?;
        adit_device::disable_timestamps(&socket)?;
        // The limits of the system may be lower.
        let _ = socket.set_recv_buffer_size(BUFFER_LEN);
        let _ = socket.set_send_buffer_size(BUFFER_LEN);
        // The kernel reports what does not fit the path, as the engine's own client would learn it.
        set_fragments(&socket, local, false)?;
        report_icmp_errors(&socket, local.is_ipv4(), true)?;
        let path_mtu = if to.is_some() { path_mtu(&socket, local) } else { 0 };
        let hop_limit = HopLimit::default();
        Ok(Self { socket, state, to, local, path_mtu, may_fragment: false, hop_limit })
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// The event of its opening.
    pub(crate) fn connected(&self) -> FlowEvent {
        FlowEvent::Connected { local: self.local, path_mtu: self.path_mtu }
    }

    /// Sends a datagram or a train of them. What does not go is lost, as on any link.
    pub(crate) fn send(&mut self, packet: &mut PacketBuf, events: &mut impl FnMut(FlowEvent)) {
        let Some(to) = self.to.or_else(|| pop_address(packet)) else { return };
        if to.is_ipv4() != self.local.is_ipv4() {
            return;
        }
        self.allow_fragments(packet.meta.may_fragment);
        // A value that the kernel refuses leaves the one before.
        let _ = self.hop_limit.set(&self.socket, to.is_ipv4(), packet.meta.hop_limit);
        let vnet = &packet.meta.vnet;
        let is_train = vnet.gso == Gso::UdpL4 && packet.len() > usize::from(vnet.gso_size);
        let stride = usize::from(vnet.gso_size).max(1);
        if is_train && self.state.max_gso_segments() > 1 {
            match self.transmit(to, packet.bytes(), Some(stride), events) {
                // The kernel has no trains, or not of what it must fragment: one by one.
                Err(Errno::INVAL | Errno::IO | Errno::MSGSIZE) => {}
                result => return self.sent(to, result, events),
            }
        }
        let stride = if is_train { stride } else { packet.len().max(1) };
        let empty = packet.is_empty().then_some(packet.bytes());
        for datagram in packet.bytes().chunks(stride).chain(empty) {
            let sent = self.transmit(to, datagram, None, events);
            self.sent(to, sent, events);
        }
    }

    /// Sends; again if what failed was an error of an earlier datagram.
    fn transmit(
        &mut self,
        to: SocketAddr,
        contents: &[u8],
        segment_size: Option<usize>,
        events: &mut impl FnMut(FlowEvent),
    ) -> Result<(), Errno> {
        let transmit =
            Transmit { destination: to, ecn: None, contents, segment_size, src_ip: None };
        let try_send = || {
            let sent = self.state.try_send(UdpSockRef::from(&self.socket), &transmit);
            sent.map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))
        };
        let sent = try_send();
        let is_pending = matches!(
            sent,
            Err(Errno::CONNREFUSED | Errno::HOSTUNREACH | Errno::NETUNREACH | Errno::ACCESS)
        );
        if !(self.to.is_none() && is_pending) {
            return sent;
        }
        let sent = try_send();
        read_errors(&self.socket, None, events);
        sent
    }

    fn sent(
        &mut self,
        to: SocketAddr,
        result: Result<(), Errno>,
        events: &mut impl FnMut(FlowEvent),
    ) {
        match result {
            // A full socket drops, as a full link does.
            Ok(()) | Err(Errno::AGAIN | Errno::NOBUFS) => {}
            Err(error) if self.to.is_some() => events(self.event_of(error)),
            // The queue has it, with the MTU.
            Err(Errno::MSGSIZE) => read_errors(&self.socket, Some(to), events),
            Err(error) => icmp_of(to, error, 0).into_iter().for_each(events),
        }
    }

    /// The event of an error of a connected socket, which reports it once.
    fn event_of(&mut self, error: Errno) -> FlowEvent {
        if error == Errno::MSGSIZE {
            self.path_mtu = path_mtu(&self.socket, self.local);
            return FlowEvent::PathMtu(self.path_mtu);
        }
        FlowEvent::Error(flow_error(&error.into()))
    }

    pub(crate) fn recv(&mut self, pool: &mut Pool, events: &mut impl FnMut(FlowEvent)) -> FlowRecv {
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
            if self.to.is_some() || push_address(&mut packet, meta.addr) {
                return FlowRecv::Packet(packet);
            }
            pool.give(packet);
            return FlowRecv::Nothing;
        };
        pool.give(packet);
        // Of a connected socket they are reported as errors of the socket.
        if self.to.is_some() {
            read_errors(&self.socket, None, &mut |_| {});
        } else {
            read_errors(&self.socket, None, events);
        }
        match Errno::from_io_error(&error) {
            Some(errno) if self.to.is_some() && !matches!(errno, Errno::AGAIN | Errno::INTR) => {
                FlowRecv::Event(self.event_of(errno))
            }
            _ => FlowRecv::Nothing,
        }
    }

    /// Whether the network may fragment what is sent from now on.
    fn allow_fragments(&mut self, on: bool) {
        if on != self.may_fragment && set_fragments(&self.socket, self.local, on).is_ok() {
            self.may_fragment = on;
        }
    }
}

fn socket(family_of: SocketAddr) -> io::Result<Socket> {
    let kind = Type::DGRAM.nonblocking().cloexec();
    Socket::new(Domain::for_address(family_of), kind, Some(Protocol::UDP))
}

fn set_fragments(socket: &Socket, local: SocketAddr, on: bool) -> io::Result<()> {
    if local.is_ipv4() {
        let mode = if on { Ipv4PathMtuDiscovery::DONT } else { Ipv4PathMtuDiscovery::DO };
        sockopt::set_ip_mtu_discover(socket, mode)?;
    } else {
        let mode = if on { Ipv6PathMtuDiscovery::DONT } else { Ipv6PathMtuDiscovery::DO };
        sockopt::set_ipv6_mtu_discover(socket, mode)?;
        if on {
            adit_device::allow_ipv6_fragments(socket)?;
        }
    }
    Ok(())
}
