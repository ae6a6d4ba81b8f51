//! Opens a device in a network namespace of others.
//!
//! A copy of this process joins the user namespace that owns the network, then the network, opens the device
//! and sets it up, hands over its queue and a netlink socket, and ends. This process gets no capability.

use crate::error::{Error, Kind, NETNS, Result};
use crate::namespace::channel::{Channel, Message, Stage, failure};
use crate::namespace::codes::NAMESPACES;
use crate::namespace::holder::LOOPBACK;
use crate::namespace::splice;
use adit_device::netlink::{Address, LinkChange, Listeners, Netlink, Route};
use adit_device::process::Child;
use adit_device::{
    Create, Device, DeviceOptions, Endian, IfIndex, IfName, MacAddr, Mode, Netns, OffloadChoice,
    VnetFormat, VnetLen,
};
use adit_engine::Transport;
use adit_runtime::text::netns::open_netns;
use rustix::io::Errno;
use std::fmt;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};

pub use crate::namespace::channel::SOCKETS_MAX;

/// How many packets may wait for us at the device: twice the kernel's 500, for a burst of 64 super-packets
/// that are cut up is more than that.
const TXQUEUELEN: u32 = 1000;

/// A network namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// That of a process.
    Process(u32),
    /// A name of `ip netns`, a path, or the id of a process.
    Text(String),
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Process(pid) => pid.fmt(f),
            Self::Text(text) => text.fmt(f),
        }
    }
}

impl Target {
    /// Opens it, without entering it.
    ///
    /// # Errors
    /// [`NETNS`]: there is none, or it is another user's.
    pub fn open(&self) -> Result<Netns> {
        match self {
            Self::Process(pid) => Ok(open_netns(&format!("/proc/{pid}/ns/net"))?),
            Self::Text(text) => Ok(open_netns(text)?),
        }
    }
}

/// A device that is made in a namespace. One without addresses, routes and an MTU is for others to set up: it is
/// attached to if it exists, and its link stays as it is.
#[derive(Clone, Debug)]
pub struct Interface {
    /// Its name.
    pub name: IfName,
    /// Packets or frames.
    pub mode: Mode,
    /// Its addresses.
    pub addresses: Vec<Address>,
    /// Routes by it.
    pub routes: Vec<Route>,
    /// Its IP MTU.
    pub mtu: Option<u32>,
    /// Its hardware address, if it carries frames.
    pub mac: Option<MacAddr>,
}

impl Interface {
    fn open(&self) -> Result<Device> {
        let is_of_others =
            self.addresses.is_empty() && self.routes.is_empty() && self.mtu.is_none();
        let mut options = DeviceOptions::new(self.mode)
            .name(self.name.into())
            .nonblocking(true)
            .vnet_hdr(VnetFormat { len: VnetLen::Tunnel, endian: Endian::Native })
            .offload(OffloadChoice::Auto);
        options = if is_of_others {
            options.create(Create::AttachOrCreate)
        } else {
            options.create(Create::Exclusive).txqueuelen(TXQUEUELEN).up(true)
        };
        if let Some(mtu) = self.mtu {
            options = options.mtu(mtu);
        }
        if let Some(mac) = self.mac {
            options = options.mac(mac);
        }
        for address in &self.addresses {
            options = options.address(address.clone());
        }
        for route in &self.routes {
            options = options.route(route.clone());
        }
        Ok(options.open()?)
    }
}

/// What was opened in a namespace.
#[derive(Debug)]
pub struct Attached {
    /// The device.
    pub device: Device,
    /// Those of [`Extra::sockets`], in the same order.
    pub sockets: Vec<OwnedFd>,
    /// Lists the sockets that listen there; `None`: the kernel cannot.
    pub listeners: Option<Listeners>,
    /// The socket to which TCP connections are led that begin there, or why there is none; `None`: none was wanted.
    pub splice: Option<std::result::Result<OwnedFd, String>>,
}

/// What else is opened in a namespace.
#[derive(Clone, Copy, Debug, Default)]
pub struct Extra<'a> {
    /// TCP connections that begin there are led to a listening socket, if their SYNs are to have this urgent pointer.
    pub splice: Option<u16>,
    /// Listening TCP sockets and UDP sockets, at most [`SOCKETS_MAX`].
    pub sockets: &'a [(Transport, SocketAddr)],
}

