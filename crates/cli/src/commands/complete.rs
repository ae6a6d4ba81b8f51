//! `adit complete`: names for the shells' completion scripts: what exists on this machine now.
//!
//! ```text
//! adit switch --port tap:<TAB>   ->   adit complete -- switch --port tap:   ->   tap:a
//!                                                                                tap:b
//! ```
//!
//! No line is printed for words that the generated scripts know: subcommands, options, fixed values.

use crate::commands::explain;
use crate::commands::lab::wanted::USUAL;
use crate::commands::running::SWITCH;
use crate::context::{Context, NamedSchema};
use crate::exit::Exit;
use adit_device::Mode;
use adit_device::netlink::{LinkInfo, Netlink};
use adit_engine::netem::Preset;
use adit_lab::live::LAB;
use adit_runtime::Kind;
use adit_runtime::text::netns::open_netns;
use adit_service::control::client::{self, Client, instances};
use adit_service::error::Result;
use adit_service::kinds::KINDS;
use adit_service::log;
use adit_service::nat::model::{Nat, Published};
use adit_service::switch::{keys, model};
use adit_topology::report::Lab;
use adit_topology::shapes::Topology;
use adit_vpn::file::load;
use clap::{Arg, ArgAction, Command};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The words of the command line; the last is completed
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    words: Vec<OsString>,
}

