//! The ping socket of a flow: echo requests of one identifier, without privilege (icmp(7)).

use crate::socket::flow_event::{FlowRecv, icmp_of, read_errors};
use crate::socket::hop_limit::HopLimit;
use adit_device::report_icmp_errors;
use adit_engine::FlowEvent;
use adit_engine::flow::{pop_address, push_address};
use adit_packet::{PacketBuf, Pool};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recvfrom, sendto};
use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd};

/// A ping socket.
#[derive(Debug)]
pub(crate) struct PingFlow {
    socket: Socket,
    local: SocketAddr,
    hop_limit: HopLimit,
}

impl PingFlow {
    /// Opens a ping socket under an identifier, the port of `local`.
    ///
    /// # Errors
    /// EACCES: `net.ipv4.ping_group_range` has none of our groups.
    pub(crate) fn bind(local: SocketAddr, or_any_port: bool) -> io::Result<Self> {
        let is_v4 = local.is_ipv4();
        let protocol = if is_v4 { Protocol::ICMPV4 } else { Protocol::ICMPV6 };
        let kind = Type::DGRAM.nonblocking().cloexec();
        let socket = Socket::new(Domain::for_address(local), kind, Some(protocol))?;
        if let Err(error) = socket.bind(&local.into()) {
            if !or_any_port {
                return Err(error);
            }
            socket.bind(&SocketAddr::new(local.ip(), 0).into())?;
        }
        report_icmp_errors(&socket, is_v4, true)?;
        let local = socket.local_addr()?.as_socket().unwrap_or(local);
        Ok(Self { socket, local, hop_limit: HopLimit::default() })
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// The event of its opening.
    pub(crate) const fn connected(&self) -> FlowEvent {
        FlowEvent::Connected { local: self.local, path_mtu: 0 }
    }

    /// Sends an echo request. What does not go is lost, as on any link.
    pub(crate) fn send(&mut self, packet: &mut PacketBuf, events: &mut impl FnMut(FlowEvent)) {
        let Some(to) = pop_address(packet) else { return };
        // A value that the kernel refuses leaves the one before.
        let _ = self.hop_limit.set(&self.socket, to.is_ipv4(), packet.meta.hop_limit);
        // By which the engine knows the request, should it meet an error.
        let sequence = packet.bytes().get(6..8).and_then(|bytes| bytes.first_chunk());
        let sequence = sequence.map_or(0, |&bytes| u16::from_be_bytes(bytes));
        let request = SocketAddr::new(to.ip(), sequence);
        let try_send = || sendto(&self.socket, packet.bytes(), SendFlags::NOSIGNAL, &to);
        let sent = match try_send() {
            // An error of an earlier one.
            Err(Errno::CONNREFUSED | Errno::HOSTUNREACH | Errno::NETUNREACH | Errno::ACCESS) => {
                let sent = try_send();
                read_errors(&self.socket, None, events);
                sent
            }
            sent => sent,
        };
        match sent {
            Ok(_) | Err(Errno::AGAIN | Errno::NOBUFS) => {}
            Err(Errno::MSGSIZE) => read_errors(&self.socket, Some(request), events),
            Err(error) => icmp_of(request, error, 0).into_iter().for_each(events),
        }
    }

    pub(crate) fn recv(&mut self, pool: &mut Pool, events: &mut impl FnMut(FlowEvent)) -> FlowRecv {
        let Some(mut packet) = pool.take_large() else { return FlowRecv::NoBuffer };
        let flags = RecvFlags::DONTWAIT;
        if let Ok((len, _, from)) = recvfrom(&self.socket, packet.spare_mut(), flags) {
            let from = from.and_then(|from| SocketAddr::try_from(from).ok());
            // The kernel wrote no more than there is room.
            let _ = packet.set_len(len);
            if from.is_some_and(|from| push_address(&mut packet, from)) {
                return FlowRecv::Packet(packet);
            }
        } else {
            read_errors(&self.socket, None, events);
        }
        pool.give(packet);
        FlowRecv::Nothing
    }
}
