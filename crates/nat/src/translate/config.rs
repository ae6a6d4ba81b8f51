//! What a NAT is made with: addresses, limits, and how long flows live.

use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use core::time::Duration;

use adit_packet::IpPrefix;
use adit_packet::units::Bitrate;

use super::policy::Policy;

/// How long flows live without a packet. Each value is the least that its RFC allows, or its default.
pub mod timeout {
    use super::Duration;

    /// A UDP mapping: RFC 4787, REQ-5.
    pub const UDP: Duration = Duration::from_secs(300);
    /// A UDP mapping for port 53 alone: RFC 4787, REQ-5 b, allows less for well-known ports. A resolver
    /// asks again within 5 s.
    pub const DNS: Duration = Duration::from_secs(30);
    /// An ICMP query: RFC 5508, REQ-2.
    pub const ECHO: Duration = Duration::from_secs(60);
    /// A TCP connection that is open: RFC 5382, REQ-5.
    pub const TCP_OPEN: Duration = Duration::from_secs(2 * 3600 + 4 * 60);
    /// A TCP connection that opens or closes: RFC 5382, REQ-5.
    pub const TCP_OPENING: Duration = Duration::from_secs(4 * 60);
    /// Fragments of a datagram, from the first that came: RFC 1122, 3.3.2, and RFC 8200, 4.5, name 60 s;
    /// Linux waits 30 s.
    pub const FRAGMENTS: Duration = Duration::from_secs(30);
}

/// Which datagrams reach an inside address and port that has sent some (RFC 4787, 5).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UdpFiltering {
    /// Those from an address and port that the inside has sent to.
    #[default]
    AddressAndPortDependent,
    /// Those from anywhere.
    EndpointIndependent,
}

/// What bounds the memory of a NAT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Flows in all. Each takes a descriptor of the process; without load 1 KiB.
    pub flows: usize,
    /// Flows of one inside address.
    pub flows_per_source: u32,
    /// Flows that one inside address begins in a second; `None`: any number.
    pub new_flows_per_second: Option<u32>,
    /// Bits a second of one inside address, in each direction; `None`: any number.
    pub source_rate: Option<Bitrate>,
    /// Bytes of TCP segments that came out of order, in all; one connection keeps at most its window.
    pub reorder_bytes: usize,
    /// Bytes of fragments that wait for others, in all.
    pub fragment_bytes: usize,
    /// ICMP errors that the NAT itself sends in a second (RFC 4443, 2.4 f).
    pub errors_per_second: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            flows: 16_384,
            flows_per_source: 16_384,
            new_flows_per_second: None,
            source_rate: None,
            reorder_bytes: 16 << 20,
            fragment_bytes: 4 << 20,
            errors_per_second: 1000,
        }
    }
}

/// The configuration of a [`Nat`](super::Nat).
///
/// ```
/// use adit_nat::{Config, UdpFiltering};
///
/// let mut config = Config::new([7; 16]);
/// config.inside = vec!["10.0.2.0/24".parse().unwrap(), "fd00::/64".parse().unwrap()];
/// config.gateway_v4 = Some([10, 0, 2, 2].into());
/// config.udp_filtering = UdpFiltering::EndpointIndependent;
/// assert_eq!(config.mtu, 1500);
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// The prefixes of the inside: packets from other sources are dropped.
    pub inside: Vec<IpPrefix>,
    /// The prefixes are those of the host's network as well: its other hosts are outside, though their addresses
    /// are in them.
    pub has_neighbours: bool,
    /// The address of the NAT inside, of which ICMP errors come, and which stands for the host where the
    /// policy says so.
    pub gateway_v4: Option<Ipv4Addr>,
    /// The same for IPv6.
    pub gateway_v6: Option<Ipv6Addr>,
    /// Inside addresses and ports that the owner of the NAT serves by TCP: a connection to one of them opens a
    /// flow to that same address, whatever the policy says.
    pub served: Vec<SocketAddr>,
    /// IP protocols that are not translated.
    pub without: Vec<u8>,
    /// The MTU of the inside, at least 1280.
    pub mtu: u16,
    /// Which destinations are reached.
    pub policy: Policy,
    /// Which datagrams come in.
    pub udp_filtering: UdpFiltering,
    /// The runtime joins connections of the inside to its flows, but those to addresses of the inside, where their SYN has [`SPLICE_TAG`](crate::SPLICE_TAG).
    pub splice: bool,
    /// What bounds the memory.
    pub limits: Limits,
    /// From the system's randomness: keys the flow table and the initial sequence numbers (RFC 6528).
    pub secret: [u8; 16],
}

impl Config {
    /// The least MTU: what IPv6 needs (RFC 8200, 5).
    pub const MTU_MIN: u16 = 1280;

    /// A NAT with MTU 1500 and the default policy for no inside address yet.
    #[must_use]
    pub fn new(secret: [u8; 16]) -> Self {
        Self {
            inside: Vec::new(),
            has_neighbours: false,
            gateway_v4: None,
            gateway_v6: None,
            served: Vec::new(),
            without: Vec::new(),
            mtu: 1500,
            policy: Policy::default(),
            udp_filtering: UdpFiltering::default(),
            splice: false,
            limits: Limits::default(),
            secret,
        }
    }

    /// The inside address of the NAT in the family of another address.
    #[must_use]
    pub fn gateway(&self, family_of: IpAddr) -> Option<IpAddr> {
        match family_of {
            IpAddr::V4(_) => self.gateway_v4.map(IpAddr::V4),
            IpAddr::V6(_) => self.gateway_v6.map(IpAddr::V6),
        }
    }

    /// Whether an address is one of the inside.
    #[must_use]
    pub fn is_inside(&self, address: IpAddr) -> bool {
        self.inside.iter().any(|prefix| prefix.contains(address))
    }
}
