//! How a tunnel starts and ends.

use crate::daemon::{Daemon, interface_port};
use crate::file::conf::HookPolicy;
use crate::file::config::{Hook, Peer};
use crate::file::keys::{Key, fill_random};
use crate::file::load::{Loaded, load};
use crate::file::secret::SecretSource;
use crate::host::error::port_error;
use crate::host::guard::Guard;
use crate::host::hooks::Hooks;
use crate::host::names::Names;
use crate::host::program;
use crate::host::program::Dns;
use crate::host::setup::{Plan, Seen, delete_stale_rules, path_mtu};
use crate::host::stamps::Stamps;
use crate::presence::Presence;
use crate::site::Site;
use crate::streams::Streams;
use crate::uapi::socket::UapiSocket;
use adit_device::netlink::Monitor;
use adit_device::{Device, IfName, Link, Mode, Netns};
use adit_packet::{Instant, Pool, PoolConfig};
use adit_runtime::Port;
use adit_runtime::RaisedPriority;
use adit_runtime::port::device::DevicePort;
use adit_runtime::port::messages::MessagePort;
use adit_runtime::text::netns::open_netns;
use adit_runtime::{PeerOptions, PeerSockets};
use adit_runtime::{Runner, Signals};
use adit_service::control::name::Claim;
use adit_service::control::notify::Status;
use adit_service::control::notify::notify;
use adit_service::control::server::Server;
use adit_service::error::{Error, Exit, Result, SYSTEM};
use adit_service::output::Output;
use adit_tunnel::{PrivateKey, Timing, Tunnel, TunnelConfig};
use rustix::process::{DumpableBehavior, Resource, Rlimit};
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::Command;

/// What a tunnel is started with, beside its files.
#[derive(Clone, Debug)]
pub struct Options {
    pub files: Vec<PathBuf>,
    pub hooks: HookPolicy,
    /// Where the private key is, if not in the files.
    pub private_key: Option<SecretSource>,
    /// The namespace that the device is to be in; the sockets are where the program is.
    pub device_netns: Option<String>,
    /// What moves messages in the place of UDP.
    pub pipe: Pipe,
    /// By how much all intervals of the protocol are shorter: for tests.
    pub faster: u32,
}

/// A pipe to the peer, if there is one.
#[derive(Clone, Debug, Default)]
pub enum Pipe {
    /// None: datagrams and TCP.
    #[default]
    None,
    /// Standard input and output.
    Stdio,
    /// Those of a program, which is started for that.
    Program(Hook),
}

impl Pipe {
    fn open(&self) -> Result<Option<Box<dyn Port>>> {
        match self {
            Self::None => Ok(None),
            Self::Stdio => {
                let opened = || -> io::Result<Box<dyn Port>> {
                    let reader = io::stdin().as_fd().try_clone_to_owned()?;
                    let writer = io::stdout().as_fd().try_clone_to_owned()?;
                    Ok(Box::new(MessagePort::pair("stdio", reader, writer)?))
                };
                let opened = opened();
                opened.map(Some).map_err(|error| Error::io("use", "standard input", &error))
            }
            Self::Program(program) => {
                let name = program.0.first().cloned().unwrap_or_default();
                let started = || -> io::Result<Box<dyn Port>> {
                    let (ours, theirs) = UnixStream::pair()?;
                    let input = OwnedFd::from(theirs.try_clone()?);
                    let mut command = Command::new(&name);
                    command.args(program.0.get(1..).unwrap_or_default());
                    // It ends when its input does, as ssh and socat do.
                    command.stdin(input).stdout(OwnedFd::from(theirs)).spawn()?;
                    Ok(Box::new(MessagePort::socket(format!("exec:{name}"), ours.into())?))
                };
                started().map(Some).map_err(|error| Error::io("start", &name, &error))
            }
        }
    }
}

impl Options {
    /// The files, read and complete.
    ///
    /// # Errors
    /// All mistakes in them; there is no private key.
    pub fn load(&self) -> Result<Loaded> {
        let mut loaded = load(&self.files, self.hooks)?;
        if let Some(source) = &self.private_key {
            let failed = |error: &dyn std::fmt::Display| {
                Error::usage(format!("no private key from {source}: {error}"))
            };
            let text = source.read().map_err(|error| Error::io("read", source, &error))?;
            let key = PrivateKey::from_base64(&text).map_err(|error| failed(&error))?;
            loaded.config.interface.private_key = Some(key);
        }
        if loaded.config.interface.private_key.is_none() {
            let message = format!("{} has no private key", loaded.files[0].display());
            return Err(Error::usage(message).hint(
                "Put it into the file ('adit tunnel genkey' makes one), or say where it is by \
                 --private-key-file.",
            ));
        }
        Ok(loaded)
    }

