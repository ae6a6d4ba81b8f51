//! The source of packets: a queue of a TUN or TAP device that no other program holds, or the ring of a packet
//! socket, which sees copies.

use adit_decode::Gso;
use adit_device::netlink::{Address, Event, HardwareType, IpPrefix, LinkFlags, LinkInfo, Monitor};
use adit_device::{
    ClassicFilter, Create, Device, DeviceOptions, IfIndex, IfName, Link, MacAddr, Mode,
    NamePattern, PacketRing, PacketSocketOptions, Queue, RECORD_LEN_MAX, VnetHeader,
};
use adit_runtime::format::pcapng::{Direction, LinkType, Meta};
use adit_runtime::record::now::Now;
use std::cell::Cell;
use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

/// Length of the ring in bytes: enough for a burst of 200,000 small packets, or 20,000 of 1500 bytes.
const RING_LEN: usize = 32 << 20;

/// What to capture from.
#[derive(Clone, Debug)]
pub enum Wanted {
    /// An existing interface.
    Existing(IfName),
    /// A new device, deleted at the end of the capture.
    New {
        /// Its name.
        name: NamePattern,
        /// TUN or TAP.
        mode: Mode,
        /// Its addresses.
        addresses: Vec<IpPrefix>,
    },
}

/// An open source.
#[derive(Debug)]
pub struct Source {
    kind: Kind,
    name: IfName,
    link_type: LinkType,
    is_filtered: bool,
    /// Packets that the kernel had dropped before the capture began.
    dropped_before: u64,
}

#[derive(Debug)]
enum Kind {
    Queue {
        device: Device,
        queue: Queue,
        /// The packet received last.
        buf: Vec<u8>,
        len: usize,
    },
    Socket {
        ring: PacketRing,
        link: Link,
        index: IfIndex,
        /// Opened before the socket: it knows how the interface went. Not read before that, so its backlog
        /// may overflow.
        monitor: Option<Monitor>,
        /// The interface went down: the kernel says so once, and nothing more if it is deleted then.
        is_down: Cell<bool>,
    },
}

/// How an interface went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It was deleted.
    Deleted,
    /// It is in another network namespace.
    Moved,
    /// One of both.
    Unknown,
}

/// What is known of a packet beside its bytes.
#[derive(Debug)]
pub struct Incoming {
    /// Its time, direction and length.
    pub meta: Meta,
    /// Whether it is many in one.
    pub gso: Option<Gso>,
}

