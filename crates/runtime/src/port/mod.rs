//! A port: one way in and out of an engine, whatever is behind it.

pub mod byte_stream;
pub mod device;
pub mod egress;
pub mod interface;
pub mod messages;
pub mod mirror;
pub mod replay;
pub mod stream;

use crate::event::Gone;
use crate::port::device::DevicePort;
use crate::port::egress::HEADERS_LEN_MAX;
use crate::port::interface::InterfacePort;
use crate::port::messages::MessagePort;
use crate::port::mirror::MirrorPort;
use crate::port::replay::ReplayPort;
use crate::port::stream::StreamPort;
use crate::socket::datagram::DatagramPort;
use crate::socket::vxlan::VxlanPort;
use crate::wake::namespaces::NamespaceName;
use adit_device::Netns;
use adit_device::netlink::LinkInfo;
use adit_packet::{Batch, Instant, PacketBuf, Pair, Pool};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::SocketAddrUnix;
use std::fmt;
use std::os::fd::BorrowedFd;

/// A port that is open and not yet part of a loop, or is.
pub struct Port {
    name: String,
    mtu: Option<u32>,
    namespace: Option<NamespaceName>,
    pub io: Io,
}

/// The kinds of port, each with what it needs to move packets.
pub enum Io {
    Device(Box<DevicePort>),
    Interface(Box<InterfacePort>),
    Stream(Box<StreamPort>),
    Messages(Box<MessagePort>),
    Datagram(Box<DatagramPort>),
    Vxlan(Box<VxlanPort>),
    Replay(Box<ReplayPort>),
    Mirror(Box<MirrorPort>),
}

impl Port {
    pub fn new(name: impl Into<String>, mtu: Option<u32>, io: Io) -> Self {
        Self { name: name.into(), mtu, namespace: None, io }
    }

    /// The same, to end when the name of its namespace means it no more.
    pub fn in_namespace(self, text: Option<&str>) -> Self {
        Self { namespace: text.and_then(NamespaceName::of), ..self }
    }

    pub fn namespace(&self) -> Option<&NamespaceName> {
        self.namespace.as_ref()
    }

    /// What to call it: `tap:NAME`, with the name that the device got.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The IP MTU of the device or interface when it was opened; `None` where there is none.
    pub fn mtu(&self) -> Option<u32> {
        self.mtu
    }

    /// The next packet, if there is one now.
    #[inline]
    pub fn recv(&mut self, cx: &mut Cx<'_>) -> Recv {
        match &mut self.io {
            Io::Device(port) => port.recv(cx),
            Io::Interface(port) => port.recv(cx),
            Io::Stream(port) => port.recv(cx),
            Io::Messages(port) => port.recv(cx),
            Io::Datagram(port) => port.recv(cx),
            // Its packets come by the socket that it shares.
            Io::Vxlan(_) | Io::Mirror(_) => Recv::Nothing,
            Io::Replay(port) => port.recv(cx),
        }
    }

    /// Sends the packets of `batch`, which is empty afterwards: what does not go now waits here, and
    /// what has no room to wait is dropped and counted.
    #[inline]
    pub fn send(&mut self, cx: &mut Cx<'_>, batch: &mut Batch) -> Result<(), Gone> {
        match &mut self.io {
            Io::Device(port) => port.send(cx, batch),
            Io::Interface(port) => port.send(cx, batch),
            Io::Stream(port) => port.send(cx, batch),
            Io::Messages(port) => port.send(cx, batch),
            Io::Datagram(port) => port.send(cx, batch),
            Io::Mirror(port) => port.send(cx, batch),
            Io::Vxlan(port) => {
                port.send(cx, batch);
                Ok(())
            }
            Io::Replay(_) => {
                ReplayPort::send(cx, batch);
                Ok(())
            }
        }
    }

    /// Sends what waits, now that there may be room.
    pub fn flush(&mut self, cx: &mut Cx<'_>) -> Result<(), Gone> {
        match &mut self.io {
            Io::Device(port) => port.flush(cx),
            Io::Interface(port) => port.flush(cx),
            Io::Stream(port) => port.flush(),
            Io::Messages(port) => port.flush(),
            Io::Datagram(port) => port.flush(cx),
            Io::Mirror(port) => port.flush(),
            Io::Vxlan(_) | Io::Replay(_) => Ok(()),
        }
    }

    /// Whether its descriptor is to tell when there is room for what waits.
    pub fn wants_room(&self) -> bool {
        match &self.io {
            Io::Device(port) => port.is_waiting(),
            Io::Interface(port) => port.is_waiting(),
            Io::Stream(port) => port.is_waiting(),
            Io::Messages(port) => port.is_waiting(),
            // A datagram socket has room while one of its guests has none: time tells.
            Io::Datagram(_) | Io::Vxlan(_) | Io::Replay(_) | Io::Mirror(_) => false,
        }
    }

    /// Whether [`Self::recv`] has more without its descriptor being ready.
    pub fn has_more(&self) -> bool {
        match &self.io {
            Io::Stream(port) => port.has_more(),
            Io::Messages(port) => port.has_more(),
            _ => false,
        }
    }

    /// Whether [`Self::next_timeout`] may ever be something.
    pub fn is_timed(&self) -> bool {
        matches!(self.io, Io::Datagram(_) | Io::Replay(_))
    }

    /// When [`Self::recv`] or [`Self::flush`] is to be called even if no descriptor is ready.
    pub fn next_timeout(&self) -> Option<Instant> {
        match &self.io {
            Io::Datagram(port) => port.next_timeout(),
            Io::Replay(port) => port.next_timeout(),
            _ => None,
        }
    }

