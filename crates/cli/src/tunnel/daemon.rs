//! A tunnel that runs: what is done beside packets.

use super::conf::HookPolicy;
use super::config::Config;
use super::keys::Key;
use super::load::{Loaded, load};
use super::names::{Names, News};
use super::setup::{Applied, Plan, Seen};
use super::state::{self, View};
use super::uapi::{self, SetRequest, UapiSocket};
use crate::control::{self, Method, Reply, Server, Status, notify};
use crate::error::{Error, Exit, Result, SYSTEM};
use crate::output::Output;
use crate::run::{Event, Flow, Gone, Handler, PeerOptions, PeerSockets, Runner, Signal, Token};
use adit::{Link, Netns};
use adit_engine::tunnel::{PublicKey, Tunnel, TunnelEvent};
use adit_engine::{Endpoint, PortId};
use adit_packet::Instant;
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::io;
use std::time::{Duration, SystemTime};
use zeroize::Zeroizing;

/// The port of the engine at which the device is.
pub(super) const DEVICE: PortId = PortId(0);

const CONTROL: Token = Token(0);
const UAPI: Token = Token(1);
const NAMES: Token = Token(2);

/// How often the wall clock is told, which may be set at any time.
const CLOCK_EVERY: Duration = Duration::from_secs(60);

/// The engine's owner.
#[derive(Debug)]
pub(super) struct Daemon {
    pub(super) output: Output,
    pub(super) loaded: Loaded,
    pub(super) hooks: HookPolicy,
    /// Taken out while it serves.
    pub(super) server: Option<Server>,
    pub(super) uapi: Option<UapiSocket>,
    pub(super) names: Names,
    pub(super) netns: Option<Netns>,
    pub(super) link: Link,
    pub(super) plan: Plan,
    pub(super) applied: Applied,
    /// How the sockets are, the port as it was asked for.
    pub(super) sockets: PeerOptions,
    pub(super) next_clock: Instant,
    pub(super) is_stopping: bool,
    /// Why it ended, if not because it was told to.
    pub(super) failure: Option<Error>,
}

/// What a reload changed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[schemars(title = "adit tunnel reload")]
pub(crate) struct Reloaded {
    /// Peers that are new.
    pub(crate) added: usize,
    /// Peers of which something changed.
    pub(crate) changed: usize,
    /// Peers that are gone.
    pub(crate) removed: usize,
    /// Peers that were left alone.
    pub(crate) unchanged: usize,
}

impl Daemon {
    /// Watches what there is to hear beside packets, and tells the engine of the peers.
    pub(super) fn begin(&mut self, runner: &mut Runner<Tunnel>) -> io::Result<()> {
        let readable = crate::run::Interest { readable: true, writable: false };
        if let Some(server) = &self.server {
            runner.watch(server, CONTROL, readable)?;
        }
        if let Some(uapi) = &self.uapi {
            runner.watch(uapi, UAPI, readable)?;
        }
        runner.watch(&self.names, NAMES, readable)?;
        self.tell_clock(runner);
        for peer in &self.loaded.config.peers {
            let config = state::peer_config(peer, state::known(peer.endpoint.as_ref()));
            let now = runner.now();
            runner.engine_mut().set_peer(now, config);
            self.names.set(peer.public_key, peer.endpoint.as_ref());
        }
        Ok(())
    }

    fn tell_clock(&mut self, runner: &mut Runner<Tunnel>) {
        let unix = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
        let now = runner.now();
        runner.engine_mut().set_wall_clock(now, unix);
        self.next_clock = now.checked_add(CLOCK_EVERY).unwrap_or(Instant::MAX);
    }

    fn set_alarm(&self, runner: &mut Runner<Tunnel>) {
        let retry = self.names.next_retry().unwrap_or(Instant::MAX);
        runner.set_alarm(Some(self.next_clock.min(retry)));
    }

