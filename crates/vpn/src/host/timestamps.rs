//! The timestamps of handshakes and the addresses of peers, kept across restarts.
//!
//! A responder accepts only initiations with a later timestamp than any before (NDSS 2017, 5.1). If it
//! forgot them at a restart, a recorded initiation would be accepted once more. If we forgot our own and the
//! clock went back, our peers would refuse us until it caught up. Each tunnel has a file, which is replaced
//! as a whole, at most once a second:
//!
//! ```text
//! sent OUR-PUBLIC-KEY TIMESTAMP
//! from PUBLIC-KEY TIMESTAMP
//! at PUBLIC-KEY ADDRESS
//! pq PUBLIC-KEY ml-kem-768
//! ```
//!
//! A peer with a `pq` line had a session with a post-quantum key, and must have one again.
//! The address is for an endpoint that has a name: behind a kill switch that stands from before, no name is
//! resolved until the tunnel is up.
//! A peer has a second `from` line if a timestamp of it was more than a day ahead of our clock.
//! Keys in base64, timestamps in hexadecimal (TAI64N).

use crate::address::udp;
use crate::file::config::{Peer, PeerEndpoint};
use crate::file::keys::Key;
use crate::host::questions::write_timestamps;
use adit_engine::Endpoint;
use adit_packet::Instant;
use adit_service::event::Events;
use adit_service::helper;
use adit_tunnel::{PublicKey, Tai64n, Tunnel};
use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::io::{self, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long after a handshake the file is written: the handshakes of many peers cost one write.
const SAVE_AFTER: Duration = Duration::from_secs(1);

/// The longest file that is read: 50,000 peers of 150 bytes.
const FILE_LEN_MAX: u64 = 8 << 20;

/// By which post-quantum keys are exchanged.
const KEM: &str = "ml-kem-768";

/// The timestamps of one tunnel, and their file.
#[derive(Debug, Default)]
pub struct Timestamps {
    /// `None` if nothing can be kept.
    file: Option<PathBuf>,
    /// What the file has.
    text: String,
    sent: BTreeMap<PublicKey, Tai64n>,
    received: BTreeMap<PublicKey, Vec<Tai64n>>,
    addresses: BTreeMap<PublicKey, SocketAddr>,
    post_quantum: BTreeSet<PublicKey>,
    due: Option<Instant>,
}

impl Timestamps {
    /// Reads the file of the tunnel of this name. A mistake in the file is a warning.
    pub fn open(name: &str, events: &Events) -> Self {
        let Some(file) = file_of(name) else { return Self::default() };
        let mut timestamps = Self::default();
        match read(&file) {
            Ok(text) => {
                let bad = text.lines().filter(|line| timestamps.take(line).is_none()).count();
                if bad > 0 {
                    events.note(format!("warning: {}: {bad} lines ignored", file.display()));
                }
                timestamps.text = text;
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => events.note(format!("warning: cannot read {}: {error}", file.display())),
        }
        timestamps.file = Some(file);
        timestamps
    }

    fn take(&mut self, line: &str) -> Option<()> {
        let mut words = line.split(' ');
        let (kind, key, value) = (words.next()?, words.next()?, words.next()?);
        let key = PublicKey::from_base64(key).ok()?;
        match kind {
            "sent" => self.sent.extend([(key, parse_stamp(value)?)]),
            "from" => self.received.entry(key).or_default().push(parse_stamp(value)?),
            "at" => self.addresses.extend([(key, value.parse().ok()?)]),
            "pq" if value == KEM => self.post_quantum.extend([key]),
            _ => return None,
        }
        Some(())
    }

    /// The greatest timestamp that was sent with this key.
    pub fn sent(&self, key: &PublicKey) -> Option<Tai64n> {
        self.sent.get(key).copied()
    }

    /// Gives the tunnel what is known of a peer from before: its greatest timestamps (one, and one that was too far
    /// ahead of our clock), and whether it had a post-quantum key.
    pub fn restore(&self, now: Instant, tunnel: &mut Tunnel, peer: &PublicKey) {
        for &timestamp in self.received.get(peer).into_iter().flatten() {
            tunnel.raise_timestamp(now, peer, timestamp);
        }
        if self.post_quantum.contains(peer) {
            tunnel.remember_post_quantum(peer);
        }
    }

    /// Where a peer was last whose endpoint has a name that must be resolved.
    #[must_use]
    pub fn endpoint(&self, peer: &Peer) -> Option<Endpoint> {
        let has_name = matches!(peer.endpoint_udp(), Some(PeerEndpoint::Name { .. }));
        let address = self.addresses.get(&peer.public_key).filter(|_| has_name);
        address.copied().map(Endpoint::Udp)
    }

    /// Notes a handshake: the file must be written soon.
    pub fn note(&mut self, now: Instant) {
        if self.file.is_some() {
            self.due.get_or_insert(now.checked_add(SAVE_AFTER).unwrap_or(Instant::MAX));
        }
    }

    /// When the file must be written.
    #[must_use]
    pub fn due(&self) -> Option<Instant> {
        self.due
    }

    /// What must be written, if that differs from the file. [`Self::saved`] takes the result.
    pub fn begin_save(&mut self, tunnel: &Tunnel) -> Option<Save> {
        self.due = None;
        let file = self.file.clone()?;
        let text = text_of(tunnel);
        (text != self.text).then_some(Save { file, text })
    }

    /// Takes the result of a save. A failure is a warning, once.
    pub fn saved(&mut self, save: Save, result: io::Result<()>, events: &Events) {
        match result {
            Ok(()) => self.text = save.text,
            Err(error) => {
                events.note(format!("warning: cannot write {}: {error}", save.file.display()));
                self.file = None;
            }
        }
    }
}

/// A file that must be written.
#[derive(Debug)]
pub struct Save {
    file: PathBuf,
    text: String,
}

impl Save {
    /// Writes it as a whole; readable for this user only.
    ///
    /// # Errors
    /// EACCES, ENOSPC, EROFS.
    pub fn write(&self) -> io::Result<()> {
        write_timestamps(&self.file, &self.text)
    }
}

fn text_of(tunnel: &Tunnel) -> String {
    let sent = tunnel.public_key().zip(tunnel.last_timestamp()).map(|(key, at)| ("sent", key, at));
    let received = tunnel.peers().flat_map(|key| {
        let stamps = [tunnel.timestamp_of(&key), tunnel.timestamp_ahead_of(&key)];
        stamps.into_iter().flatten().map(move |stamp| ("from", key, stamp))
    });
    let stamps = sent.into_iter().chain(received).map(|(kind, key, stamp)| {
        let hex: String = stamp.to_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
        (kind, key, hex)
    });
    let addresses = tunnel.peers().filter_map(|key| {
        let address = tunnel.peer_config(&key)?.endpoint.and_then(udp)?;
        Some(("at", key, address.to_string()))
    });
    let had = tunnel.peers().filter(|key| tunnel.had_post_quantum(key));
    let lines = stamps.chain(addresses).chain(had.map(|key| ("pq", key, KEM.to_owned())));
    lines.map(|(kind, key, value)| format!("{kind} {} {value}\n", *key.to_base64())).collect()
}

fn parse_stamp(text: &str) -> Option<Tai64n> {
    let mut bytes = [0; Tai64n::LEN];
    if text.len() != 2 * Tai64n::LEN || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * at..2 * at + 2)?, 16).ok()?;
    }
    Some(Tai64n::from_bytes(bytes))
}