/// Makes a device in a namespace, complete with addresses and routes. It is there while the device that is
/// returned is. This process must have a single thread.
///
/// # Errors
/// The namespace cannot be entered, the device cannot be made; nothing is left then.
pub fn attach(target: &Target, interface: &Interface) -> Result<Device> {
    attach_with(target, interface, Extra::default()).map(|attached| attached.device)
}

/// As [`attach`], with a socket that lists what listens there, and more.
///
/// # Errors
/// As [`attach`]; a socket cannot be bound.
pub fn attach_with(target: &Target, interface: &Interface, extra: Extra<'_>) -> Result<Attached> {
    let netns = target.open()?;
    let failed = |error| failure("start", "a process", &error);
    let (ours, theirs) = Channel::pair().map_err(failed)?;
    let helper = Child::fork(|| match open(target, &netns, (interface, extra), &theirs) {
        Ok(()) => 0,
        Err(error) => {
            // Without a parent nobody reads it.
            let _ = theirs.fail(error);
            1
        }
    });
    let helper = helper.map_err(failed)?;
    drop(theirs);
    let mut received = ours.receive();
    let mut refused = None;
    if let Ok(Ok(Message { warning: Some(why), .. })) = received {
        refused = Some(why);
        received = ours.receive();
    }
    let lost = |error| failure("read from", "a process", &error);
    helper.wait().map_err(lost)?;
    let mut fds = received.map_err(lost)??.fds.into_iter();
    let (Some(queue), Some(netlink)) = (fds.next(), fds.next()) else {
        return Err(Error::new(Kind::Refused, &NAMESPACES, "the helper passed no device"));
    };
    let device = Device::adopt_with(queue, interface.mode, Some(Netlink::adopt(netlink)))?;
    let sockets = fds.by_ref().take(extra.sockets.len()).collect();
    let splice = extra.splice.map(|_| match refused {
        Some(why) => Err(why),
        None => fds.next().ok_or_else(|| "the helper passed no socket".to_owned()),
    });
    Ok(Attached { device, sockets, listeners: fds.next().map(Listeners::adopt), splice })
}

/// Opens the device in the namespace, and hands it over.
fn open(
    target: &Target,
    netns: &Netns,
    (interface, extra): (&Interface, Extra<'_>),
    channel: &Channel,
) -> Result<()> {
    netns.enter_as_owner().map_err(|error| {
        let what = format!("network namespace '{target}'");
        let mut new = failure("enter", &what, &error);
        new.report.code = NETNS.code.to_owned();
        new.object(target).hint(
            "Give a namespace that this user has made, or run adit as root. 'lsns -t net' lists namespaces \
             and their users.",
        )
    })?;
    let device = interface.open()?;
    let handed = |error| failure("hand over", "the device", &error);
    let mut netlink = Netlink::open().map_err(handed)?;
    // A new namespace has it down, and programs there talk to each other by it.
    let lo = IfIndex::new(LOOPBACK).ok_or_else(|| handed(Errno::NODEV.into()))?;
    netlink
        .set_link(lo, &LinkChange::new().up(true))
        .map_err(|error| failure("bring up", "'lo'", &error))?;
    let netlink = OwnedFd::from(netlink);
    let queue = device.queues().first().ok_or_else(|| handed(Errno::BADFD.into()))?;
    let listeners = Listeners::open().ok().map(OwnedFd::from);
    let sockets = extra.sockets.iter().map(bind).collect::<Result<Vec<OwnedFd>>>()?;
    let mut fds = vec![queue.as_fd(), netlink.as_fd()];
    fds.extend(sockets.iter().map(AsFd::as_fd));
    let splice = extra.splice.map(|tag| splice::open(interface.name, tag));
    match &splice {
        Some(Ok(listener)) => fds.push(listener.as_fd()),
        Some(Err(error)) => channel.warn(error.to_string()).map_err(handed)?,
        None => {}
    }
    fds.extend(listeners.as_ref().map(AsFd::as_fd));
    channel.reached(Stage::Attached, &fds).map_err(handed)
}

fn bind((transport, at): &(Transport, SocketAddr)) -> Result<OwnedFd> {
    let socket = match transport {
        Transport::Udp => UdpSocket::bind(at).map(OwnedFd::from),
        _ => TcpListener::bind(at).map(OwnedFd::from),
    };
    socket.map_err(|error| failure("bind inside", &at.to_string(), &error))
}
