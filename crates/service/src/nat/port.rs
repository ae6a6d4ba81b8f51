//! `nat`: the NAT as a port of a switch or a link: the way out of a whole network.
//!
//! Its hosts get addresses by DHCP, DHCPv6 and router advertisements, and names from the name server inside.

use crate::nat::model::FlowPage;
use crate::nat::own_addresses;
use crate::nat::resolvers::{INTERVAL, Resolvers};
use crate::nat::wanted::WantedNat;
use crate::netem::profile::Profiles;
use crate::sandbox::Needs;
use crate::supervisor::seed;
use adit_device::Mode;
use adit_device::netlink::OwnAddresses;
use adit_engine::PortId;
use adit_engine::netem::{Profile, Rate};
use adit_nat::dns::{self, Name};
use adit_nat::{Access, Config, Gateway, InsideAddresses, UdpFiltering};
use adit_packet::units::Bitrate;
use adit_packet::{Layer, Pool, PoolConfig};
use adit_runtime::error::{Error, Result};
use adit_runtime::port::kind::{Argument, Key, Parsed, PortOptions};
use adit_runtime::text::words::{SpecError, Words};
use adit_runtime::{
    Event, Handler, Interest, Kind, Nested, Next, Opened, Port, Remote, Runner, Token,
};
use std::any::Any;
use std::fmt::Display;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

/// `nat`: a way out.
pub static NAT: Kind = Kind {
    prefix: "nat",
    argument: "",
    help: "a way out through sockets of this host, with DHCP, router advertisements and DNS",
    keys: &[
        Key::new("network", "PREFIX+PREFIX", "the networks inside: 10.0.2.0/24+fd00::/64"),
        Key::new("mtu", "BYTES", "the IP MTU that hosts are given"),
        Key::new("udp-nat", "apdf|eif", "which datagrams come in"),
        Key::new("allow-host", "PORT+PORT", "ports of the host's loopback, at the gateway"),
        Key::new("allow", "PREFIX+PREFIX", "destinations that are reached, whatever denies them"),
        Key::new("deny", "PREFIX+PREFIX", "destinations that are refused: 10.0.0.0/8+any:25"),
        Key::new("rate", "RATE", "the rate of the way out in each direction"),
        Key::new("source-rate", "RATE", "the rate of each host in each direction"),
        Key::new("flow-limit", "COUNT", "the most flows of each host"),
        Key::new("flow-rate", "COUNT", "the most flows that each host begins in a second"),
        Key::new("dns", "IP+IP", "the name servers that are asked, instead of the host's"),
        Key::new("host", "NAME=IP+NAME=IP", "names that the name server answers itself"),
    ],
    parse,
};

/// What `nat` asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NatSpec {
    /// The networks inside.
    pub inside: InsideAddresses,
    /// The IP MTU.
    pub mtu: u16,
    /// Which datagrams come in.
    pub udp: UdpFiltering,
    /// What the inside reaches, and how much of it.
    pub access: Access,
    /// The rate of the way out, in each direction.
    pub rate: Option<Bitrate>,
    /// The name servers that are asked; `None`: those of the host.
    pub dns: Option<Vec<SocketAddr>>,
    /// Names that the name server answers itself.
    pub hosts: Vec<(Name, IpAddr)>,
}

/// The MTU unless another one is given: that of Ethernet.
const MTU: u16 = 1500;

/// The way to the network, among the ports of the NAT.
const INSIDE: PortId = PortId(0);

