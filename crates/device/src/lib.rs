//! TUN and TAP devices on Linux.

mod bpf;
mod filter;
mod name;
pub mod netlink;
mod netns;
mod steering;
mod sys;
mod vnet_hash;

pub use adit_packet::{MacAddr, ParseMacError};
pub use bpf::{EbpfProgram, Instruction, LoadError};
pub use filter::{ClassicFilter, ClassicInstruction, FILTER_LEN_MAX, FilterError, FilterProblem};
pub use name::{IfIndex, IfName, NAME_LEN_MAX, NameError, NamePattern};
pub use netns::Netns;
pub use steering::{
    HashReport, HashTypes, INDIRECTION_LEN_MAX, IndirectionError, IndirectionTable, Mode,
    PacketHash, PacketHasher, RSS_KEY_LEN, Rss, RssConfig,
};
pub use vnet_hash::{VnetHash, VnetHashCap};
