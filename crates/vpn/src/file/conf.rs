//! The files of `wg-quick` and `wg setconf`, as they are.
//!
//! ```text
//! [Interface]                # one or more sections, keys in any case, comments to the line's end
//! PrivateKey = base64
//! Address = 192.0.2.1/24, 2001:db8::1/64
//! [Peer]                     # one section a peer
//! PublicKey = base64
//! AllowedIPs = 0.0.0.0/0, ::/0
//! ```
//!
//! Where `wg` takes the last of two equal keys, this is a mistake; so are programs to run, unless they
//! are allowed. Sources: wg(8), wg-quick(8).

use crate::file::config::{Config, Hook, Interface, Peer};
use crate::file::keys::Key;
use crate::file::values;
use adit_service::config::problems::Problems;
use adit_service::config::source::Source;
use adit_service::config::suggest::nearest;
use adit_service::metrics::ListenAddress;
use adit_tunnel::PublicKey;
use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::str::FromStr;

/// What is done about programs that a file wants to be run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HookPolicy {
    /// They are a mistake: who wrote the file could do anything by them.
    #[default]
    Refuse,
    /// They are left out.
    Skip,
    /// They are run, without a shell.
    Run,
}

impl HookPolicy {
    /// The words for the policies.
    pub const WORDS: [&str; 3] = ["refuse", "skip", "run"];
}

impl FromStr for HookPolicy {
    type Err = &'static str;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        match word {
            "refuse" => Ok(Self::Refuse),
            "skip" => Ok(Self::Skip),
            "run" => Ok(Self::Run),
            _ => Err("expected refuse, skip or run"),
        }
    }
}

/// The last five are adit's own: `wg-quick` refuses them.
const INTERFACE_KEYS: [&str; 17] = [
    "PrivateKey",
    "ListenPort",
    "FwMark",
    "Address",
    "DNS",
    "MTU",
    "Table",
    "PreUp",
    "PostUp",
    "PreDown",
    "PostDown",
    "SaveConfig",
    "KillSwitch",
    "BlockIPv6",
    "Log",
    "Metrics",
    "Page",
];

/// The last two are adit's own.
const PEER_KEYS: [&str; 7] = [
    "PublicKey",
    "PresharedKey",
    "AllowedIPs",
    "Endpoint",
    "PersistentKeepalive",
    "PostQuantum",
    "Suite",
];

/// Keys that may stand more than once in a section, each time with more values.
const LISTS: [&str; 7] = ["Address", "DNS", "AllowedIPs", "PreUp", "PostUp", "PreDown", "PostDown"];

/// Reads a file; what is wrong goes to `problems`, and the rest is read all the same.
pub fn read(source: &Source, problems: &Problems, hooks: HookPolicy) -> Config {
    let mut reader = Reader {
        source,
        problems,
        hooks,
        number: 0,
        section: Section::None,
        config: Config::default(),
        interface_keys: BTreeMap::new(),
        peers: BTreeMap::new(),
    };
    let mut at = 0;
    for line in source.text().split_inclusive('\n') {
        reader.number += 1;
        reader.line(at, line);
        at += line.len();
    }
    reader.end_section();
    reader.config
}

/// What a file has at the moment of reading.
struct Reader<'a> {
    source: &'a Source,
    problems: &'a Problems,
    hooks: HookPolicy,
    /// The line that is read, from 1.
    number: usize,
    section: Section,
    config: Config,
    /// The keys of all [Interface] sections and the lines where they are.
    interface_keys: BTreeMap<&'static str, usize>,
    /// The peers that there are and the lines where they are.
    peers: BTreeMap<PublicKey, usize>,
}

#[derive(Default)]
enum Section {
    /// Before the first.
    #[default]
    None,
    /// A section whose name is wrong: its keys would only be consequences.
    Unknown,
    Interface,
    Peer(Box<PeerSection>),
}

struct PeerSection {
    header: Range<usize>,
    keys: BTreeMap<&'static str, usize>,
    /// With a key of zeros until its own is read.
    peer: Peer,
    has_key: bool,
}

/// A piece of the file and where it is.
#[derive(Clone)]
struct Piece<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Piece<'a> {
    fn trimmed(&self) -> Self {
        let start = self.text.trim_start();
        Self { at: self.at + self.text.len() - start.len(), text: start.trim_end() }
    }

    fn span(&self) -> Range<usize> {
        self.at..self.at + self.text.len()
    }

    /// The items of a list, without the empty ones.
    fn items(&self) -> impl Iterator<Item = Self> + use<'a> {
        let (mut at, text) = (self.at, self.text);
        let pieces = text.split(',').map(move |text| {
            let piece = Piece { text, at };
            at += text.len() + 1;
            piece.trimmed()
        });
        pieces.filter(|piece| !piece.text.is_empty())
    }
}

