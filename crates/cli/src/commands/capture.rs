//! `adit capture`.

use crate::color::Color;
use crate::commands::sandbox::SandboxArgs;
use crate::context::Context;
use crate::exit::Exit;
use crate::output::{Output, table};
use crate::pictures::{self, Files, Numbers, Opened};
use crate::show::events::{Json, LogArgs};
use adit_capture::extcap;
use adit_capture::extcap::{Call, Interface};
use adit_capture::lab;
use adit_capture::read::{ReadError, Reading};
use adit_capture::reply::Responder;
use adit_capture::run::{Capture, EndError, Outputs, Show, needs, signals};
use adit_capture::source::{Fate, OpenError, Source, Wanted, link_type_of_hardware};
use adit_capture::units::{parse_length, parse_size, parse_time};
use adit_decode::Summary;
use adit_device::Mode;
use adit_device::netlink::{IpPrefix, LinkFlags, LinkInfo, Netlink};
use adit_lab::live::LAB;
use adit_runtime::format::pcapng;
use adit_runtime::record::error::{record_error, writer};
use adit_runtime::record::now::Now;
use adit_runtime::record::recorder::{Recorder, Target};
use adit_runtime::record::rotate::Rotation;
use adit_runtime::record::sink::{Sink, whole_lines};
use adit_service::control::client::Client;
use adit_service::error::{Entry, Error, Kind, Result};
use adit_service::filter::{CompileError, Filter};
use adit_service::log::TargetId;
use adit_service::sandbox;
use clap::ValueEnum;
use schemars::JsonSchema;
use serde::Serialize;
use std::error::Error as _;
use std::ffi::OsString;
use std::io;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

/// The most bytes kept of a packet, as tcpdump has it; a super-packet has 64 KiB.
const SNAP_LEN: u32 = 262_144;

/// Draws the charts of a capture, if there are any.
fn draw(charts: Option<Box<Summary>>, name: &str, files: Opened, output: &Output) -> Result<Exit> {
    let Some(charts) = charts else { return Ok(Exit::Ok) };
    let page = charts.page(format!("Capture of {}", adit_service::text::clean(name)));
    files.write(&page)?;
    if output.json {
        output.value(&Numbers::from(&page))?;
    } else {
        pictures::print(&page, output)?;
    }
    Ok(Exit::Ok)
}

/// Arguments of `adit capture`.
#[derive(Debug, clap::Args)]
#[command(after_help = "'>' marks packets that leave the host, '<' those that enter it. With -w, \
packets are shown only with -v, -x or -j. Runs until Ctrl-C.

Examples:
  adit capture tun0 --create --addr 192.0.2.1/24 --reply    then: ping 192.0.2.77
  adit capture eth0 -w day.pcapng --rotate-size 100MB --files 10 'udp port 53'
  adit capture -r day.pcapng -x icmp
  adit capture -r day.pcapng --summary --html day.html
  adit capture tun0 --for 10s --summary
  adit capture tap0 -w - | wireshark -k -i -")]
