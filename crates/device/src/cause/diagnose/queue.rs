//! Why a packet was not received or sent. Source: `tun_get_user`, `tun_do_read` of Linux
//! `drivers/net/tun.c`.

use super::general;
use crate::{Cause, Mode, Queue, sys};
use std::io;
use std::os::fd::AsFd;

/// The length of an Ethernet header: two addresses and a type.
const ETHERNET_HEADER_LEN: usize = 14;

pub(crate) fn of_send(queue: &Queue, record: &[u8], error: &io::Error) -> Cause {
    let Some(errno) = error.raw_os_error() else { return malformed(error) };
    match errno {
        libc::EIO => Cause::LinkDown,
        libc::EINVAL => refused(queue, record),
        libc::EMSGSIZE => {
            let len = record.len().saturating_sub(queue.layout().len());
            Cause::PacketTooLong { len, max: queue.len_max() }
        }
        libc::EBUSY => Cause::QueueDetached,
        _ => either(queue, errno, error),
    }
}

pub(crate) fn of_recv(queue: &Queue, len: usize, error: &io::Error) -> Cause {
    let Some(errno) = error.raw_os_error() else { return malformed(error) };
    match errno {
        libc::EINVAL => Cause::BufferShort { len, headers: queue.layout().len() },
        // A read that was blocked when the device was deleted returns EFAULT too.
        libc::EFAULT if sys::tun::get_iff(queue.as_fd()).is_ok() => Cause::TunnelHeaderShort,
        libc::EFAULT => Cause::DeviceGone { mode: Some(queue.mode()) },
        libc::ENOBUFS => Cause::NoBuffer,
        _ => either(queue, errno, error),
    }
}

/// Causes that both directions may have.
fn either(queue: &Queue, errno: i32, error: &io::Error) -> Cause {
    let gone = Cause::DeviceGone { mode: Some(queue.mode()) };
    match errno {
        libc::EBADFD | libc::ENODEV => gone,
        libc::EFAULT if sys::tun::get_iff(queue.as_fd()).is_err() => gone,
        libc::EAGAIN => Cause::WouldBlock,
        _ => general(error),
    }
}

/// The cause of our own check of a header, which comes before the kernel's.
fn malformed(error: &io::Error) -> Cause {
    match error.kind() {
        io::ErrorKind::InvalidData => Cause::VnetHeaderRefused,
        _ => general(error),
    }
}

/// The rule that the record violates.
fn refused(queue: &Queue, record: &[u8]) -> Cause {
    let layout = queue.layout();
    let headers = layout.len();
    if record.is_empty() {
        return Cause::PacketEmpty;
    }
    let Some(packet) = record.get(headers..) else {
        return Cause::HeadersShort { len: record.len(), headers };
    };
    match (queue.mode(), packet.first()) {
        (Mode::Tap, _) if packet.len() < ETHERNET_HEADER_LEN => {
            Cause::FrameShort { len: packet.len() }
        }
        (Mode::Tun, None) => Cause::PacketEmpty,
        // With packet information the kernel trusts its protocol field.
        (Mode::Tun, Some(first)) if !layout.packet_info && !matches!(first >> 4, 4 | 6) => {
            Cause::NotIp { version: first >> 4 }
        }
        _ if layout.vnet_hdr.is_some() => Cause::VnetHeaderRefused,
        _ => Cause::Other,
    }
}
