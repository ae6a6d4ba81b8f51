//! A port of a switch as it is wanted.

use crate::config::problems::Problems;
use crate::config::read;
use crate::config::source::Source;
use crate::config::table::Table;
use crate::config::value::{Kind, boolean, integer, mac, one_of, parsed, path, text};
use crate::config::value::{Value, Wrong};
use crate::kinds;
use crate::netem::keep;
use crate::netem::profile;
use crate::netem::profile::Profiles;
use crate::switch::keys::KEYS;
use crate::switch::mirror::{MirrorTo, WantedFilter, WantedMirror};
use adit_engine::switch::{
    FrameMatch, GroupId, GuardConfig, IpPrefix, MirrorDirection, PortConfig, StormConfig,
    StormRate, TagKind, Trunk, VlanId, VlanMode, VlanSet,
};
use adit_runtime::PortSpec;
use std::path::PathBuf;

/// The most addresses that one port may be allowed to learn: all that a table has.
const FDB_LIMIT_MAX: usize = adit_engine::switch::SwitchConfig::FDB_LIMIT_MAX;

/// The words for kinds of tags.
pub(super) const TAGS: [(&str, TagKind); 2] =
    [("customer", TagKind::Customer), ("service", TagKind::Service)];

/// A port of a switch as it is wanted.
#[derive(Clone, Debug, PartialEq)]
pub struct WantedPort {
    /// How it is called: what was chosen, or `tap:a`.
    pub name: String,
    /// The text of the port itself, as `tap:a,netns=blue`.
    pub text: String,
    /// The same, parsed.
    pub spec: PortSpec,
    /// What the switch is to do at it.
    pub config: PortConfig,
    /// What its cable is like; `None`: perfect.
    pub netem: Option<Profiles>,
    /// The value of the key `netem` as a file has it.
    pub netem_value: Option<serde_json::Value>,
    /// A file for copies of all that passes.
    pub mirror: Option<PathBuf>,
}

impl WantedPort {
    /// `tap:a@blue` for a port that is called `tap:a` because nothing else was chosen.
    pub fn longer_name(&self) -> Option<String> {
        let netns = self.spec.netns()?;
        let netns = netns.rsplit('/').next().unwrap_or(netns);
        let first = first_word(&self.text);
        (self.name == first).then(|| format!("{first}@{netns}"))
    }

    /// Reads `tap:a,vlan=10`, a `--port` of the command line.
    pub fn from_words(source: &Source, problems: &Problems) -> Option<Self> {
        let whole = source.text();
        let end = end_of_first_word(whole);
        let mut table = read::words(source, end + 1, problems);
        let kind = whole.split(':').next().unwrap_or_default();
        let kind = kind.get(..end).unwrap_or(kind);
        let spec = match kinds::parse(whole) {
            Ok(spec) if is_tun(&spec) => {
                problems.push(source, 0..end, NO_TUN, Some(as_tap(whole)));
                None
            }
            Ok(spec) => Some(spec),
            Err(error) => {
                let end = whole
                    .get(error.at..)
                    .map_or(whole.len(), |rest| error.at + end_of_first_word(rest));
                let key = key_at(whole, error.at);
                let key = key.map_or(String::new(), |key| format!("`{key}`: "));
                let message = format!("{key}{}", error.message);
                problems.push(source, error.at..end, message, error.hint);
                None
            }
        };
        let mut text = whole.get(..end).unwrap_or(whole).to_owned();
        for key in kinds::keys_of(kind) {
            if let Some(value) = table.value(key) {
                push_key(&mut text, key, &value.plain().unwrap_or_default());
            }
        }
        let rest = Rest::read(&mut table, PortConfig::default());
        table.finish();
        let mut spec = spec?;
        spec.rest.clear();
        Some(rest.into_port(text, spec, source))
    }

