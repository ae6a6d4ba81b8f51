//! Runs a packet engine over TUN/TAP devices, sockets and files, on one thread.
//!
//! A [`Runner`] owns an engine ([`adit_engine::Engine`]: a switch, a tunnel, a NAT, or one of your own)
//! and its ports, and moves packets between them. A port is a TAP device, an interface, a Unix socket, a
//! VXLAN remote, a recording ([`PortSpec`]), or a type of your own ([`Port`]).
//!
//! ```
//! use adit_engine::PortId;
//! use adit_engine::switch::{PortConfig, Switch, SwitchConfig};
//! use adit_packet::{Pool, PoolConfig};
//! use adit_runtime::port::stream::StreamPort;
//! use adit_runtime::{Event, Next, Handler, Runner};
//! use std::io::{Read, Write};
//! use std::os::unix::net::UnixStream;
//!
//! struct Owner;
//!
//! impl Handler<Switch> for Owner {
//!     fn event(&mut self, _: &mut Runner<Switch>, event: Event) -> Next {
//!         match event {
//!             Event::Alarm => Next::Stop,
//!             _ => Next::Continue,
//!         }
//!     }
//! }
//!
//! // A switch with two guests on streams, as QEMU's `-netdev stream` is one.
//! let mut config = SwitchConfig::default();
//! config.loop_guard.enabled = false; // it would send probes between our frames
//! let switch = Switch::new(config)?;
//! let mut runner = Runner::new(switch, Pool::new(PoolConfig::default()))?;
//! let mut guests = Vec::new();
//! for id in [PortId(0), PortId(1)] {
//!     let (ours, theirs) = UnixStream::pair()?;
//!     runner.engine_mut().add_port(id, PortConfig::default())?;
//!     runner.attach(id, Box::new(StreamPort::socket("guest", ours.into())?))?;
//!     guests.push(theirs);
//! }
//! let remote = runner.remote()?;
//! let running = std::thread::spawn(move || runner.run(&mut Owner));
//!
//! // A broadcast of the first guest, with its length before it, reaches the second.
//! let mut frame = 60_u32.to_be_bytes().to_vec();
//! frame.extend([0xff; 6]);
//! frame.extend([2; 54]);
//! guests[0].write_all(&frame)?;
//! let mut received = vec![0; frame.len()];
//! guests[1].read_exact(&mut received)?;
//! assert_eq!(received, frame);
//!
//! remote.post(|runner| runner.set_alarm(Some(runner.now())))?;
//! running.join().expect("the loop does not panic")?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Theory of operation
//!
//! One thread sleeps in epoll until a port, a listener, a watched descriptor, a signal, another thread
//! or the timer is ready. A ready port is read until it has nothing more or has had its share of 64 frames.
//! Each packet goes to the engine at once. What the engine sends leaves after each super-packet, while
//! it is still in the cache, and otherwise after every 64 KiB, so that small packets can be joined. A
//! port that takes no more has a bounded queue of its own and waits for its descriptor alone; past the
//! bound its packets are dropped and counted. Whatever happens beside packets (a port ended, a connection
//! was accepted, a signal came) is an [`Event`] for the [`Handler`], between two batches and on the same
//! thread.
//!
//! A turn costs what is ready: deadlines stand in a heap, ports and flows are found by their numbers. No
//! packet allocates memory after a warm-up.
//!
//! The timer is absolute, on `CLOCK_BOOTTIME`, and set again only when the earliest deadline changes. A
//! thread wakes up late, by 15 to 30 us from an idle core: the timer is set early by what its own wakes
//! show, and packets that ended a sleep are stamped earlier by as much.
//!
//! | folder | what |
//! |---|---|
//! | `runner` | [`Runner`]: an engine, its ports and the loop; nested in another loop by its descriptor and [`Runner::turn`]; asked from other threads by [`Remote`]; behind a port of another loop ([`Nested`], [`Segment`]) |
//! | [`port`] | [`Port`] and [`Hub`], the kinds of port, `tap:a,netns=blue` |
//! | `peer` | [`PeerSockets`]: UDP sockets by which an engine reaches peers |
//! | `socket` | UDP and Unix sockets, the sockets of an engine's flows |
//! | `wake` | epoll, clock, signals, links, namespaces, priority |
//! | [`mod@format`] | framings and recordings: pure, bounded, fuzzed |
//! | [`record`] | pcapng files with rotation, and output that never blocks |
//! | [`text`] | the grammar of a port's text; namespaces, users and groups as people write them |
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
pub use peer::counters::PeerCounters;
pub use peer::sockets::{PeerOptions, PeerSockets};
pub use peer::sources::path_mtu;
pub use port::kind::{Kind, Opened};
pub use port::spec::PortSpec;
pub use port::{Cx, Gone, Hub, HubCx, HubRecv, Port, PortCounters, Recv, Wait};
pub use runner::accelerator::{Acceleration, LeftOut, SYSCALLS as ACCELERATION_SYSCALLS};
pub use runner::event::{Event, Next};
pub use runner::hubs::ListenerId;
pub use runner::nested::Nested;
pub use runner::segment::{Observer, Segment, SegmentEvent, SegmentOwner};
pub use runner::turns::TurnTimes;
pub use runner::{Handler, Runner};
pub use socket::flow::SYSCALLS as FLOW_SYSCALLS;
pub use socket::relay::Relay;
pub use socket::splice::SpliceCounts;
pub use socket::unix::remove_dead_socket;
pub use wake::clock::now;
pub use wake::mailbox::{CallError, Remote};
pub use wake::namespaces::NamespaceName;
pub use wake::priority::RaisedPriority;
pub use wake::reactor::{Interest, Token};
pub use wake::signals::{Signal, Signals};

pub use socket::udp::ask_for_the_kernel;

/// The system calls that a loop makes whose ports are devices, by name: the lists stand beside the code that makes
/// them. For a seccomp filter.
pub fn loop_syscalls() -> impl Iterator<Item = &'static [&'static str]> {
    [
        wake::reactor::SYSCALLS,
        wake::clock::SYSCALLS,
        wake::mailbox::SYSCALLS,
        wake::links::SYSCALLS,
        port::kinds::device::SYSCALLS,
    ]
    .into_iter()
}

/// Those of the other kinds of ports, which another process opens.
pub fn port_syscalls() -> impl Iterator<Item = &'static [&'static str]> {
    [
        port::kinds::interface::SYSCALLS,
        port::kinds::unix::SYSCALLS,
        port::datagram::SYSCALLS,
        socket::udp::SYSCALLS,
    ]
    .into_iter()
    .chain(record_syscalls())
}

/// Those of recordings.
pub fn record_syscalls() -> impl Iterator<Item = &'static [&'static str]> {
    [record::rotate::SYSCALLS, record::sink::SYSCALLS].into_iter()
}

/// Those of sockets to peers, and of streams of messages.
pub fn peer_syscalls() -> impl Iterator<Item = &'static [&'static str]> {
    [peer::sockets::SYSCALLS, port::messages::SYSCALLS].into_iter()
}

/// Those of a loop whose engine has flows, which the kernel may splice.
pub fn syscalls() -> impl Iterator<Item = &'static [&'static str]> {
    let flows = [record::sink::SYSCALLS, FLOW_SYSCALLS, socket::splice::SYSCALLS];
    loop_syscalls().chain(flows)
}

/// The example of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

#[cfg(test)]
mod tests;
