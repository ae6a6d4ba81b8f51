//! The ioctls of `/dev/net/tun` (`include/uapi/linux/if_tun.h`, `drivers/net/tun.c`).
//!
//! The kernel takes some arguments by value and some by pointer, and answers a pointer in place of
//! a value with 0 and garbage. Types prevent that here: [`by_value`], [`by_pointer`] and
//! [`read_back`] are the only three forms, and each request below names its own.

use super::request::number;
use rustix::ioctl::{Getter, IntegerSetter, Opcode, Setter, Updater, ioctl, opcode};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

const fn request(number: u8, write: bool) -> Opcode {
    if write {
        opcode::write::<libc::c_int>(b'T', number)
    } else {
        opcode::read::<libc::c_uint>(b'T', number)
    }
}

const TUNSETIFF: Opcode = request(202, true);
const TUNSETDEBUG: Opcode = request(201, true);
const TUNSETPERSIST: Opcode = request(203, true);
const TUNSETOWNER: Opcode = request(204, true);
const TUNSETLINK: Opcode = request(205, true);
const TUNSETGROUP: Opcode = request(206, true);
const TUNGETFEATURES: Opcode = request(207, false);
const TUNSETOFFLOAD: Opcode = opcode::write::<libc::c_uint>(b'T', 208);
const TUNSETTXFILTER: Opcode = opcode::write::<libc::c_uint>(b'T', 209);
const TUNGETIFF: Opcode = request(210, false);
const TUNGETSNDBUF: Opcode = opcode::read::<libc::c_int>(b'T', 211);
const TUNSETSNDBUF: Opcode = request(212, true);
const TUNGETVNETHDRSZ: Opcode = opcode::read::<libc::c_int>(b'T', 215);
const TUNSETVNETHDRSZ: Opcode = request(216, true);
const TUNSETQUEUE: Opcode = request(217, true);
const TUNSETIFINDEX: Opcode = opcode::write::<libc::c_uint>(b'T', 218);
const TUNSETVNETLE: Opcode = request(220, true);
const TUNGETVNETLE: Opcode = opcode::read::<libc::c_int>(b'T', 221);
const TUNSETVNETBE: Opcode = request(222, true);
const TUNSETCARRIER: Opcode = request(226, true);
const TUNGETDEVNETNS: Opcode = opcode::none(b'T', 227);
const SIOCGIFHWADDR: Opcode = 0x8927;
const SIOCSIFHWADDR: Opcode = 0x8924;

pub(crate) const IFF_TUN: u16 = 0x0001;
pub(crate) const IFF_TAP: u16 = 0x0002;
pub(crate) const IFF_NAPI: u16 = 0x0010;
pub(crate) const IFF_NAPI_FRAGS: u16 = 0x0020;
pub(crate) const IFF_NO_CARRIER: u16 = 0x0040;
pub(crate) const IFF_MULTI_QUEUE: u16 = 0x0100;
pub(crate) const IFF_ATTACH_QUEUE: u16 = 0x0200;
pub(crate) const IFF_DETACH_QUEUE: u16 = 0x0400;
pub(crate) const IFF_NO_PI: u16 = 0x1000;
pub(crate) const IFF_VNET_HDR: u16 = 0x4000;
pub(crate) const IFF_TUN_EXCL: u16 = 0x8000;

/// The maximum number of queues of a device (`MAX_TAP_QUEUES`).
pub const QUEUES_MAX: u16 = 256;

/// The device node of the tun driver.
pub(crate) const NODE: &str = "/dev/net/tun";

/// `struct ifreq` with `ifr_flags`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(crate) struct IfReq {
    /// NUL-terminated, at most 15 bytes.
    pub(crate) name: [u8; 16],
    /// `IFF_*`; the kernel's type is a short.
    pub(crate) flags: u16,
    rest: [u8; 22],
}

impl IfReq {
    /// `name` has at most 15 bytes, which `IfName` and `NamePattern` guarantee.
    pub(crate) fn new(name: &[u8], flags: u16) -> Self {
        let mut request = Self { name: [0; 16], flags, rest: [0; 22] };
        request.name[..name.len()].copy_from_slice(name);
        request
    }

    /// The name, without the NUL.
    pub(crate) fn name(&self) -> &[u8] {
        let end = self.name.iter().position(|&byte| byte == 0);
        &self.name[..end.unwrap_or(self.name.len())]
    }
}

/// `struct ifreq` with `ifr_hwaddr`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
struct IfReqHwAddr {
    name: [u8; 16],
    family: u16,
    data: [u8; 14],
    rest: [u8; 8],
}

