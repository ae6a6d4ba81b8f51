//! TUN and TAP devices on Linux: typed, safe, complete.
//!
//! A TUN device hands a program IP packets, a TAP device Ethernet frames. [`DeviceOptions`] says what
//! a device is to be; [`Device`] is the device, with every setting; [`Queue`] moves packets.
//!
//! ```
//! use adit_device::{DeviceOptions, Mode, Netns};
//! use std::net::UdpSocket;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // A network namespace of our own, so that nobody's network is touched. It takes privilege, or
//! // `Netns::enter_new_rootless()` before the first thread; without either there is nothing to show.
//! if Netns::enter_new().is_err() {
//!     return Ok(());
//! }
//! let device = DeviceOptions::new(Mode::Tun)
//!     .name("vpn%d".parse()?)
//!     .address("192.0.2.1/24".parse()?)
//!     .up(true)
//!     .open()?;
//!
//! // Whatever the kernel routes to 192.0.2.0/24 now comes out of the queue.
//! UdpSocket::bind("192.0.2.1:0")?.send_to(b"hello", "192.0.2.77:9")?;
//! let mut buf = [0; adit_device::RECORD_LEN_MAX];
//! let packet = loop {
//!     let len = device.queues()[0].recv(&mut buf)?;
//!     if buf[0] >> 4 == 4 {
//!         break &buf[..len];
//!     }
//! };
//! assert!(packet.ends_with(b"hello"));
//! # Ok(())
//! # }
//! ```
//!
//! # What is where
//!
//! - [`DeviceOptions`], [`Create`]: make a device, attach to one, in any namespace.
//! - [`Device`], [`Link`]: settings, by index, wherever the device is moved to.
//! - [`Queue`], [`Layout`], [`Record`]: packets in and out, and what stands before them. With the
//!   feature `tokio`, `AsyncQueue`.
//! - [`Receiver`], [`Sender`]: batches with super-packets whole, cut up or joined, as asked.
//! - [`Offload`]: checksums and super-packets. [`Rss`], [`EbpfProgram`], [`ClassicFilter`]: which
//!   queue gets a packet, and how much of it.
//! - [`netlink`]: links, addresses, routes, rules and their events.
//! - [`Netns`]: namespaces. [`Device::adopt`], [`Device::receive`], [`Device::from_systemd`]:
//!   descriptors that somebody with more rights has opened.
//! - [`Error`], [`Cause`]: one cause for each failure, although the kernel has seven for one EINVAL.
//!
//! Sources: Linux `drivers/net/tun.c`, `Documentation/networking/tuntap.rst`.

mod adopt;
mod bpf;
mod cause;
mod device;
mod diagnose;
mod egress;
mod error;
mod features;
mod filter;
mod holders;
mod ingress;
mod layout;
mod link;
mod name;
pub mod netlink;
mod netns;
mod offload;
mod open;
mod options;
mod order;
mod packet_socket;
mod programs;
mod queue;
mod steering;
mod sys;
#[cfg(feature = "tokio")]
mod tokio;
mod udp;
mod vnet_hash;

pub use adit_packet::{
    Batch, Endian, Gso, HashReport, HashTypes, MacAddr, PacketBuf, PacketInfo, Pair, ParseMacError,
    Pool, PoolConfig, ToeplitzKey, VnetHash, VnetHeader, VnetLen,
};
pub use bpf::{EbpfProgram, Instruction, LoadError};
pub use cause::{Cause, CauseEntry};
pub use device::Device;
pub use egress::{GsoKind, SendCounters, SendOptions, Sender};
pub use error::{Error, ErrorKind, Result};
pub use features::Features;
pub use filter::{ClassicFilter, ClassicInstruction, FILTER_LEN_MAX, FilterError, FilterProblem};
pub use holders::{AllHolders, Holder, Holders, all_holders, holders};
pub use ingress::{ReceiveCounters, Receiver};
pub use layout::{Layout, Mode, Record, VnetFormat};
pub use link::Link;
pub use name::{IfIndex, IfName, NAME_LEN_MAX, NameError, NamePattern};
pub use netns::Netns;
pub use offload::{Offload, OffloadChoice};
pub use options::{Create, DeviceOptions, QUEUES_MAX};
pub use packet_socket::{
    PACKET_SOCKET_LEN_MAX, PacketSocket, PacketSocketOptions, PacketStatistics, ReceivedPacket,
    stop_time_stamps,
};
pub use queue::{BatchSent, Queue, RECORD_LEN_MAX, Ready};
pub use steering::{
    INDIRECTION_LEN_MAX, IndirectionError, IndirectionTable, PacketHasher, Rss, RssConfig,
};
#[cfg(feature = "tokio")]
pub use tokio::{AsyncQueue, Framed};
pub use udp::allow_ipv6_fragments;
pub use vnet_hash::{VnetHashCap, VnetHashConfig};
