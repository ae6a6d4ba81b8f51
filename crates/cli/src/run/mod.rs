//! The loop that runs an engine over real devices and sockets.
//!
//! # Theory of operation
//!
//! One thread sleeps in epoll until a port, a listener, a watched descriptor, a signal or the timer
//! is ready. A ready port is read until it has nothing more or has had its share ([`FRAMES_MAX`]);
//! each packet goes to the engine at once, and what the engine sends leaves after each super-packet,
//! while it is still in the cache, and after every [`CHUNK_LEN`] bytes of others, so that they can be
//! joined. A port that takes no more has a bounded queue of its
//! own and waits for its descriptor alone; past the bound its packets are dropped and counted. What
//! happens beside packets (a port went, a guest came, a signal) is an [`Event`] for the [`Handler`],
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

mod byte_stream;
mod clock;
mod datagram;
mod device;
mod egress;
mod event;
pub(crate) mod exercise;
mod framing;
mod interface;
mod links;
mod listener;
mod messages;
mod mirror;
mod namespaces;
mod netem;
mod open;
mod peers;
mod port;
mod priority;
mod reach;
mod reactor;
mod recording;
mod replay;
mod runner;
mod serve;
mod shared;
mod signals;
mod sources;
mod spec;
mod stream;
mod udp;
mod unfinished;
mod vxlan;
mod vxlan_header;

pub(crate) use event::{Event, Flow, Gone, Handler, Interest, Signal, Token};
pub(crate) use listener::Listener;
pub(crate) use netem::PortNetem;
pub(crate) use open::Opened;
pub(crate) use peers::{PeerCounters, PeerOptions, PeerSockets, path_mtu};
pub(crate) use port::{Port, PortCounters};
pub(crate) use priority::Ahead;
pub(crate) use runner::{ListenerId, Runner};
pub(crate) use spec::{PortKind, PortSpec, SpecError};

#[cfg(test)]
mod tests;
