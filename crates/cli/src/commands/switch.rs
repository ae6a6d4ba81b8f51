//! `adit switch`.

mod save;

use crate::commands::running::{Named, SWITCH, Which, ask, list, pages, send, with_folder};
use crate::commands::sandbox::SandboxArgs;
use crate::commands::web::Web;
use crate::context::Context;
use crate::exit::Exit;
use crate::show::events::{Json, LogArgs};
use crate::show::switch as text;
use adit_service::config::problems::Problems;
use adit_service::config::read;
use adit_service::config::source::Source;
use adit_service::control::client::Client;
use adit_service::control::http::{Method, escape};
use adit_service::control::name::Name;
use adit_service::error::{Error, Result};
use adit_service::kinds;
use adit_service::log::TargetId;
use adit_service::sandbox::Sandbox;
use adit_service::switch;
use adit_service::switch::keys;
use adit_service::switch::model;
use adit_service::switch::plan as switch_plan;
use adit_service::switch::plan::Plan;
use adit_service::switch::port::WantedPort;
use clap::Subcommand;
use serde_json::{Map, Value, json};
use std::path::PathBuf;

#[derive(Debug, clap::Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = help()
)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    run: RunArgs,
}

/// The help on ports, from the lists that their readers use.
fn help() -> String {
    // A switch takes frames, and a TUN device has packets.
    let kinds = kinds::KINDS.iter().filter(|kind| kind.prefix != "tun");
    let kinds = kinds.map(|kind| format!("  {}\n", kind.help_line()));
    format!(
        "\
A port is KIND:ARGUMENT[,KEY=VALUE]...
{}
Keys of every kind of port:
{}
Examples:
  adit switch --port tap:a --port tap:b
  adit switch --port tap:a,vlan=10 --port tap:b,trunk=10+20 --mirror all.pcapng
  adit switch --config lab.toml --name lab &
  adit switch show; adit switch port add tap:c,vlan=20; adit switch stop

Runs until Ctrl-C, SIGTERM or 'adit switch stop'; SIGHUP reloads --config, and without it ends the switch.",
        kinds.collect::<String>(),
        keys::help()
    )
}

#[derive(Debug, clap::Args)]
struct RunArgs {
    /// A port; repeatable
    #[arg(long, value_name = "PORT")]
    port: Vec<String>,
    /// Read a TOML file; 'adit check FILE' checks it
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Name of the switch, for the other subcommands
    #[arg(long, value_name = "NAME")]
    name: Option<Name>,
    /// Mirror frames: FILE[,ports=A+B][,direction=ingress|egress|both][,truncate=BYTES]
    /// [,filter=EXPRESSION], or port:NAME instead of FILE
    #[arg(long, value_name = "FILE")]
    mirror: Vec<String>,
    /// Random seed of the emulated links (netem=), for reproducible runs
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Expire an address after this time without a frame from it
    #[arg(long, value_name = "TIME")]
    ageing: Option<String>,
    /// Maximum number of addresses; a port learns 1024, or as its key fdb-limit says
    #[arg(long, value_name = "N")]
    fdb_limit: Option<String>,
    /// Block a port on which a loop is detected
    #[arg(long, value_name = "on|off")]
    loop_guard: Option<String>,
    /// Let the kernel forward between dev: ports where nothing else is done with a frame
    #[arg(long, value_name = "auto|off|require")]
    accelerate: Option<String>,
    #[command(flatten)]
    sandbox: SandboxArgs,
    #[command(flatten)]
    log: LogArgs,
    #[command(flatten)]
    web: Web,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show a running switch, or one of its ports in detail
    Show(ShowArgs),
    /// Show or change the address table
    Fdb(FdbArgs),
    /// Add or remove ports
    #[command(subcommand)]
    Port(PortCommand),
    /// Change a port or the switch
    Set(SetArgs),
    /// Reload the configuration and apply the changes
    Reload(Named),
    /// Save the changes of a running switch in its configuration file
    Save(save::Args),
    /// List running switches
    #[command(visible_alias = "ls")]
    List,
    /// Stop a switch
    Stop(Named),
}

#[derive(Debug, clap::Args)]
struct ShowArgs {
    /// The switch (the only running one without it), then a port to show in detail
    #[arg(value_name = "NAME | PORT", num_args = 0..=2)]
    words: Vec<String>,
    #[command(flatten)]
    which: Which,
}

#[derive(Debug, clap::Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "\
Examples:
  adit switch fdb
  adit switch fdb --port tap:a --vlan 10
  adit switch fdb add 02:00:00:00:00:01 tap:a --vlan 10
  adit switch fdb flush --port tap:a"
)]
struct FdbArgs {
    #[command(subcommand)]
    command: Option<FdbCommand>,
    /// Only addresses on this port
    #[arg(long, value_name = "PORT")]
    port: Option<String>,
    /// Only addresses of this VLAN
    #[arg(long, value_name = "N")]
    vlan: Option<u16>,
    /// Only this address
    #[arg(long, value_name = "MAC")]
    mac: Option<String>,
    #[command(flatten)]
    which: Which,
}

