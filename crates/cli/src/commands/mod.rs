//! The subcommands, one file each: `Args` and `run`.

pub(crate) mod bench;
pub(crate) mod capture;
pub(crate) mod check;
pub(crate) mod completions;
pub(crate) mod dev;
pub(crate) mod doctor;
pub(crate) mod explain;
pub(crate) mod man;
pub(crate) mod netem;
mod running;
pub(crate) mod schema;
pub(crate) mod switch;
pub(crate) mod tunnel;
pub(crate) mod tuntap;

use crate::color::Color;
use adit_runtime::text::netns::{netns_error, open_netns};
use adit_service::error::{Exit, Result};
use adit_service::output::Output;
use clap::{Args, Parser, Subcommand};
use schemars::JsonSchema;
use serde::Serialize;
use std::fmt;

/// The TUN/TAP toolkit: devices, capture, switches, emulated links and tunnels.
#[derive(Debug, Parser)]
#[command(name = "adit", version, after_help = EXIT_CODES, max_term_width = 100)]
#[command(
    disable_help_subcommand = false,
    subcommand_required = true,
    arg_required_else_help = true
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    command: Command,
}

/// What every subcommand takes.
#[derive(Debug, Args)]
#[command(next_help_heading = "Global options")]
#[expect(clippy::struct_excessive_bools, reason = "four switches of a command line")]
pub(crate) struct Global {
    /// Print JSON
    #[arg(short, long, global = true)]
    json: bool,
    /// Print JSON on many lines
    #[arg(short, long, global = true)]
    pretty: bool,
    /// Use colours: 'auto' is on a terminal, and heeds NO_COLOR
    #[arg(long, global = true, value_name = "auto|always|never", default_value = "auto")]
    #[arg(hide_default_value = true, hide_possible_values = true)]
    color: Color,
    /// Work in this network namespace: a name, a path, or the id of a process
    #[arg(short, long, global = true, value_name = "NS")]
    netns: Option<String>,
    /// Say nothing but what was asked for
    #[arg(short, long, global = true)]
    quiet: bool,
    /// Say more; twice for still more
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    verbose: u8,
    /// Print each action that would be taken, and do nothing
    #[arg(long, global = true)]
    dry_run: bool,
}

impl Global {
    pub(crate) fn output(&self) -> Output {
        Output::new(self.json, self.pretty, self.color.streams(), self.quiet, self.verbose)
    }
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make, change, delete and show devices
    #[command(subcommand)]
    Dev(dev::Command),
    /// The same in the words of 'ip tuntap'
    Tuntap(tuntap::Args),
    /// What this machine allows, and what helps where it does not
    Doctor(doctor::Args),
    /// Say more about the code of an error
    Explain(explain::Args),
    /// Print the completions for a shell
    Completions(completions::Args),
    /// Print the manual, or write a page for each subcommand
    Man(man::Args),
    /// Print the JSON schema of an output
    Schema(schema::Args),
    /// A learning switch of TAP devices, interfaces, QEMU guests and VXLAN
    Switch(Box<switch::Args>),
    /// A link with delay, loss and rate between two ports
    Netem(Box<netem::Args>),
    /// Look at configuration files and tell all their mistakes
    Check(check::Args),
    /// Show, record, filter and answer the packets of an interface
    Capture(Box<capture::Args>),
    /// Encrypted tunnels: WireGuard's protocol
    #[command(subcommand)]
    Tunnel(tunnel::Command),
    /// Measure how fast packets move on this machine
    Bench(bench::Args),
}

impl Cli {
    pub(crate) fn run(self, context: &Context) -> Result<Exit> {
        match self.command {
            Command::Dev(command) => command.run(context),
            Command::Tuntap(args) => args.run(context),
            Command::Doctor(args) => args.run(context),
            Command::Explain(args) => args.run(context),
            Command::Completions(args) => args.run(context),
            Command::Man(args) => args.run(context),
            Command::Schema(args) => args.run(context),
            Command::Switch(args) => args.run(context),
            Command::Netem(args) => args.run(context),
            Command::Check(args) => args.run(context),
            Command::Capture(args) => args.run(context),
            Command::Tunnel(command) => command.run(context),
            Command::Bench(args) => args.run(context),
        }
    }
}

/// What a subcommand has to work with. It runs in the namespace of `-n` already.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) output: Output,
    pub(crate) dry_run: bool,
}

impl Context {
    /// Enters the namespace of `-n`: the program has one thread at this time.
    pub(crate) fn new(global: &Global, output: Output) -> Result<Self> {
        if let Some(name) = &global.netns {
            open_netns(name)?.enter().map_err(|error| netns_error("enter", name, &error))?;
        }
        Ok(Self { output, dry_run: global.dry_run })
    }

    /// For `--dry-run`: prints what would be done and says that there is nothing more to do.
    pub(crate) fn is_rehearsal(&self, actions: &[impl fmt::Display]) -> Result<bool> {
        if !self.dry_run {
            return Ok(false);
        }
        let actions: Vec<String> = actions.iter().map(ToString::to_string).collect();
        if self.output.json {
            self.output.value(&Rehearsal { actions })?;
        } else {
            for action in actions {
                self.output.line(adit_service::output::clean(&action))?;
            }
        }
        Ok(true)
    }
}

/// What `--dry-run` prints.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(title = "adit --dry-run")]
pub(crate) struct Rehearsal {
    /// Each action that would be taken, in order.
    actions: Vec<String>,
}

/// The table for `--help` and the man page.
const EXIT_CODES: &str = "\
Exit status:
  0      done
  1      what was asked about is not so (doctor)
  2      the command line or a configuration is wrong
  3      a privilege is missing
  4      there is no such device, address, namespace, program or code
  5      busy, there already, or of another kind
  6      it took too long
  7      the kernel refused it for another reason
  8      a part was done before the failure
  101    a bug of adit: it panicked, and took back what it had made
  128+n  ended by signal n

An error is told on standard error with a code; 'adit explain CODE' says more of it.";