    /// Reads a `[[port]]` of a file, or an object of the control socket.
    pub fn from_table(table: &mut Table<'_>) -> Option<Self> {
        let problems = table.problems();
        let whole = table.required("port", text);
        let kind = whole.as_deref().and_then(|text| text.split([':', ',']).next());
        let mut keys = Vec::new();
        let mut text = whole.clone().unwrap_or_default();
        // The UDP port of VXLAN stands in the text: in a table, `port` is the port itself.
        let own = kinds::keys_of(kind.unwrap_or_default());
        let own = own.iter().filter(|key| **key != "port");
        for key in own {
            let value = table.get(key, |value| {
                value
                    .plain()
                    .ok_or_else(|| Wrong::expected("a text, a number, true or false", value))
            });
            if let Some(value) = value {
                keys.push((text.len() + 1, *key));
                push_key(&mut text, key, &value);
            }
        }
        let rest = Rest::read(table, PortConfig::default());
        let whole = whole?;
        match kinds::parse(&text) {
            Ok(spec) if is_tun(&spec) => {
                table.wrong("port", NO_TUN, Some(as_tap(&whole)));
                None
            }
            Ok(spec) if spec.rest.is_empty() => Some(rest.into_port(text, spec, table.source())),
            Ok(spec) => {
                let (key, _) = spec.rest.first().map(|(key, value)| (key.as_str(), value))?;
                table.wrong(
                    "port",
                    format_args!("`{key}` is not a key of this kind of port"),
                    Some(format!("write `{key}` as a key of its own on the next line")),
                );
                None
            }
            Err(error) => {
                // The mistake is in the text itself, or in the value of a key beside it.
                let key = keys.iter().rev().find(|(at, _)| error.at >= *at);
                match key {
                    Some((_, key)) => {
                        table.wrong(key, format_args!("`{key}`: {}", error.message), error.hint);
                    }
                    None => {
                        let end = end_of_first_word(whole.get(error.at..).unwrap_or_default());
                        let part = error.at..error.at + end;
                        let wrong =
                            Wrong { message: error.message, help: error.hint, part: Some(part) };
                        if let Some(value) = table.value("port") {
                            value.wrong(
                                "port",
                                Wrong { message: format!("is wrong: {}", wrong.message), ..wrong },
                                problems,
                            );
                        }
                    }
                }
                None
            }
        }
    }

    /// The mirror that the port itself asks for.
    pub fn own_mirror(&self) -> Option<WantedMirror> {
        Some(WantedMirror {
            to: MirrorTo::File(self.mirror.clone()?),
            ports: vec![self.name.clone()],
            direction: MirrorDirection::Both,
            filter: WantedFilter::Match(FrameMatch::default()),
            truncate: None,
        })
    }

    /// Changes what may be changed while it runs by the keys of `table`.
    pub fn change(&mut self, table: &mut Table<'_>) {
        let mut rest = Rest::read(table, self.config.clone());
        self.config = rest.config;
        if let Some(netem) = rest.netem.take() {
            (self.netem, self.netem_value) = netem.unzip();
        }
        if table.value("mirror").is_some_and(|value| is_no_more(value)) {
            self.mirror = None;
        } else if table.has("mirror") {
            self.mirror = rest.mirror;
        }
        if table.has("name") {
            table.wrong("name", "the name of a port cannot be changed", None);
        }
    }
}

/// Why a TUN device cannot be a port.
const NO_TUN: &str = "a switch forwards frames, but a TUN device carries packets: use a TAP";

fn as_tap(port: &str) -> String {
    format!("did you mean `{}`?", port.replacen("tun:", "tap:", 1))
}

fn is_tun(spec: &PortSpec) -> bool {
    spec.is_layer3()
}

/// The kind and the argument of a port: its name, unless it has another one.
pub(super) fn first_word(text: &str) -> &str {
    text.get(..end_of_first_word(text)).unwrap_or(text)
}

/// The text of a port with its path, if it has one, from the root.
pub(super) fn absolute_text(port: &WantedPort) -> String {
    let path_of = |mut spec: PortSpec| {
        let path = std::cell::Cell::new(None);
        spec.change_path(|of_spec| {
            path.set(Some(of_spec.to_owned()));
            of_spec.to_owned()
        });
        path.into_inner()
    };
    let written = kinds::parse(&port.text).ok().and_then(path_of);
    let (Some(written), Some(real)) = (written, path_of(port.spec.clone())) else {
        return port.text.clone();
    };
    let escaped = |path: &std::path::Path| path.display().to_string().replace(',', ",,");
    let real = adit_device::rights::absolute(&real).unwrap_or(real);
    port.text.replacen(&escaped(&written), &escaped(&real), 1)
}

/// Where the first word of the text of a port ends.
fn end_of_first_word(text: &str) -> usize {
    let bytes = text.as_bytes();
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        match (byte, bytes.get(at + 1)) {
            (b',', Some(b',')) => at += 2,
            (b',', _) => return at,
            _ => at += 1,
        }
    }
    text.len()
}

/// The key whose value begins at the byte `at`.
fn key_at(text: &str, at: usize) -> Option<&str> {
    let before = text.get(..at)?.strip_suffix('=')?;
    before.rsplit(',').next()
}

fn push_key(text: &mut String, key: &str, value: &str) {
    let value = value.replace(',', ",,");
    text.push_str(&format!(",{key}={value}"));
}

/// What is said of a port beside what it is.
#[derive(Debug)]
struct Rest {
    name: Option<String>,
    config: PortConfig,
    /// The profiles, and the value that they were read from; `Some(None)` removes the link.
    netem: Option<Option<(Profiles, serde_json::Value)>>,
    mirror: Option<PathBuf>,
}