    fn reply(&mut self, runner: &mut Runner<Tunnel>, request: &control::Request) -> Reply {
        match (request.method, request.path.as_str()) {
            (Method::Get, "/tunnel") => Reply::from(json(&self.view(runner))),
            (Method::Post, "/reload") => {
                Reply::from(self.reload(runner).and_then(|reloaded| json(&reloaded)))
            }
            (Method::Post, "/stop") => {
                self.is_stopping = true;
                Reply::ok(Value::Null)
            }
            _ => Reply::unknown_path(request),
        }
    }

    fn view(&self, runner: &Runner<Tunnel>) -> View {
        let tunnel = runner.engine();
        View {
            ifname: self.loaded.name.to_string(),
            public_key: tunnel.public_key().map(|key| key.to_base64().to_string()),
            listen_port: runner.peers().map_or(0, PeerSockets::port),
            fwmark: Some(self.sockets.mark).filter(|&mark| mark != 0),
            datagrams: runner.peers().map(PeerSockets::counters).unwrap_or_default().into(),
            drops: state::dropped(tunnel.drops()),
            peers: state::peers(tunnel, &self.names, runner.now()),
        }
    }

    fn answer_wg(
        &mut self,
        runner: &mut Runner<Tunnel>,
        request: uapi::Request,
    ) -> Result<Zeroizing<String>, i32> {
        match request {
            uapi::Request::Get => {
                let port = runner.peers().map_or(0, PeerSockets::port);
                let now = runner.now();
                let snapshot = state::snapshot(runner.engine(), now, port, self.sockets.mark);
                Ok(uapi::get(&snapshot))
            }
            uapi::Request::Set(request) => {
                self.set(runner, *request).map_err(|error| {
                    adit::netlink::raw_errno(&error).unwrap_or(Errno::IO.raw_os_error())
                })?;
                Ok(Zeroizing::new(uapi::errno(0)))
            }
        }
    }

    /// Does what `wg` asks for. What can fail comes first.
    fn set(&mut self, runner: &mut Runner<Tunnel>, request: SetRequest) -> io::Result<()> {
        let port = request.listen_port.unwrap_or(self.sockets.port);
        let mark = request.fwmark.unwrap_or(self.sockets.mark);
        self.set_sockets(runner, PeerOptions { port, mark, ..self.sockets })?;
        let (tunnel, now, out) = runner.engine_and_outbox();
        if let Some(key) = request.private_key
            && tunnel.config().private_key != key
        {
            tunnel.set_private_key(key, out);
        }
        if request.replace_peers {
            let kept = |key: &PublicKey| request.peers.iter().any(|peer| peer.public_key == *key);
            let gone: Vec<PublicKey> = tunnel.peers().filter(|key| !kept(key)).collect();
            for key in gone {
                tunnel.remove_peer(&key, out);
                self.names.set(key, None);
            }
        }
        for change in &request.peers {
            let key = change.public_key;
            if change.remove {
                tunnel.remove_peer(&key, out);
                self.names.set(key, None);
                continue;
            }
            let before = tunnel.peer_config(&key).filter(|_| !request.replace_peers);
            if let Some(peer) = state::changed(before, change) {
                tunnel.set_peer(now, peer);
            }
            if change.endpoint.is_some() {
                self.names.set(key, None);
            }
        }
        Ok(())
    }

    /// Changes what differs: another port needs new sockets, another mark does not.
    fn set_sockets(&mut self, runner: &mut Runner<Tunnel>, wanted: PeerOptions) -> io::Result<()> {
        let has_port = |port: u16| runner.peers().is_some_and(|peers| peers.port() == port);
        let same_port = wanted.port == self.sockets.port || has_port(wanted.port);
        if !same_port || wanted.source != self.sockets.source {
            let sockets = PeerSockets::open(&wanted)?;
            runner.set_peers(Some(sockets))?;
        } else if wanted.mark != self.sockets.mark
            && let Some(peers) = runner.peers()
        {
            peers.set_mark(wanted.mark)?;
        }
        self.sockets = wanted;
        Ok(())
    }

