//! A namespace's way out as other programs offer it: slirp4netns.
//!
//! ```text
//! caller's network namespace                  the namespace
//! adit: Gateway -- sockets of the host          TUN device, addresses, routes
//!        '---- queue ------------------------>
//! ```
//!
//! The program reports that it is ready by a descriptor, and ends by another one, with the namespace, and by
//! a signal. It runs as root of a user namespace as well as without any privilege.
//!
//! What the other program reaches is reached: also the host's addresses and link-local ones. The host's loopback
//! is reached only at the gateway, and not at all if the command line says so.

mod api;
mod end;
mod wanted;

pub use wanted::{Network, Wanted};

use adit_device::netlink::{Address, AddressFlags, Route};
use adit_device::{Mode, take_inherited};
use adit_engine::PortId;
use adit_nat::dns::{Forwarder, OwnNames};
use adit_nat::{Config, Gateway, Nat, Policy, Rule};
use adit_packet::{IpPrefix, Pool, PoolConfig};
use adit_runtime::port::kinds::device::DevicePort;
use adit_runtime::{Event, Handler, Interest, Next, Runner, Signal, Signals, Token};
use adit_service::error::{Error, Kind, Result, SYSTEM};
use adit_service::namespace::attach::{Interface, attach};
use adit_service::nat::resolvers::Resolvers;
use adit_service::sandbox::{self, Needs};
use api::{Api, CLIENTS_MAX, Step};
use end::{End, is_hung_up};
use std::io;
use std::net::IpAddr;
use std::os::fd::{OwnedFd, RawFd};
use std::time::Duration;

/// The device.
const INSIDE: PortId = PortId(0);

const NAMESPACE: Token = Token(1);
const EXIT: Token = Token(2);
const API: Token = Token(3);
const FIRST_CLIENT: u32 = 4;

const READABLE: Interest = Interest { readable: true, writable: false };

/// How long a port may take until it is looked at again.
const RETRY: Duration = Duration::from_millis(1);

/// All ports.
const ALL_PORTS: std::ops::RangeInclusive<u16> = 0..=u16::MAX;

/// Destinations that are denied by default and that other programs reach: link-local addresses and metadata.
const REACHED: [&str; 3] = ["169.254.0.0/16", "100.100.100.200/32", "fd00:ec2::254/128"];

impl Wanted {
    /// Runs until the namespace, the caller or a signal ends it. `note` takes what is good to know.
    ///
    /// # Errors
    /// What failed before it was ready; the end of the device.
    pub fn run(&self, note: impl Fn(&str)) -> Result<()> {
        // First of all: what this process opens could get their numbers if they are not open.
        let ready = inherited(self.ready)?;
        let exit = inherited(self.exit)?;
        let target = self.target.to_string();
        let gone = |error: io::Error| Error::io("watch", format!("namespace '{target}'"), &error);
        let end = End::of(&self.target).map_err(gone)?;
        let device = attach(&self.target, &self.interface())?;
        let failed = |error: io::Error| Error::io("start", "the loop", &error);
        let engine = self.engine()?;
        let mut runner = Runner::new(engine, Pool::new(PoolConfig::default())).map_err(failed)?;
        runner.attach(INSIDE, Box::new(DevicePort::new(device)?)).map_err(failed)?;
        runner.watch_signals(Signals::new().map_err(failed)?).map_err(failed)?;
        runner.watch(&end, NAMESPACE, READABLE).map_err(failed)?;
        if let Some(exit) = &exit {
            runner.watch(exit, EXIT, READABLE).map_err(failed)?;
        }
        let api = self.api_socket.as_ref().map(|path| {
            let devices: Vec<IpPrefix> = self.networks.iter().map(|one| one.device).collect();
            let api = Api::listen(path, &devices, INSIDE)
                .map_err(|error| Error::io("listen on", path.display(), &error))?;
            runner.watch(&api, API, READABLE).map_err(failed)?;
            Ok::<_, Error>(api)
        });
        let api = api.transpose()?;
        let needs = Needs { syscalls: adit_runtime::syscalls().collect(), ..Needs::default() };
        if let Some(lacking) = sandbox::enter(self.sandbox, &needs)? {
            note(&lacking);
        }
        if let Some(ready) = ready {
            rustix::io::write(&ready, b"1")
                .map_err(|errno| Error::io("write to", "the ready descriptor", &errno.into()))?;
        }
        let mut owner = Owner { end, exit, api, failure: None };
        runner.run(&mut owner).map_err(|error| Error::io("run", "the loop", &error))?;
        owner.failure.map_or(Ok(()), Err)
    }

