//! `adit nat`.

use crate::commands::names::{DnsWord, NameWord, names, servers};
use crate::commands::running::{Named, SWITCH, Which, ask, list, pages, send};
use crate::commands::web::Web;
use crate::context::Context;
use crate::exit::Exit;
use crate::show::events::{Json, LogArgs};
use crate::show::nat;
use adit_device::{IfName, Mode};
use adit_nat::{Access, Destination, InsideAddresses, Publishing, UdpFiltering};
use adit_packet::IpPrefix;
use adit_packet::units::Bitrate;
use adit_service::config::problems::Problems;
use adit_service::control::client::Client;
use adit_service::control::http::Method;
use adit_service::error::{Error, Result};
use adit_service::link::wanted::Keys;
use adit_service::log::TargetId;
use adit_service::namespace::attach::Target;
use adit_service::nat::model::{Flow, FlowPage, Nat};
use adit_service::nat::wanted::{Datapath, WantedNat};
use adit_service::netem::profile::Profiles;
use adit_service::sandbox::Level;
use adit_vpn::attach;
use adit_vpn::serve::{self, WantedPorts};
use clap::Subcommand;
use serde_json::json;
use std::path::PathBuf;

/// Its kind among running programs.
const NAT: &str = "nat";

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Give a network namespace a way out by a NAT
    Attach(Box<AttachArgs>),
    /// Give virtual machines and TAPs a way out by a NAT
    Serve(Box<ServeArgs>),
    /// Show a NAT: its addresses, its packets, and what it dropped
    Show(Named),
    /// List the flows of a NAT, or of the 'nat' ports of a switch, with their states and bytes
    Flows(Named),
    /// Let ports of the host lead inside
    Publish(PublishArgs),
    /// Close published ports of the host; their connections go on
    Unpublish(PublishArgs),
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
  adit nat attach blue --publish 8080:80 --allow-host 5432
  adit nat attach /run/user/1000/netns/x --name x")]
