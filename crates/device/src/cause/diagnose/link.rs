//! Why a netlink request failed.

use super::{LinkSetting, general, process};
use crate::netlink::{Netlink, NetlinkError, raw_errno};
use crate::{Cause, IfIndex};
use std::io;

/// The maximum queue length of the driver in packets: its ring of pointers must fit into 4 MiB
/// (`KMALLOC_MAX_SIZE`).
const TX_QUEUE_LEN_MAX: u32 = 524_288;

/// The minimum MTU of IPv6 (RFC 8200, section 5).
const IPV6_MTU_MIN: u32 = 1280;

/// Determines why a request on the link `index` failed, by asking `netlink` about the link.
pub(crate) fn link_at(
    setting: LinkSetting,
    netlink: &mut Netlink,
    index: IfIndex,
    error: &io::Error,
) -> Cause {
    let found = match (setting, raw_errno(error)) {
        (LinkSetting::Mtu(_) | LinkSetting::Address, Some(libc::EINVAL))
        | (LinkSetting::Master, Some(libc::ENODEV)) => netlink.link_by_index(index).ok(),
        _ => None,
    };
    let Some(found) = found else { return link(setting, error) };
    match setting {
        LinkSetting::Mtu(mtu) if mtu < found.min_mtu => {
            Cause::MtuTooSmall { mtu, min: found.min_mtu }
        }
        LinkSetting::Mtu(mtu) if found.max_mtu > 0 && mtu > found.max_mtu => {
            Cause::MtuTooLarge { mtu, max: found.max_mtu }
        }
        LinkSetting::Address if found.mtu < IPV6_MTU_MIN => Cause::MtuBelowIpv6 { mtu: found.mtu },
        LinkSetting::Master => Cause::NoSuchMaster,
        _ => link(setting, error),
    }
}

/// Determines why a netlink request failed, from the error alone.
pub(crate) fn link(setting: LinkSetting, error: &io::Error) -> Cause {
    let Some(errno) = raw_errno(error) else { return general(error) };
    let words = NetlinkError::of(error).map(NetlinkError::message);
    let specific = match setting {
        LinkSetting::Address => address(errno),
        LinkSetting::Route => route(errno, words),
        LinkSetting::Master => master(errno, words),
        _ => single(setting, errno),
    };
    specific.or_else(|| any(setting, errno)).unwrap_or_else(|| match words {
        Some(words) => Cause::Refused { words: words.trim_end_matches('.').to_owned() },
        None => general(error),
    })
}

pub(crate) fn of_carrier(error: &io::Error) -> Cause {
    match raw_errno(error) {
        Some(libc::EOPNOTSUPP | libc::EINVAL) => Cause::CarrierUnsupported,
        _ => link(LinkSetting::Up, error),
    }
}

/// Causes that any request may have.
fn any(setting: LinkSetting, errno: i32) -> Option<Cause> {
    Some(match errno {
        libc::EPERM => Cause::NetlinkForbidden {
            user_namespace: !process::in_first_user_namespace() && process::has_net_admin(),
        },
        // A lookup by name or number: the interface may never have existed.
        libc::ENODEV if setting == LinkSetting::Find => Cause::NoSuchDevice { mode: None },
        libc::ENODEV => Cause::DeviceGone { mode: None },
        libc::ETIMEDOUT => Cause::NetlinkTimeout,
        libc::EINTR => Cause::DumpInterrupted,
        _ => return None,
    })
}

fn single(setting: LinkSetting, errno: i32) -> Option<Cause> {
    Some(match (setting, errno) {
        (LinkSetting::Mtu(mtu), libc::EINVAL) => Cause::MtuOutOfRange { mtu },
        (LinkSetting::TxQueueLen(packets), libc::EPERM | libc::ENOMEM)
            if packets > TX_QUEUE_LEN_MAX =>
        {
            Cause::TxQueueLenTooLong { packets, limit: TX_QUEUE_LEN_MAX }
        }
        (LinkSetting::Alias, libc::EINVAL | libc::ERANGE) => Cause::AliasTooLong,
        (LinkSetting::Name, libc::EEXIST) => Cause::NameTaken,
        (LinkSetting::Name, libc::EBUSY) => Cause::RenameWhileUp,
        (LinkSetting::Mac, libc::EADDRNOTAVAIL) => Cause::MacInvalid,
        (LinkSetting::Mac, libc::EOPNOTSUPP) => Cause::MacOnTun,
        (LinkSetting::Netns, libc::EEXIST) => Cause::NameTakenThere,
        (LinkSetting::Netns, libc::EINVAL) => Cause::CannotMove,
        (LinkSetting::Delete, libc::EOPNOTSUPP) => Cause::CannotDelete,
        _ => return None,
    })
}

fn master(errno: i32, words: Option<&str>) -> Option<Cause> {
    Some(match errno {
        libc::EOPNOTSUPP => Cause::MasterNotBridge,
        libc::ELOOP => Cause::MasterLoop,
        libc::EBUSY => Cause::MasterBusy,
        // For its other reasons the bridge gives a message.
        libc::EINVAL if words.is_none() => Cause::MasterNeedsTap,
        _ => return None,
    })
}

fn address(errno: i32) -> Option<Cause> {
    Some(match errno {
        libc::EEXIST => Cause::AddressExists,
        libc::EADDRNOTAVAIL => Cause::AddressMissing,
        libc::EACCES => Cause::Ipv6Disabled,
        libc::EOPNOTSUPP | libc::EAFNOSUPPORT => Cause::Ipv6Missing,
        _ => return None,
    })
}

fn route(errno: i32, words: Option<&str>) -> Option<Cause> {
    let said = |part: &str| words.is_some_and(|words| words.to_ascii_lowercase().contains(part));
    Some(match errno {
        libc::EEXIST => Cause::RouteExists,
        libc::ESRCH => Cause::RouteMissing,
        libc::ENETDOWN => Cause::RouteLinkDown,
        libc::ENETUNREACH | libc::EHOSTUNREACH => Cause::GatewayUnreachable,
        libc::EINVAL if said("gateway") => Cause::GatewayUnreachable,
        libc::EINVAL if said("prefsrc") || said("source address") => Cause::RouteSource,
        libc::EINVAL if said("prefix") => Cause::RouteHostBits,
        libc::EACCES => Cause::Ipv6Disabled,
        libc::EOPNOTSUPP | libc::EAFNOSUPPORT => Cause::Ipv6Missing,
        _ => return None,
    })
}
