//! What sockets of flows need and rustix does not cover.

use std::io;
use std::mem;
use std::net::{IpAddr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr;

/// `SO_PEEK_OFF`: where `MSG_PEEK` reads next, in bytes from what was not read.
pub(crate) fn set_peek_offset(socket: BorrowedFd<'_>, offset: i32) -> io::Result<()> {
    super::packet_socket::set(socket, libc::SOL_SOCKET, libc::SO_PEEK_OFF, &offset)
}

/// `MSG_TRUNC` of a TCP socket: removes bytes from its receive queue; returns how many.
pub(crate) fn discard(socket: BorrowedFd<'_>, count: usize) -> io::Result<usize> {
    let flags = libc::MSG_TRUNC | libc::MSG_DONTWAIT;
    // SAFETY: with MSG_TRUNC the kernel copies nothing of a TCP stream (tcp(7)), so it needs no memory.
    let len = unsafe { libc::recv(socket.as_raw_fd(), ptr::null_mut(), count, flags) };
    usize::try_from(len).map_err(|_| io::Error::last_os_error())
}

/// Linux `asm-generic/sockios.h`.
const SIOCATMARK: libc::Ioctl = 0x8905;

/// How many bytes of the receive queue of a TCP socket are before the urgent byte. A read stops there.
pub(crate) fn before_urgent(socket: BorrowedFd<'_>) -> io::Result<Option<usize>> {
    let mut is_next: libc::c_int = 0;
    // SAFETY: the request writes an int, for which there is one.
    if unsafe { libc::ioctl(socket.as_raw_fd(), SIOCATMARK, &raw mut is_next) } == 0 && is_next == 1
    {
        return Ok(Some(0));
    }
    let held = usize::try_from(rustix::io::ioctl_fionread(socket)?).unwrap_or(usize::MAX);
    let flags = libc::MSG_PEEK | libc::MSG_TRUNC | libc::MSG_DONTWAIT;
    // SAFETY: with MSG_TRUNC the kernel copies nothing of a TCP stream (tcp(7)), so it needs no memory.
    let before = unsafe { libc::recv(socket.as_raw_fd(), ptr::null_mut(), held, flags) };
    let before = usize::try_from(before).map_err(|_| io::Error::last_os_error())?;
    Ok((before < held).then_some(before))
}

/// What the error queue of a socket has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SocketError {
    /// Where the datagram went. The port of an echo request is its sequence number.
    pub to: SocketAddr,
    /// The host that sent the ICMP message; `None`: it is an error of this host.
    pub from: Option<IpAddr>,
    /// The errno that it stands for.
    pub errno: i32,
    /// The ICMP type, if a message came.
    pub kind: u8,
    /// The ICMP code, if a message came.
    pub code: u8,
    /// The path MTU, if the datagram was too big.
    pub mtu: u32,
}

/// The offender's address lies behind this structure (ip(7), `SO_EE_OFFENDER`).
#[repr(C)]
#[derive(Clone, Copy)]
struct Extended {
    error: libc::sock_extended_err,
    offender: libc::sockaddr_in6,
}

/// Room for the control messages of an error: an extended error with an address, aligned as a header.
#[repr(C)]
struct Control {
    header: libc::cmsghdr,
    bytes: [u8; 240],
}

/// `MSG_ERRQUEUE`: takes the next error off the queue; `None` if it is empty, or the entry is none of a
/// datagram.
pub(crate) fn recv_error(socket: BorrowedFd<'_>) -> io::Result<Option<SocketError>> {
    // SAFETY: all fields may be zero.
    let mut name: libc::sockaddr_in6 = unsafe { mem::zeroed() };
    // SAFETY: all fields may be zero.
    let mut message: libc::msghdr = unsafe { mem::zeroed() };
    // SAFETY: all fields may be zero.
    let mut control: Control = unsafe { mem::zeroed() };
    let mut quoted = [0_u8; 8];
    let mut part = libc::iovec { iov_base: quoted.as_mut_ptr().cast(), iov_len: quoted.len() };
    (message.msg_iov, message.msg_iovlen) = (&raw mut part, 1);
    message.msg_name = ptr::from_mut(&mut name).cast();
    message.msg_namelen = socklen::<libc::sockaddr_in6>();
    message.msg_control = ptr::from_mut(&mut control).cast();
    message.msg_controllen = size_of::<Control>() as _;
    let flags = libc::MSG_ERRQUEUE | libc::MSG_DONTWAIT;
    // SAFETY: name, part and control room are as long as the header says, and live until it returns.
    let len = unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut message, flags) };
    if len < 0 {
        return Err(io::Error::last_os_error());
    }
    let Some(to) = address(&name) else { return Ok(None) };
    // SAFETY: the kernel has filled in the header, which points at `control`.
    let mut header = unsafe { libc::CMSG_FIRSTHDR(&raw const message) };
    while !header.is_null() {
        // SAFETY: the header lies in `control`, which is aligned for it.
        let found = unsafe { *header };
        let is_error = matches!(
            (found.cmsg_level, found.cmsg_type),
            (libc::IPPROTO_IP, libc::IP_RECVERR) | (libc::IPPROTO_IPV6, libc::IPV6_RECVERR)
        );
        if is_error {
            // SAFETY: the data of a header lie behind it in `control`.
            let data = unsafe { libc::CMSG_DATA(header) };
            // SAFETY: `control` has more room than a header and this; what was not written is zero.
            let error: Extended = unsafe { ptr::read_unaligned(data.cast()) };
            return Ok(Some(read(to, &error, quoted)));
        }
        // SAFETY: as for the first one.
        header = unsafe { libc::CMSG_NXTHDR(&raw const message, header) };
    }
    Ok(None)
}

fn read(mut to: SocketAddr, found: &Extended, quoted: [u8; 8]) -> SocketError {
    let error = &found.error;
    let is_icmp = matches!(error.ee_origin, libc::SO_EE_ORIGIN_ICMP | libc::SO_EE_ORIGIN_ICMP6);
    if is_icmp && to.port() == 0 {
        // Of a ping socket: the queue has the request from its ICMP header on.
        let [.., high, low] = quoted;
        to.set_port(u16::from_be_bytes([high, low]));
    }
    let errno = i32::try_from(error.ee_errno).unwrap_or(libc::EIO);
    SocketError {
        to,
        from: if is_icmp { address(&found.offender).map(|from| from.ip()) } else { None },
        errno,
        kind: error.ee_type,
        code: error.ee_code,
        mtu: if errno == libc::EMSGSIZE { error.ee_info } else { 0 },
    }
}

/// An address of either family that the kernel wrote where there is room for one of IPv6.
fn address(name: &libc::sockaddr_in6) -> Option<SocketAddr> {
    match i32::from(name.sin6_family) {
        libc::AF_INET => {
            // SAFETY: both are plain, and the shorter one is what was written.
            let name: libc::sockaddr_in = unsafe { mem::transmute_copy(name) };
            let ip = u32::from_be(name.sin_addr.s_addr).into();
            Some(SocketAddrV4::new(ip, u16::from_be(name.sin_port)).into())
        }
        libc::AF_INET6 => {
            let ip = name.sin6_addr.s6_addr.into();
            Some(SocketAddrV6::new(ip, u16::from_be(name.sin6_port), 0, 0).into())
        }
        _ => None,
    }
}

fn socklen<T>() -> libc::socklen_t {
    libc::socklen_t::try_from(size_of::<T>()).expect("a few bytes")
}
