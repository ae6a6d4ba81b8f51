//! Descriptors opened by another program: adopted, received over a socket, passed by systemd.

use crate::cause::diagnose::{self, Setting};
use crate::link::queue_name;
use crate::netlink::{LinkInfo, Netlink};
use crate::order::Order;
use crate::sys::{self, tun as ioctls};
use crate::{
    Cause, Device, Endian, Error, IfName, Layout, Link, Mode, Netns, Queue, Result, VnetFormat,
    VnetLen,
};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, recvmsg};
use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::Arc;

/// The name of an unnamed descriptor in errors.
const DESCRIPTOR: &str = "descriptor";

impl Device {
    /// Adopts a descriptor of a TUN or TAP device that another program attached. Mode, packet
    /// information, header and offloads are read from the device.
    ///
    /// The device must be in a network namespace that this process may inspect.
    ///
    /// # Errors
    /// `Mismatch`: the descriptor is not of a TUN or TAP device (ENOTTY), or of the other mode.
    /// `NotFound`: it has no device (EBADFD). `Unsupported`: its header has a length that virtio
    /// does not define.
    pub fn adopt(fd: OwnedFd, mode: Mode) -> Result<Self> {
        Self::adopt_with(fd, mode, None)
    }

    /// As [`Device::adopt`], of a device in a namespace that this process may not inspect: `netlink` is a
    /// socket of that namespace.
    ///
    /// # Errors
    /// As [`Device::adopt`].
    pub fn adopt_with(fd: OwnedFd, mode: Mode, netlink: Option<Netlink>) -> Result<Self> {
        if let Some(cause) = Cause::of_descriptor(fd.as_fd(), Some(mode)) {
            let number = if cause == Cause::Unattached { libc::EBADFD } else { libc::EINVAL };
            return Err(Error::new("adopt", DESCRIPTOR, cause, errno(number)));
        }
        let name = queue_name(fd.as_fd())
            .map_err(|error| Error::new("adopt", DESCRIPTOR, Cause::Other, error))?;
        let (netlink, info) = find(fd.as_fd(), &name, netlink)?;
        let failed = |error: io::Error| {
            Error::new("adopt", name, diagnose::setting(Setting::VnetHdr, &error), error)
        };
        let not_tun = || {
            let file = format!("a {} device", info.kind.as_deref().unwrap_or("hardware"));
            Error::new("adopt", name, Cause::NotTun { file }, errno(libc::ENOTTY))
        };
        let tun = info.tun.ok_or_else(not_tun)?;
        let vnet_hdr = if tun.vnet_hdr { Some(format(fd.as_fd()).map_err(failed)?) } else { None };
        let layout = Layout { packet_info: tun.pi, vnet_hdr };
        let status = rustix::fs::fcntl_getfl(&fd).map_err(|error| failed(error.into()))?;
        let nonblocking = status.contains(rustix::fs::OFlags::NONBLOCK);
        let control = fd.try_clone().map_err(failed)?;
        let alone = !tun.multi_queue;
        let place = alone.then(|| Arc::new(Order::default()).join());
        let link = Link::new(netlink, &info, Some(control));
        let offload = link.offload_seen()?;
        Ok(Self {
            link,
            mode,
            layout,
            offload,
            created: false,
            place: place.clone(),
            queues: vec![Queue::new(fd, mode, layout, nonblocking, place)],
        })
    }

    /// Receives one descriptor over a Unix socket and adopts it.
    ///
    /// # Errors
    /// `NotFound`: the message brought no descriptor, or the peer closed the socket. Otherwise as
    /// [`Device::adopt`].
    pub fn receive(socket: impl AsFd, mode: Mode) -> Result<Self> {
        Self::adopt(receive_descriptor(socket.as_fd())?, mode)
    }

