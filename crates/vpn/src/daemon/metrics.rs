//! What a tunnel counts, for `/metrics`.

use crate::engine::TunnelEngine;
use crate::file::keys::Key;
use crate::file::load::Loaded;
use crate::state::PostQuantumView;
use adit_device::Mode;
use adit_packet::{Instant, IpPrefix};
use adit_runtime::{PeerCounters, PeerSockets, Runner};
use adit_service::metrics::families::{
    AUTHENTIC_AGE, CUT_TRAINS, DATAGRAMS, DROPS, Family, HANDSHAKE_AGE, LATEST_HANDSHAKE, PEER,
    PEER_CONNECTED, PEER_PATH_MTU, PEER_QUEUED, RECEIVED_BYTES, SENT_BYTES, SESSION, TRAINS,
};
use adit_service::metrics::ports::{PortSample, write_ports};
use adit_service::metrics::{Number, Page, Samples, Snapshot};
use adit_tunnel::{PeerStatus, PublicKey, Suite};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// The most networks of a peer that its label has: a peer may have thousands.
const NETWORKS_MAX: usize = 16;

/// The counts of a tunnel.
#[derive(Debug)]
struct Sample {
    interface: String,
    now: Instant,
    /// The same moment, since 1970.
    unix: Duration,
    /// The names that the configuration gives to peers.
    names: Vec<(PublicKey, Arc<str>)>,
    /// The peers, each with its networks unless they are too many.
    peers: Vec<(PeerStatus, Vec<IpPrefix>)>,
    sockets: PeerCounters,
    device: PortSample,
    /// Drops that belong to no peer.
    drops: adit_engine::DropCounts,
}

/// Copies the counters.
pub(super) fn sample(
    runner: &Runner<TunnelEngine>,
    loaded: &Loaded,
    mode: Mode,
) -> Box<dyn Snapshot> {
    let (tunnel, now) = (&runner.engine().tunnel, runner.now());
    let mut peers = Vec::with_capacity(tunnel.peers().len());
    peers.extend(tunnel.peers().filter_map(|key| {
        let networks = tunnel.allowed_ips(&key).filter(|all| all.len() <= NETWORKS_MAX);
        Some((tunnel.status(now, &key)?, networks.unwrap_or_default().to_vec()))
    }));
    let (interface, named) = (loaded.name.to_string(), loaded.config.peers.iter());
    let names = named.filter_map(|peer| Some((peer.public_key, peer.name.clone()?)));
    let device = runner.port(TunnelEngine::device(mode));
    Box::new(Sample {
        now,
        unix: SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default(),
        names: names.collect(),
        peers,
        sockets: runner.peers().map(PeerSockets::counters).unwrap_or_default(),
        device: PortSample::new(interface.clone(), device.is_some(), device, None),
        drops: tunnel.drops().clone(),
        interface,
    })
}

/// A peer with the labels that all its samples have.
struct Labelled<'a> {
    status: &'a PeerStatus,
    networks: &'a [IpPrefix],
    interface: &'a str,
    key: String,
    name: Option<&'a str>,
}

impl Labelled<'_> {
    /// Adds a sample of the peer, with further labels.
    fn add(
        &self,
        samples: &mut Samples<'_, '_>,
        more: &[(&str, &str)],
        value: impl Into<Number>,
    ) -> fmt::Result {
        let own = [("interface", self.interface), ("public_key", &self.key)];
        let mut labels = Vec::with_capacity(5);
        labels.extend(own);
        labels.extend(self.name.map(|name| ("friendly_name", name)));
        labels.extend(more);
        samples.add(&labels, value)
    }
}