/// Reads what the switch does at a port, on top of `base`.
pub fn settings_of(table: &mut Table<'_>, base: PortConfig) -> PortConfig {
    let vlan = read_vlan(table).unwrap_or(base.vlan);
    let mut config = PortConfig {
        vlan,
        group: table.get("split-horizon", group).unwrap_or(base.group),
        fdb_limit: table.get("fdb-limit", integer(0..=FDB_LIMIT_MAX)).unwrap_or(base.fdb_limit),
        guard: read_guard(table, base.guard),
        storm: read_storm(table, base.storm),
        ..base
    };
    for key in KEYS {
        if let Some(flag) = key.flag
            && let Some(on) = table.get(key.name, boolean)
        {
            (flag.set)(&mut config, on);
        }
    }
    config
}

impl Rest {
    fn read(table: &mut Table<'_>, base: PortConfig) -> Self {
        let name = table.get("name", text);
        let config = settings_of(table, base);
        let netem = table.value("netem").cloned().and_then(|value| read_netem(table, &value));
        let is_mirrored = table.value("mirror").is_some_and(|value| !is_no_more(value));
        let mirror = is_mirrored.then(|| table.get("mirror", path)).flatten();
        Self { name, config, netem, mirror }
    }

    fn into_port(self, text: String, mut spec: PortSpec, source: &Source) -> WantedPort {
        if spec.needs_owner() {
            // The source keeps the refusal, which fails the request.
            let _ = source.check_files(&text);
        }
        spec.change_path(|path| source.beside(path).unwrap_or_default());
        let name = self.name.unwrap_or_else(|| first_word(&text).to_owned());
        let (netem, netem_value) = self.netem.flatten().unzip();
        let Self { config, mirror, .. } = self;
        WantedPort { name, text, spec, config, netem, netem_value, mirror }
    }
}

#[expect(clippy::option_option, reason = "no link, and nothing said about a link, are two things")]
fn read_netem<'a>(
    table: &Table<'a>,
    value: &Value<'a>,
) -> Option<Option<(Profiles, serde_json::Value)>> {
    if is_no_more(value) {
        return Some(None);
    }
    let profiles = profile::of_value("netem", value, table.problems())?;
    Some(Some((profiles, keep::netem(value))))
}

/// The mode that the keys about VLANs say; `None` if there are none, or wrong ones.
fn read_vlan(table: &mut Table<'_>) -> Option<VlanMode> {
    let access = table.get("vlan", vlan_or_any);
    let tunnel = table.get("tunnel", vlan);
    let has_trunk = table.has("trunk");
    let trunk: VlanSet = table.list("trunk", vlans).into_iter().flatten().collect();
    let native = table.get("native", vlan);
    let untagged: VlanSet = table.list("untagged", vlans).into_iter().flatten().collect();
    let has_untagged = table.has("untagged");
    let pvid = table.get("pvid", vlan);
    let tag = table.get("tag", one_of(&TAGS));
    let kinds = [("vlan", access.is_some()), ("trunk", has_trunk), ("tunnel", tunnel.is_some())];
    let mut chosen = kinds.iter().filter(|(_, is)| *is).map(|(key, _)| *key);
    let (first, second) = (chosen.next(), chosen.next());
    if let (Some(first), Some(second)) = (first, second) {
        let message = format!("`{first}` and `{second}` exclude each other");
        let help = "a port is access (vlan), trunk or tunnel (QinQ)";
        table.wrong(second, message, Some(help.to_owned()));
        return None;
    }
    let for_trunk = ["native", "untagged", "pvid", "tag"];
    if !has_trunk {
        for key in for_trunk {
            if table.has(key) {
                let help = Some("add `trunk` with the tagged VLANs".to_owned());
                table.wrong(key, format_args!("`{key}` is for a trunk"), help);
            }
        }
    }
    if native.is_some() && (pvid.is_some() || has_untagged) {
        let help = Some("`native = N` is short for `untagged = N` with `pvid = N`".to_owned());
        table.wrong("native", "`native` says the same as `pvid` and `untagged`", help);
    }
    if let Some(vlan) = access {
        return Some(vlan.map_or(VlanMode::Transparent, VlanMode::Access));
    }
    if let Some(vlan) = tunnel {
        return Some(VlanMode::Tunnel(vlan));
    }
    has_trunk.then(|| {
        let mut mode = Trunk::new(trunk, native);
        if has_untagged {
            untagged.iter().for_each(|vlan| mode.tagged.remove(vlan));
            mode.untagged = untagged;
        }
        mode.pvid = pvid.or(mode.pvid);
        mode.tag = tag.unwrap_or_default();
        VlanMode::Trunk(mode)
    })
}

