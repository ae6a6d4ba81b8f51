//! An interface that is there as a port, by a packet socket: super-packets whole both ways.

use crate::event::Gone;
use crate::port::egress::{Egress, Refusal, Sink};
use crate::port::{Cx, Recv};
use adit_device::{Link, Netns, PacketSocket, PacketSocketOptions};
use adit_packet::{Batch, PacketBuf, Pool, VnetHeader};
use rustix::io::Errno;
use rustix::net::sockopt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

/// How many bytes of frames may wait in the kernel, each way: 64 super-packets, a burst of one batch.
const SOCKET_BUFFER_LEN: usize = 4 << 20;

/// A packet socket on one interface.
pub struct InterfacePort {
    socket: InterfaceSocket,
    egress: Egress,
    pub link: Link,
    pub netns: Netns,
}

struct InterfaceSocket(PacketSocket);

impl InterfacePort {
    /// Takes part in the traffic of `link`, which is in `netns`: what comes to the interface for
    /// whomever, and not what the host sends.
    pub fn new(link: Link, netns: Netns) -> io::Result<Self> {
        let options = PacketSocketOptions {
            promiscuous: true,
            incoming_only: true,
            buffer_len: Some(SOCKET_BUFFER_LEN),
            netns: Some(Arc::new(netns.try_clone()?)),
            ..PacketSocketOptions::default()
        };
        let socket = PacketSocket::open(link.index()?, &options)?;
        if sockopt::set_socket_send_buffer_size_force(&socket, SOCKET_BUFFER_LEN).is_err() {
            // No more than `net.core.wmem_max` without privilege.
            sockopt::set_socket_send_buffer_size(&socket, SOCKET_BUFFER_LEN)?;
        }
        Ok(Self { socket: InterfaceSocket(socket), egress: Egress::new(), link, netns })
    }

    pub fn fd(&self) -> BorrowedFd<'_> {
        self.socket.0.as_fd()
    }

    pub fn recv(&mut self, cx: &mut Cx<'_>) -> Recv {
        let error = match self.socket.0.recv_packet(cx.pool, &mut cx.kit.pair) {
            Ok(packet) => return Recv::Packet(packet),
            Err(error) => error,
        };
        match Errno::from_io_error(&error) {
            Some(Errno::AGAIN) => Recv::Nothing,
            Some(Errno::INTR) => Recv::Dropped,
            // The pool is empty. What stays unread would be ready for ever.
            Some(Errno::NOBUFS) => match self.socket.0.recv(&mut cx.kit.scratch) {
                Ok(_) => {
                    cx.counters.no_buffer += 1;
                    Recv::Dropped
                }
                Err(_) => Recv::Nothing,
            },
            // Told once; whether it is gone, the events of its namespace tell.
            Some(Errno::NETDOWN) => Recv::Nothing,
            Some(Errno::NODEV | Errno::NXIO) => Recv::Gone(Gone::Deleted),
            // Too long, or a super-packet of a kind that the kernel cannot describe.
            Some(Errno::MSGSIZE | Errno::INVAL) => {
                cx.counters.malformed += 1;
                Recv::Dropped
            }
            _ => Recv::Gone(Gone::Failed(error)),
        }
    }

    pub fn send(&mut self, cx: &mut Cx<'_>, batch: &mut Batch) -> Result<(), Gone> {
        self.egress.send(&mut self.socket, cx, batch)
    }

    pub fn flush(&mut self, cx: &mut Cx<'_>) -> Result<(), Gone> {
        self.egress.flush(&mut self.socket, cx)
    }

    pub fn is_waiting(&self) -> bool {
        self.egress.is_waiting()
    }

    pub fn close(&mut self, pool: &mut Pool) {
        self.egress.clear(pool);
    }
}

impl Sink for InterfaceSocket {
    fn send_packet(&mut self, packet: &PacketBuf) -> Result<(), Refusal> {
        self.0.send_packet(packet).map_err(refusal)
    }

    fn send_parts(&mut self, head: &[u8], tail: &[u8]) -> Result<(), Refusal> {
        self.0.send_parts(&VnetHeader::default(), head, tail).map_err(refusal)
    }

    fn takes_offloads(&self) -> bool {
        true
    }
}

fn refusal(error: io::Error) -> Refusal {
    match Errno::from_io_error(&error) {
        Some(Errno::AGAIN) => Refusal::Room,
        Some(Errno::NOBUFS | Errno::NOMEM) => Refusal::Full,
        Some(Errno::NETDOWN) => Refusal::Down,
        Some(Errno::MSGSIZE) => Refusal::TooBig,
        // Of a deleted interface; its namespace's events tell of it.
        Some(Errno::NXIO | Errno::NODEV) => Refusal::Down,
        _ => Refusal::Refused,
    }
}
