//! A node: its settings come from itself, its group, its kind and the defaults, in this order.

use super::commands::{self, Effect};
use super::state::{State, Taken};
use crate::import::text::{Images, NodeDraft, add_to_list, array, quoted};
use crate::import::yaml::Value;
use std::net::IpAddr;

/// Keys that are read, or that say nothing about a node that runs on this machine.
const KNOWN: [&str; 15] = [
    "kind",
    "image",
    "group",
    "exec",
    "cmd",
    "entrypoint",
    "env",
    "binds",
    "sysctls",
    "restart-policy",
    "image-pull-policy",
    "runtime",
    "auto-remove",
    "labels",
    "position",
];

/// Where the settings of a node come from, the most specific first.
pub(super) struct Levels<'a>(Vec<&'a Value>);

impl<'a> Levels<'a> {
    pub(super) fn new(node: &'a Value, topology: &'a Value) -> Self {
        let shared = |of: &str, name: Option<&'a Value>| {
            topology.get(of).and_then(|all| all.get(name?.text()?))
        };
        let mut levels = vec![node];
        let defaults = topology.get("defaults");
        let group = node.get("group").or_else(|| defaults?.get("group"));
        levels.extend(shared("groups", group));
        let kind = levels.iter().copied().chain(defaults).find_map(|level| level.get("kind"));
        levels.extend(shared("kinds", kind));
        levels.extend(defaults);
        Self(levels)
    }

    /// The most specific value of a key.
    fn get(&self, key: &str) -> Option<&'a Value> {
        self.0.iter().find_map(|level| level.get(key)).filter(|value| !value.is_null())
    }

    fn text(&self, key: &str) -> Option<&'a str> {
        self.get(key)?.text()
    }

    /// The lists of a key at all levels, the most general first.
    fn lists(&self, key: &str) -> impl Iterator<Item = &'a Value> {
        self.0.iter().rev().filter_map(move |level| level.get(key)).flat_map(Value::list)
    }

    /// The maps of a key at all levels; a more specific entry replaces one of the same name.
    fn maps(&self, key: &str) -> Vec<(&'a str, &'a Value)> {
        let mut all: Vec<(&str, &Value)> = Vec::new();
        for (name, value) in
            self.0.iter().rev().filter_map(|level| level.get(key)).flat_map(Value::entries)
        {
            all.retain(|(known, _)| known != name);
            all.push((name, value));
        }
        all
    }
}

/// Reads a node.
pub(super) fn read(state: &mut State<'_>, name: &str, levels: &Levels<'_>) -> Taken {
    let at = levels.get("kind").unwrap_or(levels.0[0]);
    let as_hosts = state.images == Images::Hosts;
    let kind = match levels.text("kind") {
        Some("linux") => linux(state, name, levels),
        Some("bridge" | "ovs-bridge") => Some("switch"),
        Some("host") => return Taken::Host,
        Some(_) if as_hosts => Some("router"),
        Some(kind) => {
            let message =
                format!("node {name}: kind `{kind}` needs a container or virtual machine");
            let help = "kinds that run on this machine are linux, bridge, ovs-bridge and host; \
                        `--as-hosts` takes all others as routers";
            state.problem(at, &message, help);
            None
        }
        None => {
            state.problem(at, &format!("node {name} has no kind"), "write `kind: linux`");
            None
        }
    };
    let Some(kind) = kind else { return Taken::Rejected };
    if let Some(image) = levels.text("image").filter(|_| as_hosts && kind != "switch") {
        state.leave_out(&format!("image: {image}"), name);
    }
    let mut draft = NodeDraft::new(kind, state.name(name));
    draft.comment = (draft.name.as_str() != name).then(|| name.to_owned());
    if kind != "switch" {
        settings(state, name, levels, &mut draft);
    }
    for (key, _) in levels.0.iter().flat_map(|level| level.entries()) {
        if !KNOWN.contains(&key.as_str()) {
            state.leave_out(key, name);
        }
    }
    state.draft.nodes.push(draft);
    Taken::Node(state.draft.nodes.len() - 1)
}

/// What a node of kind linux becomes.
fn linux(state: &State<'_>, name: &str, levels: &Levels<'_>) -> Option<&'static str> {
    let image = levels.get("image");
    if let Some(image) = image.filter(|_| state.images == Images::Rejected) {
        let text = image.text().unwrap_or_default();
        let message = format!("node {name}: a lab runs no container image (`{text}`)");
        let help = "remove `image:` to run the node with the programs of this machine, \
                    or import with `--as-hosts`";
        state.problem(image, &message, help);
        return None;
    }
    let routes = ["frr", "bird", "gobgp"]
        .iter()
        .any(|daemon| image.and_then(Value::text).is_some_and(|image| image.contains(daemon)));
    let forwards = levels.maps("sysctls").iter().any(|(key, _)| key.ends_with("forward"))
        || levels.lists("exec").any(|line| {
            line.text()
                .is_some_and(|line| line.contains("ip_forward") || line.contains("forwarding"))
        });
    Some(if routes || forwards { "router" } else { "host" })
}

