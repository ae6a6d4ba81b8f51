//! `adit netem`.

use crate::commands::running::{Named, Which, ask, list, send, with_folder};
use crate::context::Context;
use crate::exit::Exit;
use crate::netem::plot::Charset;
use crate::netem::preview;
use crate::netem::preview::Preview;
use crate::netem::svg;
use crate::show;
use crate::show::events;
use adit_service::config::problems::Problems;
use adit_service::config::read;
use adit_service::config::source::Source;
use adit_service::control::http::Method;
use adit_service::control::name::Name;
use adit_service::error::{Error, Kind, Result};
use adit_service::event::Event;
use adit_service::link;
use adit_service::link::wanted::{Keys, Plan};
use adit_service::netem::profile;
use adit_service::netem::profile::Profiles;
use adit_service::netem::report::LinkStatus;
use clap::Subcommand;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};
use std::path::PathBuf;

/// Its kind among running programs.
const NETEM: &str = "netem";

#[derive(Debug, clap::Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "\
Emulates a link between two ports. Options apply to both directions; --a-to-b and --b-to-a override them \
for one. Effects apply in this order: outages, corruption, loss, duplication, rate and queue, delay and \
jitter, reordering. Profile files (TOML) and 'netem=' of a port of 'adit switch' take the same keys.

Times: 20ms, 1.5s, 250us. Shares: 1% or 0.01. Rates: 100mbit. Sizes: 64KiB.

Examples:
  adit netem --port tap:a --port tap:b --delay 20ms --jitter 5ms --loss 1% --rate 100mbit --seed 7
  adit netem --port tap:a --port dev:eth1 --preset lte --a-to-b loss=2%,rate=5mbit
  adit netem --port tap:a --port tap:b --profile link.toml
  adit netem set --delay 80ms; adit netem show; adit netem stop

Runs until Ctrl-C, SIGTERM or 'adit netem stop', then reports wanted and measured values with their \
99.9 % confidence intervals. SIGHUP reloads the files."
)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    run: RunArgs,
}

