//! The NAT as a service: a network namespace reaches the outside through sockets of this process.

pub mod attach;
pub mod model;
mod own_addresses;
pub mod resolvers;
pub mod wanted;

use crate::control::http::{Method, Request};
use crate::control::name::folder;
use crate::control::server::{self, Reply};
use crate::error::{Error, Kind, Result, SYSTEM};
use crate::event::Events;
use crate::namespace::life::Life;
use crate::nat::model::{Flow, Nat as Report};
use crate::nat::own_addresses::OwnAddresses;
use crate::nat::resolvers::Follower;
use crate::nat::wanted::WantedNat;
use crate::sandbox::Needs;
use crate::supervisor::{Answer, FIRST_TOKEN, Job, Progress, Service, TICK, Trigger, seed, value};
use adit_device::Device;
use adit_engine::netem::{Link, Seed};
use adit_engine::{PortId, Transport};
use adit_nat::{FlowRow, Gateway};
use adit_packet::{Instant, Pool, PoolConfig};
use adit_runtime::port::kinds::device::DevicePort;
use adit_runtime::port::recorded::Recording;
use adit_runtime::{Event as LoopEvent, Interest, Next, Port, PortNetem, Runner, Token};
use serde_json::Value;
use std::io;
use std::net::IpAddr;

/// The device.
const INSIDE: PortId = PortId(0);

/// What changes on the host.
const MONITOR: Token = Token(FIRST_TOKEN);

/// The end of the namespace.
const NAMESPACE: Token = Token(FIRST_TOKEN + 1);

/// The host's name servers have changed.
const RESOLVERS: Token = Token(FIRST_TOKEN + 2);

/// What a NAT still needs once it runs: to remove its control socket.
#[must_use]
pub fn needs() -> Needs {
    let mut needs = Needs { writable: vec![folder()], ..Needs::default() };
    needs.syscalls.extend(adit_runtime::syscalls());
    needs.syscalls.push(server::SYSCALLS);
    needs
}

/// A running NAT.
#[derive(Debug)]
pub struct NatService {
    name: String,
    events: Events,
    wanted: WantedNat,
    own_addresses: OwnAddresses,
    follower: Option<Follower>,
    /// The end of the namespace, unless that is the command's.
    life: Option<Life>,
    /// Why it ended, if nobody asked for it.
    failure: Option<Error>,
}

impl NatService {
    /// A NAT on a device that [`WantedNat::interface`] describes, and its loop.
    ///
    /// # Errors
    /// EMFILE; the file of the recording; settings of the emulated link that exclude each other.
    pub fn start(
        name: String,
        wanted: WantedNat,
        device: Device,
        life: Option<Life>,
        follower: Option<Follower>,
        events: Events,
    ) -> Result<(Runner<Gateway>, Self)> {
        let failed = |error: io::Error| Error::io("start", "the loop", &error);
        let own_addresses = OwnAddresses::new()?;
        let engine = wanted.engine(own_addresses.list())?;
        let mut runner = Runner::new(engine, Pool::new(PoolConfig::default())).map_err(failed)?;
        let readable = Interest { readable: true, writable: false };
        if let Some(life) = &life {
            runner.watch(life, NAMESPACE, readable).map_err(failed)?;
        }
        let mut port: Box<dyn Port> = Box::new(DevicePort::new(device)?);
        if let Some(path) = &wanted.capture {
            port = Recording::packets(path, port.name())?.of(port);
        }
        runner.attach(INSIDE, port).map_err(failed)?;
        if let Some(profiles) = &wanted.netem {
            let seed = Seed::new(seed()?);
            let link = |profile, number| {
                let link = Link::new(profile, seed.direction(number));
                link.map(Box::new).map(Some).map_err(Error::usage)
            };
            let (ingress, egress) = (link(&profiles.a_to_b, 0)?, link(&profiles.b_to_a, 1)?);
            runner.set_netem(INSIDE, PortNetem { ingress, egress });
        }
        runner.watch(&own_addresses, MONITOR, readable).map_err(failed)?;
        if let Some(follower) = &follower {
            runner.watch(follower, RESOLVERS, readable).map_err(failed)?;
        }
        runner.set_alarm(Some(runner.now() + TICK));
        let new = Self { name, events, wanted, own_addresses, follower, life, failure: None };
        Ok((runner, new))
    }

    /// Closes the device and the recording; returns why the NAT ended, if nobody asked for it.
    pub fn end(mut self, runner: &mut Runner<Gateway>) -> Option<Error> {
        runner.detach(INSIDE);
        self.failure.take()
    }

