//! TUN and TAP devices on Linux.

mod cause;
mod device;
mod diagnose;
mod error;
mod layout;
mod link;
mod name;
pub mod netlink;
mod netns;
mod offload;
mod open;
mod options;
mod order;
mod queue;
mod sys;
#[cfg(feature = "tokio")]
mod tokio;

pub use adit_packet::{
    Batch, Endian, Gso, MacAddr, PacketBuf, PacketInfo, Pair, ParseMacError, Pool, PoolConfig,
    VnetHeader, VnetLen,
};
pub use cause::Cause;
pub use device::Device;
pub use error::{Error, ErrorKind, Result};
pub use layout::{Layout, Mode, Record, VnetFormat};
pub use link::Link;
pub use name::{IfIndex, IfName, NAME_LEN_MAX, NameError, NamePattern};
pub use netns::Netns;
pub use offload::{Offload, OffloadChoice};
pub use options::{Create, DeviceOptions, QUEUES_MAX};
pub use queue::{BatchSent, Queue, RECORD_LEN_MAX, Ready};
#[cfg(feature = "tokio")]
pub use tokio::{AsyncQueue, Framed};