    /// Reads the files again and does what differs; a mistake in them changes nothing.
    fn reload(&mut self, runner: &mut Runner<Tunnel>) -> Result<Reloaded> {
        let mut new = load(&self.loaded.files, self.hooks)?;
        let interface = &mut new.config.interface;
        if interface.private_key.is_none() {
            // It came from elsewhere.
            interface.private_key.clone_from(&self.loaded.config.interface.private_key);
        }
        interface.mtu = interface.mtu.or(Some(self.plan.mtu));
        // Our own rules and table are free for us.
        let mut seen = Seen::read(self.netns.as_ref())?;
        seen.rules.retain(|rule| !self.plan.rules.contains(rule));
        seen.tables.retain(|table| !self.plan.routes.iter().any(|route| route.table == *table));
        let plan = Plan::new(self.loaded.name, &new.config, &seen);
        let wanted = PeerOptions {
            port: interface_port(&new.config),
            mark: plan.mark,
            source: new.config.interface.source,
        };
        self.set_sockets(runner, wanted)
            .map_err(|error| Error::io("open", "the UDP sockets", &error))?;
        self.applied.change(&self.link, &self.plan, &plan)?;
        self.warn();
        if plan.mtu != self.plan.mtu {
            runner.engine_mut().set_mtu(u16::try_from(plan.mtu).unwrap_or(u16::MAX));
        }
        self.plan = plan;
        let reloaded = self.reload_peers(runner, &new.config);
        self.loaded = new;
        Ok(reloaded)
    }

    fn reload_peers(&mut self, runner: &mut Runner<Tunnel>, new: &Config) -> Reloaded {
        let (tunnel, now, out) = runner.engine_and_outbox();
        let mut reloaded = Reloaded::default();
        let key = new.interface.private_key.clone();
        if tunnel.config().private_key != key {
            tunnel.set_private_key(key, out);
        }
        let is_kept = |key: &PublicKey| new.peers.iter().any(|peer| peer.public_key == *key);
        let gone: Vec<PublicKey> = tunnel.peers().filter(|key| !is_kept(key)).collect();
        for key in &gone {
            tunnel.remove_peer(key, out);
            self.names.set(*key, None);
        }
        reloaded.removed = gone.len();
        let before = &self.loaded.config.peers;
        for peer in &new.peers {
            let old = before.iter().find(|old| old.public_key == peer.public_key);
            let current = tunnel.peer_config(&peer.public_key);
            let has_moved = old.is_none_or(|old| old.endpoint != peer.endpoint);
            let endpoint = current.as_ref().and_then(|config| config.endpoint);
            let known = state::known(peer.endpoint.as_ref());
            let wanted =
                state::peer_config(peer, if has_moved { known.or(endpoint) } else { endpoint });
            match &current {
                Some(current) if *current == wanted => reloaded.unchanged += 1,
                Some(_) => reloaded.changed += 1,
                None => reloaded.added += 1,
            }
            if current.as_ref() != Some(&wanted) {
                tunnel.set_peer(now, wanted);
            }
            if has_moved {
                self.names.set(peer.public_key, peer.endpoint.as_ref());
            }
        }
        reloaded
    }

    /// Tells what did not work and is not needed by everybody.
    pub(super) fn warn(&mut self) {
        for warning in self.applied.warnings.drain(..) {
            self.output.note(format!("warning: {warning}"));
        }
    }

