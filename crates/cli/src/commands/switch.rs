//! `adit switch`.

use crate::commands::Context;
use crate::commands::running::{Which, ask, list, tell, with_folder};
use adit_runtime::PortSpec;
use adit_service::config::problem::Problems;
use adit_service::config::source::Source;
use adit_service::control::client::Client;
use adit_service::control::http::{Method, escape};
use adit_service::control::name::Name;
use adit_service::error::{Error, Exit, Result};
use adit_service::switch;
use adit_service::switch::model;
use adit_service::switch::plan as switch_plan;
use adit_service::switch::plan::Plan;
use adit_service::switch::port::WantedPort;
use adit_service::switch::text;
use clap::Subcommand;
use serde_json::{Map, Value, json};
use std::path::PathBuf;

/// What it is called among programs that run.
const SWITCH: &str = "switch";

#[derive(Debug, clap::Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "\
A port is KIND:ARGUMENT[,KEY=VALUE]...
  tap:NAME         a TAP device, made or attached to [netns= user= group= mac= mtu= txqueuelen= persist=]
  dev:NAME         an interface that is there, by a packet socket [netns=]
  unix:PATH        QEMU's -netdev stream and dgram [type=dgram connect remote=]
  vxlan:IP[+IP]    VXLAN, RFC 7348 [vni= port= local=]
  stdio            frames with a length before them, as for 'ssh HOST adit switch --port stdio ...'
  pcap:FILE        a recording, played back [speed= loop]
and for every kind
  name=NAME                                what to call it; without it, as 'tap:a'
  vlan=N | trunk=N+N-N [native=N] | tunnel=N    access, trunk (pvid= untagged= tag=service), QinQ
  isolated  split-horizon=N  sticky  fdb-limit=N     ports with one N exchange nothing
  guard-mac=MAC+MAC  guard-ip=IP+PREFIX  guard-arp  guard-nd  guard-dhcp  guard-ra
  storm-broadcast=N  storm-multicast=N  storm-unknown=N  storm-burst=N     frames in a second
  netem=PRESET | netem=FILE.toml | netem=delay=20ms+loss=1%
  mirror=FILE      a copy of all that passes, as pcapng

Examples:
  adit switch --port tap:a --port tap:b
  adit switch --port tap:a,vlan=10 --port tap:b,trunk=10+20 --mirror all.pcapng
  adit switch --config lab.toml --name lab &
  adit switch show; adit switch port add tap:c,vlan=20; adit switch stop

It runs until Ctrl-C, SIGTERM or 'adit switch stop'; SIGHUP reads --config again."
)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    run: RunArgs,
}

#[derive(Debug, clap::Args)]
struct RunArgs {
    /// A port; may be given more than once
    #[arg(long, value_name = "PORT")]
    port: Vec<String>,
    /// Read a TOML file; 'adit check FILE' looks at it without running it
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// What to call the switch; by this name it can be asked
    #[arg(long, value_name = "NAME")]
    name: Option<Name>,
    /// Record what passes: FILE[,ports=A+B][,direction=ingress|egress|both][,truncate=BYTES]
    /// [,filter=EXPRESSION], or port:NAME in place of a file
    #[arg(long, value_name = "FILE")]
    mirror: Vec<String>,
    /// What the links of ports (netem=) draw their decisions from: the same for the same seed and frames
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// How long an address is kept without a frame from it
    #[arg(long, value_name = "TIME")]
    ageing: Option<String>,
    /// How many addresses are kept
    #[arg(long, value_name = "N")]
    fdb_limit: Option<String>,
    /// Whether a port on which a loop shows is blocked
    #[arg(long, value_name = "on|off")]
    loop_guard: Option<String>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show a switch that runs, or one of its ports in detail
    Show(ShowArgs),
    /// Show or change the addresses that a switch knows
    Fdb(FdbArgs),
    /// Add or take away ports while it runs
    #[command(subcommand)]
    Port(PortCommand),
    /// Change a port, or the switch itself, while it runs
    Set(SetArgs),
    /// Read the configuration again and apply what has changed
    Reload(Which),
    /// List the switches that run
    List,
    /// End a switch
    Stop(Which),
}

