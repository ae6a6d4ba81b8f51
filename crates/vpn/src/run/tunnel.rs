//! A command whose only way out is a tunnel.

use super::options::{Options, WantedTunnel, needs};
use crate::confine;
use crate::daemon::Ended;
use crate::engine::TunnelEngine;
use crate::file::conf::HookPolicy;
use crate::file::config::{Interface as TunnelInterface, Table};
use crate::file::load::Loaded;
use crate::host::changes::HostChanges;
use crate::host::plan::{Plan, Seen, path_mtu};
use crate::up::{self, Pipe, Start};
use adit_device::netlink::TABLE_MAIN;
use adit_device::{Device, IfName, Mode};
use adit_nat::dns::Name as HostName;
use adit_packet::Layer;
use adit_runtime::port::recorded::Recording;
use adit_service::confine::{give_up, restrict_calls, share_name};
use adit_service::error::{Error, Kind, Result, SYSTEM};
use adit_service::event::Events;
use adit_service::host::action::Action;
use adit_service::host::executor::{Executor, Outcome};
use adit_service::namespace::attach::{Interface, Target, attach};
use adit_service::namespace::{PrivateFiles, Running};
use adit_service::sandbox::Sandbox;
use adit_service::supervisor::Supervisor;
use adit_service::supervisor::guest::Guest;
use std::net::IpAddr;

/// The status of a command that was killed, because the tunnel was stopped.
const KILLED: u8 = 128 + 9;

pub(super) fn run(options: &Options, wanted: &WantedTunnel, events: &Events) -> Result<u8> {
    let up = options_of(options, wanted);
    let policy = confine::policy(up.files.clone(), up.hooks, up.device_netns.clone());
    // Before the keys are read.
    let policy = policy.with_sockets_alone();
    let mut apart = vec![Sandbox::prepare_unprivileged(options.sandbox, policy)?];
    let loaded = load(&up)?;
    let interface = &loaded.config.interface;
    let files = PrivateFiles { resolv_conf: resolv_conf(interface), hosts: hosts(&wanted.names) };
    let peers = loaded.config.peers.iter();
    let endpoints = peers.filter_map(|peer| peer.endpoint.as_ref()?.address());
    let path_mtu = path_mtu(endpoints.map(|endpoint| endpoint.ip()));
    let seen = Seen { path_mtu, ..Seen::default() };
    let plan = Plan::new(loaded.name, &loaded.config, &seen);
    let failed = |error| Error::io("wait for", "the command", &error);

    // The command must not reach the helper.
    let namespaces = options.create(files, &mut apart, events)?;
    let sandbox = apart.remove(0);
    let target = Target::Process(namespaces.pid());
    let device = attach(&target, &interface_of(loaded.name, &plan))?;
    let recording = wanted.capture.as_ref();
    let recording =
        recording.map(|path| Recording::packets(path, &loaded.name.to_string())).transpose()?;
    crate::memory::hide();
    let signals = Running::signals().map_err(failed)?;
    let metrics = wanted.metrics.or(loaded.config.interface.metrics);
    let socket = options.control_socket(wanted.name.as_ref(), "tunnel", metrics, events)?;
    share_name(&sandbox, &socket);
    let given = Box::new(Given(Some(device)));
    let changes = HostChanges::new(loaded.name, Some(target.open()?), given);
    // Before the first thread: sockets are opened by the helper.
    let needs = needs(confine::needs_of_run());
    give_up(&sandbox, &needs, events)?;
    let start = Start {
        loaded,
        plan,
        socket,
        uapi: None,
        changes,
        signals: None,
        recording,
        installed: None,
        pipe: None,
    };
    let (mut runner, supervisor) = up.start(start, events)?;
    if let Some(profiles) = &wanted.netem {
        let seed = up::seed().map_err(|error| Error::io("read", "random bytes", &error))?;
        let port = TunnelEngine::device(Mode::Tun);
        runner.set_netem(port, profiles.links(Layer::Packet, seed)?);
    }
    let (daemon, socket) = supervisor.into_parts();
    let mut supervisor = Supervisor::new(Guest::new(daemon), socket, events.clone());
    restrict_calls(&sandbox, &needs, events)?;
    supervisor.service.start(&runner, namespaces, signals)?;
    let result = supervisor.run(&mut runner);
    let (guest, socket) = supervisor.into_parts();
    let (daemon, status) = guest.end();
    // The recording is complete then.
    runner.detach(TunnelEngine::device(Mode::Tun));
    let Ended { failure, .. } = daemon.end(&runner);
    socket.finish();
    result?;
    match (status, failure) {
        (Some(status), _) => Ok(status),
        (None, Some(failure)) => Err(failure),
        (None, None) => Ok(KILLED),
    }
}

/// How the tunnel is started.
fn options_of(options: &Options, wanted: &WantedTunnel) -> up::Options {
    up::Options {
        is_background: false,
        files: wanted.files.clone(),
        // Hooks change the host, and the command is not on it.
        hooks: HookPolicy::Skip,
        private_key: None,
        device_netns: Some(String::new()),
        pipe: Pipe::None,
        sandbox: options.sandbox,
        metrics: None,
        faster: 1,
    }
}

/// Reads the files of a tunnel whose device is the command's only way out.
fn load(up: &up::Options) -> Result<Loaded> {
    let mut loaded = up.load()?;
    if loaded.config.mode() == Mode::Tap {
        return Err(Error::usage("the tunnel of a command carries packets, not frames"));
    }
    let interface = &mut loaded.config.interface;
    // There is no other way out, so the main table is enough, and nothing can leave in clear.
    if interface.table == Table::Auto {
        interface.table = Table::Number(TABLE_MAIN);
    }
    (interface.kill_switch, interface.block_ipv6) = (false, false);
    Ok(loaded)
}

/// The host's `/etc/hosts` with more names.
fn hosts(names: &[(HostName, IpAddr)]) -> Option<String> {
    (!names.is_empty()).then(|| PrivateFiles::hosts_and(names.iter().map(|(name, ip)| (name, *ip))))
}

/// The name servers of the tunnel; without any, those of the host, asked through the tunnel.
fn resolv_conf(interface: &TunnelInterface) -> Option<String> {
    if interface.dns.is_empty() {
        return None;
    }
    let mut text: String =
        interface.dns.iter().map(|server| format!("nameserver {server}\n")).collect();
    if !interface.dns_search.is_empty() {
        text.push_str(&format!("search {}\n", interface.dns_search.join(" ")));
    }
    Some(text)
}

/// The device of a plan.
fn interface_of(name: IfName, plan: &Plan) -> Interface {
    let (mut addresses, mut routes) = (Vec::new(), Vec::new());
    for action in &plan.actions {
        match action {
            Action::AddAddress(address) => addresses.push(address.clone()),
            Action::AddRoute(route) => routes.push(route.clone()),
            _ => {}
        }
    }
    Interface { name, mode: Mode::Tun, addresses, routes, mtu: Some(plan.mtu), mac: None }
}

/// An executor for a device that is complete: nothing else is changed for the tunnel.
struct Given(Option<Device>);

impl Executor for Given {
    fn perform(&mut self, _: &Action) -> Result<Outcome> {
        Ok(Outcome::Unchanged)
    }

    fn take_device(&mut self) -> Result<Device> {
        let none = || Error::new(Kind::NotFound, &SYSTEM, "the device of the command is gone");
        self.0.take().ok_or_else(none)
    }
}