    /// Adopts a descriptor that systemd passed (`LISTEN_FDS`, `OpenFile=`): the one with this name in
    /// `LISTEN_FDNAMES`, or the first that is left.
    ///
    /// It takes ownership of the descriptor, so it first checks that the descriptor has no owner in this
    /// process: its FD_CLOEXEC flag must be clear, as exec leaves it. Every descriptor that Rust code
    /// opened, or that another part of the process took over, has the flag.
    ///
    /// # Errors
    /// `NotFound`: systemd passed no descriptor of that name to this process (ENOENT), or it has an owner
    /// already (EBUSY). `Mismatch`: it is not a descriptor of `/dev/net/tun` (ENOTTY); it stays open.
    /// Otherwise as [`Device::adopt`].
    pub fn from_systemd(name: Option<&str>, mode: Mode) -> Result<Self> {
        let object = name.unwrap_or("LISTEN_FDS");
        let fd = sys::inherit::take(name).map_err(|error| {
            let cause = match error.raw_os_error() {
                Some(libc::ENOTTY) => Cause::NotTun { file: String::new() },
                _ => Cause::NoFdPassed,
            };
            Error::new("take from systemd", object, cause, error)
        })?;
        Self::adopt(fd, mode)
    }
}

/// Takes a descriptor that this program inherited, by its number: from 3 on, for the first three are the
/// standard streams. It is closed when a program is executed from now on.
///
/// A descriptor can be taken once, and only if no part of this process has opened it: those have
/// FD_CLOEXEC, which inherited ones cannot have.
///
/// # Errors
/// EBADF: it is not open. EBUSY: it is a standard stream, was taken before, or was opened by this process.
pub fn take_inherited(number: RawFd) -> io::Result<OwnedFd> {
    sys::inherit::take_number(number)
}

fn receive_descriptor(socket: BorrowedFd<'_>) -> Result<OwnedFd> {
    let failed = |error| Error::new("receive", DESCRIPTOR, Cause::NoFdPassed, error);
    let mut byte = [0; 1];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut data = [IoSliceMut::new(&mut byte)];
    let message = recvmsg(socket, &mut data, &mut control, RecvFlags::CMSG_CLOEXEC)
        .map_err(|error| failed(error.into()))?;
    let mut fds = control.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(fds) => Some(fds),
        _ => None,
    });
    let first = fds.next().and_then(|mut fds| fds.next());
    // The kernel truncated the list and closed the rest: the sender broke the agreement of one
    // descriptor.
    first
        .filter(|_| !message.flags.contains(ReturnFlags::CTRUNC))
        .ok_or_else(|| failed(errno(libc::ENOMSG)))
}

/// Finds the device by `netlink`, or in its own namespace, or in ours if we may not ask for its namespace.
fn find(
    fd: BorrowedFd<'_>,
    name: &IfName,
    netlink: Option<Netlink>,
) -> Result<(Netlink, LinkInfo)> {
    let there = || Netns::of_device(fd);
    let open = || {
        let netns = there()?;
        if netns.is_same(&Netns::current()?)? { Netlink::open() } else { Netlink::open_in(&netns) }
    };
    let netlink = match netlink.map_or_else(open, Ok) {
        Err(error) if error.raw_os_error() == Some(libc::EPERM) => Netlink::open(),
        result => result,
    };
    let failed = |error: io::Error| {
        let cause = diagnose::link(diagnose::LinkSetting::Find, &error);
        Error::new("find", name, cause, error)
    };
    let mut netlink = netlink.map_err(failed)?;
    let info = netlink.link_by_name(name).map_err(failed)?;
    Ok((netlink, info))
}

fn format(fd: BorrowedFd<'_>) -> io::Result<VnetFormat> {
    let bytes = usize::try_from(ioctls::vnet_hdr_len(fd)?).unwrap_or(0);
    let len = VnetLen::from_bytes(bytes).ok_or_else(|| errno(libc::EINVAL))?;
    let endian = if ioctls::vnet_le(fd)? { Endian::Little } else { Endian::Native };
    Ok(VnetFormat { len, endian })
}

fn errno(number: i32) -> io::Error {
    io::Error::from_raw_os_error(number)
}
