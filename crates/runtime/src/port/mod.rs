//! Ports: each one way in and out of an engine, whatever is behind it.
//!
//! [`Port`] and [`Hub`] are the contract between the loop and everything that moves packets; a program
//! may implement both. [`kinds`] is the list of the kinds that can be written as text.
//!
//! ```text
//! kind        what is known of a kind of port       spec       `tap:a,netns=blue`, parsed by the list
//! kinds/      the list, and a file a kind
//! stream      frames on a byte stream               messages   datagrams on a byte stream
//! datagram    frames as datagrams, many senders     mirror     a file for copies
//! egress      the queue of a port that is full
//! ```

/// `Debug` of a port: its name and MTU, without the buffers.
macro_rules! debug_as_port {
    ($port:ty) => {
        impl std::fmt::Debug for $port {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                (self as &dyn crate::port::Port).fmt(f)
            }
        }
    };
}

pub mod byte_stream;
pub mod datagram;
pub mod egress;
pub mod kind;
pub mod kinds;
pub mod messages;
pub mod mirror;
pub mod recorded;
pub mod spec;
pub mod stream;

use crate::wake::namespaces::NamespaceName;
use adit_device::netlink::LinkInfo;
use adit_device::{Device, Link, Netns};
use adit_engine::{Handled, PortId};
use adit_packet::{Batch, Instant, Layer, PacketBuf, Pair, Pool};
use std::any::Any;
use std::fmt;
use std::io;
use std::os::fd::BorrowedFd;
use std::thread::JoinHandle;

/// One way in and out of an engine: a device, a socket, a file, or anything else that a loop can wait
/// for.
///
/// The loop calls [`Self::recv`] when one of the descriptors is readable, until it says
/// [`Recv::Nothing`] or the port has had its share; it calls [`Self::send`] with what the engine sent,
/// and [`Self::flush`] when a descriptor has room again. All calls come from one thread. None may block:
/// while a port waits, no packet of any other moves.
///
/// A packet is an Ethernet frame or an IP packet, as the engine takes it, with its offloads in
/// `meta.vnet`: a port whose other side takes no super-packets cuts them up before it sends
/// ([`egress::Egress`] does that, and queues what does not fit).
pub trait Port: Any + Send {
    /// The name of the port for people: `tap:a`.
    fn name(&self) -> &str;

    /// The IP MTU of the device behind the port when it was opened; `None` if there is none.
    fn mtu(&self) -> Option<u32> {
        None
    }

