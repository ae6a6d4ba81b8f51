//! `adit netem`.

use crate::commands::running::{Which, ask, list, tell, with_folder};
use crate::context::Context;
use crate::netem::plot::Charset;
use crate::netem::preview;
use crate::netem::preview::Preview;
use crate::netem::svg;
use adit_service::config::problem::Problems;
use adit_service::config::source::Source;
use adit_service::control::http::Method;
use adit_service::control::name::Name;
use adit_service::error::{Error, Exit, Result};
use adit_service::link;
use adit_service::link::profile;
use adit_service::link::profile::Profiles;
use adit_service::link::wanted::{Keys, Plan};
use clap::Subcommand;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};
use std::path::PathBuf;

/// What it is called among programs that run.
const NETEM: &str = "netem";

#[derive(Debug, clap::Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "\
A link between two ports, each way with what is asked for: first the options that stand alone, for \
both ways, then those of --a-to-b and --b-to-a. Effects apply in this order: outages, corruption, \
loss, duplication, rate and queue, delay and jitter, reordering. The same keys stand in a profile file \
(TOML) and in 'netem=' of a port of 'adit switch'.

A time is 20ms, 1.5s, 250us; a share 1% or 0.01; a rate 100mbit; a size 64KiB.

Examples:
  adit netem --port tap:a --port tap:b --delay 20ms --jitter 5ms --loss 1% --rate 100mbit --seed 7
  adit netem --port tap:a --port dev:eth1 --preset lte --a-to-b loss=2%,rate=5mbit
  adit netem --port tap:a --port tap:b --profile link.toml
  adit netem set --delay 80ms; adit netem show; adit netem stop

It runs until Ctrl-C, SIGTERM or 'adit netem stop', then tells what was asked for and what happened, \
with the bounds of 99.9 % confidence. SIGHUP reads the files again."
)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    run: RunArgs,
}

