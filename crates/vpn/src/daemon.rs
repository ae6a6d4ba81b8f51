//! A tunnel that runs: what is done beside packets.

use crate::file::conf::HookPolicy;
use crate::file::config::{Config, Peer};
use crate::file::keys::Key;
use crate::file::load::{Loaded, load};
use crate::host::error::port_error;
use crate::host::hooks::Hooks;
use crate::host::names::{Names, News};
use crate::host::setup::{Applied, Plan, Seen};
use crate::host::stamps::Stamps;
use crate::presence::Presence;
use crate::site::Site;
use crate::state;
use crate::state::View;
use crate::streams::{Streams, Switched};
use crate::uapi;
use crate::uapi::SetRequest;
use crate::uapi::socket::UapiSocket;
use adit_device::netlink::{self, Monitor};
use adit_device::{Link, Mode, Netns};
use adit_engine::{Endpoint, PortId};
use adit_packet::Instant;
use adit_runtime::Port;
use adit_runtime::Runner;
use adit_runtime::{Event, Flow, Gone, Handler, Signal, Token};
use adit_runtime::{PeerOptions, PeerSockets};
use adit_service::control;
use adit_service::control::http::Method;
use adit_service::control::notify::Status;
use adit_service::control::notify::notify;
use adit_service::control::server::{Reply, Server};
use adit_service::error::{Error, Exit, Result, SYSTEM};
use adit_service::output::Output;
use adit_tunnel::{PeerConfig, PublicKey, TunnelEvent};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::io;
use std::time::{Duration, SystemTime};
use zeroize::Zeroizing;

const CONTROL: Token = Token(0);
const UAPI: Token = Token(1);
const NAMES: Token = Token(2);
const STREAMS: Token = Token(3);
const LINKS: Token = Token(4);
const STREAM_NAMES: Token = Token(5);

/// How many changes of links are read in one go; the others stay for the next turn.
const CHANGES_MAX: usize = 64;

/// How often the wall clock is told, which may be set at any time.
const CLOCK_EVERY: Duration = Duration::from_secs(60);

/// The engine's owner.
#[derive(Debug)]
pub struct Daemon {
    pub output: Output,
    pub loaded: Loaded,
    pub hooks: HookPolicy,
    /// Taken out while it serves.
    pub server: Option<Server>,
    pub uapi: Option<UapiSocket>,
    pub names: Names,
    pub netns: Option<Netns>,
    pub link: Link,
    /// Tells of changes that others make to the device; a sandbox may forbid it.
    pub monitor: Option<Monitor>,
    pub plan: Plan,
    pub applied: Applied,
    /// How the sockets are, the port as it was asked for.
    pub sockets: PeerOptions,
    pub streams: Streams,
    /// The port of standard input and output, or of the program in their place: it ends with that.
    pub pipe: Option<PortId>,
    pub next_clock: Instant,
    pub stamps: Stamps,
    pub presence: Presence,
    pub peer_hooks: Hooks,
    /// When its device was made anew.
    pub remade: Option<Instant>,
    pub is_stopping: bool,
    /// Why it ended, if not because it was told to.
    pub failure: Option<Error>,
}

/// What a reload changed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[schemars(title = "adit tunnel reload")]
pub struct Reloaded {
    /// Peers that are new.
    pub added: usize,
    /// Peers of which something changed.
    pub changed: usize,
    /// Peers that are gone.
    pub removed: usize,
    /// Peers that were left alone.
    pub unchanged: usize,
}

impl Daemon {
    /// Watches what there is to hear beside packets, and tells the engine of the peers.
    pub fn begin(&mut self, runner: &mut Runner<Site>) -> io::Result<()> {
        let readable = adit_runtime::Interest { readable: true, writable: false };
        if let Some(server) = &self.server {
            runner.watch(server, CONTROL, readable)?;
        }
        if let Some(uapi) = &self.uapi {
            runner.watch(uapi, UAPI, readable)?;
        }
        runner.watch(&self.names, NAMES, readable)?;
        runner.watch(&self.streams.names, STREAM_NAMES, readable)?;
        if let Some(monitor) = &self.monitor {
            runner.watch(monitor, LINKS, readable)?;
        }
        self.tell_clock(runner);
        for peer in &self.loaded.config.peers {
            let mode = Site::mode_of(runner, &peer.public_key, peer.vxlan).ok_or(Errno::NOSPC)?;
            let config = state::peer_config(peer, state::known(peer), mode);
            let now = runner.now();
            runner.engine_mut().tunnel.set_peer(now, config);
            if let Some(stamp) = self.stamps.received(&peer.public_key) {
                runner.engine_mut().tunnel.raise_timestamp(&peer.public_key, stamp);
            }
            self.names.set(peer.public_key, peer.endpoint_udp());
            self.streams.set_client(peer);
            self.presence.set(now, peer);
        }
        if let Some(listener) = self.streams.listener() {
            runner.watch(listener, STREAMS, readable)?;
        }
        self.streams.run_due(runner, &self.sockets);
        self.set_alarm(runner);
        Ok(())
    }

