//! The bodies of requests to a switch, as schemas.

use crate::config::schema::keys;
use crate::kinds::KINDS;
use crate::switch::changes::Change;
use crate::switch::keys::KEYS;
use adit_runtime::port::kind::Key;
use schemars::{Schema, SchemaGenerator, json_schema};

/// The keys of a switch that can change while it runs.
const SWITCH_KEYS: [(&str, &str, &str); 8] = [
    ("accelerate", "auto|off|require", "whether the kernel forwards between 'dev:' ports"),
    ("ageing", "TIME", "how long an address is kept without a frame from it"),
    ("moves-per-second", "N", "how often an address may move in a second"),
    ("loop-guard", "", "block ports on which a loop shows"),
    ("loop-probe", "TIME", "the time between two probes for loops"),
    ("loop-flaps", "N", "how many addresses may move back and forth in a second"),
    ("loop-hold", "TIME", "how long a port is blocked"),
    ("loop-hold-max", "TIME", "how long a port is blocked at most, as loops go on"),
];

/// Keys of an address.
const ADDRESS_KEYS: [(&str, &str, &str); 3] = [
    ("mac", "MAC", "the address"),
    ("vlan", "N", "its VLAN"),
    ("port", "NAME", "the port that it is on"),
];

/// `PATCH /switch`.
pub(super) fn of_switch(_: &mut SchemaGenerator) -> Schema {
    keys(SWITCH_KEYS, &[])
}

/// `PATCH /ports/{name}`.
pub(super) fn of_port(_: &mut SchemaGenerator) -> Schema {
    keys(
        KEYS.iter().filter(|key| key.name != "name").map(|key| (key.name, key.value, key.help)),
        &[],
    )
}

/// `POST /ports`.
pub(super) fn of_new_port(_: &mut SchemaGenerator) -> Schema {
    let of_switch = KEYS.iter().map(|key| (key.name, key.value, key.help));
    let of_kinds = KINDS.iter().flat_map(|kind| kind.keys);
    let of_kinds = of_kinds.map(|Key { name, value, help, .. }| (*name, *value, *help));
    let port = ("port", "KIND:ARGUMENT", "what it is, as tap:a");
    keys(of_kinds.chain(of_switch).chain([port]), &["port"])
}

/// `POST /fdb`.
pub(super) fn of_new_address(_: &mut SchemaGenerator) -> Schema {
    keys(ADDRESS_KEYS, &["mac", "port"])
}

/// `DELETE /fdb`.
pub(super) fn of_addresses(_: &mut SchemaGenerator) -> Schema {
    keys(ADDRESS_KEYS, &[])
}

/// `POST /saved`.
pub(super) fn of_saved(generator: &mut SchemaGenerator) -> Schema {
    let changes = generator.subschema_for::<Vec<Change>>();
    json_schema!({ "type": "object", "properties": { "changes": changes }, "required": ["changes"] })
}
