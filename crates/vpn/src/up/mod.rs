//! How a tunnel starts and ends.

mod take_over;

use crate::cipher::Measurement;
use crate::confine;
use crate::daemon::host::{Host, lock};
use crate::daemon::{Daemon, Ended, Parts};
use crate::endpoints::{Endpoints, WantedSockets};
use crate::engine::TunnelEngine;
use crate::file::conf::HookPolicy;
use crate::file::config::{Hooks, Peer};
use crate::file::keys::{Key, fill_random};
use crate::file::load::{Given, Loaded, load_complete};
use crate::file::secret::SecretSource;
use crate::file::validate::warnings;
use crate::host::changes::HostChanges;
use crate::host::hooks;
use crate::host::plan::{Plan, Seen, path_mtu};
use crate::host::timestamps::Timestamps;
use crate::memory;
pub use crate::pipe::Pipe;
use crate::pipe::{OpenPipe, Program};
use crate::uapi::socket::UapiSocket;
use crate::upgrade::successor::{Installed, Taken};
use crate::upgrade::waiter;
use adit_device::{Device, IfName, Mode, Netns};
use adit_packet::{Pool, PoolConfig};
use adit_runtime::port::kinds::device::DevicePort;
use adit_runtime::port::recorded::Recording;
use adit_runtime::text::netns::open_netns;
use adit_runtime::{PeerSockets, Port, RaisedPriority, Runner, Signals};
use adit_service::control::name::Claim;
use adit_service::control::notify::{Status, is_managed, notify};
use adit_service::control::server::Server;
use adit_service::control::socket::{ControlSocket, Listener};
use adit_service::error::{Error, Kind, Result, SYSTEM};
use adit_service::event::Events;
use adit_service::helper::{self, RemoteExecutor};
use adit_service::host::action::Action;
use adit_service::host::executor::{Executor, HostExecutor};
use adit_service::host::stale::{find_stale, kill_switch};
use adit_service::metrics::ListenAddress;
use adit_service::sandbox::{Level, Sandbox};
use adit_service::supervisor::Supervisor;
use adit_tunnel::{PrivateKey, Random, Timing, Tunnel, TunnelConfig};
use std::fmt;
use std::io;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::sync::{Arc, Mutex};

/// How a tunnel is started.
#[derive(Clone, Debug)]
pub struct Options {
    /// The files, or the name of a tunnel in `/etc`.
    pub files: Vec<PathBuf>,
    /// How to treat the hooks in the files.
    pub hooks: HookPolicy,
    /// The source of the private key, if it is not in the files.
    pub private_key: Option<SecretSource>,
    /// The network namespace of the device; the sockets are in that of the program.
    pub device_netns: Option<String>,
    /// A pipe that carries messages instead of UDP.
    pub pipe: Pipe,
    /// How much of the sandbox is needed.
    pub sandbox: Level,
    /// Where metrics are read by TCP, in place of the file's.
    pub metrics: Option<ListenAddress>,
    /// The factor by which all intervals of the protocol are shorter, for tests; 1 otherwise.
    pub faster: u32,
    /// Whether nobody waits for this process: then it ends when [another one](crate::upgrade) has taken over.
    pub is_background: bool,
}

impl Options {
    /// The files, read and complete.
    ///
    /// # Errors
    /// All mistakes in them; there is no private key.
    pub fn load(&self) -> Result<Loaded> {
        let mut loaded = load_complete(
            &self.files,
            self.hooks,
            Given {
                private_key: self.private_key.is_some(),
                device_netns: self.device_netns.is_some(),
            },
        )?;
        if let Some(source) = &self.private_key {
            let failed = |error: &dyn fmt::Display| {
                Error::usage(format!("cannot read the private key from {source}: {error}"))
            };
            let text = source.read().map_err(|error| Error::io("read", source, &error))?;
            let key = PrivateKey::from_base64(&text).map_err(|error| failed(&error))?;
            loaded.config.interface.private_key = Some(key);
        }
        if loaded.config.interface.kill_switch && !matches!(self.pipe, Pipe::None) {
            let message =
                "a kill switch blocks the program at the other end of a pipe: remove kill_switch";
            return Err(Error::usage(message));
        }
        Ok(loaded)
    }

