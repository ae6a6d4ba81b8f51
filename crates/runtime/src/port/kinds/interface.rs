//! `dev:NAME`: an interface that exists as a port, by a packet socket; super-packets whole both ways.

use crate::error::{Error, Result};
use crate::port::egress::{Egress, Refusal, Sink};
use crate::port::kind::{Key, Kind, Opened, PortOptions};
use crate::port::{Cx, Gone, Port, PortLink, Recv, Wait};
use crate::text::netns::open_netns;
use crate::text::words::parsed;
use crate::wake::namespaces::NamespaceName;
use adit_device::netlink::HardwareType;
use adit_device::{IfName, Link, Netns, PacketSocket, PacketSocketOptions};
use adit_packet::{Batch, PacketBuf, Pool, VnetHeader};
use rustix::io::Errno;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::thread::JoinHandle;

/// The system calls of an open packet socket.
pub(crate) const SYSCALLS: &[&str] = &["recvmsg", "writev"];

/// How many bytes of frames may wait in the kernel, each way: 64 super-packets, a burst of one batch.
const SOCKET_BUFFER_LEN: usize = 4 << 20;

/// What `dev:` asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InterfaceSpec {
    /// The name of the interface.
    pub name: IfName,
    /// The namespace that it is in.
    pub netns: Option<String>,
}

/// `dev:NAME`: an existing interface, through a packet socket.
pub static DEV: Kind = Kind {
    prefix: "dev",
    argument: "NAME",
    help: "an existing interface, through a packet socket",
    keys: &[Key::new("netns", "NAME|PATH|PID", "the network namespace that it is in")],
    parse: |argument, words| {
        let name = parsed(argument.at, "a name", argument.text)?;
        Ok(Box::new(InterfaceSpec { name, netns: words.text("netns")? }))
    },
};

impl PortOptions for InterfaceSpec {
    fn open(&self) -> Result<Opened> {
        let netns = self.netns.as_deref().map(open_netns).transpose()?;
        let link = match &netns {
            Some(netns) => Link::find_in(netns, &self.name)?,
            // This one needs no right to enter it.
            None => Link::find(&self.name)?,
        };
        let netns = netns.map_or_else(Netns::current, Ok);
        let netns =
            netns.map_err(|error| Error::io("open a packet socket on", self.name, &error))?;
        let mut port = InterfacePort::new(link, netns)?;
        port.name = format!("dev:{}", self.name);
        port.namespace = self.netns.as_deref().and_then(NamespaceName::of);
        Ok(Opened::port(port))
    }

    fn netns(&self) -> Option<&str> {
        self.netns.as_deref()
    }
}

/// A packet socket on one interface.
pub struct InterfacePort {
    name: String,
    mtu: u32,
    namespace: Option<NamespaceName>,
    socket: InterfaceSocket,
    egress: Egress,
    link: Link,
    netns: Netns,
}

struct InterfaceSocket(PacketSocket);

impl InterfacePort {
    /// Takes part in the traffic of an interface in `netns`: receives what arrives at the interface, for
    /// any address, and not what the host sends.
    ///
    /// # Errors
    /// EPERM without `CAP_NET_RAW`; ENODEV: it was deleted; it is not an Ethernet interface.
    pub fn new(link: Link, netns: Netns) -> Result<Self> {
        let info = link.info()?;
        if !matches!(info.hardware_type, HardwareType::ETHER | HardwareType::LOOPBACK) {
            return Err(Error::usage(format_args!("{} is not an Ethernet interface", info.name)));
        }
        let socket = open_socket(&link, &netns)
            .map_err(|error| Error::io("open a packet socket on", info.name, &error))?;
        Ok(Self {
            name: format!("dev:{}", info.name),
            mtu: info.mtu,
            namespace: None,
            socket: InterfaceSocket(socket),
            egress: Egress::new(),
            link,
            netns,
        })
    }
}

fn open_socket(link: &Link, netns: &Netns) -> io::Result<PacketSocket> {
    let options = PacketSocketOptions {
        promiscuous: true,
        incoming_only: true,
        buffer_len: Some(SOCKET_BUFFER_LEN),
        send_buffer_len: Some(SOCKET_BUFFER_LEN),
        netns: Some(Arc::new(netns.try_clone()?)),
        ..PacketSocketOptions::default()
    };
    PacketSocket::open(link.index()?, &options)
}

debug_as_port!(InterfacePort);

impl Port for InterfacePort {
    fn name(&self) -> &str {
        &self.name
    }

    fn mtu(&self) -> Option<u32> {
        Some(self.mtu)
    }

    fn descriptors(&self, each: &mut dyn FnMut(BorrowedFd<'_>, Wait)) {
        each(self.socket.0.as_fd(), Wait::Both);
    }

    fn link(&self) -> Option<PortLink<'_>> {
        Some(PortLink::Interface(&self.link, &self.netns))
    }

    fn packet_socket(&self) -> Option<BorrowedFd<'_>> {
        Some(self.socket.0.as_fd())
    }

    fn namespace(&self) -> Option<&NamespaceName> {
        self.namespace.as_ref()
    }

    fn recv(&mut self, cx: &mut Cx<'_>) -> Recv {
        let error = match self.socket.0.recv_packet(cx.pool, &mut cx.scratch.pair) {
            Ok(packet) => return Recv::Packet(packet),
            Err(error) => error,
        };
        match Errno::from_io_error(&error) {
            Some(Errno::AGAIN) => Recv::Nothing,
            Some(Errno::INTR) => Recv::Dropped,
            // The pool is empty. What stays unread would be ready for ever.
            Some(Errno::NOBUFS) => match self.socket.0.recv(&mut cx.scratch.bytes) {
                Ok(_) => {
                    cx.counters.no_buffer += 1;
                    Recv::Dropped
                }
                Err(_) => Recv::Nothing,
            },
            // Reported once. The events of its namespace report whether it was deleted or moved.
            Some(Errno::NETDOWN | Errno::NODEV | Errno::NXIO) => Recv::Nothing,
            // Too long, or a super-packet of a kind that the kernel cannot describe.
            Some(Errno::MSGSIZE | Errno::INVAL) => {
                cx.counters.malformed += 1;
                Recv::Dropped
            }
            _ => Recv::Failed(error),
        }
    }

    fn send(&mut self, cx: &mut Cx<'_>, batch: &mut Batch) -> Result<(), Gone> {
        self.egress.send(&mut self.socket, cx, batch)
    }

    fn flush(&mut self, cx: &mut Cx<'_>) -> Result<(), Gone> {
        self.egress.flush(&mut self.socket, cx)
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

impl Sink for InterfaceSocket {
    const TAKES_OFFLOADS: bool = true;

    fn send_packet(&mut self, packet: &PacketBuf) -> Result<(), Refusal> {
        self.0.send_packet(packet).map_err(refusal)
    }

    fn send_parts(&mut self, head: &[u8], tail: &[u8]) -> Result<(), Refusal> {
        self.0.send_parts(&VnetHeader::default(), head, tail).map_err(refusal)
    }
}

fn refusal(error: io::Error) -> Refusal {
    match Errno::from_io_error(&error) {
        Some(Errno::AGAIN) => Refusal::Room,
        Some(Errno::NOBUFS | Errno::NOMEM) => Refusal::Full,
        Some(Errno::NETDOWN) => Refusal::Down,
        Some(Errno::MSGSIZE) => Refusal::TooBig,
        // Of a deleted interface, which its namespace's events report.
        Some(Errno::NXIO | Errno::NODEV) => Refusal::Down,
        _ => Refusal::Refused,
    }
}