    fn netns(&self) -> Result<Option<Netns>> {
        Ok(self.device_netns.as_deref().map(open_netns).transpose()?)
    }

    /// Each action that a start takes, in order.
    ///
    /// # Errors
    /// As [`Options::load`], and those of looking at what there is.
    pub fn actions(&self) -> Result<Vec<String>> {
        let loaded = self.load()?;
        let (plan, _) = plan(&loaded, self.netns()?.as_ref())?;
        let interface = &loaded.config.interface;
        let hooks = &interface.hooks;
        let run = |hooks: &[Hook]| -> Vec<String> {
            let line = |hook| format!("run {}", program::words(hook, &loaded.name).join(" "));
            hooks.iter().map(line).collect()
        };
        let mut actions = run(&hooks.pre_up);
        let port = interface_port(&loaded.config);
        let port =
            if port == 0 { "a port that is free".to_owned() } else { format!("port {port}") };
        let mark = if plan.mark == 0 { String::new() } else { format!(", mark {:#x}", plan.mark) };
        actions.push(format!("listen on UDP {port}{mark}"));
        actions.extend(interface.listen_tcp.map(|port| format!("listen on TCP port {port}")));
        actions.extend(plan.actions());
        actions.extend(loaded.config.peers.iter().filter_map(reach_text));
        actions.extend(dns_actions(&loaded, Dns::find()));
        actions.extend(run(&hooks.post_up));
        for peer in &loaded.config.peers {
            for (hooks, when) in [(&peer.up, "comes"), (&peer.down, "is gone")] {
                actions.extend(hooks.iter().map(|hook| {
                    let words = program::words(hook, &loaded.name);
                    format!("run {} whenever the peer {when}", words.join(" "))
                }));
            }
        }
        Ok(actions)
    }

    /// Runs the tunnel until it is told to stop. `ready` is called when all is there.
    ///
    /// # Errors
    /// What failed first; whatever was done before is taken back.
    pub fn run(&self, output: &Output, ready: impl FnOnce()) -> Result<()> {
        hide_memory();
        let loaded = self.load()?;
        let name = loaded.name;
        let claim = Claim::new(name.to_string().parse().map_err(Error::usage)?);
        let claim = claim.map_err(|error| match error.kind {
            Exit::Conflict => error.hint(
                "A tunnel is called as its file, in whichever network namespace it is: give the file \
                 another name.",
            ),
            _ => error,
        })?;
        let netns = self.netns()?;
        let stale = delete_stale_rules(netns.as_ref())?;
        if !stale.is_empty() {
            // Without nft there is none.
            let _ = Guard::default().replace(&Guard::stale(name), netns.as_ref());
        }
        for rule in stale {
            let rule = crate::host::setup::rule_text(&rule);
            output.note(format!("took away the rule {rule}, left by a tunnel that was killed"));
        }
        if loaded.config.interface.save_config {
            output.note("SaveConfig is ignored: adit does not write to its configuration");
        }
        let hooks = loaded.config.interface.hooks.clone();
        run_hooks(&hooks.pre_up, &name)?;
        let (mut runner, mut daemon) = self.start(loaded, claim, netns, output)?;
        let dns = daemon.set_dns();
        let started = run_hooks(&hooks.post_up, &name);
        if started.is_ok() {
            notify(Status::Ready);
            ready();
            let ahead = RaisedPriority::new();
            let result = runner.run(&mut daemon);
            drop(ahead);
            daemon.stamps.save(&runner.engine().tunnel, output);
            notify(Status::Stopping);
            if let Err(error) = result {
                daemon.failure = Some(Error::io("wait for", "packets", &error));
            }
        }
        daemon.end_hooks();
        let mut failures = Vec::new();
        let mut note = |result: Result<()>| failures.extend(result.err().map(|e| e.report.message));
        note(run_hooks(&hooks.pre_down, &name));
        if let Some(dns) = dns {
            note(run_program(&dns.unset(&name), None));
        }
        failures.extend(daemon.applied.undo(&daemon.link));
        // The device goes with its last descriptor.
        drop(runner);
        failures.extend(run_hooks(&hooks.post_down, &name).err().map(|e| e.report.message));
        for failure in failures {
            output.note(format!("warning: {failure}"));
        }
        if let Some(server) = daemon.server.take() {
            server.finish();
        }
        started.and(daemon.failure.map_or(Ok(()), Err))
    }

