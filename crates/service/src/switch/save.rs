//! Changes of a running switch, written into the text of its file. Comments, order and all that is not
//! changed stay.

use crate::config::problems::Problems;
use crate::config::source::Source;
use crate::error::{Error, Result};
use crate::switch::changes::{Change, FAMILIES, Keys};
use crate::switch::wanted::WantedSwitch;
use serde_json::Value as Json;
use toml_edit::{ArrayOfTables, DocumentMut, InlineTable, Item, Table, TableLike, Value};

/// A text with changes in it.
#[derive(Clone, Debug)]
pub struct Edited {
    /// The new text.
    pub text: String,
    /// The changes that are in it.
    pub saved: Vec<Change>,
    /// Those of ports that the file does not have: they come from options of the command line.
    pub skipped: Vec<Change>,
}

/// Writes `changes` into the text of a configuration file, which may be empty.
///
/// # Errors
/// The mistakes in the text.
pub fn edit(source: &Source, changes: &[Change]) -> Result<Edited> {
    let problems = Problems::default();
    let mut names = Vec::new();
    if !source.text().is_empty() {
        let now = WantedSwitch::of_source(source, &problems);
        problems.check(source.name())?;
        names = now.ports.into_iter().map(|port| port.name).collect();
    }
    let wrong = |error: toml_edit::TomlError| Error::usage(format!("{}: {error}", source.name()));
    let mut document: DocumentMut = source.text().parse().map_err(wrong)?;
    let mut edited = Edited { text: String::new(), saved: Vec::new(), skipped: Vec::new() };
    for change in changes {
        let is_done = apply(document.as_table_mut(), &mut names, change);
        let list = if is_done { &mut edited.saved } else { &mut edited.skipped };
        list.push(change.clone());
    }
    edited.text = document.to_string();
    Ok(edited)
}

/// Applies one change; `names` are those of the ports in the order of their tables. Returns whether the
/// file has the port that the change is about.
fn apply(top: &mut Table, names: &mut Vec<String>, change: &Change) -> bool {
    let at = |port: &str| names.iter().position(|name| name == port);
    match change {
        Change::Top { set } => set_keys(top, set, &[]),
        Change::Switch { set } => {
            let table = top.entry("switch").or_insert_with(toml_edit::table);
            if let Some(table) = table.as_table_like_mut() {
                set_keys(table, set, &[]);
            }
        }
        Change::PortAdded { port, set } => {
            let ports = tables(top, "port");
            match at(port).and_then(|at| ports.get_mut(at)) {
                Some(table) => set_keys(table, set, &[]),
                None => {
                    ports.push(new_table(set));
                    names.push(port.clone());
                }
            }
        }
        Change::PortRemoved { port } => {
            let Some(at) = at(port) else { return false };
            tables(top, "port").remove(at);
            names.remove(at);
        }
        Change::PortChanged { port, set, unset } => {
            let table = at(port).and_then(|at| tables(top, "port").get_mut(at));
            let Some(table) = table else { return false };
            set_keys(table, set, unset);
        }
        Change::StaticAdded { set } => tables(top, "static").push(new_table(set)),
        Change::StaticRemoved { set } => {
            let is_other = |table: &Table| {
                let text = |key: &str| table.get(key).and_then(Item::as_str).map(str::to_lowercase);
                let vlan = table.get("vlan").and_then(Item::as_integer);
                text("mac").as_deref() != set.get("mac").and_then(Json::as_str)
                    || vlan != set.get("vlan").and_then(Json::as_i64)
            };
            tables(top, "static").retain(is_other);
        }
        Change::MirrorAdded { set } => tables(top, "mirror").push(new_table(set)),
    }
    true
}

/// The tables of a key, as `[[port]]`.
fn tables<'a>(top: &'a mut Table, key: &str) -> &'a mut ArrayOfTables {
    let item = top.entry(key).or_insert_with(toml_edit::array);
    if !item.is_array_of_tables() {
        // `port = [{ ... }]`, or a single `[port]`, which counts as a list of one.
        *item = match std::mem::take(item) {
            Item::Table(table) => Item::ArrayOfTables(std::iter::once(table).collect()),
            item => item.into_array_of_tables().map_or_else(|item| item, Item::ArrayOfTables),
        };
    }
    item.as_array_of_tables_mut().expect("the reader has accepted it as tables")
}

fn new_table(keys: &Keys) -> Table {
    let mut table = Table::new();
    set_keys(&mut table, keys, &[]);
    table
}

/// Sets and removes keys. What follows a value on its line, such as a comment, stays.
fn set_keys(table: &mut dyn TableLike, set: &Keys, unset: &[String]) {
    for family in FAMILIES.iter().filter(|family| family.iter().any(|key| set.contains_key(*key))) {
        for key in family.iter().filter(|key| !set.contains_key(**key)) {
            remove(table, key);
        }
    }
    unset.iter().for_each(|key| remove(table, key));
    for (key, json) in set {
        let mut value = to_toml(json);
        match written_key(table, key).and_then(|key| table.get_mut(&key)) {
            Some(Item::Value(old)) => {
                *value.decor_mut() = old.decor().clone();
                *old = value;
            }
            Some(item) => *item = Item::Value(value),
            None => {
                table.insert(key, Item::Value(value));
            }
        }
    }
}

fn remove(table: &mut dyn TableLike, key: &str) {
    if let Some(key) = written_key(table, key) {
        table.remove(&key);
    }
}

/// A key as the file writes it: `-` and `_` are alike.
fn written_key(table: &dyn TableLike, key: &str) -> Option<String> {
    let mut keys = table.iter().map(|(key, _)| key);
    keys.find(|written| written.replace('_', "-") == key).map(str::to_owned)
}

fn to_toml(json: &Json) -> Value {
    match json {
        Json::Null => "".into(),
        Json::Bool(is) => (*is).into(),
        Json::Number(number) => match number.as_i64() {
            Some(whole) => whole.into(),
            None => number.as_f64().unwrap_or_default().into(),
        },
        Json::String(text) => text.as_str().into(),
        Json::Array(list) => Value::Array(list.iter().map(to_toml).collect()),
        Json::Object(keys) => {
            let entries = keys.iter().map(|(key, value)| (key.as_str(), to_toml(value)));
            Value::InlineTable(entries.collect::<InlineTable>())
        }
    }
}

#[cfg(test)]
mod tests;
