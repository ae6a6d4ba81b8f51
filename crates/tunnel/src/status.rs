//! What a tunnel tells about itself.

use adit_packet::Instant;

use crate::keys::PublicKey;
use adit_engine::{DropCounts, Endpoint};

/// How a peer is, at the moment of asking.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerStatus {
    /// Its name.
    pub public_key: PublicKey,
    /// Where it was last heard from, or was said to be.
    pub endpoint: Option<Endpoint>,
    /// Bytes of all messages sent to it, as they are on the wire after the UDP header.
    pub bytes_sent: u64,
    /// Bytes of all its messages that authenticated.
    pub bytes_received: u64,
    /// When the last handshake was completed.
    pub last_handshake: Option<Instant>,
    /// When the last message that authenticated came.
    pub last_authentic: Option<Instant>,
    /// Whether there is a session that packets can be sent in now.
    pub connected: bool,
    /// The longest IP packet that fits the path, as far as is known.
    pub path_mtu: u16,
    /// Whether it said that it is adit as well.
    pub extensions: bool,
    /// Packets that wait for a handshake, or for their share of the line.
    pub queued: usize,
    /// What was dropped on the way to it and from it.
    pub drops: DropCounts,
}

/// Something that happens rarely and that the owner may want to act on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TunnelEvent {
    /// A handshake was completed.
    Connected {
        /// The peer.
        peer: PublicKey,
        /// Where it is.
        endpoint: Option<Endpoint>,
    },
    /// The peer was heard from elsewhere.
    Moved {
        /// The peer.
        peer: PublicKey,
        /// Where it was.
        from: Option<Endpoint>,
        /// Where it is.
        to: Endpoint,
    },
    /// It does not answer handshakes: its name may have another address by now. Comes every
    /// [`Timing::silent_after`](crate::Timing::silent_after) while it is silent.
    Silent {
        /// The peer.
        peer: PublicKey,
    },
    /// An initiation was not answered in time; the next one follows.
    Unanswered {
        /// The peer.
        peer: PublicKey,
        /// As many in a row, on the way that it is being tried.
        count: u8,
    },
    /// Somebody else with its key wanted to be it, and was refused ([`PeerConfig::pinned`]).
    ///
    /// [`PeerConfig::pinned`]: crate::PeerConfig::pinned
    Refused {
        /// The peer.
        peer: PublicKey,
        /// Where that one is.
        from: Endpoint,
    },
    /// It was heard again, as [`Tunnel::await_peer`](crate::Tunnel::await_peer) asked for.
    Heard {
        /// The peer.
        peer: PublicKey,
    },
    /// The longest packet that fits the path to it has changed.
    PathMtu {
        /// The peer.
        peer: PublicKey,
        /// In bytes of the IP packet inside.
        mtu: u16,
    },
}
