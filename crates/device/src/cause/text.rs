//! The text of a cause with the details of the failure; without details, the catalogue's title.

use super::Cause;
use crate::holders::{Holder, Holders};
use std::fmt;

/// How many holders are listed; the rest are counted.
const HOLDERS_SHOWN: usize = 3;

/// How many namespaces are listed; the rest are counted.
const NAMES_SHOWN: usize = 8;

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(error) => error.fmt(f),
            Self::Reported(reported) => f.write_str(&reported.text),
            Self::NodeMode { mode, owner, group, uid } => write!(
                f,
                "/dev/net/tun has mode {mode:04o}, owner {owner} and group {group}; this process \
                 runs as user {uid}"
            ),
            Self::NodeDirectory { directory, mode } => {
                write!(
                    f,
                    "the directory {directory} has mode {mode:04o}; this user cannot search it"
                )
            }
            Self::NotTun { file } if !file.is_empty() => {
                write!(f, "the descriptor is {file}, not /dev/net/tun")
            }
            Self::FdMode { have, want } => {
                write!(f, "the descriptor belongs to a {have} device, but {want} was requested")
            }
            Self::NetnsMissing { existing } if existing.is_empty() => {
                f.write_str("no network namespace has a name")
            }
            Self::NetnsMissing { existing } => {
                f.write_str("no network namespace of that name; existing: ")?;
                list(f, existing, NAMES_SHOWN)
            }
            Self::Refused { words } => f.write_str(words),
            _ => attach(self, f)
                .or_else(|| setting(self, f))
                .unwrap_or_else(|| f.write_str(self.entry().title)),
        }
    }
}

/// Causes of creating and attaching.
fn attach(cause: &Cause, f: &mut fmt::Formatter<'_>) -> Option<fmt::Result> {
    Some(match cause {
        Cause::NoCapability { user_namespace: true } => f.write_str(
            "creating a device requires CAP_NET_ADMIN over the network namespace, which this user \
             namespace does not own",
        ),
        Cause::NetlinkForbidden { user_namespace: true } => f.write_str(
            "changing interfaces requires CAP_NET_ADMIN over the network namespace, which this \
             user namespace does not own",
        ),
        Cause::ForeignOwner { owner, uid } => {
            write!(f, "the device belongs to user {owner}; this process runs as user {uid}")
        }
        Cause::ForeignGroup { group, uid } => {
            write!(
                f,
                "the device belongs to group {group}; this process of user {uid} is not in it"
            )
        }
        Cause::OwnerAndGroup { owner, group, uid, owner_matches, group_matches } => {
            let fails = match (owner_matches, group_matches) {
                (true, _) => "the group does not match",
                (_, true) => "the user does not match",
                _ => "neither matches",
            };
            write!(
                f,
                "the device belongs to user {owner} and group {group}, and both must match; for \
                 user {uid} {fails}"
            )
        }
        Cause::InUse { holders } => held(holders, f),
        Cause::Exists { kind, index } => {
            write!(f, "an interface of that name exists: {kind}, index {index}")
        }
        Cause::IndexTaken { index, name } => write!(f, "the index {index} belongs to {name}"),
        Cause::OtherKind { kind } => {
            write!(f, "the interface of that name is of type {kind}, not TUN or TAP")
        }
        Cause::ModeMismatch { have, want } => {
            write!(f, "the device is a {have} device, but {want} was requested")
        }
        Cause::QueuesExhausted { limit } => write!(f, "the device already has {limit} queues"),
        Cause::FlagsUnknown { flags } => {
            write!(f, "the tun driver of this kernel lacks {}", flag_names(*flags))
        }
        _ => return None,
    })
}

/// Causes of settings and of single packets.
fn setting(cause: &Cause, f: &mut fmt::Formatter<'_>) -> Option<fmt::Result> {
    let title = cause.entry().title;
    Some(match cause {
        Cause::UserNotMapped { id } => write!(f, "user {id} does not exist in this user namespace"),
        Cause::GroupNotMapped { id } => {
            write!(f, "group {id} does not exist in this user namespace")
        }
        Cause::OffloadUnknown { set }
        | Cause::OffloadNeedsChecksum { set }
        | Cause::OffloadUsoPair { set }
        | Cause::OffloadTunnelAlone { set }
        | Cause::OffloadNeedsHeader { set }
        | Cause::OffloadNeedsTunnelHeader { set } => write!(f, "{title} (requested: {set})"),
        Cause::TxFilterFull { len } => write!(f, "{title}; {len} were requested"),
        Cause::MtuTooSmall { mtu, min } => {
            write!(f, "the MTU {mtu} is below the device's minimum of {min}")
        }
        Cause::MtuTooLarge { mtu, max } => {
            write!(f, "the MTU {mtu} is above the device's maximum of {max}")
        }
        Cause::MtuOutOfRange { mtu } => write!(f, "the device does not accept the MTU {mtu}"),
        Cause::TxQueueLenTooLong { packets, limit } => {
            write!(f, "a queue of {packets} packets is above the driver's maximum of {limit}")
        }
        Cause::MtuBelowIpv6 { mtu } => {
            write!(f, "the MTU {mtu} is below the 1280 bytes that IPv6 requires")
        }
        Cause::NotIp { version } => {
            write!(f, "the packet is neither IPv4 nor IPv6: its first four bits are {version}")
        }
        Cause::FrameShort { len } => {
            write!(f, "the frame has {len} bytes, fewer than the 14 of an Ethernet header")
        }
        Cause::HeadersShort { len, headers } => {
            write!(f, "the record has {len} bytes, fewer than the {headers} of the queue's headers")
        }
        Cause::PacketTooLong { len, max } => {
            write!(f, "the packet has {len} bytes, more than the maximum of {max}")
        }
        Cause::BufferShort { len, headers } => write!(
            f,
            "the buffer has {len} bytes, fewer than the {headers} of the queue's headers; the \
             packet is lost"
        ),
        _ => return None,
    })
}

