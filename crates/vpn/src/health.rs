//! What is wrong with a tunnel.

use crate::state::{Dropped, PeerView, PostQuantumView, View};
use adit_service::error::Entry;
use adit_service::health::{Finding, Growth, Health};
use std::time::Duration;

/// A peer does not answer.
const SILENT: Entry = Entry {
    code: "ADIT-E0860",
    title: "a peer does not answer",
    explanation: "Data or a handshake was sent to the peer, and nothing came back that its keys authenticate. A \
                  peer that runs answers data after 10 s at the latest. The peer does not run, no datagram \
                  reaches its endpoint or comes back from there, or the keys of the two sides do not match.",
    remedy: "See whether the peer runs, whether UDP to its endpoint passes ('adit capture' on both sides), and whether \
             each side has the other's public key and both the same preshared key.",
};

/// Others have removed what the tunnel needs.
const MISSING: Entry = Entry {
    code: "ADIT-E0865",
    title: "a setting of the tunnel was removed from the host",
    explanation: "Another program has removed an address, route or rule that the tunnel made, and it cannot be \
                  restored.",
    remedy: "Stop the other program from managing the device (docs: services), then 'adit tunnel reload'.",
};

/// A peer has no post-quantum key, and must have one.
const NOT_POST_QUANTUM: Entry = Entry {
    code: "ADIT-E0866",
    title: "a peer has no post-quantum key",
    explanation: "The configuration requires a post-quantum key for this peer, and the peer offers none. No data \
                  crosses.",
    remedy: "Set 'post_quantum' on the other side as well, which must be adit, or set it to 'prefer' here.",
};

/// The codes of findings about tunnels.
pub const CATALOG: [Entry; 3] = [SILENT, MISSING, NOT_POST_QUANTUM];

/// From then on a peer that owes an answer counts as silent: it sends one after 10 s, and the protocol begins a
/// handshake after 15 s (NDSS 2017, 6.5).
pub const SILENT_AFTER: Duration = Duration::from_secs(15);

/// As many characters of a public key are shown.
const KEY_SHOWN: usize = 8;

impl PeerView {
    /// Whether it has not answered for so long that something must be wrong.
    #[must_use]
    pub fn is_silent(&self) -> bool {
        self.unanswered_s.is_some_and(|silent| silent >= SILENT_AFTER.as_secs_f64())
    }

    /// The start of its key, by which people know it.
    #[must_use]
    pub fn short_key(&self) -> String {
        self.public_key.chars().take(KEY_SHOWN).collect()
    }
}

impl Health for View {
    fn findings(&self, before: Option<(&Self, Duration)>) -> Vec<Finding> {
        let mut findings: Vec<Finding> = self.peers.iter().filter_map(silent).collect();
        let refused = |peer: &&PeerView| peer.post_quantum == PostQuantumView::Refused;
        findings.extend(self.peers.iter().filter(refused).map(|peer| {
            let message = "it has no post-quantum key: no data crosses";
            Finding::new(&NOT_POST_QUANTUM, peer.short_key(), message)
        }));
        let missing = self.missing.iter();
        findings.extend(missing.map(|what| Finding::new(&MISSING, "", format!("missing: {what}"))));
        if let Some((before, over)) = before {
            findings.extend(growing(before, self).finding("", over));
            let of = |key: &str| before.peers.iter().find(|peer| peer.public_key == key);
            findings.extend(self.peers.iter().filter_map(|now| {
                let before = of(&now.public_key)?;
                let mut growth = Growth::default();
                growth.passed(packets(before), packets(now));
                note(&mut growth, &before.drops, &now.drops);
                growth.finding(now.short_key(), over)
            }));
        }
        findings
    }
}

fn silent(peer: &PeerView) -> Option<Finding> {
    let silent = peer.unanswered_s.filter(|_| peer.is_silent())?;
    let heard = match peer.authentic_age_s {
        None => "it was never heard".to_owned(),
        Some(age) => format!("last heard {age:.0} s ago"),
    };
    let at =
        peer.endpoint.as_ref().map_or("it has no endpoint".to_owned(), |at| format!("at {at}"));
    let mut message = format!("no answer for {silent:.0} s, {heard}, {at}");
    if peer.queued > 0 {
        message.push_str(&format!("; {} packets wait for a handshake", peer.queued));
    }
    let mut finding = Finding::new(&SILENT, peer.short_key(), message);
    if peer.endpoint.is_none() {
        "The peer has no endpoint: it must send first.".clone_into(&mut finding.cause);
        "Give its Endpoint in the file, or let the peer connect.".clone_into(&mut finding.remedy);
    }
    Some(finding)
}

