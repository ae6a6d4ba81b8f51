//! The list of the kinds of port: all that can be written as text. A new kind is a file in this folder
//! and two lines here.

pub mod device;
pub mod fd;
pub mod interface;
pub mod pcap;
pub mod stdio;
pub mod unix;
pub mod vxlan;

use crate::port::kind::Kind;

/// Every kind that [`PortSpec`](crate::PortSpec) parses, in the order of the help.
pub static KINDS: &[&Kind] = &[
    &device::TAP,
    &device::TUN,
    &interface::DEV,
    &unix::UNIX,
    &vxlan::VXLAN,
    &stdio::STDIO,
    &pcap::PCAP,
    &fd::FD,
];

/// The help for all kinds, one line each.
#[must_use]
pub fn help() -> String {
    KINDS.iter().map(|kind| format!("{}\n", kind.help_line())).collect()
}
