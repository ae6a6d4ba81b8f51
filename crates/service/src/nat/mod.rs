//! The NAT as a service: a network namespace reaches the outside through sockets of this process.

mod flow_log;
mod health;
mod metrics;
pub mod model;
mod own_addresses;
pub mod port;
pub mod publish;
pub mod resolvers;
pub mod run;
pub mod wanted;

pub use publish::{CATALOG, Socket, take_sockets};

use crate::control::http::{Method, Request};
use crate::control::name::folder;
use crate::control::route::{Route, schema};
use crate::control::server::{self, Reply};
use crate::error::{Error, Kind, Result, SYSTEM};
use crate::event::Events;
use crate::metrics::{SCRAPE_SYSCALLS, Snapshot};
use crate::namespace::attach::Attached;
use crate::namespace::life::Life;
use crate::nat::flow_log::FlowLog;
use crate::nat::model::{FLOWS, FlowPage, Guest, Nat as Report, Published, Spliced};
use crate::nat::publish::{Follower, INSIDE};
use crate::nat::resolvers::ServerFollower;
use crate::nat::wanted::WantedNat;
use crate::sandbox::{self, Needs};
use crate::supervisor::routes::RELOAD;
use crate::supervisor::{
    Answer, Done, DoneReply, FIRST_TOKEN, Job, Progress, Service, TICK, Trigger, seed, value,
};
use adit_device::netlink::OwnAddresses;
use adit_device::{MacAddr, Mode};
use adit_engine::Transport;
use adit_nat::guest::Guests;
use adit_nat::{Gateway, Publishing};
use adit_packet::units::Bitrate;
use adit_packet::{Layer, Pool, PoolConfig};
use adit_runtime::port::kinds::device::DevicePort;
use adit_runtime::port::recorded::Recording;
use adit_runtime::{Event as LoopEvent, Gone, Interest, Next, Port, Runner, Token};
use schemars::{Schema, SchemaGenerator, json_schema};
use serde_json::Value;
use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;

/// What changes on the host.
const MONITOR: Token = Token(FIRST_TOKEN);

/// The end of the namespace.
const NAMESPACE: Token = Token(FIRST_TOKEN + 1);

/// The most ports that one request opens or closes: a few milliseconds.
const PORTS_MAX: usize = 1024;

/// The host's name servers have changed.
const RESOLVERS: Token = Token(FIRST_TOKEN + 2);

/// What a NAT still needs once it runs: to remove its control socket.
#[must_use]
pub fn needs() -> Needs {
    let mut needs = Needs { writable: vec![folder()], ..Needs::default() };
    needs.syscalls.extend(adit_runtime::syscalls());
    needs.syscalls.extend([server::SYSCALLS, SCRAPE_SYSCALLS]);
    needs
}

/// What the inside is behind.
#[derive(Debug)]
pub enum Inside {
    /// A device that [`WantedNat::interface`] describes.
    Device(Box<Attached>),
    /// A port.
    Port(Box<dyn Port>),
}

impl From<Attached> for Inside {
    fn from(attached: Attached) -> Self {
        Self::Device(Box::new(attached))
    }
}

/// A running NAT.
#[derive(Debug)]
pub struct NatService {
    name: String,
    events: Events,
    wanted: WantedNat,
    /// The name of the port inside, if it is not a device that this NAT made.
    ports: Option<String>,
    own_addresses: OwnAddresses,
    resolvers: Option<ServerFollower>,
    /// The end of the namespace, unless that is the command's.
    life: Option<Life>,
    flow_log: Option<FlowLog>,
    follower: Follower,
    /// Why it ended, if nobody asked for it.
    failure: Option<Error>,
}

