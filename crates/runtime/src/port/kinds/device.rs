//! `tap:NAME`, `tun:NAME`: a TUN or TAP device as a port, super-packets whole both ways.

use crate::error::{Error, Result};
use crate::port::egress::Egress;
use crate::port::kind::{Argument, Key, Kind, Opened, Parsed, PortOptions};
use crate::port::{Cx, Gone, Port, PortLink, Recv, Wait};
use crate::text::netns::open_netns;
use crate::text::user::{Group, User};
use crate::text::words::{Words, parsed};
use crate::wake::namespaces::NamespaceName;
use adit_device::{
    Create, Device, DeviceOptions, Endian, ErrorKind, Link, MacAddr, Mode, NamePattern,
    OffloadChoice, Queue, SendOptions, Sender, VnetFormat, VnetLen,
};
use adit_packet::{Batch, Layer, Pool};
use rustix::io::Errno;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::thread::JoinHandle;

/// The system calls of an open device: packets, and what it is called and set to.
pub(crate) const SYSCALLS: &[&str] = &["ioctl", "read", "write", "writev"];

/// How many packets may wait for us at a device that we make: twice the kernel's 500, for a burst of
/// 64 super-packets cut up for one port is more than that.
const TXQUEUELEN_DEFAULT: u32 = 1000;

/// `tap:NAME`: a device with Ethernet frames, made or attached to.
pub static TAP: Kind = Kind {
    prefix: "tap",
    argument: "NAME",
    help: "a TAP device, created or attached to",
    keys: &[NETNS, USER, GROUP, MAC, MTU, TXQUEUELEN, PERSIST],
    parse: |argument, words| parse(Mode::Tap, argument, words),
};

/// `tun:NAME`: a device with IP packets, made or attached to.
pub static TUN: Kind = Kind {
    prefix: "tun",
    argument: "NAME",
    help: "a TUN device, created or attached to",
    keys: &[NETNS, USER, GROUP, MTU, TXQUEUELEN, PERSIST],
    parse: |argument, words| parse(Mode::Tun, argument, words),
};

const NETNS: Key = Key::new("netns", "NAME|PATH|PID", "the network namespace to create it in");
const USER: Key = Key::new("user", "USER", "the user allowed to attach without privileges");
const GROUP: Key = Key::new("group", "GROUP", "the group allowed to attach without privileges");
const MAC: Key = Key::new("mac", "MAC", "its hardware address");
const MTU: Key = Key::new("mtu", "BYTES", "its IP MTU");
const TXQUEUELEN: Key = Key::new("txqueuelen", "PACKETS", "the kernel's queue towards us");
const PERSIST: Key = Key::new("persist", "on|off", "keep it when the program exits");

/// What `tap:` and `tun:` ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceSpec {
    /// TUN or TAP.
    pub mode: Mode,
    /// Its name, or a pattern with `%d`.
    pub name: NamePattern,
    /// The namespace in which it is: a name, a path or the id of a process.
    pub netns: Option<String>,
    /// The user who may attach to it without privilege.
    pub user: Option<User>,
    /// The group that may.
    pub group: Option<Group>,
    /// Its hardware address.
    pub mac: Option<MacAddr>,
    /// Its IP MTU.
    pub mtu: Option<u32>,
    /// How many packets the kernel queues for us before it drops.
    pub txqueuelen: Option<u32>,
    /// Whether it stays when the program exits.
    pub persist: Option<bool>,
}

fn parse(mode: Mode, argument: Argument<'_>, words: &mut Words) -> Parsed {
    Ok(Box::new(DeviceSpec {
        mode,
        name: parsed(argument.at, "a name", argument.text)?,
        netns: words.text("netns")?,
        user: words.value("user", "a user")?,
        group: words.value("group", "a group")?,
        mac: if mode == Mode::Tap { words.value("mac", "a MAC address")? } else { None },
        mtu: words.value("mtu", "an MTU in bytes")?,
        txqueuelen: words.value("txqueuelen", "a number of packets")?,
        persist: words.switch("persist")?,
    }))
}

