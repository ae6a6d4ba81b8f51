//! The parts of a plan: plain data.

use crate::model::LinkName;
use crate::plan::table::Routes;
use adit_device::{IfName, MacAddr};
use adit_packet::IpPrefix;
use adit_tunnel::PrivateKey;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// A node with interfaces.
#[derive(Clone, Debug)]
pub struct Station {
    /// The node, by its place in the lab.
    pub node: usize,
    /// Its interfaces but `lo`, in the order in which they are numbered.
    pub interfaces: Vec<Interface>,
    /// Addresses of `lo`, beside 127.0.0.1 and ::1.
    pub loopback: Vec<IpPrefix>,
    /// Its routes beside those to connected networks, given ones included.
    pub routes: Routes,
    /// What leaves by this interface, by its place, gets its address as source.
    pub masquerade: Option<usize>,
    /// The text of its `/etc/hosts`.
    pub hosts: Arc<str>,
    /// Its name servers; its `/etc/resolv.conf` has a line for each.
    pub dns: Vec<IpAddr>,
}

/// An interface of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Its name inside.
    pub name: IfName,
    /// The link, by its place in the lab, and which end of it.
    pub link: (usize, usize),
    /// Its MAC address.
    pub mac: MacAddr,
    /// Its IP MTU.
    pub mtu: u16,
    /// Its addresses, those of IPv4 first.
    pub addresses: Vec<IpPrefix>,
}

/// A link of a NAT: hosts there have a way out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outlet {
    /// The NAT, by its place in the lab.
    pub node: usize,
    /// The link, by its place in the lab, and which end of it.
    pub link: (usize, usize),
    /// The MAC address of the gateway.
    pub mac: MacAddr,
    /// The addresses of the gateway, at most one of each family, with their networks.
    pub gateways: Vec<IpPrefix>,
    /// The addresses of the name server, one of each family.
    pub resolvers: Vec<IpAddr>,
    /// Networks behind the routers at its link, each with the address of its router there.
    pub routes: Vec<(IpPrefix, IpAddr)>,
}

/// A tunnel with its keys and addresses.
#[derive(Clone, Debug)]
pub struct Tunnel {
    /// Its two ends.
    pub ends: [TunnelEnd; 2],
}

/// An end of a tunnel.
#[derive(Clone, Debug)]
pub struct TunnelEnd {
    /// The node, by its place in the lab.
    pub node: usize,
    /// The interface.
    pub interface: IfName,
    /// Its private key, drawn from the seed: for tests, and no secret.
    pub private_key: PrivateKey,
    /// Its addresses.
    pub addresses: Vec<IpPrefix>,
    /// Where the other end reaches it; `None` if the node has no address.
    pub endpoint: Option<SocketAddr>,
    /// Its IP MTU.
    pub mtu: u16,
}

/// How a link is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cable {
    /// The link.
    pub name: LinkName,
    /// How it is made.
    pub medium: Medium,
    /// What its random decisions are drawn from.
    pub seed: u64,
}

/// How a link is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Medium {
    /// A veth pair of the kernel: no packet enters this process.
    Veth,
    /// A port at each end (a TAP, the socket of a guest, a port outside), joined in this process.
    Taps,
    /// A port at this end (a TAP, the socket of a guest, a port outside); the other end is an engine of this process.
    Port(usize),
    /// A patch cable between two engines of this process: no device, no system call.
    Patch,
}

impl Station {
    /// The text of its `/etc/resolv.conf`; `None` without a name server.
    #[must_use]
    pub fn resolv_conf(&self) -> Option<String> {
        let lines = self.dns.iter().map(|ip| format!("nameserver {ip}\n"));
        (!self.dns.is_empty()).then(|| lines.collect())
    }
}
