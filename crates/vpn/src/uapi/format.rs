//! Answers.

use crate::file::keys::Key;
use crate::uapi::Snapshot;
use std::fmt::Write;
use zeroize::Zeroizing;

/// The answer to a request that has none but its status: 0 or an errno. `wg` expects the errno to be
/// negative, as wireguard-go sends it: it prints "Unknown error -98" for a positive one.
pub fn errno(errno: i32) -> String {
    format!("errno={}\n\n", -errno)
}

/// The answer to `get=1`; there are secrets in it.
pub fn get(tunnel: &Snapshot) -> Zeroizing<String> {
    let mut out = Zeroizing::new(String::with_capacity(256 + 512 * tunnel.peers.len()));
    // A string takes all: the result says nothing.
    let _ = write_snapshot(&mut out, tunnel);
    out
}

fn write_snapshot(out: &mut String, tunnel: &Snapshot) -> std::fmt::Result {
    if let Some(key) = &tunnel.private_key {
        writeln!(out, "private_key={}", *key.to_hex())?;
    }
    if tunnel.listen_port != 0 {
        writeln!(out, "listen_port={}", tunnel.listen_port)?;
    }
    if tunnel.fwmark != 0 {
        writeln!(out, "fwmark={}", tunnel.fwmark)?;
    }
    for peer in &tunnel.peers {
        writeln!(out, "public_key={}", *peer.public_key.to_hex())?;
        if let Some(key) = &peer.preshared_key {
            writeln!(out, "preshared_key={}", *key.to_hex())?;
        }
        writeln!(out, "protocol_version=1")?;
        if let Some(endpoint) = peer.endpoint {
            writeln!(out, "endpoint={endpoint}")?;
        }
        let handshake = peer.last_handshake.unwrap_or_default();
        writeln!(out, "last_handshake_time_sec={}", handshake.as_secs())?;
        writeln!(out, "last_handshake_time_nsec={}", handshake.subsec_nanos())?;
        writeln!(out, "tx_bytes={}", peer.bytes_sent)?;
        writeln!(out, "rx_bytes={}", peer.bytes_received)?;
        writeln!(out, "persistent_keepalive_interval={}", peer.keepalive)?;
        for network in &peer.allowed_ips {
            writeln!(out, "allowed_ip={network}")?;
        }
    }
    out.write_str("errno=0\n\n")
}