fn parse(_: Argument<'_>, words: &mut Words) -> Parsed {
    let inside = read(words, "network", |text| {
        InsideAddresses::of_guests(&list(text, |text| number("a network", text))?)
    })?;
    let udp = read(words, "udp-nat", |text| match text {
        "apdf" => Ok(UdpFiltering::AddressAndPortDependent),
        "eif" => Ok(UdpFiltering::EndpointIndependent),
        _ => Err("it must be apdf or eif"),
    })?;
    let mtu = read(words, "mtu", |text| match number("an MTU in bytes", text)? {
        mtu if mtu >= Config::MTU_MIN => Ok(mtu),
        _ => Err(format!("the MTU is at least {}", Config::MTU_MIN)),
    })?;
    let ports = read(words, "allow-host", |text| list(text, |text| number("a port", text)))?;
    let access = Access {
        allow_host: ports.unwrap_or_default(),
        allow: read(words, "allow", |text| list(text, str::parse))?.unwrap_or_default(),
        deny: read(words, "deny", |text| list(text, str::parse))?.unwrap_or_default(),
        flow_limit: read(words, "flow-limit", Access::parse_count)?,
        flow_rate: read(words, "flow-rate", Access::parse_count)?,
        source_rate: read(words, "source-rate", Access::parse_rate)?,
    };
    Ok(Box::new(NatSpec {
        inside: inside.map_or_else(|| InsideAddresses::of_guests(&[]), Ok).map_err(at_start)?,
        mtu: mtu.unwrap_or(MTU),
        udp: udp.unwrap_or_default(),
        access,
        rate: read(words, "rate", Access::parse_rate)?,
        dns: read(words, "dns", |text| list(text, dns::parse_server))?,
        hosts: read(words, "host", |text| list(text, dns::parse_host))?.unwrap_or_default(),
    }))
}

fn at_start(why: String) -> SpecError {
    SpecError::new(0, why)
}

/// The value of a key, if the key is there.
fn read<T, E: Display>(
    words: &mut Words,
    key: &str,
    parse: impl FnOnce(&str) -> Result<T, E>,
) -> Result<Option<T>, SpecError> {
    let value = words.take(key)?;
    let parse = |(at, text): (usize, String)| {
        parse(&text).map_err(|why| SpecError::new(at, why.to_string()))
    };
    value.map(parse).transpose()
}

/// What stands between plus signs.
fn list<T, E>(text: &str, parse: impl Fn(&str) -> Result<T, E>) -> Result<Vec<T>, E> {
    text.split('+').map(parse).collect()
}

/// A value of std's; `what` says what it must be.
fn number<T: FromStr<Err: Display>>(what: &str, text: &str) -> Result<T, String> {
    text.parse().map_err(|error| format!("'{text}' is not {what}: {error}"))
}

/// The flows of a port after a place, if it is a NAT.
pub(crate) fn flows_of(port: &dyn Port, after: &str) -> Option<crate::error::Result<FlowPage>> {
    let nat: &Nested<Gateway, Owner> = (port as &dyn Any).downcast_ref()?;
    Some(FlowPage::after(nat.runner(), after))
}

impl NatSpec {
    fn wanted(&self) -> crate::error::Result<WantedNat> {
        Ok(WantedNat {
            inside: self.inside,
            mode: Mode::Tap,
            mtu: self.mtu,
            udp: self.udp,
            access: self.access.clone(),
            dns: self.dns.clone(),
            names: self.hosts.clone(),
            ..WantedNat::usual()?
        })
    }
}

/// The same failure, as ports have it.
fn into_port_error(error: crate::error::Error) -> Error {
    let report = error.report;
    let new = Error::usage(report.message);
    report.hint.into_iter().fold(new, Error::hint)
}

impl PortOptions for NatSpec {
    fn open(&self) -> Result<Opened> {
        require_sockets()?;
        let wanted = self.wanted().map_err(into_port_error)?;
        let io = |error| Error::io("start", "the NAT", &error);
        let own_addresses = own_addresses::open().map_err(into_port_error)?;
        let mut gateway = wanted.engine(own_addresses.list()).map_err(into_port_error)?;
        let guests = wanted.guests().map_err(into_port_error)?;
        gateway.add_guests(INSIDE, guests).map_err(Error::usage)?;
        let mut runner = Runner::new(gateway, Pool::new(PoolConfig::default())).map_err(io)?;
        let readable = Interest { readable: true, writable: false };
        runner.watch(&own_addresses, ADDRESSES, readable).map_err(io)?;
        let life = Arc::new(());
        if self.dns.is_none() {
            let remote = runner.remote().map_err(io)?;
            follow(remote, Arc::downgrade(&life), wanted.resolvers.clone()).map_err(io)?;
        }
        let owner = Owner { own_addresses, wanted, _life: life };
        let mtu = Some(self.mtu.into());
        let mut port = Nested::new("nat", mtu, runner, INSIDE, owner).map_err(io)?;
        if let Some(rate) = self.rate {
            let one = Profile { rate: Rate::Fixed(rate), ..Profile::default() };
            let both = Profiles { a_to_b: one.clone(), b_to_a: one };
            let links = seed().and_then(|seed| both.links(Layer::Frame, seed));
            port.runner_and_handler().0.set_netem(INSIDE, links.map_err(into_port_error)?);
        }
        Ok(Opened::port(port))
    }

