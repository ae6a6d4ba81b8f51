//! `adit netem`.

use crate::commands::running::{Named, Which, ask, link_value, list, send, with_folder};
use crate::commands::sandbox::SandboxArgs;
use crate::commands::web::Web;
use crate::context::Context;
use crate::exit::Exit;
use crate::netem::preview::Preview;
use crate::netem::{charts, preview};
use crate::pictures::{self, Files};
use crate::show;
use crate::show::events::{Json, LogArgs};
use adit_service::config::problems::Problems;
use adit_service::control::http::Method;
use adit_service::control::name::Name;
use adit_service::error::{Error, Kind, Result};
use adit_service::event::Event;
use adit_service::link;
use adit_service::link::wanted::{Keys, Plan};
use adit_service::log::TargetId;
use adit_service::netem::keys::{KEYS, ProfileKey};
use adit_service::netem::profile;
use adit_service::netem::profile::Profiles;
use adit_service::netem::report::LinkStatus;
use adit_service::sandbox::Sandbox;
use clap::{ArgMatches, FromArgMatches, Subcommand};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Map;
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
  adit netem --port tap:a --port tap:b --delay 20ms 5ms --loss 1% --rate 100mbit --seed 7
  adit netem --port tap:a --port dev:eth1 --preset lte --a-to-b loss=2%,rate=5mbit
  adit netem --port tap:a --port tap:b --profile link.toml
  adit netem set --delay 80ms; adit netem show; adit netem stop

Runs until Ctrl-C, SIGTERM or 'adit netem stop', then reports wanted and measured values with their \
99.9 % confidence intervals. SIGHUP reloads the files; without one it ends the link."
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
    sandbox: SandboxArgs,
    #[command(flatten)]
    web: Web,
    #[command(flatten)]
    keys: KeyArgs,
    #[command(flatten)]
    log: LogArgs,
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
    keys: KeyArgs,
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
    #[command(flatten)]
    files: Files,
    #[command(flatten)]
    keys: KeyArgs,
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

/// The keys of a profile, as options.
#[derive(Debug)]
struct KeyArgs(Keys);

/// What the values of `--delay` are, as in `tc ... netem delay 20ms 5ms 25%`.
const TC_DELAY: [&str; 3] = ["delay", "jitter", "correlation"];

impl clap::Args for KeyArgs {
    fn augment_args(command: clap::Command) -> clap::Command {
        let option = |key: &ProfileKey| {
            let option = clap::Arg::new(key.name).long(key.name).value_name(key.value);
            if key.name == "delay" {
                let help = format!("{}; as for tc, then its jitter and the correlation", key.help);
                return option.help(help).num_args(1..=TC_DELAY.len());
            }
            option.help(key.help)
        };
        command.next_help_heading("Link").args(KEYS.iter().map(option))
    }

    fn augment_args_for_update(command: clap::Command) -> clap::Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for KeyArgs {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let texts = |key: &ProfileKey| {
            let values = matches.get_many::<String>(key.name).into_iter().flatten();
            let names = std::iter::once(key.name).chain(TC_DELAY.into_iter().skip(1));
            names.zip(values.cloned()).collect::<Vec<_>>()
        };
        Ok(Self(Keys { list: KEYS.iter().flat_map(texts).collect() }))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
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
            metrics: self.web.address()?,
            profile: self.profile,
            keys: self.keys.0,
        };
        let wanted = plan.link()?;
        if context.is_rehearsal(&link::actions(&wanted))? {
            return Ok(Exit::Ok);
        }
        let sandbox = Sandbox::prepare(self.sandbox.level, link::policy(&plan))?;
        let events = self.log.begin(&context.output, TargetId::NETEM, Json::Stdout)?;
        let status = link::run(plan, wanted, &sandbox, events)?;
        if context.output.json {
            context.output.value(&Event::Report { link: Box::new(status) })?;
        } else {
            context.output.line(show::link::status(&context.output, &status))?;
        }
        Ok(Exit::Ok)
    }
}

impl PreviewArgs {
    fn run(self, context: &Context) -> Result<Exit> {
        let problems = Problems::default();
        let base = match &self.profile {
            Some(path) => profile::of_file(path, &problems)?,
            None => Profiles::default(),
        };
        let profiles = self.keys.0.on_top_of(base, &problems);
        let what = self.profile.as_ref().map(|path| path.display().to_string());
        problems.check(what.unwrap_or_else(|| "the command line".to_owned()))?;
        if context.is_rehearsal(&self.files.actions())? {
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
        let page = charts::page(&named);
        self.files.write(&page)?;
        if context.output.json {
            context.output.value(&previews)?;
            return Ok(Exit::Ok);
        }
        pictures::print(&page, &context.output)?;
        Ok(Exit::Ok)
    }
}

impl SetArgs {
    fn run(self, context: &Context) -> Result<Exit> {
        let keys = self.keys.0;
        if keys.list.is_empty() {
            return Err(Error::usage(
                "nothing to change; 'adit netem set --help' lists the options",
            ));
        }
        let mut body = Map::new();
        for (key, text) in keys.list {
            let value = link_value(key, format!("--{key}"), text)?;
            body.insert(key.to_owned(), value);
        }
        send(context, &self.which.client(NETEM)?, Method::Patch, "/netem", &with_folder(body)?)
    }
}
