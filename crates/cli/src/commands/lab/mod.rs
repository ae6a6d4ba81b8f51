//! `adit lab`.

pub(crate) mod check;
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
}

impl Command {
    pub(crate) fn run(self, context: &Context) -> Result<Exit> {
        match self {
            Self::Check(args) => args.run(context),
            Self::Plan(args) => args.run(context),
        }
    }
}