    /// The host's addresses have changed: they stay out of reach for the inside.
    fn addresses_changed(&mut self, runner: &mut Runner<Gateway>) {
        match self.own_addresses.read() {
            Ok(true) => {
                let policy = self.wanted.policy(self.own_addresses.list());
                runner.engine_mut().set_policy(policy);
            }
            Ok(false) => {}
            Err(error) => {
                // It would be ready forever.
                runner.unwatch(&self.own_addresses);
                self.events.note(format!("the host's addresses are not followed: {error}"));
            }
        }
    }

    /// The host's name servers have changed.
    fn resolvers_changed(&mut self, runner: &mut Runner<Gateway>) {
        if let Some(Err(error)) = self.follower.as_ref().map(|follower| follower.update(runner)) {
            self.events.note(format!("the host's name servers are not followed: {error}"));
        }
    }

    fn report(&self, runner: &Runner<Gateway>) -> Report {
        let engine = runner.engine();
        let (config, resolvers) = (engine.nat().config(), engine.forwarder().servers());
        let v4 = config.gateway_v4.map(IpAddr::V4);
        let dropped = runner.counts().by_reason();
        let counters = runner.port(INSIDE).map(|(_, counters)| counters);
        Report {
            name: self.name.clone(),
            pid: std::process::id(),
            device: self.wanted.device.to_string(),
            mtu: self.wanted.mtu,
            addresses: [self.wanted.inside.v4, self.wanted.inside.v6]
                .map(|p| p.to_string())
                .to_vec(),
            gateways: v4.into_iter().chain(config.gateway_v6.map(IpAddr::V6)).collect(),
            name_servers: self.wanted.name_servers(),
            resolvers: resolvers.to_vec(),
            allow_host: self.wanted.allow_host.clone(),
            flows: engine.nat().flow_count(),
            received: counters.map_or(0, |counters| counters.received),
            sent: counters.map_or(0, |counters| counters.sent),
            dropped: dropped.map(|(why, count)| (why.to_string(), count)).collect(),
        }
    }

    fn flows(runner: &Runner<Gateway>) -> Vec<Flow> {
        let now = runner.now();
        let mut rows: Vec<FlowRow> = runner.engine().nat().flows().collect();
        rows.sort_by_key(|row| (row.inside, row.flow));
        rows.into_iter().map(|row| flow(&row, now)).collect()
    }
}

fn flow(row: &FlowRow, now: Instant) -> Flow {
    Flow {
        transport: match row.transport {
            Transport::Tcp => "tcp",
            _ => "udp",
        }
        .to_owned(),
        inside: row.inside,
        remote: row.remote,
        state: row.state.to_owned(),
        sent_bytes: row.sent_bytes,
        received_bytes: row.received_bytes,
        idle_s: now.since(row.used).as_secs_f64(),
    }
}

impl Service for NatService {
    type Engine = Gateway;
    type Change = ();

    fn job(&self, _: &Trigger) -> Result<Job<()>> {
        Err(Error::usage("a NAT has no configuration to be read again"))
    }

    fn apply(&mut self, _: &mut Runner<Gateway>, (): ()) -> Result<Progress<()>> {
        Err(Error::usage("a NAT has no configuration to be read again"))
    }

    fn answer(&mut self, runner: &mut Runner<Gateway>, request: &Request) -> Answer {
        match (request.method, request.path.as_str()) {
            (Method::Get, "/nat") => value(&self.report(runner)).into(),
            (Method::Get, "/nat/flows") => value(&Self::flows(runner)).into(),
            _ => Answer::Now(Reply::unknown_path(request)),
        }
    }

    fn status(&self, runner: &Runner<Gateway>) -> Result<Value> {
        value(&self.report(runner))
    }

    fn event(&mut self, runner: &mut Runner<Gateway>, event: LoopEvent) -> Next {
        match event {
            LoopEvent::Ready(NAMESPACE) => {
                if let Some(life) = self.life.as_ref().filter(|life| life.is_over()) {
                    self.events.note(match life {
                        Life::Process(_) => "the process of the namespace has ended",
                        Life::File(..) => "the namespace was deleted",
                    });
                    return Next::Stop;
                }
            }
            LoopEvent::PortGone { why, .. } => {
                let message = format!("the device {} is gone: {why}", self.wanted.device);
                self.failure = Some(Error::new(Kind::Refused, &SYSTEM, message));
                return Next::Stop;
            }
            LoopEvent::Ready(MONITOR) => self.addresses_changed(runner),
            LoopEvent::Ready(RESOLVERS) => self.resolvers_changed(runner),
            LoopEvent::Alarm => {
                self.events.flush();
                runner.set_alarm(Some(runner.now() + TICK));
            }
            LoopEvent::PortDown(_) => self.events.detail("the device is down"),
            LoopEvent::PortUp(_) => self.events.detail("the device is up"),
            _ => {}
        }
        Next::Continue
    }
}