/// Commands, variables and sysctls.
fn settings(state: &mut State<'_>, name: &str, levels: &Levels<'_>, draft: &mut NodeDraft) {
    let mut sysctls: Vec<(String, String)> = Vec::new();
    for (key, value) in levels.maps("sysctls") {
        sysctls.push((key.to_owned(), value.text().unwrap_or_default().to_owned()));
    }
    let variables: Vec<String> = levels
        .maps("env")
        .iter()
        .filter(|(key, _)| !key.starts_with("__"))
        .map(|(key, value)| format!("{key}={}", value.text().unwrap_or_default()))
        .collect();
    let mut programs = Vec::new();
    let command = [levels.text("entrypoint"), levels.text("cmd")];
    let command: Vec<&str> = command.into_iter().flatten().collect();
    if !command.is_empty() {
        // The command of a container is what runs in it: containerlab starts it again by default.
        let restart = match levels.text("restart-policy") {
            Some("no") => "never",
            Some("on-failure") => "on-failure",
            _ => "always",
        };
        let line = quoted(&with_variables(&variables, command.join(" ").trim()));
        programs.push(format!("{{ command = {line}, restart = \"{restart}\" }}"));
    }
    let mut routes = Vec::new();
    for line in levels.lists("exec").filter_map(Value::text).map(str::trim) {
        match commands::effect(line) {
            Effect::None => {}
            Effect::Address(interface, address) => {
                add_to_list(draft.interface(&interface), "address", &quoted(&address));
            }
            Effect::Mac(interface, mac) => {
                draft.interface(&interface).push(("mac".to_owned(), quoted(&mac)));
            }
            Effect::Route(to, via) => {
                routes.push(format!("{to} via {via}"));
            }
            Effect::Sysctl(key, value) => sysctls.push((key, value)),
            Effect::Unknown => programs.push(quoted(&with_variables(&variables, line))),
        }
    }
    if !variables.is_empty() && programs.is_empty() {
        state.leave_out("env", name);
    }
    let mut keys = Vec::new();
    if !routes.is_empty() {
        keys.push(("route".to_owned(), array(&routes)));
    }
    if !sysctls.is_empty() {
        let entry =
            |(key, value): &(String, String)| format!("{} = {}", quoted(key), quoted(value));
        let entries: Vec<String> = sysctls.iter().map(entry).collect();
        keys.push(("sysctl".to_owned(), format!("{{ {} }}", entries.join(", "))));
    }
    let servers = levels.get("dns").and_then(|dns| dns.get("servers")).map_or(&[][..], Value::list);
    let is_address = |server: &&str| server.parse::<IpAddr>().is_ok();
    let servers: Vec<&str> = servers.iter().filter_map(Value::text).filter(is_address).collect();
    if !servers.is_empty() {
        keys.push(("dns".to_owned(), array(&servers)));
    }
    let files = files(state, name, levels);
    if !files.is_empty() {
        keys.push(("file".to_owned(), format!("{{ {} }}", files.join(", "))));
    }
    if !programs.is_empty() {
        keys.push(("run".to_owned(), format!("[{}]", programs.join(", "))));
    }
    draft.keys = keys;
}

/// Files that are mounted where a node has private ones.
fn files(state: &mut State<'_>, name: &str, levels: &Levels<'_>) -> Vec<String> {
    let mut files = Vec::new();
    for bind in levels.lists("binds").filter_map(Value::text) {
        let mut parts = bind.split(':');
        let (from, to) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        let is_private = ["/etc/", "/run/"].iter().any(|folder| to.starts_with(folder));
        let is_file = || state.source.beside(from).is_ok_and(|path| path.is_file());
        if is_private && !to.contains("..") && is_file() {
            files.push(format!("{} = {{ from = {} }}", quoted(to), quoted(from)));
        } else {
            state.leave_out(&format!("bind {bind}"), name);
        }
    }
    files
}

/// A command with environment variables.
fn with_variables(variables: &[String], command: &str) -> String {
    if variables.is_empty() {
        return command.to_owned();
    }
    let quote = |text: &String| format!("'{}'", text.replace('\'', "'\\''"));
    let variables: Vec<String> = variables.iter().map(quote).collect();
    format!("env {} {command}", variables.join(" "))
}