/// What a word names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Names {
    /// Running programs of a kind.
    Running(&'static str),
    /// Running programs of a kind, and the ports of running switches.
    RunningOrPorts(&'static str),
    /// Running NATs, and the ports of the host that lead inside.
    RunningOrPublished,
    /// The ports of running switches.
    Ports,
    /// Ports as text: their kinds, names and keys; with the keys of a switch.
    NewPort { of_switch: bool },
    /// TUN and TAP devices.
    Devices,
    /// All interfaces.
    Interfaces,
    /// Network namespaces.
    Namespaces,
    /// Parts of running labs: their nodes, their links.
    Lab { nodes: bool, links: bool },
    /// Files of tunnels in /etc.
    TunnelFiles,
    /// Presets of links.
    Presets,
    /// Parameters of the file of a lab.
    Parameters,
    /// Shapes of labs.
    Topologies,
    /// Schemas.
    Schemas,
    /// Codes of errors.
    Codes,
    /// Targets and levels of a log, after what stands before the last comma.
    LogFilter,
    /// Running programs of all kinds; targets and levels of a log.
    RunningOrLogFilter,
}

const NODES: Names = Names::Lab { nodes: true, links: false };
const PARTS: Names = Names::Lab { nodes: true, links: true };

/// The arguments that name something: the beginning of the path of the command, the argument, and its names.
const NAMED: &[(&str, &str, Names)] = &[
    ("", "netns", Names::Namespaces),
    ("dev set", "name", Names::Devices),
    ("dev set", "move_to", Names::Namespaces),
    ("dev set", "master", Names::Interfaces),
    ("dev add", "master", Names::Interfaces),
    ("dev del", "names", Names::Devices),
    ("dev show", "name", Names::Devices),
    ("capture", "name", Names::Interfaces),
    ("capture", "interface", Names::Interfaces),
    ("explain", "code", Names::Codes),
    ("", "log", Names::LogFilter),
    ("log", "words", Names::RunningOrLogFilter),
    ("schema", "name", Names::Schemas),
    ("switch", "port", Names::NewPort { of_switch: true }),
    ("switch port add", "port", Names::NewPort { of_switch: true }),
    ("switch port del", "port", Names::Ports),
    ("switch set", "words", Names::Ports),
    ("switch fdb", "port", Names::Ports),
    ("switch show", "words", Names::RunningOrPorts(SWITCH)),
    ("switch save", "words", Names::Running(SWITCH)),
    ("switch", "word", Names::Running(SWITCH)),
    ("switch", "name", Names::Running(SWITCH)),
    ("netem", "port", Names::NewPort { of_switch: false }),
    ("netem", "preset", Names::Presets),
    ("nat serve", "port", Names::NewPort { of_switch: false }),
    ("netem", "word", Names::Running("netem")),
    ("netem", "name", Names::Running("netem")),
    ("nat", "words", Names::Running("nat")),
    ("nat unpublish", "words", Names::RunningOrPublished),
    ("nat", "word", Names::Running("nat")),
    ("nat", "netem", Names::Presets),
    ("run", "netem", Names::Presets),
    ("lab", "lab", Names::Running(LAB)),
    ("lab down", "word", Names::Running(LAB)),
    ("lab exec", "node", NODES),
    ("lab shell", "node", NODES),
    ("lab logs", "node", NODES),
    ("lab ping", "nodes", NODES),
    ("lab set", "link", Names::Lab { nodes: false, links: true }),
    ("lab fail", "parts", PARTS),
    ("lab heal", "parts", PARTS),
    ("lab show", "word", PARTS),
    ("lab capture", "part", PARTS),
    ("lab", "topo", Names::Topologies),
    ("lab", "settings", Names::Parameters),
    ("tunnel up", "files", Names::TunnelFiles),
    ("tunnel up", "device_netns", Names::Namespaces),
    ("tunnel check", "files", Names::TunnelFiles),
    ("tunnel invite", "file", Names::TunnelFiles),
    ("tunnel accept", "file", Names::TunnelFiles),
    ("tunnel", "words", Names::Running("tunnel")),
    ("tunnel", "word", Names::Running("tunnel")),
    ("tunnel", "name", Names::Running("tunnel")),
];

impl Args {
    pub(crate) fn run(self, context: &Context) -> Result<Exit> {
        let mut program = (context.program)();
        program.build();
        let words: Vec<String> =
            self.words.iter().map(|word| word.to_string_lossy().into_owned()).collect();
        let Some(asked) = Asked::read(&program, &words) else { return Ok(Exit::Ok) };
        if let Some(name) = &asked.netns {
            // A namespace that cannot be entered has no names.
            let entered = open_netns(name).ok().and_then(|netns| netns.enter().ok());
            if entered.is_none() {
                return Ok(Exit::Ok);
            }
        }
        let mut names = match asked.names {
            Names::Parameters => parameters(asked.file.as_deref()),
            names => names.candidates(&asked.word, context.schemas),
        };
        // bash inserts a name as it is: one that a shell would interpret is not offered.
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.:,=@/+%".contains(c);
        names.retain(|name| name.starts_with(&asked.word) && name.chars().all(is_plain));
        names.sort();
        names.dedup();
        for name in names {
            // `--name=lab` is one word.
            context.output.line(format_args!("{}{}", asked.before, name))?;
        }
        Ok(Exit::Ok)
    }
}

/// The word that is completed.
struct Asked {
    names: Names,
    /// Its text so far.
    word: String,
    /// What stands before it in the same word: `--name=`.
    before: String,
    /// The namespace of `-n`.
    netns: Option<String>,
    /// The first word that is a file.
    file: Option<PathBuf>,
}

impl Asked {
    /// Follows the words through the subcommands to the last one; `None` if that names nothing.
    fn read(program: &Command, words: &[String]) -> Option<Self> {
        let (last, words) = words.split_last()?;
        let mut walk =
            Walk { command: program, path: String::new(), value_of: None, positional: 0 };
        let mut netns = None;
        for word in words {
            if walk.value_of.is_some_and(|arg| arg.get_id() == "netns") {
                netns = Some(word.clone());
            }
            walk.step(word);
        }
        let (arg, before, word) = match (walk.value_of, last.split_once('=')) {
            (Some(arg), _) => (arg, String::new(), last.clone()),
            (None, Some((option, value))) if option.starts_with("--") => {
                (walk.option(option)?, format!("{option}="), value.to_owned())
            }
            _ if last.starts_with('-') => return None,
            _ => (walk.positional()?, String::new(), last.clone()),
        };
        let file = words.iter().map(PathBuf::from).find(|word| word.is_file());
        Some(Self { names: names_of(&walk.path, arg)?, word, before, netns, file })
    }
}

/// How far the words of a command line have been read.
struct Walk<'a> {
    command: &'a Command,
    /// The subcommands so far.
    path: String,
    /// The option whose value is the next word.
    value_of: Option<&'a Arg>,
    /// How many words were no options.
    positional: usize,
}

impl<'a> Walk<'a> {
    fn step(&mut self, word: &str) {
        if self.value_of.take().is_some() {
            return;
        }
        if word.starts_with('-') {
            self.value_of = self.option(word).filter(|arg| arg.get_action().takes_values());
            return;
        }
        match self.command.find_subcommand(word).filter(|_| self.positional == 0) {
            Some(command) => {
                self.command = command;
                self.path = format!("{} {}", self.path, command.get_name()).trim().to_owned();
            }
            None => self.positional += 1,
        }
    }

    /// The option `--name`, or the last of `-vn`.
    fn option(&self, word: &str) -> Option<&'a Arg> {
        let is_it = |arg: &&Arg| match word.strip_prefix("--") {
            Some(long) => arg.get_long() == Some(long),
            None => arg.get_short().is_some_and(|short| word.ends_with(short)),
        };
        self.command.get_arguments().find(is_it)
    }

    fn positional(&self) -> Option<&'a Arg> {
        let mut all = self.command.get_positionals();
        let is_many = |arg: &&Arg| matches!(arg.get_action(), ArgAction::Append);
        let last = || self.command.get_positionals().last().filter(is_many);
        all.nth(self.positional).or_else(last)
    }
}

