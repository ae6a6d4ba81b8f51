//! The text protocol by which `wg` shows and changes a tunnel.
//!
//! ```text
//! get=1\n\n                                   -> key=value\n ... errno=0\n\n
//! set=1\nkey=value\n ... \n                   -> errno=-N\n\n
//! ```
//!
//! Keys are 64 hexadecimal digits; those after a `public_key` are of that peer. Source:
//! <https://www.wireguard.com/xplatform/>.

pub mod format;
pub mod parse;
pub mod socket;
#[cfg(test)]
mod tests;

use adit_device::netlink::IpPrefix;
use adit_tunnel::{PresharedKey, PrivateKey, PublicKey};
use std::net::SocketAddr;
use std::time::Duration;

/// The longest request: `wg setconf` of ten thousand peers with two networks each takes 3 MiB.
pub const REQUEST_LEN_MAX: usize = 4 << 20;

/// A request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Returns the state of the tunnel.
    Get,
    /// Performs changes in order.
    Set(Box<SetRequest>),
}

/// Changes to a tunnel; `None` leaves a setting as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SetRequest {
    /// `Some(None)` removes the key.
    pub private_key: Option<Option<PrivateKey>>,
    /// The UDP port, 0 for one that the kernel chooses.
    pub listen_port: Option<u16>,
    /// The mark on what is sent, 0 for none.
    pub fwmark: Option<u32>,
    /// Removes all peers that are not listed.
    pub replace_peers: bool,
    /// Changes to peers.
    pub peers: Vec<PeerChange>,
}

/// Changes to one peer; `None` leaves a setting as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerChange {
    /// Its key.
    pub public_key: PublicKey,
    /// Removes the peer.
    pub remove: bool,
    /// Ignores the change if the peer does not exist.
    pub update_only: bool,
    /// `Some(None)` removes the key.
    pub preshared_key: Option<Option<PresharedKey>>,
    /// The new endpoint.
    pub endpoint: Option<SocketAddr>,
    /// Seconds between keepalives, 0 for off.
    pub keepalive: Option<u16>,
    /// Removes all networks of the peer first.
    pub replace_allowed_ips: bool,
    /// Networks to add.
    pub allowed_ips: Vec<IpPrefix>,
    /// Networks to remove.
    pub forbidden_ips: Vec<IpPrefix>,
}

/// The state of a tunnel.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// Its private key.
    pub private_key: Option<PrivateKey>,
    /// The UDP port that it listens on.
    pub listen_port: u16,
    /// The mark on its datagrams, 0 for none.
    pub fwmark: u32,
    /// Its peers.
    pub peers: Vec<PeerSnapshot>,
}

/// The state of a peer.
#[derive(Clone, Debug)]
pub struct PeerSnapshot {
    /// Its key.
    pub public_key: PublicKey,
    /// The preshared key.
    pub preshared_key: Option<PresharedKey>,
    /// Its UDP address, if it is known.
    pub endpoint: Option<SocketAddr>,
    /// The time of the last handshake, since 1970.
    pub last_handshake: Option<Duration>,
    /// Bytes sent to it.
    pub bytes_sent: u64,
    /// Bytes received from it.
    pub bytes_received: u64,
    /// Seconds between keepalives, 0 for off.
    pub keepalive: u16,
    /// The networks behind it.
    pub allowed_ips: Vec<IpPrefix>,
}

/// A malformed request: EINVAL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadRequest;
