//! What a tunnel is to be: plain data.

use alloc::vec::Vec;
use core::time::Duration;

use adit_packet::IpPrefix;

use crate::frames::vxlan::Vxlan;
use crate::keys::{PresharedKey, PrivateKey, PublicKey};
use crate::shape::shaper::Shape;
use crate::tai64n::Tai64n;
use crate::timing::Timing;
use adit_engine::{Endpoint, PortId};

/// A source of random bytes that nobody can foretell: `getrandom`, or a seeded ChaCha in a simulation.
///
/// It is asked at every handshake, so that a machine that was cloned does not repeat itself.
pub type Random = alloc::boxed::Box<dyn FnMut(&mut [u8]) + Send>;

/// What is common to all peers of a tunnel.
#[derive(Clone, Debug)]
pub struct TunnelConfig {
    /// Our key; without one nothing is sent and nothing accepted.
    pub private_key: Option<PrivateKey>,
    /// The port of the layer 3 device (TUN); `None` if all peers are layer 2.
    pub device: Option<PortId>,
    /// The MTU of that device: the longest IP packet that it may bring.
    pub mtu: u16,
    /// Whether packets for ports are joined to super-packets (the device takes GSO).
    pub join: bool,
    /// The greatest timestamp that was ever sent with this key, as [`Tunnel::last_timestamp`] told it
    /// before; none may be sent that is not greater.
    ///
    /// [`Tunnel::last_timestamp`]: crate::Tunnel::last_timestamp
    pub last_timestamp: Option<Tai64n>,
    /// The intervals of the protocol.
    pub timing: Timing,
    /// How many handshakes a second are worked at, and a quarter of that for senders that did not prove
    /// their address.
    pub handshakes_per_second: u32,
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
            handshakes_per_second: Self::HANDSHAKES_PER_SECOND,
        }
    }
}

/// What crosses to a peer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PeerMode {
    /// IP packets between the tunnel's device and the peer, by allowed IPs.
    #[default]
    Packets,
    /// Ethernet frames between this port and the peer, natively (both are adit).
    Frames(PortId),
    /// Ethernet frames between a port and the peer in VXLAN, for a peer that is not adit; IP packets as
    /// in [`Self::Packets`] besides.
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

/// One peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerConfig {
    /// Its name.
    pub public_key: PublicKey,
    /// A further key that both sides know.
    pub preshared_key: Option<PresharedKey>,
    /// Where it is, as far as is known: an address, or the port of a stream.
    pub endpoint: Option<Endpoint>,
    /// The addresses that it may send from, and that are sent to it.
    pub allowed_ips: Vec<IpPrefix>,
    /// A keepalive is sent whenever nothing else was for so long; 0 is never.
    pub persistent_keepalive: Option<Duration>,
    /// What crosses.
    pub mode: PeerMode,
    /// Whether TCP's maximum segment size is lowered to what fits.
    pub clamp_mss: bool,
    /// Whether to ask if the peer is adit as well, which path-MTU discovery and frames need. A foreign
    /// peer drops the question.
    pub extensions: bool,
    /// It moves only after it was silent for so long: until then a second host with its key is refused.
    /// `None` is the protocol's roaming (NDSS 2017, 2.1): it is where it was heard last.
    pub pinned: Option<Duration>,
    /// How fast packets to it may be.
    pub shape_out: Option<Shape>,
    /// How fast packets from it may be.
    pub shape_in: Option<Shape>,
}

impl PeerConfig {
    /// A peer of which only the key is known.
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
            pinned: None,
            shape_out: None,
            shape_in: None,
        }
    }
}