    /// Takes the next packet, if there is one now.
    fn recv(&mut self, cx: &mut Cx<'_>) -> Recv;

    /// Sends the packets of `batch`, which is empty afterwards: every buffer goes back to `cx.pool` or
    /// is queued here. What has no room is dropped and counted in `cx.counters`, and so is what was sent.
    ///
    /// # Errors
    /// The port has ended; the loop detaches it.
    fn send(&mut self, cx: &mut Cx<'_>, batch: &mut Batch) -> Result<(), Gone>;

    /// Sends what is queued here, now that a descriptor has room or [`Self::next_timeout`] has passed.
    ///
    /// # Errors
    /// The port has ended; the loop detaches it.
    fn flush(&mut self, cx: &mut Cx<'_>) -> Result<(), Gone> {
        let _ = cx;
        Ok(())
    }

    /// Calls `each` with every descriptor that the loop must wait for; the same ones each time. A port
    /// whose descriptors change adds them to an epoll instance of its own and waits for that.
    fn descriptors(&self, each: &mut dyn FnMut(BorrowedFd<'_>, Wait)) {
        let _ = each;
    }

    /// Whether something is queued that waits for a descriptor to have room.
    fn wants_room(&self) -> bool {
        false
    }

    /// How many frames are queued here; `None` if the port does not queue frames.
    fn queued(&self) -> Option<usize> {
        None
    }

    /// Whether [`Self::recv`] has more although no descriptor is ready, e.g. in a buffer of its own.
    fn has_more(&self) -> bool {
        false
    }

    /// The layer of the packets of many flows that wait behind each other in a queue of the kernel, e.g. a device's: a
    /// loop with peers reads them ahead, and gives each flow its turn. `None` if the port has no such queue.
    fn queues(&self) -> Option<Layer> {
        None
    }

    /// The time at which the loop must call [`Self::flush`] and [`Self::recv`] even if no descriptor is
    /// ready. The loop asks again after every other call.
    fn next_timeout(&self) -> Option<Instant> {
        None
    }

    /// A descriptor reported an error or a hang-up. Returns why the port has ended, if it has and neither
    /// [`Self::recv`] nor [`Self::flush`] would notice.
    fn failed(&mut self) -> Option<Gone> {
        None
    }

    /// The kernel interface behind the port, whose state the loop reports as events; `None` if there
    /// is none.
    fn link(&self) -> Option<PortLink<'_>> {
        None
    }

    /// The packet socket by which the port receives all frames, if its only use is that: a kernel that forwards
    /// frames of the interface itself keeps those from it.
    fn packet_socket(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    /// The name of the network namespace that the port was opened in: without the name it ends.
    fn namespace(&self) -> Option<&NamespaceName> {
        None
    }

    /// Calls `each` with what was dropped behind the port, by reason, by an engine of its own
    /// ([`Nested`](crate::Nested)).
    fn inner_drops(&self, each: &mut dyn FnMut(&str, u64)) {
        let _ = each;
    }

    /// The name of the hub that this port shares with others ([`Hub::name`]); `None` for a port that
    /// receives by descriptors of its own.
    fn hub(&self) -> Option<&str> {
        None
    }

    /// Opens that hub: for the first port that names it.
    ///
    /// # Errors
    /// ENOTCONN: the hub has been closed, and this port cannot open another one.
    fn open_hub(&self) -> io::Result<Box<dyn Hub>> {
        Err(rustix::io::Errno::NOTCONN.into())
    }

    /// Gives the buffers of what is queued back to the pool, before the port is dropped. A port that
    /// must wait, e.g. for a reader, does so on a thread that it returns; the thread must end by itself.
    /// The loop waits for it when the loop is dropped.
    fn close(&mut self, pool: &mut Pool) -> Option<JoinHandle<()>> {
        let _ = pool;
        None
    }
}

impl fmt::Debug for dyn Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Port").field("name", &self.name()).field("mtu", &self.mtu()).finish()
    }
}

/// A socket that several ports share, or a listener: it reads once and says for which port.
///
/// A port names its hub by [`Port::hub`] and is added by [`Self::join`] when it is attached, which is
/// also where the two exchange what they need of each other (`port` is downcast by [`Any`]). A hub that
/// a port has opened is closed with its last port; one that the owner gave to
/// [`Runner::listen`](crate::Runner::listen) stays until it is closed there.
pub trait Hub: Any + Send {
    /// The name by which ports find it, unique in the loop: `udp:0.0.0.0:4789`.
    fn name(&self) -> &str;

    /// The descriptor that is readable when something comes.
    fn fd(&self) -> BorrowedFd<'_>;

    /// Reads once, and puts the packets into `cx.arrivals`. The loop calls it until it says
    /// [`HubRecv::Nothing`] or the hub has had its share.
    fn recv(&mut self, cx: &mut HubCx<'_>) -> HubRecv;

    /// Adds a port.
    ///
    /// # Errors
    /// EEXIST: there is one for the same remote; EINVAL: it is a port of another kind.
    fn join(&mut self, id: PortId, port: &mut dyn Port) -> io::Result<()> {
        let _ = (id, port);
        Err(rustix::io::Errno::INVAL.into())
    }

    /// Removes a port that was detached.
    fn leave(&mut self, id: PortId) {
        let _ = id;
    }

    /// How many packets came that were for no port: from unknown senders, or malformed.
    fn refused(&self) -> u64 {
        0
    }
}

impl fmt::Debug for dyn Hub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Hub").field(&self.name()).finish()
    }
}

/// What [`Port::recv`] found.
#[derive(Debug)]
pub enum Recv {
    /// A packet.
    Packet(PacketBuf),
    /// Something that is no packet, or for which there was no buffer; it is consumed and counted. There
    /// may be more.
    Dropped,
    /// Nothing now.
    Nothing,
    /// Reading failed, and may fail again at once: the loop reads again after a pause.
    Failed(io::Error),
    /// Nothing more will come: the loop detaches the port.
    Gone(Gone),
}

