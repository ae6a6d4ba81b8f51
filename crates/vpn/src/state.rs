//! Conversions between the configuration, the engine, and the reported state.

use crate::address::{address, endpoint_text, udp};
use crate::endpoints::Endpoints;
use crate::engine::TunnelEngine;
use crate::file::config::{Multi, Peer, PeerEndpoint, Transport};
use crate::file::keys::Key;
use crate::rates::{Rate, Rates};
use crate::streams::Connections;
use crate::uapi::{PeerChange, PeerSnapshot, Snapshot};
use adit_engine::Endpoint;
use adit_packet::Instant;
use adit_runtime::{PeerCounters, PeerSockets, Runner};
use adit_service::control::http::Request;
use adit_service::control::page;
use adit_service::error::Result;
use adit_service::sandbox::{self, SandboxState};
use adit_tunnel::{PeerConfig, PeerMode, PeerStatus, PostQuantumStatus, PublicKey};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::time::{Duration, SystemTime};

/// The state of a tunnel.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(title = "adit tunnel show")]
pub struct View {
    /// The name of its device.
    pub ifname: String,
    /// Its public key; absent if it has no private one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub public_key: Option<String>,
    /// The sandbox that its process is in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sandbox: Option<SandboxState>,
    /// The UDP port that it listens on.
    pub listen_port: u16,
    /// The IP MTU of its device.
    pub mtu: u32,
    /// Whether this machine is faster with AES-GCM than with ChaCha20-Poly1305: what `suite = "auto"` decides by.
    #[serde(default)]
    pub aes_is_faster: bool,
    /// The mark on its own datagrams; absent if there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fwmark: Option<u32>,
    /// The counters of its sockets.
    pub datagrams: Datagrams,
    /// The connections to its TCP port; absent if it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connections: Option<Connections>,
    /// Packets dropped that belong to no peer, by reason.
    pub drops: Vec<Dropped>,
    /// Addresses, routes and rules that others have removed and that cannot be restored, with the reason.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<String>,
    /// Its peers.
    pub peers: Vec<PeerView>,
}

/// Counters of a tunnel's sockets.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Datagrams {
    /// Datagrams received, also from unknown hosts.
    pub received: u64,
    /// The same in trains: datagrams that cross the kernel together.
    pub received_trains: u64,
    /// Datagrams sent.
    pub sent: u64,
    /// The same in trains: datagrams that cross the kernel together.
    pub sent_trains: u64,
    /// Trains that the kernel or the card refused, sent one by one.
    pub cut_trains: u64,
    /// Trains that are longer than the path takes, lost.
    pub too_big: u64,
    /// Trains that the network or its filter refused, lost.
    pub refused: u64,
    /// Trains that found the socket's queue full, lost.
    pub queue_full: u64,
    /// Datagrams or trains that found the receive buffer full, lost.
    #[serde(default)]
    pub receive_buffer_full: u64,
    /// Datagrams that had waited too long in the receive buffer, lost.
    #[serde(default)]
    pub waited_too_long: u64,
    /// Datagrams for which there was no buffer, lost.
    pub no_buffer: u64,
}

impl From<PeerCounters> for Datagrams {
    fn from(counters: PeerCounters) -> Self {
        Self {
            received: counters.received_datagrams,
            received_trains: counters.received,
            sent: counters.sent_datagrams,
            sent_trains: counters.sent,
            cut_trains: counters.cut,
            too_big: counters.too_big,
            refused: counters.refused,
            queue_full: counters.queue_full,
            receive_buffer_full: counters.overflow,
            waited_too_long: counters.late,
            no_buffer: counters.no_buffer,
        }
    }
}

/// Packets dropped for one reason.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Dropped {
    /// Why.
    pub reason: String,
    /// How many.
    pub count: u64,
}

/// Whether the session with a peer has a post-quantum key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum PostQuantumView {
    /// It is not wanted.
    #[default]
    Off,
    /// It has none: there is no session, or the peer cannot.
    Inactive,
    /// It has one.
    Active,
    /// It has none, which this peer must have: no data crosses.
    Refused,
}

impl PostQuantumView {
    /// Its word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Inactive => "inactive",
            Self::Active => "active",
            Self::Refused => "refused",
        }
    }
}

impl From<PostQuantumStatus> for PostQuantumView {
    fn from(status: PostQuantumStatus) -> Self {
        match status {
            PostQuantumStatus::Inactive => Self::Inactive,
            PostQuantumStatus::Active => Self::Active,
            PostQuantumStatus::Refused => Self::Refused,
            _ => Self::Off,
        }
    }
}