impl NatService {
    /// A NAT and its loop.
    ///
    /// # Errors
    /// EMFILE; the files of the recording and of the flow log; settings of the emulated link that exclude each other; a port of the
    /// host that cannot be published.
    pub fn start(
        name: String,
        wanted: WantedNat,
        inside: impl Into<Inside>,
        sockets: Vec<Socket>,
        life: Option<Life>,
        resolvers: Option<ServerFollower>,
        events: Events,
    ) -> Result<(Runner<Gateway>, Self)> {
        let failed = |error: io::Error| Error::io("start", "the loop", &error);
        let own_addresses = own_addresses::open()?;
        let mut engine = wanted.engine(own_addresses.list())?;
        let flow_log = wanted.flow_log.as_deref().map(|path| FlowLog::open(path, events.clone()));
        let flow_log = flow_log.transpose()?;
        flow_log.iter().for_each(|_| engine.nat_mut().keep_news());
        if wanted.mode == Mode::Tap {
            engine.add_guests(INSIDE, wanted.guests()?).map_err(Error::usage)?;
        }
        let mut runner = Runner::new(engine, Pool::new(PoolConfig::default())).map_err(failed)?;
        let readable = Interest { readable: true, writable: false };
        if let Some(life) = &life {
            runner.watch(life, NAMESPACE, readable).map_err(failed)?;
        }
        let mut splice = None;
        let (port, ports, listeners): (Box<dyn Port>, _, _) = match inside.into() {
            Inside::Device(attached) => {
                splice = attached.splice;
                (Box::new(DevicePort::new(attached.device)?), None, attached.listeners)
            }
            Inside::Port(port) => {
                let name = port.name().to_owned();
                (port, Some(name), None)
            }
        };
        runner.attach(INSIDE, recorded(port, &wanted)?).map_err(failed)?;
        if let Some(Ok(listener)) = splice {
            runner.splice_at(listener).map_err(failed)?;
            runner.engine_mut().nat_mut().set_splice(true);
        }
        if let Some(profiles) = &wanted.netem {
            let layer = if wanted.mode == Mode::Tap { Layer::Frame } else { Layer::Packet };
            runner.set_netem(INSIDE, profiles.links(layer, seed()?)?);
        }
        let devices = wanted.inside.devices();
        let mut follower = Follower::new(listeners, &devices, Transport::Tcp);
        for publishing in &wanted.publish {
            match publishing {
                Publishing::Ports(spec) => publish::open(&mut runner, spec, &devices)?,
                Publishing::Auto(address) => follower.set(*address, true)?,
                Publishing::Listener { .. } => {}
            }
        }
        for socket in sockets {
            publish::adopt(&mut runner, socket, &devices)?;
        }
        follower.look(&mut runner, refused(&events))?;
        runner.watch(&own_addresses, MONITOR, readable).map_err(failed)?;
        if let Some(resolvers) = &resolvers {
            runner.watch(resolvers, RESOLVERS, readable).map_err(failed)?;
        }
        runner.set_alarm(Some(runner.now() + TICK));
        let new = Self {
            name,
            events,
            wanted,
            ports,
            own_addresses,
            resolvers,
            life,
            flow_log,
            follower,
            failure: None,
        };
        Ok((runner, new))
    }

    /// Closes the device and the recording; returns why the NAT ended, if nobody asked for it.
    pub fn end(mut self, runner: &mut Runner<Gateway>) -> Option<Error> {
        runner.detach(INSIDE);
        if let Some(log) = self.flow_log.take() {
            let flows: Vec<_> = runner.engine().nat().flows().map(|row| row.flow).collect();
            for flow in flows {
                if let Some((sent, received, _)) = runner.spliced(flow) {
                    runner.engine_mut().nat_mut().set_moved(flow, sent, received);
                }
            }
            log.end(runner.engine_mut().nat_mut());
        }
        self.failure.take()
    }

    /// The host's addresses have changed: they stay out of reach for the inside.
    fn addresses_changed(&mut self, runner: &mut Runner<Gateway>) {
        if let Err(error) = own_addresses::update(&mut self.own_addresses, runner, &self.wanted) {
            self.events.note(format!("the host's addresses are not followed: {error}"));
        }
    }

    /// The host's name servers have changed.
    fn resolvers_changed(&mut self, runner: &mut Runner<Gateway>) {
        match self.resolvers.as_ref().map(|one| one.update(runner)) {
            Some(Ok(Some(new))) => new.search_at(runner.engine_mut()),
            Some(Err(error)) => {
                self.events.note(format!("the host's name servers are not followed: {error}"));
            }
            _ => {}
        }
    }

    /// The device inside, or the ports.
    fn device(&self) -> String {
        self.ports.clone().unwrap_or_else(|| self.wanted.device.to_string())
    }

