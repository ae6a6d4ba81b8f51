//! What sockets of flows report, in the words of engines.

use adit_device::{SocketError, take_socket_error};
use adit_engine::{FlowError, FlowEvent};
use adit_packet::{PacketBuf, icmp};
use rustix::io::Errno;
use rustix::net::sockopt;
use socket2::Socket;
use std::io;
use std::net::SocketAddr;

/// How many errors of a queue are read in one go.
const ERRORS_MAX: usize = 16;

/// What reading a flow found.
#[derive(Debug)]
pub(crate) enum FlowRecv {
    Packet(PacketBuf),
    /// Something happened that is no packet.
    Event(FlowEvent),
    Nothing,
    /// There is no buffer: to be read later.
    NoBuffer,
}

/// The path MTU that the kernel knows; 0 if none.
pub(crate) fn path_mtu(socket: &Socket, local: SocketAddr) -> u16 {
    let mtu = if local.is_ipv4() { sockopt::ip_mtu(socket) } else { sockopt::ipv6_mtu(socket) };
    mtu.ok().and_then(|mtu| u16::try_from(mtu.min(65_535)).ok()).unwrap_or(0)
}

/// An error of the operating system, for an engine.
pub(crate) fn flow_error(error: &io::Error) -> FlowError {
    match Errno::from_io_error(error) {
        Some(Errno::CONNREFUSED) => FlowError::Refused,
        Some(Errno::CONNRESET | Errno::PIPE | Errno::CONNABORTED) => FlowError::Reset,
        Some(Errno::NETUNREACH | Errno::NETDOWN) => FlowError::NetUnreachable,
        Some(Errno::HOSTUNREACH | Errno::HOSTDOWN) => FlowError::HostUnreachable,
        Some(Errno::ACCESS | Errno::PERM) => FlowError::Prohibited,
        Some(Errno::TIMEDOUT) => FlowError::TimedOut,
        Some(
            Errno::MFILE
            | Errno::ADDRINUSE
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

/// The same of a socket that binds.
pub(crate) fn bind_error(error: &io::Error) -> FlowError {
    match Errno::from_io_error(error) {
        Some(Errno::ADDRINUSE) => FlowError::InUse,
        Some(Errno::ADDRNOTAVAIL | Errno::AFNOSUPPORT) => FlowError::NoAddress,
        _ => flow_error(error),
    }
}

/// The ICMP message that stands for an error of this host, as its router would have sent it; `None`: none
/// does.
pub(crate) fn icmp_of(to: SocketAddr, errno: Errno, mtu: u16) -> Option<FlowEvent> {
    let is_v4 = to.is_ipv4();
    let unreachable = if is_v4 { icmp::v4::UNREACHABLE } else { icmp::v6::UNREACHABLE };
    let (kind, code) = match errno {
        Errno::MSGSIZE if is_v4 => (unreachable, icmp::v4::CODE_TOO_BIG),
        Errno::MSGSIZE => (icmp::v6::TOO_BIG, 0),
        Errno::CONNREFUSED if is_v4 => (unreachable, icmp::v4::CODE_PORT),
        Errno::CONNREFUSED => (unreachable, icmp::v6::CODE_PORT),
        Errno::NETUNREACH | Errno::NETDOWN => (unreachable, 0),
        Errno::HOSTUNREACH | Errno::HOSTDOWN if is_v4 => (unreachable, icmp::v4::CODE_HOST),
        Errno::HOSTUNREACH | Errno::HOSTDOWN => (unreachable, icmp::v6::CODE_ADDRESS),
        // "Communication administratively prohibited" (RFC 1812, 5.2.7.1; RFC 4443, 3.1).
        Errno::ACCESS | Errno::PERM => (unreachable, if is_v4 { 13 } else { 1 }),
        _ => return None,
    };
    Some(FlowEvent::Icmp { to, from: None, kind, code, mtu })
}

/// Reports the errors in the queue of an unconnected socket; epoll would report a queue that is not empty
/// forever. An error of this host that a send `to` an address met has no port.
pub(crate) fn read_errors(
    socket: &Socket,
    to: Option<SocketAddr>,
    events: &mut impl FnMut(FlowEvent),
) {
    for _ in 0..ERRORS_MAX {
        match take_socket_error(socket) {
            Ok(Some(mut error)) => {
                if let Some(to) = to.filter(|to| to.ip() == error.to.ip())
                    && error.to.port() == 0
                {
                    error.to = to;
                }
                event_of(&error).into_iter().for_each(&mut *events);
            }
            Ok(None) => {}
            Err(_) => break,
        }
    }
}

/// The event of an entry of an error queue.
fn event_of(error: &SocketError) -> Option<FlowEvent> {
    let mtu = u16::try_from(error.mtu).unwrap_or(u16::MAX);
    if error.from.is_none() {
        return icmp_of(error.to, Errno::from_raw_os_error(error.errno), mtu);
    }
    let &SocketError { to, from, kind, code, .. } = error;
    Some(FlowEvent::Icmp { to, from, kind, code, mtu })
}
