//! TUN and TAP devices on Linux.

mod name;
pub mod netlink;
mod netns;
mod sys;

pub use adit_packet::{MacAddr, ParseMacError};
pub use name::{IfIndex, IfName, NAME_LEN_MAX, NameError, NamePattern};
pub use netns::Netns;
