//! The configuration of a tunnel and its peers: plain data.

use alloc::vec::Vec;
use core::ops::Range;
use core::time::Duration;

use adit_packet::IpPrefix;

use crate::codec::{Codec, Decoder, Encoder, codec, codec_of_variants};
use crate::frames::vxlan::Vxlan;
use crate::keys::{PresharedKey, PrivateKey, PublicKey};
use crate::shape::shaper::Shape;
use crate::suite::SuitePolicy;
use crate::tai64n::Tai64n;
use crate::timing::Timing;
use adit_engine::{Endpoint, PortId};

/// A cryptographically secure source of random bytes: `getrandom`, or a seeded ChaCha in a simulation.
///
/// It is called at every handshake, so a cloned machine does not repeat its keys.
pub type Random = alloc::boxed::Box<dyn FnMut(&mut [u8]) + Send>;

/// Takes the addresses of memory that holds keys, when keys get there, so that an owner with an operating system
/// can lock it. It is called at handshakes, on the thread of the tunnel.
pub type KeyMemory = fn(Range<usize>);

/// The configuration that all peers of a tunnel share.
///
/// Later versions may add fields: build it with `..TunnelConfig::default()`.
#[derive(Clone, Debug)]
pub struct TunnelConfig {
    /// Our private key. Without it nothing is sent or accepted.
    pub private_key: Option<PrivateKey>,
    /// The port of the layer 3 device (TUN); `None` if all peers are layer 2.
    pub device: Option<PortId>,
    /// The MTU of that device: the longest IP packet that it sends, in bytes.
    pub mtu: u16,
    /// Whether to join received packets to super-packets. Set it if the device accepts GSO.
    pub join: bool,
    /// The greatest timestamp ever sent with this key, as [`Tunnel::last_timestamp`] returned it before
    /// the restart. All later timestamps are greater.
    ///
    /// [`Tunnel::last_timestamp`]: crate::Tunnel::last_timestamp
    pub last_timestamp: Option<Tai64n>,
    /// The intervals of the protocol.
    pub timing: Timing,
    /// Whether this machine is faster with AES-GCM than with ChaCha20-Poly1305, as the owner has measured it
    /// ([`Suite::seal_sample`](crate::Suite::seal_sample)): peers with [`SuitePolicy::Auto`] accept AES-GCM then.
    pub aes_is_faster: bool,
    /// Handshakes processed per second. Senders that did not prove their address get a quarter of it.
    pub handshakes_per_second: u32,
    /// Where keys are; by default nobody wants to know.
    pub key_memory: KeyMemory,
}

impl TunnelConfig {
    /// Over IPv6 with an MTU of 1500: 40 + 8 + 16 + 16 less.
    pub const MTU: u16 = 1420;
    /// A fifth of a core at 0.2 ms each.
    pub const HANDSHAKES_PER_SECOND: u32 = 1000;
}

impl Default for TunnelConfig {
    fn default() -> Self {
        Self {
            private_key: None,
            device: None,
            mtu: Self::MTU,
            join: true,
            last_timestamp: None,
            timing: Timing::default(),
            aes_is_faster: false,
            handshakes_per_second: Self::HANDSHAKES_PER_SECOND,
            key_memory: |_| {},
        }
    }
}

/// What a tunnel carries to and from a peer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PeerMode {
    /// IP packets between the tunnel's device and the peer, by allowed IPs.
    #[default]
    Packets,
    /// Ethernet frames between this port and the peer, natively (both are adit).
    Frames(PortId),
    /// Ethernet frames between a port and the peer in VXLAN, for a peer that is not adit. IP packets
    /// cross as well, as in [`Self::Packets`].
    Vxlan(Vxlan),
}

impl PeerMode {
    /// The port of its frames.
    pub(crate) const fn port(&self) -> Option<PortId> {
        match self {
            Self::Packets => None,
            Self::Frames(port) | Self::Vxlan(Vxlan { port, .. }) => Some(*port),
        }
    }
}

impl Codec for PeerMode {
    fn encode(&self, to: &mut Encoder) {
        match self {
            Self::Packets => 0_u8.encode(to),
            Self::Frames(port) => (1_u8, *port).encode(to),
            Self::Vxlan(vxlan) => {
                2_u8.encode(to);
                vxlan.encode(to);
            }
        }
    }

    fn decode(from: &mut Decoder<'_>) -> Option<Self> {
        match u8::decode(from)? {
            0 => Some(Self::Packets),
            1 => Codec::decode(from).map(Self::Frames),
            2 => Codec::decode(from).map(Self::Vxlan),
            _ => None,
        }
    }
}

/// Whether the sessions with a peer that is adit get a key from ML-KEM-768 besides those of X25519, so that a recording
/// of them stays closed to a quantum computer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PostQuantum {
    /// Never. A peer that had one may connect without it again.
    Off,
    /// If the peer can. Data crosses at once the first time. A peer that ever had one must have it from then on.
    #[default]
    Prefer,
    /// Always: no data crosses before.
    Require,
}

codec_of_variants! { PostQuantum { Off = 0, Prefer = 1, Require = 2 } }

/// The configuration of one peer.
///
/// Later versions may add fields: build it with [`PeerConfig::new`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerConfig {
    /// Its identity.
    pub public_key: PublicKey,
    /// A symmetric key that both sides have, in addition to the key pairs.
    pub preshared_key: Option<PresharedKey>,
    /// The initial endpoint: a UDP address, or the port of a stream. `None` if only the peer can connect.
    pub endpoint: Option<Endpoint>,
    /// The prefixes that it may send from, and whose packets go to it.
    pub allowed_ips: Vec<IpPrefix>,
    /// The interval of keepalives while nothing else is sent; `None` and 0 disable them.
    pub persistent_keepalive: Option<Duration>,
    /// What the tunnel carries to and from it.
    pub mode: PeerMode,
    /// Whether to lower the MSS option of TCP to the path MTU.
    pub clamp_mss: bool,
    /// Whether to ask the peer if it is adit, which path MTU discovery and frames need. Other
    /// implementations drop the question.
    pub extensions: bool,
    /// Which ciphers to use with it if it is adit; others get WireGuard's. A change takes effect with the next
    /// session.
    pub suite: SuitePolicy,
    /// Whether its sessions get a post-quantum key; it needs [`Self::extensions`].
    pub post_quantum: PostQuantum,
    /// The silence after which the peer may move to another endpoint. Until then a second host with its key
    /// is refused. `None` is the protocol's roaming (NDSS 2017, 2.1): the peer moves with each message.
    pub pinned: Option<Duration>,
    /// The rate limit of packets to it.
    pub shape_out: Option<Shape>,
    /// The rate limit of packets from it.
    pub shape_in: Option<Shape>,
}

codec! {
    PeerConfig {
        public_key, preshared_key, endpoint, allowed_ips, persistent_keepalive, mode, clamp_mss, extensions, suite,
        post_quantum, pinned, shape_out, shape_in,
    }
}

impl PeerConfig {
    /// A peer with a key and default settings.
    #[must_use]
    pub const fn new(public_key: PublicKey) -> Self {
        Self {
            public_key,
            preshared_key: None,
            endpoint: None,
            allowed_ips: Vec::new(),
            persistent_keepalive: None,
            mode: PeerMode::Packets,
            clamp_mss: true,
            extensions: true,
            suite: SuitePolicy::Auto,
            post_quantum: PostQuantum::Prefer,
            pinned: None,
            shape_out: None,
            shape_in: None,
        }
    }
}
