//! `[host.x]` and `[router.x]`.

use crate::file::entries::{pairs, table_of};
use crate::file::programs::programs;
use crate::model::{Host, Interface, PrivateFile, Route, Routing};
use adit_device::IfName;
use adit_packet::IpPrefix;
use adit_service::config::entry::{Kind as Type, Value, Wrong};
use adit_service::config::table::Table;
use adit_service::config::value::{boolean, mac, one_of, parsed, path};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;

/// The largest file that is copied into a node.
const TEXT_LEN_MAX: usize = 1 << 20;

const ROUTING: [(&str, Routing); 6] = [
    ("static", Routing::Static),
    ("none", Routing::None),
    ("bird:ospf", Routing::BirdOspf),
    ("bird:bgp", Routing::BirdBgp),
    ("frr:ospf", Routing::FrrOspf),
    ("frr:bgp", Routing::FrrBgp),
];

/// `[host.x.interface.eth0]`, for each.
pub(super) fn interfaces(table: &mut Table<'_>) -> BTreeMap<IfName, Interface> {
    let problems = table.problems();
    let mut interfaces = BTreeMap::new();
    let entries = table.table("interface").map(Table::into_entries).unwrap_or_default();
    for entry in entries {
        let Some(mut table) = table_of(&format!("interface.{}", entry.key), &entry, problems)
        else {
            continue;
        };
        let addresses = table.list("address", address);
        let interface = Interface { addresses, mac: table.get("mac", mac) };
        table.finish();
        match entry.key.parse::<IfName>() {
            Ok(name) => {
                interfaces.insert(name, interface);
            }
            Err(error) => {
                let message = format!("`{}` cannot be the name of an interface", entry.key);
                let help = Some(error.to_string());
                problems.push(entry.value.source, entry.key_span, message, help);
            }
        }
    }
    interfaces
}

pub(super) fn host(table: &mut Table<'_>, is_router: bool) -> Host {
    let forward = table.get("forward", boolean).unwrap_or(is_router);
    if is_router && !forward {
        let help = "make it a [host]".to_owned();
        table.wrong("forward", "a router forwards", Some(help));
    }
    Host {
        forward,
        masquerade: table.get("masquerade", parsed("an interface")),
        interfaces: interfaces(table),
        addresses: table.list("address", address),
        routes: table.list("route", route),
        routing: table.get("routing", one_of(&ROUTING)).unwrap_or_default(),
        sysctls: sysctls(table),
        names: names(table),
        dns: table.list("dns", parsed("an IP address")),
        programs: programs(table),
        files: files(table),
    }
}

/// An address with its prefix length.
pub(super) fn address(value: &Value<'_>) -> Result<IpPrefix, Wrong> {
    let address: IpPrefix = parsed("an address as \"192.0.2.1/24\"")(value)?;
    match value.as_text() {
        Some(text) if !text.contains('/') => {
            let len = if address.ip().is_ipv4() { 24 } else { 64 };
            Err(Wrong::new("has no prefix length")
                .help(format_args!("did you mean \"{text}/{len}\"?")))
        }
        _ => Ok(address),
    }
}

/// `10.9.0.0/16 via 10.0.0.1 metric 5`, `default via fd00::1`.
fn route(value: &Value<'_>) -> Result<Route, Wrong> {
    const HELP: &str = "write \"10.9.0.0/16 via 10.0.0.1\" or \"default via 10.0.0.1\"";
    let wrong = |what: &dyn std::fmt::Display| Wrong::new(what).help(HELP);
    let text = value.as_text().ok_or_else(|| Wrong::expected("a route", value).help(HELP))?;
    let words: Vec<&str> = text.split_whitespace().collect();
    let (to, via, metric) = match *words {
        [to, "via", via] => (to, via, None),
        [to, "via", via, "metric", metric] => (to, via, Some(metric)),
        _ => return Err(wrong(&format_args!("cannot be `{text}`"))),
    };
    let via: IpAddr = via
        .parse()
        .map_err(|_| wrong(&format_args!("has no next hop: `{via}` is not an address")))?;
    let to = match to {
        "default" if via.is_ipv4() => IpPrefix::ALL_V4,
        "default" => IpPrefix::ALL_V6,
        _ => IpPrefix::parse_network(to)
            .map_err(|error| wrong(&format_args!("leads to no network: {error}")))?,
    };
    if to.ip().is_ipv4() != via.is_ipv4() {
        return Err(Wrong::new("has a next hop of the other family"));
    }
    let metric = metric.map(str::parse).transpose();
    Ok(Route { to, via, metric: metric.map_err(|_| wrong(&"has a metric that is no number"))? })
}

