//! Why TUNSETIFF failed. The order of checks is that of the kernel: `tun_set_iff`, `tun_attach` and
//! `tun_not_capable` in Linux `drivers/net/tun.c`.

use crate::cause::diagnose::{general, process};
use crate::holders::{Holders, holders};
use crate::netlink::{HardwareType, LinkInfo, Netlink};
use crate::{Cause, Create, DeviceOptions, Mode, QUEUES_MAX};
use std::io;

/// Determines why TUNSETIFF failed; `netlink` must be in the namespace of the device.
pub(crate) fn attach(options: &DeviceOptions, netlink: &mut Netlink, error: &io::Error) -> Cause {
    let name = options.name.exact();
    let found = name.and_then(|name| netlink.link_by_name(&name).ok());
    match error.raw_os_error() {
        Some(libc::EPERM) => not_permitted(options, found.as_ref()),
        Some(libc::EBUSY) => busy(options, netlink, found.as_ref()),
        Some(libc::EINVAL) => invalid(options, found.as_ref()),
        Some(libc::E2BIG) => Cause::QueuesExhausted { limit: QUEUES_MAX },
        // A new descriptor has no device yet, so another program has just taken the name.
        Some(libc::EEXIST) => found.as_ref().map_or(Cause::AlreadyAttached, exists),
        Some(libc::ENFILE) => Cause::NamesExhausted,
        Some(libc::EACCES) => Cause::NodeSecurity,
        Some(libc::ENOTTY) => Cause::NodeForeign,
        _ => general(error),
    }
}

fn not_permitted(options: &DeviceOptions, found: Option<&LinkInfo>) -> Cause {
    let first_namespace = process::in_first_user_namespace();
    if options.napi_frags && !(first_namespace && process::has_net_admin()) {
        return Cause::NapiFragsUserNamespace;
    }
    let tun = found.and_then(|link| link.tun);
    let uid = process::uid();
    let Some(tun) = tun else {
        return Cause::NoCapability {
            user_namespace: !first_namespace && process::has_net_admin(),
        };
    };
    let owner_matches = tun.owner.is_none_or(|owner| owner == uid);
    let group_matches = tun.group.is_none_or(process::is_in_group);
    match (tun.owner, tun.group) {
        // The device, as it is now, lets us attach: it did not exist a moment ago, or was another
        // one.
        _ if owner_matches && group_matches => Cause::NameRace,
        (Some(owner), Some(group)) => {
            Cause::OwnerAndGroup { owner, group, uid, owner_matches, group_matches }
        }
        (Some(owner), None) => Cause::ForeignOwner { owner, uid },
        (None, Some(group)) => Cause::ForeignGroup { group, uid },
        (None, None) => Cause::NameRace,
    }
}

fn busy(options: &DeviceOptions, netlink: &mut Netlink, found: Option<&LinkInfo>) -> Cause {
    match (found, options.index) {
        (Some(link), _) if options.create == Create::Exclusive => exists(link),
        (Some(link), _) if link.tun.is_some_and(|tun| !tun.multi_queue) => {
            // The calling thread is in the namespace of the device, as `netlink` is.
            let unknown = Holders { list: Vec::new(), partial: true };
            Cause::InUse { holders: holders(&link.name, None).unwrap_or(unknown) }
        }
        (None, Some(index)) => match netlink.link_by_index(index) {
            Ok(other) => Cause::IndexTaken { index, name: other.name },
            Err(_) => Cause::NameRace,
        },
        _ => Cause::NameRace,
    }
}

fn exists(link: &LinkInfo) -> Cause {
    Cause::Exists { kind: kind(link), index: link.index }
}

fn invalid(options: &DeviceOptions, found: Option<&LinkInfo>) -> Cause {
    if options.napi_frags && options.mode == Mode::Tun {
        return Cause::NapiFragsOnTun;
    }
    if options.napi_frags && !options.napi {
        return Cause::NapiFragsWithoutNapi;
    }
    let Some(link) = found else {
        let was_there = options.create == Create::Attach;
        return if was_there { Cause::NameRace } else { Cause::Other };
    };
    let Some(tun) = link.tun else { return Cause::OtherKind { kind: kind(link) } };
    if tun.mode != options.mode {
        return Cause::ModeMismatch { have: tun.mode, want: options.mode };
    }
    match (tun.multi_queue, options.multi_queue) {
        (true, false) => Cause::DeviceMultiQueue,
        (false, true) => Cause::DeviceSingleQueue,
        _ => Cause::Other,
    }
}

/// The type of an interface in one word.
pub(super) fn kind(link: &LinkInfo) -> String {
    match (&link.tun, &link.kind) {
        (Some(tun), _) => tun.mode.to_string(),
        (None, Some(kind)) => kind.clone(),
        (None, None) if link.hardware_type == HardwareType::LOOPBACK => "loopback".into(),
        (None, None) => "hardware".into(),
    }
}
