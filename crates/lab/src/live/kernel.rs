//! What the kernel counts in the networks of nodes, at the ends of plain links, whose packets this process does not see.

use adit_device::netlink::Netlink;
use adit_device::{IfName, Netns};
use adit_service::switch::model::Counters;
use adit_topology::model::LinkName;
use std::path::PathBuf;

/// An interface at an end of a link.
#[derive(Clone, Debug)]
pub(super) struct KernelEnd {
    pub(super) link: LinkName,
    pub(super) end: usize,
    pub(super) net: PathBuf,
    pub(super) interface: IfName,
}

/// The counters of interfaces; those of which the namespace has ended are left out.
pub(super) fn count(ends: Vec<KernelEnd>) -> Vec<(LinkName, usize, Counters)> {
    let one = |end: KernelEnd| {
        let netlink = Netns::open(&end.net).and_then(|net| Netlink::open_in(&net));
        let stats = netlink.ok()?.link_by_name(&end.interface).ok()?.stats;
        let mut counters =
            Counters { frames: stats.tx_packets, bytes: stats.tx_bytes, ..Counters::default() };
        if stats.tx_dropped > 0 {
            counters.drops.insert("dropped by the kernel".to_owned(), stats.tx_dropped);
        }
        Some((end.link, end.end, counters))
    };
    ends.into_iter().filter_map(one).collect()
}
