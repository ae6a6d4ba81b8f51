//! WireGuard tunnels, layer 3 and 2. # Theory of operation
//!
//! A [`Tunnel`] has one key of ours and many peers, each named by its public key. It is wire-compatible
//! with every WireGuard; written from Donenfeld, "WireGuard: Next Generation Kernel Network Tunnel",
//! NDSS 2017, whose sections are cited at the code that keeps each requirement.
//!
//! **Handshake.** `Noise_IKpsk2`, one message each way: an initiation proves who
//! sends it and when (a timestamp that never goes back), the response gives fresh keys. Each side has
//! three sessions with a peer at most: the current one, the one before, whose packets are still under
//! way, and one that waits for the initiator's first packet. Initiators renew by time and count;
//! whoever hears nothing after it sent initiates anew. All intervals stand in [`Timing`].
//!
//! **Silence.** Nothing is answered that does not carry a MAC under our public key. What does is worked
//! at up to a budget: by source first, then all together; beyond it a sender is asked to prove its
//! address (a cookie of 64 bytes for 148 or 92). So answers are never longer than questions, and one
//! loud sender makes only itself suffer.
//!
//! **Out.** A packet or super-packet from the device port goes to the peer whose allowed IPs have its
//! destination. A super-packet is cut up straight into a train: each segment with 16 bytes of header
//! before and 16 of tag behind, encrypted where it stands, all in one buffer, which leaves as one
//! `UDP_SEGMENT` send. That is the only copy. A single packet is encrypted in its own buffer.
//!
//! **In.** A train is decrypted within its buffer. Packets that continue one another are decrypted to
//! where their payloads join, so they leave as one super-packet without having been copied. Checksums
//! are verified before, source addresses belong to the peer's allowed IPs, counters to a window.
//!
//! **Layer 2.** A peer in [`PeerMode::Frames`] has a port of its own, for Ethernet frames. They cross in
//! a format that only adit knows, in pieces where they do not fit the path. With another WireGuard they
//! cross in VXLAN inside the tunnel ([`PeerMode::Vxlan`]).
//!
//! **Path.** Two of our own find each other by a control message after the handshake and then probe
//! how long a packet may be. What does not fit is not dropped in silence: TCP is told by its maximum
//! segment size, or cut shorter; the rest gets an ICMP answer, and frames are fragmented.
//!
//! **Shaping.** Each direction of a peer may have a rate: a token bucket, and FQ-CoDel for what waits.
//! What would keep the line busy for more than 2 ms is cut up before it waits.
//!
//! **Endpoints** are UDP addresses or ports: a stream that carries one message in each buffer is a port
//! that is neither the device's nor a peer's. A peer is where its last authentic message came from,
//! whichever that is, unless it is pinned: then only after a silence. Another way to it is tried by an
//! initiation there; the one in use goes on until that is answered.
//!
//! **Bounds.** Per peer: three sessions, 16 packets that wait for a handshake, 512 in each shaper, 36 KiB
//! of fragments. In all: 128 packets that wait for handshakes, 2048 in shapers (64 of them large), 4096
//! sources that are counted, 1024 events.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod allowed_ips;
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
mod session;
mod shape;
mod shared;
mod status;
mod tai64n;
mod timing;
mod tunnel;
mod wakes;

pub use adit_packet::IpPrefix;
pub use config::{PeerConfig, PeerMode, Random, TunnelConfig};
pub use frames::vxlan::Vxlan;
pub use keys::{KEY_LEN, KeyError, PresharedKey, PrivateKey, PublicKey};
pub use peer::send::gso_len_max;
pub use shape::shaper::Shape;
pub use status::{PeerStatus, TunnelEvent};
pub use tai64n::Tai64n;
pub use timing::Timing;
pub use tunnel::Tunnel;

/// The examples of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
