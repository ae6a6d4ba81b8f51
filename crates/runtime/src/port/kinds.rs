//! The list of the kinds of port. A new kind is a file beside this one and a line here.

use crate::port::kind::Kind;
use crate::port::{device, interface, pcap, stdio, unix, vxlan};

/// Every kind that [`PortSpec`](crate::PortSpec) parses, in the order of the help.
pub static KINDS: &[&Kind] = &[
    &device::TAP,
    &device::TUN,
    &interface::DEV,
    &unix::UNIX,
    &vxlan::VXLAN,
    &stdio::STDIO,
    &pcap::PCAP,
];

/// The help for all kinds, one line each.
#[must_use]
pub fn help() -> String {
    KINDS.iter().map(|kind| format!("{}\n", kind.help_line())).collect()
}