    /// It opens sockets with the rights of the program.
    fn needs_owner(&self) -> bool {
        true
    }
}

/// The system calls by which another one is opened while the program runs.
const SYSCALLS: &[&str] = &["epoll_create1", "eventfd2", "timerfd_create"];

/// Whether a port is a NAT.
#[must_use]
pub fn is_nat(spec: &adit_runtime::PortSpec) -> bool {
    spec.options::<NatSpec>().is_some()
}

/// Whether the sandbox of this process forbids the sockets of a NAT.
static IS_FORBIDDEN: AtomicBool = AtomicBool::new(false);

/// Refuses to open one from now on: the process is entering a sandbox without what [`add_needs`] adds.
pub fn forbid() {
    IS_FORBIDDEN.store(true, Ordering::Relaxed);
}

/// Checks that one may be opened.
///
/// # Errors
/// Another one is forbidden: [`forbid`].
pub fn require_sockets() -> Result<()> {
    if !IS_FORBIDDEN.load(Ordering::Relaxed) {
        return Ok(());
    }
    let message = "the sandbox of the running program has no sockets for a NAT";
    Err(Error::usage(message).hint("Start it with a NAT, or with `--sandbox off`."))
}

/// Adds what a NAT among the ports of a program needs: sockets to the outside.
pub fn add_needs(needs: &mut Needs) {
    needs.tcp = true;
    needs.syscalls.extend([adit_runtime::FLOW_SYSCALLS, SYSCALLS]);
}

/// The host's addresses have changed.
const ADDRESSES: Token = Token(0);

/// The owner of the NAT behind the port.
#[derive(Debug)]
struct Owner {
    own_addresses: OwnAddresses,
    wanted: WantedNat,
    /// The name servers are followed while this is there.
    _life: Arc<()>,
}

impl Handler<Gateway> for Owner {
    fn event(&mut self, runner: &mut Runner<Gateway>, event: Event) -> Next {
        if matches!(event, Event::Ready(ADDRESSES)) {
            // Those that are known stay out of reach.
            let _ = own_addresses::update(&mut self.own_addresses, runner, &self.wanted);
        }
        Next::Continue
    }
}

/// Follows the host's name servers, on a thread of its own, until the port has gone. The thread starts with the first turn
/// of the loop: one of before the process gives its rights up would keep them.
///
/// # Errors
/// The loop has ended.
pub fn follow(
    remote: Remote<Runner<Gateway>>,
    life: Weak<()>,
    mut known: Resolvers,
) -> std::io::Result<()> {
    let from = remote.clone();
    let follow = move || {
        while life.strong_count() > 0 {
            if let Some(new) = Resolvers::changed(&known) {
                let changed = new.clone();
                let posted = remote.post(move |runner: &mut Runner<Gateway>| {
                    runner.engine_mut().set_name_servers(changed.servers.iter().copied());
                    changed.search_at(runner.engine_mut());
                });
                // If the loop is busy, later.
                if posted.is_ok() {
                    known = new;
                }
            }
            std::thread::sleep(INTERVAL);
        }
    };
    let thread = std::thread::Builder::new().name("resolv.conf".to_owned());
    let start = move |_: &mut Runner<Gateway>| {
        if let Err(error) = thread.spawn(follow) {
            tracing::warn!("cannot follow the name servers of the host: {error}");
        }
    };
    from.post(start).map_err(std::io::Error::other)
}