#[derive(Debug, clap::Args)]
struct ShowArgs {
    /// The port
    port: Option<String>,
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
    /// Those on one port only
    #[arg(long, value_name = "PORT")]
    port: Option<String>,
    /// Those of one VLAN only
    #[arg(long, value_name = "N")]
    vlan: Option<u16>,
    /// This address only
    #[arg(long, value_name = "MAC")]
    mac: Option<String>,
    #[command(flatten)]
    which: Which,
}

#[derive(Debug, Subcommand)]
enum FdbCommand {
    /// Put an address on a port for good
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
    /// Take an address out
    Del {
        /// The address
        mac: String,
        /// Its VLAN
        #[arg(long, value_name = "N")]
        vlan: Option<u16>,
        #[command(flatten)]
        which: Which,
    },
    /// Take out all that were learned
    Flush {
        /// Of one port only
        #[arg(long, value_name = "PORT")]
        port: Option<String>,
        /// Of one VLAN only
        #[arg(long, value_name = "N")]
        vlan: Option<u16>,
        #[command(flatten)]
        which: Which,
    },
}

#[derive(Debug, Subcommand)]
enum PortCommand {
    /// Add a port, written as for 'adit switch --port'
    #[command(after_help = "\
'adit switch --help' lists the kinds of port and their keys.

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
    /// Take a port away
    Del {
        /// The port
        port: String,
        #[command(flatten)]
        which: Which,
    },
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
The keys of a port are those of --port but what it is; those of the switch: ageing, moves-per-second, \
loop-guard, loop-probe, loop-flaps, loop-hold, loop-hold-max. 'none' takes a VLAN, a guard, a limit, \
a split horizon, a link or a mirror away, 'off' what is on.

Examples:
  adit switch set tap:a vlan=20 isolated
  adit switch set tap:a vlan=none isolated=off guard-ip=none storm-broadcast=none
  adit switch set tap:a netem=delay=50ms+loss=1%
  adit switch set ageing=60s")]
struct SetArgs {
    /// The port, unless the switch itself is meant, and what to change
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
            Some(Command::Stop(which)) => which.stop(context, SWITCH),
            Some(Command::List) => list(context, SWITCH),
        }
    }
}

impl RunArgs {
    fn run(self, context: &Context) -> Result<Exit> {
        if self.port.is_empty() && self.config.is_none() {
            return Err(Error::usage("a switch needs ports: give --port or --config")
                .hint("The one-line bridge: adit switch --port tap:a --port tap:b"));
        }
        let keys = [
            ("ageing", self.ageing),
            ("fdb-limit", self.fdb_limit),
            ("loop-guard", self.loop_guard),
        ];
        let switch = keys.into_iter().filter_map(|(key, text)| Some((key, text?))).collect();
        let plan = Plan {
            config: self.config,
            name: self.name,
            ports: self.port,
            mirrors: self.mirror,
            seed: self.seed,
            switch,
        };
        let lab = plan.lab()?;
        let is_stdio = |port: &WantedPort| port.spec.kind().prefix == "stdio";
        if context.output.json && lab.ports.iter().any(is_stdio) {
            return Err(Error::usage(
                "the standard output cannot be a port and tell events as well",
            )
            .hint("Leave --json away, or ask by 'adit switch show --json'."));
        }
        if context.is_rehearsal(&switch_plan::actions(&lab))? {
            return Ok(Exit::Ok);
        }
        switch::run(plan, lab, &context.output)
    }
}

