//! Packets as bytes: buffers, header views, checksums, flow keys and the virtio-net header.
//!
//! No operating system, no clock, no sockets: the same code serves a TUN queue, a simulated wire
//! and a test. Words: a *frame* is layer 2, a *packet* layer 3. Nothing here panics on any bytes.
//!
//! A packet arrives in a buffer of the thread's [`Pool`], is parsed, edited in place and given back:
//!
//! ```
//! use adit_packet::{Pool, PoolConfig, checksum};
//!
//! let mut pool = Pool::new(PoolConfig::default());
//! let mut packet = pool.take(28).expect("the pool is not used up");
//! // An echo request, as ping makes it: IPv4 header, then ICMP type 8.
//! packet.extend(&[0x45, 0, 0, 28, 0, 0, 0, 0, 64, 1, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2])?;
//! packet.extend(&[8, 0, 0, 0, 0, 7, 0, 1])?;
//! let header_sum = checksum::of(&packet.bytes()[..20]);
//! packet.bytes_mut()[10..12].copy_from_slice(&header_sum.to_be_bytes());
//! assert_eq!(checksum::of(&packet.bytes()[..20]), 0, "a header with its checksum sums to nothing");
//!
//! // Headers are put before the packet without moving it.
//! packet.prepend(14).expect("256 bytes of headroom").fill(0xff);
//! assert_eq!(packet.len(), 42);
//! pool.give(packet);
//! # Ok::<(), adit_packet::NoRoom>(())
//! ```
#![no_std]
#![forbid(unsafe_code)]
#![warn(clippy::indexing_slicing)]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod arp;
mod batch;
mod buffer;
pub mod checksum;
mod coalesce;
mod ecn;
mod ethernet;
mod flow;
pub mod icmp;
mod ipv4;
mod ipv6;
mod mac;
mod malformed;
mod pi;
mod pool;
mod ports;
mod prefix;
mod rss;
mod segment;
mod tcp;
mod time;
mod udp;
pub mod units;
mod vnet;

pub use arp::{Arp, ArpOperation};
pub use batch::Batch;
pub use buffer::{Meta, NoRoom, PacketBuf};
pub use coalesce::{Coalescer, Train, Trains};
pub use ecn::Ecn;
pub use ethernet::{Ethernet, EthernetHeader, VlanTag, ether_type};
pub use flow::{FlowKey, Headers, IpVersion};
pub use icmp::{Icmp, IcmpHeader, Neighbour, NeighbourKind};
pub use ipv4::{Ipv4, Ipv4Header, Ipv4Mut, ip_protocol};
pub use ipv6::{Fragment, Ipv6, Ipv6Header, Ipv6Mut, UpperLayer};
pub use mac::{MacAddr, ParseMacError};
pub use malformed::Malformed;
pub use pi::PacketInfo;
pub use pool::{Pair, Pool, PoolConfig};
pub use prefix::{IpFamily, IpPrefix, PrefixError, mask_v4, mask_v6};
pub use rss::{HashTypes, Toeplitz, ToeplitzKey, rss_hash};
pub use segment::{Layer, Segment, SuperPacket, finish_checksum};
pub use tcp::{Tcp, TcpFlags, TcpHeader, TcpMut, TcpOption, TcpOptions};
pub use time::Instant;
pub use udp::{Udp, UdpHeader, UdpMut};
pub use vnet::{Endian, Gso, HashReport, Tunnel, VnetHash, VnetHeader, VnetLen};
