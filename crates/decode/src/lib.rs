//! Packets as people and programs read them: a line, a tree, an object of JSON.
//!
//! ```text
//! bytes + Meta -> Packet -> line, tree, JSON
//!                      -> Summary -> charts
//! ```
//!
//! ```
//! use adit_decode::Packet;
//! use adit_runtime::format::pcapng::{LinkType, Meta};
//!
//! // An IPv4 header of a UDP datagram, and the datagram: port 1024 to port 53, without content.
//! let bytes = [
//!     0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17, 0xce, 0xcb, 10, 0, 0, 1, 10, 0, 0, 2, 4, 0, 0, 53, 0, 8, 0, 0,
//! ];
//! let packet = Packet::decode("tun0", LinkType::Raw, &Meta::default(), &bytes);
//! assert_eq!(packet.udp.as_ref().map(|udp| udp.destination_port), Some(53));
//! ```
//!
//! [`Packet`] has only numbers, addresses and words of this crate, so no text from a packet reaches a terminal.
#![forbid(unsafe_code)]

mod icmp;
mod local_time;
mod packet;
mod summary;
mod tcp;

#[cfg(test)]
mod tests;

pub use icmp::Icmp;
pub use packet::{Arp, Direction, Ethernet, Fragment, Gso, Ip, Packet, Udp, Vlan, hex_dump};
pub use summary::Summary;
pub use tcp::Tcp;

/// The example of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