/// The state of a peer.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct PeerView {
    /// By which it is known.
    pub public_key: String,
    /// Whether packets can be sent to it now.
    pub connected: bool,
    /// Where it was last heard, or where the configuration has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// The name by which its endpoint is found.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint_name: Option<String>,
    /// How we reach it, if not only by UDP: `tcp`, or `auto`, where the endpoint shows the current one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub transport: Option<Transport>,
    /// The networks behind it.
    pub allowed_ips: Vec<String>,
    /// Whether both have a preshared key.
    pub preshared_key: bool,
    /// Seconds since the last handshake; absent if there was none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub handshake_age_s: Option<f64>,
    /// Seconds since the last packet that proved to be the peer's; absent if there was none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub authentic_age_s: Option<f64>,
    /// For how many seconds it has owed an answer, to data or to a handshake; absent if it owes none. A peer answers
    /// data after 10 s at the latest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unanswered_s: Option<f64>,
    /// How many milliseconds its last response to a handshake of ours took; absent before the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub round_trip_ms: Option<f64>,
    /// Bytes received from it.
    pub received_bytes: u64,
    /// Bytes sent to it.
    pub sent_bytes: u64,
    /// Bits received from it per second, the mean of the last two to three seconds.
    #[serde(default)]
    pub received_bits_per_s: u64,
    /// Bits sent to it per second, the mean of the last two to three seconds.
    #[serde(default)]
    pub sent_bits_per_s: u64,
    /// Seconds between keepalives; absent if they are off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keepalive_s: Option<u64>,
    /// The longest IP packet that fits the way to it.
    pub path_mtu: u16,
    /// Whether it is adit as well.
    pub adit: bool,
    /// The cipher of what is sent to it; absent without a session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cipher: Option<String>,
    /// Which ciphers it may use, as configured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suite: Option<String>,
    /// Whether its session has a post-quantum key.
    #[serde(default)]
    pub post_quantum: PostQuantumView,
    /// Packets that wait for a handshake.
    pub queued: usize,
    /// Packets dropped, by reason.
    pub drops: Vec<Dropped>,
}

/// What a reload changed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(title = "adit tunnel reload")]
pub struct Reloaded {
    /// Peers that are new.
    pub added: usize,
    /// Peers of which something changed.
    pub changed: usize,
    /// Peers that are gone.
    pub removed: usize,
    /// Peers that did not change.
    pub unchanged: usize,
}

/// The body of `/upgrade`.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Upgrade {
    /// Do nothing if the running program is the installed one.
    pub if_changed: bool,
}

/// The reply to `/upgrade`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Upgraded {
    /// The process that runs the tunnel now.
    pub pid: u32,
    /// Whether it is another one than before.
    pub is_new: bool,
    /// How long no packet moved, in microseconds.
    pub gap_us: u64,
}

/// The state of a tunnel; `missing` is what others have removed from the host.
#[must_use]
pub fn view(
    runner: &Runner<TunnelEngine>,
    endpoints: &Endpoints,
    rates: &Rates,
    ifname: String,
    mtu: u32,
    missing: &[String],
) -> View {
    let tunnel = &runner.engine().tunnel;
    View {
        ifname,
        sandbox: sandbox::state(),
        public_key: tunnel.public_key().map(|key| key.to_base64().to_string()),
        listen_port: runner.peers().map_or(0, PeerSockets::port),
        mtu,
        aes_is_faster: tunnel.config().aes_is_faster,
        fwmark: Some(endpoints.options().mark).filter(|&mark| mark != 0),
        datagrams: runner.peers().map(PeerSockets::counters).unwrap_or_default().into(),
        connections: endpoints.connections(),
        drops: dropped(tunnel.drops()),
        missing: missing.to_vec(),
        peers: peers(runner, endpoints, rates),
    }
}

/// The state of each peer.
fn peers(runner: &Runner<TunnelEngine>, endpoints: &Endpoints, rates: &Rates) -> Vec<PeerView> {
    views(runner, endpoints, rates, runner.engine().tunnel.peers())
}

/// Some of the peers of a tunnel.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct PeerPage {
    /// The peers, in the order of their public keys as bytes.
    pub peers: Vec<PeerView>,
    /// The `page` of the next request; not there at the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

impl PeerPage {
    /// The page that a request asks for.
    ///
    /// # Errors
    /// The request has no token of this list.
    pub fn of(
        runner: &Runner<TunnelEngine>,
        endpoints: &Endpoints,
        rates: &Rates,
        request: &Request,
    ) -> Result<Self> {
        const LIST: &str = "peers";
        let after = page::place(LIST, request)?;
        let after = after.map(|place| place.parse().map_err(|_| page::wrong(LIST)));
        let after = after.transpose()?.map(|key: PublicKey| key.0);
        let keys = runner.engine().tunnel.peers();
        let (keys, has_more) = page::cut(keys, after.as_ref(), |key: &PublicKey| key.0);
        let last = keys.last().filter(|_| has_more);
        let next = last.map(|key| page::token(LIST, &key.to_base64()));
        Ok(Self { peers: views(runner, endpoints, rates, keys.into_iter()), next })
    }
}

