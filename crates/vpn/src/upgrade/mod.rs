//! A tunnel continues as another process, of the program that is installed now.
//!
//! ```text
//! this process                                    the new one, started with --take-over
//!   start it ------------------------------------->  reads options and files, opens what needs no state
//!   <------------------------------------- Hello --  the format that it reads
//!   (packets wait in the kernel from here on)
//!   State: keys, counters, timers, descriptors ---->  restores everything, touches no packet
//!   <------------------------------------- Ready --
//!   Go ------------------------------------------->
//!   <----------------------------------- Running --  (packets move again)
//!   <------------------------------------- Named --  its process number is in the lock
//!   reports the new process to the service manager, answers the client, ends
//! ```
//!
//! Whatever fails before `Running`, the new process is killed, and this one continues as if nothing had been: it has
//! changed nothing, and the new one has used none of the counters. The state crosses a socket and is in no file.
//!
//! The process is another one, not this one after exec(2): a program that cannot be executed, does not understand the
//! state or crashes must not end the tunnel. Without a service manager the old process waits for the new one, so that
//! its process number, its terminal and its exit status stay those of the tunnel.

mod channel;
pub mod predecessor;
pub mod successor;
pub mod waiter;

use crate::streams::StreamsState;
use adit_runtime::PeerOptions;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// The version of the format: any change of what crosses is another format.
pub const VERSION: u16 = 2;

/// What a process says first.
#[derive(Debug, Serialize, Deserialize)]
struct Hello {
    /// The format that it reads.
    version: u16,
    /// The format of the engine's state.
    state: u16,
    /// The version of the program, for people.
    program: String,
}

impl Hello {
    fn new() -> Self {
        let program = env!("CARGO_PKG_VERSION").to_owned();
        Self { version: VERSION, state: adit_tunnel::STATE_VERSION, program }
    }
}

/// What crosses besides the state of the engine. Descriptors are in the order of the fields.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Passed {
    /// The process before.
    pub pid: u32,
    /// Whether it waits for the new one, which ends if it does.
    pub waits: bool,
    /// The name of the tunnel.
    pub name: String,
    /// Whether the device is a TAP.
    pub is_tap: bool,
    /// The MTU of the device, and the one that peers are assumed to take.
    pub mtu: u32,
    /// See [`Plan::tunnel_mtu`](crate::host::plan::Plan).
    pub tunnel_mtu: u32,
    /// How the UDP sockets are: port, mark, source.
    pub udp: (u16, u32, Option<IpAddr>),
    /// Which UDP sockets there are: for IPv4, for IPv6.
    pub sockets: [bool; 2],
    /// Whether there is a control socket: two descriptors, its lock and its listener.
    pub control: bool,
    /// Whether clients of the metrics are listened for, and whether they get the page as well.
    pub metrics: Option<bool>,
    /// Whether there is a socket for `wg`.
    pub uapi: bool,
    /// The TCP port that is listened on.
    pub tcp: Option<u16>,
    /// Peers by TCP, with a descriptor for each stream.
    pub streams: StreamsState,
    /// The keys of the peers that are connected.
    pub present: Vec<[u8; 32]>,
    /// What was changed on the host.
    pub ledger: Vec<u8>,
}

impl Passed {
    /// The options of the UDP sockets.
    #[must_use]
    pub const fn options(&self) -> PeerOptions {
        let (port, mark, source) = self.udp;
        PeerOptions { port, mark, source }
    }
}