/// Packets that crossed, about: a view counts bytes.
const fn packets(peer: &PeerView) -> u64 {
    peer.received_bytes.saturating_add(peer.sent_bytes) / PACKET_LEN
}

/// A mean length of packets, to compare bytes with packets that were dropped.
const PACKET_LEN: u64 = 600;

/// What the sockets and the tunnel itself dropped between two reports.
fn growing(before: &View, now: &View) -> Growth {
    let mut growth = Growth::default();
    let (old, new) = (&before.datagrams, &now.datagrams);
    growth.passed(old.received, new.received);
    growth.passed(old.sent, new.sent);
    for (why, old, new) in [
        ("too big", old.too_big, new.too_big),
        ("refused by the network", old.refused, new.refused),
        ("queue full", old.queue_full, new.queue_full),
        ("receive buffer full", old.receive_buffer_full, new.receive_buffer_full),
        ("waited too long", old.waited_too_long, new.waited_too_long),
        ("no buffer", old.no_buffer, new.no_buffer),
    ] {
        growth.dropped(why, old, new);
    }
    note(&mut growth, &before.drops, &now.drops);
    growth
}

fn note(growth: &mut Growth, before: &[Dropped], now: &[Dropped]) {
    for Dropped { reason, count } in now {
        let before = before.iter().find(|drop| drop.reason == *reason);
        growth.dropped(reason, before.map_or(0, |drop| drop.count), *count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn view(peer: serde_json::Value) -> View {
        let mut all = json!({
            "public_key": "c3RhcnRvZmFrZXk=", "connected": true, "allowed_ips": [], "preshared_key": false,
            "received_bytes": 0, "sent_bytes": 0, "path_mtu": 1420, "adit": false, "queued": 0, "drops": [],
        });
        let all = all.as_object_mut().unwrap();
        all.extend(peer.as_object().unwrap().clone());
        let counts = [
            "received",
            "received_trains",
            "sent",
            "sent_trains",
            "cut_trains",
            "too_big",
            "refused",
            "queue_full",
            "no_buffer",
        ];
        let datagrams: serde_json::Map<_, _> =
            counts.iter().map(|name| ((*name).to_owned(), json!(0))).collect();
        serde_json::from_value(json!({
            "ifname": "wg0", "listen_port": 51820, "mtu": 1420, "datagrams": datagrams, "drops": [], "peers": [all],
        }))
        .unwrap()
    }

    #[test]
    fn a_peer_that_owes_an_answer_for_long_is_silent() {
        assert_eq!(view(json!({})).findings(None), []);
        assert_eq!(view(json!({ "unanswered_s": 14.9, "queued": 3 })).findings(None), []);
        assert_eq!(view(json!({ "authentic_age_s": 90000.0 })).findings(None), [], "idle");
        let at = json!({ "unanswered_s": 21.2, "authentic_age_s": 40.0, "endpoint": "192.0.2.1:5", "queued": 3 });
        let found = &view(at).findings(None)[0];
        assert_eq!((&*found.code, &*found.object), ("ADIT-E0860", "c3RhcnRv"));
        assert_eq!(
            found.message,
            "no answer for 21 s, last heard 40 s ago, at 192.0.2.1:5; 3 packets wait for a handshake"
        );
        let nowhere = &view(json!({ "unanswered_s": 15.0 })).findings(None)[0];
        assert!(nowhere.message.contains("never heard, it has no endpoint"), "{nowhere:?}");
        assert!(nowhere.remedy.contains("Endpoint"), "{nowhere:?}");
    }

    #[test]
    fn what_is_removed_and_what_grows_is_found() {
        let before = view(json!({ "post_quantum": "refused" }));
        let mut now = before.clone();
        now.missing.push("route 10.0.0.0/8".to_owned());
        now.drops.push(Dropped { reason: "no peer".to_owned(), count: 60 });
        now.peers[0].drops.push(Dropped { reason: "source not allowed".to_owned(), count: 9 });
        let found = now.findings(Some((&before, Duration::from_secs(1))));
        let found: Vec<_> = found.iter().map(|one| (&*one.code, &*one.object)).collect();
        let expected = [
            ("ADIT-E0866", "c3RhcnRv"),
            ("ADIT-E0865", ""),
            ("ADIT-E0861", ""),
            ("ADIT-E0861", "c3RhcnRv"),
        ];
        assert_eq!(found, expected);
    }
}