    /// Moves messages by these descriptors: to and from the only peer, or whoever proves to be one.
    pub fn attach_pipe(
        &mut self,
        runner: &mut Runner<Site>,
        stream: Box<dyn Port>,
    ) -> io::Result<()> {
        let peer = match self.loaded.config.peers.as_slice() {
            [peer] => Some(peer.public_key),
            _ => None,
        };
        self.pipe = Some(self.streams.attach(runner, stream, peer)?);
        Ok(())
    }

    fn tell_clock(&mut self, runner: &mut Runner<Site>) {
        let unix = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
        let now = runner.now();
        runner.engine_mut().tunnel.set_wall_clock(now, unix);
        self.next_clock = now.checked_add(CLOCK_EVERY).unwrap_or(Instant::MAX);
    }

    fn set_alarm(&self, runner: &mut Runner<Site>) {
        let due = [
            Some(self.next_clock),
            self.names.next_retry(),
            self.streams.next_due(),
            self.stamps.due(),
            self.presence.next_due(),
        ];
        runner.set_alarm(due.into_iter().flatten().min());
    }

    fn reply(&mut self, runner: &mut Runner<Site>, request: &control::http::Request) -> Reply {
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

    fn view(&self, runner: &Runner<Site>) -> View {
        let tunnel = &runner.engine().tunnel;
        View {
            ifname: self.loaded.name.to_string(),
            public_key: tunnel.public_key().map(|key| key.to_base64().to_string()),
            listen_port: runner.peers().map_or(0, PeerSockets::port),
            mtu: self.plan.mtu,
            fwmark: Some(self.sockets.mark).filter(|&mark| mark != 0),
            datagrams: runner.peers().map(PeerSockets::counters).unwrap_or_default().into(),
            drops: state::dropped(tunnel.drops()),
            peers: state::peers(tunnel, &self.names, &self.streams, runner.now(), |port| {
                runner.port(port).map_or(String::new(), |(port, _)| port.name().to_owned())
            }),
        }
    }

    fn answer_wg(
        &mut self,
        runner: &mut Runner<Site>,
        request: uapi::Request,
    ) -> Result<Zeroizing<String>, i32> {
        match request {
            uapi::Request::Get => {
                let port = runner.peers().map_or(0, PeerSockets::port);
                let now = runner.now();
                let snapshot =
                    state::snapshot(&runner.engine().tunnel, now, port, self.sockets.mark);
                Ok(uapi::format::get(&snapshot))
            }
            uapi::Request::Set(request) => {
                self.set(runner, *request).map_err(|error| {
                    netlink::raw_errno(&error).unwrap_or(Errno::IO.raw_os_error())
                })?;
                Ok(Zeroizing::new(uapi::format::errno(0)))
            }
        }
    }

    /// Does what `wg` asks for. What can fail comes first.
    fn set(&mut self, runner: &mut Runner<Site>, request: SetRequest) -> io::Result<()> {
        let port = request.listen_port.unwrap_or(self.sockets.port);
        let mark = request.fwmark.unwrap_or(self.sockets.mark);
        self.set_sockets(runner, PeerOptions { port, mark, ..self.sockets })?;
        let (site, _, out) = runner.engine_and_outbox();
        if let Some(key) = request.private_key
            && site.tunnel.config().private_key != key
        {
            site.tunnel.set_private_key(key, out);
        }
        if request.replace_peers {
            let kept = |key: &PublicKey| request.peers.iter().any(|peer| peer.public_key == *key);
            let gone: Vec<PublicKey> = site.tunnel.peers().filter(|key| !kept(key)).collect();
            gone.iter().for_each(|key| self.remove(runner, key));
        }
        for change in &request.peers {
            let key = change.public_key;
            if change.remove {
                self.remove(runner, &key);
                continue;
            }
            let before = runner.engine().tunnel.peer_config(&key);
            let before_mode = before.as_ref().map(|before| before.mode);
            let kept = before.clone().filter(|_| !request.replace_peers);
            if let Some(peer) = state::changed(kept, change) {
                let mode = before_mode.or_else(|| Site::mode_of(runner, &key, None));
                let mode = mode.ok_or(Errno::NOSPC)?;
                let now = runner.now();
                runner.engine_mut().tunnel.set_peer(now, PeerConfig { mode, ..peer });
            }
            if before.is_none() {
                self.presence.set(runner.now(), &Peer::new(key));
            }
            if let Some(endpoint) = change.endpoint {
                self.names.set(key, None);
                self.streams.found_udp(&key, endpoint);
            }
        }
        Ok(())
    }

    /// Changes what differs: another port needs new sockets, another mark does not.
    fn set_sockets(&mut self, runner: &mut Runner<Site>, wanted: PeerOptions) -> io::Result<()> {
        let has_port = |port: u16| runner.peers().is_some_and(|peers| peers.port() == port);
        let same_port = wanted.port == self.sockets.port || has_port(wanted.port);
        if !same_port || wanted.source != self.sockets.source {
            let sockets = PeerSockets::open(&wanted)?;
            runner.set_peers(Some(sockets))?;
        } else if wanted.mark != self.sockets.mark
            && let Some(peers) = runner.peers_mut()
        {
            peers.set_mark(wanted.mark)?;
        }
        self.sockets = wanted;
        Ok(())
    }

    /// Listens on another TCP port, or on none; streams that are there go on. What fails changes nothing.
    fn listen(
        &mut self,
        runner: &Runner<Site>,
        config: &Config,
        options: &PeerOptions,
    ) -> Result<()> {
        let (wanted, now) = (config.interface.listen_tcp, self.streams.port());
        let is_same =
            |other: &PeerOptions| (other.mark, other.source) == (options.mark, options.source);
        if wanted == now && is_same(&self.sockets) {
            return Ok(());
        }
        if let Some(listener) = self.streams.listener() {
            runner.unwatch(listener);
        }
        let listened = self.streams.listen(wanted, options);
        if listened.is_err() {
            // It had the port a moment ago.
            let _ = self.streams.listen(now, &self.sockets);
        }
        let readable = adit_runtime::Interest { readable: true, writable: false };
        let watched = self.streams.listener().map(|fd| runner.watch(fd, STREAMS, readable));
        let what = format!("TCP port {}", wanted.unwrap_or_default());
        let failed = |error| port_error(&what, options, &error);
        listened.map_err(failed)?;
        watched.unwrap_or(Ok(())).map_err(failed)
    }

    /// Reads the files again and does what differs; a mistake in them changes nothing.
    fn reload(&mut self, runner: &mut Runner<Site>) -> Result<Reloaded> {
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
        if plan.mode != self.plan.mode && !new.config.peers.is_empty() {
            let message = "the mode of the peers has changed: stop the tunnel and start it again";
            return Err(Error::usage(message));
        }
        // Without peers nothing says it.
        let plan = Plan { mode: self.plan.mode, ..plan };
        let wanted = PeerOptions {
            port: interface_port(&new.config),
            mark: plan.mark,
            source: new.config.interface.source,
        };
        self.listen(runner, &new.config, &wanted)?;
        if let Err(error) = self.set_sockets(runner, wanted) {
            let before = (self.loaded.config.clone(), self.sockets);
            // The failure that is told is the first.
            let _ = self.listen(runner, &before.0, &before.1);
            return Err(port_error(&format!("UDP port {}", wanted.port), &wanted, &error));
        }
        self.applied.change(&self.link, &self.plan, &plan)?;
        self.warn();
        if plan.tunnel_mtu != self.plan.tunnel_mtu {
            runner.engine_mut().tunnel.set_mtu(u16::try_from(plan.tunnel_mtu).unwrap_or(u16::MAX));
        }
        self.plan = plan;
        let reloaded = self.reload_peers(runner, &new.config);
        self.loaded = new;
        Ok(reloaded)
    }

    fn reload_peers(&mut self, runner: &mut Runner<Site>, new: &Config) -> Reloaded {
        let mut reloaded = Reloaded::default();
        let (site, now, out) = runner.engine_and_outbox();
        let key = new.interface.private_key.clone();
        if site.tunnel.config().private_key != key {
            site.tunnel.set_private_key(key, out);
        }
        let is_kept = |key: &PublicKey| new.peers.iter().any(|peer| peer.public_key == *key);
        let gone: Vec<PublicKey> = site.tunnel.peers().filter(|key| !is_kept(key)).collect();
        gone.iter().for_each(|key| self.remove(runner, key));
        reloaded.removed = gone.len();
        for peer in &new.peers {
            let before = &self.loaded.config.peers;
            let old = before.iter().find(|old| old.public_key == peer.public_key);
            let current = runner.engine().tunnel.peer_config(&peer.public_key);
            let has_moved = old.is_none_or(|old| old.endpoint != peer.endpoint);
            let endpoint = current.as_ref().and_then(|config| config.endpoint);
            let known = state::known(peer);
            let endpoint = if has_moved { known.or(endpoint) } else { endpoint };
            let Some(mode) = Site::mode_of(runner, &peer.public_key, peer.vxlan) else { continue };
            let wanted = state::peer_config(peer, endpoint, mode);
            match &current {
                Some(current) if *current == wanted => reloaded.unchanged += 1,
                Some(_) => reloaded.changed += 1,
                None => reloaded.added += 1,
            }
            if current.as_ref() != Some(&wanted) {
                runner.engine_mut().tunnel.set_peer(now, wanted);
            }
            if old != Some(peer) {
                self.presence.set(now, peer);
            }
            let way = |peer: &Peer| (peer.transport, peer.endpoint_tcp.clone());
            if has_moved || old.is_some_and(|old| way(old) != way(peer)) {
                self.names.set(peer.public_key, peer.endpoint_udp());
                self.streams.forget(runner, &peer.public_key);
                self.streams.set_client(peer);
            }
        }
        reloaded
    }

    fn remove(&mut self, runner: &mut Runner<Site>, peer: &PublicKey) {
        let (site, _, out) = runner.engine_and_outbox();
        site.tunnel.remove_peer(peer, out);
        site.forget(peer);
        self.names.set(*peer, None);
        self.streams.forget(runner, peer);
        let hooks = self.presence.remove(peer);
        self.run_hooks(&hooks, peer, None);
    }

    /// Tells what did not work and is not needed by everybody.
    pub fn warn(&mut self) {
        for warning in self.applied.warnings.drain(..) {
            self.output.note(format!("warning: {warning}"));
        }
    }

    /// What only some want to hear.
    pub fn tell(&self, what: std::fmt::Arguments<'_>) {
        if self.output.verbose > 0 {
            self.output.note(what);
        }
    }

    /// A peer was heard there.
    fn heard(&mut self, runner: &mut Runner<Site>, peer: &PublicKey, at: Option<Endpoint>) {
        let name = peer.to_base64();
        match at.and_then(|at| self.streams.heard(runner, peer, at)) {
            None => {}
            Some(Switched::ToTcp(address)) => {
                self.output.note(format!(
                    "{} does not answer by UDP: by TCP to {address}, until it does",
                    *name
                ));
                self.names.ask(*peer);
            }
            Some(Switched::ToUdp) => {
                self.output.note(format!("{} answers by UDP again", *name));
            }
        }
    }

    fn hear_names(&mut self, runner: &mut Runner<Site>) {
        let now = runner.now();
        let tunnel = &runner.engine().tunnel;
        let current = |key: &PublicKey| tunnel.peer_config(key)?.endpoint.and_then(state::udp);
        for news in self.names.news(now, current) {
            match news {
                News::Found(key, address) if !self.streams.found_udp(&key, address) => {}
                News::Failed(why) => self.output.note(format!("cannot find {why}; trying on")),
                News::Found(key, address) => {
                    let (Site { tunnel, .. }, now, out) = runner.engine_and_outbox();
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

    /// Somebody may have given the device another MTU: packets are to be as long as that.
    fn hear_links(&mut self, runner: &mut Runner<Site>) {
        let Some(monitor) = &mut self.monitor else { return };
        let mut mtu = None;
        for _ in 0..CHANGES_MAX {
            match monitor.recv(Some(Duration::ZERO)) {
                Ok(Some(netlink::Event::LinkChanged(link))) if link.name == self.loaded.name => {
                    mtu = Some(link.mtu);
                }
                Ok(Some(netlink::Event::Lost)) => mtu = self.link.info().ok().map(|info| info.mtu),
                Ok(Some(_)) => {}
                Ok(None) => break,
                Err(_) => {
                    // It would be ready for ever.
                    runner.unwatch(&*monitor);
                    break;
                }
            }
        }
        let Some(mtu) = mtu.filter(|&mtu| mtu != self.plan.mtu) else { return };
        self.plan.mtu = mtu;
        if self.plan.mode == Mode::Tun {
            self.plan.tunnel_mtu = mtu;
            runner.engine_mut().tunnel.set_mtu(u16::try_from(mtu).unwrap_or(u16::MAX));
        }
    }

    fn signal(&mut self, runner: &mut Runner<Site>, signal: Signal) -> Flow {
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

    fn ready(&mut self, runner: &mut Runner<Site>, token: Token) {
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
            STREAMS => self.streams.accept(runner),
            LINKS => self.hear_links(runner),
            STREAM_NAMES => {
                for why in self.streams.hear_names(runner.now()) {
                    self.output.note(format!("cannot find {why}; trying on"));
                }
            }
            _ => self.hear_names(runner),
        }
    }

    fn pipe_gone(&mut self, why: &Gone) -> Flow {
        let message = format!("the pipe to the peer has ended: {why}");
        self.failure = Some(Error::new(Exit::Refused, &SYSTEM, message));
        Flow::Stop
    }
}

impl Handler<Site> for Daemon {
    fn event(&mut self, runner: &mut Runner<Site>, event: Event) -> Flow {
        match event {
            Event::PortGone { port, why, .. } => {
                if self.pipe == Some(port) {
                    return self.pipe_gone(&why);
                }
                if !self.streams.ended(runner, port) {
                    return self.device_gone(runner, &why);
                }
            }
            Event::Ready(token) => self.ready(runner, token),
            Event::Signal(signal) => return self.signal(runner, signal),
            Event::TooBig { to, len_max } => {
                let now = runner.now();
                runner.engine_mut().tunnel.path_mtu_hint(now, Endpoint::Udp(to), len_max);
            }
            Event::Alarm => {
                let now = runner.now();
                if now >= self.next_clock {
                    self.tell_clock(runner);
                    self.stamps.note(now);
                }
                if self.stamps.due().is_some_and(|at| now >= at) {
                    self.stamps.save(&runner.engine().tunnel, &self.output);
                }
                self.names.retry(now);
            }
            _ => {}
        }
        self.streams.run_due(runner, &self.sockets);
        self.look_who_is_gone(runner);
        self.set_alarm(runner);
        if self.is_stopping { Flow::Stop } else { Flow::Continue }
    }

    fn turn(&mut self, runner: &mut Runner<Site>) {
        let mut has_news = false;
        while let Some(event) = runner.engine_mut().tunnel.poll_event() {
            has_news = true;
            match event {
                TunnelEvent::Silent { peer } => self.names.ask(peer),
                TunnelEvent::Unanswered { peer, count } => {
                    self.streams.unanswered(runner, &peer, count);
                }
                TunnelEvent::Connected { peer, endpoint } => {
                    let at = endpoint.map(|at| at_text(runner, at)).unwrap_or_default();
                    self.tell(format_args!("connected to {} at {at}", *peer.to_base64()));
                    self.heard(runner, &peer, endpoint);
                    self.stamps.note(runner.now());
                    self.came(runner, &peer, endpoint);
                }
                TunnelEvent::Moved { peer, from, to } => {
                    let at = at_text(runner, to);
                    self.tell(format_args!("{} is at {at} now", *peer.to_base64()));
                    self.heard(runner, &peer, Some(to));
                    self.moved(runner, &peer, from, to);
                }
                TunnelEvent::Refused { peer, from } => self.refused(runner, &peer, from),
                TunnelEvent::Heard { peer } => {
                    let config = runner.engine().tunnel.peer_config(&peer);
                    self.came(runner, &peer, config.and_then(|config| config.endpoint));
                }
                _ => {}
            }
        }
        if has_news {
            self.streams.run_due(runner, &self.sockets);
            self.set_alarm(runner);
        }
    }
}

/// An endpoint for people.
pub fn at_text(runner: &Runner<Site>, at: Endpoint) -> String {
    match at {
        Endpoint::Udp(address) => address.to_string(),
        Endpoint::Port(port) => {
            runner.port(port).map_or(String::new(), |(port, _)| port.name().to_owned())
        }
        Endpoint::Flow(flow) => flow.to_string(),
    }
}

/// The port that a configuration asks for.
pub fn interface_port(config: &Config) -> u16 {
    config.interface.listen_port.unwrap_or(0)
}

fn json(value: &impl Serialize) -> Result<Value> {
    serde_json::to_value(value).map_err(|error| Error::from(io::Error::from(error)))
}