impl ShowArgs {
    fn run(self, context: &Context) -> Result<Exit> {
        let client = self.which.client(SWITCH)?;
        let output = &context.output;
        match self.port {
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
                let keys = [
                    ("port", self.port),
                    ("vlan", self.vlan.map(|vlan| vlan.to_string())),
                    ("mac", self.mac),
                ];
                let list = addresses(&self.which.client(SWITCH)?, keys)?;
                if output.json {
                    output.value(&list)?;
                } else {
                    output.line(text::fdb(&list))?;
                }
                Ok(Exit::Ok)
            }
            Some(FdbCommand::Add { mac, port, vlan, which }) => {
                let body = with_vlan(json!({ "mac": mac, "port": port }), vlan);
                tell(context, &which.client(SWITCH)?, Method::Post, "/fdb", &body)
            }
            Some(FdbCommand::Del { mac, vlan, which }) => {
                let body = with_vlan(json!({ "mac": mac }), vlan);
                tell(context, &which.client(SWITCH)?, Method::Delete, "/fdb", &body)
            }
            Some(FdbCommand::Flush { port, vlan, which }) => {
                let body = port.map_or(json!({}), |port| json!({ "port": port }));
                let body = with_vlan(body, vlan);
                tell(context, &which.client(SWITCH)?, Method::Delete, "/fdb", &body)
            }
        }
    }
}

/// All addresses of a switch that are as `keys` have them, in their order.
fn addresses(client: &Client, keys: [(&str, Option<String>); 3]) -> Result<Vec<model::Address>> {
    let keys = keys.into_iter().filter_map(|(key, text)| Some((key, text?)));
    let query: String = keys.map(|(key, text)| format!("&{key}={}", escape(&text))).collect();
    let mut list = Vec::new();
    let mut after = Some(0);
    while let Some(from) = after {
        let page: model::Page = ask(client, &format!("/fdb?after={from}{query}"))?;
        list.extend(page.addresses);
        // Of a page that leads back there is no end.
        after = page.next.filter(|next| *next > from);
    }
    list.sort_by(|a, b| (a.vlan, &a.mac).cmp(&(b.vlan, &b.mac)));
    // One that moved meanwhile may have been on two pages.
    list.dedup_by(|a, b| (a.vlan, &a.mac) == (b.vlan, &b.mac));
    Ok(list)
}

impl PortCommand {
    fn run(self, context: &Context) -> Result<Exit> {
        match self {
            Self::Add { port, which } => {
                // Mistakes are told here, with their places.
                let source = Source::new("PORT", &port);
                let problems = Problems::default();
                let wanted = WantedPort::from_words(&source, &problems);
                problems.check("the port")?;
                let Some(wanted) = wanted else { return Err(Error::usage("which port?")) };
                let problems = Problems::default();
                let all = source.words(0, &problems).to_json();
                let own =
                    PortSpec::keys_of(wanted.text.split([':', ',']).next().unwrap_or_default());
                // What it is stands in its text; the first word is that as well.
                let is_engines = |key: &String| {
                    !own.contains(&key.as_str()) && !wanted.text.starts_with(key.as_str())
                };
                let mut body: Map<String, Value> =
                    all.into_iter().filter(|(key, _)| is_engines(key)).collect();
                body.insert("port".to_owned(), wanted.text.into());
                let body = with_folder(body)?;
                tell(context, &which.client(SWITCH)?, Method::Post, "/ports", &body)
            }
            Self::Del { port, which } => {
                let path = format!("/ports/{}", escape(&port));
                tell(context, &which.client(SWITCH)?, Method::Delete, &path, &Value::Null)
            }
        }
    }
}

impl SetArgs {
    fn run(self, context: &Context) -> Result<Exit> {
        let mut words = self.words;
        // The only key that means something without a value.
        if let [word] = words.as_slice()
            && !word.contains('=')
            && word != "loop-guard"
        {
            let message = format!("say what to change of '{word}'");
            return Err(Error::usage(message)
                .hint(format_args!("For example: adit switch set {word} vlan=20 isolated")));
        }
        let is_port = words.first().is_some_and(|word| !word.contains('=') && words.len() > 1);
        let path = if is_port {
            format!("/ports/{}", escape(&words.remove(0)))
        } else {
            "/switch".to_owned()
        };
        // Several words are as good as several keys in one.
        let text = words.join(",");
        let source = Source::new("SETTING", text);
        let problems = Problems::default();
        let body = source.words(0, &problems).to_json();
        problems.check("the command line")?;
        let body = with_folder(body)?;
        tell(context, &self.which.client(SWITCH)?, Method::Patch, &path, &body)
    }
}