    /// Device, sockets and engine, joined in a loop.
    fn start(
        &self,
        loaded: Loaded,
        claim: Claim,
        netns: Option<Netns>,
        output: &Output,
    ) -> Result<(Runner<Site>, Daemon)> {
        let (plan, mark) = plan(&loaded, netns.as_ref())?;
        let interface = &loaded.config.interface;
        let port = interface_port(&loaded.config);
        let sockets = PeerOptions { port, mark, source: interface.source };
        let failed = |error| port_error(&format!("UDP port {port}"), &sockets, &error);
        let peers = PeerSockets::open(&sockets).map_err(failed)?;
        let failed = |error| Error::io("make", "an eventfd", &error);
        let mut streams = Streams::new(self.faster).map_err(failed)?;
        if let Some(port) = interface.listen_tcp {
            let failed = |error| port_error(&format!("TCP port {port}"), &sockets, &error);
            streams.listen(Some(port), &sockets).map_err(failed)?;
        }
        let names = Names::new().map_err(failed)?;
        let name = loaded.name.to_string();
        let uapi = UapiSocket::bind(&name).inspect_err(|error| {
            output.note(format!("'wg' cannot be served: /run/wireguard/{name}.sock: {error}"));
        });
        let server = Server::bind(claim, "tunnel")?;
        // The device last: whatever failed before has changed nothing.
        let copy = netns.as_ref().map(Netns::try_clone).transpose();
        let copy = copy.map_err(|error| Error::io("use", "the namespace", &error))?;
        let (device, applied) = plan.apply(copy)?;
        let stamps = Stamps::open(&name, output);
        let public = interface.private_key.as_ref().map(PrivateKey::public_key);
        let last_timestamp = public.and_then(|key| stamps.sent(&key));
        let config = TunnelConfig {
            private_key: interface.private_key.clone(),
            device: (plan.mode == Mode::Tun).then_some(Site::device(plan.mode)),
            mtu: u16::try_from(plan.tunnel_mtu).unwrap_or(u16::MAX),
            join: !device.offload().is_empty(),
            timing: Timing::STANDARD.faster(self.faster),
            last_timestamp,
            ..TunnelConfig::default()
        };
        let monitor = netns.as_ref().map_or_else(Monitor::open, Monitor::open_in).ok();
        let link = match &netns {
            Some(netns) => Link::find_in(netns, &loaded.name)?,
            None => Link::find(&loaded.name)?,
        };
        let mut daemon = Daemon {
            output: output.clone(),
            hooks: self.hooks,
            server: Some(server),
            uapi: uapi.ok(),
            names,
            netns,
            link,
            monitor,
            plan,
            applied,
            sockets,
            streams,
            pipe: None,
            next_clock: Instant::ZERO,
            stamps,
            presence: Presence::default(),
            peer_hooks: Hooks::new(output.clone()),
            remade: None,
            is_stopping: false,
            failure: None,
            loaded,
        };
        daemon.warn();
        match self.make_loop(config, device, peers, &mut daemon) {
            Ok(runner) => Ok((runner, daemon)),
            Err(error) => {
                daemon.applied.undo(&daemon.link);
                Err(error)
            }
        }
    }

    fn make_loop(
        &self,
        config: TunnelConfig,
        device: Device,
        peers: PeerSockets,
        daemon: &mut Daemon,
    ) -> Result<Runner<Site>> {
        let pipe = self.pipe.open()?;
        let mode = device.mode();
        let random = Box::new(|bytes: &mut [u8]| {
            fill_random(bytes).expect("every Linux since 3.17 has getrandom(2)");
        });
        let failed = |error| Error::io("make", "the loop", &error);
        let mut seed = [0; 8];
        fill_random(&mut seed).map_err(failed)?;
        let site = Site::new(Tunnel::new(config, random), mode, u64::from_ne_bytes(seed));
        let site = site.map_err(|error| Error::usage(format!("the switch: {error}")))?;
        let mut runner = Runner::new(site, Pool::new(PoolConfig::default())).map_err(failed)?;
        Signals::new().and_then(|signals| runner.watch_signals(signals)).map_err(failed)?;
        let port = Box::new(DevicePort::new(device)?);
        runner.attach(Site::device(mode), port).map_err(failed)?;
        runner.set_peers(Some(peers)).map_err(failed)?;
        daemon.begin(&mut runner).map_err(failed)?;
        if let Some(pipe) = pipe {
            daemon.attach_pipe(&mut runner, pipe).map_err(failed)?;
        }
        Ok(runner)
    }
}

