//! Addresses of endpoints, for people and for hooks.

use crate::engine::TunnelEngine;
use adit_engine::Endpoint;
use adit_runtime::Runner;
use std::net::SocketAddr;

/// An endpoint for people: an address, or the name of a port.
#[must_use]
pub fn endpoint_text(runner: &Runner<TunnelEngine>, at: Endpoint) -> String {
    match at {
        Endpoint::Udp(address) => address.to_string(),
        Endpoint::Port(port) => {
            runner.port(port).map_or(String::new(), |(port, _)| port.name().to_owned())
        }
        Endpoint::Flow(flow) => flow.to_string(),
    }
}

/// The address of a peer at an endpoint, also by TCP; an IPv4 address as such.
#[must_use]
pub fn address(runner: &Runner<TunnelEngine>, at: Endpoint) -> Option<SocketAddr> {
    let address = match at {
        Endpoint::Udp(address) => address,
        Endpoint::Port(_) => endpoint_text(runner, at).strip_prefix("tcp:")?.parse().ok()?,
        Endpoint::Flow(_) => return None,
    };
    Some(canonical(address))
}

/// An IPv4 address that came through an IPv6 socket (`::ffff:192.0.2.1`) as an IPv4 address.
#[must_use]
pub fn canonical(address: SocketAddr) -> SocketAddr {
    match address.ip().to_canonical() {
        ip if ip == address.ip() => address,
        ip => SocketAddr::new(ip, address.port()),
    }
}

/// The UDP address of an endpoint, if it is one.
pub fn udp(endpoint: Endpoint) -> Option<SocketAddr> {
    match endpoint {
        Endpoint::Udp(address) => Some(address),
        Endpoint::Port(_) | Endpoint::Flow(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ipv4_address_is_shown_as_such() {
        let text = |text: &str| canonical(text.parse().unwrap()).to_string();
        assert_eq!(text("[::ffff:192.0.2.1]:5"), "192.0.2.1:5");
        assert_eq!(text("[2001:db8::1]:5"), "[2001:db8::1]:5");
        assert_eq!(text("192.0.2.1:5"), "192.0.2.1:5");
    }
}