impl Source {
    /// Opens or creates the device. If another program holds it, uses a packet socket and says so through `note`.
    /// A packet socket applies `filter` from its first packet on.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open(
        wanted: &Wanted,
        promiscuous: bool,
        filter: Option<&ClassicFilter>,
        note: &mut dyn FnMut(String),
    ) -> Result<Self, OpenError> {
        match wanted {
            Wanted::New { name, mode, addresses } => {
                let mut options = DeviceOptions::new(*mode).name(*name).nonblocking(true).up(true);
                for address in addresses {
                    options = options.address(Address::new(*address));
                }
                Self::queue(options.create(Create::Exclusive))
            }
            Wanted::Existing(name) => {
                let link = Link::find(name)?;
                let info = link.info()?;
                let Some(tun) = &info.tun else {
                    return Self::socket(link, &info, promiscuous, filter);
                };
                // Another queue of a multi-queue device would take packets away from the others.
                if tun.queues.is_none_or(|queues| queues == 0) {
                    let options = DeviceOptions::new(tun.mode)
                        .name((*name).into())
                        .create(Create::Attach)
                        .multi_queue(tun.multi_queue)
                        .nonblocking(true);
                    match Self::queue(options) {
                        Ok(source) => return Ok(source),
                        Err(OpenError::Device(error)) => note(format!("{error}; {COPIES}")),
                        Err(error) => return Err(error),
                    }
                } else {
                    note(held(name));
                }
                Self::socket(link, &info, promiscuous, filter)
            }
        }
    }

    fn queue(options: DeviceOptions) -> Result<Self, OpenError> {
        let mut device = options.open()?;
        let queue = device.take_queues().pop().expect("a device that was opened has a queue");
        let info = device.info()?;
        let link_type = match device.mode() {
            Mode::Tun => LinkType::Raw,
            Mode::Tap => LinkType::Ethernet,
        };
        let dropped_before = info.stats.tx_dropped;
        Ok(Self {
            kind: Kind::Queue { device, queue, buf: vec![0; RECORD_LEN_MAX], len: 0 },
            name: info.name,
            link_type,
            is_filtered: false,
            dropped_before,
        })
    }

    fn socket(
        link: Link,
        info: &LinkInfo,
        promiscuous: bool,
        filter: Option<&ClassicFilter>,
    ) -> Result<Self, OpenError> {
        let link_type = link_type_of_hardware(info.hardware_type)
            .ok_or(OpenError::LinkType { name: info.name, hardware_type: info.hardware_type })?;
        // A loopback interface delivers each packet twice, outgoing and incoming: skip one.
        let incoming_only = info.hardware_type == HardwareType::LOOPBACK;
        let options = PacketSocketOptions {
            incoming_only,
            promiscuous,
            filter: filter.cloned(),
            buffer_len: Some(RING_LEN),
            ..PacketSocketOptions::default()
        };
        let monitor = Monitor::open().ok();
        let ring = PacketRing::open(info.index, &options)
            .map_err(|source| OpenError::Socket { name: info.name, source })?;
        let kind =
            Kind::Socket { ring, link, index: info.index, monitor, is_down: Cell::new(false) };
        Ok(Self {
            kind,
            name: info.name,
            link_type,
            is_filtered: filter.is_some(),
            dropped_before: 0,
        })
    }

    /// The link type of an interface before it is opened.
    ///
    /// # Errors
    /// [`OpenError`]: there is none of that name, or it is of another kind.
    pub fn link_type_of(wanted: &Wanted) -> Result<LinkType, OpenError> {
        match wanted {
            Wanted::New { mode: Mode::Tun, .. } => Ok(LinkType::Raw),
            Wanted::New { mode: Mode::Tap, .. } => Ok(LinkType::Ethernet),
            Wanted::Existing(name) => {
                let info = Link::find(name)?.info()?;
                let (name, hardware_type) = (info.name, info.hardware_type);
                link_type_of_hardware(hardware_type)
                    .ok_or(OpenError::LinkType { name, hardware_type })
            }
        }
    }

    /// The name of the interface.
    pub fn name(&self) -> IfName {
        self.name
    }

    /// The link type of the packets.
    pub fn link_type(&self) -> LinkType {
        self.link_type
    }

    /// A description for messages.
    pub fn describe(&self) -> String {
        let kind = match (&self.kind, self.link_type) {
            (Kind::Queue { .. }, LinkType::Raw) => "a TUN device",
            (Kind::Queue { .. }, LinkType::Ethernet) => "a TAP device",
            (Kind::Socket { .. }, _) => "through a packet socket",
        };
        let is_down = self.info().is_ok_and(|info| !info.flags.contains(LinkFlags::UP));
        format!("{}, {kind}{}", self.name, if is_down { ", which is down" } else { "" })
    }

    /// The kernel's view of the interface.
    pub fn info(&self) -> Result<LinkInfo, adit_device::Error> {
        match &self.kind {
            Kind::Queue { device, .. } => device.info(),
            Kind::Socket { link, .. } => link.info(),
        }
    }

    /// The addresses and MAC of our device, for the responder; `None` if the source is a packet socket.
    pub fn own_addresses(&self) -> Option<(Vec<IpPrefix>, Option<MacAddr>)> {
        let Kind::Queue { device, .. } = &self.kind else { return None };
        let addresses = device.addresses().unwrap_or_default();
        let mac = device.info().ok().and_then(|info| info.address?.mac());
        Some((addresses.iter().map(|address| address.local).collect(), mac))
    }

    /// Whether the kernel applies the filter.
    pub fn is_filtered(&self) -> bool {
        self.is_filtered
    }

    /// Receives the next packet without blocking.
    ///
    /// # Errors
    /// NotFound: the interface is gone, and no more will come.
    pub fn recv(&mut self) -> io::Result<Option<Incoming>> {
        match &mut self.kind {
            Kind::Queue { queue, buf, len, .. } => match queue.recv(buf) {
                Ok(received) => {
                    *len = received;
                    let (time, direction) = (Now::read().wall, Some(Direction::Out));
                    let meta = Meta { time, direction, original_len: received, lost_before: 0 };
                    Ok(Some(Incoming { meta, gso: None }))
                }
                Err(error) => self.nothing(error),
            },
            Kind::Socket { ring, .. } => {
                let packet = match ring.recv() {
                    Ok(packet) => packet,
                    Err(error) => return self.nothing(error),
                };
                let direction = if packet.is_outgoing { Direction::Out } else { Direction::In };
                let meta = Meta {
                    time: packet.time.unwrap_or_else(|| Now::read().wall),
                    direction: Some(direction),
                    original_len: packet.original_len,
                    lost_before: 0,
                };
                let gso = gso(&packet.vnet, packet.original_len);
                Ok(Some(Incoming { meta, gso }))
            }
        }
    }

    /// The packet that was received last, as far as it was captured.
    pub fn bytes(&self) -> &[u8] {
        match &self.kind {
            Kind::Queue { buf, len, .. } => &buf[..*len],
            Kind::Socket { ring, .. } => ring.bytes(),
        }
    }

    /// Whether packets were captured already that [`Source::recv`] will return soon.
    pub fn is_behind(&mut self) -> bool {
        match &mut self.kind {
            Kind::Queue { .. } => false,
            Kind::Socket { ring, .. } => ring.is_behind().unwrap_or_default(),
        }
    }

    /// Maps an error of a receive: none, a retry or the end.
    fn nothing(&self, error: io::Error) -> io::Result<Option<Incoming>> {
        if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) {
            return Ok(None);
        }
        if let Kind::Socket { is_down, .. } = &self.kind {
            is_down.set(true);
        }
        match self.info() {
            // Down (ENETDOWN).
            Ok(_) if !self.is_gone(&error) => Ok(None),
            _ => Err(io::Error::new(io::ErrorKind::NotFound, error)),
        }
    }

    /// Whether the caller must poll [`Source::exists`], because poll(2) does not report a deletion now.
    pub fn is_in_doubt(&self) -> bool {
        matches!(&self.kind, Kind::Socket { is_down, .. } if is_down.get())
    }

    /// Whether the interface still exists.
    pub fn exists(&self) -> bool {
        let info = self.info();
        if let (Kind::Socket { is_down, .. }, Ok(info)) = (&self.kind, &info) {
            is_down.set(!info.flags.contains(LinkFlags::UP));
        }
        info.is_ok()
    }

    /// How an interface went that no longer exists.
    pub fn fate(&mut self) -> Fate {
        let Kind::Socket { index, monitor: Some(monitor), .. } = &mut self.kind else {
            return Fate::Deleted;
        };
        while let Ok(Some(event)) = monitor.recv(Some(Duration::ZERO)) {
            match event {
                Event::LinkRemoved(gone) if gone.index == *index => {
                    return if gone.is_moved { Fate::Moved } else { Fate::Deleted };
                }
                Event::Lost => break,
                _ => {}
            }
        }
        Fate::Unknown
    }

    fn is_gone(&self, error: &io::Error) -> bool {
        let is_queue = matches!(self.kind, Kind::Queue { .. });
        is_queue && adit_device::ErrorKind::of_queue(error) == adit_device::ErrorKind::DeviceGone
    }

    /// Sends a packet into the host through our device.
    ///
    /// # Errors
    /// Those of [`Queue::send`]; Unsupported on a packet socket.
    pub fn send(&self, packet: &[u8]) -> io::Result<()> {
        match &self.kind {
            Kind::Queue { queue, .. } => queue.send(packet).map(|_| ()),
            Kind::Socket { .. } => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    /// The number of packets the kernel dropped since the capture began because they were not read in time.
    /// Queries netlink for a device; cheap for a socket.
    pub fn dropped(&mut self) -> u64 {
        let dropped = match &mut self.kind {
            Kind::Queue { device, .. } => device.info().map(|info| info.stats.tx_dropped).ok(),
            Kind::Socket { ring, .. } => ring.statistics().map(|counts| counts.dropped).ok(),
        };
        dropped.unwrap_or(self.dropped_before).saturating_sub(self.dropped_before)
    }

    /// Whether [`Source::dropped`] takes only one system call.
    pub fn counts_drops_cheaply(&self) -> bool {
        matches!(self.kind, Kind::Socket { .. })
    }
}

impl AsFd for Source {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.kind {
            Kind::Queue { queue, .. } => queue.as_fd(),
            Kind::Socket { ring, .. } => ring.as_fd(),
        }
    }
}