/// What [`Hub::recv`] found.
#[derive(Debug)]
pub enum HubRecv {
    /// It read something; what is for a port is in [`HubCx::arrivals`]. There may be more.
    Some,
    /// A new port: a connection, or the first datagram of a sender. The loop's owner attaches or drops
    /// it after this turn. There may be more: a hub that must not be read before that returns
    /// [`Self::Nothing`] once.
    Accepted(Box<dyn Port>),
    /// Nothing now.
    Nothing,
    /// Reading failed, and may fail again at once: the loop reads again after a pause.
    Failed(io::Error),
    /// The process has no descriptor or memory left to accept a connection: the loop accepts again
    /// after a pause.
    Exhausted(io::Error),
    /// Nothing more will come: the loop closes the hub and ends its ports.
    Gone(io::Error),
}

/// What a descriptor of a port is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// Something to read.
    Read,
    /// Room to write, while [`Port::wants_room`].
    Write,
    /// Both.
    Both,
}

impl Wait {
    /// Whether it is read from.
    #[must_use]
    pub const fn reads(self) -> bool {
        matches!(self, Self::Read | Self::Both)
    }

    /// Whether it is written to.
    #[must_use]
    pub const fn writes(self) -> bool {
        matches!(self, Self::Write | Self::Both)
    }
}

/// The part of a loop that a port works with.
#[derive(Debug)]
pub struct Cx<'a> {
    /// The time of this turn.
    pub now: Instant,
    /// What the engine saw in the packet that this port received before, in the same turn; nothing if an
    /// emulated link is between them.
    pub handled: Handled,
    /// The buffers.
    pub pool: &'a mut Pool,
    /// Memory for the duration of the call.
    pub scratch: &'a mut Scratch,
    /// The counters of this port. The loop counts what is received; a port counts all the rest.
    pub counters: &'a mut PortCounters,
}

impl<'a> Cx<'a> {
    pub(crate) const fn new(
        now: Instant,
        pool: &'a mut Pool,
        scratch: &'a mut Scratch,
        counters: &'a mut PortCounters,
    ) -> Self {
        Self { now, handled: Handled::NOTHING, pool, scratch, counters }
    }

    /// A frame that a port has in memory of its own, in a buffer; counted if there is none.
    pub(crate) fn copy(&mut self, frame: &[u8]) -> Recv {
        if let Some(mut packet) = self.pool.take(frame.len()) {
            if packet.extend(frame).is_ok() {
                return Recv::Packet(packet);
            }
            self.pool.give(packet);
        }
        self.counters.no_buffer += 1;
        Recv::Dropped
    }
}

/// The part of a loop that a hub works with.
#[derive(Debug)]
pub struct HubCx<'a> {
    /// The time of this turn.
    pub now: Instant,
    /// The buffers.
    pub pool: &'a mut Pool,
    /// Memory for the duration of the call.
    pub scratch: &'a mut Scratch,
    /// Where the packets go.
    pub arrivals: &'a mut Arrivals,
}

/// Packets that a hub has read, each for one of its ports.
#[derive(Debug, Default)]
pub struct Arrivals(pub(crate) Vec<(PortId, Option<PacketBuf>)>);

impl Arrivals {
    /// A packet for a port.
    #[inline]
    pub fn push(&mut self, to: PortId, packet: PacketBuf) {
        self.0.push((to, Some(packet)));
    }

    /// A packet for a port was dropped, for there was no buffer.
    pub fn no_buffer(&mut self, to: PortId) {
        self.0.push((to, None));
    }
}

/// Memory that all ports of a loop use in turn; nothing in it outlives a call.
#[derive(Debug)]
pub struct Scratch {
    /// Buffers that the next packet is received into (`Queue::recv_packet`).
    pub pair: Pair,
    /// Room for the headers of one segment, 1 KiB.
    pub headers: Box<[u8]>,
    /// Room for the longest packet: what is dropped is read into it, datagrams are joined in it.
    pub bytes: Box<[u8]>,
    /// Room for the longest train of datagrams, to be taken apart.
    pub datagrams: Box<[u8]>,
}

