//! What comes of the text of a port.

use crate::error::{Error, Result};
use crate::port::Io;
use crate::port::Port;
use crate::port::byte_stream::ByteStream;
use crate::port::device::DevicePort;
use crate::port::interface::InterfacePort;
use crate::port::messages::MessagePort;
use crate::port::mirror::MirrorPort;
use crate::port::replay::ReplayPort;
use crate::port::stream::StreamPort;
use crate::socket::datagram::DatagramSocket;
use crate::socket::listener::Listener;
use crate::socket::listener::{ListenerKind, StreamListener, connect_unix};
use crate::socket::vxlan::VxlanPort;
use crate::text::netns::open_netns;
use crate::text::spec::{DeviceSpec, InterfaceSpec, PcapSpec, UnixRole, UnixSpec, VxlanSpec};
use crate::text::spec::{PortKind, PortSpec};
use adit_device::netlink::HardwareType;
use adit_device::{
    Create, DeviceOptions, Endian, Link, Mode, Netns, OffloadChoice, VnetFormat, VnetLen,
};
use rustix::fs::{FileType, OFlags};
use rustix::io::Errno;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::path::Path;

/// How many packets may wait for us at a device that we make: twice the kernel's 500, for a burst of
/// 64 super-packets cut up for somebody is more than that.
const TXQUEUELEN: u32 = 1000;

/// What a [`PortSpec`] turns into.
#[derive(Debug)]
pub enum Opened {
    /// Ports; several are one group, no member of which forwards to another.
    Ports(Vec<Port>),
    /// A socket at which guests appear.
    Listener(Listener),
}

impl PortSpec {
    /// Opens it: makes a device, connects, binds. Nothing is left behind if it fails.
    ///
    /// # Errors
    /// What the operating system refused, with the cause and a remedy.
    pub fn open(&self) -> Result<Opened> {
        match &self.kind {
            PortKind::Device(spec) => device(spec).map(|port| Opened::Ports(vec![port])),
            PortKind::Interface(spec) => interface(spec).map(|port| Opened::Ports(vec![port])),
            PortKind::Unix(spec) => unix(spec),
            PortKind::Vxlan(spec) => Ok(Opened::Ports(vxlan(spec))),
            PortKind::Stdio => stdio().map(|port| Opened::Ports(vec![port])),
            PortKind::Pcap(spec) => pcap(spec).map(|port| Opened::Ports(vec![port])),
        }
    }
}

impl Port {
    /// A port on a stream of messages, each with its length (u16, big endian) before it: a socket that is
    /// connected or about to be.
    ///
    /// # Errors
    /// EBADF.
    pub fn messages(name: &str, socket: OwnedFd) -> io::Result<Self> {
        Ok(Self::of_messages(name, ByteStream::socket(socket)?))
    }

    /// The same with a descriptor for each direction.
    ///
    /// # Errors
    /// EBADF.
    pub fn messages_of_pair(name: &str, reader: OwnedFd, writer: OwnedFd) -> io::Result<Self> {
        Ok(Self::of_messages(name, ByteStream::pair(reader, writer)?))
    }

    fn of_messages(name: &str, stream: ByteStream) -> Self {
        Self::new(name, None, Io::Messages(Box::new(MessagePort::new(stream))))
    }

    /// A port on a TUN or TAP device that is open: its first queue.
    ///
    /// # Errors
    /// ENODEV: it was deleted.
    pub fn from_device(device: adit_device::Device) -> Result<Self> {
        let info = device.info()?;
        let kind = match device.mode() {
            Mode::Tap => "tap",
            Mode::Tun => "tun",
        };
        let name = format!("{kind}:{}", info.name);
        let port = DevicePort::new(device).map_err(|error| Error::io("use", &name, &error))?;
        Ok(Self::new(name, Some(info.mtu), Io::Device(Box::new(port))))
    }

    /// A port on a connected stream socket, with QEMU's framing.
    ///
    /// # Errors
    /// Those of fcntl(2).
    pub fn from_stream(name: impl Into<String>, socket: OwnedFd) -> io::Result<Self> {
        Ok(Self::of_frames(name, ByteStream::socket(socket)?))
    }

    pub fn of_frames(name: impl Into<String>, stream: ByteStream) -> Self {
        Self::new(name, None, Io::Stream(Box::new(StreamPort::new(stream))))
    }
}

impl Port {
    /// A port that writes what is sent there to a pcapng file of Ethernet frames, of each at most
    /// `snap_len` bytes; the file tells of `filter`.
    ///
    /// # Errors
    /// What open(2) and write(2) say.
    pub fn mirror(path: &Path, snap_len: u32, filter: Option<String>) -> Result<Self> {
        let writer = crate::record::error::writer();
        // To open a pipe is to wait for its reader, and all traffic with it.
        let is_pipe = rustix::fs::stat(path)
            .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Fifo);
        let _reader_is_there = is_pipe
            .then(|| {
                let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
                rustix::fs::open(path, flags, rustix::fs::Mode::empty())
            })
            .transpose()
            .map_err(|errno| Error::io("open", path.display(), &errno.into()))?;
        let port = MirrorPort::open(path, snap_len, filter, writer)
            .map_err(|error| crate::record::error::record_error(&error))?;
        Ok(Self::new(path.display().to_string(), None, Io::Mirror(Box::new(port))))
    }
}