impl<'a> Reader<'a> {
    fn line(&mut self, at: usize, line: &'a str) {
        let bom = if at == 0 { line.len() - line.trim_start_matches('\u{feff}').len() } else { 0 };
        let end = line.find('#').unwrap_or(line.len()).max(bom);
        let content = Piece { text: &line[bom..end], at: at + bom }.trimmed();
        if content.text.is_empty() {
            return self.comment(line.get(end + 1..).unwrap_or_default());
        }
        if content.text.starts_with('[') {
            return self.header(&content);
        }
        let Some((key, value)) = content.text.split_once('=') else {
            let help = "write KEY = VALUE, [Interface], [Peer], or a comment after #";
            return self.problem(content.span(), "not a setting", Some(help.to_owned()));
        };
        let value = Piece { text: value, at: content.at + key.len() + 1 }.trimmed();
        self.setting(&Piece { text: key, at: content.at }.trimmed(), &value);
    }

    fn header(&mut self, header: &Piece<'_>) {
        self.end_section();
        let inner = header.text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
        let name = inner.map(|name| name.trim().to_ascii_lowercase()).unwrap_or_default();
        self.section = match name.as_str() {
            "interface" => Section::Interface,
            "peer" => Section::Peer(Box::new(PeerSection {
                header: header.span(),
                keys: BTreeMap::new(),
                peer: Peer::new(PublicKey([0; 32])),
                has_key: false,
            })),
            _ => {
                let word = header.text.trim_matches(['[', ']', ' ']);
                let help = nearest(word, ["Interface", "Peer"]).map_or_else(
                    || "the sections are [Interface] and [Peer]".to_owned(),
                    |name| format!("did you mean [{name}]?"),
                );
                self.problem(header.span(), "unknown section", Some(help));
                Section::Unknown
            }
        };
    }

    /// A comment below `[Peer]` and above its first setting is the name of the peer, as the exporter for `wg` has it.
    fn comment(&mut self, text: &str) {
        let Section::Peer(section) = &mut self.section else { return };
        if section.keys.is_empty() && section.peer.name.is_none() {
            let text = text.trim_start_matches('#').trim();
            let given = text.strip_prefix("friendly_name").map(str::trim_start);
            let given = given.and_then(|rest| rest.strip_prefix('=')).map(str::trim);
            // Something else with '=' is a setting that was commented out.
            let name = given.or((!text.contains('=')).then_some(text));
            section.peer.name = name.and_then(|name| values::peer_name(name).ok());
        }
    }

    fn end_section(&mut self) {
        let Section::Peer(section) = std::mem::take(&mut self.section) else { return };
        let PeerSection { header, peer, has_key, keys } = *section;
        let Some(line) = keys.get("PublicKey").filter(|_| has_key).copied() else {
            // An invalid key was reported.
            if !keys.contains_key("PublicKey") {
                self.problem(header, "this peer has no PublicKey", None);
            }
            return;
        };
        if let Some(first) = self.peers.insert(peer.public_key, line) {
            let help =
                format!("its first section has its key at line {first}: merge the two sections");
            self.problem(header, "duplicate peer", Some(help));
        }
        self.config.peers.push(peer);
    }

    fn setting(&mut self, key: &Piece<'_>, value: &Piece<'_>) {
        let (known, other) = match self.section {
            Section::Unknown => return,
            Section::None => {
                let help = Some("start a section with [Interface] or [Peer]".to_owned());
                return self.problem(key.span(), "setting outside of a section", help);
            }
            Section::Interface => (&INTERFACE_KEYS[..], ("[Peer]", &PEER_KEYS[..])),
            Section::Peer(_) => (&PEER_KEYS[..], ("[Interface]", &INTERFACE_KEYS[..])),
        };
        let find = |keys: &[&'static str]| {
            keys.iter().find(|name| name.eq_ignore_ascii_case(key.text)).copied()
        };
        let Some(name) = find(known) else {
            let help = match (find(other.1), nearest(key.text, known.iter().copied())) {
                (Some(name), _) => format!("{name} belongs to {}", other.0),
                (None, Some(name)) => format!("did you mean {name}?"),
                (None, None) => format!("known settings: {}", known.join(", ")),
            };
            let message = format!("unknown setting '{}'", adit_service::text::clean(key.text));
            return self.problem(key.span(), message, Some(help));
        };
        if let Some(first) = self.seen_before(name) {
            let help = format!("its first value is at line {first}");
            return self.problem(key.span(), format!("{name} is given twice"), Some(help));
        }
        // Taken out, so that both it and the rest can be changed.
        match std::mem::take(&mut self.section) {
            Section::Peer(mut section) => {
                self.peer_setting(&mut section, name, value);
                self.section = Section::Peer(section);
            }
            section => {
                let mut interface = std::mem::take(&mut self.config.interface);
                self.interface_setting(&mut interface, name, value);
                self.config.interface = interface;
                self.section = section;
            }
        }
    }

