//! Why an ioctl on a queue failed.

use super::{Setting, general};
use crate::{Cause, Offload, QUEUES_MAX};
use std::io;

/// Determines why another ioctl on a queue failed.
pub(crate) fn setting(setting: Setting, error: &io::Error) -> Cause {
    let Some(errno) = error.raw_os_error() else { return general(error) };
    match (setting, errno) {
        (_, libc::EBADFD) => Cause::DeviceGone { mode: None },
        (Setting::Features(_), libc::ENOTTY) => Cause::NodeForeign,
        (Setting::Features(flags), libc::EINVAL) => Cause::FlagsUnknown { flags },
        (Setting::IfIndex, libc::EPERM) => Cause::AlreadyAttached,
        (Setting::Owner(id), libc::EINVAL) => Cause::UserNotMapped { id },
        (Setting::Group(id), libc::EINVAL) => Cause::GroupNotMapped { id },
        (Setting::LinkType, libc::EBUSY) => Cause::LinkTypeWhileUp,
        (Setting::Offload(set), libc::EINVAL) => offload(set),
        (Setting::OffloadHeader(set), libc::EINVAL) => offload_header(set),
        (Setting::VnetHdr, libc::EINVAL) => Cause::HeaderLength,
        (Setting::Endian, libc::EINVAL) => Cause::EndianUnsupported,
        (Setting::SendBuffer, libc::EINVAL) => Cause::SendBufferEmpty,
        (Setting::Mac, libc::EADDRNOTAVAIL) => Cause::MacInvalid,
        (Setting::Mac, libc::EOPNOTSUPP | libc::EINVAL) => Cause::MacOnTun,
        (Setting::TxFilter, libc::EINVAL) => Cause::TxFilterOnTun,
        (Setting::TxFilterLen(len), libc::EINVAL) => Cause::TxFilterFull { len },
        (Setting::ClassicFilter, libc::EINVAL) => Cause::FilterRefused,
        (Setting::EbpfFilter | Setting::Steering, libc::EINVAL | libc::EBADF) => Cause::EbpfProgram,
        (Setting::EbpfFilter | Setting::Steering, libc::EPERM) => Cause::EbpfPermission,
        (Setting::VnetHash, libc::EINVAL | libc::ENOTTY) => Cause::VnetHashUnsupported,
        (Setting::Netns, libc::EPERM) => Cause::DeviceNetnsForbidden,
        _ => general(error),
    }
}

pub(crate) fn of_attach(error: &io::Error) -> Cause {
    match error.raw_os_error() {
        Some(libc::EINVAL) => Cause::QueueState,
        Some(libc::EPERM) => Cause::QueueForbidden,
        Some(libc::E2BIG) => Cause::QueuesExhausted { limit: QUEUES_MAX },
        Some(libc::EBADFD) => Cause::DeviceGone { mode: None },
        _ => general(error),
    }
}

/// Applies the rules of `set_offload` in Linux `drivers/net/tun.c`. A set that obeys them is
/// unknown to this kernel.
fn offload(set: Offload) -> Cause {
    let uso = Offload::USO4 | Offload::USO6;
    let segments = uso | Offload::TSO4 | Offload::TSO6;
    if !set.is_empty() && !set.contains(Offload::CSUM) {
        return Cause::OffloadNeedsChecksum { set };
    }
    if set.intersects(uso) && !set.contains(uso) {
        return Cause::OffloadUsoPair { set };
    }
    let tunnel = set.contains(Offload::UDP_TUNNEL_GSO);
    let alone = tunnel && !set.intersects(segments);
    if alone || (set.contains(Offload::UDP_TUNNEL_GSO_CSUM) && !tunnel) {
        return Cause::OffloadTunnelAlone { set };
    }
    Cause::OffloadUnknown { set }
}

/// The device checks this itself, because the kernel does not.
fn offload_header(set: Offload) -> Cause {
    if set.contains(Offload::UDP_TUNNEL_GSO) {
        Cause::OffloadNeedsTunnelHeader { set }
    } else {
        Cause::OffloadNeedsHeader { set }
    }
}
