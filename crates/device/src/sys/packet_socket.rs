//! The parts of packet sockets (packet(7)) that rustix does not cover.

use std::io::{self, IoSliceMut};
use std::mem::{size_of, size_of_val};
use std::os::fd::{AsRawFd, BorrowedFd};

/// Lets `socket` receive the packets of all protocols on one interface.
pub(crate) fn bind(socket: BorrowedFd<'_>, index: i32) -> io::Result<()> {
    let address = libc::sockaddr_ll {
        sll_family: libc::c_ushort::try_from(libc::AF_PACKET).expect("17"),
        sll_protocol: u16::try_from(libc::ETH_P_ALL).expect("3").to_be(),
        sll_ifindex: index,
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 0,
        sll_addr: [0; 8],
    };
    let len = libc::socklen_t::try_from(size_of_val(&address)).expect("20 bytes");
    // SAFETY: the kernel reads `len` bytes of `address`.
    check(unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), len) })
}

/// `PACKET_ADD_MEMBERSHIP`: the interface receives frames to any address (promiscuous mode).
pub(crate) fn set_promiscuous(socket: BorrowedFd<'_>, index: i32) -> io::Result<()> {
    let request = libc::packet_mreq {
        mr_ifindex: index,
        mr_type: libc::c_ushort::try_from(libc::PACKET_MR_PROMISC).expect("1"),
        mr_alen: 0,
        mr_address: [0; 8],
    };
    set(socket, libc::SOL_PACKET, libc::PACKET_ADD_MEMBERSHIP, &request)
}

/// `PACKET_IGNORE_OUTGOING`: omits packets that the host sends.
pub(crate) fn set_incoming_only(socket: BorrowedFd<'_>) -> io::Result<()> {
    set(socket, libc::SOL_PACKET, libc::PACKET_IGNORE_OUTGOING, &1_i32)
}

/// `PACKET_AUXDATA`: reports each packet's length and VLAN tag.
pub(crate) fn set_aux_data(socket: BorrowedFd<'_>) -> io::Result<()> {
    set(socket, libc::SOL_PACKET, libc::PACKET_AUXDATA, &1_i32)
}

/// `PACKET_VNET_HDR`: puts a virtio-net header of 10 bytes before each packet.
pub(crate) fn set_vnet_header(socket: BorrowedFd<'_>) -> io::Result<()> {
    set(socket, libc::SOL_PACKET, libc::PACKET_VNET_HDR, &1_i32)
}

/// `SO_TIMESTAMPNS`: reports when the kernel saw each packet.
pub(crate) fn set_time_stamps(socket: BorrowedFd<'_>, on: bool) -> io::Result<()> {
    set(socket, libc::SOL_SOCKET, libc::SO_TIMESTAMPNS, &i32::from(on))
}

/// Sets an option; `T` must be the type that the option takes.
pub(super) fn set<T>(socket: BorrowedFd<'_>, level: i32, option: i32, value: &T) -> io::Result<()> {
    let len = libc::socklen_t::try_from(size_of::<T>()).expect("a few bytes");
    let value: *const T = value;
    // SAFETY: the kernel reads at most `len` bytes of `value`.
    check(unsafe { libc::setsockopt(socket.as_raw_fd(), level, option, value.cast(), len) })
}

/// Reads an option that consists of u32, and returns their number.
pub(super) fn get(
    socket: BorrowedFd<'_>,
    level: i32,
    option: i32,
    words: &mut [u32],
) -> io::Result<usize> {
    let mut len = libc::socklen_t::try_from(size_of_val(words)).unwrap_or(0);
    let (fd, to) = (socket.as_raw_fd(), words.as_mut_ptr().cast());
    // SAFETY: the kernel writes at most `len` bytes, and any bytes are u32.
    check(unsafe { libc::getsockopt(fd, level, option, to, &raw mut len) })?;
    Ok(usize::try_from(len).unwrap_or(0) / size_of::<u32>())
}

/// `PACKET_STATISTICS`: packets seen and packets dropped since the last call, which sets both to 0.
pub(crate) fn statistics(socket: BorrowedFd<'_>) -> io::Result<(u32, u32)> {
    let mut counts = [0_u32; 2];
    get(socket, libc::SOL_PACKET, libc::PACKET_STATISTICS, &mut counts)?;
    Ok((counts[0], counts[1]))
}

/// The metadata of [`receive`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Received {
    /// The length of the packet, even if the buffer is shorter.
    pub(crate) len: usize,
    /// `sll_pkttype`: `PACKET_HOST`, `PACKET_OUTGOING` and others.
    pub(crate) packet_type: u8,
    /// The length of the control messages in bytes.
    pub(crate) control_len: usize,
}

/// Receives one packet into `bufs`, filled in order, and its control messages into `control`; does
/// not block.
#[allow(
    clippy::useless_conversion,
    clippy::unnecessary_fallible_conversions,
    reason = "the lengths of a msghdr are size_t in glibc, int and socklen_t in musl"
)]
pub(crate) fn receive(
    socket: BorrowedFd<'_>,
    bufs: &mut [IoSliceMut<'_>],
    control: &mut [u64],
) -> io::Result<Received> {
    let mut address = libc::sockaddr_ll {
        sll_family: 0,
        sll_protocol: 0,
        sll_ifindex: 0,
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 0,
        sll_addr: [0; 8],
    };
    // SAFETY: all fields of a msghdr may be zero.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_name = (&raw mut address).cast();
    message.msg_namelen = libc::socklen_t::try_from(size_of_val(&address)).expect("20 bytes");
    // IoSliceMut guarantees the layout of a struct iovec.
    message.msg_iov = bufs.as_mut_ptr().cast();
    message.msg_iovlen = bufs.len().try_into().map_err(|_| io::ErrorKind::InvalidInput)?;
    message.msg_control = control.as_mut_ptr().cast();
    message.msg_controllen =
        size_of_val(control).try_into().map_err(|_| io::ErrorKind::InvalidInput)?;
    let flags = libc::MSG_DONTWAIT | libc::MSG_TRUNC;
    // SAFETY: `message` points to `address`, `bufs` and `control` with their true lengths, and all of
    // them outlive the call.
    let len = unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut message, flags) };
    let len = usize::try_from(len).map_err(|_| io::Error::last_os_error())?;
    let control_len = message.msg_controllen.try_into().expect("no longer than `control`");
    Ok(Received { len, packet_type: address.sll_pkttype, control_len })
}

fn check(result: libc::c_int) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