pub(crate) struct AttachArgs {
    /// A process, a name of 'ip netns', or the path of a namespace
    #[arg(value_name = "PID|NAME|PATH")]
    target: String,
    /// Name of the device inside; tun0, or tap0 with --tap
    #[arg(long, value_name = "NAME")]
    device: Option<IfName>,
    /// Open a TAP instead of a TUN device
    #[arg(long)]
    tap: bool,
    #[command(flatten)]
    nat: NatArgs,
    /// What adit does without once it runs: 'try' is all that this machine allows
    #[arg(long, value_name = "require|try|off", default_value = "try", hide_default_value = true)]
    sandbox: Level,
    #[command(flatten)]
    log: LogArgs,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
A port is written as for 'adit switch', whose help lists the kinds: unix:PATH is QEMU's '-netdev stream', with \
type=dgram '-netdev dgram', each for any number of guests; tap:NAME a TAP, created or attached to; fd:N an \
inherited descriptor. All guests share one network, and get addresses by DHCP, DHCPv6 and router advertisements. \
Published ports lead to the first guest. A port tun:NAME has no guests but packets, and must be the only one.

Runs until Ctrl-C, SIGTERM, 'adit nat stop', or the end of the last port.

Examples:
  adit nat serve unix:/run/user/1000/nat.sock
  qemu-system-x86_64 -netdev stream,id=n0,server=off,addr.type=unix,addr.path=/run/user/1000/nat.sock \\
    -device virtio-net,netdev=n0 ...
  adit nat serve tap:vm0 unix:/tmp/vm1,type=dgram --network 10.9.0.0/24 --publish 2222:22")]
pub(crate) struct ServeArgs {
    /// Where guests are: unix:PATH, tap:NAME, fd:N ...
    #[arg(value_name = "PORT", required = true)]
    port: Vec<String>,
    /// The network inside, one of each family
    #[arg(long, value_name = "PREFIX")]
    network: Vec<IpPrefix>,
    #[command(flatten)]
    nat: NatArgs,
    /// What adit does without once it runs: 'try' is all that this machine allows
    #[arg(long, value_name = "require|try|off", default_value = "try", hide_default_value = true)]
    sandbox: Level,
    #[command(flatten)]
    log: LogArgs,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  adit nat publish 8080:80
  adit nat publish web 127.0.0.1:5353:53/udp
  adit nat unpublish web 8080")]
pub(crate) struct PublishArgs {
    /// The NAT, if several run, and the ports: [ADDR:]PORT[-PORT][:[IP:]INSIDE][/udp], or [ADDR:]auto
    #[arg(value_name = "NAME|SPEC", required = true, num_args = 1..=2)]
    words: Vec<String>,
    #[command(flatten)]
    which: Which,
}

/// The options of every NAT.
#[derive(Debug, clap::Args)]
pub(crate) struct NatArgs {
    /// Let ports of the host lead inside, where the client's address is seen; 'auto': all TCP ports that listen; 'fd:N=INSIDE': a socket that listens
    #[arg(long, value_name = "[ADDR:]PORT[-PORT][:[IP:]INSIDE][/udp]|auto")]
    publish: Vec<Publishing>,
    /// Let the inside reach this TCP or UDP port of the host's loopback at the NAT's address
    #[arg(long, value_name = "PORT")]
    allow_host: Vec<u16>,
    /// Let the inside reach these destinations, whatever denies them: 'any:443', '169.254.169.254'
    #[arg(long, value_name = "PREFIX[:PORT[-PORT]]")]
    allow: Vec<Destination>,
    /// Refuse these destinations: '10.0.0.0/8', 'any:25', '[fd00::/8]:1-1023'
    #[arg(long, value_name = "PREFIX[:PORT[-PORT]]")]
    deny: Vec<Destination>,
    /// The most flows of one address inside: beyond it, an idle one of its own ends, or the new one is dropped
    #[arg(long, value_name = "COUNT", value_parser = Access::parse_count)]
    flow_limit: Option<u32>,
    /// The most flows that one address inside begins in a second, as a token bucket
    #[arg(long, value_name = "COUNT", value_parser = Access::parse_count)]
    flow_rate: Option<u32>,
    /// Limit each address inside in each direction, as 10mbit; what exceeds it is dropped
    #[arg(long, value_name = "RATE", value_parser = Access::parse_rate)]
    source_rate: Option<Bitrate>,
    /// Limit the link of the inside in each direction, as 10mbit
    #[arg(long, value_name = "RATE")]
    rate: Option<String>,
    /// Append a line of JSON to this file for each flow that opens, closes or is denied
    #[arg(long, value_name = "FILE")]
    flow_log: Option<PathBuf>,
    /// Which datagrams come in: apdf from addresses and ports that were sent to, eif from anywhere
    #[arg(long, value_name = "apdf|eif", default_value = "apdf")]
    #[arg(hide_default_value = true, hide_possible_values = true)]
    udp_nat: UdpWord,
    /// How TCP streams pass: as packets (auto, packet), or from socket to socket in the kernel (splice)
    #[arg(long, value_name = "auto|packet|splice", default_value = "auto")]
    #[arg(hide_default_value = true, hide_possible_values = true)]
    pub(crate) datapath: DatapathWord,
    /// Emulate the link: lte, dsl ... ('adit netem --help' describes them)
    #[arg(long, value_name = "PRESET")]
    netem: Option<String>,
    /// Record the packets of the inside as pcapng
    #[arg(long, value_name = "FILE")]
    capture: Option<PathBuf>,
    /// Name servers to ask: auto is those of the host, also when they change
    #[arg(long, value_name = "auto|ADDR", default_value = "auto", value_delimiter = ',')]
    #[arg(hide_default_value = true)]
    dns: Vec<DnsWord>,
    /// Name of the NAT, for 'adit nat', or with an address the name of a host inside
    #[arg(long, value_name = "NAME|HOST=ADDR")]
    name: Vec<NameWord>,
    #[command(flatten)]
    web: Web,
}

/// The words of `--udp-nat`.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum UdpWord {
    Apdf,
    Eif,
}

/// The words of `--datapath`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum DatapathWord {
    Auto,
    Packet,
    Splice,
}

