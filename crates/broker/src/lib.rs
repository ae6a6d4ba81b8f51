#![doc = include_str!("../README.md")]
//!
//! ```text
//! DeviceOptions::open, Netlink::open_in ... -> Request, descriptors -> Broker -- socket --> the other process
//!                      ^                                                                       |
//!                      '------------------------- descriptors, or the failure -----------------'
//! ```
//!
//! | file | what |
//! |---|---|
//! | `request` | [`Request`], [`Broker`], [`Failure`] |
//! | `sockets` | sockets of UDP, TCP and Unix |
//! | `recordings` | files of packets |
//! | `wire` | plain data as bytes |
#![forbid(unsafe_code)]

mod paths;
mod recordings;
mod request;
mod sockets;
pub mod wire;

pub use paths::{absolute, stat_of};
pub use recordings::{create_recording, open_recording, play_for_another, record_for_another};
pub use request::{
    BpfMap, Broker, Failure, FailureDetails, InetSocket, PacketRequest, Request, UnixSocket,
    install, is_installed, open, open_all, open_refused, with,
};
pub use sockets::{SetMark, open_inet, open_unix, remove_for_another, remove_socket, set_mark};
