//! `adit lab`.

mod capture;
pub(crate) mod check;
mod console;
mod control;
mod events;
pub(crate) mod export;
pub(crate) mod graph;
pub(crate) mod import;
mod inside;
pub(crate) mod ping;
pub(crate) mod plan;
mod played;
mod prompt;
mod run;
mod show;
pub(crate) mod sim;
mod test;
pub(crate) mod top;
mod up;
pub(crate) mod wanted;
mod which;

use crate::context::Context;
use crate::exit::Exit;
use adit_service::error::Result;
use clap::Subcommand;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make the network of a file and run its programs
    #[command(visible_alias = "deploy")]
    Up(up::Args),
    /// Stop a running lab
    #[command(visible_alias = "destroy")]
    Down(control::DownArgs),
    /// List running labs
    #[command(visible_alias = "ls")]
    List(show::ListArgs),
    /// Show the state of each part of a running lab
    #[command(visible_alias = "status")]
    Show(show::Args),
    /// Run a command in a node
    Exec(inside::ExecArgs),
    /// Start a shell in a node, or a prompt for all nodes
    Shell(inside::ShellArgs),
    /// Ping between hosts and print a matrix
    Ping(ping::Args),
    /// Change the properties of a link
    Set(control::SetArgs),
    /// Let links or nodes fail
    Fail(control::FailArgs),
    /// Heal links or nodes that were made to fail
    Heal(control::HealArgs),
    /// Show or record the packets of a link or a node
    Capture(capture::Args),
    /// Apply the changed file of a running lab
    Apply(control::ApplyArgs),
    /// Show the rates of all links
    Top(top::Args),
    /// Make a lab, run a command, and take the lab down
    Run(run::Args),
    /// Print the output of programs
    Logs(show::LogsArgs),
    /// Print the events of a lab: programs, links and nodes that fail or change
    Events(events::Args),
    /// Check the file of a lab and report every error
    Check(check::Args),
    /// Show the plan of a lab: addresses, routes, and media of links
    Plan(plan::Args),
    /// Draw the network in the terminal, as SVG, or for Graphviz
    Graph(graph::Args),
    /// Print a script of 'ip netns' commands that makes the same network
    Export(export::Args),
    /// Convert a containerlab topology or a GraphML file to a lab file
    Import(import::Args),
    /// Play the steps of a lab in virtual time
    Sim(sim::Args),
    /// Make a lab, play its steps, and take it down
    Test(test::Args),
}

impl Command {
    pub(crate) fn run(self, context: &Context) -> Result<Exit> {
        if !context.dry_run {
            let removed = adit_lab::clean().into_iter().filter(|_| context.output.verbose > 0);
            removed.for_each(|name| {
                context.output.note(format_args!("removed the name '{name}' of a killed lab"));
            });
        }
        match self {
            Self::Up(args) => args.run(context),
            Self::Down(args) => args.run(context),
            Self::List(args) => args.run(context),
            Self::Show(args) => args.run(context),
            Self::Exec(args) => args.run(context),
            Self::Shell(args) => args.run(context),
            Self::Ping(args) => args.run(context),
            Self::Set(args) => args.run(context),
            Self::Fail(args) => args.run(context),
            Self::Heal(args) => args.run(context),
            Self::Capture(args) => args.run(context),
            Self::Apply(args) => args.run(context),
            Self::Top(args) => args.run(context),
            Self::Run(args) => args.run(context),
            Self::Logs(args) => args.run(context),
            Self::Events(args) => args.run(context),
            Self::Check(args) => args.run(context),
            Self::Plan(args) => args.run(context),
            Self::Graph(args) => args.run(context),
            Self::Export(args) => args.run(context),
            Self::Import(args) => args.run(context),
            Self::Sim(args) => args.run(context),
            Self::Test(args) => args.run(context),
        }
    }
}
