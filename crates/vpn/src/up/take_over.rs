//! The start of a tunnel that another process hands over.

use crate::cipher::Measurement;
use crate::confine;
use crate::daemon::host::Host;
use crate::daemon::{Daemon, Parts};
use crate::endpoints::Endpoints;
use crate::engine::TunnelEngine;
use crate::file::load::{Given, Loaded, load_complete};
use crate::host::changes::HostChanges;
use crate::host::plan::Plan;
use crate::host::timestamps::Timestamps;
use crate::memory;
use crate::uapi::socket::UapiSocket;
use crate::up::{Options, random, seed, try_clone};
use crate::upgrade::predecessor::{Inheritance, Predecessor};
use adit_device::netlink::Netlink;
use adit_device::{Device, IfName, Link, Mode, Netns};
use adit_packet::{Pool, PoolConfig};
use adit_runtime::RaisedPriority;
use adit_runtime::port::kinds::device::DevicePort;
use adit_runtime::{PeerSockets, Runner, Signals};
use adit_service::confine::{give_up, restrict_calls, share_name};
use adit_service::control::name::{Claim, Name};
use adit_service::control::server::Server;
use adit_service::control::socket::{ControlSocket, Listener};
use adit_service::error::{Error, Kind, Result, SYSTEM};
use adit_service::event::Events;
use adit_service::helper::RemoteExecutor;
use adit_service::host::executor::{Executor, HostExecutor};
use adit_service::sandbox::Sandbox;
use adit_service::supervisor::Supervisor;
use adit_tunnel::{Timing, Tunnel, TunnelConfig};
use std::io;
use std::process::ExitStatus;
use std::sync::{Arc, Mutex};

/// What this process can prepare before it has the state.
struct Prepared {
    loaded: Loaded,
    netns: Option<Netns>,
    signals: Signals,
    timestamps: Timestamps,
    aes_is_faster: bool,
}

impl Options {
    /// As [`Self::run`], but the tunnel is the running one of the process that started this one.
    ///
    /// # Errors
    /// This process cannot take over, and the other one continues; later, as [`Self::run`].
    pub fn take_over(&self, sandbox: &Sandbox, events: &Events) -> Result<Option<ExitStatus>> {
        let predecessor = Predecessor::new()?;
        // Before the capability for it is given up.
        let _priority = RaisedPriority::new();
        let taken = self.take_from(&predecessor, sandbox, events);
        let (runner, mut supervisor, waits) = taken.inspect_err(|error| predecessor.fail(error))?;
        supervisor.service.own(&runner, waits.then_some(predecessor))?;
        let hooks = supervisor.service.hooks().clone();
        let restricted = restrict_calls(sandbox, &confine::needs(&self.pipe), events);
        self.run_to_end((runner, supervisor), &hooks, restricted, events)
    }

    fn take_from(
        &self,
        predecessor: &Predecessor,
        sandbox: &Sandbox,
        events: &Events,
    ) -> Result<(Runner<TunnelEngine>, Supervisor<Daemon>, bool)> {
        let prepared = self.prepare(sandbox, events)?;
        let mut inheritance = predecessor.inherit()?;
        let (pid, waits) = (inheritance.passed.pid, inheritance.passed.waits);
        let (mut runner, mut daemon, mut socket) =
            self.restore(prepared, &mut inheritance, sandbox, events)?;
        share_name(sandbox, &socket);
        let now = runner.now();
        daemon.resume(&mut runner, inheritance.passed, inheritance.fds)?;
        predecessor.ready()?;
        predecessor.running()?;
        if let Err(error) = socket.own() {
            events.note(format!("warning: cannot write the process number to the lock: {error}"));
        }
        predecessor.named();
        let gap = runner.now().since(now);
        events.detail(format_args!("took over from process {pid} in {} ms", gap.as_millis()));
        Ok((runner, Supervisor::new(daemon, socket, events.clone()), waits))
    }

    fn prepare(&self, sandbox: &Sandbox, events: &Events) -> Result<Prepared> {
        // The key is in the state, wherever it came from.
        let given = Given { private_key: true, device_netns: self.device_netns.is_some() };
        let loaded = load_complete(&self.files, self.hooks, given)?;
        let signals = Signals::new().map_err(|error| Error::io("catch", "signals", &error))?;
        let timestamps = Timestamps::open(&loaded.name.to_string(), events);
        let netns = self.netns()?;
        // Before the first thread, and before anything of the other process is read.
        give_up(sandbox, &confine::needs(&self.pipe), events)?;
        let measurement = Measurement::start();
        Ok(Prepared { loaded, netns, signals, timestamps, aes_is_faster: measurement.finish() })
    }