    fn show(&self, runner: &Runner<Gateway>) -> Report {
        let engine = runner.engine();
        let (config, resolvers) = (engine.nat().config(), engine.forwarder().servers());
        let access = &self.wanted.access;
        let v4 = config.gateway_v4.map(IpAddr::V4);
        let mut dropped: BTreeMap<String, u64> =
            runner.counts().by_reason().map(|(why, count)| (why.to_string(), count)).collect();
        let counters = runner.port(INSIDE).map(|(port, counters)| {
            let mut note = |why: &str, count| *dropped.entry(why.to_owned()).or_default() += count;
            let drops = counters.ingress_drops().chain(counters.egress_drops());
            drops.filter(|&(_, count)| count > 0).for_each(|(why, count)| note(why, count));
            port.inner_drops(&mut note);
            counters
        });
        let inside = [self.wanted.inside.v4, self.wanted.inside.v6];
        let addresses = inside.map(|address| match self.ports {
            Some(_) => address.network().to_string(),
            None => address.to_string(),
        });
        let guests = engine.guests(INSIDE).into_iter().flat_map(Guests::addresses);
        let guest = |(address, mac): (IpAddr, MacAddr)| Guest { address, mac: mac.to_string() };
        let mut guests: Vec<Guest> = guests.map(guest).collect();
        guests.sort();
        let mut published: Vec<Published> =
            engine.nat().published().map(|one| Published::new(&one.publish)).collect();
        published.sort_by(|a, b| (&a.transport, a.local).cmp(&(&b.transport, b.local)));
        Report {
            name: self.name.clone(),
            pid: std::process::id(),
            sandbox: sandbox::state(),
            device: self.device(),
            mtu: self.wanted.mtu,
            addresses: addresses.to_vec(),
            gateways: v4.into_iter().chain(config.gateway_v6.map(IpAddr::V6)).collect(),
            name_servers: self.wanted.inside.name_servers().collect(),
            resolvers: resolvers.to_vec(),
            allow_host: access.allow_host.clone(),
            datapath: if config.splice { "splice" } else { "packet" }.to_owned(),
            allow: access.allow.iter().map(ToString::to_string).collect(),
            deny: access.deny.iter().map(ToString::to_string).collect(),
            flow_limit: access.flow_limit,
            flow_rate: access.flow_rate,
            source_rate: access.source_rate.map(Bitrate::bits_per_second),
            flow_log_lost: self.flow_log.as_ref().map(|log| log.lost(engine.nat())),
            published,
            guests,
            flows: engine.nat().flow_count(),
            spliced: Spliced::of(runner.splice_counts()),
            received: counters.map_or(0, |counters| counters.received),
            sent: counters.map_or(0, |counters| counters.sent),
            received_bytes: counters.map_or(0, |counters| counters.received_bytes),
            sent_bytes: counters.map_or(0, |counters| counters.sent_bytes),
            dropped,
        }
    }

    /// Opens or closes ports of the host while it runs.
    fn change_published(
        &mut self,
        runner: &mut Runner<Gateway>,
        request: &Request,
    ) -> Result<Value> {
        let text = request.body.get("spec").and_then(Value::as_str);
        let text = text.ok_or_else(|| Error::usage("the request has no `spec`, as \"8080:80\""))?;
        let publishing: Publishing =
            text.parse().map_err(|why| Error::usage(format!("`spec` is wrong: {why}")))?;
        let on = request.method == Method::Post;
        match &publishing {
            Publishing::Ports(spec) if spec.ports.len() > PORTS_MAX => {
                let message = format!("more than {PORTS_MAX} ports at a time hold up the packets");
                return Err(Error::usage(message));
            }
            Publishing::Ports(spec) if on => {
                publish::open(runner, spec, &self.wanted.inside.devices())?;
            }
            Publishing::Ports(spec) => publish::close_all(runner, spec)?,
            Publishing::Auto(address) => {
                self.follower.set(*address, on)?;
                self.follower.look(runner, refused(&self.events))?;
            }
            Publishing::Listener { .. } => {
                return Err(Error::usage("a socket is taken over at the start alone"));
            }
        }
        let what = if on { "is published" } else { "is no longer published" };
        let done = format!("{publishing} {what}");
        self.events.detail(&done);
        Ok(Done::new(vec![done]).reply)
    }
}

