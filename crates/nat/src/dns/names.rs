//! Names of our own.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};

use crate::dns::PORT;
use crate::dns::message::{Known, Query};
use crate::dns::name::Name;

/// Reads the name and the address of a host: `db.test=10.0.0.9`.
///
/// # Errors
/// Which part is wrong.
pub fn parse_host(text: &str) -> Result<(Name, IpAddr), String> {
    let (name, ip) = text.split_once('=').unwrap_or((text, ""));
    let name =
        name.parse().map_err(|_| format!("'{}' is no name of a host", name.escape_debug()))?;
    let ip = ip.parse().map_err(|_| format!("'{}' is no IP address", ip.escape_debug()))?;
    Ok((name, ip))
}

/// Reads a name server: an address, or address and port.
///
/// # Errors
/// It is none.
pub fn parse_server(text: &str) -> Result<SocketAddr, String> {
    let server = text.parse().map(|ip: IpAddr| SocketAddr::new(ip, PORT)).or_else(|_| text.parse());
    server.map_err(|_| format!("'{}' is no IP address", text.escape_debug()))
}

/// The names that the NAT answers itself, with their addresses.
///
/// Everything below `adit.internal` is its own: what is not listed there does not exist, and no name server
/// outside is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnNames {
    zone: Name,
    addresses: BTreeMap<Name, Vec<IpAddr>>,
    hosts: BTreeMap<Name, Name>,
}

impl OwnNames {
    /// Addresses of one name: with more an answer would not fit into 512 bytes.
    pub const ADDRESSES_MAX: usize = 8;
    /// `adit.internal` as it is on the wire.
    const ZONE: &[u8] = b"\x04adit\x08internal\x00";

    /// No name yet.
    #[must_use]
    pub fn new() -> Self {
        let zone = Name::from_wire(Self::ZONE);
        Self { zone, addresses: BTreeMap::new(), hosts: BTreeMap::new() }
    }

    /// Adds an address to a name. The first name of an address is that of its PTR record. Addresses beyond
    /// [`Self::ADDRESSES_MAX`] are ignored: `false`.
    pub fn add(&mut self, name: Name, ip: IpAddr) -> bool {
        let ips = self.addresses.entry(name.clone()).or_default();
        let has_room = ips.contains(&ip) || ips.len() < Self::ADDRESSES_MAX;
        if has_room && !ips.contains(&ip) {
            ips.push(ip);
            self.hosts.entry(Name::reverse(ip)).or_insert(name);
        }
        has_room
    }

    /// What is known of the name of a query; `None` if it is not ours.
    pub(super) fn find(&self, query: &Query<'_>) -> Option<Known<'_>> {
        if !query.is_of_internet() {
            return None;
        }
        if let Some(ips) = self.addresses.get(&query.name) {
            return Some(Known::Addresses(ips));
        }
        if let Some(host) = self.hosts.get(&query.name) {
            return Some(Known::Host(host));
        }
        let at = query.name.offset_of(&self.zone)?;
        // A name between the zone and one of ours exists (RFC 8020).
        let is_between = self.addresses.keys().any(|name| name.offset_of(&query.name).is_some());
        Some(if at == 0 || is_between { Known::Nothing } else { Known::NoName(at) })
    }
}

impl Default for OwnNames {
    fn default() -> Self {
        Self::new()
    }
}