#[expect(clippy::struct_excessive_bools, reason = "five switches of a command line")]
pub(crate) struct Args {
    /// The interface; with --create, a name or a pattern such as tun%d
    #[arg(required_unless_present_any = ["install_extcap", "interface", "list_interfaces", "read"])]
    name: Option<String>,
    /// A filter in the syntax of tcpdump
    filter: Vec<String>,
    /// The interface, as for tcpdump; all words are the filter then
    #[arg(short, long, value_name = "NAME")]
    interface: Option<String>,
    /// Read a pcapng or pcap file instead, '-' is standard input; all words are the filter then
    #[arg(short, long, value_name = "FILE")]
    #[arg(conflicts_with_all = ["interface", "create", "reply", "no_promisc"])]
    read: Option<PathBuf>,
    /// List the interfaces that can be captured
    #[arg(short = 'D', long, conflicts_with_all = ["name", "interface", "read", "write"])]
    list_interfaces: bool,
    /// Create the device, and delete it at the end
    #[arg(long)]
    create: bool,
    /// The kind of device to create
    #[arg(long, requires = "create", default_value = "tun")]
    mode: NewMode,
    /// An address of the new device, with its prefix length
    #[arg(long, requires = "create", value_name = "IP/LEN")]
    addr: Vec<IpPrefix>,
    /// Answer ARP, neighbor solicitations and ping for every address in the device's subnets
    #[arg(long)]
    reply: bool,
    /// Show the bytes of each packet
    #[arg(short = 'x', long)]
    hex: bool,
    /// Record to a pcapng file; '-' is standard output
    #[arg(short, long, value_name = "FILE")]
    write: Option<PathBuf>,
    /// Start a new file when it reaches this size: 10MB
    #[arg(long, requires = "write", value_name = "SIZE", value_parser = parse_size)]
    rotate_size: Option<u64>,
    /// Start a new file after this time: 60s, 5m, 1h
    #[arg(long, requires = "write", value_name = "TIME", value_parser = parse_time)]
    rotate_time: Option<Duration>,
    /// Number of files to keep; older ones are deleted
    #[arg(long, requires = "write", value_name = "N")]
    files: Option<NonZeroU32>,
    /// Stop after this number of packets
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// Stop after this time: 10s
    #[arg(long = "for", value_name = "TIME", value_parser = parse_time)]
    duration: Option<Duration>,
    /// Keep this many bytes of each packet
    #[arg(short, long, value_name = "BYTES", default_value_t = SNAP_LEN, hide_default_value = true,
        value_parser = |text: &str| parse_length(text, SNAP_LEN))]
    snaplen: u32,
    /// Do not enable promiscuous mode
    #[arg(long)]
    no_promisc: bool,
    /// Print charts at the end in place of packets: rate, protocols, round-trip times, where packets die
    #[arg(long, conflicts_with_all = ["hex", "install_extcap", "list_interfaces"])]
    summary: bool,
    #[command(flatten)]
    pictures: Files,
    /// Register this program with Wireshark and tshark
    #[arg(long, conflicts_with_all = ["name", "interface", "read", "write", "list_interfaces"])]
    install_extcap: bool,
    #[command(flatten)]
    sandbox: SandboxArgs,
    #[command(flatten)]
    log: LogArgs,
}

/// `--mode`.
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum NewMode {
    /// Layer 3: IP packets
    #[default]
    Tun,
    /// Layer 2: Ethernet frames
    Tap,
}

/// The filter is invalid.
const FILTER: Entry = Entry {
    code: "ADIT-E0811",
    title: "invalid capture filter",
    explanation: "Filters have the syntax of pcap-filter(7). tcpdump compiles them and must be \
                  installed.",
    remedy: "",
};

/// The interface cannot be captured.
const SOURCE: Entry = Entry {
    code: "ADIT-E0813",
    title: "cannot capture from the interface",
    explanation: "Interfaces in use by other programs are captured through a packet socket, which \
                  needs CAP_NET_RAW and an interface that carries Ethernet or raw IP.",
    remedy: "Run it as root, or give the program the capability: 'setcap cap_net_raw,cap_net_admin+ep'.",
};

/// The codes of this subcommand.
pub(crate) const CATALOG: [Entry; 2] = [FILTER, SOURCE];

/// A capture whose arguments are valid.
struct Plan {
    wanted: Wanted,
    rotation: Rotation,
    filter: Option<Filter>,
}

impl Args {
    /// Reads a recording from here.
    pub(crate) fn read_from(&mut self, path: PathBuf) {
        self.read = Some(path);
    }

    /// Captures until a limit or a signal.
    pub(crate) fn run(self, context: &Context) -> Result<Exit> {
        if self.install_extcap {
            return install_extcap(context);
        }
        if self.list_interfaces {
            return list_interfaces(context);
        }
        if !self.summary && !self.pictures.is_empty() {
            return Err(Error::usage("--svg and --html need --summary"));
        }
        if let Some(path) = self.read.clone() {
            return self.replay(path, context);
        }
        let args = self.with_interface();
        let plan = args.plan()?;
        if context.is_rehearsal(&args.actions(&plan.wanted))? {
            return Ok(Exit::Ok);
        }
        args.capture(plan, &context.output)
    }

