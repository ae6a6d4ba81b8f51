//! System calls on UDP sockets that rustix does not cover.

use std::io::{self, IoSliceMut};
use std::os::fd::{AsRawFd, BorrowedFd};

/// `IPV6_DONTFRAG`, off: allows the kernel to fragment a datagram.
pub(crate) fn allow_fragments(socket: BorrowedFd<'_>) -> io::Result<()> {
    super::packet_socket::set(socket, libc::IPPROTO_IPV6, libc::IPV6_DONTFRAG, &0_i32)
}

/// `IP_RECVERR` or `IPV6_RECVERR`.
pub(crate) fn report_errors(socket: BorrowedFd<'_>, is_ipv4: bool, on: bool) -> io::Result<()> {
    let (level, option) = if is_ipv4 {
        (libc::IPPROTO_IP, libc::IP_RECVERR)
    } else {
        (libc::IPPROTO_IPV6, libc::IPV6_RECVERR)
    };
    super::packet_socket::set(socket, level, option, &i32::from(on))
}

/// `SO_MARK`: the mark of what the socket sends.
pub(crate) fn set_mark(socket: BorrowedFd<'_>, mark: u32) -> io::Result<()> {
    super::packet_socket::set(socket, libc::SOL_SOCKET, libc::SO_MARK, &mark)
}

/// `SO_MEMINFO`: the values of `SK_MEMINFO_*`, the last of which is that of drops.
pub(crate) fn memory_info(socket: BorrowedFd<'_>) -> io::Result<[u32; 9]> {
    let mut info = [0_u32; 9];
    super::packet_socket::get(socket, libc::SOL_SOCKET, libc::SO_MEMINFO, &mut info)?;
    Ok(info)
}

/// How many datagrams one call of [`receive`] returns.
pub(crate) const MESSAGES_MAX: usize = 4;

/// The length of `struct sockaddr_in6`, the longest address of a UDP socket.
const NAME_LEN: usize = 28;

/// The length of the control messages in words: a time stamp (32 bytes), the stride (24), the local
/// address (40) and the traffic class (24).
const CONTROL_WORDS: usize = 15;

/// What the kernel returned with one datagram.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Message {
    /// `struct sockaddr_in` or `struct sockaddr_in6`.
    pub(crate) name: [u8; NAME_LEN],
    pub(crate) control: [u64; CONTROL_WORDS],
    /// The length of the control messages in bytes.
    pub(crate) control_len: usize,
    /// The length of the datagram in its buffer.
    pub(crate) len: usize,
}

/// Receives up to [`MESSAGES_MAX`] datagrams, each into a buffer of its own; does not block. Returns their number.
#[allow(
    clippy::useless_conversion,
    clippy::unnecessary_fallible_conversions,
    reason = "the lengths of a msghdr are size_t in glibc, int and socklen_t in musl"
)]
pub(crate) fn receive(
    socket: BorrowedFd<'_>,
    bufs: &mut [IoSliceMut<'_>],
    messages: &mut [Message; MESSAGES_MAX],
) -> io::Result<usize> {
    // SAFETY: all fields of a mmsghdr may be zero.
    let mut headers: [libc::mmsghdr; MESSAGES_MAX] = unsafe { std::mem::zeroed() };
    let mut count = 0;
    for ((buf, message), header) in bufs.iter_mut().zip(&mut *messages).zip(&mut headers) {
        let header = &mut header.msg_hdr;
        header.msg_name = message.name.as_mut_ptr().cast();
        header.msg_namelen = libc::socklen_t::try_from(NAME_LEN).expect("28 bytes");
        // IoSliceMut guarantees the layout of a struct iovec.
        header.msg_iov = std::ptr::from_mut(buf).cast();
        header.msg_iovlen = 1;
        header.msg_control = message.control.as_mut_ptr().cast();
        header.msg_controllen = size_of_val(&message.control).try_into().expect("120 bytes");
        count += 1;
    }
    // SAFETY: the first `count` headers point to `bufs` and `messages` with their true lengths, and both
    // outlive the call.
    let received = unsafe {
        libc::recvmmsg(
            socket.as_raw_fd(),
            headers.as_mut_ptr(),
            count,
            libc::MSG_DONTWAIT,
            std::ptr::null_mut(),
        )
    };
    let received = usize::try_from(received).map_err(|_| io::Error::last_os_error())?;
    for (message, header) in messages.iter_mut().zip(&headers).take(received) {
        message.control_len = header.msg_hdr.msg_controllen.try_into().expect("at most 120 bytes");
        message.len = header.msg_len.try_into().expect("a u32 fits usize");
    }
    Ok(received)
}
