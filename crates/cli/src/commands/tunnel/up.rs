//! `adit tunnel up`, `check`, `down`, `reload`.

use crate::commands::background::{Detached, continue_in_background, detach};
use crate::commands::running::Named;
use crate::commands::sandbox::SandboxArgs;
use crate::commands::web::Web;
use crate::context::Context;
use crate::exit::Exit;
use crate::show::events::{Json, LogArgs};
use adit_service::control::client::Client;
use adit_service::control::http::Method;
use adit_service::control::name::Name;
use adit_service::error::{Error, Kind, Result, SYSTEM};
use adit_service::log::TargetId;
use adit_vpn::down::leftovers;
use adit_vpn::file::conf::HookPolicy;
use adit_vpn::file::config::Hook;
use adit_vpn::file::load::{Given, load_complete};
use adit_vpn::file::secret::SecretSource;
use adit_vpn::file::validate::warnings;
use adit_vpn::file::values;
use adit_vpn::state::{Reloaded, Upgraded};
use adit_vpn::up::{Options, Pipe};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// Maximum time for a tunnel to stop: each of its hooks may take 30 s.
const STOP_TIME_MAX: Duration = Duration::from_secs(60);

/// Where the unit of a tunnel keeps the copy of its file, in a folder with the name of the tunnel.
const COPIES: &str = "/run/adit-tunnel";

/// The program that makes the copy, below the folder of `bin/adit`.
const COPY: &str = "lib/adit/copy-tunnel";

#[derive(Debug, clap::Args)]
#[command(after_help = "\
FILE is a wg-quick file (site.conf) or TOML (site.toml); its name is that of the device. Further files \
add peers. NAME is looked up in /etc/adit and /etc/wireguard. TOML has more features: TCP where UDP is \
blocked, Ethernet frames, rate limits, programs to run when a peer connects or disconnects.

Runs until 'adit tunnel down NAME' or Ctrl-C; with --detach in the background. AllowedIPs set the \
routes. 'wg show' and 'wg set' work on it. Exits with status 6 if 'persist = false' and no peer is \
connected, with 7 if the device was deleted and cannot be created again, and as COMMAND of --exec did if \
that ended the tunnel.

Examples:
  adit tunnel up site.conf
  adit --dry-run tunnel up site.conf
  adit tunnel up --detach site && adit tunnel show site")]