impl PortOptions for DeviceSpec {
    fn open(&self) -> Result<Opened> {
        let spec = self;
        let netns = spec.netns.as_deref().map(open_netns).transpose()?;
        // A device that is there says how it may be attached to.
        let there = spec.name.exact().and_then(|name| {
            let link = match &netns {
                Some(netns) => Link::find_in(netns, &name),
                None => Link::find(&name),
            };
            link.ok()?.info().ok()
        });
        let is_multi_queue =
            there.as_ref().and_then(|info| info.tun).is_some_and(|tun| tun.multi_queue);
        let mut options = DeviceOptions::new(spec.mode)
            .name(spec.name)
            .create(Create::AttachOrCreate)
            .multi_queue(is_multi_queue)
            .nonblocking(true)
            .vnet_hdr(VnetFormat { len: VnetLen::Tunnel, endian: Endian::Native })
            .offload(OffloadChoice::Auto)
            .up(true);
        if let Some(netns) = netns {
            options = options.netns(netns);
        }
        if let Some(packets) = spec.txqueuelen.or(there.is_none().then_some(TXQUEUELEN_DEFAULT)) {
            options = options.txqueuelen(packets);
        }
        if let Some(user) = &spec.user {
            options = options.owner(user.uid);
        }
        if let Some(group) = &spec.group {
            options = options.group(group.gid);
        }
        if let Some(mac) = spec.mac {
            options = options.mac(mac);
        }
        if let Some(mtu) = spec.mtu {
            options = options.mtu(mtu);
        }
        if let Some(persist) = spec.persist {
            options = options.persist(persist);
        }
        let mut port = DevicePort::new(options.open()?)?;
        port.namespace = self.netns.as_deref().and_then(NamespaceName::of);
        Ok(Opened::port(port))
    }

    fn is_layer3(&self) -> bool {
        self.mode == Mode::Tun
    }

    fn netns(&self) -> Option<&str> {
        self.netns.as_deref()
    }
}

/// One queue of a TUN or TAP device. The device's handle is kept: without it a transient device would live on,
/// but nobody could be asked where it is.
pub struct DevicePort {
    name: String,
    mtu: u32,
    namespace: Option<NamespaceName>,
    is_watched: bool,
    device: Device,
    queue: Queue,
    sender: Sender,
    waiting: Egress,
    /// For moving what waits to the sender.
    batch: Batch,
}

impl DevicePort {
    /// A port on the first queue of a device that is open; the others are closed.
    ///
    /// # Errors
    /// ENODEV: it was deleted; EBADFD: it has no queue.
    pub fn new(mut device: Device) -> Result<Self> {
        let info = device.info()?;
        let kind = match device.mode() {
            Mode::Tap => "tap",
            Mode::Tun => "tun",
        };
        let name = format!("{kind}:{}", info.name);
        let queue = device.take_queues().into_iter().next().ok_or(io::Error::from(Errno::BADFD));
        let queue = queue.and_then(|queue| queue.set_nonblocking(true).map(|()| queue));
        let queue = queue.map_err(|error| Error::io("use", &name, &error))?;
        let sender = Sender::new(queue.mode(), SendOptions::ALL);
        Ok(Self {
            name,
            mtu: info.mtu,
            namespace: None,
            is_watched: true,
            device,
            queue,
            sender,
            waiting: Egress::new(),
            batch: Batch::new(),
        })
    }

    /// The same without events about its link: the loop needs no netlink socket in its namespace, which a thread
    /// opens. That the device was deleted is noticed by its queue.
    #[must_use]
    pub fn unwatched(mut self) -> Self {
        self.is_watched = false;
        self
    }