fn held(Holders { list: holders, partial }: &Holders, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    f.write_str("the device has a single queue, which is open in ")?;
    if holders.is_empty() {
        return f.write_str("an unknown process");
    }
    list(f, holders, HOLDERS_SHOWN)?;
    if *partial { f.write_str(" (some processes could not be inspected)") } else { Ok(()) }
}

/// The first `most` of `items`, and how many more there are.
fn list(f: &mut fmt::Formatter<'_>, items: &[impl fmt::Display], most: usize) -> fmt::Result {
    for (i, item) in items.iter().take(most).enumerate() {
        write!(f, "{}{item}", if i > 0 { ", " } else { "" })?;
    }
    match items.len().saturating_sub(most) {
        0 => Ok(()),
        more => write!(f, " and {more} more"),
    }
}

/// `IFF_*` of `linux/if_tun.h` by name; the unknown ones as a number.
fn flag_names(flags: u32) -> String {
    let names = [
        (0x10, "IFF_NAPI"),
        (0x20, "IFF_NAPI_FRAGS"),
        (0x40, "IFF_NO_CARRIER"),
        (0x100, "IFF_MULTI_QUEUE"),
        (0x1000, "IFF_NO_PI"),
        (0x4000, "IFF_VNET_HDR"),
    ];
    let mut rest = flags;
    let mut words = Vec::new();
    for (flag, name) in names {
        if flags & flag != 0 {
            words.push(name.to_owned());
            rest &= !flag;
        }
    }
    if rest != 0 || words.is_empty() {
        words.push(format!("the requested flags {rest:#x}"));
    }
    words.join(" and ")
}

/// A remedy with the details of the failure; `None` where the catalogue's is as good.
pub(super) fn remedy(cause: &Cause) -> Option<String> {
    Some(match cause {
        Cause::Reported(reported) => reported.remedy.clone(),
        Cause::InUse { holders } => {
            let own = |holder: &Holder| holder.pid == std::process::id();
            match holders.list.as_slice() {
                list if list.iter().any(own) => "This process has the device open itself. Open it \
                    once, or create it with `--multi-queue`."
                    .into(),
                [Holder { pid, .. }] => format!(
                    "Stop that program (`kill {pid}`), choose another name (`tun%d`), or create the \
                     device with `--multi-queue`."
                ),
                _ => return None,
            }
        }
        Cause::NoSuchDevice { mode: Some(mode) } => format!(
            "List the devices with `adit dev show`, look in other network namespaces, or create the \
             device: `adit dev add NAME --mode {mode}`."
        ),
        Cause::DeviceGone { mode: Some(mode) } => format!(
            "Exit, or recreate the device: `adit dev add NAME --mode {mode}`. `adit dev watch` \
             shows devices appear and disappear."
        ),
        Cause::ModeMismatch { have, .. } => format!(
            "Request {have} (`--mode {have}`), choose another name, or delete the device: `adit dev \
             del NAME`."
        ),
        Cause::FdMode { have, .. } => {
            format!("Request {have} (`--mode {have}`), or pass another descriptor.")
        }
        Cause::Exists { kind, .. } if kind != "tun" && kind != "tap" => {
            format!("Choose another name (`tun%d`): no program can attach to a {kind} interface.")
        }
        Cause::ForeignOwner { owner, .. } => format!(
            "Run the program as user {owner} (`sudo -u '#{owner}'`), or change the owner as root: \
             `adit dev set NAME --user $USER`."
        ),
        Cause::MtuTooSmall { min, .. } => {
            format!("Choose an MTU of {min} or more. IPv6 requires 1280.")
        }
        Cause::MtuTooLarge { max, .. } => format!(
            "Choose an MTU of {max} or less. For bulk transfer, offloads help more than a large MTU."
        ),
        _ => return None,
    })
}