/// What an argument names; the row with the longest path counts.
fn names_of(path: &str, arg: &Arg) -> Option<Names> {
    let is_of = |of: &str| of.is_empty() || path == of || path.starts_with(&format!("{of} "));
    let rows = NAMED.iter().filter(|(of, id, _)| arg.get_id() == *id && is_of(of));
    rows.max_by_key(|(of, ..)| of.len()).map(|(.., names)| *names)
}

impl Names {
    /// The names that exist; `word` is what there is of one.
    fn candidates(self, word: &str, schemas: fn() -> Vec<NamedSchema>) -> Vec<String> {
        let running =
            |kind: &str| instances(kind).into_iter().map(|one| one.name).collect::<Vec<_>>();
        match self {
            Self::Running(kind) => running(kind),
            Self::RunningOrPorts(kind) => [running(kind), ports()].concat(),
            Self::RunningOrPublished => [running("nat"), published()].concat(),
            Self::Ports => ports(),
            Self::NewPort { of_switch } => new_port(word, of_switch),
            Self::Devices => links(|link| link.tun.is_some()),
            Self::Interfaces => links(|_| true),
            Self::Namespaces => namespaces(),
            Self::TunnelFiles => load::known(),
            Self::Presets => Preset::NAMES.map(str::to_owned).to_vec(),
            Self::Lab { nodes, links } => parts(nodes, links),
            // Of a file that only the whole line names.
            Self::Parameters => Vec::new(),
            Self::Topologies => Topology::shapes().map(|shape| format!("{shape},")).collect(),
            Self::Schemas => schemas().into_iter().map(|(name, _)| name.to_owned()).collect(),
            Self::LogFilter => log::completions(word),
            Self::RunningOrLogFilter => {
                let names = client::running().into_iter().map(|one| one.name);
                names.chain(log::completions(word)).chain(["default".to_owned()]).collect()
            }
            Self::Codes => explain::catalog().into_iter().map(|one| one.code.to_owned()).collect(),
        }
    }
}

/// The parameters of a lab's file, ready for a value.
fn parameters(file: Option<&Path>) -> Vec<String> {
    let names = adit_topology::file::parameters(file.unwrap_or(Path::new(USUAL)));
    names.unwrap_or_default().iter().map(|name| format!("{name}=")).collect()
}

/// The parts of all running labs.
fn parts(nodes: bool, links: bool) -> Vec<String> {
    let of = |name: &str| {
        let reply = Client::find(Some(name.parse().ok()?), LAB).ok()?.get("/lab").ok()?;
        serde_json::from_value::<Lab>(reply).ok()
    };
    let labs: Vec<Lab> = instances(LAB).into_iter().filter_map(|one| of(&one.name)).collect();
    let of_nodes = labs.iter().flat_map(|lab| &lab.nodes).filter(|_| nodes).map(|one| &one.name);
    let of_links = labs.iter().flat_map(|lab| &lab.links).filter(|_| links).map(|one| &one.name);
    of_nodes.chain(of_links).cloned().collect()
}

/// The ports of all running switches.
fn ports() -> Vec<String> {
    let of = |name: &str| {
        let reply = Client::find(Some(name.parse().ok()?), SWITCH).ok()?.get("/switch").ok()?;
        serde_json::from_value::<model::Switch>(reply).ok()
    };
    let switches = instances(SWITCH).into_iter().filter_map(|one| of(&one.name));
    switches.flat_map(|switch| switch.ports).map(|port| port.name).collect()
}

/// The published ports of all running NATs.
fn published() -> Vec<String> {
    let of = |name: &str| {
        let reply = Client::find(Some(name.parse().ok()?), "nat").ok()?.get("/nat").ok()?;
        serde_json::from_value::<Nat>(reply).ok()
    };
    let nats = instances("nat").into_iter().filter_map(|one| of(&one.name));
    let text = |one: Published| match one.transport.as_str() {
        "udp" => format!("{}/udp", one.local.port()),
        _ => one.local.port().to_string(),
    };
    nats.flat_map(|nat| nat.published).map(text).collect()
}

/// The names of the links that are chosen.
fn links(is_it: impl Fn(&LinkInfo) -> bool) -> Vec<String> {
    let links = Netlink::open().and_then(|mut netlink| netlink.links()).unwrap_or_default();
    links.iter().filter(|link| is_it(link)).map(|link| link.name.to_string()).collect()
}

