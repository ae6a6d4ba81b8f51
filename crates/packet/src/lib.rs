#![doc = include_str!("../README.md")]
//!
//! # Overview
//!
//! - [`Pool`], [`PacketBuf`], [`Batch`]: buffers with headroom, and lists of them.
//! - [`Ethernet`], [`Arp`], [`Ipv4`], [`Ipv6`], [`Tcp`], [`Udp`], [`Icmp`]: views of headers, with
//!   `...Mut` types that edit in place and keep checksums valid, and `...Header` types that write new
//!   ones. [`Headers`] finds all headers of a packet in one pass; [`FlowKey`] identifies its flow.
//! - [`VnetHeader`], [`SuperPacket`], [`Coalescer`]: super-packets, segmented and joined.
//! - [`checksum`], [`Toeplitz`]: the Internet checksum, and the RSS hash.
//! - [`filter`]: filters of classic BPF.
//! - [`IpPrefix`], [`MacAddr`], [`units`]: addresses and quantities as text.
//!
//! Words: a *frame* is layer 2, a *packet* layer 3. No function panics on any input.
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
pub mod filter;
mod flow;
mod hardware;
pub mod icmp;
pub mod ip_protocol;
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
pub use hardware::{HARDWARE_ADDRESS_LEN_MAX, HardwareAddress, HardwareType};
pub use icmp::{Icmp, IcmpHeader, Neighbour, NeighbourKind};
pub use ipv4::{Ipv4, Ipv4Header, Ipv4Mut};
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
