//! The source of a message: what limits count by.

use core::net::IpAddr;

use adit_engine::Endpoint;

/// An address as limits count it, the same for UDP and TCP: an IPv4 address, or an IPv6 /64, since a host can
/// use all addresses of its /64. A stream whose address is unknown, such as a pipe, is a source of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Source(Kind);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Kind {
    V4(u32),
    V6(u64),
    Port(u16),
    Flow(u64),
}

impl From<IpAddr> for Source {
    fn from(address: IpAddr) -> Self {
        Self(match address.to_canonical() {
            IpAddr::V4(ip) => Kind::V4(ip.to_bits()),
            IpAddr::V6(ip) => {
                let [a, b, c, d, e, f, g, h, ..] = ip.octets();
                Kind::V6(u64::from_be_bytes([a, b, c, d, e, f, g, h]))
            }
        })
    }
}

impl From<Endpoint> for Source {
    fn from(endpoint: Endpoint) -> Self {
        match endpoint {
            Endpoint::Udp(address) => address.ip().into(),
            Endpoint::Port(port) => Self(Kind::Port(port.0)),
            Endpoint::Flow(flow) => Self(Kind::Flow(flow.0)),
        }
    }
}
