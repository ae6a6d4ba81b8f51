//! A WireGuard tunnel between two hosts.

use crate::model::name::{LinkName, NodeName};
use adit_device::IfName;
use adit_tunnel::PrivateKey;

/// A WireGuard tunnel between two hosts, over the links between them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tunnel {
    /// How it is called.
    pub name: LinkName,
    /// Its two ends.
    pub ends: [NodeName; 2],
    /// Its interface in both; `None`: the next free `tunN` of each.
    pub interface: Option<IfName>,
    /// The IP MTU of the interface; 0: what fits.
    pub mtu: u16,
    /// The private key of each end; `None`: drawn from the seed.
    pub keys: [Option<PrivateKey>; 2],
}
