//! The words of a cause with what was found out about it; where nothing was, the catalogue's.

use super::Cause;
use crate::holders::{Holder, Holders};
use std::fmt;

/// How many holders are named; the rest are counted.
const HOLDERS_SHOWN: usize = 3;

/// How many namespaces are named; the rest are counted.
const NAMES_SHOWN: usize = 8;

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(error) => error.fmt(f),
            Self::NodeMode { mode, owner, group, uid } => write!(
                f,
                "/dev/net/tun has mode {mode:04o} and belongs to user {owner} and group {group}, \
                 and this is user {uid}"
            ),
            Self::NodeDirectory { directory, mode } => {
                write!(f, "the directory {directory} has mode {mode:04o} and keeps this user out")
            }
            Self::NotTun { file } if !file.is_empty() => {
                write!(f, "the descriptor is {file}, not /dev/net/tun")
            }
            Self::FdMode { have, want } => {
                write!(f, "the descriptor's device is {have}, and {want} was asked for")
            }
            Self::NetnsMissing { existing } if existing.is_empty() => {
                f.write_str("there is no network namespace of that name, nor of any other")
            }
            Self::NetnsMissing { existing } => {
                f.write_str("there is no network namespace of that name, only ")?;
                list(f, existing, NAMES_SHOWN)
            }
            Self::Refused { words } => f.write_str(words),
            _ => attach(self, f)
                .or_else(|| setting(self, f))
                .unwrap_or_else(|| f.write_str(self.entry().title)),
        }
    }
}

/// The causes of making and attaching.
fn attach(cause: &Cause, f: &mut fmt::Formatter<'_>) -> Option<fmt::Result> {
    Some(match cause {
        Cause::NoCapability { user_namespace: true } => f.write_str(
            "making a device needs CAP_NET_ADMIN over the network namespace, and this is a user \
             namespace that does not own it",
        ),
        Cause::NetlinkForbidden { user_namespace: true } => f.write_str(
            "changing interfaces needs CAP_NET_ADMIN over the network namespace, and this is a \
             user namespace that does not own it",
        ),
        Cause::ForeignOwner { owner, uid } => {
            write!(f, "the device belongs to user {owner}, and this is user {uid}")
        }
        Cause::ForeignGroup { group, uid } => {
            write!(f, "the device belongs to group {group}, of which user {uid} is not here")
        }
        Cause::OwnerAndGroup { owner, group, uid, owner_matches, group_matches } => {
            let fails = match (owner_matches, group_matches) {
                (true, _) => "the group does not",
                (_, true) => "the user does not",
                _ => "neither does",
            };
            write!(
                f,
                "the device belongs to user {owner} and group {group}, both must match, and for \
                 user {uid} {fails}"
            )
        }
        Cause::Held { holders } => held(holders, f),
        Cause::Exists { kind, index } => {
            write!(f, "there is an interface of that name already: {kind}, index {index}")
        }
        Cause::IndexTaken { index, name } => write!(f, "the index {index} belongs to {name}"),
        Cause::OtherKind { kind } => {
            write!(f, "the interface of that name is {kind}, not a TUN or TAP device")
        }
        Cause::ModeMismatch { have, want } => {
            write!(f, "the device is {have}, and {want} was asked for")
        }
        Cause::QueuesExhausted { limit } => write!(f, "the device has {limit} queues already"),
        Cause::FlagsUnknown { flags } => {
            write!(f, "this kernel's tun driver does not have {}", flag_names(*flags))
        }
        _ => return None,
    })
}

/// The causes of settings and of single packets.
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
        | Cause::OffloadNeedsTunnelHeader { set } => write!(f, "{title} (asked: {set})"),
        Cause::TxFilterFull { len } => write!(f, "{title}, and {len} were asked for"),
        Cause::MtuTooSmall { mtu, min } => {
            write!(f, "the MTU {mtu} is below {min}, the least that the device takes")
        }
        Cause::MtuTooLarge { mtu, max } => {
            write!(f, "the MTU {mtu} is above {max}, the most that the device takes")
        }
        Cause::MtuOutOfRange { mtu } => write!(f, "the device does not take the MTU {mtu}"),
        Cause::TxQueueLenTooLong { packets, limit } => {
            write!(
                f,
                "a queue of {packets} packets is above {limit}, the most that the driver takes"
            )
        }
        Cause::MtuBelowIpv6 { mtu } => {
            write!(f, "the MTU is {mtu}, below the 1280 bytes that IPv6 needs")
        }
        Cause::NotIp { version } => {
            write!(f, "the packet is neither IPv4 nor IPv6: its first four bits are {version}")
        }
        Cause::FrameShort { len } => {
            write!(f, "the frame has {len} bytes, and an Ethernet header alone has 14")
        }
        Cause::HeadersShort { len, headers } => {
            write!(f, "{len} bytes are shorter than the queue's headers, which have {headers}")
        }
        Cause::PacketTooLong { len, max } => {
            write!(f, "the packet has {len} bytes, and none can have more than {max}")
        }
        Cause::BufferShort { len, headers } => write!(
            f,
            "the buffer has {len} bytes and the headers before each packet {headers}: the packet \
             is lost"
        ),
        _ => return None,
    })
}

fn held(Holders { list: holders, partial }: &Holders, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    f.write_str("the device has one queue, and it is open in ")?;
    if holders.is_empty() {
        return f.write_str("a program that could not be found out");
    }
    list(f, holders, HOLDERS_SHOWN)?;
    if *partial { f.write_str(" (not all programs could be looked into)") } else { Ok(()) }
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

/// `IFF_*` of `linux/if_tun.h`, by name; what has none is a number.
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
        words.push(format!("what was asked for ({rest:#x})"));
    }
    words.join(" and ")
}

/// A remedy that names what was found out; `None` where the catalogue's is as good.
pub(super) fn remedy(cause: &Cause) -> Option<String> {
    Some(match cause {
        Cause::Held { holders } => {
            let [Holder { pid, .. }] = holders.list.as_slice() else { return None };
            format!(
                "end that program (`kill {pid}`), choose another name (`tun%d`), or make the device \
                 with `--multi-queue`"
            )
        }
        Cause::ModeMismatch { have, .. } => format!(
            "ask for {have} (`--mode {have}`), choose another name, or delete it: `adit dev del \
             NAME`"
        ),
        Cause::FdMode { have, .. } => {
            format!("ask for {have} (`--mode {have}`), or have the other one passed")
        }
        Cause::Exists { kind, .. } if kind != "tun" && kind != "tap" => {
            format!("choose another name (`tun%d`): a {kind} interface cannot be attached to")
        }
        Cause::ForeignOwner { owner, .. } => format!(
            "run it as user {owner} (`sudo -u '#{owner}'`), or change the owner as root: `adit dev \
             set NAME --user $USER`"
        ),
        Cause::MtuTooSmall { min, .. } => {
            format!("choose an MTU of {min} or more; IPv6 needs 1280")
        }
        Cause::MtuTooLarge { max, .. } => {
            format!("choose an MTU of {max} or less; for bulk, offloads do more than a large MTU")
        }
        _ => return None,
    })
}
