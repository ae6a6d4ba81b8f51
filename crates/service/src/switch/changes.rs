//! What a running switch has that its configuration does not have.

use crate::config::value::word_of;
use crate::switch::keys::KEYS;
use crate::switch::mirror::{DIRECTIONS, MirrorTo, WantedFilter, WantedMirror};
use crate::switch::model;
use crate::switch::port::{TAGS, WantedPort, absolute_text, first_word};
use crate::switch::wanted::{ACCELERATE, StaticAddress, WantedSwitch};
use adit_engine::switch::{FrameMatch, PortConfig, StormConfig, SwitchConfig, TagKind, VlanMode};
use adit_packet::units;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::fmt;
use std::path::Path;

/// Keys and their values with the types that they have in a file.
pub type Keys = Map<String, Value>;

/// Keys that are written together: a changed one makes others invalid.
pub(super) const FAMILIES: [&[&str]; 2] = [
    &["vlan", "trunk", "native", "untagged", "pvid", "tag", "tunnel"],
    &["storm-broadcast", "storm-multicast", "storm-unknown", "storm-burst"],
];

/// The reply to `GET /changes`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Changes {
    /// The file that the switch was started from.
    pub file: Option<String>,
    /// How the switch differs from it; without a file, all that the switch has.
    pub changes: Vec<Change>,
}

/// One difference between a running switch and its configuration. It prints as `show` has it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "change", rename_all = "kebab-case")]
pub enum Change {
    /// Keys at the top of the file.
    Top {
        /// The keys.
        set: Keys,
    },
    /// Keys of the switch itself.
    Switch {
        /// The keys.
        set: Keys,
    },
    /// A port that the configuration does not have.
    PortAdded {
        /// Its name.
        port: String,
        /// Its keys.
        set: Keys,
    },
    /// A port that the switch no longer has.
    PortRemoved {
        /// Its name.
        port: String,
    },
    /// A port with other keys.
    PortChanged {
        /// Its name.
        port: String,
        /// The keys that differ.
        set: Keys,
        /// The keys that it no longer has.
        unset: Vec<String>,
    },
    /// A static address that the configuration does not have.
    StaticAdded {
        /// Its keys.
        set: Keys,
    },
    /// A static address that the switch no longer has.
    StaticRemoved {
        /// Its keys.
        set: Keys,
    },
    /// A mirror that the configuration does not have.
    MirrorAdded {
        /// Its keys.
        set: Keys,
    },
}

/// How `now` differs from `before`.
#[must_use]
pub fn between(before: &WantedSwitch, now: &WantedSwitch) -> Vec<Change> {
    let mut changes = Vec::new();
    let (set, _) = difference(&top_keys(before), &top_keys(now));
    changes.extend((!set.is_empty()).then_some(Change::Top { set }));
    let (set, _) = difference(&switch_keys(&before.switch), &switch_keys(&now.switch));
    changes.extend((!set.is_empty()).then_some(Change::Switch { set }));
    let named =
        |ports: &[WantedPort], name: &str| ports.iter().find(|port| port.name == name).cloned();
    let removed = before.ports.iter().filter(|old| named(&now.ports, &old.name).is_none());
    changes.extend(removed.map(|old| Change::PortRemoved { port: old.name.clone() }));
    for new in &now.ports {
        let port = new.name.clone();
        match named(&before.ports, &port) {
            None => changes.push(Change::PortAdded { port, set: port_keys(new) }),
            Some(old) if old == *new => {}
            Some(old) => {
                let (set, unset) = difference(&port_keys(&old), &port_keys(new));
                if !set.is_empty() || !unset.is_empty() {
                    changes.push(Change::PortChanged { port, set, unset });
                }
            }
        }
    }
    let removed = before.statics.iter().filter(|old| !now.statics.contains(old));
    changes.extend(removed.map(|old| Change::StaticRemoved { set: static_keys(old) }));
    let added = now.statics.iter().filter(|new| !before.statics.contains(new));
    changes.extend(added.map(|new| Change::StaticAdded { set: static_keys(new) }));
    let added = now.mirrors.iter().filter(|new| !before.mirrors.contains(new));
    changes.extend(added.map(|new| Change::MirrorAdded { set: mirror_keys(new) }));
    changes
}

