//! `adit nat`.

use crate::commands::running::{Named, ask, list};
use crate::context::Context;
use crate::exit::Exit;
use crate::show::nat;
use adit_service::error::Result;
use adit_service::nat::model::{Flow, Nat};
use clap::Subcommand;

/// Its kind among running programs.
const NAT: &str = "nat";

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show a NAT: its addresses, its packets, and what it dropped
    Show(Named),
    /// List the flows of a NAT, with their states and bytes
    Flows(Named),
    /// List running NATs
    #[command(visible_alias = "ls")]
    List,
    /// Stop a NAT; a command of 'adit run' is killed
    Stop(Named),
}

impl Command {
    pub(crate) fn run(self, context: &Context) -> Result<Exit> {
        match self {
            Self::Show(which) => {
                let report: Nat = ask(&which.client(NAT)?, "/nat")?;
                if context.output.json {
                    context.output.value(&report)?;
                } else {
                    for line in nat::status(&report) {
                        context.output.line(line)?;
                    }
                }
                Ok(Exit::Ok)
            }
            Self::Flows(which) => {
                let flows: Vec<Flow> = ask(&which.client(NAT)?, "/nat/flows")?;
                if context.output.json {
                    context.output.value(&flows)?;
                } else {
                    for line in nat::flows(&flows) {
                        context.output.line(line)?;
                    }
                }
                Ok(Exit::Ok)
            }
            Self::List => list(context, NAT),
            Self::Stop(which) => which.stop(context, NAT),
        }
    }
}
