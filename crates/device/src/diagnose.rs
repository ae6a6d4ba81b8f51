//! Finds the cause of a failure, after it: the way that succeeds pays nothing.

use crate::cause::Cause;
use crate::netlink::Netlink;
use crate::options::DeviceOptions;
use std::io;

/// What was being set when it failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Setting {
    /// TUNGETFEATURES: these `IFF_*` are not there.
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
    /// The offloads need a virtio-net header, or a longer one, than the queue has.
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
    /// More addresses than the filter holds.
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
    /// TUNSETQUEUE.
    Queue,
    /// TUNGETDEVNETNS.
    Netns,
}

/// What was asked of netlink when it failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LinkSetting {
    /// The link itself was looked for.
    Find,
    /// The MTU.
    Mtu(u32),
    /// The length of the send queue.
    TxQueueLen(u32),
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

/// `open("/dev/net/tun")` failed.
pub(crate) fn open_node(error: &io::Error) -> Cause {
    let _ = error;
    Cause::Other
}

/// TUNSETIFF failed; `netlink` is in the namespace of the device.
pub(crate) fn attach(options: &DeviceOptions, netlink: &mut Netlink, error: &io::Error) -> Cause {
    let _ = (options, netlink, error);
    Cause::Other
}

/// Another ioctl on a queue failed.
pub(crate) fn setting(setting: Setting, error: &io::Error) -> Cause {
    let _ = (setting, error);
    Cause::Other
}

/// A netlink request failed.
pub(crate) fn link(setting: LinkSetting, error: &io::Error) -> Cause {
    let _ = (setting, error);
    Cause::Other
}

/// A namespace could not be opened or entered.
pub(crate) fn netns(error: &io::Error) -> Cause {
    let _ = error;
    Cause::Other
}
