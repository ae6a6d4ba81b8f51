//! Nodes: `[host.x]`, `[router.x]`, `[switch.x]`, `[nat.x]`, `[guest.x]`, `[outside.x]`.

use crate::file::place::Place;
use crate::file::values;
use crate::model::{Guest, Host, Interface, Kind, Lab, NatNode, Node, NodeName};
use crate::model::{PrivateFile, Program, Restart, Route, Routing};
use adit_device::IfName;
use adit_packet::IpPrefix;
use adit_service::config::entry::{Entry, Kind as Type, Value, Wrong};
use adit_service::config::problems::Problems;
use adit_service::config::table::Table;
use adit_service::config::value::{boolean, duration, integer, mac, one_of, parsed, path, text};
use adit_service::kinds;
use adit_service::switch::wanted::WantedSwitch;
use std::collections::{BTreeMap, HashSet};
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

/// How long a program has until it is ready, unless the file says otherwise.
const READY_WITHIN: Duration = Duration::from_secs(30);

/// The most files, names and settings that a text of a file may be: a configuration of that node.
const TEXT_LEN_MAX: usize = 1 << 20;

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

const ROUTING: [(&str, Routing); 6] = [
    ("static", Routing::Static),
    ("none", Routing::None),
    ("bird:ospf", Routing::BirdOspf),
    ("bird:bgp", Routing::BirdBgp),
    ("frr:ospf", Routing::FrrOspf),
    ("frr:bgp", Routing::FrrBgp),
];

const RESTART: [(&str, Restart); 3] =
    [("never", Restart::Never), ("on-failure", Restart::OnFailure), ("always", Restart::Always)];

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

/// An entry as a table called `name`.
fn table_of<'a>(name: &str, entry: &Entry<'a>, problems: &'a Problems) -> Option<Table<'a>> {
    let table = Table::of_value(name, &entry.value, problems);
    if table.is_none() {
        let help = format!("write it as `[{name}]` on a line of its own");
        let wrong = Wrong::expected("a table", &entry.value).help(help);
        entry.value.wrong(&entry.key, wrong, problems);
    }
    table
}

