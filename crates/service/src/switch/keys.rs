//! The keys of a port of a switch, whichever kind of port it is: the one list of which help, file
//! reader, `show` and schema are made.

use adit_engine::switch::PortConfig;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Value, json};
use std::borrow::Cow;
use std::collections::BTreeMap;

/// A key of a port of a switch.
#[derive(Clone, Copy, Debug)]
pub struct PortKey {
    /// Its name.
    pub name: &'static str,
    /// Its value, for help: `N`; empty for a flag.
    pub value: &'static str,
    /// What it sets, in a few words.
    pub help: &'static str,
    /// For a flag of the engine: how it is read and set.
    pub(super) flag: Option<Flag>,
}

/// A flag of the engine.
#[derive(Clone, Copy, Debug)]
pub(super) struct Flag {
    pub(super) get: fn(&PortConfig) -> bool,
    pub(super) set: fn(&mut PortConfig, bool),
}

const fn key(name: &'static str, value: &'static str, help: &'static str) -> PortKey {
    PortKey { name, value, help, flag: None }
}

/// A flag by its field.
macro_rules! flag {
    ($name:literal, $($field:ident).+, $help:literal) => {
        PortKey {
            name: $name,
            value: "",
            help: $help,
            flag: Some(Flag {
                get: |config| config.$($field).+,
                set: |config, on| config.$($field).+ = on,
            }),
        }
    };
}

/// All keys, in the order of the help.
pub const KEYS: &[PortKey] = &[
    key("name", "NAME", "the name of the port; the default is its text, such as 'tap:a'"),
    key("vlan", "N", "access port of this VLAN"),
    key("trunk", "N+N-N", "trunk port of these VLANs"),
    key("native", "N", "trunk: the untagged VLAN"),
    key("untagged", "N+N-N", "trunk: VLANs that leave untagged"),
    key("pvid", "N", "trunk: the VLAN of frames that come in untagged"),
    key("tag", "customer|service", "trunk: the kind of tag"),
    key("tunnel", "N", "QinQ port of this provider VLAN"),
    flag!("isolated", isolated, "no traffic with other isolated ports"),
    key("split-horizon", "N", "no traffic between ports of the same N"),
    flag!("sticky", sticky, "addresses that were learned here stay here"),
    flag!(
        "forward-reserved",
        forward_reserved,
        "pass BPDU, LACP and LLDP on to ports with this flag"
    ),
    key("fdb-limit", "N", "the number of addresses that may be learned here; the default is 1024"),
    key("guard-mac", "MAC+MAC", "allowed source MAC addresses"),
    key("guard-ip", "IP+PREFIX", "allowed source IP addresses"),
    flag!("guard-arp", guard.arp, "ARP must match the allowed addresses"),
    flag!("guard-nd", guard.nd, "neighbour discovery must match the allowed addresses"),
    flag!("guard-dhcp", guard.no_dhcp_server, "no messages of a DHCP server"),
    flag!("guard-ra", guard.no_router, "no router advertisements and redirects"),
    key("storm-broadcast", "N", "broadcast frames a second"),
    key("storm-multicast", "N", "multicast frames a second"),
    key("storm-unknown", "N", "frames a second to unknown addresses"),
    key("storm-burst", "N", "frames at once after a pause"),
    key("netem", "PRESET|FILE.toml|KEYS|off", "emulated link, such as netem=delay=20ms+loss=1%"),
    key("mirror", "FILE", "copy of everything that passes, as pcapng"),
];

/// Whether a key sets what a switch does at a port, not what the port is.
pub fn is_of_a_switch(name: &str) -> bool {
    KEYS.iter().any(|key| key.name == name)
}

/// The keys for `--help`, one line each.
#[must_use]
pub fn help() -> String {
    let line = |key: &PortKey| {
        let text = if key.value.is_empty() {
            key.name.to_owned()
        } else {
            format!("{}={}", key.name, key.value)
        };
        format!("  {text:<30} {}\n", key.help)
    };
    KEYS.iter().map(line).collect()
}

/// The flags of a port by the names that they have in JSON, with `_` in place of `-`: those of its
/// guards, without `guard-`, or the others.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Flags<const GUARDS: bool = false>(BTreeMap<String, bool>);

impl<const GUARDS: bool> Flags<GUARDS> {
    pub(super) fn new(config: &PortConfig) -> Self {
        Self(flags(GUARDS).map(|(name, _, flag)| (name, (flag.get)(config))).collect())
    }

    /// The names of those that are on.
    pub fn on(&self) -> impl Iterator<Item = &'static str> + '_ {
        flags(GUARDS)
            .filter(|(name, ..)| self.0.get(name).copied().unwrap_or(false))
            .map(|(_, key, _)| key.name.trim_start_matches("guard-"))
    }
}

fn flags(guards: bool) -> impl Iterator<Item = (String, &'static PortKey, Flag)> {
    KEYS.iter().filter_map(move |key| {
        let guard = key.name.strip_prefix("guard-");
        let name = guard.unwrap_or(key.name).replace('-', "_");
        (guard.is_some() == guards).then_some((name, key, key.flag?))
    })
}

/// Of what is left of a port's object, the known flags.
impl<'de, const GUARDS: bool> Deserialize<'de> for Flags<GUARDS> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let object = BTreeMap::<String, Value>::deserialize(deserializer)?;
        let known = flags(GUARDS).filter_map(|(name, ..)| {
            let on = object.get(&name)?.as_bool()?;
            Some((name, on))
        });
        Ok(Self(known.collect()))
    }
}

impl<const GUARDS: bool> JsonSchema for Flags<GUARDS> {
    fn schema_name() -> Cow<'static, str> {
        if GUARDS { "GuardFlags" } else { "Flags" }.into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let one = |(name, key, _): (String, &PortKey, Flag)| {
            (name, json!({ "type": "boolean", "description": key.help }))
        };
        let properties: serde_json::Map<String, Value> = flags(GUARDS).map(one).collect();
        json_schema!({
            "type": "object",
            "properties": properties,
            "required": properties.keys().collect::<Vec<_>>(),
        })
    }
}
