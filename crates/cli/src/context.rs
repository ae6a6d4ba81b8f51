//! The global options and the environment of a subcommand.

use crate::color::Color;
use crate::output::Output;
use adit_runtime::text::netns::{netns_error, open_netns};
use adit_service::error::Result;
use clap::{Args, Command};
use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema};
use serde::Serialize;
use std::fmt;

/// The options that every subcommand takes.
#[derive(Debug, Args)]
#[command(next_help_heading = "Global options")]
#[expect(clippy::struct_excessive_bools, reason = "switches of a command line")]
pub(crate) struct Global {
    /// Print JSON
    #[arg(short, long, global = true)]
    json: bool,
    /// Print indented JSON
    #[arg(short, long, global = true)]
    pretty: bool,
    /// Colorize output; 'auto' follows the terminal and NO_COLOR
    #[arg(long, global = true, value_name = "auto|always|never", default_value = "auto")]
    #[arg(hide_default_value = true, hide_possible_values = true)]
    color: Color,
    /// Run in this network namespace: a name, a path or a process ID
    #[arg(short, long, global = true, value_name = "NS")]
    netns: Option<String>,
    /// Print only results and errors
    #[arg(short, long, global = true)]
    quiet: bool,
    /// Print more detail; repeat for even more
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    verbose: u8,
    /// Print the actions without performing them
    #[arg(long, global = true)]
    dry_run: bool,
    /// Take over from the process at the other end of standard input
    #[arg(long, hide = true)]
    take_over: bool,
}

impl Global {
    pub(crate) fn output(&self) -> Output {
        Output::new(self.json, self.pretty, self.color.streams(), self.quiet, self.verbose)
    }
}

/// The environment of a subcommand. The process is already in the namespace of `-n`.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) output: Output,
    pub(crate) dry_run: bool,
    /// Whether to take over from a process that runs.
    pub(crate) takes_over: bool,
    /// The whole command line as clap knows it, for help, completions and the manual.
    pub(crate) program: fn() -> Command,
    /// The schemas of all JSON outputs.
    pub(crate) schemas: fn() -> Vec<NamedSchema>,
}

impl Context {
    /// Enters the namespace of `-n`. The program must still have one thread.
    pub(crate) fn new(
        global: &Global,
        output: Output,
        program: fn() -> Command,
        schemas: fn() -> Vec<NamedSchema>,
    ) -> Result<Self> {
        if let Some(name) = &global.netns {
            open_netns(name)?.enter().map_err(|error| netns_error("enter", name, &error))?;
        }
        let (dry_run, takes_over) = (global.dry_run, global.take_over);
        Ok(Self { output, dry_run, takes_over, program, schemas })
    }

    /// Under `--dry-run`, prints the actions and returns true: the caller must not perform them.
    pub(crate) fn is_rehearsal(&self, actions: &[impl fmt::Display]) -> Result<bool> {
        if !self.dry_run {
            return Ok(false);
        }
        let actions: Vec<String> = actions.iter().map(ToString::to_string).collect();
        if self.output.json {
            self.output.value(&Rehearsal { actions })?;
        } else {
            for action in actions {
                self.output.line(adit_service::text::clean(&action))?;
            }
        }
        Ok(true)
    }
}

/// What `--dry-run` prints.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(title = "adit --dry-run")]
pub(crate) struct Rehearsal {
    /// The actions, in order.
    actions: Vec<String>,
}

/// The name of a JSON output and the function that generates its schema.
pub(crate) type NamedSchema = (&'static str, fn() -> Schema);

/// Generates the schema of serialised output: a field that may be left out is not required.
pub(crate) fn schema_of<T: JsonSchema>() -> Schema {
    SchemaSettings::default().for_serialize().into_generator().into_root_schema_for::<T>()
}
