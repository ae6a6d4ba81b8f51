//! The loop that runs an engine over real devices and sockets.
//!
//! # Theory of operation
//!
//! One thread sleeps in epoll until a port, a listener, a watched descriptor, a signal or the timer
//! is ready. A ready port is read until it has nothing more or has had its share ([`FRAMES_MAX`](runner::serve::FRAMES_MAX));
//! each packet goes to the engine at once, and what the engine sends leaves after each super-packet,
//! while it is still in the cache, and after every [`CHUNK_LEN`](runner::serve::CHUNK_LEN) bytes of others, so that they can be
//! joined. A port that takes no more has a bounded queue of its
//! own and waits for its descriptor alone; past the bound its packets are dropped and counted. What
//! happens beside packets (a port went, a guest came, a signal) is an [`Event`](event::Event) for the [`Handler`](event::Handler),
//! between two batches and on the same thread.
//!
//! The timer is absolute, on `CLOCK_BOOTTIME`, and set anew only when what it waits for changes. A thread
//! wakes up late, by 15 to 30 us from an idle core: the timer is set early by what its own wakes show, and
//! what ended a sleep is stamped as having come that much before.
//!
//! | file | what |
//! |---|---|
//! | `runner`, `serve`, `deliver` | the loop, its way in and its way out |
//! | `netem` | emulated links between a port and the engine |
//! | `priority` | that it goes before programs |
//! | `event`, `clock`, `reactor`, `signals`, `namespaces`, `links` | what wakes it |
//! | `spec`, `open` | a port as text, and what comes of it |
//! | `port`, `device`, `interface`, `stream`, `datagram`, `vxlan`, `replay` | the kinds of port |
//! | `peers`, `reach`, `sources` | UDP sockets by which an engine reaches peers |
//! | `mirror` | a file for copies of what passes |
//! | `listener`, `shared`, `udp` | sockets that several ports share |
//! | `framing`, `vxlan_header`, `recording`, `unfinished` | formats: pure, bounded, fuzzed |
//! | `egress` | the queue of a port that takes no more, and frames cut to what it takes |
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
