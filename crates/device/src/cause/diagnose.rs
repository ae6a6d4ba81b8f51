//! Determines the cause of a failure, after it: the successful path pays nothing.
//!
//! One errno of the kernel has many causes, so this module inspects the machine (netlink, `/proc`).
//! If the state has changed since the failure, the result is [`Cause::NameRace`] or
//! [`Cause::Other`], never a guess.

pub(crate) mod descriptor;
pub(crate) mod link;
pub(crate) mod namespace;
mod node;
pub(crate) mod process;
pub(crate) mod queue;
pub(crate) mod setting;
#[cfg(test)]
mod tests;

pub(crate) use link::{link, link_at};
pub(crate) use namespace::netns;
pub(crate) use node::open_node;
pub(crate) use setting::setting;

use crate::Cause;
use std::io;

/// The setting that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Setting {
    /// TUNGETFEATURES: these `IFF_*` are missing.
    Features(u32),
    /// TUNSETIFINDEX.
    IfIndex,
    /// TUNSETPERSIST.
    Persist,
    /// TUNSETOWNER.
    Owner(u32),
    /// TUNSETGROUP.
    Group(u32),
    /// TUNSETLINK.
    LinkType,
    /// TUNSETOFFLOAD.
    Offload(crate::Offload),
    /// The offloads require a virtio-net header, or a longer one.
    OffloadHeader(crate::Offload),
    /// TUNSETVNETHDRSZ.
    VnetHdr,
    /// TUNSETVNETLE, TUNSETVNETBE.
    Endian,
    /// TUNSETSNDBUF.
    SendBuffer,
    /// TUNSETCARRIER.
    Carrier,
    /// SIOCSIFHWADDR.
    Mac,
    /// TUNSETTXFILTER.
    TxFilter,
    /// More addresses than the filter can hold.
    TxFilterLen(usize),
    /// TUNSETDEBUG.
    Debug,
    /// TUNATTACHFILTER, TUNDETACHFILTER.
    ClassicFilter,
    /// TUNSETFILTEREBPF.
    EbpfFilter,
    /// TUNSETSTEERINGEBPF.
    Steering,
    /// TUNSETVNETHASH, TUNGETVNETHASHCAP.
    VnetHash,
    /// TUNGETDEVNETNS.
    Netns,
}

/// The netlink request that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LinkSetting {
    /// Looking up the link.
    Find,
    /// The MTU.
    Mtu(u32),
    /// The length of the transmit queue.
    TxQueueLen(u32),
    /// The length of super-packets.
    GsoMaxSize,
    /// Up or down.
    Up,
    /// A new name.
    Name,
    /// The alias.
    Alias,
    /// The hardware address.
    Mac,
    /// A bridge, or none.
    Master,
    /// Another namespace.
    Netns,
    /// An address.
    Address,
    /// A route.
    Route,
    /// Deletion.
    Delete,
}

/// Causes that any request to the kernel may have.
pub(crate) fn general(error: &io::Error) -> Cause {
    match crate::netlink::raw_errno(error) {
        Some(libc::EMFILE) => Cause::FilesOfProcess,
        Some(libc::ENFILE) => Cause::FilesOfSystem,
        Some(libc::ENOMEM | libc::ENOBUFS) => Cause::OutOfMemory,
        Some(libc::EINTR) => Cause::Interrupted,
        Some(libc::EBADF) => Cause::NotOpen,
        Some(libc::ENOTTY) => Cause::NotTun { file: String::new() },
        _ => Cause::Other,
    }
}
