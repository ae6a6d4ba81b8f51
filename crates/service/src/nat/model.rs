//! What a NAT reports.

use adit_runtime::SpliceCounts;
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
    /// The host's name servers, by their addresses inside.
    pub name_servers: BTreeMap<IpAddr, IpAddr>,
    /// Ports of the host's loopback that the inside reaches at the NAT's address.
    pub allow_host: Vec<u16>,
    /// How bytes of TCP connections pass: `packet` or `splice`.
    pub datapath: String,
    /// How many flows there are.
    pub flows: usize,
    /// TCP connections whose bytes the kernel moves.
    pub spliced: Spliced,
    /// Packets from the inside.
    pub received: u64,
    /// Packets to the inside.
    pub sent: u64,
    /// Packets that were dropped, by reason.
    pub dropped: BTreeMap<String, u64>,
}

/// What connections that are spliced have moved.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Spliced {
    /// How many connections there were.
    pub connections: u64,
    /// Bytes from the inside.
    pub sent_bytes: u64,
    /// Bytes to the inside.
    pub received_bytes: u64,
}

impl Spliced {
    pub(super) const fn of(counts: SpliceCounts) -> Self {
        let SpliceCounts { connections, sent: sent_bytes, received: received_bytes } = counts;
        Self { connections, sent_bytes, received_bytes }
    }
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
