#![doc = include_str!("../README.md")]
//!
//! # Overview
//!
//! - [`DeviceOptions`], [`Create`]: create a device or attach to one, in any network namespace.
//! - [`Device`], [`Link`]: settings of an interface, which survive renames and moves.
//! - [`Queue`], [`Layout`], [`Record`]: packets in and out, and the headers before them. With the
//!   feature `tokio`, `AsyncQueue`.
//! - [`Receiver`], [`Sender`]: batches with super-packets whole, segmented or joined.
//! - [`Offload`]: checksums and super-packets. [`Rss`], [`EbpfProgram`], [`ClassicFilter`]: which
//!   queue gets a packet, and how much of it.
//! - [`bpf`]: an assembler for eBPF, maps, and programs on interfaces.
//! - [`netlink`]: links, addresses, routes, rules and their events.
//! - [`process`]: a copy of this process in other namespaces, signals with their origin.
//! - [`Netns`]: network namespaces. [`Device::adopt`], [`Device::receive`],
//!   [`Device::from_systemd`]: descriptors opened by a more privileged program.
//! - [`Error`], [`Cause`]: one cause for each failure, although the kernel has seven for one EINVAL.
//!
//! The kernel and this crate take opposite views: what the kernel transmits (tx), a queue receives.
//! This crate always speaks of the queue's side: receive is towards the program, send towards the kernel.
//!
//! Sources: Linux `drivers/net/tun.c`, `Documentation/networking/tuntap.rst`.

pub mod bpf;
#[cfg(test)]
#[path = "../../packet/tests/cases/mod.rs"]
mod cases;
mod cause;
mod control;
mod device;
mod egress;
mod error;
mod features;
mod filter;
mod flow;
mod holders;
mod ingress;
mod kind;
mod layout;
mod link;
mod memory;
mod name;
pub mod netlink;
mod netns;
mod offload;
mod options;
mod order;
mod packet_ring;
mod packet_socket;
pub mod process;
mod queue;
pub mod rights;
mod steering;
mod sys;
#[cfg(feature = "tokio")]
mod tokio;
mod udp;
mod vnet_hash;

pub use adit_broker as broker;
pub use adit_broker::{wire, wire_as, wire_enum, wire_structs};
pub use adit_packet::{
    Batch, Endian, Gso, HashReport, HashTypes, MacAddr, PacketBuf, PacketInfo, Pair, ParseMacError,
    Pool, PoolConfig, ToeplitzKey, VnetHash, VnetHeader, VnetLen,
};
pub use bpf::{EbpfProgram, Instruction, LoadError};
pub use cause::{Cause, CauseEntry, Reported};
pub use device::{Device, take_inherited};
pub use egress::{GsoKind, SendCounters, SendOptions, Sender};
pub use error::{Error, Result};
pub use features::Features;
pub use filter::{ClassicFilter, ClassicInstruction, FILTER_LEN_MAX, FilterError, FilterProblem};
pub use flow::{
    SocketError, discard_received, received_before_urgent, set_peek_offset, take_socket_error,
};
pub use holders::{AllHolders, Holder, Holders, all_holders, holders};
pub use ingress::{ReceiveCounters, Receiver};
pub use kind::ErrorKind;
pub use layout::{Layout, Mode, Record, VnetFormat};
pub use link::Link;
pub use memory::lock_memory;
pub use name::{IfIndex, IfName, NAME_LEN_MAX, NameError, NamePattern};
pub use netns::Netns;
pub use offload::{Offload, OffloadChoice};
pub use options::{Create, DeviceOptions};
pub use packet_ring::PacketRing;
pub use packet_socket::{
    PACKET_SOCKET_LEN_MAX, PacketSocket, PacketSocketOptions, PacketStatistics, ReceivedPacket,
    disable_timestamps,
};
pub use queue::{BatchSent, Queue, RECORD_LEN_MAX, Ready};
pub use steering::{
    INDIRECTION_LEN_MAX, IndirectionError, IndirectionTable, PacketHasher, Rss, RssConfig,
};
pub use sys::tun::QUEUES_MAX;
#[cfg(feature = "tokio")]
pub use tokio::{AsyncQueue, Framed};
pub use udp::{
    DATAGRAMS_MAX, ReceivedDatagrams, allow_ipv6_fragments, dropped_datagrams, recv_datagrams,
    report_icmp_errors,
};
pub use vnet_hash::{VnetHashCap, VnetHashConfig};