/// What is captured from a device in use, and what is lost by that.
const COPIES: &str = "capturing copies of its packets; --reply is not possible";

/// Lists the holders of a device, for messages.
fn held(name: &IfName) -> String {
    let holders = adit_device::holders(name, None).unwrap_or_default().list;
    let holders: Vec<_> = holders.iter().map(ToString::to_string).collect();
    let by = if holders.is_empty() { "another program".to_owned() } else { holders.join(", ") };
    format!("{name} is in use by {by}; {COPIES}")
}

/// The link type of a hardware type, if it carries Ethernet or raw IP.
pub fn link_type_of_hardware(hardware_type: HardwareType) -> Option<LinkType> {
    // `ARPHRD_*` of linux/if_arp.h: PPP, the tunnels, RAWIP and NONE carry raw IP.
    const RAW: [u16; 7] = [512, 519, 768, 769, 776, 778, 823];
    match hardware_type {
        HardwareType::ETHER | HardwareType::LOOPBACK => Some(LinkType::Ethernet),
        HardwareType::NONE => Some(LinkType::Raw),
        HardwareType(number) => RAW.contains(&number).then_some(LinkType::Raw),
    }
}

fn gso(vnet: &VnetHeader, len: usize) -> Option<Gso> {
    let (size, header_len) = (vnet.gso_size, usize::from(vnet.hdr_len));
    let is_many = vnet.is_super_packet() && size > 0;
    is_many
        .then(|| Gso { size, segments: len.saturating_sub(header_len).div_ceil(usize::from(size)) })
}

/// Why a source cannot be opened.
#[derive(Debug)]
pub enum OpenError {
    /// The device cannot be created, found or attached to.
    Device(adit_device::Error),
    /// The packet socket cannot be opened.
    Socket {
        /// On which interface.
        name: IfName,
        /// Why.
        source: io::Error,
    },
    /// The interface carries neither Ethernet nor raw IP.
    LinkType {
        /// Which interface.
        name: IfName,
        /// What it is.
        hardware_type: HardwareType,
    },
}

impl From<adit_device::Error> for OpenError {
    fn from(error: adit_device::Error) -> Self {
        Self::Device(error)
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Device(error) => error.fmt(f),
            Self::Socket { name, .. } => write!(f, "cannot open a packet socket on {name}"),
            Self::LinkType { name, hardware_type } => write!(
                f,
                "{name} has link type {}; only Ethernet and raw IP can be captured",
                hardware_type.0
            ),
        }
    }
}

impl std::error::Error for OpenError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Device(error) => error.source(),
            Self::Socket { source, .. } => Some(source),
            Self::LinkType { .. } => None,
        }
    }
}
