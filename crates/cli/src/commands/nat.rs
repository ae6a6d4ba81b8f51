//! `adit nat`.

use crate::commands::names::{DnsWord, NameWord, names, servers};
use crate::commands::running::{Named, ask, list};
use crate::context::Context;
use crate::exit::Exit;
use crate::show::{events, nat};
use adit_device::IfName;
use adit_nat::UdpFiltering;
use adit_service::config::problems::Problems;
use adit_service::error::Result;
use adit_service::link::wanted::Keys;
use adit_service::namespace::attach::Target;
use adit_service::nat::attach;
use adit_service::nat::model::{Flow, Nat};
use adit_service::nat::wanted::WantedNat;
use adit_service::netem::profile::Profiles;
use adit_service::sandbox::Level;
use clap::Subcommand;
use std::path::PathBuf;

/// Its kind among running programs.
const NAT: &str = "nat";

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Give a network namespace a way out by a NAT
    Attach(AttachArgs),
    /// Show a NAT: its addresses, its packets, and what it dropped
    Show(Named),
    /// List the flows of a NAT, with their states and bytes
    Flows(Named),
    /// List running NATs
    #[command(visible_alias = "ls")]
    List,
    /// Stop a NAT; a command of 'adit run' is killed
    Stop(Named),
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Opens a TUN device in the namespace, with addresses and default routes. A process for that joins the user \
namespace that owns the network, so the namespaces of the caller need no root; it ends at once, and adit \
itself has no capability.

Runs until Ctrl-C, SIGTERM, 'adit nat stop', or the end of the namespace: of the process, or of the name. The \
files of the namespace stay as they are: its name server is 10.0.2.3, which asks those of the host.

Examples:
  unshare -Urn sleep 1000 & adit nat attach $!
  adit nat attach blue --allow-host 8080
  adit nat attach /run/user/1000/netns/x --name x")]
pub(crate) struct AttachArgs {
    /// A process, a name of 'ip netns', or the path of a namespace
    #[arg(value_name = "PID|NAME|PATH")]
    target: String,
    /// Name of the device inside
    #[arg(long, value_name = "NAME", default_value = "tun0")]
    device: IfName,
    #[command(flatten)]
    nat: NatArgs,
    /// What adit does without once it runs: 'try' is all that this machine allows
    #[arg(long, value_name = "require|try|off", default_value = "try", hide_default_value = true)]
    sandbox: Level,
}

/// The options of every NAT.
#[derive(Debug, clap::Args)]
pub(crate) struct NatArgs {
    /// Let the inside reach this TCP or UDP port of the host's loopback at the NAT's address
    #[arg(long, value_name = "PORT")]
    pub(crate) allow_host: Vec<u16>,
    /// Which datagrams come in: apdf from addresses and ports that were sent to, eif from anywhere
    #[arg(long, value_name = "apdf|eif", default_value = "apdf")]
    #[arg(hide_default_value = true, hide_possible_values = true)]
    udp_nat: UdpWord,
    /// Emulate the link: lte, dsl ... ('adit netem --help' describes them)
    #[arg(long, value_name = "PRESET")]
    pub(crate) netem: Option<String>,
    /// Record the packets of the inside as pcapng
    #[arg(long, value_name = "FILE")]
    pub(crate) capture: Option<PathBuf>,
    /// Name servers to ask: auto is those of the host, also when they change
    #[arg(long, value_name = "auto|ADDR", default_value = "auto", value_delimiter = ',')]
    #[arg(hide_default_value = true)]
    dns: Vec<DnsWord>,
    /// Name of the NAT, for 'adit nat', or with an address the name of a host inside
    #[arg(long, value_name = "NAME|HOST=ADDR")]
    name: Vec<NameWord>,
}

/// The words of `--udp-nat`.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum UdpWord {
    Apdf,
    Eif,
}

impl NatArgs {
    /// The NAT that they ask for.
    pub(crate) fn wanted(self) -> Result<WantedNat> {
        let (name, names) = names(self.name)?;
        Ok(WantedNat {
            name,
            names,
            dns: servers(&self.dns)?,
            udp: match self.udp_nat {
                UdpWord::Apdf => UdpFiltering::AddressAndPortDependent,
                UdpWord::Eif => UdpFiltering::EndpointIndependent,
            },
            allow_host: self.allow_host,
            netem: self.netem.as_deref().map(profiles).transpose()?,
            capture: self.capture,
            ..WantedNat::usual()?
        })
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

impl AttachArgs {
    fn run(self, context: &Context) -> Result<Exit> {
        let target = Target::Text(self.target);
        let wanted = WantedNat { device: self.device, ..self.nat.wanted()? };
        if context.is_rehearsal(&attach::actions(&target, &wanted))? {
            return Ok(Exit::Ok);
        }
        attach::run(&target, &wanted, self.sandbox, &events::printed(&context.output))?;
        Ok(Exit::Ok)
    }
}

impl Command {
    pub(crate) fn run(self, context: &Context) -> Result<Exit> {
        match self {
            Self::Attach(args) => args.run(context),
            Self::Show(which) => {
                let report: Nat = ask(&which.client(NAT)?, "/nat")?;
                if context.output.json {
                    context.output.value(&report)?;
                } else {
                    for line in nat::status(&report) {
                        context.output.line(line)?;
                    }
                }
                Ok(Exit::Ok)
            }
            Self::Flows(which) => {
                let flows: Vec<Flow> = ask(&which.client(NAT)?, "/nat/flows")?;
                if context.output.json {
                    context.output.value(&flows)?;
                } else {
                    for line in nat::flows(&flows) {
                        context.output.line(line)?;
                    }
                }
                Ok(Exit::Ok)
            }
            Self::List => list(context, NAT),
            Self::Stop(which) => which.stop(context, NAT),
        }
    }
}
