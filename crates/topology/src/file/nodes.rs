//! Nodes: `[host.x]`, `[router.x]`, `[switch.x]`, `[nat.x]`, `[guest.x]`, `[outside.x]`.

use crate::file::entries::{pairs, table_of};
use crate::file::hosts::{address, host, interfaces};
use crate::file::place::Place;
use crate::file::programs::RESTART;
use crate::file::values;
use crate::model::{Guest, Kind, Lab, NatNode, Node, NodeName};
use adit_service::config::entry::{Entry, Kind as Type, Value, Wrong};
use adit_service::config::problems::Problems;
use adit_service::config::table::Table;
use adit_service::config::value::{duration, integer, one_of, parsed, path, text};
use adit_service::kinds;
use adit_service::switch::wanted::WantedSwitch;
use std::cell::RefCell;
use std::collections::{BTreeMap, HashSet};
use std::path::Path;

/// The nodes so far.
#[derive(Debug, Default)]
pub(super) struct Nodes<'a> {
    /// The nodes, in the order of the files.
    pub(super) nodes: Vec<Node>,
    /// Where each is.
    pub(super) places: Vec<Place<'a>>,
    /// The members of each group.
    pub(super) groups: BTreeMap<String, Vec<NodeName>>,
    /// The names of all.
    names: HashSet<NodeName>,
}