    /// The descriptor to read from, which is also the one to write to unless there is another.
    pub fn fd(&self) -> Option<BorrowedFd<'_>> {
        match &self.io {
            Io::Device(port) => Some(port.fd()),
            Io::Interface(port) => Some(port.fd()),
            Io::Stream(port) => Some(port.fd()),
            Io::Messages(port) => Some(port.fd()),
            Io::Datagram(port) => port.fd(),
            Io::Vxlan(_) | Io::Replay(_) | Io::Mirror(_) => None,
        }
    }

    /// The descriptor to write to, where it is another one.
    pub fn write_fd(&self) -> Option<BorrowedFd<'_>> {
        match &self.io {
            Io::Stream(port) => port.write_fd(),
            Io::Messages(port) => port.write_fd(),
            _ => None,
        }
    }

    /// Whether nobody will read what is written, of a descriptor for writing alone: the one for reading
    /// does not tell, and an error that is not heeded would be told for ever.
    pub fn has_lost_its_reader(&self) -> bool {
        let Some(fd) = self.write_fd() else { return false };
        let mut fds = [PollFd::from_borrowed_fd(fd, PollFlags::empty())];
        let polled = poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }));
        polled.is_ok_and(|count| count > 0)
    }

    /// The place of the socket on which a guest sends datagrams, and the guest's address.
    pub fn datagram_peer(&self) -> Option<(u16, SocketAddrUnix)> {
        match &self.io {
            Io::Datagram(port) => port.peer(),
            _ => None,
        }
    }

    pub fn vxlan_mut(&mut self) -> Option<&mut VxlanPort> {
        match &mut self.io {
            Io::Vxlan(port) => Some(port),
            _ => None,
        }
    }

    pub fn is_vxlan(&self) -> bool {
        matches!(self.io, Io::Vxlan(_))
    }

    /// What the kernel tells of the link, where there is one.
    pub fn link_info(&self) -> Option<adit_device::Result<LinkInfo>> {
        match &self.io {
            Io::Device(port) => Some(port.device.info()),
            Io::Interface(port) => Some(port.link.info()),
            _ => None,
        }
    }

    /// The namespace of the link, where there is one.
    pub fn netns(&self) -> Option<Netns> {
        match &self.io {
            Io::Device(port) => port.device.netns().ok(),
            Io::Interface(port) => port.netns.try_clone().ok(),
            _ => None,
        }
    }

    /// Whether the port goes on when its link is moved to another namespace.
    pub fn follows_moves(&self) -> bool {
        matches!(self.io, Io::Device(_))
    }

    /// Gives the buffers of what waits back to the pool, before it is dropped.
    pub fn close(&mut self, pool: &mut Pool) {
        match &mut self.io {
            Io::Device(port) => port.close(pool),
            Io::Interface(port) => port.close(pool),
            Io::Datagram(port) => port.close(pool),
            Io::Mirror(port) => port.close(pool),
            Io::Stream(_) | Io::Messages(_) | Io::Vxlan(_) | Io::Replay(_) => {}
        }
    }
}

impl fmt::Debug for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Port").field("name", &self.name).field("mtu", &self.mtu).finish()
    }
}

/// What a port works with, of the loop that it is in.
pub struct Cx<'a> {
    pub now: Instant,
    pub pool: &'a mut Pool,
    pub kit: &'a mut Kit,
    pub counters: &'a mut PortCounters,
}

/// Memory that all ports of a loop use in turn.
pub struct Kit {
    pub pair: Pair,
    /// The headers of one segment.
    pub headers: Box<[u8]>,
    /// A packet for which there is no buffer is read into it and dropped; trains of datagrams are put
    /// together in it.
    pub scratch: Box<[u8]>,
    /// Trains of datagrams are taken apart in it.
    pub datagrams: Box<[u8]>,
}

impl Kit {
    pub fn new() -> Self {
        Self {
            pair: Pair::default(),
            headers: vec![0; HEADERS_LEN_MAX].into(),
            scratch: vec![0; adit_device::RECORD_LEN_MAX].into(),
            datagrams: vec![0; adit_device::RECORD_LEN_MAX].into(),
        }
    }
}

/// What [`Port::recv`] found.
pub enum Recv {
    /// A packet.
    Packet(PacketBuf),
    /// Something that is no packet, or for which there was no buffer; it is counted. There may be
    /// more.
    Dropped,
    /// Nothing now.
    Nothing,
    /// Nothing more will come.
    Gone(Gone),
}

/// What went through a port since it was attached. A super-packet counts as one frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PortCounters {
    /// Frames that came in.
    pub received: u64,
    /// Their bytes.
    pub received_bytes: u64,
    /// Frames that went out.
    pub sent: u64,
    /// Their bytes.
    pub sent_bytes: u64,
    /// Came in and were no frames.
    pub malformed: u64,
    /// Came in while there was no buffer for them.
    pub no_buffer: u64,
    /// Were to go out while the port's queue was full.
    pub queue_full: u64,
    /// Were to go out while the link was down.
    pub link_down: u64,
    /// Were to go out and are longer than the port takes.
    pub too_big: u64,
    /// Were to go out and were refused by the kernel.
    pub refused: u64,
}

#[cfg(test)]
impl PortCounters {
    /// Frames that were dropped on the way in.
    pub fn dropped_in(&self) -> u64 {
        self.malformed + self.no_buffer
    }

    /// Frames that were dropped on the way out.
    pub fn dropped_out(&self) -> u64 {
        self.queue_full + self.link_down + self.too_big + self.refused
    }
}