    /// Everything but peers, from the state.
    fn restore(
        &self,
        prepared: Prepared,
        inheritance: &mut Inheritance,
        sandbox: &Sandbox,
        events: &Events,
    ) -> Result<(Runner<TunnelEngine>, Daemon, ControlSocket)> {
        let Prepared { mut loaded, netns, signals, timestamps, aes_is_faster } = prepared;
        let name = loaded.name;
        if inheritance.passed.name != name.to_string() {
            let message = format!("the running tunnel is {}, not {name}", inheritance.passed.name);
            return Err(Error::new(Kind::Refused, &SYSTEM, message));
        }
        let mode = if inheritance.passed.is_tap { Mode::Tap } else { Mode::Tun };
        let device = adopt(inheritance, mode, netns.as_ref())?;
        let config = TunnelConfig {
            aes_is_faster,
            device: (mode == Mode::Tun).then_some(TunnelEngine::device(mode)),
            join: !device.offload().is_empty(),
            timing: Timing::STANDARD.faster(self.faster),
            key_memory: memory::lock,
            ..TunnelConfig::default()
        };
        let failed = |error| Error::io("create", "the loop", &error);
        let tunnel = Tunnel::restore(config, random(), &inheritance.state).ok_or_else(|| {
            Error::new(Kind::Refused, &SYSTEM, "the state of the tunnel has another format")
        })?;
        let interface = &mut loaded.config.interface;
        interface.private_key =
            interface.private_key.take().or_else(|| tunnel.config().private_key.clone());
        let engine = TunnelEngine::resume(tunnel, mode, seed().map_err(failed)?);
        let engine = engine.map_err(|error| Error::usage(format!("the switch: {error}")))?;
        let mut runner = Runner::new(engine, Pool::new(PoolConfig::default())).map_err(failed)?;
        runner.watch_signals(signals).map_err(failed)?;
        let passed = &inheritance.passed;
        let executor = executor_on(name, sandbox, netns.as_ref())?;
        let changes = HostChanges::resume(name, netns, executor, &passed.ledger)?;
        let plan = Plan {
            mode,
            mtu: passed.mtu,
            tunnel_mtu: passed.tunnel_mtu,
            mark: passed.options().mark,
            actions: Vec::new(),
        };
        let port = Box::new(DevicePort::new(device)?);
        runner.attach(TunnelEngine::device(mode), port).map_err(failed)?;
        let sockets = self.sockets(&name, inheritance)?;
        runner.set_peers(Some(sockets.udp)).map_err(failed)?;
        let host = Host::start(name, &Arc::new(Mutex::new(changes)));
        let daemon = Daemon::new(Parts {
            events: events.clone(),
            loaded,
            hook_policy: self.hooks,
            has_device_netns: self.device_netns.is_some(),
            uapi: sockets.uapi,
            endpoints: Endpoints::adopt(inheritance.passed.options(), self.faster, events.clone())?,
            host: host.map_err(|error| Error::io("start", "a thread", &error))?,
            plan,
            timestamps,
            installed: self.installed(&sockets.control)?,
        });
        Ok((runner, daemon, sockets.control))
    }

    /// The sockets beside streams, in the order of [`Passed`](crate::upgrade::Passed).
    fn sockets(&self, name: &IfName, inheritance: &mut Inheritance) -> Result<Sockets> {
        let failed = |error| Error::io("use", "the sockets of the running tunnel", &error);
        let [v4, v6] = inheritance.passed.sockets;
        let mut udp = |is_there: bool| is_there.then(|| inheritance.fd()).transpose();
        let udp = [udp(v4)?, udp(v6)?];
        let udp = PeerSockets::adopt(udp, inheritance.passed.options().mark).map_err(failed)?;
        let socket_name: Name = name.to_string().parse().map_err(Error::usage)?;
        let mut control = if inheritance.passed.control {
            let claim = Claim::adopt(socket_name.clone(), inheritance.fd()?).map_err(failed)?;
            ControlSocket::new(socket_name, Server::adopt(claim, "tunnel", inheritance.fd()?)?)
        } else {
            ControlSocket::none(socket_name, "tunnel")
        };
        if let Some(has_page) = inheritance.passed.metrics {
            control.set_metrics(Some(Listener { socket: inheritance.fd()?.into(), has_page }));
        }
        let uapi = inheritance.passed.uapi.then(|| inheritance.fd()).transpose()?;
        let uapi = uapi.map(|fd| UapiSocket::adopt(&name.to_string(), fd));
        Ok(Sockets { udp, control, uapi: uapi.transpose().map_err(failed)? })
    }
}

struct Sockets {
    udp: PeerSockets,
    control: ControlSocket,
    uapi: Option<UapiSocket>,
}

/// Changes the host of a device that exists: in the helper, if there is one.
fn executor_on(
    name: IfName,
    sandbox: &Sandbox,
    netns: Option<&Netns>,
) -> Result<Box<dyn Executor>> {
    if let Some(helper) = sandbox.helper() {
        return Ok(Box::new(RemoteExecutor::on(name, Arc::clone(helper), netns)?));
    }
    let link = match netns {
        Some(netns) => Link::find_in(netns, &name),
        None => Link::find(&name),
    };
    Ok(Box::new(HostExecutor::on(link?).within(try_clone(netns)?)))
}

fn adopt(inheritance: &mut Inheritance, mode: Mode, netns: Option<&Netns>) -> Result<Device> {
    let netlink = || netns.map(Netlink::open_in).transpose();
    let netlink = netlink().map_err(|error: io::Error| Error::io("open", "netlink", &error))?;
    Ok(Device::adopt_with(inheritance.fd()?, mode, netlink)?)
}