fn namespaces() -> Vec<String> {
    let entries = std::fs::read_dir("/run/netns").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok()).collect()
}

/// What a port that begins with `word` may be.
fn new_port(word: &str, of_switch: bool) -> Vec<String> {
    let Some((prefix, rest)) = word.split_once(':') else {
        let kind = |kind: &&Kind| match kind.argument {
            "" => kind.prefix.to_owned(),
            _ => format!("{}:", kind.prefix),
        };
        return KINDS.iter().map(kind).collect();
    };
    let Some((before, key)) = word.rsplit_once(',').filter(|_| rest.contains(',')) else {
        let of_mode = |mode| links(|link| link.tun.as_ref().is_some_and(|tun| tun.mode == mode));
        let names = match prefix {
            "tap" => of_mode(Mode::Tap),
            "tun" => of_mode(Mode::Tun),
            "dev" => links(|_| true),
            _ => Vec::new(),
        };
        return names.into_iter().map(|name| format!("{prefix}:{name}")).collect();
    };
    let values = match key.split_once('=') {
        Some(("netns", _)) => {
            namespaces().into_iter().map(|name| format!("netns={name}")).collect()
        }
        Some(("netem", _)) => Preset::NAMES.map(|name| format!("netem={name}")).to_vec(),
        Some(_) => Vec::new(),
        None => {
            let own =
                KINDS.iter().find(|kind| kind.prefix == prefix).map_or(&[][..], |kind| kind.keys);
            let own = own.iter().map(ToString::to_string);
            let of_switch = keys::KEYS.iter().filter(|_| of_switch).map(|key| {
                let sign = if key.value.is_empty() { "" } else { "=" };
                format!("{}{sign}", key.name)
            });
            own.chain(of_switch).collect::<Vec<_>>()
        }
    };
    values.into_iter().map(|value| format!("{before},{value}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::Cli;
    use clap::CommandFactory;

    fn asked(line: &str) -> Option<(Names, String)> {
        let mut program = Cli::command();
        program.build();
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        Asked::read(&program, &words).map(|asked| (asked.names, asked.before + &asked.word))
    }

    #[test]
    fn a_word_names_what_its_argument_takes() {
        let of_switch = Names::NewPort { of_switch: true };
        for (line, names) in [
            ("tunnel down si", Names::Running("tunnel")),
            ("-n blue tunnel show one t", Names::Running("tunnel")),
            ("tunnel up --hooks run s", Names::TunnelFiles),
            ("switch --port tap:a --port t", of_switch),
            ("switch -v --port=tap:a,vl", of_switch),
            ("switch port add tap:", of_switch),
            ("switch fdb flush --port a", Names::Ports),
            ("switch stop --name la", Names::Running("switch")),
            ("netem --port t", Names::NewPort { of_switch: false }),
            ("netem set --preset l", Names::Presets),
            ("-jn b", Names::Namespaces),
            ("--netns=b", Names::Namespaces),
            ("dev del a b c", Names::Devices),
            ("capture l", Names::Interfaces),
            ("nat unpublish web 80", Names::RunningOrPublished),
            ("run --netem l", Names::Presets),
            ("lab exec p", NODES),
            ("lab up --set d", Names::Parameters),
            ("lab sim x.toml --set=d", Names::Parameters),
            ("lab fail up", PARTS),
            ("lab show -l o", Names::Running(LAB)),
        ] {
            let word = line.rsplit(' ').next().unwrap().to_owned();
            assert_eq!(asked(line), Some((names, word)), "{line}");
        }
        for line in
            ["", "sw", "switch sh", "--", "dev add t", "dev show t --sta", "netem --delay 2"]
        {
            assert_eq!(asked(line), None, "{line}");
        }
    }

    /// A row whose command or argument was renamed would complete nothing.
    #[test]
    fn every_row_is_of_an_argument() {
        fn paths(command: &Command, path: &str, found: &mut Vec<(String, String)>) {
            found.extend(
                command.get_arguments().map(|arg| (path.to_owned(), arg.get_id().to_string())),
            );
            for sub in command.get_subcommands() {
                paths(sub, format!("{path} {}", sub.get_name()).trim(), found);
            }
        }
        let (mut program, mut found) = (Cli::command(), Vec::new());
        program.build();
        paths(&program, "", &mut found);
        for (of, id, _) in NAMED {
            let is_it = |(path, arg): &(String, String)| {
                arg == id && (path == of || of.is_empty() || path.starts_with(&format!("{of} ")))
            };
            assert!(found.iter().any(is_it), "{of}: {id}");
        }
    }
}
