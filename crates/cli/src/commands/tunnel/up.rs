//! `adit tunnel up`, `check`, `down`, `reload`.

use crate::context::Context;
use adit_service::control::client::Client;
use adit_service::control::http::Method;
use adit_service::control::name::Name;
use adit_service::error::{Error, Exit, Result};
use adit_vpn::daemon::Reloaded;
use adit_vpn::file::conf::HookPolicy;
use adit_vpn::file::config::Hook;
use adit_vpn::file::load::load;
use adit_vpn::file::secret::SecretSource;
use adit_vpn::file::values;
use adit_vpn::up::{Options, Pipe};
use rustix::fs::{Mode, OFlags};
use serde_json::Value;
use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// What the started program writes when all is there.
const READY: &[u8] = b"ready";

/// How long a tunnel may take to end: its hooks take 30 s each at most.
const STOP_TIME_MAX: Duration = Duration::from_secs(60);

#[derive(Debug, clap::Args)]
#[command(after_help = "\
A file is one of wg-quick (site.conf), unchanged, or TOML (site.toml); it names the device. Further \
files add peers. A name alone is looked for in /etc/adit and /etc/wireguard. In TOML there is more: \
TCP where UDP is blocked, Ethernet frames, rates, programs for a peer that comes or goes.

It runs until it is told to stop ('adit tunnel down NAME', Ctrl-C); with --detach it goes on in the \
background. Routes go where AllowedIPs say. 'wg show' and 'wg set' work on it. It ends with 6 if it \
was told not to wait for peers (persist = false) and none is there, with 7 if its device is gone for good.

Examples:
  adit tunnel up site.conf
  adit --dry-run tunnel up site.conf
  adit tunnel up --detach site && adit tunnel show site")]
pub(crate) struct UpArgs {
    /// The files of the tunnel, or its name
    #[arg(required = true, value_name = "FILE|NAME")]
    files: Vec<PathBuf>,
    /// What is done about programs that a file wants to be run (PostUp and the like)
    #[arg(long, value_name = "refuse|skip|run", default_value = "refuse")]
    #[arg(hide_possible_values = true, value_parser = hook_policy())]
    hooks: HookPolicy,
    /// Where the private key is: a file with mode 0600, '-' or credential:NAME
    #[arg(long, value_name = "FILE")]
    private_key_file: Option<SecretSource>,
    /// The namespace that the device is to be in; datagrams go by the one of the program
    #[arg(long, value_name = "NS")]
    device_netns: Option<String>,
    /// Reach the peer by standard input and output, as ssh runs it; it ends with them
    #[arg(long, conflicts_with = "detach")]
    stdio: bool,
    /// Reach the peer by a program, as 'ssh HOST adit tunnel up --stdio FILE'; no shell reads it
    #[arg(long, value_name = "COMMAND", value_parser = values::hook, conflicts_with = "stdio")]
    exec: Option<Hook>,
    /// Return when it is up; it goes on in the background
    #[arg(short, long)]
    detach: bool,
    /// This is the program in the background
    #[arg(long, hide = true)]
    detached: bool,
    /// All intervals of the protocol divided by this
    #[arg(long, hide = true, default_value = "1")]
    faster: u32,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
All mistakes of all files, each with its place; nothing is changed. Exit status 2 if there are any.")]
pub(crate) struct CheckArgs {
    /// The files, each a tunnel of its own
    #[arg(required = true, value_name = "FILE|NAME")]
    files: Vec<PathBuf>,
    /// Whether programs to be run are a mistake
    #[arg(long, value_name = "refuse|skip|run", default_value = "refuse")]
    #[arg(hide_possible_values = true, value_parser = hook_policy())]
    hooks: HookPolicy,
}

#[derive(Debug, clap::Args)]
pub(crate) struct DownArgs {
    /// The tunnel; without a name the only one that runs
    name: Option<Name>,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Peers that did not change keep their sessions, and lose no packet. A mistake in a file changes \
nothing. SIGHUP does the same.")]
pub(crate) struct ReloadArgs {
    /// The tunnel; without a name the only one that runs
    name: Option<Name>,
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
            faster: self.faster,
        };
        if context.dry_run {
            context.is_rehearsal(&options.steps()?)?;
            return Ok(Exit::Ok);
        }
        if self.detach {
            return detach();
        }
        if self.detached {
            // It is to outlive the terminal; a session leader already is as good.
            let _ = rustix::process::setsid();
            options.run(&context.output, tell_ready)?;
        } else {
            options.run(&context.output, || context.output.note("up"))?;
        }
        Ok(Exit::Ok)
    }
}