impl Snapshot for Sample {
    fn write(&self, page: &mut Page<'_>) -> fmt::Result {
        let names: BTreeMap<&PublicKey, &str> =
            self.names.iter().map(|(key, name)| (key, &**name)).collect();
        let peers: Vec<Labelled<'_>> = self
            .peers
            .iter()
            .map(|(status, networks)| Labelled {
                status,
                networks,
                interface: &self.interface,
                key: status.public_key.to_base64().to_string(),
                name: names.get(&status.public_key).copied(),
            })
            .collect();
        let whole = |value: u64| Some(Number::Whole(value));
        let age = |at: Option<Instant>| Some(Number::Real(self.now.since(at?).as_secs_f64()));
        each(page, &SENT_BYTES, &peers, |peer| whole(peer.bytes_sent))?;
        each(page, &RECEIVED_BYTES, &peers, |peer| whole(peer.bytes_received))?;
        each(page, &LATEST_HANDSHAKE, &peers, |peer| {
            let at = self.unix.saturating_sub(self.now.since(peer.last_handshake?));
            whole(at.as_secs())
        })?;
        each(page, &HANDSHAKE_AGE, &peers, |peer| age(peer.last_handshake))?;
        each(page, &AUTHENTIC_AGE, &peers, |peer| age(peer.last_authentic))?;
        each(page, &PEER_CONNECTED, &peers, |peer| Some(peer.connected.into()))?;
        each(page, &PEER_QUEUED, &peers, |peer| Some(peer.queued.into()))?;
        each(page, &PEER_PATH_MTU, &peers, |peer| whole(peer.path_mtu.into()))?;
        page.family(&PEER, |samples| {
            peers.iter().try_for_each(|peer| {
                let networks: Vec<String> = peer.networks.iter().map(ToString::to_string).collect();
                peer.add(samples, &[("allowed_ips", &networks.join(","))], true)
            })
        })?;
        page.family(&SESSION, |samples| {
            peers.iter().try_for_each(|peer| {
                let secret = PostQuantumView::from(peer.status.post_quantum);
                let suite = peer.status.suite.map(Suite::name);
                // Without a key that it must have, a peer has no session that carries data.
                let suite = suite.or((secret == PostQuantumView::Refused).then_some("none"));
                let Some(suite) = suite else { return Ok(()) };
                peer.add(samples, &[("suite", suite), ("post_quantum", secret.as_str())], true)
            })
        })?;
        self.write_sockets(page)?;
        write_ports(page, std::slice::from_ref(&self.device))?;
        page.family(&DROPS, |samples| {
            for peer in &peers {
                let mut drops = peer.status.drops.iter();
                drops.try_for_each(|(why, n)| peer.add(samples, &[("reason", why.as_str())], n))?;
            }
            self.add_other_drops(samples)
        })
    }
}

/// Writes a family with a value of each peer that has one.
fn each(
    page: &mut Page<'_>,
    family: &Family,
    peers: &[Labelled<'_>],
    value: impl Fn(&PeerStatus) -> Option<Number>,
) -> fmt::Result {
    page.family(family, |samples| {
        let values = peers.iter().filter_map(|peer| Some((peer, value(peer.status)?)));
        values.into_iter().try_for_each(|(peer, value)| peer.add(samples, &[], value))
    })
}

impl Sample {
    fn write_sockets(&self, page: &mut Page<'_>) -> fmt::Result {
        let sockets = &self.sockets;
        let mut both = |family, [ingress, egress]: [u64; 2]| {
            page.family(family, |samples| {
                samples.add(&[("direction", "ingress")], ingress)?;
                samples.add(&[("direction", "egress")], egress)
            })
        };
        both(&DATAGRAMS, [sockets.received_datagrams, sockets.sent_datagrams])?;
        both(&TRAINS, [sockets.received, sockets.sent])?;
        page.one(&CUT_TRAINS, sockets.cut)
    }

    /// Drops at the device and the sockets, and in the tunnel before a peer is known.
    fn add_other_drops(&self, samples: &mut Samples<'_, '_>) -> fmt::Result {
        self.device.add_drops(samples)?;
        let of_sockets = [
            ("ingress", "receive buffer full", self.sockets.overflow),
            ("ingress", "waited too long", self.sockets.late),
            ("ingress", "no buffer", self.sockets.no_buffer),
            ("egress", "queue full", self.sockets.queue_full),
            ("egress", "too big", self.sockets.too_big),
            ("egress", "refused by the kernel", self.sockets.refused),
        ];
        for (direction, reason, count) in of_sockets.into_iter().filter(|(_, _, count)| *count > 0)
        {
            samples.add(&[("direction", direction), ("reason", reason)], count)?;
        }
        self.drops.iter().try_for_each(|(why, n)| samples.add(&[("reason", why.as_str())], n))
    }
}