fn views(
    runner: &Runner<TunnelEngine>,
    endpoints: &Endpoints,
    rates: &Rates,
    keys: impl Iterator<Item = PublicKey>,
) -> Vec<PeerView> {
    let (tunnel, now) = (&runner.engine().tunnel, runner.now());
    let view = |key: PublicKey| {
        let (status, config) = (tunnel.status(now, &key)?, tunnel.peer_config(&key)?);
        let endpoint = status.endpoint.map(|endpoint| endpoint_text(runner, endpoint));
        let (endpoint_name, transport) = (endpoints.name_of(&key), endpoints.transport(&key));
        let view = peer_view(&status, &config, rates.of(now, &status), now);
        Some(PeerView { endpoint, endpoint_name, transport, ..view })
    };
    keys.filter_map(view).collect()
}

fn peer_view(status: &PeerStatus, config: &PeerConfig, rate: Rate, now: Instant) -> PeerView {
    let age = |at: Instant| (now.since(at).as_secs_f64() * 1000.0).round() / 1000.0;
    PeerView {
        public_key: status.public_key.to_base64().to_string(),
        connected: status.connected,
        endpoint: None,
        endpoint_name: None,
        transport: None,
        allowed_ips: config.allowed_ips.iter().map(ToString::to_string).collect(),
        preshared_key: config.preshared_key.is_some(),
        handshake_age_s: status.last_handshake.map(age),
        authentic_age_s: status.last_authentic.map(age),
        unanswered_s: status.unanswered.map(age),
        round_trip_ms: status.round_trip.map(|time| time.as_secs_f64() * 1000.0),
        received_bytes: status.bytes_received,
        sent_bytes: status.bytes_sent,
        received_bits_per_s: rate.received,
        sent_bits_per_s: rate.sent,
        keepalive_s: config.persistent_keepalive.map(|every| every.as_secs()),
        path_mtu: status.path_mtu,
        adit: status.extensions,
        cipher: status.suite.map(|suite| suite.name().to_owned()),
        suite: Some(config.suite.name().to_owned()),
        post_quantum: status.post_quantum.into(),
        queued: status.queued,
        drops: dropped(&status.drops),
    }
}

/// Drops by reason, those that occurred.
pub fn dropped(drops: &adit_engine::DropCounts) -> Vec<Dropped> {
    drops.iter().map(|(why, count)| Dropped { reason: why.to_string(), count }).collect()
}

/// A peer for the engine; `endpoint` is its endpoint, if that is known without a lookup.
pub fn peer_config(peer: &Peer, endpoint: Option<Endpoint>, mode: PeerMode) -> PeerConfig {
    // A peer with `timeout = off` keeps its endpoint: it never counts as disconnected.
    let pinned = if peer.timeout.is_zero() { Duration::MAX } else { peer.timeout };
    PeerConfig {
        mode,
        shape_out: peer.shape_out,
        shape_in: peer.shape_in,
        suite: peer.suite,
        preshared_key: peer.preshared_key.clone(),
        endpoint,
        allowed_ips: peer.allowed_ips.clone(),
        persistent_keepalive: seconds(peer.keepalive),
        post_quantum: peer.post_quantum,
        pinned: (peer.multi == Multi::No).then_some(pinned),
        ..PeerConfig::new(peer.public_key)
    }
}

/// The endpoint of a peer, if it needs no lookup.
pub fn known(peer: &Peer) -> Option<Endpoint> {
    peer.endpoint_udp().and_then(PeerEndpoint::address).map(Endpoint::Udp)
}

/// A peer after a change by `wg`; `None` if there is nothing to change. `wg setconf` replaces a peer: what
/// its files cannot say stays as it is, such as the mode, a rate, and the way to a peer by TCP.
pub fn changed(
    before: Option<PeerConfig>,
    change: &PeerChange,
    is_replaced: bool,
) -> Option<PeerConfig> {
    if before.is_none() && change.update_only {
        return None;
    }
    let mut peer = before.unwrap_or_else(|| PeerConfig::new(change.public_key));
    if is_replaced {
        (peer.preshared_key, peer.persistent_keepalive) = (None, None);
        peer.allowed_ips.clear();
        peer.endpoint = peer.endpoint.filter(|endpoint| udp(*endpoint).is_none());
    }
    if let Some(key) = &change.preshared_key {
        peer.preshared_key.clone_from(key);
    }
    if let Some(endpoint) = change.endpoint {
        peer.endpoint = Some(Endpoint::Udp(endpoint));
    }
    if let Some(keepalive) = change.keepalive {
        peer.persistent_keepalive = seconds(keepalive);
    }
    if change.replace_allowed_ips {
        peer.allowed_ips.clear();
    }
    for network in change.allowed_ips.iter().copied() {
        if !peer.allowed_ips.contains(&network) {
            peer.allowed_ips.push(network);
        }
    }
    for network in &change.forbidden_ips {
        peer.allowed_ips.retain(|known| known != network);
    }
    Some(peer)
}