    fn netns(&self) -> Result<Option<Netns>> {
        Ok(self.device_netns.as_deref().map(open_netns).transpose()?)
    }

    /// What a start does, in order: each change to the host, and what the tunnel does by itself between.
    ///
    /// # Errors
    /// As [`Options::load`], and those of reading the state of the host.
    pub fn steps(&self) -> Result<Vec<Step>> {
        let loaded = self.load()?;
        let netns = self.netns()?;
        Ok(Startup::new(&loaded, netns.as_ref(), None)?.steps(&loaded))
    }

    /// Starts the helper of a tunnel in its sandbox: a copy of this process from before its threads, and without its keys.
    ///
    /// # Errors
    /// It cannot be started, with [`Level::Require`].
    pub fn sandbox(&self) -> Result<Sandbox> {
        memory::hide();
        let is_managed = is_managed() && !self.waits();
        let policy = confine::policy(self.files.clone(), self.hooks, self.device_netns.clone());
        Sandbox::prepare(self.sandbox, confine::with_successor(policy, is_managed))
    }

    /// Runs the tunnel until it is stopped, with what [`Self::sandbox`] has prepared. `ready` is called when it is up. If the program of
    /// [`Pipe::Program`] ended the tunnel, returns how it exited.
    ///
    /// # Errors
    /// What failed first; everything that was done is undone.
    pub fn run(
        &self,
        sandbox: &Sandbox,
        events: &Events,
        ready: impl FnOnce(),
    ) -> Result<Option<ExitStatus>> {
        let loaded = self.load()?;
        events.configure_log(loaded.config.interface.log.as_ref());
        let name = loaded.name;
        let claim = claim(name)?;
        if let Some(helper) = sandbox.helper() {
            helper.hold(claim.lock());
        }
        if loaded.config.interface.save_config {
            events.note("SaveConfig is ignored: adit does not write to its configuration");
        }
        let netns = self.netns()?;
        let mut startup = Startup::new(&loaded, netns.as_ref(), Some(&name))?;
        let executor = executor(sandbox, netns.as_ref())?;
        let mut changes = HostChanges::new(name, netns, executor);
        // Before the host is changed: a signal during a start undoes it in order.
        let signals = Signals::new().map_err(|error| Error::io("catch", "signals", &error))?;
        startup.prepare(&loaded, &mut changes, events)?;
        let hooks = loaded.config.interface.hooks.clone();
        let uapi = listen_for_wg(name, events);
        let mut socket = ControlSocket::new(claim.name().clone(), Server::bind(claim, "tunnel")?);
        let metrics = self.metrics.or(loaded.config.interface.metrics);
        socket.set_metrics(metrics.map(ListenAddress::listen).transpose()?);
        let installed = self.installed(&socket)?;
        let pipe = self.pipe.open()?;
        let priority = RaisedPriority::new();
        // Before the first thread: the sockets and the device are opened by the helper.
        let needs = confine::needs(&self.pipe);
        adit_service::confine::give_up(sandbox, &needs, events)?;
        let start = Start {
            installed,
            loaded,
            plan: startup.plan,
            socket,
            uapi,
            changes,
            signals: Some(signals),
            recording: None,
            pipe,
        };
        let (runner, supervisor) = self.start(start, events)?;
        // PostUp may use the device; its failure ends the start.
        let started = run_hooks(&startup.post_up);
        if started.is_ok() {
            ready();
            supervisor.ready(Vec::new());
        }
        let restricted = adit_service::confine::restrict_calls(sandbox, &needs, events);
        let ended = self.run_to_end((runner, supervisor), &hooks, started.and(restricted), events);
        drop(priority);
        ended
    }

