//! `adit run`.

use crate::commands::nat::{DatapathWord, NatArgs};
use crate::context::Context;
use crate::exit::Exit;
use crate::show::events::{Json, LogArgs};
use adit_service::error::{Error, Kind, Result};
use adit_service::log::TargetId;
use adit_service::namespace::COMMAND;
use adit_service::nat::wanted::WantedNat;
use adit_service::sandbox::Level;
use adit_vpn::run::{self, Net, Options, WantedTunnel};
use std::ffi::OsString;
use std::path::PathBuf;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Needs no root: a user namespace gives the command a network, a list of processes and mounts of its own. \
User and group stay those of the caller. Without COMMAND it starts $SHELL.

Exits with the status of COMMAND: 128+n after signal n, 127 if COMMAND does not exist, 126 if it cannot be \
executed. The terminal is COMMAND's; other signals are passed on to it. What COMMAND leaves running ends with \
it. In COMMAND the variable ADIT_RUN is 1.

COMMAND reaches what this user reaches, but not the host itself: its loopback and own addresses, link-local \
and metadata addresses are refused. Its name server answers host.adit.internal and the names of --name, and asks the \
host's name servers for others.

Examples:
  adit run -- curl https://example.org
  adit run --netem lte --capture run.pcapng -- git fetch
  adit run --publish 8080:80 -- python3 -m http.server 80
  adit run --tunnel site.conf -- firefox
  adit run --name db.test=10.0.0.9 --dns 192.0.2.53 -- ./client db.test
  adit run --allow-host 8080 -- curl http://host.adit.internal:8080
  adit run --net none -- ./untrusted-build.sh")]
pub(crate) struct Args {
    /// The way out: 'nat' reaches what this user reaches, 'none' is lo alone
    #[arg(long, value_name = "none|nat", default_value = "nat")]
    #[arg(hide_default_value = true, hide_possible_values = true)]
    net: NetWord,
    /// Use the tunnel of this file, with its name servers, as the only way out
    #[arg(long, value_name = "FILE", conflicts_with_all = [
        "net", "publish", "allow_host", "allow", "deny", "flow_limit", "flow_rate", "source_rate", "flow_log", "udp_nat",
        "dns", "datapath",
    ])]
    tunnel: Vec<PathBuf>,
    #[command(flatten)]
    nat: NatArgs,
    /// Run COMMAND as root of its namespaces
    #[arg(long)]
    root: bool,
    /// What adit does without, once the command runs: 'try' is all that this machine allows
    #[arg(long, value_name = "require|try|off", default_value = "try", hide_default_value = true)]
    sandbox: Level,
    #[command(flatten)]
    log: LogArgs,
    /// The command and its arguments
    #[arg(value_name = "COMMAND", trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<OsString>,
}

/// The words of `--net`.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum NetWord {
    None,
    Nat,
}

/// The statuses of shells for a command that does not exist, and one that cannot be executed.
const NO_COMMAND: u8 = 127;
const NOT_EXECUTABLE: u8 = 126;

impl Args {
    pub(crate) fn run(self, context: &Context) -> Result<Exit> {
        let options = Options {
            net: match self.net {
                _ if !self.tunnel.is_empty() => {
                    let WantedNat { netem, capture, name, names, metrics, .. } =
                        self.nat.wanted()?;
                    let files = self.tunnel;
                    let wanted = WantedTunnel { files, netem, capture, name, names, metrics };
                    Net::Tunnel(Box::new(wanted))
                }
                NetWord::None if self.nat.needs_packets() => {
                    let message = "there are no packets with --net none";
                    return Err(Error::usage(message));
                }
                NetWord::None if self.nat.datapath == DatapathWord::Splice => {
                    return Err(Error::usage("there is nothing to splice with --net none"));
                }
                NetWord::None => Net::None,
                NetWord::Nat => Net::Nat(Box::new(self.nat.wanted()?)),
            },
            as_root: self.root,
            sandbox: self.sandbox,
            command: self.command,
        };
        if context.is_rehearsal(&options.steps())? {
            return Ok(Exit::Ok);
        }
        let is_tunnel = matches!(options.net, Net::Tunnel(_));
        let target = if is_tunnel { TargetId::TUNNEL } else { TargetId::NAT };
        let events = self.log.begin(&context.output, target, Json::Stdout)?;
        match run::run(&options, &events) {
            Ok(status) => Ok(Exit::Program(status)),
            Err(error) if error.report.code == COMMAND.code => {
                context.output.error(&error.report);
                let is_missing = error.kind == Kind::NotFound;
                Ok(Exit::Program(if is_missing { NO_COMMAND } else { NOT_EXECUTABLE }))
            }
            Err(error) => Err(error),
        }
    }
}