fn host(table: &mut Table<'_>, is_router: bool) -> Host {
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
    let forward = table.get("forward", boolean).unwrap_or(is_router);
    if is_router && !forward {
        let help = "make it a [host]".to_owned();
        table.wrong("forward", "a router forwards", Some(help));
    }
    Host {
        forward,
        masquerade: table.get("masquerade", parsed("an interface")),
        interfaces,
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
fn address(value: &Value<'_>) -> Result<IpPrefix, Wrong> {
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

/// The keys and values of a table of texts.
fn pairs<'a>(table: &mut Table<'a>, key: &'static str) -> Vec<Entry<'a>> {
    table.table(key).map(Table::into_entries).unwrap_or_default()
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

/// `run = ["httpd", { command = "iperf3 -s", name = "iperf", restart = "always" }]`.
fn programs(table: &mut Table<'_>) -> Vec<Program> {
    let problems = table.problems();
    let Some(value) = table.value("run").cloned() else { return Vec::new() };
    let values = match value.kind {
        Type::List(list) => list,
        _ => vec![value],
    };
    let mut programs: Vec<Program> = Vec::new();
    for value in values {
        let program =
            match Table::of_value("run", &value, problems).filter(|_| value.as_text().is_none()) {
                Some(mut table) => {
                    let words = table.required("command", words);
                    let program = Program {
                        name: table.get("name", label).unwrap_or_default(),
                        words: words.unwrap_or_default(),
                        restart: table.get("restart", one_of(&RESTART)).unwrap_or_default(),
                        ready: table.get("ready", words_or_none).unwrap_or_default(),
                        ready_within: table.get("ready-within", duration).unwrap_or(READY_WITHIN),
                    };
                    table.finish();
                    program
                }
                None => match words(&value) {
                    Ok(words) => Program {
                        name: String::new(),
                        words,
                        restart: Restart::Never,
                        ready: Vec::new(),
                        ready_within: READY_WITHIN,
                    },
                    Err(wrong) => {
                        value.wrong("run", wrong, problems);
                        continue;
                    }
                },
            };
        let is_taken = |name: &str| programs.iter().any(|other| other.name == name);
        if is_taken(&program.name) {
            let message = format!("two programs are called '{}'", program.name);
            problems.push(value.source, value.span.clone(), message, None);
        }
        let name =
            if program.name.is_empty() { free_name(&program, is_taken) } else { program.name };
        programs.push(Program { name, ..program });
    }
    programs
}

/// The last part of the path of its command, with a number if another one has that name.
fn free_name(program: &Program, is_taken: impl Fn(&str) -> bool) -> String {
    let command = program.words.first().map_or("", String::as_str);
    let stem = command.rsplit('/').next().unwrap_or(command);
    let is_plain = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let stem: String = stem.chars().filter(is_plain).take(32).collect();
    let stem = if stem.starts_with('.') || stem.is_empty() { "program".to_owned() } else { stem };
    let numbered = (2..).map(|number| format!("{stem}-{number}"));
    std::iter::once(stem.clone()).chain(numbered).find(|name| !is_taken(name)).unwrap_or(stem)
}

/// The name of a program, which is also that of its log.
fn label(value: &Value<'_>) -> Result<String, Wrong> {
    parsed::<NodeName>("a name")(value).map(|name| name.to_string())
}

fn words_or_none(value: &Value<'_>) -> Result<Vec<String>, Wrong> {
    if value.as_text() == Some("") { Ok(Vec::new()) } else { words(value) }
}

/// A command as a text, split at spaces as a shell does, or as a list of words.
fn words(value: &Value<'_>) -> Result<Vec<String>, Wrong> {
    if let Type::List(list) = &value.kind {
        let word = |value: &Value<'_>| {
            value.plain().ok_or_else(|| Wrong::expected("a list of words", value))
        };
        let words: Vec<String> = list.iter().map(word).collect::<Result<_, _>>()?;
        let is_empty = words.first().is_none_or(String::is_empty);
        return if is_empty { Err(Wrong::new("has no command")) } else { Ok(words) };
    }
    let text = text(value)?;
    split(&text).map_err(Wrong::new)
}

/// The words of a command, with the quotes and backslashes of a shell; a shell's other signs need a shell.
fn split(text: &str) -> Result<Vec<String>, &'static str> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut chars = text.chars();
    let mut needs_shell = false;
    while let Some(c) = chars.next() {
        match c {
            '\'' => {
                let word = word.get_or_insert_default();
                loop {
                    match chars.next() {
                        Some('\'') => break,
                        Some(c) => word.push(c),
                        None => return Err("has a quote that is not closed"),
                    }
                }
            }
            '"' => {
                let word = word.get_or_insert_default();
                loop {
                    match chars.next() {
                        Some('"') => break,
                        Some('\\') => match chars.next() {
                            Some(c @ ('"' | '\\' | '$' | '`')) => word.push(c),
                            Some(c) => word.extend(['\\', c]),
                            None => return Err("has a quote that is not closed"),
                        },
                        Some('$' | '`') => {
                            needs_shell = true;
                            word.push('$');
                        }
                        Some(c) => word.push(c),
                        None => return Err("has a quote that is not closed"),
                    }
                }
            }
            '\\' => match chars.next() {
                Some(c) => word.get_or_insert_default().push(c),
                None => return Err("ends in a backslash"),
            },
            '|' | '&' | ';' | '<' | '>' | '$' | '`' | '*' | '(' | ')' => {
                needs_shell = true;
                word.get_or_insert_default().push(c);
            }
            c if c.is_whitespace() => words.extend(word.take()),
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    let sets_variable = words.first().is_some_and(|word| word.contains('='));
    if needs_shell || sets_variable {
        return Ok(["sh", "-c", text].map(str::to_owned).to_vec());
    }
    if words.is_empty() { Err("has no command") } else { Ok(words) }
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
fn content_of(value: &Value<'_>) -> Result<String, Wrong> {
    use std::io::Read;
    let path = path(value)?;
    let failed =
        |error| Wrong::new(format_args!("cannot be read from {}: {error}", path.display()));
    let file = adit_service::config::source::open_regular(&path).map_err(failed)?;
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
    let spec = kinds::parse(&text).map_err(|error| Wrong {
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
    Ok(text)
}