/// `struct tun_filter` with room for [`TX_FILTER_MAX`] addresses.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
struct TunFilter {
    flags: u16,
    count: u16,
    addrs: [[u8; 6]; TX_FILTER_MAX],
}

/// The maximum number of addresses of one filter: eight exact ones and many hashed multicast
/// groups.
pub(crate) const TX_FILTER_MAX: usize = 256;

/// A request whose argument is the value itself.
fn by_value<const OPCODE: Opcode>(fd: BorrowedFd<'_>, value: u32) -> io::Result<()> {
    // SAFETY: OPCODE is one whose argument the kernel takes as a number (see its caller), so no
    // memory is read or written.
    let request = unsafe { IntegerSetter::<OPCODE>::new_usize(value as usize) };
    // SAFETY: as above.
    Ok(unsafe { ioctl(fd, request) }?)
}

/// A request that reads a `T` through a pointer.
fn by_pointer<const OPCODE: Opcode, T>(fd: BorrowedFd<'_>, value: T) -> io::Result<()> {
    // SAFETY: the caller pairs OPCODE with the type that the kernel reads for it.
    let request = unsafe { Setter::<OPCODE, T>::new(value) };
    // SAFETY: as above; the kernel only reads, and the value outlives the call.
    Ok(unsafe { ioctl(fd, request) }?)
}

/// A request that writes a `T` through a pointer.
fn read_back<const OPCODE: Opcode, T>(fd: BorrowedFd<'_>) -> io::Result<T> {
    // SAFETY: the caller pairs OPCODE with the plain-old-data type that the kernel fills in whole.
    let request = unsafe { Getter::<OPCODE, T>::new() };
    // SAFETY: as above.
    Ok(unsafe { ioctl(fd, request) }?)
}

/// TUNSETIFF: creates a device or attaches to one; returns its name in `request`.
pub(crate) fn set_iff(fd: BorrowedFd<'_>, request: &mut IfReq) -> io::Result<()> {
    // SAFETY: TUNSETIFF reads and writes one `struct ifreq` (40 bytes), which IfReq is.
    let request = unsafe { Updater::<TUNSETIFF, IfReq>::new(request) };
    // SAFETY: as above.
    Ok(unsafe { ioctl(fd, request) }?)
}

/// TUNGETIFF: name and flags. Bit 0x1000 is shared, so it does not show packet information.
pub(crate) fn get_iff(fd: BorrowedFd<'_>) -> io::Result<IfReq> {
    // The request is encoded for an unsigned int, but the kernel writes a whole `struct ifreq`.
    read_back::<TUNGETIFF, IfReq>(fd)
}

pub(crate) fn set_debug(fd: BorrowedFd<'_>, mask: i32) -> io::Result<()> {
    by_value::<TUNSETDEBUG>(fd, mask.cast_unsigned())
}

pub(crate) fn set_persist(fd: BorrowedFd<'_>, on: bool) -> io::Result<()> {
    by_value::<TUNSETPERSIST>(fd, u32::from(on))
}

pub(crate) fn set_owner(fd: BorrowedFd<'_>, user: u32) -> io::Result<()> {
    by_value::<TUNSETOWNER>(fd, user)
}

pub(crate) fn set_group(fd: BorrowedFd<'_>, group: u32) -> io::Result<()> {
    by_value::<TUNSETGROUP>(fd, group)
}

pub(crate) fn set_link_type(fd: BorrowedFd<'_>, arphrd: u16) -> io::Result<()> {
    by_value::<TUNSETLINK>(fd, u32::from(arphrd))
}

/// TUNGETFEATURES: the `IFF_*` flags that the kernel knows; works before TUNSETIFF.
pub(crate) fn features(fd: BorrowedFd<'_>) -> io::Result<u32> {
    read_back::<TUNGETFEATURES, libc::c_uint>(fd)
}

pub(crate) fn set_offload(fd: BorrowedFd<'_>, bits: u32) -> io::Result<()> {
    by_value::<TUNSETOFFLOAD>(fd, bits)
}