#[derive(Debug, clap::Args)]
struct RunArgs {
    /// A port, written as for 'adit switch'; two of them: a and b
    #[arg(long, value_name = "PORT")]
    port: Vec<String>,
    /// Read ports, profile and seed from a TOML file
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// What to call the link; by this name it can be asked
    #[arg(long, value_name = "NAME")]
    name: Option<Name>,
    /// Read a profile from a TOML file
    #[arg(long, value_name = "FILE")]
    profile: Option<PathBuf>,
    /// What all random decisions are drawn from: the same for the same seed and packets
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    #[command(flatten)]
    keys: Box<KeyArgs>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Change a link while it runs, between two packets
    Set(SetArgs),
    /// Show what was asked of a link and what has happened
    Show(Which),
    /// Draw what a link will be like, before it is used
    Preview(PreviewArgs),
    /// Read the configuration again and apply what has changed
    Reload(Which),
    /// List the links that run
    List,
    /// End a link
    Stop(Which),
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
What is not named stays as it is. 'none', 0 and 'unlimited' take an effect away.

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
Packets are sent through the link in virtual time, so it is what the link will do, and takes a second.

Examples:
  adit netem preview --preset lte
  adit netem preview --delay 20ms --jitter 5ms --distribution normal --svg link.svg")]
struct PreviewArgs {
    /// Read a profile from a TOML file
    #[arg(long, value_name = "FILE")]
    profile: Option<PathBuf>,
    /// What all random decisions are drawn from
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Draw it into this file as well
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    #[command(flatten)]
    keys: Box<KeyArgs>,
}

/// What a link will be like, each way.
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
        /// The keys of a profile as options.
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
    /// Begin with a known kind of link, a being the subscriber: lte, starlink, dsl, wifi-bad, geo
    #[arg(value_name = "NAME")]
    preset => "preset",
    /// Keys for this way only, as rate=5mbit,loss=2%
    #[arg(value_name = "KEY=VALUE,...")]
    a_to_b => "a-to-b",
    /// The same for the other way
    #[arg(value_name = "KEY=VALUE,...")]
    b_to_a => "b-to-a",
    /// How long packets are on their way
    #[arg(value_name = "TIME")]
    delay => "delay",
    /// By how much the delay varies
    #[arg(value_name = "TIME")]
    jitter => "jitter",
    /// How the jitter is distributed: uniform, normal, pareto
    #[arg(value_name = "NAME")]
    distribution => "distribution",
    /// The exponent of the tail of a Pareto distribution
    #[arg(value_name = "N")]
    pareto_shape => "pareto-shape",
    /// A file with measured delays, one a line
    #[arg(value_name = "FILE")]
    delay_table => "delay-table",
    /// How much a packet's jitter is like that of the one before
    #[arg(value_name = "SHARE")]
    correlation => "correlation",
    /// Whether no packet passes an earlier one by jitter (on unless said otherwise)
    #[arg(value_name = "on|off")]
    keep_order => "keep-order",
    /// The share of packets that are lost
    #[arg(value_name = "SHARE")]
    loss => "loss",
    /// How many are lost in a row, in the mean
    #[arg(value_name = "N")]
    loss_burst => "loss-burst",
    /// A file that says of each packet whether it is lost
    #[arg(value_name = "FILE")]
    loss_pattern => "loss-pattern",
    /// Gilbert-Elliott: the chance to go from good to bad
    #[arg(value_name = "SHARE")]
    ge_p => "ge-p",
    /// Gilbert-Elliott: the chance to go back to good
    #[arg(value_name = "SHARE")]
    ge_r => "ge-r",
    /// Gilbert-Elliott: the loss in the bad state (all unless said otherwise)
    #[arg(value_name = "SHARE")]
    ge_loss_bad => "ge-loss-bad",
    /// Gilbert-Elliott: the loss in the good state
    #[arg(value_name = "SHARE")]
    ge_loss_good => "ge-loss-good",
    /// Whether packets with ECN are marked in place of lost
    #[arg(value_name = "on|off")]
    mark_loss => "mark-loss",
    /// The share of packets that come twice
    #[arg(value_name = "SHARE")]
    duplicate => "duplicate",
    /// The share of packets in which one bit is wrong
    #[arg(value_name = "SHARE")]
    corrupt => "corrupt",
    /// The share of bits that are wrong
    #[arg(value_name = "N")]
    bit_errors => "bit-errors",
    /// The share of packets that later ones pass
    #[arg(value_name = "SHARE")]
    reorder => "reorder",
    /// How many pass each of them
    #[arg(value_name = "N")]
    reorder_by => "reorder-by",
    /// How long each waits for that at most
    #[arg(value_name = "TIME")]
    reorder_within => "reorder-within",
    /// How fast the link is
    #[arg(value_name = "RATE")]
    rate => "rate",
    /// A file of moments at which something can be sent (Mahimahi's format)
    #[arg(value_name = "FILE")]
    trace => "trace",
    /// A file of steps of time, rate, delay and loss
    #[arg(value_name = "FILE")]
    steps => "steps",
    /// What each packet costs besides: ethernet, adsl, or a number of bytes
    #[arg(value_name = "BYTES")]
    overhead => "overhead",
    /// The least that a packet costs
    #[arg(value_name = "BYTES")]
    overhead_min => "overhead-min",
    /// Whether packets are sent as ATM cells
    #[arg(value_name = "on|off")]
    atm => "atm",
    /// What waits for the line, and what is dropped: drop-tail, codel, fq-codel
    #[arg(value_name = "NAME")]
    queue => "queue",
    /// How much may wait: 1000 (packets), 64KiB or 50ms
    #[arg(value_name = "LIMIT")]
    queue_limit => "queue-limit",
    /// Whether codel and fq-codel mark packets with ECN in place of dropping them
    #[arg(value_name = "on|off")]
    ecn => "ecn",
    /// The delay that a queue may stand at
    #[arg(value_name = "TIME")]
    codel_target => "codel-target",
    /// How long it may be above that
    #[arg(value_name = "TIME")]
    codel_interval => "codel-interval",
    /// How many queues flows are spread over
    #[arg(value_name = "N")]
    fq_flows => "fq-flows",
    /// How many bytes a flow sends before it is the next one's turn
    #[arg(value_name = "BYTES")]
    fq_quantum => "fq-quantum",
    /// When nothing passes: BEGIN/LENGTH[/PERIOD], several joined by +
    #[arg(value_name = "TIMES")]
    outage => "outage",
    /// How many packets the link holds at most
    #[arg(value_name = "N")]
    limit_packets => "limit-packets",
    /// How much memory it takes for them at most
    #[arg(value_name = "SIZE")]
    limit_bytes => "limit-bytes",
}

impl Args {
    pub(crate) fn run(self, context: &Context) -> Result<Exit> {
        match self.command {
            None => self.run.run(context),
            Some(Command::Set(args)) => args.run(context),
            Some(Command::Show(which)) => {
                let shown: link::Shown = ask(&which.client(NETEM)?, "/netem")?;
                if context.output.json {
                    context.output.value(&shown)?;
                } else {
                    context.output.line(link::text(&context.output, &shown))?;
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
            return Err(Error::usage("a link needs two ports: give --port twice, or --config")
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
        link::run(plan, wanted, &context.output)
    }
}

/// How wide curves are drawn where the terminal does not say.
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
                .map_err(|error| Error::new(Exit::Usage, &link::LINK, error))
        };
        let previews =
            Previews { a_to_b: simulate(&profiles.a_to_b)?, b_to_a: simulate(&profiles.b_to_a)? };
        let is_alike = profiles.a_to_b == profiles.b_to_a;
        let named: Vec<(&str, &Preview)> = if is_alike {
            vec![("each way", &previews.a_to_b)]
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
            return Err(Error::usage("say what to change: see 'adit netem set --help'"));
        }
        let mut body = Map::new();
        for (key, text) in keys.list {
            let value = if matches!(key, "a-to-b" | "b-to-a") {
                let source = Source::new(format!("--{key}"), text);
                let problems = Problems::default();
                let object = source.words(0, &problems).to_json();
                problems.check("the command line")?;
                Value::Object(object)
            } else {
                text.into()
            };
            body.insert(key.to_owned(), value);
        }
        tell(context, &self.which.client(NETEM)?, Method::Patch, "/netem", &with_folder(body)?)
    }
}