/// The longest headers that are cut off a super-packet: Ethernet with tags, IPv6 with extensions and
/// TCP with options, all of it twice inside a tunnel.
const HEADERS_LEN_MAX: usize = 1024;

impl Default for Scratch {
    fn default() -> Self {
        Self::new()
    }
}

impl Scratch {
    /// About 200 KiB.
    #[must_use]
    pub fn new() -> Self {
        Self {
            pair: Pair::default(),
            headers: vec![0; HEADERS_LEN_MAX].into(),
            bytes: vec![0; adit_device::RECORD_LEN_MAX].into(),
            datagrams: vec![0; adit_device::RECORD_LEN_MAX].into(),
        }
    }
}

/// The kernel interface behind a port.
#[derive(Debug)]
#[non_exhaustive]
pub enum PortLink<'a> {
    /// A TUN or TAP device: the port goes on when it is moved to another namespace.
    Device(&'a Device),
    /// An interface in a namespace: the port ends when it is moved.
    Interface(&'a Link, &'a Netns),
}

impl PortLink<'_> {
    pub(crate) fn info(&self) -> adit_device::Result<LinkInfo> {
        match self {
            Self::Device(device) => device.info(),
            Self::Interface(link, _) => link.info(),
        }
    }

    pub(crate) fn netns(&self) -> io::Result<Netns> {
        match self {
            Self::Device(device) => device.netns().map_err(io::Error::other),
            Self::Interface(_, netns) => netns.try_clone(),
        }
    }

    pub(crate) const fn follows_moves(&self) -> bool {
        matches!(self, Self::Device(_))
    }
}

/// Why a port ended.
#[derive(Debug)]
pub enum Gone {
    /// The device or interface was deleted.
    Deleted,
    /// The interface was moved to another network namespace, where the port cannot follow it.
    Moved,
    /// Its network namespace was deleted.
    NamespaceDeleted,
    /// The other end closed the connection.
    Closed,
    /// A recording was played to its end.
    Played,
    /// The other end does not speak the protocol.
    Protocol(&'static str),
    /// Any other error.
    Failed(io::Error),
}

impl fmt::Display for Gone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Deleted => f.write_str("it was deleted"),
            Self::Moved => f.write_str("it was moved to another network namespace"),
            Self::NamespaceDeleted => f.write_str("its network namespace was deleted"),
            Self::Closed => f.write_str("the other end closed the connection"),
            Self::Played => f.write_str("the recording is at its end"),
            Self::Protocol(what) => write!(f, "the other end sent {what}"),
            Self::Failed(error) => error.fmt(f),
        }
    }
}

/// What went through a port since it was attached. A super-packet counts as one frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PortCounters {
    /// Frames received.
    pub received: u64,
    /// Their bytes.
    pub received_bytes: u64,
    /// Frames sent.
    pub sent: u64,
    /// Their bytes.
    pub sent_bytes: u64,
    /// Received and not a frame.
    pub malformed: u64,
    /// Received while there was no buffer.
    pub no_buffer: u64,
    /// Not sent: the port's queue was full.
    pub queue_full: u64,
    /// Not sent: the link was down.
    pub link_down: u64,
    /// Not sent: longer than the port takes.
    pub too_big: u64,
    /// Not sent: refused by the kernel.
    pub refused: u64,
}

impl PortCounters {
    /// Frames that were dropped on the way in, by reason; some may be 0.
    pub fn ingress_drops(&self) -> impl Iterator<Item = (&'static str, u64)> + use<> {
        [("malformed", self.malformed), ("no buffer", self.no_buffer)].into_iter()
    }

    /// Frames that were dropped on the way out, by reason; some may be 0.
    pub fn egress_drops(&self) -> impl Iterator<Item = (&'static str, u64)> + use<> {
        let all = [
            ("queue full", self.queue_full),
            ("port down", self.link_down),
            ("too big", self.too_big),
            ("refused by the kernel", self.refused),
        ];
        all.into_iter()
    }
}

#[cfg(test)]
impl PortCounters {
    pub(crate) fn dropped_in(&self) -> u64 {
        self.ingress_drops().map(|(_, count)| count).sum()
    }

    pub(crate) fn dropped_out(&self) -> u64 {
        self.egress_drops().map(|(_, count)| count).sum()
    }
}
