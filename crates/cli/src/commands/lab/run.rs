//! `adit lab run`.

use crate::commands::lab::wanted::Wanted;
use crate::commands::lab::which::LAB_VARIABLE;
use crate::commands::sandbox::SandboxArgs;
use crate::context::Context;
use crate::exit::Exit;
use crate::output::clean;
use adit_lab::live::DEGRADED;
use adit_service::error::{Error, Kind, Result};
use adit_service::namespace::{COMMAND, Running};
use serde_json::Value;
use std::ffi::OsString;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Makes the lab, runs COMMAND on the host once the lab is ready, stops the lab, and exits with the status of COMMAND. In \
COMMAND the commands of 'adit lab' are about this lab ($ADIT_LAB).

Examples:
  adit lab run office.toml -- adit lab ping
  adit lab run office.toml --set delay=80ms -- sh -c 'adit lab exec pc -- ping -c 3 server'")]
pub(crate) struct Args {
    #[command(flatten)]
    wanted: Wanted,
    #[command(flatten)]
    sandbox: SandboxArgs,
    /// The command and its arguments
    #[arg(value_name = "COMMAND", last = true, required = true)]
    command: Vec<OsString>,
}

/// A lab that ends with this process: its standard input is a pipe of ours.
struct Lab(Child);

impl Drop for Lab {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        // It ends once its pipe is closed.
        let _ = self.0.wait();
    }
}

impl Args {
    pub(crate) fn run(self, context: &Context) -> Result<Exit> {
        self.wanted.read()?;
        let (word, arguments) =
            self.command.split_first().ok_or_else(|| Error::usage("no COMMAND"))?;
        let actions = ["make the lab", "run COMMAND", "end the lab"];
        if context.is_rehearsal(&actions)? {
            return Ok(Exit::Ok);
        }
        let name = format!("run-{}", std::process::id());
        let mut lab = match start(context, &self.sandbox.add_to(self.wanted.arguments()), &name)? {
            Ok(lab) => lab,
            Err(exit) => return Ok(exit),
        };
        // Ctrl-C is for COMMAND; the lab ends after it.
        let signals = Running::signals();
        let _signals = signals.map_err(|error| Error::io("read", "signals", &error))?;
        let status = Command::new(word).args(arguments).env(LAB_VARIABLE, &name).status();
        drop(lab.0.stdin.take());
        let status = status.map_err(|error| {
            let message = format!("cannot run {}: {error}", word.display());
            Error::new(Kind::NotFound, &COMMAND, message).object(word.display())
        })?;
        Ok(Exit::of_program(status))
    }
}

/// Starts the lab, and waits until it is ready; the status if it is not.
fn start(
    context: &Context,
    arguments: &[OsString],
    name: &str,
) -> Result<std::result::Result<Lab, Exit>> {
    let program = std::env::current_exe();
    let program = program.map_err(|error| Error::io("find", "this program", &error))?;
    let mut command = Command::new(&program);
    command.args(["-j", "lab", "up", "--while-stdin", "--name", name]).args(arguments);
    // Ctrl-C in the terminal is not for it.
    command.process_group(0).stdin(Stdio::piped()).stdout(Stdio::piped());
    let started = command.spawn();
    let mut child = started.map_err(|error| Error::io("start", program.display(), &error))?;
    let stdout = child.stdout.take();
    let mut lab = Lab(child);
    let is_ready = stdout.is_some_and(|stdout| {
        let mut lines = BufReader::new(stdout).lines().map_while(std::io::Result::ok);
        let is_ready = lines.any(|line| {
            let event: Value = serde_json::from_str(&line).unwrap_or_default();
            if let (true, Some(message)) = (event["state"] == DEGRADED, event["message"].as_str()) {
                context.output.note(format_args!("warning: {}", clean(message)));
            }
            event["event"] == "ready"
        });
        // It goes on to write: events that nobody reads are dropped once the pipe is closed.
        is_ready
    });
    if is_ready {
        return Ok(Ok(lab));
    }
    // It has printed the reason.
    let status = lab.0.wait().map_err(|error| Error::io("wait for", "the lab", &error))?;
    let code = status.code().and_then(|code| u64::try_from(code).ok());
    Ok(Err(code.and_then(Exit::from_code).unwrap_or(Exit::Refused)))
}