    /// The line where a key that may be there once was before; notes where it is now.
    fn seen_before(&mut self, name: &'static str) -> Option<usize> {
        let line = self.number;
        let keys = match &mut self.section {
            Section::Peer(section) => &mut section.keys,
            _ => &mut self.interface_keys,
        };
        let first = *keys.entry(name).or_insert(line);
        (first != line && !LISTS.contains(&name)).then_some(first)
    }

    fn interface_setting(&mut self, to: &mut Interface, name: &'static str, value: &Piece<'_>) {
        match name {
            "PrivateKey" => to.private_key = self.value(value, key),
            "ListenPort" => to.listen_port = self.value(value, values::port),
            "FwMark" => to.fwmark = self.value(value, values::fwmark),
            "Address" => to.addresses.extend(self.list(value, values::address)),
            "MTU" => to.mtu = self.value(value, values::mtu),
            "Table" => to.table = self.value(value, values::table).unwrap_or_default(),
            "SaveConfig" => {
                to.save_config = self.value(value, values::boolean).unwrap_or_default();
            }
            "KillSwitch" => {
                to.kill_switch = self.value(value, values::boolean).unwrap_or_default();
            }
            "BlockIPv6" => {
                to.block_ipv6 = self.value(value, values::boolean).unwrap_or_default();
            }
            "Log" => to.log = self.value(value, parsed),
            "Metrics" => {
                let metrics = self.value(value, parsed);
                self.listen(to, (metrics, to.metrics), value);
            }
            "Page" => {
                let page = self.value(value, parsed);
                self.listen(to, (to.metrics, page), value);
            }
            "DNS" => {
                for item in value.items() {
                    match item.text.parse() {
                        Ok(ip) => to.dns.push(ip),
                        Err(_) => to.dns_search.extend(self.value(&item, values::domain)),
                    }
                }
            }
            "PreUp" => to.hooks.pre_up.extend(self.hook(name, value)),
            "PostUp" => to.hooks.post_up.extend(self.hook(name, value)),
            "PreDown" => to.hooks.pre_down.extend(self.hook(name, value)),
            "PostDown" => to.hooks.post_down.extend(self.hook(name, value)),
            _ => {}
        }
    }

    /// Takes one of the addresses for metrics and the page beside the other one, which may have been there before.
    fn listen(
        &self,
        to: &mut Interface,
        (metrics, page): (Option<ListenAddress>, Option<ListenAddress>),
        value: &Piece<'_>,
    ) {
        match ListenAddress::of_both(metrics, page) {
            Ok(both) => to.metrics = both,
            Err(error) => {
                self.problem(value.span(), error, Some("they share one address".to_owned()));
            }
        }
    }

    fn peer_setting(&self, to: &mut PeerSection, name: &'static str, value: &Piece<'_>) {
        let peer = &mut to.peer;
        match name {
            "PublicKey" => {
                if let Some(public_key) = self.value(value, key) {
                    (peer.public_key, to.has_key) = (public_key, true);
                }
            }
            "PresharedKey" => peer.preshared_key = self.value(value, key),
            "AllowedIPs" => peer.allowed_ips.extend(self.list(value, values::network)),
            "Endpoint" => peer.endpoint = self.value(value, values::endpoint),
            "PersistentKeepalive" => {
                peer.keepalive = self.value(value, values::keepalive).unwrap_or_default();
            }
            "Suite" => peer.suite = self.value(value, values::suite).unwrap_or_default(),
            "PostQuantum" => {
                peer.post_quantum = self.value(value, values::post_quantum).unwrap_or_default();
            }
            _ => {}
        }
    }

    fn hook(&self, name: &str, value: &Piece<'_>) -> Option<Hook> {
        match self.hooks {
            HookPolicy::Skip => None,
            HookPolicy::Run => self.value(value, values::hook),
            HookPolicy::Refuse => {
                let message = format!("{name} runs a program, which is not allowed");
                let help =
                    "allow it with --hooks run, or leave it out with --hooks skip".to_owned();
                self.problem(value.span(), message, Some(help));
                None
            }
        }
    }

    fn value<T>(&self, value: &Piece<'_>, parse: impl Fn(&str) -> values::Result<T>) -> Option<T> {
        parse(value.text).map_err(|message| self.problem(value.span(), message, None)).ok()
    }

    fn list<T>(&self, value: &Piece<'_>, parse: impl Fn(&str) -> values::Result<T>) -> Vec<T> {
        value.items().filter_map(|item| self.value(&item, &parse)).collect()
    }

    fn problem(&self, span: Range<usize>, message: impl fmt::Display, help: Option<String>) {
        self.problems.push(self.source, span, message, help);
    }
}

fn parsed<T: FromStr<Err: fmt::Display>>(text: &str) -> values::Result<T> {
    text.parse().map_err(|error: T::Err| error.to_string())
}

fn key<K: Key>(text: &str) -> values::Result<K> {
    K::from_base64(text).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests;
