//! The socket of one flow: a TCP connection, or a UDP socket. Nothing here blocks.

use crate::socket::flow_event::{FlowRecv, bind_error, flow_error};
use crate::socket::listen_flow::ListenFlow;
use crate::socket::ping_flow::PingFlow;
use crate::socket::splice::{Joint, Offered};
use crate::socket::tcp_flow::TcpFlow;
use crate::socket::udp_flow::UdpFlow;
use adit_engine::{FlowError, FlowEvent, Transport};
use adit_packet::Pool;
use rustix::io::Errno;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::BorrowedFd;

/// The system calls of this file, and of the sockets of flows.
pub const SYSCALLS: &[&str] = &[
    "accept4",
    "bind",
    "connect",
    "getsockname",
    "getsockopt",
    "ioctl",
    "listen",
    "recvfrom",
    "recvmmsg",
    "recvmsg",
    "sendmsg",
    "sendto",
    "setsockopt",
    "shutdown",
    "socket",
];

/// One flow.
#[derive(Debug)]
pub(crate) enum Flow {
    Tcp(Box<TcpFlow>),
    Udp(Box<UdpFlow>),
    Ping(Box<PingFlow>),
    Listen(Box<ListenFlow>),
    Offered(Box<Offered>),
    Spliced(Box<Joint>),
}

impl Flow {
    /// Opens a socket and connects it.
    pub(crate) fn open(
        transport: Transport,
        from: Option<IpAddr>,
        to: SocketAddr,
        port: u16,
        hop_limit: u8,
    ) -> Result<Self, FlowError> {
        let opened = match transport {
            Transport::Tcp => {
                TcpFlow::open(from, to, port, hop_limit).map(|tcp| Self::Tcp(Box::new(tcp)))
            }
            Transport::Udp => {
                UdpFlow::open(from, to, hop_limit).map(|udp| Self::Udp(Box::new(udp)))
            }
            _ => Err(Errno::PROTONOSUPPORT.into()),
        };
        opened.map_err(|error: io::Error| flow_error(&error))
    }

    /// Opens a socket for datagrams of any remote address.
    pub(crate) fn bind(
        transport: Transport,
        local: SocketAddr,
        or_any_port: bool,
    ) -> Result<Self, FlowError> {
        let bound = match transport {
            Transport::Udp => UdpFlow::bind(local, or_any_port).map(|udp| Self::Udp(Box::new(udp))),
            Transport::Echo => {
                PingFlow::bind(local, or_any_port).map(|ping| Self::Ping(Box::new(ping)))
            }
            _ => Err(Errno::PROTONOSUPPORT.into()),
        };
        bound.map_err(|error: io::Error| bind_error(&error))
    }

    /// Opens a listening socket.
    pub(crate) fn listen(local: SocketAddr) -> Result<Self, FlowError> {
        let opened = ListenFlow::open(local).map(|listener| Self::Listen(Box::new(listener)));
        opened.map_err(|error| bind_error(&error))
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(tcp) => tcp.fd(),
            Self::Udp(udp) => udp.fd(),
            Self::Ping(ping) => ping.fd(),
            Self::Listen(listener) => listener.fd(),
            Self::Offered(offered) => offered.tcp.fd(),
            Self::Spliced(joint) => joint.fd(),
        }
    }

    /// The next thing that came.
    pub(crate) fn recv(&mut self, pool: &mut Pool, events: &mut impl FnMut(FlowEvent)) -> FlowRecv {
        match self {
            Self::Tcp(tcp) => tcp.recv(pool),
            Self::Udp(udp) => udp.recv(pool, events),
            Self::Ping(ping) => ping.recv(pool, events),
            Self::Listen(listener) => listener.recv(events),
            // Its bytes do not come here.
            Self::Offered(_) | Self::Spliced(_) => FlowRecv::Nothing,
        }
    }
}
