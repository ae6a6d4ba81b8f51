//! `adit lab test`.

use crate::commands::lab::played;
use crate::commands::lab::wanted::Wanted;
use crate::context::Context;
use crate::exit::Exit;
use crate::output::Output;
use adit_lab::live::LAB;
use adit_lab::live::model::{Lab, State};
use adit_lab::scenario::run;
use adit_lab::trial::Trial;
use adit_service::control::client::Client;
use adit_service::control::http::Method;
use adit_service::control::name::Name;
use adit_service::error::{Error, Kind, Result};
use adit_service::text::clean;
use serde_json::Value;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

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

/// How often the state of the lab is asked for.
const LOOK: Duration = Duration::from_millis(20);
/// How long it may take to end.
const DOWN_WITHIN: Duration = Duration::from_secs(30);

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
        let mut lab = Running::start(&self.wanted, &name)?;
        lab.wait(output, self.ready)?;
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

/// A lab in a process of its own, which ends with this.
struct Running {
    name: Name,
    child: Child,
}

impl Running {
    fn start(wanted: &Wanted, name: &Name) -> Result<Self> {
        let program = std::env::current_exe();
        let program = program.map_err(|error| Error::io("find", "this program", &error))?;
        let mut command = Command::new(&program);
        command.args(["--quiet", "lab", "up", "--name", name.as_str()]).args(wanted.arguments());
        command.stdin(Stdio::null()).stdout(Stdio::null());
        let child = command.spawn();
        let child = child.map_err(|error| Error::io("start", program.display(), &error))?;
        Ok(Self { name: name.clone(), child })
    }

    /// Waits until all of it is there.
    fn wait(&mut self, output: &Output, within: Duration) -> Result<()> {
        let end = Instant::now() + within;
        loop {
            if let Ok(Some(_)) = self.child.try_wait() {
                return Err(Error::new(
                    Kind::Refused,
                    &adit_lab::keeper::PART,
                    format_args!("the lab '{}' has ended: it printed why", self.name),
                ));
            }
            let lab = Client::find(Some(self.name.clone()), LAB)
                .and_then(|client| crate::commands::lab::which::lab(&client));
            match lab {
                Ok(Lab { state: State::Ready, .. }) => return Ok(()),
                Ok(Lab { state: State::Degraded, problems, .. }) => {
                    for problem in problems {
                        output.note(clean(&format!("warning: {problem}")));
                    }
                    return Ok(());
                }
                Ok(_) | Err(_) if Instant::now() < end => sleep(LOOK),
                Ok(_) => {
                    return Err(Error::new(
                        Kind::Timeout,
                        &adit_lab::keeper::PART,
                        format_args!("the lab '{}' is not ready", self.name),
                    )
                    .hint("Give it more time with --ready, or see why with 'adit lab show'."));
                }
                Err(error) => return Err(error),
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = Client::find(Some(self.name.clone()), LAB)
            .and_then(|client| client.send(Method::Post, "/stop", &Value::Null));
        let end = Instant::now() + DOWN_WITHIN;
        while Instant::now() < end && matches!(self.child.try_wait(), Ok(None)) {
            sleep(LOOK / 4);
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
