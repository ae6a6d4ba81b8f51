//! The status of peers, and events.

use core::time::Duration;

use adit_packet::Instant;

use crate::keys::PublicKey;
use crate::suite::Suite;
use adit_engine::{DropCounts, Endpoint};

/// The status of a peer at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PeerStatus {
    /// Its identity.
    pub public_key: PublicKey,
    /// Where it is: the source of its last authenticated message, or as configured.
    pub endpoint: Option<Endpoint>,
    /// Bytes sent to it: all messages, as UDP payload.
    pub bytes_sent: u64,
    /// Bytes of its authenticated messages, as UDP payload.
    pub bytes_received: u64,
    /// When the last handshake was completed.
    pub last_handshake: Option<Instant>,
    /// When its last authenticated message arrived.
    pub last_authentic: Option<Instant>,
    /// Since when it owes an answer, to data or to an initiation; `None` if it owes none. Data is answered after
    /// [`Timing::keepalive_timeout`](crate::Timing::keepalive_timeout) at the latest.
    pub unanswered: Option<Instant>,
    /// How long its last response to an initiation of ours took; `None` before the first.
    pub round_trip: Option<Duration>,
    /// Whether a session exists in which packets can be sent now.
    pub connected: bool,
    /// The path MTU in bytes of the IP packet inside, as far as it is known.
    pub path_mtu: u16,
    /// Whether it is adit as well.
    pub extensions: bool,
    /// The cipher of what is sent to it; `None` without a session.
    pub suite: Option<Suite>,
    /// Whether its session has a post-quantum key.
    pub post_quantum: PostQuantumStatus,
    /// Packets that wait for a handshake or in a shaper.
    pub queued: usize,
    /// Packets dropped on the way to it and from it.
    pub drops: DropCounts,
}

/// What all peers have in common.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Bytes of authenticated messages, as UDP payload.
    pub received: u64,
    /// Bytes sent, as UDP payload.
    pub sent: u64,
    /// Packets dropped, also those that belong to no peer.
    pub dropped: u64,
    /// The longest of the round trips of handshakes that were answered since a moment.
    pub round_trip: Option<Duration>,
}

/// Whether the session with a peer has a post-quantum key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PostQuantumStatus {
    /// It is not wanted.
    Off,
    /// It has none: there is no session, or the peer cannot.
    Inactive,
    /// It has one.
    Active,
    /// It has none, which this peer must have: no data crosses.
    Refused,
}

/// A rare event that the owner of a tunnel may want to act on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TunnelEvent {
    /// A handshake was completed.
    Connected {
        /// The peer.
        peer: PublicKey,
        /// Its endpoint.
        endpoint: Option<Endpoint>,
    },
    /// The peer moved to another endpoint.
    Moved {
        /// The peer.
        peer: PublicKey,
        /// Its previous endpoint.
        from: Option<Endpoint>,
        /// Its endpoint now.
        to: Endpoint,
    },
    /// The peer does not answer handshakes; its name may have a new address. Repeated every
    /// [`Timing::silent_after`](crate::Timing::silent_after) while it is silent.
    Silent {
        /// The peer.
        peer: PublicKey,
    },
    /// An initiation was not answered in time. The next one follows.
    Unanswered {
        /// The peer.
        peer: PublicKey,
        /// Unanswered initiations in a row at this endpoint.
        count: u8,
    },
    /// Another host with the key of a pinned peer was refused ([`PeerConfig::pinned`]).
    ///
    /// [`PeerConfig::pinned`]: crate::PeerConfig::pinned
    Refused {
        /// The peer.
        peer: PublicKey,
        /// The endpoint of that host.
        from: Endpoint,
    },
    /// The peer sent an authenticated message, as requested by
    /// [`Tunnel::await_peer`](crate::Tunnel::await_peer).
    Heard {
        /// The peer.
        peer: PublicKey,
    },
    /// Packets to the peer are encrypted with another suite than before: both ends agreed on it, or in a new session
    /// they did not, and it is that of WireGuard again.
    Cipher {
        /// The peer.
        peer: PublicKey,
        /// The suite.
        suite: Suite,
    },
    /// The clock of the peer is more than a day ahead of ours: one of the two is wrong. The peer connects anyway.
    /// Reported once, and again after a handshake with a right clock.
    ClockAhead {
        /// The peer.
        peer: PublicKey,
        /// The difference.
        by: Duration,
    },
    /// The peer must have a post-quantum key ([`PeerConfig::post_quantum`]), and connects without: no data crosses.
    /// Reported once, and again after a session with one.
    ///
    /// [`PeerConfig::post_quantum`]: crate::PeerConfig::post_quantum
    NotPostQuantum {
        /// The peer.
        peer: PublicKey,
    },
    /// The path MTU to the peer has changed.
    PathMtu {
        /// The peer.
        peer: PublicKey,
        /// In bytes of the IP packet inside.
        mtu: u16,
    },
}
