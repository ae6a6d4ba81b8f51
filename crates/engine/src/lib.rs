//! The contract of the engines: packets in, packets out, time as an argument.
//!
//! An engine is a state machine for packets: a switch, a tunnel, a NAT. It has no clock, no socket,
//! no thread and no randomness of its own, so one and the same engine runs in the program's loop, in
//! a simulator and in a test, and a run can be repeated. This hub sends what it gets to every other
//! port:
//!
//! ```
//! use adit_engine::{DropReason, Endpoint, Engine, Outbox, PortId};
//! use adit_packet::{Batch, Instant, PacketBuf, Pool, PoolConfig};
//!
//! struct Hub {
//!     ports: Vec<PortId>,
//! }
//!
//! impl Engine for Hub {
//!     fn handle(&mut self, _: Instant, from: Endpoint, packet: PacketBuf, out: &mut Outbox) {
//!         let mut others = self.ports.iter().map(|&port| Endpoint::Port(port)).filter(|&to| to != from);
//!         let Some(last) = others.next_back() else {
//!             return out.discard(packet, DropReason::NoDestination);
//!         };
//!         for to in others {
//!             out.send_copy(to, &packet); // flooding copies ...
//!         }
//!         out.send(last, packet); // ... and the last port gets the original
//!     }
//!
//!     fn next_timeout(&self) -> Option<Instant> {
//!         None
//!     }
//!
//!     fn handle_timeout(&mut self, _: Instant, _: &mut Outbox) {}
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
//!
//! # Testing an engine
//!
//! With the feature `sim`, [`sim::Sim`] puts an engine into a network of hosts with a TCP/IP stack, in
//! virtual time. It checks after each step that no packet and no buffer was lost. Here the hub is tried
//! by two hosts while its third port has no device any more:
//!
#![cfg_attr(feature = "sim", doc = "```")]
#![cfg_attr(not(feature = "sim"), doc = "```ignore")]
//! # use adit_engine::{DropReason, Endpoint, Engine, Outbox, PortId};
//! # use adit_packet::{Instant, PacketBuf};
//! # struct Hub {
//! #     ports: Vec<PortId>,
//! # }
//! # impl Engine for Hub {
//! #     fn handle(&mut self, _: Instant, from: Endpoint, packet: PacketBuf, out: &mut Outbox) {
//! #         for &port in self.ports.iter().filter(|&&port| Endpoint::Port(port) != from) {
//! #             out.send_copy(Endpoint::Port(port), &packet);
//! #         }
//! #         out.discard(packet, DropReason::SamePort);
//! #     }
//! #     fn next_timeout(&self) -> Option<Instant> {
//! #         None
//! #     }
//! #     fn handle_timeout(&mut self, _: Instant, _: &mut Outbox) {}
//! # }
//! use adit_engine::sim::{Fault, HostConfig, Sim, for_each_seed};
//! use core::time::Duration;
//!
//! for_each_seed(10, |seed| {
//!     let mut sim = Sim::new(seed);
//!     let hub = sim.engine("hub", Hub { ports: vec![PortId(0), PortId(1), PortId(2)] });
//!     let a = sim.host("a", "192.0.2.1/24");
//!     // This one sends super-packets, as a kernel does through a TAP device.
//!     let b = sim.host("b", HostConfig::new("192.0.2.2/24").with_super_packets());
//!     let c = sim.probe("c");
//!     sim.wire(a, hub.port(0));
//!     sim.wire(b, hub.port(1));
//!     sim.wire(c, hub.port(2));
//!     sim.fault(c, Fault::Gone);
//!
//!     let server = sim.tcp_listen(a, 80);
//!     let client = sim.tcp_connect(b, ([192, 0, 2, 1], 80).into());
//!     sim.tcp_send(client, &[7; 100_000]);
//!     sim.tcp_close(client);
//!     sim.run_for(Duration::from_secs(60)); // takes some milliseconds
//!     assert_eq!(sim.tcp_received(server).len(), 100_000);
//!     assert_eq!(sim.recv(c), None);
//! });
//! ```
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
// The simulator is for tests: it reads a seed from the environment and says which one failed.
#[cfg(any(test, feature = "sim"))]
extern crate std;

mod contract;
mod drop_reason;
pub mod netem;
mod outbox;
#[cfg(feature = "sim")]
pub mod sim;
pub mod switch;
#[cfg(feature = "tunnel")]
pub mod tunnel;

pub use contract::{Endpoint, Engine, PortId};
pub use drop_reason::DropReason;
pub use outbox::{Counts, Outbox};
