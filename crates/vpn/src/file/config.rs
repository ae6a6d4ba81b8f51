//! The configuration of a tunnel as plain data, whatever the format of its file.

use adit_device::netlink::IpPrefix;
use adit_device::{IfName, Mode};
use adit_service::log::Filter;
use adit_service::metrics::ListenAddress;
use adit_tunnel::{PostQuantum, PresharedKey, PrivateKey, PublicKey, Shape, SuitePolicy, Vxlan};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

/// A tunnel: this end and its peers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// This end.
    pub interface: Interface,
    /// The other ends, each with a public key of its own.
    pub peers: Vec<Peer>,
}

impl Config {
    /// Whether IP packets or Ethernet frames cross.
    pub fn mode(&self) -> Mode {
        self.peers.first().map_or(Mode::Tun, |peer| peer.mode)
    }

    /// The UDP port to listen on, 0 for one that the kernel chooses.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.interface.listen_port.unwrap_or(0)
    }
}

/// This end of a tunnel.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "the keys of a file")]
pub struct Interface {
    /// Its key; without one it sends and answers nothing.
    pub private_key: Option<PrivateKey>,
    /// The UDP port; 0 or none is one that the kernel chooses.
    pub listen_port: Option<u16>,
    /// The mark on what it sends; `Some(0)` is "off".
    pub fwmark: Option<u32>,
    /// The addresses of the device.
    pub addresses: Vec<IpPrefix>,
    /// The name servers.
    pub dns: Vec<IpAddr>,
    /// The domains in which short names are looked up.
    pub dns_search: Vec<String>,
    /// The IP MTU of the device.
    pub mtu: Option<u32>,
    /// Where routes to the peers' networks go.
    pub table: Table,
    /// The programs that are run beside it, if that is allowed.
    pub hooks: Hooks,
    /// The file has `SaveConfig`, which adit ignores.
    pub save_config: bool,
    /// The address from which it sends; any if there is none.
    pub source: Option<IpAddr>,
    /// Where metrics are read by TCP, from the start on.
    pub metrics: Option<ListenAddress>,
    /// The TCP port that peers may connect to.
    pub listen_tcp: Option<u16>,
    /// The bridge that a TAP device becomes a port of.
    pub master: Option<IfName>,
    /// It ends when the last peer is gone, instead of waiting for one.
    pub is_transient: bool,
    /// Nothing leaves this host but through the tunnel, until the tunnel is taken down.
    pub kill_switch: bool,
    /// No IPv6 packet leaves this host but through the tunnel, while it runs.
    pub block_ipv6: bool,
    /// What it logs.
    pub log: Option<Filter>,
}

/// Where routes to the peers' networks go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Table {
    /// The main table; a default route gets a table and rules of its own.
    #[default]
    Auto,
    /// Nowhere.
    Off,
    /// This table.
    Number(u32),
}

/// Programs to run at four points of a tunnel's life.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hooks {
    /// Before the device is made.
    pub pre_up: Vec<Hook>,
    /// When the tunnel is up.
    pub post_up: Vec<Hook>,
    /// Before anything is taken away.
    pub pre_down: Vec<Hook>,
    /// When all is gone.
    pub post_down: Vec<Hook>,
}

/// A program and its arguments: no shell reads them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hook(pub Vec<String>);

impl fmt::Display for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join(" "))
    }
}

