//! A port as a command line or a file writes it.
//!
//! ```text
//! KIND:ARGUMENT[,KEY=VALUE | ,FLAG]...        a comma inside a value is written twice
//! ```

use crate::text::user::{Group, User};
use adit_device::{IfName, MacAddr, Mode, NamePattern};
use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;

/// What a port is to be: plain data, opened by [`PortSpec::open`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortSpec {
    /// The port itself.
    pub kind: PortKind,
    /// The keys that are not the port's own, in order: the engine's. A flag has no value.
    pub rest: Vec<(String, Option<String>)>,
}

/// The kinds of port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PortKind {
    /// `tap:NAME`, `tun:NAME`: a device, made or attached to.
    Device(DeviceSpec),
    /// `dev:NAME`: an interface that is there, by a packet socket.
    Interface(InterfaceSpec),
    /// `unix:PATH`: QEMU's `-netdev stream` and `-netdev dgram`.
    Unix(UnixSpec),
    /// `vxlan:REMOTE`: RFC 7348 over UDP.
    Vxlan(VxlanSpec),
    /// `stdio`: frames with a length before them on standard input and output.
    Stdio,
    /// `pcap:FILE`: a recording, played back.
    Pcap(PcapSpec),
}

/// A TUN or TAP device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceSpec {
    /// TUN or TAP.
    pub mode: Mode,
    /// Its name, or a pattern with `%d`.
    pub name: NamePattern,
    /// The namespace in which it is: a name, a path or the id of a process.
    pub netns: Option<String>,
    /// Who may attach to it without privilege.
    pub user: Option<User>,
    /// Which group may.
    pub group: Option<Group>,
    /// Its hardware address.
    pub mac: Option<MacAddr>,
    /// Its IP MTU.
    pub mtu: Option<u32>,
    /// How many packets wait for us before the kernel drops.
    pub txqueuelen: Option<u32>,
    /// Whether it stays when we end.
    pub persist: Option<bool>,
}

/// An interface that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InterfaceSpec {
    /// Its name.
    pub name: IfName,
    /// The namespace in which it is.
    pub netns: Option<String>,
}

/// A unix socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnixSpec {
    /// Where it is in the file system.
    pub path: PathBuf,
    /// Who is at its other end.
    pub role: UnixRole,
}

/// Which end of a unix socket is ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UnixRole {
    /// We listen; each connection is a port of its own.
    Listen,
    /// We connect to a listener.
    Connect,
    /// We take datagrams; each sender is a port of its own, unless one `remote` is named.
    Datagram {
        /// The only one with whom we exchange frames.
        remote: Option<PathBuf>,
    },
}

/// One VXLAN segment with some remotes, which make up a group: a port each, and none forwards to
/// another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VxlanSpec {
    /// The other tunnel endpoints, at least one.
    pub remotes: Vec<IpAddr>,
    /// The segment, below 2^24.
    pub vni: u32,
    /// The UDP port at both ends.
    pub port: u16,
    /// Our address; any without it.
    pub local: Option<IpAddr>,
}

impl VxlanSpec {
    /// The port that IANA gave it.
    pub const PORT: u16 = 4789;
    /// More is a fabric, which wants a control plane rather than a flood list.
    pub const REMOTES_MAX: usize = 64;
}

/// A recording.
#[derive(Clone, Debug, PartialEq)]
pub struct PcapSpec {
    /// A pcap or pcapng file.
    pub path: PathBuf,
    /// How many times as fast as it was recorded.
    pub speed: f64,
    /// Whether it begins again at its end.
    pub repeat: bool,
}

/// A speed is compared only to tell two specifications apart; none is NaN.
impl Eq for PcapSpec {}

/// What is wrong with the text of a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpecError {
    /// Where in the text, in bytes from its start.
    pub at: usize,
    /// What is wrong.
    pub message: String,
    /// What helps.
    pub hint: Option<String>,
}

