//! `adit run`.

use crate::context::Context;
use crate::exit::Exit;
use crate::show::events;
use adit_nat::UdpFiltering;
use adit_service::config::problems::Problems;
use adit_service::control::name::Name;
use adit_service::error::{Error, Kind, Result};
use adit_service::link::wanted::Keys;
use adit_service::namespace::COMMAND;
use adit_service::nat::wanted::WantedNat;
use adit_service::netem::profile::Profiles;
use adit_service::sandbox::Level;
use adit_vpn::run::{self, Net, Options};
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
and metadata addresses are refused. Names are resolved by the host's name servers.

Examples:
  adit run -- curl https://example.org
  adit run --netem lte --capture run.pcapng -- git fetch
  adit run --allow-host 8080 -- curl http://host.adit.internal:8080
  adit run --net none -- ./untrusted-build.sh")]
pub(crate) struct Args {
    /// The way out: 'nat' reaches what this user reaches, 'none' is lo alone
    #[arg(long, value_name = "none|nat", default_value = "nat")]
    #[arg(hide_default_value = true, hide_possible_values = true)]
    net: NetWord,
    /// Let COMMAND reach this TCP or UDP port of the host's loopback at host.adit.internal
    #[arg(long, value_name = "PORT")]
    allow_host: Vec<u16>,
    /// Which datagrams come in: apdf from addresses and ports that COMMAND has sent to, eif from anywhere
    #[arg(long, value_name = "apdf|eif", default_value = "apdf")]
    #[arg(hide_default_value = true, hide_possible_values = true)]
    udp_nat: UdpWord,
    /// Emulate the link of COMMAND: lte, dsl ... ('adit netem --help' describes them)
    #[arg(long, value_name = "PRESET")]
    netem: Option<String>,
    /// Record the packets of COMMAND as pcapng
    #[arg(long, value_name = "FILE")]
    capture: Option<PathBuf>,
    /// Name of the run, for 'adit nat'
    #[arg(long, value_name = "NAME")]
    name: Option<Name>,
    /// Run COMMAND as root of its namespaces
    #[arg(long)]
    root: bool,
    /// What adit does without, once the command runs: 'try' is all that this machine allows
    #[arg(long, value_name = "require|try|off", default_value = "try", hide_default_value = true)]
    sandbox: Level,
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

/// The words of `--udp-nat`.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum UdpWord {
    Apdf,
    Eif,
}

/// The statuses of shells for a command that does not exist, and one that cannot be executed.
const NO_COMMAND: u8 = 127;
const NOT_EXECUTABLE: u8 = 126;

impl Args {
    pub(crate) fn run(self, context: &Context) -> Result<Exit> {
        let options = Options {
            net: match self.net {
                NetWord::None if self.netem.is_some() || self.capture.is_some() => {
                    let message = "there are no packets to emulate or record with --net none";
                    return Err(Error::usage(message));
                }
                NetWord::None => Net::None,
                NetWord::Nat => Net::Nat(Box::new(WantedNat {
                    name: self.name,
                    udp: match self.udp_nat {
                        UdpWord::Apdf => UdpFiltering::AddressAndPortDependent,
                        UdpWord::Eif => UdpFiltering::EndpointIndependent,
                    },
                    allow_host: self.allow_host,
                    netem: self.netem.as_deref().map(profiles).transpose()?,
                    capture: self.capture,
                    ..WantedNat::usual()?
                })),
            },
            as_root: self.root,
            sandbox: self.sandbox,
            command: self.command,
        };
        if context.is_rehearsal(&options.steps())? {
            return Ok(Exit::Ok);
        }
        match run::run(&options, &events::printed(&context.output)) {
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

/// The profile of a preset.
fn profiles(preset: &str) -> Result<Profiles> {
    let problems = Problems::default();
    let keys = Keys { list: vec![("preset", preset.to_owned())] };
    let profiles = keys.on_top_of(Profiles::default(), &problems);
    problems.check("the command line")?;
    Ok(profiles)
}
