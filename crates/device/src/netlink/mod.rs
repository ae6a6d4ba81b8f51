//! Links, addresses, routes and rules of a network namespace, through the kernel's routing netlink:
//! blocking calls, no async runtime.
//!
//! One [`Netlink`] is one conversation with one network namespace. Reading needs no privilege:
//!
//! ```
//! use adit_device::netlink::Netlink;
//!
//! let mut netlink = Netlink::open()?;
//! for link in netlink.links()? {
//!     println!("{}: {}: <{}> mtu {}", link.index, link.name, link.flags, link.mtu);
//!     for (_, address) in netlink.addresses(Some(link.index))? {
//!         println!("    {} scope {}", address.local, address.scope);
//!     }
//! }
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! Links are known by their index, so that a rename breaks nothing. Names, aliases and labels are
//! bytes, as they are for the kernel.
//!
//! # Errors
//!
//! Every call gives an [`std::io::Error`]. Where the kernel says in words what it refuses, those are
//! the error's text, and [`NetlinkError::of`] finds them. [`raw_errno`] gives the number in either
//! case; `raw_os_error` alone does not.

mod addr;
mod change;
mod error;
mod family;
mod flags;
mod hardware;
mod link;
mod message;
mod monitor;
mod route;
mod rule;
mod socket;
mod stats;
#[cfg(test)]
mod tests;
mod tun;
mod uapi;

pub use addr::{Address, AddressFlags, Scope};
pub use adit_packet::{IpFamily, IpPrefix, PrefixError};
pub use change::LinkChange;
pub use error::{NetlinkError, raw_errno};
pub use flags::{AddrGenMode, LinkFlags, LinkMode, OperState};
pub use hardware::{HARDWARE_ADDRESS_LEN_MAX, HardwareAddress, HardwareType};
pub use link::LinkInfo;
pub use monitor::{Event, Monitor};
pub use route::{NextHop, ROUTE_PROTOCOL, Route, RouteKind, TABLE_LOCAL, TABLE_MAIN};
pub use rule::{FwMark, Rule, RuleAction};
pub use socket::{ANSWER_TIME_MAX, ENTRIES_MAX, LIST_ATTEMPTS_MAX, Netlink};
pub use stats::LinkStats;
pub use tun::{Mode, TunInfo};

/// Reads a datagram as each kind of answer and event that there is; gives how many were understood.
///
/// For fuzzing: no bytes may make it panic, hang, or use more memory than a small multiple of theirs.
#[doc(hidden)]
#[must_use]
pub fn decode_for_fuzzing(datagram: &[u8]) -> usize {
    let mut understood = 0;
    for message in message::messages(datagram) {
        let (flags, body) = (message.flags, message.body);
        understood += usize::from(monitor::event(&message).is_some());
        understood += usize::from(link::decode(body).is_some());
        understood += usize::from(addr::decode(body).is_some());
        understood += usize::from(route::decode(body).is_some());
        understood += usize::from(rule::decode(body).is_some());
        understood += usize::from(error::acknowledgement(flags, body).is_ok());
        understood += usize::from(error::end_of_dump(flags, body).is_ok());
    }
    understood
}