/// The file of the tunnel of this name, if there is a place for one.
pub(crate) fn file_of(name: &str) -> Option<PathBuf> {
    Some(folder()?.join(format!("{name}.timestamps")))
}

/// The folder that systemd made for the service, else the user's own, or root's.
/// The folder of the files, if there is a place for one.
pub(crate) fn folder() -> Option<PathBuf> {
    let set = |name| env::var_os(name).filter(|path| !path.is_empty()).map(PathBuf::from);
    let of_service = set("STATE_DIRECTORY");
    let of_user = || Some(set("XDG_STATE_HOME")?.join("adit"));
    let of_root =
        || (adit_service::sandbox::owner().0 == 0).then(|| PathBuf::from("/var/lib/adit"));
    let at_home = || Some(set("HOME")?.join(".local/state/adit"));
    of_service.or_else(of_user).or_else(of_root).or_else(at_home)
}

fn read(file: &Path) -> io::Result<String> {
    let mut text = String::new();
    helper::open_file(file)?.take(FILE_LEN_MAX).read_to_string(&mut text)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn written_text_is_read_back() {
        let mut timestamps = Timestamps::default();
        let (key, stamp) = (PublicKey([7; 32]), Tai64n::from_unix(Duration::from_secs(1)));
        let line = format!("from {} 400000000000000b00000000", *key.to_base64());
        assert_eq!(timestamps.take(&line), Some(()));
        assert_eq!((&timestamps.received[&key], timestamps.sent(&key)), (&vec![stamp], None));
        let at = format!("at {} [fe80::1%7]:51820", *key.to_base64());
        assert_eq!(timestamps.take(&at), Some(()));
        assert_eq!(timestamps.addresses[&key].to_string(), "[fe80::1%7]:51820");
        let pq = format!("pq {} ml-kem-768", *key.to_base64());
        assert!(!timestamps.post_quantum.contains(&key));
        assert_eq!(timestamps.take(&pq), Some(()));
        assert!(timestamps.post_quantum.contains(&key));
        for bad in [
            "",
            "from",
            &pq.replace("768", "512"),
            "from x 40",
            "was a b",
            &line[..60],
            &line.replace('4', "+"),
        ] {
            assert_eq!(timestamps.take(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn any_line_is_read(line in "(sent|from|at|pq)? ?[A-Za-z0-9+/]{0,44}=? ?\\PC{0,30}") {
            let _ = Timestamps::default().take(&line);
        }
    }
}
