//! Links, addresses, routes and rules of a network namespace, through routing netlink
//! (rtnetlink(7)), with blocking calls.
//!
//! One [`Netlink`] is a socket in one network namespace. Reading requires no privileges:
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
//! Links are identified by index, so that a rename breaks nothing. Names, aliases and labels are
//! bytes, as in the kernel.
//!
//! # Errors
//!
//! Every call returns an [`std::io::Error`]. If the kernel gave a message, the error prints it, and
//! [`NetlinkError::of`] finds it. [`raw_errno`] returns the errno in either case; `raw_os_error`
//! alone does not.

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

/// Decodes a datagram as every kind of answer and event; returns how many were valid.
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
