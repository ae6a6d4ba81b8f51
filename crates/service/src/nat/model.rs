//! What a NAT reports.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

/// A running NAT.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(title = "adit nat show")]
pub struct Nat {
    /// Its name.
    pub name: String,
    /// Its process.
    pub pid: u32,
    /// The device inside.
    pub device: String,
    /// Its IP MTU.
    pub mtu: u16,
    /// The addresses inside.
    pub addresses: Vec<String>,
    /// The addresses of the NAT inside.
    pub gateways: Vec<IpAddr>,
    /// The addresses of the name server inside.
    pub name_servers: Vec<IpAddr>,
    /// The name servers that it asks, in order.
    pub resolvers: Vec<SocketAddr>,
    /// Ports of the host's loopback that the inside reaches at the NAT's address.
    pub allow_host: Vec<u16>,
    /// How many flows there are.
    pub flows: usize,
    /// Packets from the inside.
    pub received: u64,
    /// Packets to the inside.
    pub sent: u64,
    /// Packets that were dropped, by reason.
    pub dropped: BTreeMap<String, u64>,
}

/// A flow of a NAT.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(title = "adit nat flows: an entry of the list")]
pub struct Flow {
    /// `tcp` or `udp`.
    pub transport: String,
    /// The address and port inside.
    pub inside: SocketAddr,
    /// The remote one as the inside knows it; of UDP the latest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remote: Option<SocketAddr>,
    /// What it does.
    pub state: String,
    /// Bytes from the inside.
    pub sent_bytes: u64,
    /// Bytes to the inside.
    pub received_bytes: u64,
    /// How long ago a packet of it passed, in seconds.
    pub idle_s: f64,
}