impl SpecError {
    fn new(at: usize, message: impl Into<String>) -> Self {
        Self { at, message: message.into(), hint: None }
    }

    fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }
}

impl fmt::Display for SpecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        self.hint.as_ref().map_or(Ok(()), |hint| write!(f, " ({hint})"))
    }
}

impl std::error::Error for SpecError {}

const KINDS: [&str; 7] = ["tap", "tun", "dev", "unix", "vxlan", "stdio", "pcap"];

impl PortSpec {
    /// The keys that a kind of port (`tap`, `unix`) takes for itself; none of an unknown kind.
    pub fn keys_of(kind: &str) -> &'static [&'static str] {
        match kind {
            "tap" => &["netns", "user", "group", "mac", "mtu", "txqueuelen", "persist"],
            "tun" => &["netns", "user", "group", "mtu", "txqueuelen", "persist"],
            "dev" => &["netns"],
            "unix" => &["type", "connect", "remote"],
            "vxlan" => &["vni", "port", "local"],
            "pcap" => &["speed", "loop"],
            _ => &[],
        }
    }
}

impl FromStr for PortSpec {
    type Err = SpecError;

    fn from_str(text: &str) -> Result<Self, SpecError> {
        let mut words = Words::of(text);
        let first = words.list.remove(0);
        let (kind, argument) = match first.text.split_once(':') {
            Some((kind, argument)) => (kind, Some(argument)),
            None => (first.text.as_str(), None),
        };
        let at = kind.len() + 1;
        let argument = match (kind, argument) {
            ("stdio", None) => "",
            ("stdio", Some(_)) => {
                return Err(SpecError::new(at, "'stdio' takes nothing after a colon"));
            }
            (_, Some("")) | (_, None) if KINDS.contains(&kind) => {
                return Err(SpecError::new(kind.len(), format!("'{kind}' of what?"))
                    .hint(format!("write {}", example(kind))));
            }
            (_, Some(argument)) if KINDS.contains(&kind) => argument,
            _ => return Err(unknown_kind(kind)),
        };
        let kind = match kind {
            "tap" => PortKind::Device(device(Mode::Tap, at, argument, &mut words)?),
            "tun" => PortKind::Device(device(Mode::Tun, at, argument, &mut words)?),
            "dev" => PortKind::Interface(InterfaceSpec {
                name: parsed(at, "a name", argument)?,
                netns: words.text("netns")?,
            }),
            "unix" => PortKind::Unix(unix(argument, &mut words)?),
            "vxlan" => PortKind::Vxlan(vxlan(at, argument, &mut words)?),
            "pcap" => PortKind::Pcap(PcapSpec {
                path: argument.into(),
                speed: speed(&mut words)?,
                repeat: words.flag("loop")?,
            }),
            _ => PortKind::Stdio,
        };
        let rest = words.list.into_iter().map(Word::into_pair).collect();
        Ok(Self { kind, rest })
    }
}

fn device(mode: Mode, at: usize, name: &str, words: &mut Words) -> Result<DeviceSpec, SpecError> {
    Ok(DeviceSpec {
        mode,
        name: parsed(at, "a name", name)?,
        netns: words.text("netns")?,
        user: words.value("user", "a user")?,
        group: words.value("group", "a group")?,
        mac: if mode == Mode::Tap { words.value("mac", "a MAC address")? } else { None },
        mtu: words.value("mtu", "an MTU in bytes")?,
        txqueuelen: words.value("txqueuelen", "a number of packets")?,
        persist: words.switch("persist")?,
    })
}