    /// Shows and records the packets of a file.
    fn replay(self, path: PathBuf, context: &Context) -> Result<Exit> {
        let mut actions = vec![format!("read '{}'", path.display())];
        actions.extend(self.write.iter().map(|path| format!("record to '{}'", path.display())));
        actions.extend(self.pictures.actions());
        // What is wrong with the arguments is reported first.
        self.rotation()?;
        if context.is_rehearsal(&actions)? {
            return Ok(Exit::Ok);
        }
        self.read_packets(path, &context.output)
    }

    fn read_packets(mut self, path: PathBuf, output: &Output) -> Result<Exit> {
        self.filter.splice(0..0, self.name.take());
        let (rotation, target) = (self.rotation()?, self.target());
        let pictures = self.pictures.open()?;
        let reading = Reading {
            signals: signals().map_err(|error| Error::io("catch", "signals", &error))?,
            lines: self.lines(output)?,
            charts: self.charts(),
            path: path.clone(),
            filter: self.filter,
            target: target.map(|target| (target, rotation)),
            snap_len: self.snaplen,
            count: self.count,
            duration: self.duration,
            sandbox: self.sandbox.level,
        };
        let (summary, charts, result) = reading.run();
        match result {
            Err(ReadError::Output(error)) if error.is_reader_gone() => Ok(Exit::BrokenPipe),
            Err(error) => Err(read_error(error)),
            Ok(()) => {
                output.note(summary);
                draw(charts, &path.display().to_string(), pictures, output)
            }
        }
    }

    /// Moves the interface of `-i` to its place; the first word belongs to the filter then.
    fn with_interface(mut self) -> Self {
        if let Some(interface) = self.interface.take() {
            self.filter.splice(0..0, self.name.replace(interface));
        }
        self
    }

    /// Checks the arguments against each other and compiles the filter.
    fn plan(&self) -> Result<Plan> {
        let wanted = self.wanted()?;
        let rotation = self.rotation()?;
        let link_type = Source::link_type_of(&wanted).map_err(open_error)?;
        let filter =
            Filter::compile(&self.filter, link_type, self.snaplen).map_err(filter_error)?;
        Ok(Plan { wanted, rotation, filter })
    }

    fn capture(self, plan: Plan, output: &Output) -> Result<Exit> {
        let Plan { wanted, rotation, filter } = plan;
        let events = self.log.begin(output, TargetId::CAPTURE, Json::None)?;
        let mut note = |text: String| events.note(text);
        let in_kernel = filter.as_ref().filter(|filter| filter.suits_the_kernel());
        let in_kernel = in_kernel.map(|filter| &filter.program);
        let source =
            Source::open(&wanted, !self.no_promisc, in_kernel, &mut note).map_err(open_error)?;
        let responder = self.responder(&source)?;
        let recorder = self.recorder(&source, rotation, filter.as_ref())?;
        // After the recording is open: while a pipe waits for its reader, Ctrl-C ends the program at once.
        let signals = signals().map_err(|error| Error::io("catch", "signals", &error))?;
        let mut introduction = format!("capturing from {}", source.describe());
        for (at, subnet) in responder.iter().flat_map(Responder::subnets).enumerate() {
            introduction.push_str(if at == 0 { "; answering for " } else { ", " });
            introduction.push_str(&subnet.to_string());
        }
        note(introduction);
        let outputs = Outputs {
            filter: filter.filter(|_| !source.is_filtered()),
            lines: self.lines(output)?,
            charts: self.charts(),
            recorder,
            snap_len: usize::try_from(self.snaplen).unwrap_or(usize::MAX),
            count: self.count,
            interface: (source.name().to_string(), source.link_type()),
        };
        let pictures = self.pictures.open()?;
        let mut needs = needs();
        if let (Some(Target::File(path)), true) = (self.target(), rotation.is_on()) {
            needs.writes_beside(&path);
        }
        if let Some(lacking) = sandbox::enter(self.sandbox.level, &needs)? {
            output.note(format_args!("warning: {lacking}"));
        }
        let name = outputs.interface.0.clone();
        let capture = Capture { signals, source, responder, duration: self.duration, outputs };
        events.start();
        let (summary, charts, result) = capture.run();
        events.note(summary);
        match result {
            Err(error) if error.is_reader_gone() => Ok(Exit::BrokenPipe),
            Err(error) => Err(end_error(&error)),
            Ok(()) => draw(charts, &name, pictures, output),
        }
    }