pub(crate) struct UpArgs {
    /// The files of the tunnel, or its name
    #[arg(required = true, value_name = "FILE|NAME")]
    files: Vec<PathBuf>,
    /// How to treat PostUp and other hooks in the file
    #[arg(long, value_name = "refuse|skip|run", default_value = "refuse")]
    #[arg(hide_possible_values = true, value_parser = hook_policy())]
    hooks: HookPolicy,
    /// Read the private key from a file with mode 0600, '-' or credential:NAME
    #[arg(long, value_name = "FILE")]
    private_key_file: Option<SecretSource>,
    /// Create the device in this namespace; UDP and TCP use the current one
    #[arg(long, value_name = "NS")]
    device_netns: Option<String>,
    /// Connect to the peer through standard input and output, as started by ssh
    #[arg(long, conflicts_with = "detach")]
    stdio: bool,
    /// Connect to the peer through a program, such as 'ssh HOST adit tunnel up --stdio FILE' (no shell)
    #[arg(long, value_name = "COMMAND", value_parser = values::hook, conflicts_with = "stdio")]
    exec: Option<Hook>,
    #[command(flatten)]
    web: Web,
    /// Return when the tunnel is up; it continues in the background
    #[arg(short, long)]
    detach: bool,
    /// Marks the background process
    #[arg(long, hide = true)]
    detached: bool,
    /// Divisor of all protocol intervals, for tests
    #[arg(long, hide = true, default_value = "1")]
    faster: u32,
    #[command(flatten)]
    sandbox: SandboxArgs,
    #[command(flatten)]
    log: LogArgs,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Reports every error of every file with its position. Changes nothing. Exits with status 2 if there are errors.")]
pub(crate) struct CheckArgs {
    /// The files, each of one tunnel
    #[arg(required = true, value_name = "FILE|NAME")]
    files: Vec<PathBuf>,
    /// Whether hooks are errors
    #[arg(long, value_name = "refuse|skip|run", default_value = "refuse")]
    #[arg(hide_possible_values = true, value_parser = hook_policy())]
    hooks: HookPolicy,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Removes the kill switch of the tunnel, which outlives every other end. Of a tunnel that was killed, it removes \
what is left in this network namespace: kill switch, routes, rules, packet filter.")]
pub(crate) struct DownArgs {
    #[command(flatten)]
    tunnel: Named,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Unchanged peers keep their sessions and lose no packets. If a file has an error, nothing changes. \
SIGHUP does the same.")]
pub(crate) struct ReloadArgs {
    #[command(flatten)]
    tunnel: Named,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Starts the program that is installed now and hands the running tunnel over to it: device, sockets, sessions with \
their keys and counters. Peers notice nothing; packets wait for some milliseconds. If the new program cannot \
take over, the tunnel continues in the old one. The files must be as they were read last: run 'adit tunnel \
reload' first if they have changed.

Examples:
  adit tunnel upgrade site")]
pub(crate) struct UpgradeArgs {
    #[command(flatten)]
    tunnel: Named,
    /// Do nothing if the running program is the installed one
    #[arg(long)]
    if_changed: bool,
}

impl UpgradeArgs {
    pub(crate) fn run(self, context: &Context) -> Result<Exit> {
        let client = self.tunnel.client("tunnel")?;
        if context
            .is_rehearsal(&[format!("hand {} over to the installed program", client.name())])?
        {
            return Ok(Exit::Ok);
        }
        let body = serde_json::json!({ "if_changed": self.if_changed });
        let reply = client.send(Method::Post, "/upgrade", &body)?;
        if context.output.json {
            context.output.value(&reply)?;
            return Ok(Exit::Ok);
        }
        let upgraded: Upgraded = serde_json::from_value(reply).map_err(std::io::Error::from)?;
        let Upgraded { pid, is_new, gap_us } = upgraded;
        context.output.line(if is_new {
            let gap = Duration::from_micros(gap_us).as_secs_f64() * 1000.0;
            format!("process {pid} runs {} now; no packet moved for {gap:.1} ms", client.name())
        } else {
            format!("process {pid} runs the installed program already")
        })?;
        Ok(Exit::Ok)
    }
}

impl UpArgs {
    pub(crate) fn run(self, context: &Context) -> Result<Exit> {
        let pipe = match (self.stdio, self.exec) {
            (true, _) => Pipe::Stdio,
            (false, Some(program)) => Pipe::Program(program),
            (false, None) => Pipe::None,
        };
        let options = Options {
            pipe,
            files: self.files,
            hooks: self.hooks,
            private_key: self.private_key_file,
            device_netns: self.device_netns,
            sandbox: self.sandbox.level,
            metrics: self.web.address()?,
            faster: self.faster,
            is_background: self.detached,
        };
        if context.dry_run {
            context.is_rehearsal(&options.steps()?)?;
            return Ok(Exit::Ok);
        }
        if self.detach {
            return detach();
        }
        let output = &context.output;
        // With --stdio, packets are on standard output; in the background there is none.
        let json = if self.detached || self.stdio { Json::Log } else { Json::Stdout };
        // First: the helper is a copy of this process from before its threads.
        let sandbox = options.sandbox()?;
        let events = self.log.begin(output, TargetId::TUNNEL, json)?;
        if context.takes_over {
            if self.detached {
                continue_in_background();
            }
            let program = options.take_over(&sandbox, &events)?;
            return Ok(program.map_or(Exit::Ok, Exit::of_program));
        }
        if self.detached {
            let background = Detached::leave_terminal();
            options.run(&sandbox, &events, || background.notify_ready(Exit::Ok))?;
            return Ok(Exit::Ok);
        }
        let program = options.run(&sandbox, &events, || {})?;
        Ok(program.map_or(Exit::Ok, Exit::of_program))
    }
}

/// Starts a tunnel in the background with this program.
pub(super) fn start(path: &Path) -> Result<Exit> {
    let program = std::env::current_exe();
    let program = program.map_err(|error| Error::io("find", "this program", &error))?;
    let status = Command::new(&program).args(["tunnel", "up", "--detach"]).arg(path).status();
    let status = status.map_err(|error| Error::io("start", program.display(), &error))?;
    if status.success() {
        return Ok(Exit::Ok);
    }
    // The process has printed the reason.
    let code = status.code().and_then(|code| u64::try_from(code).ok());
    Ok(code.and_then(Exit::from_code).unwrap_or(Exit::Refused))
}

/// Reloads a running tunnel. The user of the unit of systemd cannot read root's files: root copies the file for it first.
pub(super) fn reload(client: &Client) -> Result<Value> {
    let name = client.name().to_string();
    if rustix::process::geteuid().is_root() && Path::new(COPIES).join(&name).is_dir() {
        let program = std::env::current_exe();
        let program = program.map_err(|error| Error::io("find", "this program", &error))?;
        let copy = program.ancestors().nth(2).unwrap_or(Path::new("/")).join(COPY);
        let status = Command::new(&copy).arg(&name).status();
        let status = status.map_err(|error| Error::io("start", copy.display(), &error))?;
        if !status.success() {
            let message = format!("the file of {name} was not copied for its unit: {status}");
            return Err(Error::new(Kind::Refused, &SYSTEM, message));
        }
    }
    client.send(Method::Post, "/reload", &Value::Null)
}

impl CheckArgs {
    pub(crate) fn run(self, context: &Context) -> Result<Exit> {
        let mut worst: Option<Error> = None;
        for file in self.files {
            let loaded = load_complete(std::slice::from_ref(&file), self.hooks, Given::default());
            match (loaded, &mut worst) {
                (Ok(_), _) if context.output.json => {}
                (Ok(loaded), _) => {
                    for warning in warnings(&loaded.config) {
                        context.output.note(format!("warning: {}: {warning}", file.display()));
                    }
                    let count = loaded.config.peers.len();
                    let peers = if count == 1 { "peer" } else { "peers" };
                    context
                        .output
                        .line(format!("{}: no errors, {count} {peers}", file.display()))?;
                }
                (Err(error), None) => worst = Some(error),
                (Err(mut error), Some(worst)) => {
                    worst.report.message.push_str(&format!("; {}", error.report.message));
                    worst.report.problems.append(&mut error.report.problems);
                }
            }
        }
        worst.map_or(Ok(Exit::Ok), Err)
    }
}

impl DownArgs {
    pub(crate) fn run(self, context: &Context) -> Result<Exit> {
        let name = self.tunnel.name();
        let client = match (self.tunnel.client("tunnel"), name) {
            (Err(error), Some(name)) if error.kind == Kind::NotFound => {
                return clean(context, &name, error);
            }
            (found, _) => found?,
        };
        if context.is_rehearsal(&[format!("stop tunnel {}", client.name())])? {
            return Ok(Exit::Ok);
        }
        client.send(Method::Post, "/stop", &Value::Null)?;
        let end = Instant::now() + STOP_TIME_MAX;
        // The socket is removed last.
        while client.name().socket_path().exists() {
            if Instant::now() > end {
                let message = format!("tunnel {} does not stop", client.name());
                return Err(Error::new(Kind::Timeout, &SYSTEM, message));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(Exit::Ok)
    }
}

/// Removes what a tunnel left that was killed; `missing` if it left nothing.
fn clean(context: &Context, name: &Name, missing: Error) -> Result<Exit> {
    let actions = leftovers(name)?;
    if actions.is_empty() {
        return Err(missing);
    }
    if context.is_rehearsal(&actions)? {
        return Ok(Exit::Ok);
    }
    adit_vpn::down::clean(name, &actions)?;
    for action in actions {
        context.output.note(format!("removed what a killed process left: {action}"));
    }
    Ok(Exit::Ok)
}

impl ReloadArgs {
    pub(crate) fn run(self, context: &Context) -> Result<Exit> {
        let client = self.tunnel.client("tunnel")?;
        if context.is_rehearsal(&[format!("reload the files of {}", client.name())])? {
            return Ok(Exit::Ok);
        }
        let reply = reload(&client)?;
        if context.output.json {
            context.output.value(&reply)?;
            return Ok(Exit::Ok);
        }
        let reloaded: Reloaded = serde_json::from_value(reply).map_err(std::io::Error::from)?;
        let Reloaded { added, changed, removed, unchanged } = reloaded;
        context.output.line(format!(
            "peers: {added} added, {changed} changed, {removed} removed, {unchanged} unchanged"
        ))?;
        Ok(Exit::Ok)
    }
}

fn hook_policy() -> impl clap::builder::TypedValueParser<Value = HookPolicy> {
    use clap::builder::TypedValueParser as _;
    clap::builder::PossibleValuesParser::new(HookPolicy::WORDS)
        .map(|word| word.parse().expect("the parser accepts only these words"))
}
