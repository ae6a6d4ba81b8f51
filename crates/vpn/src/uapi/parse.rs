//! Requests.

use crate::file::keys::Key;
use crate::file::values::canonical;
use crate::uapi::{BadRequest, PeerChange, Request, SetRequest};
use adit_device::broker::InetSocket;
use adit_device::netlink::IpPrefix;
use adit_device::rights::open_inet;
use adit_tunnel::{KEY_LEN, PublicKey};
use rustix::net::netdevice;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV6};

/// Where the first request in `bytes` ends: behind the empty line.
pub fn end_of_request(bytes: &[u8]) -> Option<usize> {
    bytes.windows(2).position(|pair| pair == b"\n\n").map(|at| at + 2)
}

/// Reads one request, with or without its empty line.
///
/// # Errors
/// [`BadRequest`] if anything in it is unknown or invalid: then nothing of it must be done.
pub fn parse(bytes: &[u8]) -> Result<Request, BadRequest> {
    let text = std::str::from_utf8(bytes).map_err(|_| BadRequest)?;
    let text = text.trim_end_matches('\n');
    let mut lines = text.split('\n');
    match lines.next() {
        Some("get=1") if lines.next().is_none() => Ok(Request::Get),
        Some("set=1") => {
            let mut request = SetRequest::default();
            for line in lines {
                let (key, value) = line.split_once('=').ok_or(BadRequest)?;
                set(&mut request, key, value).ok_or(BadRequest)?;
            }
            Ok(Request::Set(Box::new(request)))
        }
        _ => Err(BadRequest),
    }
}

fn set(request: &mut SetRequest, key: &str, value: &str) -> Option<()> {
    if key == "public_key" {
        request.peers.push(PeerChange::new(PublicKey::from_hex(value)?));
        return Some(());
    }
    if let Some(peer) = request.peers.last_mut() {
        return set_peer(peer, key, value);
    }
    match key {
        "private_key" => {
            request.private_key = Some(key_or_none(value)?);
        }
        "listen_port" => request.listen_port = Some(number(value)?),
        "fwmark" => request.fwmark = Some(if value.is_empty() { 0 } else { number(value)? }),
        "replace_peers" => request.replace_peers = is_true(value)?,
        _ => return None,
    }
    Some(())
}

fn set_peer(peer: &mut PeerChange, key: &str, value: &str) -> Option<()> {
    match key {
        "remove" => peer.remove = is_true(value)?,
        "update_only" => peer.update_only = is_true(value)?,
        "preshared_key" => {
            peer.preshared_key = Some(key_or_none(value)?);
        }
        "endpoint" => peer.endpoint = Some(endpoint(value)?),
        "persistent_keepalive_interval" => peer.keepalive = Some(number(value)?),
        "replace_allowed_ips" => peer.replace_allowed_ips = is_true(value)?,
        "allowed_ip" => match value.strip_prefix('-') {
            Some(value) => peer.forbidden_ips.push(network(value)?),
            None => peer.allowed_ips.push(network(value.strip_prefix('+').unwrap_or(value))?),
        },
        "protocol_version" if value == "1" => {}
        _ => return None,
    }
    Some(())
}

impl PeerChange {
    /// No change yet to the peer with this key.
    #[must_use]
    pub const fn new(public_key: PublicKey) -> Self {
        Self {
            public_key,
            remove: false,
            update_only: false,
            preshared_key: None,
            endpoint: None,
            keepalive: None,
            replace_allowed_ips: false,
            allowed_ips: Vec::new(),
            forbidden_ips: Vec::new(),
        }
    }
}

/// A key of zeros means that there is none.
fn key_or_none<K: Key>(text: &str) -> Option<Option<K>> {
    if text.len() == 2 * KEY_LEN && text.bytes().all(|digit| digit == b'0') {
        return Some(None);
    }
    K::from_hex(text).map(Some)
}

fn number<T: std::str::FromStr>(text: &str) -> Option<T> {
    // A sign is none of a number here.
    text.parse().ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()))
}

fn is_true(text: &str) -> Option<bool> {
    (text == "true").then_some(true)
}

fn network(text: &str) -> Option<IpPrefix> {
    text.parse().ok().map(IpPrefix::network)
}

/// An address and a port that somebody can be at. A link-local one has a zone, which `wg` sends as the name
/// of an interface.
fn endpoint(text: &str) -> Option<SocketAddr> {
    let address = text.parse().ok().or_else(|| {
        let (ip, rest) = text.strip_prefix('[')?.split_once('%')?;
        let (zone, port) = rest.rsplit_once("]:")?;
        Some(SocketAddrV6::new(ip.parse().ok()?, number(port)?, 0, index_of(zone)?).into())
    });
    address.filter(|endpoint: &SocketAddr| endpoint.port() != 0).map(canonical)
}

/// The index of an interface in the namespace of the tunnel's sockets. Nothing here waits.
fn index_of(name: &str) -> Option<u32> {
    let any = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
    let socket = open_inet(&InetSocket::udp(any)).ok()?;
    netdevice::name_to_index(socket, name).ok()
}