    fn charts(&self) -> Option<Box<Summary>> {
        self.summary.then(Box::default)
    }

    fn wanted(&self) -> Result<Wanted> {
        let name = self.name.as_deref().unwrap_or_default();
        let wrong = |error: adit_device::NameError| Error::usage(format!("'{name}': {error}"));
        if !self.create {
            return Ok(Wanted::Existing(name.parse().map_err(wrong)?));
        }
        let mode = match self.mode {
            NewMode::Tun => Mode::Tun,
            NewMode::Tap => Mode::Tap,
        };
        let addresses = self.addr.clone();
        Ok(Wanted::New { name: name.parse().map_err(wrong)?, mode, addresses })
    }

    fn rotation(&self) -> Result<Rotation> {
        let rotation =
            Rotation { size: self.rotate_size, time: self.rotate_time, files: self.files };
        let is_stdout = matches!(self.target(), Some(Target::Stdout));
        if is_stdout && (rotation.is_on() || rotation.files.is_some()) {
            return Err(Error::usage("cannot rotate standard output"));
        }
        if rotation.files.is_some() && !rotation.is_on() {
            return Err(Error::usage("--files needs --rotate-size or --rotate-time"));
        }
        Ok(rotation)
    }

    fn target(&self) -> Option<Target> {
        self.write.as_ref().map(|path| match path.to_str() {
            Some("-") => Target::Stdout,
            _ => Target::File(path.clone()),
        })
    }

    fn lines(&self, output: &Output) -> Result<Option<(Show, Sink)>> {
        let show = Show { json: output.json, tree: output.verbose > 0, bytes: self.hex };
        let wants_lines = !self.summary
            && match self.target() {
                None => true,
                Some(Target::File(_)) => show.json || show.tree || show.bytes,
                Some(Target::Stdout) => false,
            };
        let sink = wants_lines.then(|| Sink::stdout(whole_lines)).transpose()?;
        Ok(sink.map(|sink| (show, sink)))
    }

    fn responder(&self, source: &Source) -> Result<Option<Responder>> {
        if !self.reply {
            return Ok(None);
        }
        let Some((addresses, mac)) = source.own_addresses() else {
            return Err(Error::usage(format!(
                "--reply needs a TUN or TAP device that no other program holds, and {} is not one",
                source.name()
            ))
            .hint("Stop the program that holds the device, or create one with --create."));
        };
        let responder = Responder::new(source.link_type(), addresses, mac);
        if responder.subnets().next().is_none() {
            return Err(Error::usage(format!(
                "{} has no address and so no subnet to answer for",
                source.name()
            ))
            .hint(if self.create {
                "Add one: --addr 192.0.2.1/24.".to_owned()
            } else {
                format!("Add one: 'adit dev set {} --add-addr 192.0.2.1/24'.", source.name())
            }));
        }
        Ok(Some(responder))
    }

    fn recorder(
        &self,
        source: &Source,
        rotation: Rotation,
        filter: Option<&Filter>,
    ) -> Result<Option<Recorder>> {
        let Some(target) = self.target() else { return Ok(None) };
        let interface = pcapng::Interface {
            name: source.name().to_string(),
            link_type: source.link_type(),
            snap_len: self.snaplen,
            filter: filter.map(|filter| filter.expression.clone()),
        };
        let recorder = Recorder::open(&target, rotation, (writer(), interface), Now::read());
        recorder.map(Some).map_err(|error| record_error(&error).into())
    }