    fn interface(&self) -> Interface {
        let address = |network: &Network| Address {
            // Nobody else is on the link: duplicate address detection would only delay the first packet.
            flags: if network.gateway.is_ipv6() {
                AddressFlags::NODAD
            } else {
                AddressFlags::empty()
            },
            ..Address::new(network.device)
        };
        let route = |network: &Network| Route {
            gateway: Some(network.gateway),
            ..Route::new(if network.gateway.is_ipv4() {
                IpPrefix::ALL_V4
            } else {
                IpPrefix::ALL_V6
            })
        };
        Interface {
            name: self.device,
            mode: Mode::Tun,
            addresses: self.networks.iter().map(address).collect(),
            routes: self.networks.iter().map(route).collect(),
            mtu: Some(self.mtu.into()),
            mac: None,
        }
    }

    /// The NAT, and the name server that asks those of the host.
    fn engine(&self) -> Result<Gateway> {
        let own = self.networks.iter().filter_map(|network| network.name_server).collect();
        let forwarder = Forwarder::new(OwnNames::new(), random()?);
        let mut gateway = Gateway::new(Nat::new(self.config()?), forwarder, own);
        gateway.set_name_servers(Resolvers::of_host().servers);
        Ok(gateway)
    }

    fn config(&self) -> Result<Config> {
        let mut config = Config::new(random()?);
        config.inside = self.networks.iter().map(|network| network.device.network()).collect();
        for network in &self.networks {
            match network.gateway {
                IpAddr::V4(ip) => config.gateway_v4 = Some(ip),
                IpAddr::V6(ip) => config.gateway_v6 = Some(ip),
            }
        }
        config.mtu = self.mtu.max(Config::MTU_MIN);
        config.policy = self.policy();
        Ok(config)
    }

    fn policy(&self) -> Policy {
        let mut policy = Policy::default();
        let reached = REACHED.iter().filter_map(|text| text.parse().ok());
        policy.rules = reached.map(|to| Rule { allows: true, to, ports: ALL_PORTS }).collect();
        for network in &self.networks {
            if self.host_loopback {
                policy.allow_host(network.gateway, ALL_PORTS);
            }
        }
        policy
    }
}

fn random<const LEN: usize>() -> Result<[u8; LEN]> {
    let mut bytes = [0; LEN];
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())
        .map_err(|errno| Error::io("read", "random bytes", &errno.into()))?;
    Ok(bytes)
}

fn inherited(number: Option<RawFd>) -> Result<Option<OwnedFd>> {
    let Some(number) = number else { return Ok(None) };
    let taken = take_inherited(number);
    taken.map(Some).map_err(|error| Error::io("take", format!("descriptor {number}"), &error))
}

struct Owner {
    end: End,
    exit: Option<OwnedFd>,
    api: Option<Api>,
    failure: Option<Error>,
}

impl Owner {
    fn accept(&mut self, runner: &Runner<Gateway>) {
        if let Some((number, client)) = self.api.as_mut().and_then(Api::accept)
            && let Ok(number) = u32::try_from(number)
        {
            // It is closed with the next clients, if it cannot be watched.
            let _ = runner.watch(client, Token(FIRST_CLIENT + number), READABLE);
        }
    }

    fn serve(&mut self, client: u32, runner: &mut Runner<Gateway>) {
        let (engine, now, out) = runner.engine_and_outbox();
        let (Some(api), Ok(number)) = (&mut self.api, usize::try_from(client)) else { return };
        if number < CLIENTS_MAX && api.read(number, engine, now, out) == Step::Served {
            // The runtime opens the port at the end of this turn.
            runner.set_alarm(Some(now));
        }
    }

    fn settle(&mut self, runner: &mut Runner<Gateway>) {
        let Some(api) = &mut self.api else { return };
        let (engine, now, out) = runner.engine_and_outbox();
        api.settle(engine, now, out);
        if api.is_opening() {
            runner.set_alarm(Some(now + RETRY));
        }
    }
}

impl Handler<Gateway> for Owner {
    fn event(&mut self, runner: &mut Runner<Gateway>, event: Event) -> Next {
        let is_over = match event {
            Event::Signal(Signal::Terminate | Signal::Interrupt) => true,
            Event::Ready(NAMESPACE) => self.end.is_here(),
            Event::Ready(EXIT) => self.exit.as_ref().is_some_and(is_hung_up),
            Event::PortGone { why, .. } => {
                self.failure = Some(Error::new(
                    Kind::Refused,
                    &SYSTEM,
                    format!("the device in the namespace has ended: {why}"),
                ));
                true
            }
            Event::Ready(API) => {
                self.accept(runner);
                false
            }
            Event::Ready(Token(token)) => {
                self.serve(token.saturating_sub(FIRST_CLIENT), runner);
                false
            }
            Event::Alarm => {
                self.settle(runner);
                false
            }
            _ => false,
        };
        if is_over { Next::Stop } else { Next::Continue }
    }
}