/// A change by `wg`, without the address of the peer's stream: `wg` returns what it was given, and by that a peer
/// does not move from TCP to UDP.
pub fn beside_its_stream(
    runner: &Runner<TunnelEngine>,
    before: Option<&PeerConfig>,
    change: &PeerChange,
) -> PeerChange {
    let endpoint = before.and_then(|before| before.endpoint);
    let stream = endpoint.filter(|endpoint| matches!(endpoint, Endpoint::Port(_)));
    let far = stream.and_then(|stream| address(runner, stream));
    let endpoint = change.endpoint.filter(|endpoint| far != Some(*endpoint));
    PeerChange { endpoint, ..change.clone() }
}

/// The state of a tunnel, for `wg`.
pub fn snapshot(runner: &Runner<TunnelEngine>, listen_port: u16, fwmark: u32) -> Snapshot {
    let (tunnel, now) = (&runner.engine().tunnel, runner.now());
    let unix = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
    let peer = |key: PublicKey| {
        let (status, config) = (tunnel.status(now, &key)?, tunnel.peer_config(&key)?);
        let keepalive = config.persistent_keepalive.unwrap_or_default().as_secs();
        Some(PeerSnapshot {
            public_key: key,
            preshared_key: config.preshared_key,
            endpoint: status.endpoint.and_then(|at| address(runner, at)),
            last_handshake: status.last_handshake.map(|at| unix.saturating_sub(now.since(at))),
            bytes_sent: status.bytes_sent,
            bytes_received: status.bytes_received,
            keepalive: u16::try_from(keepalive).unwrap_or(u16::MAX),
            allowed_ips: config.allowed_ips.clone(),
        })
    };
    Snapshot {
        private_key: tunnel.config().private_key.clone(),
        listen_port,
        fwmark,
        peers: tunnel.peers().filter_map(peer).collect(),
    }
}

fn seconds(seconds: u16) -> Option<Duration> {
    (seconds != 0).then(|| Duration::from_secs(seconds.into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use adit_tunnel::Shape;

    #[test]
    fn a_change_of_wg_changes_what_it_names() {
        let key = PublicKey([1; 32]);
        let mut change = PeerChange::new(key);
        change.update_only = true;
        assert_eq!(changed(None, &change, false), None, "there is none to be updated");
        change.update_only = false;
        change.endpoint = Some("192.0.2.1:5".parse().unwrap());
        change.allowed_ips = vec!["192.0.2.0/24".parse().unwrap(), "10.0.0.0/8".parse().unwrap()];
        change.keepalive = Some(25);
        let peer = changed(None, &change, false).unwrap();
        assert_eq!(peer.persistent_keepalive, Some(Duration::from_secs(25)));

        let mut second = PeerChange::new(key);
        second.allowed_ips = vec!["10.0.0.0/8".parse().unwrap(), "::/0".parse().unwrap()];
        second.forbidden_ips = vec!["192.0.2.0/24".parse().unwrap()];
        second.keepalive = Some(0);
        let peer = changed(Some(peer), &second, false).unwrap();
        let networks: Vec<_> = peer.allowed_ips.iter().map(ToString::to_string).collect();
        assert_eq!(networks, ["10.0.0.0/8", "::/0"]);
        assert_eq!((peer.persistent_keepalive, peer.endpoint.is_some()), (None, true));

        second.replace_allowed_ips = true;
        second.allowed_ips.truncate(1);
        let mut peer = changed(Some(peer), &second, false).unwrap();
        assert_eq!(peer.allowed_ips.len(), 1);

        peer.shape_out = Some(Shape { bits_per_second: 1000, burst: Shape::BURST });
        let replaced = changed(Some(peer.clone()), &PeerChange::new(key), true).unwrap();
        let plain = PeerConfig { shape_out: peer.shape_out, ..PeerConfig::new(key) };
        assert_eq!(replaced, plain);
        peer.endpoint = Some(Endpoint::Port(adit_engine::PortId(7)));
        let replaced = changed(Some(peer.clone()), &PeerChange::new(key), true).unwrap();
        assert_eq!(replaced.endpoint, peer.endpoint, "wg shows no address of a stream");
    }
}