fn device(spec: &DeviceSpec) -> Result<Port> {
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
    if let Some(packets) = spec.txqueuelen.or(there.is_none().then_some(TXQUEUELEN)) {
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
    Ok(Port::from_device(options.open()?)?.in_namespace(spec.netns.as_deref()))
}

fn interface(spec: &InterfaceSpec) -> Result<Port> {
    let name = format!("dev:{}", spec.name);
    let failed = |error: io::Error| Error::io("open a packet socket on", spec.name, &error);
    let netns = match &spec.netns {
        Some(netns) => open_netns(netns)?,
        None => Netns::current().map_err(failed)?,
    };
    let link = Link::find_in(&netns, &spec.name)?;
    let info = link.info()?;
    if !matches!(info.hardware_type, HardwareType::ETHER | HardwareType::LOOPBACK) {
        return Err(Error::usage(format_args!("{} is no Ethernet interface", spec.name)));
    }
    let port = InterfacePort::new(link, netns).map_err(failed)?;
    Ok(Port::new(name, Some(info.mtu), Io::Interface(Box::new(port)))
        .in_namespace(spec.netns.as_deref()))
}

fn unix(spec: &UnixSpec) -> Result<Opened> {
    let path = &spec.path;
    match &spec.role {
        UnixRole::Listen => {
            let listener = StreamListener::bind(path).map_err(|error| in_use(path, &error))?;
            Ok(Opened::Listener(Listener { kind: ListenerKind::Stream(listener) }))
        }
        UnixRole::Connect => {
            let failed = |error| Error::io("connect to", path.display(), &error);
            let socket = connect_unix(path).map_err(failed)?;
            let name = format!("unix:{}", path.display());
            Ok(Opened::Ports(vec![Port::from_stream(name, socket).map_err(failed)?]))
        }
        UnixRole::Datagram { remote } => {
            let socket = DatagramSocket::bind(path).map_err(|error| in_use(path, &error))?;
            let Some(remote) = remote else {
                return Ok(Opened::Listener(Listener { kind: ListenerKind::Datagram(socket) }));
            };
            let failed = |error| Error::io("send to", remote.display(), &error);
            let port = socket.into_port(remote).map_err(failed)?;
            let name = format!("unix:{}", path.display());
            Ok(Opened::Ports(vec![Port::new(name, None, Io::Datagram(Box::new(port)))]))
        }
    }
}

fn in_use(path: &Path, error: &io::Error) -> Error {
    let hint = match Errno::from_io_error(error) {
        Some(Errno::ADDRINUSE) => "a process has that socket: end it, or choose another path",
        Some(Errno::EXIST) => "there is a file of that name which is no socket",
        Some(Errno::NAMETOOLONG) => "the path of a socket has at most 107 bytes",
        _ => return Error::io("bind", path.display(), error),
    };
    Error::io("bind", path.display(), error).hint(hint)
}

fn vxlan(spec: &VxlanSpec) -> Vec<Port> {
    let any = |remote: &IpAddr| match remote {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    let ports = spec.remotes.iter().map(|remote| {
        let local = SocketAddr::new(spec.local.unwrap_or_else(|| any(remote)), spec.port);
        let port = VxlanPort::new(local, SocketAddr::new(*remote, spec.port), spec.vni);
        let name = format!("vxlan:{remote},vni={}", spec.vni);
        Port::new(name, None, Io::Vxlan(Box::new(port)))
    });
    ports.collect()
}

fn stdio() -> Result<Port> {
    let failed = |error: io::Error| Error::io("use", "the standard streams", &error);
    let hint = "Put a program at the other end: ssh HOST adit switch --port stdio ...";
    for (stream, name) in
        [(rustix::stdio::stdin(), "standard input"), (rustix::stdio::stdout(), "standard output")]
    {
        if rustix::termios::isatty(stream) {
            return Err(Error::usage(format_args!("{name} is a terminal")).hint(hint));
        }
        let kind = rustix::fs::fstat(stream).map(|stat| FileType::from_raw_mode(stat.st_mode));
        if !matches!(kind, Ok(FileType::Fifo | FileType::Socket)) {
            return Err(Error::usage(format_args!("{name} is no pipe and no socket")).hint(hint));
        }
    }
    let reader = rustix::stdio::stdin().try_clone_to_owned().map_err(failed)?;
    let writer = rustix::stdio::stdout().try_clone_to_owned().map_err(failed)?;
    Ok(Port::of_frames("stdio", ByteStream::pair(reader, writer).map_err(failed)?))
}

fn pcap(spec: &PcapSpec) -> Result<Port> {
    let failed = |error: io::Error| Error::io("play", spec.path.display(), &error);
    let port = ReplayPort::open(spec).map_err(failed)?;
    let name = format!("pcap:{}", spec.path.display());
    Ok(Port::new(name, None, Io::Replay(Box::new(port))))
}