/// The keys of `new` that differ from `old`, and those that only `old` has.
fn difference(old: &Keys, new: &Keys) -> (Keys, Vec<String>) {
    let is_changed = |key: &str| old.get(key) != new.get(key);
    let is_touched = |key: &str| {
        let family = FAMILIES.iter().find(|family| family.contains(&key));
        family.map_or_else(|| is_changed(key), |family| family.iter().any(|key| is_changed(key)))
    };
    let set = new.iter().filter(|(key, _)| is_touched(key));
    let unset = old.keys().filter(|key| !new.contains_key(*key));
    (set.map(|(key, value)| (key.clone(), value.clone())).collect(), unset.cloned().collect())
}

fn top_keys(wanted: &WantedSwitch) -> Keys {
    let mut keys = Keys::new();
    put(&mut keys, "name", wanted.name.as_ref().map(ToString::to_string));
    put(&mut keys, "seed", wanted.seed);
    put(&mut keys, "log", wanted.log.as_ref().map(ToString::to_string));
    let address = wanted.metrics.map(|address| address.to_string());
    put(
        &mut keys,
        "page",
        address.clone().filter(|_| wanted.metrics.is_some_and(|it| it.has_page())),
    );
    put(&mut keys, "metrics", address);
    keys
}

fn put(keys: &mut Keys, key: &str, value: Option<impl Into<Value>>) {
    keys.extend(value.map(|value| (key.to_owned(), value.into())));
}

fn switch_keys(config: &SwitchConfig) -> Keys {
    let time = |time| units::duration(time).to_string();
    let guard = config.loop_guard;
    let keys = json!({
        "ageing": time(config.ageing),
        "fdb-limit": config.fdb_limit,
        "moves-per-second": config.moves_per_second,
        "loop-guard": guard.enabled,
        "loop-probe": time(guard.probe_interval),
        "loop-flaps": guard.flaps_per_second,
        "loop-hold": time(guard.hold),
        "loop-hold-max": time(guard.hold_max),
        "accelerate": word_of(&ACCELERATE, &config.accelerate),
    });
    if let Value::Object(keys) = keys { keys } else { Keys::new() }
}

fn static_keys(entry: &StaticAddress) -> Keys {
    let mut keys = Keys::new();
    put(&mut keys, "mac", Some(entry.mac.to_string()));
    put(&mut keys, "vlan", entry.vlan.map(|vlan| vlan.number()));
    put(&mut keys, "port", Some(entry.port.clone()));
    keys
}

fn mirror_keys(mirror: &WantedMirror) -> Keys {
    let mut keys = Keys::new();
    match &mirror.to {
        MirrorTo::File(path) => put(&mut keys, "file", Some(absolute(path))),
        MirrorTo::Port(port) => put(&mut keys, "to", Some(port.clone())),
    }
    put(&mut keys, "ports", (!mirror.ports.is_empty()).then(|| mirror.ports.clone()));
    put(&mut keys, "direction", Some(word_of(&DIRECTIONS, &mirror.direction)));
    match &mirror.filter {
        WantedFilter::Expression(filter) => {
            put(&mut keys, "filter", Some(filter.expression.clone()));
        }
        WantedFilter::Match(FrameMatch { vlan, mac, ether_type, protocol, port }) => {
            put(&mut keys, "vlan", vlan.map(|vlan| vlan.number()));
            put(&mut keys, "mac", mac.map(|mac| mac.to_string()));
            put(&mut keys, "ether-type", ether_type.map(|number| format!("{number:#06x}")));
            put(&mut keys, "protocol", *protocol);
            put(&mut keys, "l4-port", *port);
        }
    }
    put(&mut keys, "truncate", mirror.truncate);
    keys
}

pub(super) fn absolute(path: &Path) -> String {
    adit_device::rights::absolute(path).unwrap_or_else(|_| path.to_owned()).display().to_string()
}

/// The keys of a port, as a file has them in any folder.
fn port_keys(port: &WantedPort) -> Keys {
    let (config, default) = (&port.config, PortConfig::default());
    let text = absolute_text(port);
    let mut keys = Keys::new();
    // Without a name of its own it gets this one again.
    let usual = WantedPort { name: first_word(&text).to_owned(), ..port.clone() };
    let is_usual = usual.name == port.name || usual.longer_name().as_ref() == Some(&port.name);
    put(&mut keys, "name", (!is_usual).then(|| port.name.clone()));
    put(&mut keys, "port", Some(text));
    vlan_keys(&mut keys, &config.vlan);
    for key in KEYS {
        if let Some(flag) = key.flag {
            let on = (flag.get)(config);
            put(&mut keys, key.name, (on != (flag.get)(&default)).then_some(on));
        }
    }
    put(&mut keys, "split-horizon", config.group.map(|group| group.0));
    put(
        &mut keys,
        "fdb-limit",
        (config.fdb_limit != default.fdb_limit).then_some(config.fdb_limit),
    );
    let texts = |list: Vec<String>| (!list.is_empty()).then_some(list);
    let macs = config.guard.macs.iter().map(ToString::to_string).collect();
    put(&mut keys, "guard-mac", texts(macs));
    let addresses = config.guard.addresses.iter().map(ToString::to_string).collect();
    put(&mut keys, "guard-ip", texts(addresses));
    storm_keys(&mut keys, &config.storm);
    put(&mut keys, "netem", port.netem_value.clone());
    put(&mut keys, "mirror", port.mirror.as_deref().map(absolute));
    keys
}