    /// Runs a loop until its end, and undoes what was done. If `started` is an error, the loop does not run.
    fn run_to_end(
        &self,
        (mut runner, mut supervisor): (Runner<TunnelEngine>, Supervisor<Daemon>),
        hooks: &Hooks,
        started: Result<()>,
        events: &Events,
    ) -> Result<Option<ExitStatus>> {
        let mut result = Ok(());
        if started.is_ok() {
            result = supervisor.run(&mut runner);
        }
        let name = supervisor.service.name();
        if let Some(successor) = supervisor.service.take_successor() {
            return self.leave_to(successor, runner, supervisor);
        }
        let is_up = started.is_ok();
        let is_taken_down = supervisor.was_stopped();
        let (daemon, socket) = supervisor.into_parts();
        let Ended { changes, failure, program } = daemon.end(&runner);
        let mut failures = Vec::new();
        let mut note = |result: Result<()>| failures.extend(result.err().map(|e| e.report.message));
        note(run_hooks(&hooks::actions(&hooks.pre_down, &name)));
        let mut host = lock(&changes);
        if is_taken_down {
            host.release_kill_switch();
        } else if is_up && host.keep_kill_switch() {
            events.note(format!("the kill switch stays: 'adit tunnel down {name}' removes it"));
        }
        failures.extend(host.undo());
        drop(host);
        // A new device goes with its last descriptor.
        drop(runner);
        let post_down = run_hooks(&hooks::actions(&hooks.post_down, &name));
        failures.extend(post_down.err().map(|error| error.report.message));
        for failure in failures {
            events.note(format!("warning: {failure}"));
        }
        events.flush();
        // Last: a client that stops the tunnel waits for it.
        socket.finish();
        started.and(result).and(failure.map_or(Ok(()), Err))?;
        program.map(|program| wait_for(program, events)).transpose()
    }

    /// Device, sockets and engine, joined in a loop. The device comes last: what fails before has changed
    /// nothing.
    pub(crate) fn start(
        &self,
        start: Start,
        events: &Events,
    ) -> Result<(Runner<TunnelEngine>, Supervisor<Daemon>)> {
        let Start { loaded, plan, socket, uapi, mut changes, signals, recording, installed, pipe } =
            start;
        let measurement = Measurement::start();
        let wanted = WantedSockets::new(&loaded.config, plan.mark);
        let (mut endpoints, peers) = Endpoints::open(&wanted, self.faster, events.clone())?;
        if plan.catches_all() {
            endpoints.resolve(&loaded.config);
        }
        let name = loaded.name.to_string();
        let timestamps = Timestamps::open(&name, events);
        let device = changes.open(&plan)?;
        for warning in changes.take_warnings() {
            events.note(format!("warning: {warning}"));
        }
        let aes_is_faster = measurement.finish();
        let config = TunnelConfig {
            aes_is_faster,
            ..self.engine_config(&loaded, &plan, &device, &timestamps)
        };
        let mode = device.mode();
        let changes = Arc::new(Mutex::new(changes));
        let started = Host::start(loaded.name, &changes)
            .map_err(|error| Error::io("start", "a thread", &error))
            .and_then(|host| {
                let mut daemon = Daemon::new(Parts {
                    events: events.clone(),
                    loaded,
                    hook_policy: self.hooks,
                    has_device_netns: self.device_netns.is_some(),
                    uapi,
                    endpoints,
                    host,
                    plan,
                    timestamps,
                    installed,
                });
                let port: Box<dyn Port> = Box::new(DevicePort::new(device)?);
                let port = match recording {
                    Some(recording) => recording.of(port),
                    None => port,
                };
                let inside = (mode, port);
                let runner = Self::make_loop(config, signals, inside, (peers, pipe), &mut daemon)?;
                Ok((runner, Supervisor::new(daemon, socket, events.clone())))
            });
        started.inspect_err(|_| {
            lock(&changes).undo();
        })
    }