/// Whether a value takes away what was: a VLAN, a guard, a limit, a group, a link, a mirror.
fn is_no_more(value: &Value<'_>) -> bool {
    matches!(value.as_text(), Some("any" | "none" | "off"))
}

fn group(value: &Value<'_>) -> Result<Option<GroupId>, Wrong> {
    if is_no_more(value) {
        return Ok(None);
    }
    integer(0..=u16::MAX)(value).map(|number| Some(GroupId(number)))
}

/// The number of a VLAN.
pub fn vlan(value: &Value<'_>) -> Result<VlanId, Wrong> {
    let number = integer(VlanId::MIN.number()..=VlanId::MAX.number())(value)?;
    VlanId::new(number).ok_or_else(|| Wrong::new("is not a VLAN"))
}

fn vlan_or_any(value: &Value<'_>) -> Result<Option<VlanId>, Wrong> {
    if is_no_more(value) { Ok(None) } else { vlan(value).map(Some) }
}

/// `10`, `"100-199"`, `"all"`.
fn vlans(value: &Value<'_>) -> Result<Vec<VlanId>, Wrong> {
    let Some(text) = value.as_text() else { return vlan(value).map(|vlan| vec![vlan]) };
    if text == "all" {
        return Ok(VlanSet::all().iter().collect());
    }
    let number = |text: &str| text.trim().parse::<u16>().ok().and_then(VlanId::new);
    let (from, to) = text.split_once('-').unwrap_or((text, text));
    let is_quoted_number = matches!(value.kind, Kind::Text(_)) && !text.contains('-');
    match (number(from), number(to)) {
        (Some(_), Some(_)) if is_quoted_number => {
            Err(Wrong::new("must be a number").help("without quotes"))
        }
        (Some(from), Some(to)) if from <= to => {
            Ok((from.number()..=to.number()).filter_map(VlanId::new).collect())
        }
        (Some(from), Some(to)) => Err(Wrong::new(format_args!("has no VLAN from {from} to {to}"))
            .help(format_args!("did you mean {to}-{from}?"))),
        _ => Err(Wrong::new(format_args!("cannot have `{text}`"))
            .help("VLANs are numbers from 1 to 4094, ranges as \"100-199\", or \"all\"")),
    }
}

fn read_guard(table: &mut Table<'_>, mut guard: GuardConfig) -> GuardConfig {
    if table.has("guard-mac") {
        guard.macs = limited(table, "guard-mac", mac);
    }
    if table.has("guard-ip") {
        guard.addresses = limited(table, "guard-ip", prefix);
    }
    guard
}

fn limited<T>(
    table: &mut Table<'_>,
    key: &'static str,
    read: impl Fn(&Value<'_>) -> Result<T, Wrong>,
) -> Vec<T> {
    let is_empty_list =
        |value: &Value<'_>| matches!(&value.kind, Kind::List(list) if list.is_empty());
    if table.value(key).is_some_and(|value| is_no_more(value) || is_empty_list(value)) {
        return Vec::new();
    }
    let list = table.list(key, read);
    if list.len() > GuardConfig::LIST_MAX {
        let message = format!("`{key}` has at most {} entries", GuardConfig::LIST_MAX);
        table.wrong(key, message, None);
    }
    list
}

/// An IP address, or a prefix as `192.0.2.0/24`.
fn prefix(value: &Value<'_>) -> Result<IpPrefix, Wrong> {
    parsed("an address or prefix as \"192.0.2.0/24\"")(value)
}

fn read_storm(table: &mut Table<'_>, base: StormConfig) -> StormConfig {
    let burst = table.get("storm-burst", integer(1..=u32::MAX));
    let mut rate = |key: &'static str, base: Option<StormRate>| {
        let read = table.get(key, |value| {
            if is_no_more(value) { Ok(None) } else { integer(0..=u32::MAX)(value).map(Some) }
        });
        // What is allowed in a second may come at once, unless something else is said.
        let new = |frames_per_second: u32| StormRate {
            frames_per_second,
            burst: burst.unwrap_or(frames_per_second.max(1)),
        };
        match (read, base) {
            (Some(read), _) => read.map(new),
            (None, Some(base)) => Some(StormRate { burst: burst.unwrap_or(base.burst), ..base }),
            (None, None) => None,
        }
    };
    let storm = StormConfig {
        broadcast: rate("storm-broadcast", base.broadcast),
        multicast: rate("storm-multicast", base.multicast),
        unknown_unicast: rate("storm-unknown", base.unknown_unicast),
    };
    if burst.is_some() && storm == StormConfig::default() {
        let help = "add `storm-broadcast`, `storm-multicast` or `storm-unknown`".to_owned();
        table.wrong("storm-burst", "a burst requires a storm limit", Some(help));
    }
    storm
}