/// Reports a port of the host that what listens inside does not get.
fn refused(events: &Events) -> impl Fn(&Error) {
    move |error: &Error| events.failed("what listens inside", error)
}

/// A port that is recorded, if that is wanted.
fn recorded(port: Box<dyn Port>, wanted: &WantedNat) -> Result<Box<dyn Port>> {
    let Some(path) = &wanted.capture else { return Ok(port) };
    let recording = match wanted.mode {
        Mode::Tun => Recording::packets(path, port.name()),
        Mode::Tap => Recording::frames(path, port.name()),
    };
    Ok(recording?.of(port))
}

/// The body of requests for published ports.
fn published(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "properties": {
            "spec": {
                "type": "string",
                "description": "[ADDR:]PORT[-PORT][:INSIDE][/udp], or [ADDR:]auto",
            },
        },
        "required": ["spec"],
    })
}

/// The requests of a NAT, beside those of every service.
pub const ROUTES: &[Route] = &[
    RELOAD,
    Route::get("/nat", "the NAT", schema::<Report>),
    FLOWS,
    Route::change(
        Method::Post,
        "/nat/published",
        "opens ports of the host that lead inside",
        Some(published),
        schema::<DoneReply>,
    ),
    Route::change(
        Method::Delete,
        "/nat/published",
        "closes ports of the host that lead inside",
        Some(published),
        schema::<DoneReply>,
    ),
];

impl Service for NatService {
    type Engine = Gateway;
    type Change = ();
    type Report = Report;

    const ROUTES: &'static [Route] = ROUTES;

    fn job(&self, _: &Trigger) -> Result<Job<()>> {
        Err(Error::usage("a NAT has no configuration to be read again"))
    }

    fn apply(&mut self, _: &mut Runner<Gateway>, (): ()) -> Result<Progress<()>> {
        Err(Error::usage("a NAT has no configuration to be read again"))
    }

    fn answer(&mut self, runner: &mut Runner<Gateway>, request: &Request) -> Answer {
        match (request.method, request.path.as_str()) {
            (Method::Get, "/nat") => value(&self.show(runner)).into(),
            (Method::Post | Method::Delete, "/nat/published") => {
                self.change_published(runner, request).into()
            }
            (Method::Get, "/nat/flows") => {
                FlowPage::of(runner, request).and_then(|page| value(&page)).into()
            }
            _ => Answer::Now(Reply::unknown_path(request)),
        }
    }

    fn metrics(&mut self, runner: &mut Runner<Gateway>) -> Box<dyn Snapshot> {
        self.sample(runner)
    }

    fn report(&self, runner: &Runner<Gateway>) -> Report {
        self.show(runner)
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
            LoopEvent::PortGone { why: Gone::Closed, .. } => {
                self.events.note("the last guest has gone");
                return Next::Stop;
            }
            LoopEvent::PortGone { why, .. } => {
                let message = format!("{} is gone: {why}", self.device());
                self.failure = Some(Error::new(Kind::Refused, &SYSTEM, message));
                return Next::Stop;
            }
            LoopEvent::Ready(MONITOR) => self.addresses_changed(runner),
            LoopEvent::Ready(RESOLVERS) => self.resolvers_changed(runner),
            LoopEvent::Alarm => {
                self.events.flush();
                self.flow_log.iter_mut().for_each(FlowLog::flush);
                if let Err(error) = self.follower.look(runner, refused(&self.events)) {
                    self.events.failed("ports inside are no longer followed", &error);
                    self.follower = Follower::new(None, &[], Transport::Tcp);
                }
                let interval = self.follower.interval().unwrap_or(TICK);
                runner.set_alarm(Some(runner.now() + interval));
            }
            LoopEvent::PortDown(_) => self.events.detail("the device is down"),
            LoopEvent::PortUp(_) => self.events.detail("the device is up"),
            _ => {}
        }
        Next::Continue
    }

    fn turn(&mut self, runner: &mut Runner<Gateway>) {
        if let Some(log) = &mut self.flow_log {
            log.write(runner.engine_mut().nat_mut());
        }
    }
}