    /// What this process needs to hand the tunnel over to the installed program. A pipe belongs to this process.
    fn installed(&self, socket: &ControlSocket) -> Result<Option<Installed>> {
        if !matches!(self.pipe, Pipe::None) {
            return Ok(None);
        }
        let installed = || -> io::Result<Installed> {
            let control = socket.descriptors();
            let control = control.map(|[lock, listener]| {
                io::Result::Ok([lock.try_clone_to_owned()?, listener.try_clone_to_owned()?])
            });
            let metrics = socket.metrics().map(Listener::try_clone);
            Installed::new(control.transpose()?, metrics.transpose()?, self.waits())
        };
        installed().map(Some).map_err(|error| Error::io("find", "this program", &error))
    }

    /// Whether somebody waits for this process.
    fn waits(&self) -> bool {
        // All others end with process 1.
        !self.is_background && (!is_managed() || std::process::id() == 1)
    }

    /// Ends this process after another one has taken the tunnel over.
    fn leave_to(
        &self,
        successor: Taken,
        runner: Runner<TunnelEngine>,
        supervisor: Supervisor<Daemon>,
    ) -> Result<Option<ExitStatus>> {
        // Before those of the loop go: a signal in between must not kill this process.
        let signals = Signals::new().map_err(|error| Error::io("catch", "signals", &error))?;
        if !self.waits() {
            notify(Status::Successor(successor.child.pid()));
        }
        let (daemon, socket) = supervisor.into_parts();
        let before = daemon.pass_on();
        drop(runner);
        socket.pass_on();
        if !self.waits() {
            return Ok(None);
        }
        let status = waiter::wait_for(&successor, &signals, before.as_ref().map(AsFd::as_fd));
        status.map(Some).map_err(|error| Error::io("wait for", "the new process", &error))
    }

    fn engine_config(
        &self,
        loaded: &Loaded,
        plan: &Plan,
        device: &Device,
        timestamps: &Timestamps,
    ) -> TunnelConfig {
        let private_key = loaded.config.interface.private_key.clone();
        let public = private_key.as_ref().map(PrivateKey::public_key);
        TunnelConfig {
            private_key,
            device: (plan.mode == Mode::Tun).then_some(TunnelEngine::device(plan.mode)),
            mtu: u16::try_from(plan.tunnel_mtu).unwrap_or(u16::MAX),
            join: !device.offload().is_empty(),
            timing: Timing::STANDARD.faster(self.faster),
            key_memory: memory::lock,
            last_timestamp: public.and_then(|key| timestamps.sent(&key)),
            ..TunnelConfig::default()
        }
    }

    fn make_loop(
        config: TunnelConfig,
        signals: Option<Signals>,
        (mode, device): (Mode, Box<dyn Port>),
        (peers, pipe): (PeerSockets, Option<OpenPipe>),
        daemon: &mut Daemon,
    ) -> Result<Runner<TunnelEngine>> {
        let failed = |error| Error::io("create", "the loop", &error);
        let engine =
            TunnelEngine::new(Tunnel::new(config, random()), mode, seed().map_err(failed)?);
        let engine = engine.map_err(|error| Error::usage(format!("the switch: {error}")))?;
        let mut runner = Runner::new(engine, Pool::new(PoolConfig::default())).map_err(failed)?;
        signals.map_or(Ok(()), |signals| runner.watch_signals(signals)).map_err(failed)?;
        runner.attach(TunnelEngine::device(mode), device).map_err(failed)?;
        runner.set_peers(Some(peers)).map_err(failed)?;
        daemon.begin(&mut runner).map_err(failed)?;
        if let Some(pipe) = pipe {
            daemon.attach_pipe(&mut runner, pipe).map_err(failed)?;
        }
        Ok(runner)
    }
}

/// Changes the host: in the helper, if there is one.
fn executor(sandbox: &Sandbox, netns: Option<&Netns>) -> Result<Box<dyn Executor>> {
    Ok(match sandbox.helper() {
        Some(helper) => Box::new(RemoteExecutor::new(Arc::clone(helper), netns)?),
        None => Box::new(HostExecutor::new(try_clone(netns)?)),
    })
}