#[derive(Debug, clap::Args)]
struct RunArgs {
    /// A port, as for 'adit switch'; give two: a, then b
    #[arg(long, value_name = "PORT")]
    port: Vec<String>,
    /// Read ports, profile and seed from a TOML file
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Name of the link, for the other subcommands
    #[arg(long, value_name = "NAME")]
    name: Option<Name>,
    /// Read a profile from a TOML file
    #[arg(long, value_name = "FILE")]
    profile: Option<PathBuf>,
    /// Random seed, for reproducible runs
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    #[command(flatten)]
    keys: Box<KeyArgs>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Change a running link, between two packets
    Set(SetArgs),
    /// Show the wanted and measured values of a link
    Show(Named),
    /// Plot the behavior of a link before it is used
    Preview(PreviewArgs),
    /// Reload the configuration and apply the changes
    Reload(Named),
    /// List running links
    #[command(visible_alias = "ls")]
    List,
    /// Stop a link
    Stop(Named),
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Other settings stay. 'none', 0 and 'unlimited' remove an effect.

Examples:
  adit netem set --delay 80ms --loss 0
  adit netem set --b-to-a rate=2mbit,queue-limit=100ms")]
struct SetArgs {
    #[command(flatten)]
    keys: Box<KeyArgs>,
    #[command(flatten)]
    which: Which,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Sends packets through the real link code in virtual time; takes about a second.

Examples:
  adit netem preview --preset lte
  adit netem preview --delay 20ms --jitter 5ms --distribution normal --svg link.svg")]
struct PreviewArgs {
    /// Read a profile from a TOML file
    #[arg(long, value_name = "FILE")]
    profile: Option<PathBuf>,
    /// Random seed
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Write the plot to this file too
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    #[command(flatten)]
    keys: Box<KeyArgs>,
}

/// The preview of a link, for each direction.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(title = "adit netem preview")]
pub(crate) struct Previews {
    /// From a to b.
    a_to_b: Preview,
    /// From b to a.
    b_to_a: Preview,
}

macro_rules! keys {
    ($($(#[$attribute:meta])* $field:ident => $key:literal,)*) => {
        /// The keys of a profile, as options.
        #[derive(Debug, clap::Args)]
        #[command(next_help_heading = "Link")]
        struct KeyArgs {
            $($(#[$attribute])* #[arg(long = $key)] $field: Option<String>,)*
        }

        impl KeyArgs {
            fn keys(self) -> Keys {
                let list = [$(($key, self.$field),)*];
                Keys { list: list.into_iter().filter_map(|(key, text)| Some((key, text?))).collect() }
            }
        }
    };
}

keys! {
    /// Start from a preset, with a as the subscriber: lte, starlink, dsl, wifi-bad, geo
    #[arg(value_name = "NAME")]
    preset => "preset",
    /// Keys for this direction only, such as rate=5mbit,loss=2%
    #[arg(value_name = "KEY=VALUE,...")]
    a_to_b => "a-to-b",
    /// Keys for the other direction only
    #[arg(value_name = "KEY=VALUE,...")]
    b_to_a => "b-to-a",
    /// Delay of each packet
    #[arg(value_name = "TIME")]
    delay => "delay",
    /// Variation of the delay
    #[arg(value_name = "TIME")]
    jitter => "jitter",
    /// Distribution of the jitter: uniform, normal, pareto
    #[arg(value_name = "NAME")]
    distribution => "distribution",
    /// Tail exponent of the Pareto distribution
    #[arg(value_name = "N")]
    pareto_shape => "pareto-shape",
    /// A file of measured delays, one per line
    #[arg(value_name = "FILE")]
    delay_table => "delay-table",
    /// Correlation of the jitter with that of the previous packet
    #[arg(value_name = "SHARE")]
    correlation => "correlation",
    /// Keep the order of packets despite jitter (default: on)
    #[arg(value_name = "on|off")]
    keep_order => "keep-order",
    /// Share of lost packets
    #[arg(value_name = "SHARE")]
    loss => "loss",
    /// Mean number of packets lost in a row
    #[arg(value_name = "N")]
    loss_burst => "loss-burst",
    /// A file that marks each packet as lost or not
    #[arg(value_name = "FILE")]
    loss_pattern => "loss-pattern",
    /// Gilbert-Elliott: probability to go from good to bad
    #[arg(value_name = "SHARE")]
    ge_p => "ge-p",
    /// Gilbert-Elliott: probability to go from bad to good
    #[arg(value_name = "SHARE")]
    ge_r => "ge-r",
    /// Gilbert-Elliott: loss in the bad state (default: 100%)
    #[arg(value_name = "SHARE")]
    ge_loss_bad => "ge-loss-bad",
    /// Gilbert-Elliott: loss in the good state
    #[arg(value_name = "SHARE")]
    ge_loss_good => "ge-loss-good",
    /// Mark ECN packets instead of losing them
    #[arg(value_name = "on|off")]
    mark_loss => "mark-loss",
    /// Share of duplicated packets
    #[arg(value_name = "SHARE")]
    duplicate => "duplicate",
    /// Share of packets with one flipped bit
    #[arg(value_name = "SHARE")]
    corrupt => "corrupt",
    /// Bit error rate
    #[arg(value_name = "N")]
    bit_errors => "bit-errors",
    /// Share of reordered packets
    #[arg(value_name = "SHARE")]
    reorder => "reorder",
    /// Number of packets that overtake each reordered packet
    #[arg(value_name = "N")]
    reorder_by => "reorder-by",
    /// Maximum time a reordered packet is held back
    #[arg(value_name = "TIME")]
    reorder_within => "reorder-within",
    /// Rate of the link
    #[arg(value_name = "RATE")]
    rate => "rate",
    /// A file of transmission opportunities (Mahimahi's format)
    #[arg(value_name = "FILE")]
    trace => "trace",
    /// A file of steps: time, rate, delay and loss
    #[arg(value_name = "FILE")]
    steps => "steps",
    /// Extra bytes per packet: ethernet, adsl, or a number
    #[arg(value_name = "BYTES")]
    overhead => "overhead",
    /// Minimum bytes per packet
    #[arg(value_name = "BYTES")]
    overhead_min => "overhead-min",
    /// Send packets as ATM cells
    #[arg(value_name = "on|off")]
    atm => "atm",
    /// Queue discipline: drop-tail, codel, fq-codel
    #[arg(value_name = "NAME")]
    queue => "queue",
    /// Queue limit: 1000 (packets), 64KiB or 50ms
    #[arg(value_name = "LIMIT")]
    queue_limit => "queue-limit",
    /// Let codel and fq-codel mark ECN packets instead of dropping them
    #[arg(value_name = "on|off")]
    ecn => "ecn",
    /// Acceptable standing queue delay
    #[arg(value_name = "TIME")]
    codel_target => "codel-target",
    /// Time the delay may exceed the target
    #[arg(value_name = "TIME")]
    codel_interval => "codel-interval",
    /// Number of flow queues
    #[arg(value_name = "N")]
    fq_flows => "fq-flows",
    /// Bytes a flow may send before the next flow's turn
    #[arg(value_name = "BYTES")]
    fq_quantum => "fq-quantum",
    /// Outages: BEGIN/LENGTH[/PERIOD], joined by +
    #[arg(value_name = "TIMES")]
    outage => "outage",
    /// Maximum number of packets in the link
    #[arg(value_name = "N")]
    limit_packets => "limit-packets",
    /// Maximum memory for these packets
    #[arg(value_name = "SIZE")]
    limit_bytes => "limit-bytes",
}

impl Args {
    pub(crate) fn run(self, context: &Context) -> Result<Exit> {
        match self.command {
            None => self.run.run(context),
            Some(Command::Set(args)) => args.run(context),
            Some(Command::Show(which)) => {
                let status: LinkStatus = ask(&which.client(NETEM)?, "/netem")?;
                if context.output.json {
                    context.output.value(&status)?;
                } else {
                    context.output.line(show::link::status(&context.output, &status))?;
                }
                Ok(Exit::Ok)
            }
            Some(Command::Preview(args)) => args.run(context),
            Some(Command::Reload(which)) => which.reload(context, NETEM),
            Some(Command::Stop(which)) => which.stop(context, NETEM),
            Some(Command::List) => list(context, NETEM),
        }
    }
}

impl RunArgs {
    fn run(self, context: &Context) -> Result<Exit> {
        if self.port.is_empty() && self.config.is_none() {
            return Err(Error::usage("a link needs two ports: --port twice, or --config")
                .hint("For example: adit netem --port tap:a --port tap:b --delay 20ms"));
        }
        let plan = Plan {
            config: self.config,
            name: self.name,
            ports: self.port,
            seed: self.seed,
            profile: self.profile,
            keys: self.keys.keys(),
        };
        let wanted = plan.link()?;
        if context.is_rehearsal(&link::actions(&wanted))? {
            return Ok(Exit::Ok);
        }
        let status = link::run(plan, wanted, events::printed(&context.output))?;
        if context.output.json {
            context.output.value(&Event::Report { link: Box::new(status) })?;
        } else {
            context.output.line(show::link::status(&context.output, &status))?;
        }
        Ok(Exit::Ok)
    }
}

/// Width of plots if the terminal size is unknown.
const WIDTH: usize = 80;

impl PreviewArgs {
    fn run(self, context: &Context) -> Result<Exit> {
        let problems = Problems::default();
        let base = match &self.profile {
            Some(path) => profile::of_file(path, &problems)?,
            None => Profiles::default(),
        };
        let profiles = self.keys.keys().on_top_of(base, &problems);
        let what = self.profile.as_ref().map(|path| path.display().to_string());
        problems.check(what.unwrap_or_else(|| "the command line".to_owned()))?;
        let actions: Vec<String> =
            self.svg.iter().map(|path| format!("write {}", path.display())).collect();
        if context.is_rehearsal(&actions)? {
            return Ok(Exit::Ok);
        }
        let simulate = |profile| {
            preview::simulate(profile, self.seed)
                .map_err(|error| Error::new(Kind::Usage, &link::LINK, error))
        };
        let previews =
            Previews { a_to_b: simulate(&profiles.a_to_b)?, b_to_a: simulate(&profiles.b_to_a)? };
        let is_alike = profiles.a_to_b == profiles.b_to_a;
        let named: Vec<(&str, &Preview)> = if is_alike {
            vec![("both directions", &previews.a_to_b)]
        } else {
            vec![("a to b", &previews.a_to_b), ("b to a", &previews.b_to_a)]
        };
        if let Some(path) = &self.svg {
            std::fs::write(path, svg::draw(&named))
                .map_err(|error| Error::io("write", path.display(), &error))?;
        }
        if context.output.json {
            context.output.value(&previews)?;
            return Ok(Exit::Ok);
        }
        let size = rustix::termios::tcgetwinsize(std::io::stdout());
        let width = size.map_or(WIDTH, |size| usize::from(size.ws_col)).clamp(40, 160);
        for (name, preview) in named {
            for line in preview.lines(name, width, Charset::of_environment()) {
                context.output.line(line)?;
            }
        }
        Ok(Exit::Ok)
    }
}

impl SetArgs {
    fn run(self, context: &Context) -> Result<Exit> {
        let keys = self.keys.keys();
        if keys.list.is_empty() {
            return Err(Error::usage(
                "nothing to change; 'adit netem set --help' lists the options",
            ));
        }
        let mut body = Map::new();
        for (key, text) in keys.list {
            let value = if matches!(key, "a-to-b" | "b-to-a") {
                let source = Source::new(format!("--{key}"), text);
                let problems = Problems::default();
                let object = read::words(&source, 0, &problems).to_json();
                problems.check("the command line")?;
                Value::Object(object)
            } else {
                text.into()
            };
            body.insert(key.to_owned(), value);
        }
        send(context, &self.which.client(NETEM)?, Method::Patch, "/netem", &with_folder(body)?)
    }
}
