//! `adit lab test`.

use crate::commands::lab::played;
use crate::commands::lab::wanted::Wanted;
use crate::commands::sandbox::SandboxArgs;
use crate::context::Context;
use crate::exit::Exit;
use adit_lab::trial::{Process, Trial};
use adit_service::control::name::Name;
use adit_service::error::{Error, Result};
use adit_service::text::clean;
use adit_topology::scenario::run;
use std::path::PathBuf;
use std::time::Duration;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Makes the network of the file, plays its steps, and takes the network down. Needs no root. While an expectation \
fails, adit records the packets of its hosts; it keeps the recordings of those that fail in the end.

Exits with status 1 if an expectation fails, 2 if the file has an error.

Examples:
  adit lab test office.toml
  adit lab test office.toml --junit result.xml --capture failed")]
pub(crate) struct Args {
    #[command(flatten)]
    wanted: Wanted,
    #[command(flatten)]
    sandbox: SandboxArgs,
    /// Name of the lab while it runs
    #[arg(long, value_name = "NAME")]
    name: Option<Name>,
    /// Keep the packets of what fails in this directory [default: lab-test-failed]
    #[arg(long, value_name = "DIR")]
    capture: Option<PathBuf>,
    /// Write the result in JUnit's format to a file
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// How long the lab may take to be ready: 60s
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = time)]
    ready: Duration,
}

fn time(text: &str) -> std::result::Result<Duration, String> {
    adit_packet::units::parse_duration(text).map_err(|error| error.message().to_owned())
}

impl Args {
    pub(crate) fn run(self, context: &Context) -> Result<Exit> {
        let output = &context.output;
        let scenario = self.wanted.with_steps()?.scenario;
        let name = match self.name {
            Some(name) => name,
            None => format!("test-{}", std::process::id()).parse().map_err(Error::usage)?,
        };
        let program = std::env::current_exe();
        let program = program.map_err(|error| Error::io("find", "this program", &error))?;
        let arguments = self.sandbox.add_to(self.wanted.arguments());
        let mut lab = Process::start(&program, &arguments, &name)?;
        for problem in lab.wait(self.ready)? {
            output.note(clean(&format!("warning: {problem}")));
        }
        let folder = self.capture.unwrap_or_else(|| "lab-test-failed".into());
        let mut world = Trial::of(&name)?.capture_to(&folder);
        let mut printed = Ok(());
        let mut report = run::run(&scenario, &mut world, |entry| {
            if !output.json && printed.is_ok() {
                printed = output.line(played::entry_line(output, entry));
            }
        });
        printed?;
        report.lab = self.wanted.shown();
        report.seed = world.seed();
        drop(lab);
        played::write_junit(self.junit.as_deref(), std::slice::from_ref(&report))?;
        if output.json {
            output.value(&report)?;
        } else {
            output.line(played::summary(output, &report))?;
        }
        Ok(if report.passed { Exit::Ok } else { Exit::NotSo })
    }
}