#[derive(Debug, Subcommand)]
enum FdbCommand {
    /// Add a static address
    Add {
        /// The address
        mac: String,
        /// The port
        port: String,
        /// Its VLAN
        #[arg(long, value_name = "N")]
        vlan: Option<u16>,
        #[command(flatten)]
        which: Which,
    },
    /// Delete an address
    Del {
        /// The address
        mac: String,
        /// Its VLAN
        #[arg(long, value_name = "N")]
        vlan: Option<u16>,
        #[command(flatten)]
        which: Which,
    },
    /// Delete all learned addresses
    Flush {
        /// Only those on this port
        #[arg(long, value_name = "PORT")]
        port: Option<String>,
        /// Only those of this VLAN
        #[arg(long, value_name = "N")]
        vlan: Option<u16>,
        #[command(flatten)]
        which: Which,
    },
}

#[derive(Debug, Subcommand)]
enum PortCommand {
    /// Add a port, with the syntax of 'adit switch --port'
    #[command(after_help = "\
'adit switch --help' lists kinds of ports and their keys.

Examples:
  adit switch port add tap:c,netns=blue,vlan=20
  adit switch port add unix:/run/vm.sock,guard-mac=02:00:00:00:00:01
  adit switch port add tap:slow,netem=lte")]
    Add {
        /// The port
        port: String,
        #[command(flatten)]
        which: Which,
    },
    /// Remove a port
    Del {
        /// The port
        port: String,
        #[command(flatten)]
        which: Which,
    },
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Keys of a port: those of --port except its kind and argument. Keys of the switch: ageing, \
moves-per-second, loop-guard, loop-probe, loop-flaps, loop-hold, loop-hold-max, accelerate. 'none' removes a VLAN, \
guard, limit, split horizon, link or mirror; 'off' turns a flag off.

Examples:
  adit switch set tap:a vlan=20 isolated
  adit switch set tap:a vlan=none isolated=off guard-ip=none storm-broadcast=none
  adit switch set tap:a netem=delay=50ms+loss=1%
  adit switch set ageing=60s")]
struct SetArgs {
    /// The port (omit it to change the switch) and the keys to change
    #[arg(required = true, value_name = "PORT | KEY[=VALUE]")]
    words: Vec<String>,
    #[command(flatten)]
    which: Which,
}

impl Args {
    pub(crate) fn run(self, context: &Context) -> Result<Exit> {
        match self.command {
            None => self.run.run(context),
            Some(Command::Show(args)) => args.run(context),
            Some(Command::Fdb(args)) => args.run(context),
            Some(Command::Port(command)) => command.run(context),
            Some(Command::Set(args)) => args.run(context),
            Some(Command::Reload(which)) => which.reload(context, SWITCH),
            Some(Command::Save(args)) => args.run(context),
            Some(Command::Stop(which)) => which.stop(context, SWITCH),
            Some(Command::List) => list(context, SWITCH),
        }
    }
}

impl RunArgs {
    fn run(self, context: &Context) -> Result<Exit> {
        if self.port.is_empty() && self.config.is_none() {
            return Err(Error::usage("no ports: --port or --config is required")
                .hint("For example: adit switch --port tap:a --port tap:b"));
        }
        let keys = [
            ("ageing", self.ageing),
            ("fdb-limit", self.fdb_limit),
            ("loop-guard", self.loop_guard),
            ("accelerate", self.accelerate),
        ];
        let switch = keys.into_iter().filter_map(|(key, text)| Some((key, text?))).collect();
        let plan = Plan {
            config: self.config,
            name: self.name,
            ports: self.port,
            mirrors: self.mirror,
            seed: self.seed,
            metrics: self.web.address()?,
            switch,
        };
        let wanted = plan.read()?;
        let is_stdio = |port: &WantedPort| port.spec.kind().prefix == "stdio";
        if context.output.json && wanted.ports.iter().any(is_stdio) {
            return Err(Error::usage(
                "standard output cannot be both a port and the output of --json",
            )
            .hint("Omit --json; 'adit switch show --json' shows the state."));
        }
        if context.is_rehearsal(&switch_plan::actions(&wanted))? {
            return Ok(Exit::Ok);
        }
        let sandbox = Sandbox::prepare(self.sandbox.level, switch::policy(&plan))?;
        let events = self.log.begin(&context.output, TargetId::SWITCH, Json::Stdout)?;
        switch::run(plan, wanted, &sandbox, events).map(|()| Exit::Ok)
    }
}

impl ShowArgs {
    fn run(self, context: &Context) -> Result<Exit> {
        let (which, port) = self.which.and_word(self.words, SWITCH);
        let client = which.with_port(SWITCH, port.as_deref())?;
        let output = &context.output;
        match port {
            Some(port) => {
                let ports: Vec<model::Port> = ask(&client, &format!("/ports/{}", escape(&port)))?;
                if output.json {
                    output.value(&ports)?;
                } else {
                    for port in &ports {
                        output.line(text::port(output, port))?;
                    }
                }
            }
            None => {
                let show: model::Switch = ask(&client, "/switch")?;
                if output.json {
                    output.value(&show)?;
                } else {
                    output.line(text::switch(output, &show))?;
                }
            }
        }
        Ok(Exit::Ok)
    }
}

impl FdbArgs {
    fn run(self, context: &Context) -> Result<Exit> {
        let output = &context.output;
        let with_vlan = |mut body: Value, vlan: Option<u16>| {
            if let (Value::Object(object), Some(vlan)) = (&mut body, vlan) {
                object.insert("vlan".to_owned(), vlan.into());
            }
            body
        };
        match self.command {
            None => {
                let client = self.which.with_port(SWITCH, self.port.as_deref())?;
                let keys = [
                    ("port", self.port),
                    ("vlan", self.vlan.map(|vlan| vlan.to_string())),
                    ("mac", self.mac),
                ];
                let list = addresses(&client, keys)?;
                if output.json {
                    output.value(&list)?;
                } else {
                    output.line(text::fdb(&list))?;
                }
                Ok(Exit::Ok)
            }
            Some(FdbCommand::Add { mac, port, vlan, which }) => {
                let client = which.with_port(SWITCH, Some(&port))?;
                let body = with_vlan(json!({ "mac": mac, "port": port }), vlan);
                send(context, &client, Method::Post, "/fdb", &body)
            }
            Some(FdbCommand::Del { mac, vlan, which }) => {
                let body = with_vlan(json!({ "mac": mac }), vlan);
                send(context, &which.client(SWITCH)?, Method::Delete, "/fdb", &body)
            }
            Some(FdbCommand::Flush { port, vlan, which }) => {
                let client = which.with_port(SWITCH, port.as_deref())?;
                let body = port.map_or(json!({}), |port| json!({ "port": port }));
                let body = with_vlan(body, vlan);
                send(context, &client, Method::Delete, "/fdb", &body)
            }
        }
    }
}

/// Fetches all addresses that match `keys`, page by page, in order.
fn addresses(client: &Client, keys: [(&str, Option<String>); 3]) -> Result<Vec<model::Address>> {
    let keys = keys.into_iter().filter_map(|(key, text)| Some((key, text?)));
    let query: String = keys.map(|(key, text)| format!("&{key}={}", escape(&text))).collect();
    let mut list = Vec::new();
    pages(client, "/fdb", &query, |page: model::Page| {
        list.extend(page.addresses);
        page.next
    })?;
    list.sort_by(|a, b| (a.vlan, &a.mac).cmp(&(b.vlan, &b.mac)));
    // An address that moved meanwhile may be on two pages.
    list.dedup_by(|a, b| (a.vlan, &a.mac) == (b.vlan, &b.mac));
    Ok(list)
}

impl PortCommand {
    fn run(self, context: &Context) -> Result<Exit> {
        match self {
            Self::Add { port, which } => {
                // Report errors here, with their positions.
                let source = Source::new("PORT", &port);
                let problems = Problems::default();
                let wanted = WantedPort::from_words(&source, &problems);
                problems.check("the port")?;
                let Some(wanted) = wanted else { return Err(Error::usage("the port is empty")) };
                let problems = Problems::default();
                let all = read::words(&source, 0, &problems).to_json();
                let own = kinds::keys_of(wanted.text.split([':', ',']).next().unwrap_or_default());
                // The text of the port has its kind and the keys of that kind.
                let is_engines = |key: &String| {
                    !own.contains(&key.as_str()) && !wanted.text.starts_with(key.as_str())
                };
                let mut body: Map<String, Value> =
                    all.into_iter().filter(|(key, _)| is_engines(key)).collect();
                body.insert("port".to_owned(), wanted.text.into());
                let body = with_folder(body)?;
                send(context, &which.client(SWITCH)?, Method::Post, "/ports", &body)
            }
            Self::Del { port, which } => {
                let path = format!("/ports/{}", escape(&port));
                let client = which.with_port(SWITCH, Some(&port))?;
                send(context, &client, Method::Delete, &path, &Value::Null)
            }
        }
    }
}

impl SetArgs {
    fn run(self, context: &Context) -> Result<Exit> {
        let mut words = self.words;
        // `loop-guard` is the only key that works without a value.
        if let [word] = words.as_slice()
            && !word.contains('=')
            && word != "loop-guard"
        {
            let message = format!("nothing to change for '{word}'");
            return Err(Error::usage(message)
                .hint(format_args!("For example: adit switch set {word} vlan=20 isolated")));
        }
        let is_port = words.first().is_some_and(|word| !word.contains('=') && words.len() > 1);
        let port = is_port.then(|| words.remove(0));
        let path = match &port {
            Some(port) => format!("/ports/{}", escape(port)),
            None => "/switch".to_owned(),
        };
        // Several words and several keys in one word mean the same.
        let text = words.join(",");
        let source = Source::new("SETTING", text);
        let problems = Problems::default();
        let body = read::words(&source, 0, &problems).to_json();
        problems.check("the command line")?;
        let body = with_folder(body)?;
        let client = self.which.with_port(SWITCH, port.as_deref())?;
        send(context, &client, Method::Patch, &path, &body)
    }
}
