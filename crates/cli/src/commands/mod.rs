//! The table of subcommands, from which dispatch, help, completions, manual and schemas come.

mod background;
pub(crate) mod capture;
mod check;
mod compat;
mod complete;
mod completions;
mod dev;
mod doctor;
pub(crate) mod explain;
mod exporter;
mod lab;
mod list;
mod log;
mod man;
mod names;
mod nat;
mod netem;
mod report;
mod run;
mod running;
mod sandbox;
mod schema;
mod status;
mod switch;
mod top;
mod tunnel;
mod tuntap;
mod web;

use crate::context::{Context, Global, NamedSchema, Rehearsal, schema_of};
use crate::exit::Exit;
use crate::output::Output;
use adit_service::control::client::Instance;
use adit_service::control::openapi::document;
use adit_service::control::route::{Route, of_kind};
use adit_service::error::{Report, Result};
use adit_service::supervisor::routes;
use adit_service::switch::model;
use clap::{CommandFactory, Parser, Subcommand};
use schemars::Schema;

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

/// Defines `Command` and what follows from it. An entry is the line in the help (a doc comment), a
/// variant with its arguments, and the JSON outputs, each with the name of its schema.
macro_rules! commands {
    ($($(#[$meta:meta])* $variant:ident($args:ty) [$($name:literal: $output:ty),* $(,)?])*) => {
        #[derive(Debug, Subcommand)]
        enum Command {
            $($(#[$meta])* $variant($args),)*
        }

        impl Command {
            fn run(self, context: &Context) -> Result<Exit> {
                match self {
                    $(Self::$variant(args) => args.run(context),)*
                }
            }
        }

        /// The schemas of all JSON outputs, in the order of their names.
        fn schemas() -> Vec<NamedSchema> {
            let mut all: Vec<NamedSchema> = vec![$($(($name, schema_of::<$output>),)*)*];
            all.extend(SHARED_SCHEMAS);
            all.sort_by_key(|(name, _)| *name);
            all
        }
    };
}

commands! {
    /// Create, change, delete and show devices
    #[command(subcommand)]
    Dev(dev::Command) [
        "dev-add": dev::model::Device,
        "dev-del": Vec<dev::model::Deleted>,
        "dev-set": dev::model::Device,
        "dev-show": Vec<dev::model::Device>,
        "dev-watch": dev::watch::Event,
    ]
    /// Manage devices with the syntax of 'ip tuntap'
    Tuntap(tuntap::Args) ["tuntap-show": Vec<tuntap::Entry>]
    /// Check what this machine allows and how to fix what it does not
    Doctor(doctor::Args) ["doctor": doctor::Findings]
    /// Explain an error code or errno
    Explain(explain::Args) ["explain": Vec<explain::Explanation>]
    /// Print names for the completion of a command line
    #[command(hide = true)]
    Complete(complete::Args) []
    /// Print shell completions
    Completions(completions::Args) []
    /// Print the manual, or write all its pages to a directory
    Man(man::Args) []
    /// Print the JSON schema of an output
    Schema(schema::Args) []
    /// Run a learning switch of TAP devices, interfaces, QEMU guests and VXLAN
    Switch(Box<switch::Args>) [
        "switch-fdb": Vec<model::Address>,
        "switch-show": model::Switch,
        "switch-show-port": Vec<model::Port>,
    ]
    /// Run a link with delay, loss and rate between two ports
    Netem(Box<netem::Args>) [
        "netem-preview": netem::Previews,
        "netem-show": adit_service::netem::report::LinkStatus,
    ]
    /// Attach a NAT to a namespace, show and stop running ones
    #[command(subcommand)]
    Nat(nat::Command) [
        "nat-flow-log": adit_service::nat::model::FlowLine,
        "nat-flows": Vec<adit_service::nat::model::Flow>,
        "nat-show": adit_service::nat::model::Nat,
    ]
    /// Make a network of hosts, switches and links from a file
    #[command(subcommand)]
    Lab(lab::Command) [
        "lab-check": lab::check::Checked,
        "lab-event": adit_topology::report::Happened,
        "lab-export": lab::export::Exported,
        "lab-graph": adit_topology::graph::Drawing,
        "lab-import": lab::import::Imported,
        "lab-ping": lab::ping::Pinged,
        "lab-plan": lab::plan::View,
        "lab-sim": lab::sim::Simulated,
        "lab-test": adit_topology::scenario::report::Report,
        "lab-show": adit_topology::report::Lab,
        "lab-top": lab::top::Rates,
    ]
    /// Run a command in a network of its own, without root
    Run(Box<run::Args>) []
    /// Run in place of slirp4netns, pasta, passt or gvproxy
    Compat(compat::Args) []
    /// List running switches, links and tunnels
    #[command(visible_alias = "ls")]
    List(list::Args) ["list": Vec<list::Running>]
    /// Show what runs on this machine and what is wrong with it
    Status(status::Args) ["status": adit_top::Status]
    /// Collect what a maintainer needs in a file, without secrets
    Report(report::Args) ["report": report::Report]
    /// Watch devices, ports, peers, links, flows and drops
    Top(top::Args) ["top": top::Turn]
    /// Show or change what a running program logs
    Log(log::Args) ["log": adit_service::log::LogStatus]
    /// Serve the metrics of all running programs on one TCP address
    Exporter(exporter::Args) []
    /// Check configuration files and report every error
    Check(check::Args) ["check": Vec<check::Checked>]
    /// Show, record, filter and answer the packets of an interface
    Capture(Box<capture::Args>) [
        "capture": adit_decode::Packet,
        "capture-interfaces": Vec<capture::Capturable>,
        "capture-summary": crate::pictures::Numbers,
    ]
    /// Run and manage WireGuard tunnels
    #[command(subcommand)]
    Tunnel(tunnel::Command) [
        "tunnel-accept": tunnel::invite::Accepted,
        "tunnel-history": Vec<adit_vpn::history::HistoryView>,
        "tunnel-invite": tunnel::invite::Invited<'static>,
        "tunnel-join": tunnel::join::Joined,
        "tunnel-reload": adit_vpn::state::Reloaded,
        "tunnel-upgrade": adit_vpn::state::Upgraded,
        "tunnel-show": Vec<adit_vpn::state::View>,
    ]
}

/// The schemas of outputs that several subcommands have.
const SHARED_SCHEMAS: [NamedSchema; 11] = [
    ("done", schema_of::<adit_service::supervisor::DoneReply>),
    ("dry-run", schema_of::<Rehearsal>),
    ("error", schema_of::<Report>),
    ("events", schema_of::<adit_service::event::Event>),
    ("log-line", schema_of::<adit_log::Line<'static>>),
    ("openapi-lab", || openapi("lab", adit_lab::live::ROUTES)),
    ("openapi-nat", || openapi("nat", adit_service::nat::ROUTES)),
    ("openapi-netem", || openapi("netem", adit_service::link::ROUTES)),
    ("openapi-switch", || openapi("switch", adit_service::switch::ROUTES)),
    ("openapi-tunnel", || openapi("tunnel", adit_vpn::daemon::ROUTES)),
    ("running", schema_of::<Vec<Instance>>),
];

/// The OpenAPI document of a kind of program.
fn openapi(kind: &str, own: &[Route]) -> Schema {
    let document = document(kind, &of_kind(kind, routes::all(own)));
    Schema::try_from(document).expect("a document is an object")
}

impl Cli {
    /// Runs the subcommand, in the namespace of `-n`.
    pub(crate) fn run(self, output: Output) -> Result<Exit> {
        let context = Context::new(&self.global, output, Self::command, schemas)?;
        self.command.run(&context)
    }
}

/// The exit statuses, for `--help` and the man page.
const EXIT_CODES: &str = "\
Exit status:
  0      done
  1      a check of 'adit doctor' failed, or 'adit status' found a problem
  2      invalid command line or configuration
  3      permission denied
  4      device, address, namespace, program, file or code not found
  5      busy, already exists, or of another kind
  6      timed out
  7      the kernel refused the operation for another reason
  8      failed after some of the changes were made
  101    a bug in adit: it panicked and removed what it had created
  128+n  terminated by signal n

Errors go to standard error with a code; 'adit explain CODE' explains it.";