fn unix(path: &str, words: &mut Words) -> Result<UnixSpec, SpecError> {
    let kind = words.take("type")?;
    let connect = words.flag("connect")?;
    let remote = words.take("remote")?;
    let at = kind.as_ref().map_or(0, |(at, _)| *at);
    let role = match kind.as_ref().map_or("stream", |(_, kind)| kind) {
        "stream" if connect => UnixRole::Connect,
        "stream" => UnixRole::Listen,
        "dgram" if connect => {
            return Err(SpecError::new(at, "datagrams have nobody to connect to")
                .hint("name the other end with 'remote=PATH'"));
        }
        "dgram" => {
            UnixRole::Datagram { remote: remote.as_ref().map(|(_, path)| path.clone().into()) }
        }
        other => {
            return Err(SpecError::new(at, format!("'{other}' is no type of unix socket"))
                .hint("it is 'stream' or 'dgram'"));
        }
    };
    match (remote, &role) {
        (Some((at, _)), UnixRole::Listen | UnixRole::Connect) => {
            Err(SpecError::new(at, "'remote' is for datagrams").hint("add 'type=dgram'"))
        }
        _ => Ok(UnixSpec { path: path.into(), role }),
    }
}

fn vxlan(at: usize, remotes: &str, words: &mut Words) -> Result<VxlanSpec, SpecError> {
    let mut list: Vec<IpAddr> = Vec::new();
    let mut offset = at;
    for text in remotes.split('+') {
        // As in a URL: brackets around an IPv6 address are no part of it.
        let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
        let remote = parsed::<IpAddr>(offset, "an IP address", bare)?.to_canonical();
        if list.contains(&remote) {
            return Err(SpecError::new(offset, format!("'{text}' is there twice")));
        }
        offset += text.len() + 1;
        list.push(remote);
    }
    if list.len() > VxlanSpec::REMOTES_MAX {
        let max = VxlanSpec::REMOTES_MAX;
        return Err(SpecError::new(at, format!("more than {max} remotes")));
    }
    let local = words.take("local")?;
    let local = local.map(|(at, text)| Ok((at, parsed::<IpAddr>(at, "an IP address", &text)?)));
    let local = local.transpose()?;
    let families = list.iter().chain(local.as_ref().map(|(_, ip)| ip)).map(IpAddr::is_ipv4);
    if families.clone().any(|v4| v4) && families.clone().any(|v4| !v4) {
        return Err(SpecError::new(at, "IPv4 and IPv6 do not mix in one port")
            .hint("make a port of each, and put them into one group"));
    }
    let vni = words.take("vni")?;
    let vni = match vni {
        None => 0,
        Some((at, text)) => parsed::<u32>(at, "a number below 16777216", &text)
            .ok()
            .filter(|&vni| vni < 1 << 24)
            .ok_or_else(|| SpecError::new(at, format!("'{text}' is no number below 16777216")))?,
    };
    let port = words.value("port", "a UDP port")?.unwrap_or(VxlanSpec::PORT);
    Ok(VxlanSpec { remotes: list, vni, port, local: local.map(|(_, ip)| ip) })
}

fn speed(words: &mut Words) -> Result<f64, SpecError> {
    let Some((at, text)) = words.take("speed")? else { return Ok(1.0) };
    let speed = text.parse::<f64>().ok().filter(|speed| (1e-3..=1e6).contains(speed));
    speed.ok_or_else(|| {
        SpecError::new(at, format!("'{text}' is no speed"))
            .hint("a factor from 0.001 to 1000000, 2 for twice as fast")
    })
}

/// One word between commas.
#[derive(Debug)]
struct Word {
    at: usize,
    text: String,
}

impl Word {
    fn key(&self) -> &str {
        self.text.split_once('=').map_or(&self.text, |(key, _)| key)
    }

    fn into_pair(self) -> (String, Option<String>) {
        match self.text.split_once('=') {
            Some((key, value)) => (key.to_owned(), Some(value.to_owned())),
            None => (self.text, None),
        }
    }
}

/// The words that nobody has taken yet.
#[derive(Debug)]
struct Words {
    list: Vec<Word>,
}

impl Words {
    /// Splits at single commas; there is always a first word.
    fn of(text: &str) -> Self {
        let mut list = vec![Word { at: 0, text: String::new() }];
        let mut rest = text.char_indices().peekable();
        while let Some((at, c)) = rest.next() {
            let doubled = c == ',' && rest.next_if(|&(_, next)| next == ',').is_some();
            if c == ',' && !doubled {
                list.push(Word { at: at + 1, text: String::new() });
            } else if let Some(word) = list.last_mut() {
                word.text.push(c);
            }
        }
        Self { list }
    }

