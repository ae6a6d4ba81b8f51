//! Runs a packet engine over real devices, sockets and files, on one thread.
//!
//! # Theory of operation
//!
//! One thread sleeps in epoll until a port, a listener, a watched descriptor, a signal or the timer
//! is ready. A ready port is read until it is empty or has brought its share, 64 frames. Each packet
//! goes to the engine at once. The engine's output leaves after each super-packet, while it is still in
//! the cache, and after every 64 KiB of other packets, so that they can be joined. A port that cannot
//! take a packet has a bounded queue and waits for its own descriptor; when the queue is full, packets
//! are dropped and counted. Everything else that happens (a port is gone, a guest connected, a signal)
//! is an [`Event`] for the [`Handler`], between two batches and on the same thread.
//!
//! The timer is absolute, on `CLOCK_BOOTTIME`, and is set only when the next deadline changes. A thread
//! wakes up 15 to 30 us late from an idle core: the timer is set earlier by the lateness of recent
//! wakes, and what ended a sleep is stamped as having arrived that much before.
//!
//! | module | what it does |
//! |---|---|
//! | `runner` | the loop, with the state of ports, hubs and interfaces in parts of their own |
//! | [`port`] | [`Port`] and [`Hub`], the list of kinds of port, one file a kind |
//! | `socket` | sockets of the kernel that several kinds of port use |
//! | `peer` | UDP sockets by which an engine reaches peers |
//! | `netem` | emulated links between a port and the engine |
//! | `wake` | reactor, clock, timers, signals, links, namespaces, priority, calls from other threads |
//! | [`record`] | recordings: files, pipes, rotation |
//! | [`format`](mod@format) | framings and recordings as bytes: pure, bounded, fuzzed |
//! | [`text`] | names and numbers as users write them |
#![allow(
    missing_docs,
    missing_debug_implementations,
    clippy::new_without_default,
    clippy::len_without_is_empty,
    clippy::should_implement_trait,
    private_interfaces,
    reason = "moved; documented crate by crate"
)]
#![forbid(unsafe_code)]

pub mod error;
pub mod exercise;
pub mod format;
mod netem;
pub mod panics;
mod peer;
pub mod port;
pub mod record;
mod runner;
mod socket;
pub mod text;
mod wake;

pub use netem::PortNetem;
pub use peer::sockets::{PeerCounters, PeerOptions, PeerSockets, path_mtu};
pub use port::kind::{Kind, Opened};
pub use port::spec::PortSpec;
pub use port::{Cx, Gone, Hub, HubCx, HubRecv, Port, PortCounters, Recv, Wait};
pub use runner::event::{Event, Flow};
pub use runner::hubs::ListenerId;
pub use runner::{Handler, Runner};
pub use wake::clock::now;
pub use wake::mailbox::{CallError, Remote};
pub use wake::namespaces::NamespaceName;
pub use wake::priority::RaisedPriority;
pub use wake::reactor::{Interest, Token};
pub use wake::signals::{Signal, Signals};

#[cfg(test)]
mod tests;