    /// For `--dry-run`.
    fn actions(&self, wanted: &Wanted) -> Vec<String> {
        let mut actions = Vec::new();
        match wanted {
            Wanted::Existing(name) => actions.push(format!("capture from {name}")),
            Wanted::New { name, mode, addresses } => {
                actions.push(format!("create {mode} device {name}"));
                actions.extend(addresses.iter().map(|address| format!("add address {address}")));
                actions.push("bring it up and capture from it".to_owned());
            }
        }
        if self.reply {
            actions.push("answer ARP, neighbor solicitations and ping in its subnets".to_owned());
        }
        if let Some(path) = &self.write {
            actions.push(format!("record to '{}'", path.display()));
        }
        actions
    }
}

/// An interface that can be captured.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(title = "adit capture --list-interfaces: an entry of the list")]
pub(crate) struct Capturable {
    ifname: String,
    /// What its packets begin with: `Ethernet`, or `IP` without a link header.
    link_type: &'static str,
    /// Whether it is up.
    up: bool,
}

fn list_interfaces(context: &Context) -> Result<Exit> {
    let failed = |error| Error::io("list", "the interfaces", &error);
    let links = Netlink::open().and_then(|mut netlink| netlink.links()).map_err(failed)?;
    let capturable = |link: &LinkInfo| {
        let link_type = match link_type_of_hardware(link.hardware_type)? {
            pcapng::LinkType::Ethernet => "Ethernet",
            pcapng::LinkType::Raw => "IP",
        };
        let up = link.flags.contains(LinkFlags::UP);
        Some(Capturable { ifname: link.name.to_string(), link_type, up })
    };
    let list: Vec<Capturable> = links.iter().filter_map(capturable).collect();
    if context.output.json {
        context.output.value(&list)?;
        return Ok(Exit::Ok);
    }
    let mut rows = vec![["NAME", "LINK", "STATE"].map(str::to_owned).to_vec()];
    rows.extend(list.into_iter().map(|one| {
        let state = if one.up { "up" } else { "down" };
        vec![one.ifname, one.link_type.to_owned(), state.to_owned()]
    }));
    for line in table(&rows) {
        context.output.line(line)?;
    }
    Ok(Exit::Ok)
}

fn install_extcap(context: &Context) -> Result<Exit> {
    let failed = |error| Error::io("link the program for", "Wireshark", &error);
    let program = std::env::current_exe()?;
    let link = extcap::link_path().map_err(failed)?;
    let action = format!("link {} to {}", link.display(), program.display());
    if context.is_rehearsal(&[action])? {
        return Ok(Exit::Ok);
    }
    adit_service::file::link(&program, &link).map_err(failed)?;
    context.output.line(link.display())?;
    Ok(Exit::Ok)
}

/// Serves a call by Wireshark. Errors are one line, which Wireshark shows to its user.
pub(crate) fn serve_wireshark(args: &[OsString]) -> Exit {
    let output = Output::new(false, false, Color::Never.streams(), true, 0);
    let served = extcap::parse(args).map_err(Error::usage).and_then(|call| serve(call, &output));
    match served {
        // Wireshark closes the pipe when it has read enough.
        Ok(_) | Err(Error { kind: Kind::BrokenPipe, .. }) => Exit::Ok,
        Err(error) => {
            output.error(&error.report);
            Exit::of(&error)
        }
    }
}

fn serve(call: Call, output: &Output) -> Result<Exit> {
    let text = match call {
        Call::Interfaces => {
            extcap::interfaces().map_err(|error| Error::io("list", "the devices", &error))?
        }
        Call::LinkTypes(interface) => extcap::link_types(link_type(interface)?),
        Call::Config(interface) => extcap::config(&interface),
        Call::CheckFilter(interface, filter) => {
            // Wireshark shows any output as the error in the filter.
            let result = Filter::compile(&[filter], link_type(interface)?, SNAP_LEN);
            result.err().map(|error| format!("{error}\n")).unwrap_or_default()
        }
        Call::Capture { interface, fifo, filter, address, reply } => {
            let args = extcap_args(interface, fifo, filter, address, reply)?;
            if let Some(path) = args.read.clone() {
                return args.read_packets(path, output);
            }
            let plan = args.plan()?;
            return args.capture(plan, output);
        }
    };
    output.bytes(text.as_bytes())?;
    Ok(Exit::Ok)
}

