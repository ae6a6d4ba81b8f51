//! `adit lab`.

pub(crate) mod check;
pub(crate) mod export;
pub(crate) mod graph;
pub(crate) mod import;
pub(crate) mod plan;
mod wanted;

use crate::context::Context;
use crate::exit::Exit;
use adit_service::error::Result;
use clap::Subcommand;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Check the file of a lab and report every error
    Check(check::Args),
    /// Show what a lab will be: addresses, routes, and how links are made
    Plan(plan::Args),
    /// Draw the network in the terminal, as a picture, or for Graphviz
    Graph(graph::Args),
    /// Print a script of 'ip netns' commands that makes the same network
    Export(export::Args),
    /// Turn a topology of containerlab or a GraphML file into a lab file
    Import(import::Args),
}

impl Command {
    pub(crate) fn run(self, context: &Context) -> Result<Exit> {
        match self {
            Self::Check(args) => args.run(context),
            Self::Plan(args) => args.run(context),
            Self::Graph(args) => args.run(context),
            Self::Export(args) => args.run(context),
            Self::Import(args) => args.run(context),
        }
    }
}
