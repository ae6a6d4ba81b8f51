//! TUN and TAP devices on Linux.

mod adopt;
mod bpf;
mod cause;
mod device;
mod diagnose;
mod error;
mod filter;
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
mod queue;
mod steering;
mod sys;
mod vnet_hash;

pub use adit_packet::{
    Batch, Endian, Gso, HashReport, MacAddr, PacketBuf, PacketInfo, Pair, ParseMacError, Pool,
    PoolConfig, VnetHash, VnetHeader, VnetLen,
};
pub use bpf::{EbpfProgram, Instruction, LoadError};
pub use cause::Cause;
pub use device::Device;
pub use error::{Error, ErrorKind, Result};
pub use filter::{ClassicFilter, ClassicInstruction, FILTER_LEN_MAX, FilterError, FilterProblem};
pub use layout::{Layout, Mode, Record, VnetFormat};
pub use link::Link;
pub use name::{IfIndex, IfName, NAME_LEN_MAX, NameError, NamePattern};
pub use netns::Netns;
pub use offload::{Offload, OffloadChoice};
pub use options::{Create, DeviceOptions, QUEUES_MAX};
pub use packet_socket::{
    PACKET_SOCKET_LEN_MAX, PacketSocket, PacketSocketOptions, PacketStatistics, ReceivedPacket,
};
pub use queue::{BatchSent, Queue, RECORD_LEN_MAX, Ready};
pub use steering::{
    HashTypes, INDIRECTION_LEN_MAX, IndirectionError, IndirectionTable, PacketHasher, RSS_KEY_LEN,
    Rss, RssConfig,
};
pub use vnet_hash::{VnetHashCap, VnetHashConfig};
