//! Addresses of endpoints, for people and for hooks.

use crate::engine::TunnelEngine;
use crate::file::values::canonical;
use adit_engine::Endpoint;
use adit_runtime::Runner;
use std::net::SocketAddr;

/// An endpoint for people: an address, or the name of a port.
#[must_use]
pub fn endpoint_text(runner: &Runner<TunnelEngine>, at: Endpoint) -> String {
    match at {
        Endpoint::Udp(address) => canonical(address).to_string(),
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

/// The UDP address of an endpoint, if it is one.
pub fn udp(endpoint: Endpoint) -> Option<SocketAddr> {
    match endpoint {
        Endpoint::Udp(address) => Some(address),
        Endpoint::Port(_) | Endpoint::Flow(_) => None,
    }
}