fn sysctls(table: &mut Table<'_>) -> BTreeMap<String, String> {
    let problems = table.problems();
    let mut sysctls = BTreeMap::new();
    for entry in pairs(table, "sysctl") {
        match entry.value.plain() {
            Some(value) => {
                sysctls.insert(entry.key.into_owned(), value);
            }
            // `net.ipv4.x = 1` without quotes is a table in TOML.
            None => {
                let wrong = Wrong::expected("a text or a number", &entry.value);
                let help = "put the name in quotes: \"net.ipv4.ip_forward\" = 1";
                entry.value.wrong(&entry.key, wrong.help(help), problems);
            }
        }
    }
    sysctls
}

/// More names for /etc/hosts: `names = { db = "10.0.0.5" }`.
fn names(table: &mut Table<'_>) -> Vec<(String, IpAddr)> {
    let problems = table.problems();
    let mut names = Vec::new();
    for entry in pairs(table, "names") {
        let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        if !entry.key.chars().all(is_name) {
            let message = format!("`{}` is not the name of a host", entry.key);
            problems.push(entry.value.source, entry.key_span.clone(), message, None);
        }
        let list = match &entry.value.kind {
            Type::List(list) => list.as_slice(),
            _ => std::slice::from_ref(&entry.value),
        };
        for value in list {
            match parsed("an IP address")(value) {
                Ok(ip) => names.push((entry.key.clone().into_owned(), ip)),
                Err(wrong) => value.wrong(&entry.key, wrong, problems),
            }
        }
    }
    names
}

/// `file = { "/etc/motd" = "hello", "/etc/app.conf" = { from = "app.conf", mode = "600" } }`.
fn files(table: &mut Table<'_>) -> Vec<PrivateFile> {
    let problems = table.problems();
    let mut files = Vec::new();
    for entry in pairs(table, "file") {
        let (text, mode) = match &entry.value.kind {
            Type::Table(_) => {
                let Some(mut table) = table_of("file", &entry, problems) else { continue };
                let given = table.get("text", content);
                let from = table.get("from", content_of);
                let mode = table.get("mode", mode).unwrap_or(0o644);
                if given.is_some() == from.is_some() && !(table.has("text") ^ table.has("from")) {
                    let help = "either the `text` itself, or the file that it is copied `from`";
                    table.wrong("from", "a file has one content", Some(help.to_owned()));
                }
                table.finish();
                (given.or(from).unwrap_or_default(), mode)
            }
            _ => match content(&entry.value) {
                Ok(text) => (text, 0o644),
                Err(wrong) => {
                    entry.value.wrong(&entry.key, wrong, problems);
                    continue;
                }
            },
        };
        files.push(PrivateFile { path: PathBuf::from(entry.key.into_owned()), text, mode });
    }
    files
}

fn content(value: &Value<'_>) -> Result<String, Wrong> {
    value.as_text().map(str::to_owned).ok_or_else(|| Wrong::expected("a text in quotes", value))
}

/// The content of the file that is named.
pub(super) fn content_of(value: &Value<'_>) -> Result<String, Wrong> {
    use std::io::Read;
    let path = path(value)?;
    let failed =
        |error| Wrong::new(format_args!("cannot be read from {}: {error}", path.display()));
    let file = adit_service::helper::open_regular(&path).map_err(failed)?;
    let mut text = String::new();
    let limit = u64::try_from(TEXT_LEN_MAX).unwrap_or(u64::MAX) + 1;
    file.take(limit).read_to_string(&mut text).map_err(failed)?;
    if text.len() > TEXT_LEN_MAX {
        return Err(Wrong::new(format_args!("is larger than {} MiB", TEXT_LEN_MAX >> 20)));
    }
    Ok(text)
}

/// `"600"`: octal, as chmod has it.
fn mode(value: &Value<'_>) -> Result<u32, Wrong> {
    let number = value.as_text().and_then(|text| u32::from_str_radix(text, 8).ok());
    number.filter(|mode| *mode <= 0o777).ok_or_else(|| {
        Wrong::expected("a mode of chmod", value).help("three octal digits in quotes: \"644\"")
    })
}
