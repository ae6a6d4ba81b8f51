//! The system calls that rustix does not cover: the only `unsafe` code of the project.
//!
//! The contract of this folder: one function per system call. It takes and returns owned or
//! borrowed descriptors and plain values, keeps no state, and returns `io::Result` with the
//! kernel's errno.
#![expect(unsafe_code, reason = "the only place where unsafe is allowed; see the contract above")]

pub(crate) mod bpf;
pub(crate) mod ethtool;
pub(crate) mod filter;
pub(crate) mod flow;
pub(crate) mod inherit;
pub(crate) mod memory;
pub(crate) mod name_service;
pub(crate) mod netlink;
pub(crate) mod netns;
pub(crate) mod packet_ring;
pub(crate) mod packet_socket;
pub(crate) mod process;
#[cfg(feature = "tokio")]
pub(crate) mod reactor;
mod request;
pub(crate) mod sandbox;
pub(crate) mod tun;
pub(crate) mod udp;