impl Daemon {
    /// Sets the name servers that the configuration asks for; gives how they are taken back.
    pub fn set_dns(&self) -> Option<Dns> {
        let (name, interface) = (&self.loaded.name, &self.loaded.config.interface);
        if interface.dns.is_empty() {
            return None;
        }
        let found = Dns::find().filter(|_| self.netns.is_none());
        let Some(dns) = found else {
            for action in dns_actions(&self.loaded, None) {
                self.output.note(format!("warning: {action}"));
            }
            return None;
        };
        for (words, input) in dns.set(name, &interface.dns, &interface.dns_search) {
            if let Err(error) = run_program(&words, input.as_deref()) {
                self.output.note(format!("warning: name servers: {}", error.report.message));
            }
        }
        Some(dns)
    }
}

/// The plan for a tunnel, and the mark of its sockets.
fn plan(loaded: &Loaded, netns: Option<&Netns>) -> Result<(Plan, u32)> {
    let mut seen = Seen::read(netns)?;
    let peers = &loaded.config.peers;
    let endpoints = peers.iter().filter_map(|peer| peer.endpoint.as_ref()?.address());
    let endpoints: Vec<IpAddr> = endpoints.map(|endpoint| endpoint.ip()).collect();
    if loaded.config.interface.mtu.is_none() {
        seen.path_mtu = path_mtu(endpoints.into_iter());
    }
    let plan = Plan::new(loaded.name, &loaded.config, &seen);
    let mark = plan.mark;
    Ok((plan, mark))
}

/// To where a peer's messages go, if that is known.
fn reach_text(peer: &Peer) -> Option<String> {
    let way = match (peer.endpoint_udp(), peer.endpoint_tcp()) {
        (Some(udp), None) => format!("{udp} by UDP"),
        (None, Some(tcp)) => format!("{tcp} by TCP"),
        (Some(udp), Some(tcp)) => {
            format!("{udp} by UDP, or to {tcp} by TCP if that is not answered")
        }
        (None, None) => return None,
    };
    Some(format!("send to {way} what is for the peer {}", *peer.public_key.to_base64()))
}

fn dns_actions(loaded: &Loaded, dns: Option<Dns>) -> Vec<String> {
    let interface = &loaded.config.interface;
    if interface.dns.is_empty() {
        return Vec::new();
    }
    let servers: Vec<String> = interface.dns.iter().map(ToString::to_string).collect();
    let servers = servers.join(", ");
    match dns {
        None => vec![format!(
            "name servers {servers} are not set: this machine has neither systemd-resolved nor \
             resolvconf; names are asked for as before"
        )],
        Some(dns) => {
            let programs = dns.set(&loaded.name, &interface.dns, &interface.dns_search);
            programs.iter().map(|(words, _)| format!("run {}", words.join(" "))).collect()
        }
    }
}

fn run_hooks(hooks: &[Hook], name: &IfName) -> Result<()> {
    hooks.iter().try_for_each(|hook| run_program(&program::words(hook, name), None))
}

fn run_program(words: &[String], input: Option<&str>) -> Result<()> {
    program::run(words, input).map_err(|error| {
        Error::new(Exit::Refused, &SYSTEM, format!("cannot run {error}"))
            .object(words.first().cloned().unwrap_or_default())
    })
}

/// No core file and no debugger of the same user shall see the keys.
fn hide_memory() {
    // They work for every process; where a sandbox forbids one, the others hold. A core file that is made
    // all the same, by root's gcore, has no memory in it, as if all were marked by MADV_DONTDUMP. First, as
    // what is not dumpable may not write there any more.
    let _ = std::fs::write("/proc/self/coredump_filter", "0");
    let _ = rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable);
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    let _ = rustix::process::setrlimit(Resource::Core, none);
}