impl NatArgs {
    /// Whether they ask for something that only a NAT has.
    pub(crate) const fn needs_packets(&self) -> bool {
        self.netem.is_some()
            || self.capture.is_some()
            || self.rate.is_some()
            || self.flow_log.is_some()
            || !self.publish.is_empty()
    }

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
            access: Access {
                allow_host: self.allow_host,
                allow: self.allow,
                deny: self.deny,
                flow_limit: self.flow_limit,
                flow_rate: self.flow_rate,
                source_rate: self.source_rate,
            },
            publish: self.publish,
            flow_log: self.flow_log,
            datapath: match self.datapath {
                DatapathWord::Auto => Datapath::Auto,
                DatapathWord::Packet => Datapath::Packet,
                DatapathWord::Splice => Datapath::Splice,
            },
            netem: profiles(&[("preset", self.netem), ("rate", self.rate)])?,
            capture: self.capture,
            metrics: self.web.address()?,
            ..WantedNat::usual()?
        })
    }
}

/// The profile of keys that are given.
fn profiles(keys: &[(&'static str, Option<String>)]) -> Result<Option<Profiles>> {
    let problems = Problems::default();
    let given = keys.iter().filter_map(|(key, text)| Some((*key, text.clone()?)));
    let keys = Keys { list: given.collect() };
    let profiles = (!keys.list.is_empty()).then(|| keys.on_top_of(Profiles::default(), &problems));
    problems.check("the command line")?;
    Ok(profiles)
}

impl AttachArgs {
    fn run(self, context: &Context) -> Result<Exit> {
        let target = Target::Text(self.target);
        let (mode, usual) = if self.tap { (Mode::Tap, "tap0") } else { (Mode::Tun, "tun0") };
        let device = self.device.map_or_else(|| IfName::new(usual), Ok).map_err(Error::usage)?;
        let wanted = WantedNat { device, mode, ..self.nat.wanted()? };
        if context.is_rehearsal(&attach::actions(&target, &wanted))? {
            return Ok(Exit::Ok);
        }
        let events = self.log.begin(&context.output, TargetId::NAT, Json::Stdout)?;
        attach::run(&target, &wanted, self.sandbox, &events)?;
        Ok(Exit::Ok)
    }
}

impl PublishArgs {
    fn run(self, context: &Context, method: Method) -> Result<Exit> {
        let (which, spec) = self.which.and_word(self.words, NAT);
        let spec = spec.ok_or_else(|| Error::usage("the ports are missing, as 8080:80"))?;
        let spec: Publishing =
            spec.parse().map_err(|why| Error::usage(format!("'{spec}': {why}")))?;
        let body = json!({"spec": spec.to_string()});
        send(context, &which.client(NAT)?, method, "/nat/published", &body)
    }
}

impl ServeArgs {
    fn run(self, context: &Context) -> Result<Exit> {
        let ports = WantedPorts::parse(self.port)?;
        let inside = InsideAddresses::of_guests(&self.network).map_err(Error::usage)?;
        let wanted = WantedNat { inside, mode: ports.mode, ..self.nat.wanted()? };
        if context.is_rehearsal(&ports.actions(&wanted))? {
            return Ok(Exit::Ok);
        }
        let events = self.log.begin(&context.output, TargetId::NAT, Json::Stdout)?;
        serve::run(&ports, &wanted, self.sandbox, &events)?;
        Ok(Exit::Ok)
    }
}

/// The flows of a NAT, or of the ports of a switch that are NATs.
fn flows_of(which: Named) -> Result<Vec<Flow>> {
    const PATH: &str = "/nat/flows";
    let name = which.name();
    let client = which.client(NAT).or_else(|error| {
        let switch = Client::find_with(name, SWITCH, PATH);
        switch.and_then(|switch| switch.get(PATH).map(|_| switch)).map_err(|_| error)
    });
    let mut flows = Vec::new();
    pages(&client?, PATH, "", |page: FlowPage| {
        flows.extend(page.flows);
        page.next
    })?;
    Ok(flows)
}

impl Command {
    pub(crate) fn run(self, context: &Context) -> Result<Exit> {
        match self {
            Self::Attach(args) => args.run(context),
            Self::Serve(args) => args.run(context),
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
                let flows = flows_of(which)?;
                if context.output.json {
                    context.output.value(&flows)?;
                } else {
                    for line in nat::flows(&flows) {
                        context.output.line(line)?;
                    }
                }
                Ok(Exit::Ok)
            }
            Self::Publish(args) => args.run(context, Method::Post),
            Self::Unpublish(args) => args.run(context, Method::Delete),
            Self::List => list(context, NAT),
            Self::Stop(which) => which.stop(context, NAT),
        }
    }
}
