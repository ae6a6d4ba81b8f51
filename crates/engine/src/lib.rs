//! The contract of the engines: packets in, packets out, time as an argument.
//!
//! An engine is a state machine for packets: a switch, a tunnel, a NAT. It has no clock, no socket,
//! no thread and no randomness of its own, so one and the same engine runs in the program's loop, in
//! a simulator and in a test, and a run can be repeated. This hub sends what it gets to every other
//! port:
//!
//! ```
//! use adit_engine::{DropReason, Endpoint, Engine, Handled, Outbox, PortId};
//! use adit_packet::{Batch, Instant, PacketBuf, Pool, PoolConfig};
//!
//! struct Hub {
//!     ports: Vec<PortId>,
//! }
//!
//! impl Engine for Hub {
//!     fn handle(
//!         &mut self,
//!         _: Instant,
//!         from: Endpoint,
//!         packet: PacketBuf,
//!         out: &mut Outbox,
//!     ) -> Handled {
//!         let mut others = self.ports.iter().map(|&port| Endpoint::Port(port)).filter(|&to| to != from);
//!         match others.next_back() {
//!             Some(last) => {
//!                 for to in others {
//!                     out.send_copy(to, &packet); // flooding copies ...
//!                 }
//!                 out.send(last, packet); // ... and the last port gets the original
//!             }
//!             None => out.discard(packet, DropReason::NO_DESTINATION),
//!         }
//!         Handled::NOTHING
//!     }
//! }
//!
//! // What a loop does: hand over what was received, then send what came out.
//! let mut hub = Hub { ports: vec![PortId(0), PortId(1), PortId(2)] };
//! let mut out = Outbox::new(Pool::new(PoolConfig::default()));
//! let mut packet = out.pool().take(5).expect("a fresh pool");
//! packet.extend(b"hello")?;
//! hub.handle(Instant::ZERO, Endpoint::Port(PortId(1)), packet, &mut out);
//!
//! let (mut batch, mut sent_to) = (Batch::new(), Vec::new());
//! while let Some(to) = out.next_group(&mut batch) {
//!     assert_eq!(batch.as_slice()[0].bytes(), b"hello");
//!     sent_to.push(to);
//!     batch.give_all(out.pool());
//! }
//! assert_eq!(sent_to, [Endpoint::Port(PortId(0)), Endpoint::Port(PortId(2))]);
//! assert!(out.counts().balance(1, hub.held()));
//! # Ok::<(), adit_packet::NoRoom>(())
//! ```
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

#[cfg(test)]
#[path = "../../packet/tests/cases/mod.rs"]
mod cases;
mod codel;
mod contract;
mod counter;
mod datagrams;
mod drop_counts;
mod drop_reason;
mod endpoint;
pub mod fast_path;
pub mod flow;
mod flow_hash;
mod flow_queue;
mod hub;
pub mod netem;
mod outbox;
pub mod patch;
pub mod switch;

pub use codel::{CoDel, Sojourn};
pub use contract::{Engine, Handled};
pub use counter::Counter;
pub use datagrams::datagrams;
pub use drop_counts::DropCounts;
pub use drop_reason::{DropReason, Reason};
pub use endpoint::{Endpoint, PortId};
pub use flow::{FlowError, FlowEvent, FlowId, FlowRequest, Request, Transport};
pub use flow_queue::FlowQueue;
pub use hub::Hub;
pub use outbox::{Counts, Outbox, Relay};

/// The examples of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
