//! `nat`: the NAT as a port of a switch or a link: the way out of a whole network.
//!
//! Its hosts get addresses by DHCP, DHCPv6 and router advertisements, and names from the name server inside.

use crate::nat::own_addresses::OwnAddresses;
use crate::nat::resolvers::{INTERVAL, Resolvers};
use crate::nat::wanted::{Inside, WantedNat};
use adit_device::Mode;
use adit_engine::PortId;
use adit_nat::{Config, Gateway, UdpFiltering, dns};
use adit_packet::{Pool, PoolConfig};
use adit_runtime::error::{Error, Result};
use adit_runtime::port::kind::{Argument, Key, Parsed, PortOptions};
use adit_runtime::text::words::{SpecError, Words, parsed};
use adit_runtime::{Event, Handler, Interest, Kind, Nested, Next, Opened, Remote, Runner, Token};
use std::fmt::Display;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
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
        Key::new("dns", "IP+IP", "the name servers that are asked, instead of the host's"),
    ],
    parse,
};

/// What `nat` asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NatSpec {
    /// The networks inside.
    pub inside: Inside,
    /// The IP MTU.
    pub mtu: u16,
    /// Which datagrams come in.
    pub udp: UdpFiltering,
    /// Ports of the host's loopback that the inside reaches at the NAT's address.
    pub allow_host: Vec<u16>,
    /// The name servers that are asked; `None`: those of the host.
    pub dns: Option<Vec<IpAddr>>,
}

/// The MTU unless another one is given: that of Ethernet.
const MTU: u16 = 1500;

/// The way to the network, among the ports of the NAT.
const INSIDE: PortId = PortId(0);

fn parse(_: Argument<'_>, words: &mut Words) -> Parsed {
    let (at, networks) = match words.take("network")? {
        None => (0, Vec::new()),
        Some((at, text)) => (at, list(at, "a network", &text)?),
    };
    let inside = Inside::of_guests(&networks).map_err(|why| SpecError::new(at, why))?;
    let udp = match words.take("udp-nat")? {
        None => UdpFiltering::default(),
        Some((at, text)) => match text.as_str() {
            "apdf" => UdpFiltering::AddressAndPortDependent,
            "eif" => UdpFiltering::EndpointIndependent,
            _ => return Err(SpecError::new(at, "it must be apdf or eif")),
        },
    };
    let mtu = match words.take("mtu")? {
        None => MTU,
        Some((at, text)) => match parsed(at, "an MTU in bytes", &text)? {
            mtu if mtu >= Config::MTU_MIN => mtu,
            _ => {
                return Err(SpecError::new(at, format!("the MTU is at least {}", Config::MTU_MIN)));
            }
        },
    };
    let ports = words.take("allow-host")?;
    let dns = words.take("dns")?;
    Ok(Box::new(NatSpec {
        inside,
        mtu,
        udp,
        allow_host: ports.map_or(Ok(Vec::new()), |(at, text)| list(at, "a port", &text))?,
        dns: dns.map(|(at, text)| list(at, "the address of a name server", &text)).transpose()?,
    }))
}

/// What stands between plus signs.
fn list<T: FromStr<Err: Display>>(at: usize, what: &str, text: &str) -> Result<Vec<T>, SpecError> {
    text.split('+').map(|part| parsed(at, what, part)).collect()
}

impl NatSpec {
    fn wanted(&self) -> crate::error::Result<WantedNat> {
        let dns = self.dns.as_ref();
        Ok(WantedNat {
            inside: self.inside,
            mode: Mode::Tap,
            mtu: self.mtu,
            udp: self.udp,
            allow_host: self.allow_host.clone(),
            dns: dns.map(|list| list.iter().map(|&ip| SocketAddr::new(ip, dns::PORT)).collect()),
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
        let wanted = self.wanted().map_err(into_port_error)?;
        let io = |error| Error::io("start", "the NAT", &error);
        let own_addresses = OwnAddresses::new().map_err(into_port_error)?;
        let mut gateway = wanted.engine(own_addresses.list()).map_err(into_port_error)?;
        let guests = wanted.guests().map_err(into_port_error)?;
        gateway.add_guests(INSIDE, guests).map_err(Error::usage)?;
        let mut runner = Runner::new(gateway, Pool::new(PoolConfig::default())).map_err(io)?;
        let readable = Interest { readable: true, writable: false };
        runner.watch(&own_addresses, ADDRESSES, readable).map_err(io)?;
        let life = Arc::new(());
        if self.dns.is_none() {
            let remote = runner.remote().map_err(io)?;
            follow(remote, Arc::downgrade(&life), wanted.resolvers.servers.clone()).map_err(io)?;
        }
        let owner = Owner { own_addresses, wanted, _life: life };
        let mtu = Some(self.mtu.into());
        Ok(Opened::port(Nested::new("nat", mtu, runner, INSIDE, owner).map_err(io)?))
    }

    /// It opens sockets with the rights of the program.
    fn needs_owner(&self) -> bool {
        true
    }
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
            let _ = self.own_addresses.update(runner, &self.wanted);
        }
        Next::Continue
    }
}

/// Follows the host's name servers, on a thread of its own, until the port has gone.
///
/// # Errors
/// EAGAIN: no thread can be started.
pub fn follow(
    remote: Remote<Runner<Gateway>>,
    life: Weak<()>,
    mut known: Vec<SocketAddr>,
) -> std::io::Result<()> {
    let thread = std::thread::Builder::new().name("resolv.conf".to_owned());
    let follow = move || {
        while life.strong_count() > 0 {
            if let Some(servers) = Resolvers::changed(&known) {
                let new = servers.clone();
                let posted = remote.post(move |runner: &mut Runner<Gateway>| {
                    runner.engine_mut().set_name_servers(new);
                });
                // If the loop is busy, later.
                if posted.is_ok() {
                    known = servers;
                }
            }
            std::thread::sleep(INTERVAL);
        }
    };
    thread.spawn(follow).map(drop)
}
