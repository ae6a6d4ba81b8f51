//! `adit lab export`.

use crate::commands::lab::wanted::Wanted;
use crate::context::Context;
use crate::exit::Exit;
use adit_service::error::Result;
use adit_topology::export::script;
use schemars::JsonSchema;
use serde::Serialize;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Prints a shell script that makes the same network with 'ip netns', bridges and veth pairs, for machines without adit. \
Comments at its head list what the kernel alone does not do.

Example: adit lab export office.toml >office.sh && sudo sh office.sh up")]
pub(crate) struct Args {
    #[command(flatten)]
    wanted: Wanted,
}

/// A lab as a script.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(title = "adit lab export")]
pub(crate) struct Exported {
    /// The script.
    script: String,
}

impl Args {
    pub(crate) fn run(self, context: &Context) -> Result<Exit> {
        let script = script(&self.wanted.read()?.plan);
        if context.output.json {
            context.output.value(&Exported { script })?;
        } else {
            context.output.bytes(script.as_bytes())?;
        }
        Ok(Exit::Ok)
    }
}