/// TUNSETTXFILTER: lets only frames to `addrs` through to the queues; no addresses: all frames.
/// Returns how many addresses are matched exactly. At most [`TX_FILTER_MAX`] are used.
pub(crate) fn set_tx_filter(
    fd: BorrowedFd<'_>,
    addrs: &[[u8; 6]],
    all_multicast: bool,
) -> io::Result<usize> {
    let addrs = &addrs[..addrs.len().min(TX_FILTER_MAX)];
    let mut filter = TunFilter {
        flags: u16::from(all_multicast),
        count: u16::try_from(addrs.len()).expect("at most TX_FILTER_MAX"),
        addrs: [[0; 6]; TX_FILTER_MAX],
    };
    filter.addrs[..addrs.len()].copy_from_slice(addrs);
    // SAFETY: the kernel reads 4 bytes and then `count` addresses, all inside `filter`.
    let exact = unsafe { libc::ioctl(fd.as_raw_fd(), number(TUNSETTXFILTER), &raw const filter) };
    usize::try_from(exact).map_err(|_| io::Error::last_os_error())
}

pub(crate) fn sndbuf(fd: BorrowedFd<'_>) -> io::Result<i32> {
    read_back::<TUNGETSNDBUF, libc::c_int>(fd)
}

pub(crate) fn set_sndbuf(fd: BorrowedFd<'_>, bytes: i32) -> io::Result<()> {
    by_pointer::<TUNSETSNDBUF, libc::c_int>(fd, bytes)
}

pub(crate) fn vnet_hdr_len(fd: BorrowedFd<'_>) -> io::Result<i32> {
    read_back::<TUNGETVNETHDRSZ, libc::c_int>(fd)
}

pub(crate) fn set_vnet_hdr_len(fd: BorrowedFd<'_>, bytes: i32) -> io::Result<()> {
    by_pointer::<TUNSETVNETHDRSZ, libc::c_int>(fd, bytes)
}

pub(crate) fn set_vnet_le(fd: BorrowedFd<'_>, on: bool) -> io::Result<()> {
    by_pointer::<TUNSETVNETLE, libc::c_int>(fd, i32::from(on))
}

pub(crate) fn vnet_le(fd: BorrowedFd<'_>) -> io::Result<bool> {
    read_back::<TUNGETVNETLE, libc::c_int>(fd).map(|on| on != 0)
}

/// TUNSETVNETBE: EINVAL on kernels without `CONFIG_TUN_VNET_CROSS_LE`.
pub(crate) fn set_vnet_be(fd: BorrowedFd<'_>, on: bool) -> io::Result<()> {
    by_pointer::<TUNSETVNETBE, libc::c_int>(fd, i32::from(on))
}

/// TUNSETQUEUE with `IFF_ATTACH_QUEUE` or `IFF_DETACH_QUEUE`.
pub(crate) fn set_queue(fd: BorrowedFd<'_>, attached: bool) -> io::Result<()> {
    let flag = if attached { IFF_ATTACH_QUEUE } else { IFF_DETACH_QUEUE };
    by_pointer::<TUNSETQUEUE, IfReq>(fd, IfReq::new(b"", flag))
}

/// TUNSETIFINDEX, only before TUNSETIFF.
pub(crate) fn set_ifindex(fd: BorrowedFd<'_>, index: u32) -> io::Result<()> {
    by_pointer::<TUNSETIFINDEX, libc::c_uint>(fd, index)
}

pub(crate) fn set_carrier(fd: BorrowedFd<'_>, on: bool) -> io::Result<()> {
    by_pointer::<TUNSETCARRIER, libc::c_int>(fd, i32::from(on))
}

/// TUNGETDEVNETNS: a descriptor of the network namespace that the device is in.
pub(crate) fn dev_netns(fd: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    // SAFETY: the request takes no argument.
    let netns = unsafe { libc::ioctl(fd.as_raw_fd(), number(TUNGETDEVNETNS)) };
    if netns < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just made this descriptor for us.
    Ok(unsafe { OwnedFd::from_raw_fd(netns) })
}

/// SIOCGIFHWADDR on the descriptor: the device's link-layer address.
pub(crate) fn hw_addr(fd: BorrowedFd<'_>) -> io::Result<[u8; 6]> {
    let request = read_back::<SIOCGIFHWADDR, IfReqHwAddr>(fd)?;
    let [a, b, c, d, e, f, ..] = request.data;
    Ok([a, b, c, d, e, f])
}

/// SIOCSIFHWADDR on the descriptor: requires no further privileges.
pub(crate) fn set_hw_addr(fd: BorrowedFd<'_>, addr: [u8; 6]) -> io::Result<()> {
    let mut data = [0; 14];
    data[..6].copy_from_slice(&addr);
    let family = libc::ARPHRD_ETHER;
    by_pointer::<SIOCSIFHWADDR, IfReqHwAddr>(
        fd,
        IfReqHwAddr { name: [0; 16], family, data, rest: [0; 8] },
    )
}