    /// Takes the word with that key: where its value is, and the value if there is one.
    fn take_word(&mut self, key: &str) -> Result<Option<(usize, Option<String>)>, SpecError> {
        let mut found = None;
        while let Some(index) = self.list.iter().position(|word| word.key() == key) {
            let word = self.list.remove(index);
            if found.is_some() {
                return Err(SpecError::new(word.at, format!("'{key}' is there twice")));
            }
            let at = word.at + key.len() + 1;
            found = Some((at, word.into_pair().1));
        }
        Ok(found)
    }

    /// The value of a key that needs one, and where it is.
    fn take(&mut self, key: &str) -> Result<Option<(usize, String)>, SpecError> {
        match self.take_word(key)? {
            None => Ok(None),
            Some((at, Some(value))) if !value.is_empty() => Ok(Some((at, value))),
            Some((at, _)) => Err(SpecError::new(at - 1, format!("'{key}' needs a value"))
                .hint(format!("write {key}=..."))),
        }
    }

    fn text(&mut self, key: &str) -> Result<Option<String>, SpecError> {
        Ok(self.take(key)?.map(|(_, value)| value))
    }

    fn value<T: FromStr<Err: fmt::Display>>(
        &mut self,
        key: &str,
        what: &str,
    ) -> Result<Option<T>, SpecError> {
        self.take(key)?.map(|(at, text)| parsed(at, what, &text)).transpose()
    }

    fn flag(&mut self, key: &str) -> Result<bool, SpecError> {
        self.switch(key).map(|on| on.unwrap_or(false))
    }

    /// `key`, `key=on` or `key=off`.
    fn switch(&mut self, key: &str) -> Result<Option<bool>, SpecError> {
        let Some((at, value)) = self.take_word(key)? else { return Ok(None) };
        match value.as_deref() {
            None | Some("on" | "true" | "yes") => Ok(Some(true)),
            Some("off" | "false" | "no") => Ok(Some(false)),
            Some(other) => Err(SpecError::new(at, format!("'{other}' is neither on nor off"))),
        }
    }
}

fn parsed<T: FromStr<Err: fmt::Display>>(
    at: usize,
    what: &str,
    text: &str,
) -> Result<T, SpecError> {
    text.parse().map_err(|error| SpecError::new(at, format!("'{text}' is not {what}: {error}")))
}

fn unknown_kind(kind: &str) -> SpecError {
    let error = SpecError::new(0, format!("'{kind}' is no kind of port"));
    let near = KINDS.into_iter().find(|known| is_near(known, kind));
    match near {
        Some(near) => error.hint(format!("did you mean '{}'?", example(near))),
        None => {
            error.hint("there are tap:NAME, dev:NAME, unix:PATH, vxlan:REMOTE, stdio, pcap:FILE")
        }
    }
}

/// Whether one is the beginning of the other, has the same letters, or one letter differs.
fn is_near(known: &str, text: &str) -> bool {
    let letters = |text: &str| {
        let mut bytes = text.as_bytes().to_vec();
        bytes.sort_unstable();
        bytes
    };
    let differing = known.bytes().zip(text.bytes()).filter(|(a, b)| a != b).count();
    !text.is_empty() && (known.starts_with(text) || text.starts_with(known))
        || letters(known) == letters(text)
        || known.len() == text.len() && differing == 1
}

fn example(kind: &str) -> &'static str {
    match kind {
        "tap" => "tap:NAME",
        "tun" => "tun:NAME",
        "dev" => "dev:NAME",
        "unix" => "unix:PATH",
        "vxlan" => "vxlan:REMOTE,vni=N",
        "pcap" => "pcap:FILE",
        _ => "stdio",
    }
}

#[cfg(test)]
mod tests;