fn link_type(interface: Interface) -> Result<pcapng::LinkType> {
    Source::link_type_of(&match interface {
        // The interfaces of a lab carry frames.
        Interface::Lab { .. } => return Ok(pcapng::LinkType::Ethernet),
        Interface::Existing(name) => Wanted::Existing(name),
        Interface::New(mode) => {
            Wanted::New { name: adit_device::NamePattern::KERNEL, mode, addresses: Vec::new() }
        }
    })
    .map_err(open_error)
}

fn extcap_args(
    interface: Interface,
    fifo: PathBuf,
    filter: String,
    address: Option<String>,
    reply: bool,
) -> Result<Args> {
    let mut read = None;
    let (name, create, mode) = match interface {
        Interface::Lab { lab, link } => {
            let client = Client::named(lab.parse().map_err(Error::usage)?, LAB)?;
            match lab::find(&client, &link)?.begin(&client)? {
                lab::Source::Interface(interface) => {
                    (Some(interface.to_string()), false, NewMode::Tun)
                }
                lab::Source::Pipe(path) => {
                    read = Some(path);
                    (None, false, NewMode::Tun)
                }
            }
        }
        Interface::Existing(name) => (Some(name.to_string()), false, NewMode::Tun),
        Interface::New(Mode::Tun) => (Some("tun%d".to_owned()), true, NewMode::Tun),
        Interface::New(Mode::Tap) => (Some("tap%d".to_owned()), true, NewMode::Tap),
    };
    let addr = address.map(|text| {
        text.trim().parse().map_err(|error| Error::usage(format!("'{text}': {error}")))
    });
    Ok(Args {
        sandbox: SandboxArgs::default(),
        name,
        filter: vec![filter],
        interface: None,
        read,
        list_interfaces: false,
        create,
        mode,
        addr: addr.transpose()?.into_iter().collect(),
        reply,
        hex: false,
        write: Some(fifo),
        rotate_size: None,
        rotate_time: None,
        files: None,
        count: None,
        duration: None,
        snaplen: SNAP_LEN,
        no_promisc: false,
        summary: false,
        pictures: Files::default(),
        install_extcap: false,
        log: LogArgs::default(),
    })
}

fn filter_error(error: CompileError) -> Error {
    let hint = error.hint();
    let message = match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    };
    Error::new(Kind::Usage, &FILTER, message).hint(hint)
}

fn open_error(error: OpenError) -> Error {
    match error {
        OpenError::Device(error) => error.into(),
        OpenError::Socket { name, source } => {
            let hint = SOURCE.remedy;
            let mut new = Error::io("open a packet socket on", name, &source);
            new.report.code = SOURCE.code.to_owned();
            if new.kind == Kind::Permission { new.hint(hint) } else { new }
        }
        OpenError::LinkType { .. } => Error::new(Kind::Conflict, &SOURCE, &error)
            .hint("Capture from the interface below or above it instead."),
    }
}

fn read_error(error: ReadError) -> Error {
    match error {
        ReadError::File(path, error) => Error::io("read", path.display(), &error),
        ReadError::Filter(error) => filter_error(error),
        ReadError::Sandbox(error) => error,
        ReadError::TwoLinkTypes => {
            Error::usage("the file has Ethernet frames and packets without Ethernet headers")
                .hint("A recording of adit has one of them. Omit -w to show both.")
        }
        ReadError::Output(error) => end_error(&error),
    }
}

fn end_error(error: &EndError) -> Error {
    match error {
        EndError::Record(error) => record_error(error).into(),
        EndError::Gone(fate) => {
            let hint = match fate {
                Fate::Moved => {
                    "Find it: 'ip netns'. Capture it there: 'adit -n NAMESPACE capture'."
                }
                _ => "The packets up to that moment were captured.",
            };
            Error::new(Kind::NotFound, &SOURCE, error).hint(hint)
        }
        EndError::Show(source) => source_error("write to", "standard output", source),
        EndError::System(source) => source_error("wait for", "packets", source),
    }
}

fn source_error(what: &str, object: &str, source: &io::Error) -> Error {
    Error::io(what, object, source)
}
