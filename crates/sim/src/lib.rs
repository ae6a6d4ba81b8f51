//! A simulated network in virtual time.
//!
//! # Theory of operation
//!
//! A [`Sim`] is a set of nodes and of wires between their ports. A node is an [`Engine`](adit_engine::Engine) of any type, a
//! *host* with a TCP/IP stack (smoltcp), or a *probe*, which a test reads and writes by hand. Nothing
//! here reads a clock: time stands still while packets are handled and then jumps to the next moment
//! at which something is due, so a minute of an idle network costs nothing.
//!
//! ```text
//!        host "a"                       engine "switch"                       host "b"
//!   smoltcp | device ──port──  wire  ──port 0 │ Engine │ port 1──  wire  ──port── device | smoltcp
//!             cuts up, joins   delay,   Outbox, law: in + made             faults: down, gone,
//!             super-packets    netem    = sent + discarded + held          full, slow
//! ```
//!
//! One step does all work of one moment: scheduled faults, then arriving packets, then events of flows, then
//! timeouts of engines and stacks of hosts, each in the order of creation. So a run depends only on the scenario
//! and its seed, and has the same [trace](Sim::trace) each time. Work that becomes due at the same moment is done
//! in the next step. After [a number of them](Sim::STEPS_AT_ONCE) a nanosecond passes: time always moves.
//!
//! Two laws are checked after every step, for each engine and for the network between them:
//! *in + made = sent + discarded + absorbed + held*, and no buffer of a pool is lost. Any failure prints the last
//! lines of the trace and the seed; [`for_each_seed`] adds the command that replays it.
//!
//! ```
//! use adit_engine::netem::{Delay, Loss, Profile};
//! use adit_sim::{Fault, HostConfig, Sim};
//! use core::time::Duration;
//!
//! let mut sim = Sim::new(7);
//! let a = sim.host("a", HostConfig::new("192.0.2.1/24").with_super_packets());
//! let b = sim.host("b", "192.0.2.2/24");
//! let there = Profile { delay: Delay::constant(Duration::from_millis(20)), ..Profile::default() };
//! let back = Profile { loss: Loss::Random { share: 0.01 }, ..Profile::default() };
//! sim.wire_through(a, b, [&there, &back]);
//!
//! let ping = sim.ping(a, [192, 0, 2, 2].into());
//! sim.run_for(Duration::from_secs(1));
//! assert_eq!(sim.rtt(ping), Some(Duration::from_millis(40)), "for the address, then for the echo");
//! assert_eq!(sim.trace().lines().count(), 4);
//!
//! sim.fault(b, Fault::Down);
//! let ping = sim.ping(a, [192, 0, 2, 2].into());
//! sim.run_for(Duration::from_secs(1));
//! assert_eq!(sim.rtt(ping), None);
//! assert!(sim.trace().ends_with("b:0 loses 1 port down\n"));
//! ```
//!
//! # Testing an engine of your own
//!
//! A hub with three ports: two hosts use it while the device of its third port is gone.
//!
//! ```
//! use adit_engine::Hub;
//! use adit_sim::{Fault, HostConfig, Sim, for_each_seed};
//! use core::time::Duration;
//!
//! for_each_seed(10, |seed| {
//!     let mut sim = Sim::new(seed);
//!     let hub = sim.engine("hub", Hub::new(3));
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
extern crate std;

mod agenda;
mod device;
mod hops;
mod host;
mod ids;
mod ip;
mod network;
mod node;
mod outside;
mod port;
mod random;
mod receiver;
mod reno;
mod router;
mod scoreboard;
mod seeds;
mod seen;
mod sim;
mod trace;
mod udp;

pub use host::HostConfig;
pub use ids::{End, EngineId, HopsId, HostId, PingId, ProbeId, TcpId, UdpId};
pub use network::Crossing;
pub use outside::{Outside, RemoteId, Server};
pub use port::{Fault, PortCounts};
pub use random::Random;
pub use router::{Router, RouterConfig, RouterInterface, RouterRoute};
pub use seeds::for_each_seed;
pub use sim::Sim;

/// The examples of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
