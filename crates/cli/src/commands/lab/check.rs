//! `adit lab check`.

use crate::commands::lab::wanted::Wanted;
use crate::context::Context;
use crate::exit::Exit;
use adit_lab::limits::{Machine, Needs};
use adit_service::error::Result;
use adit_service::text::clean;
use schemars::JsonSchema;
use serde::Serialize;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Reports every error with file, line, column and a suggestion. Makes nothing.

Example: adit lab check office.toml --set delay=80ms")]
pub(crate) struct Args {
    #[command(flatten)]
    wanted: Wanted,
}

/// The result for a valid file.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(title = "adit lab check")]
pub(crate) struct Checked {
    /// The file.
    file: String,
    /// The file and those that it includes.
    files: Vec<String>,
    /// How many nodes it has.
    nodes: usize,
    /// How many links it has.
    links: usize,
    /// What is valid, but rarely meant.
    warnings: Vec<String>,
}

impl Args {
    pub(crate) fn run(self, context: &Context) -> Result<Exit> {
        let read = self.wanted.read()?;
        let lab = &read.plan.lab;
        let mut warnings = read.plan.warnings();
        let machine = Machine::read().check(Needs::of(&read.plan));
        warnings.extend(machine.err().map(|error| error.report.message));
        let checked = Checked {
            file: self.wanted.shown(),
            files: read.files.iter().map(|file| file.display().to_string()).collect(),
            nodes: lab.nodes.len(),
            links: lab.links.len(),
            warnings,
        };
        if context.output.json {
            context.output.value(&checked)?;
            return Ok(Exit::Ok);
        }
        let Checked { file, nodes, links, warnings, .. } = checked;
        let counted = |count: usize, what: &str| {
            let plural = if count == 1 { "" } else { "s" };
            format!("{count} {what}{plural}")
        };
        let (nodes, links) = (counted(nodes, "node"), counted(links, "link"));
        context.output.line(clean(&format!("{file}: no errors, {nodes}, {links}")))?;
        for warning in warnings {
            context.output.note(clean(&format!("warning: {file}: {warning}")));
        }
        Ok(Exit::Ok)
    }
}