    fn hear_names(&mut self, runner: &mut Runner<Tunnel>) {
        let now = runner.now();
        let tunnel = runner.engine();
        let current = |key: &PublicKey| tunnel.peer_config(key)?.endpoint.and_then(state::udp);
        for news in self.names.news(now, current) {
            match news {
                News::Failed(why) => self.output.note(format!("cannot find {why}; trying on")),
                News::Found(key, address) => {
                    let (tunnel, now, out) = runner.engine_and_outbox();
                    tunnel.set_endpoint(&key, Endpoint::Udp(address));
                    let keeps_alive = tunnel
                        .peer_config(&key)
                        .is_some_and(|config| config.persistent_keepalive.is_some());
                    let status = tunnel.status(now, &key);
                    if status.is_some_and(|s| !s.connected && (keeps_alive || s.queued > 0)) {
                        tunnel.connect(now, &key, out);
                    }
                }
            }
        }
    }

    fn signal(&mut self, runner: &mut Runner<Tunnel>, signal: Signal) -> Flow {
        match signal {
            Signal::Interrupt | Signal::Terminate => return Flow::Stop,
            Signal::User1 => {}
            Signal::Hangup => {
                notify(Status::Reloading);
                match self.reload(runner) {
                    Ok(Reloaded { added, changed, removed, unchanged }) => self.output.note(format!(
                        "read again: peers added {added}, changed {changed}, removed {removed}, \
                         unchanged {unchanged}"
                    )),
                    Err(error) => self.output.error(&error.report),
                }
                notify(Status::Ready);
            }
        }
        Flow::Continue
    }

    fn ready(&mut self, runner: &mut Runner<Tunnel>, token: Token) {
        match token {
            CONTROL => {
                if let Some(mut server) = self.server.take() {
                    server.serve(|request| self.reply(runner, request));
                    self.server = Some(server);
                }
            }
            UAPI => {
                if let Some(mut uapi) = self.uapi.take() {
                    uapi.serve(|request| self.answer_wg(runner, request));
                    self.uapi = Some(uapi);
                }
            }
            _ => self.hear_names(runner),
        }
    }

    fn device_gone(&mut self, why: &Gone) -> Flow {
        let message = format!("the device {} is gone: {why}", self.loaded.name);
        let error = Error::new(Exit::Refused, &SYSTEM, message).object(self.loaded.name);
        self.failure = Some(error.hint("Start the tunnel again."));
        Flow::Stop
    }
}

impl Handler<Tunnel> for Daemon {
    fn event(&mut self, runner: &mut Runner<Tunnel>, event: Event) -> Flow {
        match event {
            Event::PortGone { port: DEVICE, why } => return self.device_gone(&why),
            Event::Ready(token, _) => self.ready(runner, token),
            Event::Signal(signal) => return self.signal(runner, signal),
            Event::TooBig { to, len_max } => {
                let now = runner.now();
                runner.engine_mut().path_mtu_hint(now, Endpoint::Udp(to), len_max);
            }
            Event::Alarm => {
                let now = runner.now();
                if now >= self.next_clock {
                    self.tell_clock(runner);
                }
                self.names.retry(now);
            }
            _ => {}
        }
        self.set_alarm(runner);
        if self.is_stopping { Flow::Stop } else { Flow::Continue }
    }

    fn turn(&mut self, runner: &mut Runner<Tunnel>) {
        while let Some(event) = runner.engine_mut().poll_event() {
            match event {
                TunnelEvent::Silent { peer } => self.names.ask(peer),
                TunnelEvent::Connected { peer, endpoint } if self.output.verbose > 0 => {
                    let at = endpoint.map_or(String::new(), |endpoint| format!(" at {endpoint}"));
                    self.output.note(format!("connected to {}{at}", *peer.to_base64()));
                }
                TunnelEvent::Moved { peer, to, .. } if self.output.verbose > 0 => {
                    self.output.note(format!("{} is at {to} now", *peer.to_base64()));
                }
                _ => {}
            }
        }
    }
}

/// The port that a configuration asks for.
pub(super) fn interface_port(config: &Config) -> u16 {
    config.interface.listen_port.unwrap_or(0)
}

fn json(value: &impl Serialize) -> Result<Value> {
    serde_json::to_value(value).map_err(|error| Error::from(io::Error::from(error)))
}