fn listen_for_wg(name: IfName, events: &Events) -> Option<UapiSocket> {
    let bound = UapiSocket::bind(&name.to_string());
    let failed = |error: &io::Error| {
        events.note(format!("cannot listen for 'wg' on /run/wireguard/{name}.sock: {error}"));
    };
    bound.inspect_err(failed).ok()
}

/// Waits for the program that ended the tunnel.
fn wait_for(program: Program, events: &Events) -> Result<ExitStatus> {
    let name = program.name().to_owned();
    let status = program.wait().map_err(|error| Error::io("wait for", &name, &error))?;
    events.note(format_args!("'{name}' ended the tunnel ({status})"));
    Ok(status)
}

/// The random numbers of the engine.
fn random() -> Random {
    Box::new(|bytes: &mut [u8]| {
        fill_random(bytes).expect("every Linux since 3.17 has getrandom(2)");
    })
}

/// A random number that a switch keeps to itself.
pub(crate) fn seed() -> io::Result<u64> {
    let mut seed = [0; 8];
    fill_random(&mut seed)?;
    Ok(u64::from_ne_bytes(seed))
}

fn claim(name: IfName) -> Result<Claim> {
    let claim = Claim::new(name.to_string().parse().map_err(Error::usage)?);
    claim.map_err(|error| match error.kind {
        Kind::Conflict => error
            .hint("A tunnel is named after its file, in every network namespace: rename the file."),
        _ => error,
    })
}

/// What a tunnel starts with.
pub(crate) struct Start {
    pub(crate) loaded: Loaded,
    pub(crate) plan: Plan,
    /// Its name among running programs, and where it answers.
    pub(crate) socket: ControlSocket,
    /// Where `wg` asks.
    pub(crate) uapi: Option<UapiSocket>,
    pub(crate) changes: HostChanges,
    /// The signals that end it.
    pub(crate) signals: Option<Signals>,
    /// Records the packets of the device.
    pub(crate) recording: Option<Recording>,
    /// The pipe in place of sockets.
    pub(crate) pipe: Option<OpenPipe>,
    /// The program to which the tunnel can be handed over.
    pub(crate) installed: Option<Installed>,
}

/// One line of `--dry-run`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// A change to the host.
    Change(Action),
    /// What the tunnel does by itself, or cannot do.
    Note(String),
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Change(action) => action.fmt(f),
            Self::Note(text) => f.write_str(text),
        }
    }
}

/// The changes of a start, in the order of the fields.
#[derive(Debug)]
struct Startup {
    /// Removes what killed processes left.
    stale: Vec<Action>,
    pre_up: Vec<Action>,
    plan: Plan,
    post_up: Vec<Action>,
}

impl Startup {
    /// Reads the state of the host; changes nothing. `own` is the name of the tunnel if it is claimed.
    fn new(loaded: &Loaded, netns: Option<&Netns>, own: Option<&IfName>) -> Result<Self> {
        let mut stale = find_stale(netns, own)?;
        if !loaded.config.interface.kill_switch {
            stale.extend(kill_switch(netns, loaded.name).map(Action::DeleteFilter));
        }
        let hooks = &loaded.config.interface.hooks;
        Ok(Self {
            plan: plan(loaded, netns, &stale)?,
            pre_up: hooks::actions(&hooks.pre_up, &loaded.name),
            post_up: hooks::actions(&hooks.post_up, &loaded.name),
            stale,
        })
    }

    /// What comes before the device. Hooks may change what the plan depends on: it is made again then.
    fn prepare(
        &mut self,
        loaded: &Loaded,
        changes: &mut HostChanges,
        events: &Events,
    ) -> Result<()> {
        for action in &self.stale {
            changes.perform(std::slice::from_ref(action))?;
            events.note(format!("removed what a killed process left: {action}"));
        }
        changes.perform(&self.pre_up)?;
        if !self.pre_up.is_empty() {
            self.plan = plan(loaded, changes.netns(), &[])?;
        }
        let notes = warnings(&loaded.config).into_iter().chain(dns_note(loaded, &self.plan));
        notes.for_each(|text| events.note(format!("warning: {text}")));
        Ok(())
    }