/// Reads what a node is; `None` if it is wrong.
type Reader = fn(&mut Table<'_>) -> Option<Kind>;

/// The kinds of node and their readers.
const READERS: [(&str, Reader); 6] = [
    ("host", |table| Some(Kind::Host(Box::new(host(table, false))))),
    ("router", |table| Some(Kind::Host(Box::new(host(table, true))))),
    ("switch", |table| Some(Kind::Switch(Box::new(switch(table))))),
    ("nat", |table| Some(Kind::Nat(Box::new(nat(table))))),
    ("guest", |table| Some(Kind::Guest(Box::new(guest(table))))),
    ("outside", |table| table.required("port", outside).map(Kind::Outside)),
];

impl<'a> Nodes<'a> {
    /// Whether there is a node of a name.
    pub(super) fn has(&self, name: &str) -> bool {
        self.names.contains(name)
    }

    /// Reads the nodes of a file.
    pub(super) fn read(&mut self, top: &mut Table<'a>) {
        let problems = top.problems();
        let mut found = Vec::new();
        for (kind, read) in READERS {
            let entries = top.table(kind).map(Table::into_entries).unwrap_or_default();
            found.extend(entries.into_iter().map(|entry| (kind, read, entry)));
        }
        // In the order of the file, whatever their kinds.
        found.sort_by_key(|(.., entry)| entry.key_span.start);
        for (kind, read, entry) in found {
            self.read_one(kind, read, &entry, problems);
        }
    }

    fn read_one(&mut self, kind: &str, read: Reader, entry: &Entry<'a>, problems: &'a Problems) {
        let path = format!("{kind}.{}", entry.key);
        let place = Place { source: entry.value.source, span: entry.key_span.clone() };
        let Some(mut table) = table_of(&path, entry, problems) else { return };
        let stations = u32::try_from(Lab::STATIONS_MAX).unwrap_or(u32::MAX);
        let count = table.get("count", integer(1..=stations));
        let is_group = table.contains("count");
        for n in 1..=count.unwrap_or(1) {
            let name =
                if is_group { format!("{}{n}", entry.key) } else { entry.key.clone().into_owned() };
            let name = match name.parse::<NodeName>() {
                Ok(name) => name,
                Err(error) => {
                    let message = format!("`{}` cannot be the name of a node", entry.key);
                    return problems.push(place.source, place.span, message, Some(error));
                }
            };
            let mut value = entry.value.clone();
            if is_group {
                values::number(&mut value, n);
            }
            let Some(mut table) = Table::of_value(&path, &value, problems) else { return };
            table.has("count");
            let read = read(&mut table);
            table.finish();
            if is_group {
                self.groups.entry(entry.key.clone().into_owned()).or_default().push(name.clone());
            }
            // Something that is wrong is a node all the same, so that links to it are no mistakes.
            let kind = read.unwrap_or_else(|| Kind::Outside(String::new()));
            self.names.insert(name.clone());
            self.nodes.push(Node { name, kind });
            self.places.push(place.clone());
            if problems.is_full() {
                return;
            }
        }
    }
}

fn switch(table: &mut Table<'_>) -> adit_engine::switch::SwitchConfig {
    let mut wanted = WantedSwitch::default();
    wanted.set_switch(table);
    wanted.switch
}

fn nat(table: &mut Table<'_>) -> NatNode {
    let problems = table.problems();
    let mut publish = Vec::new();
    for entry in pairs(table, "publish") {
        let list = match &entry.value.kind {
            Type::List(list) => list.as_slice(),
            _ => std::slice::from_ref(&entry.value),
        };
        let Ok(name) = entry.key.parse::<NodeName>() else {
            let message = format!("`{}` is not the name of a node", entry.key);
            let help = Some("write NODE = \"8080:80\"".to_owned());
            problems.push(entry.value.source, entry.key_span.clone(), message, help);
            continue;
        };
        for value in list {
            match parsed("[ADDR:]PORT[-PORT][:INSIDE][/udp]")(value) {
                Ok(spec) => publish.push((name.clone(), spec)),
                Err(wrong) => value.wrong(&entry.key, wrong, problems),
            }
        }
    }
    NatNode {
        publish,
        allow_host: table.list("allow-host", integer(1..=u16::MAX)),
        allow: table.list("allow", parsed("PREFIX[:PORT[-PORT]]")),
        deny: table.list("deny", parsed("PREFIX[:PORT[-PORT]]")),
    }
}

fn guest(table: &mut Table<'_>) -> Guest {
    let guest = Guest {
        kernel: table.get("kernel", path),
        initrd: table.get("initrd", path),
        append: table.get("append", text).unwrap_or_default(),
        disk: table.get("disk", path),
        memory: table.get("memory", integer(1..=1 << 20)).unwrap_or(0),
        arguments: table.list("arguments", text),
        interfaces: interfaces(table),
        addresses: table.list("address", address),
        restart: table.get("restart", one_of(&RESTART)).unwrap_or_default(),
        ready: table.get("ready", text).unwrap_or_default(),
        ready_within: table.get("ready-within", duration).unwrap_or_default(),
    };
    if !table.contains("kernel") && !table.contains("disk") {
        let help = "add `kernel`, or `disk` with a system that boots".to_owned();
        table.wrong("kernel", "a guest boots from a kernel or a disk", Some(help));
    }
    for key in ["initrd", "append"] {
        if table.contains(key) && !table.contains("kernel") {
            table.wrong(key, format_args!("`{key}` without `kernel`"), None);
        }
    }
    guest
}

/// A port outside the lab, as `adit switch --port` has it.
fn outside(value: &Value<'_>) -> Result<String, Wrong> {
    let text = text(value)?;
    let mut spec = kinds::parse(&text).map_err(|error| Wrong {
        message: format!("is wrong: {}", error.message),
        help: error.hint,
        part: Some(error.at..text.len()),
    })?;
    if let Some((key, _)) = spec.rest.first() {
        return Err(Wrong::new(format_args!("has the unknown key `{key}`")));
    }
    if spec.is_layer3() {
        return Err(Wrong::new("carries packets; a lab needs frames").help("use a TAP"));
    }
    let named = RefCell::new(None);
    spec.change_path(|path| named.borrow_mut().insert(path.to_owned()).clone());
    let Some(named) = named.into_inner() else { return Ok(text) };
    // A comma in the path is written twice.
    let written = |path: &Path| path.display().to_string().replace(',', ",,");
    // The same when the file is read again by another path.
    let path = value.source().beside(&named)?;
    let path = adit_device::rights::absolute(&path).unwrap_or(path);
    Ok(text.replacen(&written(&named), &written(&path), 1))
}