/// The other end of a tunnel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// By which it is known.
    pub public_key: PublicKey,
    /// What people call it.
    pub name: Option<Arc<str>>,
    /// The key that both were given.
    pub preshared_key: Option<PresharedKey>,
    /// The networks behind it: destinations that are sent to it, sources that it may have.
    pub allowed_ips: Vec<IpPrefix>,
    /// Where it is reached; without one it must come to us.
    pub endpoint: Option<PeerEndpoint>,
    /// A packet at least so often, in seconds, so that a NAT between keeps its mapping; 0 is off.
    pub keepalive: u16,
    /// How it is reached.
    pub transport: Transport,
    /// Where it is reached by TCP, with [`Transport::Auto`]; `endpoint` is for UDP then.
    pub endpoint_tcp: Option<PeerEndpoint>,
    /// How fast packets to it, and from it, may be.
    pub shape_out: Option<Shape>,
    /// See `shape_out`.
    pub shape_in: Option<Shape>,
    /// Frames cross in VXLAN, to a peer that is not adit; the port is the engine's affair.
    pub vxlan: Option<Vxlan>,
    /// Which ciphers it may use if it is adit as well.
    pub suite: SuitePolicy,
    /// After this silence the peer counts as disconnected; zero is never.
    pub timeout: Duration,
    /// Whether another host with its key may replace it while it is connected.
    pub multi: Multi,
    /// Whether its sessions get a post-quantum key, if it is adit.
    pub post_quantum: PostQuantum,
    /// The programs that are run when it comes, and when it is gone, if that is allowed.
    pub up: Vec<Hook>,
    /// See `up`.
    pub down: Vec<Hook>,
    /// IP packets or Ethernet frames; the peers of a tunnel have one and the same.
    pub mode: Mode,
}

/// How to treat a second host with the key of a peer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Multi {
    /// It replaces the first one, like a host that moved.
    #[default]
    KillOld,
    /// It is refused while the first one is connected.
    No,
}

impl Peer {
    /// Three minutes: the lifetime of a session's keys (NDSS 2017, 6.1).
    pub const TIMEOUT: Duration = Duration::from_secs(180);

    /// A peer with this key and the defaults: no endpoint, no networks, UDP.
    #[must_use]
    pub const fn new(public_key: PublicKey) -> Self {
        Self {
            public_key,
            name: None,
            preshared_key: None,
            allowed_ips: Vec::new(),
            endpoint: None,
            keepalive: 0,
            transport: Transport::Udp,
            endpoint_tcp: None,
            shape_out: None,
            shape_in: None,
            vxlan: None,
            suite: SuitePolicy::Auto,
            timeout: Self::TIMEOUT,
            multi: Multi::KillOld,
            post_quantum: PostQuantum::Prefer,
            up: Vec::new(),
            down: Vec::new(),
            mode: Mode::Tun,
        }
    }
}

/// How a peer is reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// By datagrams.
    #[default]
    Udp,
    /// By a stream to its endpoint, for networks that block UDP.
    Tcp,
    /// By datagrams while the peer answers them, otherwise by a stream.
    Auto,
}

impl Peer {
    /// Where it is reached by datagrams, if it is.
    pub fn endpoint_udp(&self) -> Option<&PeerEndpoint> {
        self.endpoint.as_ref().filter(|_| self.transport != Transport::Tcp)
    }

    /// Where we connect to by TCP, if we do.
    pub fn endpoint_tcp(&self) -> Option<&PeerEndpoint> {
        match self.transport {
            Transport::Udp => None,
            Transport::Tcp => self.endpoint.as_ref(),
            Transport::Auto => self.endpoint_tcp.as_ref(),
        }
    }
}

/// Where a peer is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PeerEndpoint {
    /// By this address.
    Address(SocketAddr),
    /// By whatever address the host has when it is asked for.
    Name {
        /// The host's name, or an address with the name of an interface (`fe80::1%eth0`).
        host: String,
        /// Its UDP port.
        port: u16,
    },
}

impl PeerEndpoint {
    /// The address, where it needs no asking.
    pub const fn address(&self) -> Option<SocketAddr> {
        match self {
            Self::Address(address) => Some(*address),
            Self::Name { .. } => None,
        }
    }

    /// The name of the host, if it must be resolved.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        match self {
            Self::Address(_) => None,
            Self::Name { host, .. } => Some(host),
        }
    }
}

impl fmt::Display for PeerEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Name { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Name { host, port } => write!(f, "{host}:{port}"),
        }
    }
}