/// Starts this program again in the background and waits until it is ready, or has failed.
fn detach() -> Result<Exit> {
    let program = std::env::current_exe();
    let program = program.map_err(|error| Error::io("find", "this program", &error))?;
    let is_detach = |word: &std::ffi::OsString| word == "--detach" || word == "-d";
    let mut words: Vec<_> = std::env::args_os().skip(1).collect();
    if !words.iter().any(is_detach) {
        return Err(Error::usage("-d stands alone here, not joined to other letters"));
    }
    for word in words.iter_mut().filter(|word| is_detach(word)) {
        *word = "--detached".into();
    }
    let mut command = Command::new(&program);
    command.args(words).stdout(Stdio::piped());
    let mut child =
        command.spawn().map_err(|error| Error::io("start", program.display(), &error))?;
    let mut told = Vec::new();
    if let Some(stdout) = child.stdout.take() {
        // It ends when the program is ready, or has ended.
        let _ = stdout.take(64).read_to_end(&mut told);
    }
    if told == READY {
        return Ok(Exit::Ok);
    }
    let status = child.wait().map_err(|error| Error::io("wait for", "the tunnel", &error))?;
    // It has told why.
    let code = status.code().and_then(|code| u64::try_from(code).ok());
    Ok(code.and_then(Exit::from_code).filter(|exit| *exit != Exit::Ok).unwrap_or(Exit::Refused))
}

/// Tells the waiting parent, and lets go of what it has open.
fn tell_ready() {
    // Who does not wait any more is not told.
    let _ = std::io::stdout().lock().write_all(READY).and_then(|()| std::io::stdout().flush());
    let null = rustix::fs::open("/dev/null", OFlags::RDWR, Mode::empty());
    if let Ok(null) = null {
        let _ = rustix::stdio::dup2_stdin(&null);
        let _ = rustix::stdio::dup2_stdout(&null);
        let _ = rustix::stdio::dup2_stderr(&null);
    }
}

impl CheckArgs {
    pub(crate) fn run(self, context: &Context) -> Result<Exit> {
        let mut worst: Option<Error> = None;
        for file in self.files {
            match (load(std::slice::from_ref(&file), self.hooks), &mut worst) {
                (Ok(_), _) if context.output.json => {}
                (Ok(loaded), _) => {
                    let count = loaded.config.peers.len();
                    let peers = if count == 1 { "peer" } else { "peers" };
                    context.output.line(format!("{}: well, {count} {peers}", file.display()))?;
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
        let client = Client::find(self.name, "tunnel")?;
        if context.is_rehearsal(&[format!("stop the tunnel {}", client.name())])? {
            return Ok(Exit::Ok);
        }
        client.send(Method::Post, "/stop", &Value::Null)?;
        let end = Instant::now() + STOP_TIME_MAX;
        // Its socket goes after all else.
        while client.name().socket_path().exists() {
            if Instant::now() > end {
                let message = format!("the tunnel {} does not end", client.name());
                return Err(Error::new(Exit::Timeout, &adit_service::error::SYSTEM, message));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(Exit::Ok)
    }
}

impl ReloadArgs {
    pub(crate) fn run(self, context: &Context) -> Result<Exit> {
        let client = Client::find(self.name, "tunnel")?;
        if context.is_rehearsal(&[format!("read the files of {} again", client.name())])? {
            return Ok(Exit::Ok);
        }
        let reply = client.send(Method::Post, "/reload", &Value::Null)?;
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
        .map(|word| word.parse().expect("the parser takes these words only"))
}