    #[cold]
    fn no_packet(&self, cx: &mut Cx<'_>, error: io::Error) -> Recv {
        match Errno::from_io_error(&error) {
            Some(Errno::AGAIN) => return Recv::Nothing,
            Some(Errno::INTR) => return Recv::Dropped,
            // The pool is empty. What stays unread would be ready for ever.
            Some(Errno::NOBUFS) => {
                return match self.queue.recv(&mut cx.scratch.bytes) {
                    Ok(_) => {
                        cx.counters.no_buffer += 1;
                        Recv::Dropped
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => Recv::Nothing,
                    Err(error) => gone_or_nothing(error),
                };
            }
            _ => {}
        }
        match ErrorKind::of_queue(&error) {
            ErrorKind::DeviceGone => Recv::Gone(Gone::Deleted),
            // A packet that the kernel took from the queue and could not hand over.
            ErrorKind::InvalidValue => {
                cx.counters.malformed += 1;
                Recv::Dropped
            }
            _ => Recv::Failed(error),
        }
    }

    /// Writes until `batch` is empty, or there is no room.
    #[inline]
    fn write(&mut self, cx: &mut Cx<'_>, batch: &mut Batch) -> Result<Room, Gone> {
        while !batch.is_empty() || self.sender.has_pending() {
            let before = bytes_of(batch);
            match self.sender.send_batch(&self.queue, cx.pool, batch) {
                Ok(done) => {
                    cx.counters.sent += u64::try_from(done.sent).unwrap_or(0);
                    cx.counters.refused += u64::try_from(done.refused).unwrap_or(0);
                    let bytes = before.saturating_sub(bytes_of(batch));
                    cx.counters.sent_bytes += u64::try_from(bytes).unwrap_or(0);
                }
                Err(error) => match self.not_written(cx, batch, error) {
                    Ok(Room::Some) => {}
                    other => return other,
                },
            }
        }
        Ok(Room::Some)
    }

    /// The first packet met an error: what becomes of it.
    #[cold]
    fn not_written(
        &mut self,
        cx: &mut Cx<'_>,
        batch: &mut Batch,
        error: io::Error,
    ) -> Result<Room, Gone> {
        let count = match ErrorKind::of_queue(&error) {
            ErrorKind::WouldBlock => return Ok(Room::None),
            ErrorKind::DeviceGone => {
                batch.give_all(cx.pool);
                return Err(Gone::Deleted);
            }
            // All the others would meet the same.
            ErrorKind::LinkDown => {
                cx.counters.link_down += u64::try_from(batch.len()).unwrap_or(0);
                batch.len()
            }
            _ if error.kind() == io::ErrorKind::Interrupted => return Ok(Room::Some),
            _ => {
                cx.counters.refused += 1;
                1
            }
        };
        self.sender.give_pending(cx.pool);
        batch.drain(..count).for_each(|packet| cx.pool.give(packet));
        Ok(Room::Some)
    }
}

debug_as_port!(DevicePort);

impl Port for DevicePort {
    fn name(&self) -> &str {
        &self.name
    }

    fn mtu(&self) -> Option<u32> {
        Some(self.mtu)
    }

    #[inline]
    fn recv(&mut self, cx: &mut Cx<'_>) -> Recv {
        match self.queue.recv_packet(cx.pool, &mut cx.scratch.pair) {
            Ok(packet) => Recv::Packet(packet),
            Err(error) => self.no_packet(cx, error),
        }
    }

    fn send(&mut self, cx: &mut Cx<'_>, batch: &mut Batch) -> Result<(), Gone> {
        if self.wants_room() {
            self.waiting.queue_all(batch, cx.pool, cx.counters);
            return Ok(());
        }
        if self.write(cx, batch)? == Room::None {
            self.waiting.queue_all(batch, cx.pool, cx.counters);
        }
        Ok(())
    }

    fn flush(&mut self, cx: &mut Cx<'_>) -> Result<(), Gone> {
        let mut batch = std::mem::replace(&mut self.batch, Batch::with_capacity(0));
        let mut result = Ok(Room::Some);
        while matches!(result, Ok(Room::Some)) && self.wants_room() {
            self.waiting.move_to(&mut batch);
            result = self.write(cx, &mut batch);
            self.waiting.return_from(&mut batch);
        }
        self.batch = batch;
        result.map(|_| ())
    }

    fn queues(&self) -> Option<Layer> {
        Some(match self.device.mode() {
            Mode::Tap => Layer::Frame,
            Mode::Tun => Layer::Packet,
        })
    }

    fn wants_room(&self) -> bool {
        self.waiting.is_waiting() || self.sender.has_pending()
    }

    fn queued(&self) -> Option<usize> {
        Some(self.waiting.queued())
    }

    fn descriptors(&self, each: &mut dyn FnMut(BorrowedFd<'_>, Wait)) {
        each(self.queue.as_fd(), Wait::Both);
    }

    fn link(&self) -> Option<PortLink<'_>> {
        self.is_watched.then_some(PortLink::Device(&self.device))
    }

    fn namespace(&self) -> Option<&NamespaceName> {
        self.namespace.as_ref()
    }

    fn close(&mut self, pool: &mut Pool) -> Option<JoinHandle<()>> {
        self.waiting.clear(pool);
        self.sender.give_pending(pool);
        None
    }
}

/// Whether the kernel takes more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Room {
    Some,
    None,
}

fn bytes_of(batch: &Batch) -> usize {
    batch.iter().map(adit_packet::PacketBuf::len).sum()
}

fn gone_or_nothing(error: io::Error) -> Recv {
    match ErrorKind::of_queue(&error) {
        ErrorKind::DeviceGone => Recv::Gone(Gone::Deleted),
        _ => Recv::Failed(error),
    }
}