fn vlan_keys(keys: &mut Keys, mode: &VlanMode) {
    let list = |set| {
        let number = |text: String| text.parse::<u16>().map_or(Value::from(text), Value::from);
        model::ranges(set).into_iter().map(number).collect::<Vec<Value>>()
    };
    match mode {
        VlanMode::Transparent => {}
        VlanMode::Access(vlan) => put(keys, "vlan", Some(vlan.number())),
        VlanMode::Tunnel(vlan) => put(keys, "tunnel", Some(vlan.number())),
        VlanMode::Trunk(trunk) => {
            put(keys, "trunk", Some(list(&trunk.tagged)));
            if trunk.untagged.iter().eq(trunk.pvid) {
                put(keys, "native", trunk.pvid.map(|vlan| vlan.number()));
            } else {
                put(keys, "untagged", Some(list(&trunk.untagged)));
                put(keys, "pvid", trunk.pvid.map(|vlan| vlan.number()));
            }
            let is_default = trunk.tag == TagKind::default();
            put(keys, "tag", (!is_default).then(|| word_of(&TAGS, &trunk.tag)));
        }
    }
}

fn storm_keys(keys: &mut Keys, storm: &StormConfig) {
    let rates = [
        ("storm-broadcast", storm.broadcast),
        ("storm-multicast", storm.multicast),
        ("storm-unknown", storm.unknown_unicast),
    ];
    for (key, rate) in rates {
        put(keys, key, rate.map(|rate| rate.frames_per_second));
    }
    let rates = || rates.into_iter().filter_map(|(_, rate)| rate);
    let is_usual = rates().all(|rate| rate.burst == rate.frames_per_second.max(1));
    put(keys, "storm-burst", rates().map(|rate| rate.burst).max().filter(|_| !is_usual));
}

/// `vlan=20 isolated`.
struct Words<'a>(&'a Keys);

impl fmt::Display for Words<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (key, value)) in self.0.iter().enumerate() {
            let space = if at == 0 { "" } else { " " };
            match value {
                Value::Bool(true) => write!(f, "{space}{key}")?,
                _ => write!(f, "{space}{key}={}", word(value))?,
            }
        }
        Ok(())
    }
}

/// A value as the command line has it.
fn word(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::Bool(on) => if *on { "on" } else { "off" }.to_owned(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => text.clone(),
        Value::Array(list) => list.iter().map(word).collect::<Vec<_>>().join("+"),
        Value::Object(keys) => {
            let one = |(key, value): (&String, &Value)| format!("{key}={}", word(value));
            keys.iter().map(one).collect::<Vec<_>>().join("+")
        }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |keys: &Keys, key: &str| word(keys.get(key).unwrap_or(&Value::Null));
        match self {
            Self::Top { set } => Words(set).fmt(f),
            Self::Switch { set } => write!(f, "the switch: {}", Words(set)),
            Self::PortAdded { port, .. } => write!(f, "{port} added"),
            Self::PortRemoved { port } => write!(f, "{port} removed"),
            Self::PortChanged { port, set, unset } if set.is_empty() => {
                write!(f, "{port}: without {}", unset.join(" "))
            }
            Self::PortChanged { port, set, .. } => write!(f, "{port}: {}", Words(set)),
            Self::StaticAdded { set } => {
                write!(f, "{} added to {}", text(set, "mac"), text(set, "port"))
            }
            Self::StaticRemoved { set } => {
                write!(f, "{} removed from {}", text(set, "mac"), text(set, "port"))
            }
            Self::MirrorAdded { set } => {
                write!(f, "mirror {}{} added", text(set, "file"), text(set, "to"))
            }
        }
    }
}
