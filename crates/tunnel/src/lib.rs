//! WireGuard tunnels without I/O, for layer 3 and layer 2.
//!
//! You bring the device, the transport and the clock: packets go in with [`Engine::handle`], datagrams
//! come out of the [`Outbox`], and [`Engine::next_timeout`] says when to call again. A loop looks like
//! this:
//!
//! ```
//! use adit_engine::{Endpoint, Engine, Outbox, PortId, datagrams};
//! use adit_packet::{Batch, Instant, Pool, PoolConfig};
//! use adit_tunnel::{PeerConfig, PrivateKey, Tunnel, TunnelConfig};
//!
//! # fn random(bytes: &mut [u8]) { bytes.fill(7) }
//! const DEVICE: PortId = PortId(0);
//! let theirs = "HIgo9xNzJMWLKASShiTqIybxZ0U3wGLiUeJ1PKf8ykw=".parse()?;
//! let private_key = Some(PrivateKey::from_bytes([9; 32])); // 32 bytes from getrandom, in truth
//! let config = TunnelConfig { private_key, device: Some(DEVICE), ..TunnelConfig::default() };
//! let mut tunnel = Tunnel::new(config, Box::new(random));
//! let mut peer = PeerConfig::new(theirs);
//! peer.endpoint = Some(Endpoint::Udp("192.0.2.1:51820".parse()?));
//! peer.allowed_ips = vec!["10.0.0.0/24".parse()?];
//! tunnel.set_peer(Instant::ZERO, peer);
//!
//! let mut out = Outbox::new(Pool::new(PoolConfig::default()));
//! let mut packet = out.pool().take(20).expect("a new pool has free buffers");
//! packet.extend(&[0x45, 0, 0, 20, 0, 0, 0, 0, 64, 1, 0, 0, 10, 0, 0, 2, 10, 0, 0, 1])?;
//! tunnel.handle(Instant::ZERO, Endpoint::Port(DEVICE), packet, &mut out);
//!
//! let mut batch = Batch::new();
//! let mut sent = Vec::new();
//! while let Some(to) = out.next_group(&mut batch) {
//!     for packet in batch.drain(..) {
//!         // A packet for a peer may be a train: send each of its datagrams, or the whole by UDP_SEGMENT.
//!         sent.extend(datagrams(&packet).map(|datagram| (to, datagram.len())));
//!         out.pool().give(packet);
//!     }
//! }
//! assert_eq!(sent, [(Endpoint::Udp("192.0.2.1:51820".parse()?), 148)], "a handshake begins");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Theory of operation
//!
//! A [`Tunnel`] has one private key and many peers, each identified by its public key. It is
//! wire-compatible with every WireGuard implementation. It was written from Donenfeld, "WireGuard: Next
//! Generation Kernel Network Tunnel", NDSS 2017; the code cites the section of each requirement.
//!
//! **Handshake.** `Noise_IKpsk2`, one message in each direction. The initiation proves its sender and
//! carries a timestamp that never decreases; the response gives new keys. Each side keeps at most three
//! sessions per peer: the current one, the previous one, whose packets are still under way, and one
//! that waits for the initiator's first packet. The initiator renews a session by time and by count. A
//! side that sent and receives nothing starts a new handshake. [`Timing`] holds all intervals.
//!
//! **Silence.** A message without a valid MAC under our public key gets no answer. Valid handshakes are
//! processed up to a budget, first per source, then in total. Beyond it a sender must prove its address
//! with a cookie (64 bytes in answer to 148 or 92). So an answer is never longer than its request, and
//! a flood from one source hurts only that source. In a flood from many sources the quiet ones come first.
//!
//! **Sending.** A packet or super-packet from the device port goes to the peer whose allowed IPs contain
//! its destination. A super-packet becomes a *train* in one buffer: each segment with a header of 16
//! bytes before it and a tag of 16 bytes behind it, encrypted in place. The train leaves in one
//! `UDP_SEGMENT` send. Building it is the only copy. A single packet is encrypted in its own buffer.
//!
//! **Receiving.** A train is decrypted within its buffer. Consecutive packets of one TCP stream are
//! decrypted to where their payloads join, so they leave as one super-packet without a copy. Checksums
//! are verified first; sources must be in the peer's allowed IPs, counters in the replay window.
//!
//! **Layer 2.** A peer in [`PeerMode::Frames`] has its own port for Ethernet frames. They cross in a
//! format of adit, fragmented where they exceed the path MTU. To another WireGuard implementation they
//! cross in VXLAN inside the tunnel ([`PeerMode::Vxlan`]).
//!
//! **Path MTU.** Two adit peers find each other by a control message after the handshake and then probe
//! the path. A packet that does not fit is never dropped silently: the MSS option limits TCP, super-packets
//! are cut shorter, other packets get an ICMP error, and frames are fragmented.
//!
//! **Post-quantum keys.** Two adit peers exchange a secret by ML-KEM-768 inside a session, and start a handshake with a
//! preshared key from it ([`PostQuantum`]). Without it a session carries no data where it is required, or where the peer
//! had it before.
//!
//! **Shaping.** Each direction of a peer can have a rate: a token bucket, with FQ-CoDel for the packets that
//! wait. A super-packet that would occupy the line for more than 2 ms is segmented before it waits.
//!
//! **Endpoints** are UDP addresses or ports. A port that is neither the device's nor a peer's is a stream that
//! carries one message per buffer. A host behind a TCP connection needs no cookie and counts by its address, as by
//! UDP ([`Tunnel::set_stream_source`]). A peer roams to the endpoint of its last authenticated message. A pinned
//! peer roams only after a silence. [`Tunnel::probe`] tries another endpoint with an initiation while the
//! current one stays in use until the answer.
//!
//! **Limits.** Per peer: three sessions, 16 packets that wait for a handshake, 512 in each shaper, 36 KiB of
//! fragments. In total: 128 packets that wait for handshakes, 2048 in shapers (64 of them in large buffers),
//! 20,480 counted sources (1.3 MiB), 1024 events.
//!
//! [`Engine::handle`]: adit_engine::Engine::handle
//! [`Engine::next_timeout`]: adit_engine::Engine::next_timeout
//! [`Outbox`]: adit_engine::Outbox
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod allowed_ips;
#[cfg(test)]
#[path = "../../packet/tests/cases/mod.rs"]
mod cases;
mod codec;
mod config;
mod frames;
mod handshake;
mod inner;
mod join;
mod keys;
mod message;
mod noise;
mod path;
mod peer;
mod post_quantum;
mod session;
mod shape;
mod shared;
mod status;
mod suite;
mod tai64n;
mod timing;
mod tunnel;
mod wakes;

pub use adit_packet::IpPrefix;
pub use config::{KeyMemory, PeerConfig, PeerMode, PostQuantum, Random, TunnelConfig};
pub use frames::vxlan::Vxlan;
pub use handshake::source::Source;
pub use keys::{KEY_LEN, KeyError, PresharedKey, PrivateKey, PublicKey};
pub use peer::send::gso_len_max;
pub use shape::shaper::Shape;
pub use status::{PeerStatus, PostQuantumStatus, Totals, TunnelEvent};
pub use suite::{Suite, SuitePolicy, UnknownSuite};
pub use tai64n::Tai64n;
pub use timing::Timing;
pub use tunnel::Tunnel;
pub use tunnel::state::STATE_VERSION;

/// The examples of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