    fn steps(self, loaded: &Loaded) -> Vec<Step> {
        let mut first = Vec::new();
        let config = &loaded.config;
        let port = match config.port() {
            0 => "a free UDP port".to_owned(),
            port => format!("UDP port {port}"),
        };
        let mark = match self.plan.mark {
            0 => String::new(),
            mark => format!(", mark {mark:#x}"),
        };
        first.push(format!("listen on {port}{mark}"));
        let tcp = config.interface.listen_tcp;
        first.extend(tcp.map(|port| format!("listen on TCP port {port}")));
        let mut last: Vec<String> = config.peers.iter().filter_map(reach_text).collect();
        last.extend(warnings(config).into_iter().map(|text| format!("warning: {text}")));
        last.extend(dns_note(loaded, &self.plan));
        for peer in &config.peers {
            for (hooks, when) in [(&peer.up, "connects"), (&peer.down, "disconnects")] {
                last.extend(hooks.iter().map(|hook| {
                    let words = hooks::words(hook, &loaded.name);
                    format!("run {} whenever the peer {when}", words.join(" "))
                }));
            }
        }
        let mut steps: Vec<Step> = self.stale.into_iter().map(Step::Change).collect();
        steps.extend(self.pre_up.into_iter().map(Step::Change));
        steps.extend(first.into_iter().map(Step::Note));
        steps.extend(self.plan.actions.into_iter().map(Step::Change));
        steps.extend(last.into_iter().map(Step::Note));
        steps.extend(self.post_up.into_iter().map(Step::Change));
        steps
    }
}

/// The plan for a tunnel that does not run; what `stale` removes is not there any more.
fn plan(loaded: &Loaded, netns: Option<&Netns>, stale: &[Action]) -> Result<Plan> {
    let leaving: Vec<&Action> = stale.iter().collect();
    let mut seen = Seen::read(netns, &loaded.name, &leaving)?;
    if loaded.config.interface.mtu.is_none() {
        let peers = loaded.config.peers.iter();
        let endpoints = peers.filter_map(|peer| peer.endpoint.as_ref()?.address());
        seen.path_mtu = path_mtu(endpoints.map(|endpoint| endpoint.ip()));
    }
    Ok(Plan::new(loaded.name, &loaded.config, &seen))
}

fn try_clone(netns: Option<&Netns>) -> Result<Option<Netns>> {
    let copy = netns.map(Netns::try_clone).transpose();
    copy.map_err(|error| Error::io("use", "the namespace", &error))
}

/// Hooks run where the program is, whatever namespace the device is in.
fn run_hooks(actions: &[Action]) -> Result<()> {
    actions.iter().try_for_each(|action| {
        let Action::Run(program) = action else { return Ok(()) };
        helper::run(&program.words).map_err(|why| {
            let object = program.words.first().cloned().unwrap_or_default();
            Error::new(Kind::Refused, &SYSTEM, format!("cannot run {why}")).object(object)
        })
    })
}

/// To where a peer's messages go, if that is known.
fn reach_text(peer: &Peer) -> Option<String> {
    let way = match (peer.endpoint_udp(), peer.endpoint_tcp()) {
        (Some(udp), None) => format!("{udp} by UDP"),
        (None, Some(tcp)) => format!("{tcp} by TCP"),
        (Some(udp), Some(tcp)) => {
            format!("{udp} by UDP, or to {tcp} by TCP if UDP is not answered")
        }
        (None, None) => return None,
    };
    Some(format!("send packets for peer {} to {way}", *peer.public_key.to_base64()))
}

/// What is said where name servers are wanted and cannot be set.
fn dns_note(loaded: &Loaded, plan: &Plan) -> Option<String> {
    let interface = &loaded.config.interface;
    if interface.dns.is_empty() || plan.sets_name_servers() {
        return None;
    }
    let servers: Vec<String> = interface.dns.iter().map(ToString::to_string).collect();
    Some(format!(
        "cannot set the name servers {}: this machine has neither systemd-resolved nor resolvconf; names \
         are resolved as before",
        servers.join(", ")
    ))
}
