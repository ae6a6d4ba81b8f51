//! The text protocol by which `wg` shows and changes a tunnel: parsed and written, nothing else.
//!
//! ```text
//! get=1\n\n                                   -> key=value\n ... errno=0\n\n
//! set=1\nkey=value\n ... \n                   -> errno=N\n\n
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

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// How the tunnel is.
    Get,
    /// Changes, in their order.
    Set(Box<SetRequest>),
}

/// Changes to a tunnel; `None` leaves a setting as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SetRequest {
    /// `Some(None)` takes it away.
    pub private_key: Option<Option<PrivateKey>>,
    /// The UDP port, 0 for one that the kernel chooses.
    pub listen_port: Option<u16>,
    /// The mark on what is sent, 0 for none.
    pub fwmark: Option<u32>,
    /// All peers that are not named go.
    pub replace_peers: bool,
    /// What changes of peers.
    pub peers: Vec<PeerChange>,
}

/// Changes to one peer; `None` leaves a setting as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerChange {
    pub public_key: PublicKey,
    /// It goes.
    pub remove: bool,
    /// Nothing is done if it is not there.
    pub update_only: bool,
    /// `Some(None)` takes it away.
    pub preshared_key: Option<Option<PresharedKey>>,
    pub endpoint: Option<SocketAddr>,
    /// In seconds, 0 for off.
    pub keepalive: Option<u16>,
    /// The networks that it has go first.
    pub replace_allowed_ips: bool,
    pub allowed_ips: Vec<IpPrefix>,
    /// Networks that it has no longer.
    pub forbidden_ips: Vec<IpPrefix>,
}

/// How a tunnel is.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    pub private_key: Option<PrivateKey>,
    pub listen_port: u16,
    /// 0 for none.
    pub fwmark: u32,
    pub peers: Vec<PeerSnapshot>,
}

/// How a peer is.
#[derive(Clone, Debug)]
pub struct PeerSnapshot {
    pub public_key: PublicKey,
    pub preshared_key: Option<PresharedKey>,
    pub endpoint: Option<SocketAddr>,
    /// The wall clock's time since 1970 of the last handshake.
    pub last_handshake: Option<Duration>,
    pub bytes_sent: u64,
    pub bytes_received: u64,
    /// In seconds, 0 for off.
    pub keepalive: u16,
    pub allowed_ips: Vec<IpPrefix>,
}

/// A request that makes no sense: EINVAL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadRequest;
