//! A tunnel that runs: everything beside packets.
//!
//! Nothing here waits: what reads files, dumps netlink, runs nft or another program, or resolves a name, is
//! on a thread of its own and comes back as a ready descriptor.
//!
//! | part | its state |
//! |---|---|
//! | [`Daemon`] | the wanted configuration, the control socket and that of `wg`, the wall clock |
//! | [`host`] | the changes to the host |
//! | [`Endpoints`] | sockets, streams, names |
//! | [`PeerEvents`] | connected peers and their hooks |

mod handover;
pub mod host;
mod metrics;
mod routes;
mod wg;

pub use routes::ROUTES;

use crate::address::endpoint_text;
use crate::daemon::host::{Host, HostResult, SharedChanges, lock};
use crate::endpoints::{Endpoints, WantedSockets};
use crate::engine::TunnelEngine;
use crate::file::conf::HookPolicy;
use crate::file::config::{Config, Peer};
use crate::file::keys::Key;
use crate::file::load::{Given, Loaded, load_complete};
use crate::host::plan::Plan;
use crate::host::timestamps::Timestamps;
use crate::memory;
use crate::peer_events::PeerEvents;
use crate::pipe::{OpenPipe, Program};
use crate::rates::Rates;
use crate::state::{self, Reloaded};
use crate::streams::EndedPort;
use crate::uapi::socket::UapiSocket;
use crate::upgrade::predecessor::Predecessor;
use crate::upgrade::successor::{Installed, Successor, Taken};
use adit_device::{Device, Mode};
use adit_engine::Endpoint;
use adit_packet::Instant;
use adit_runtime::port::kinds::device::DevicePort;
use adit_runtime::{Event, Gone, Interest, Next, Runner, Token};
use adit_service::control::http::{Method, Request};
use adit_service::control::route::Route;
use adit_service::control::server::Reply;
use adit_service::error::{Error, Kind, Result, SYSTEM};
use adit_service::event::Events;
use adit_service::metrics::Snapshot;
use adit_service::supervisor::{Answer, Done, FIRST_TOKEN, Job, Progress, Service, Trigger, value};
use adit_tunnel::{PublicKey, TunnelEvent};
use rustix::io::Errno;
use std::io;
use std::time::{Duration, SystemTime};

const UAPI: Token = Token(FIRST_TOKEN);
const MONITOR: Token = Token(FIRST_TOKEN + 1);
const HOST: Token = Token(FIRST_TOKEN + 2);
const PREDECESSOR: Token = Token(FIRST_TOKEN + 5);

const READABLE: Interest = Interest { readable: true, writable: false };

/// How often the engine gets the wall clock, which may be set at any time.
const CLOCK_EVERY: Duration = Duration::from_secs(60);

/// A device that is deleted twice in this time is not created again: that was on purpose.
const RECREATE_GAP_MIN: Duration = Duration::from_secs(1);

/// The owner of the loop and of everything beside it.
#[derive(Debug)]
pub struct Daemon {
    events: Events,
    loaded: Loaded,
    hook_policy: HookPolicy,
    /// Whether the device is in another network namespace than the sockets.
    has_device_netns: bool,
    uapi: Option<UapiSocket>,
    endpoints: Endpoints,
    host: Host,
    plan: Plan,
    /// What a reload needs to finish, while the host is being changed.
    applying: Option<Box<Applying>>,
    next_clock: Instant,
    timestamps: Timestamps,
    peers: PeerEvents,
    rates: Rates,
    recreated_at: Option<Instant>,
    failure: Option<Error>,
    /// The program to which the tunnel can be handed over.
    installed: Option<Installed>,
    /// The process that has taken over.
    successor: Option<Taken>,
    /// The process from which this one has taken over, if that waits for it.
    predecessor: Option<Predecessor>,
}

/// What a daemon is made of.
#[derive(Debug)]
pub struct Parts {
    /// Where messages go.
    pub events: Events,
    /// The configuration.
    pub loaded: Loaded,
    /// How the hooks of a file are treated when it is read again.
    pub hook_policy: HookPolicy,
    /// Whether the device is in another network namespace than the sockets.
    pub has_device_netns: bool,
    /// The socket of `wg`, if it can be served.
    pub uapi: Option<UapiSocket>,
    /// Sockets, streams, names.
    pub endpoints: Endpoints,
    /// The changes to the host.
    pub host: Host,
    /// What was done to the host.
    pub plan: Plan,
    /// The timestamps of handshakes.
    pub timestamps: Timestamps,
    /// The program to which the tunnel can be handed over; `None` if it is part of another program.
    pub installed: Option<Installed>,
}

/// What is left when a daemon ends.
#[derive(Debug)]
pub struct Ended {
    /// The changes to the host, to be undone.
    pub changes: SharedChanges,
    /// Why it ended, if nobody asked for it.
    pub failure: Option<Error>,
    /// The program at the other end of the pipe, if its end ended the tunnel.
    pub program: Option<Program>,
}

/// What a background job of a reload returns.
#[derive(Debug)]
pub enum Change {
    /// The files, and what they ask for.
    Files(Box<(Loaded, Plan)>),
    /// Whether the host could be changed, and the warnings.
    Host(Result<()>, Vec<String>),
    /// The process that takes over; `None` if the installed program is the one that runs.
    Successor(Option<Successor>),
}

/// A reload whose sockets are changed, while the host is being changed.
#[derive(Debug)]
struct Applying {
    loaded: Loaded,
    plan: Plan,
    /// The sockets before.
    before: WantedSockets,
}

impl Daemon {
    /// A daemon for a loop that does not run yet.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        let Parts {
            events,
            loaded,
            hook_policy,
            has_device_netns,
            uapi,
            endpoints,
            host,
            plan,
            timestamps,
            installed,
        } = parts;
        Self {
            peers: PeerEvents::new(loaded.name, events.clone()),
            events,
            loaded,
            hook_policy,
            has_device_netns,
            uapi,
            endpoints,
            host,
            plan,
            applying: None,
            next_clock: Instant::ZERO,
            timestamps,
            rates: Rates::default(),
            recreated_at: None,
            failure: None,
            installed,
            successor: None,
            predecessor: None,
        }
    }

    /// Watches the descriptors beside packets, and configures the engine's peers.
    ///
    /// # Errors
    /// ENOMEM; ENOSPC: more peers than ports.
    pub fn begin(&mut self, runner: &mut Runner<TunnelEngine>) -> io::Result<()> {
        self.uapi.iter().try_for_each(|uapi| runner.watch(uapi, UAPI, READABLE))?;
        self.host.monitors().try_for_each(|fd| runner.watch(fd, MONITOR, READABLE))?;
        runner.watch(self.host.results_fd(), HOST, READABLE)?;
        self.set_clock(runner);
        for peer in &self.loaded.config.peers {
            let mode =
                TunnelEngine::mode_of(runner, &peer.public_key, peer.vxlan).ok_or(Errno::NOSPC)?;
            let endpoint = state::known(peer).or_else(|| self.timestamps.endpoint(peer));
            let config = state::peer_config(peer, endpoint, mode);
            let now = runner.now();
            runner.engine_mut().tunnel.set_peer(now, config);
            self.timestamps.restore(now, &mut runner.engine_mut().tunnel, &peer.public_key);
            self.endpoints.set(runner, peer);
            self.peers.set(now, peer);
        }
        self.lock_keys();
        self.endpoints.watch(runner)?;
        self.endpoints.run_due(runner);
        self.set_alarm(runner);
        Ok(())
    }

    /// Moves messages through a pipe: to and from the only peer, or a peer that authenticates.
    ///
    /// # Errors
    /// ENOSPC.
    pub fn attach_pipe(
        &mut self,
        runner: &mut Runner<TunnelEngine>,
        pipe: OpenPipe,
    ) -> io::Result<()> {
        let peer = match self.loaded.config.peers.as_slice() {
            [peer] => Some(peer.public_key),
            _ => None,
        };
        self.endpoints.attach_pipe(runner, pipe, peer)
    }

    /// Ends: saves timestamps, runs hooks of connected peers, and waits for jobs on the host's thread.
    #[must_use]
    pub fn end(mut self, runner: &Runner<TunnelEngine>) -> Ended {
        if let Some(save) = self.timestamps.begin_save(&runner.engine().tunnel) {
            let written = save.write();
            self.timestamps.saved(save, written, &self.events);
        }
        self.peers.finish();
        let program = self.endpoints.take_ended_program();
        Ended { changes: self.host.finish(), failure: self.failure, program }
    }

    /// Locks the keys of the configuration; the engine reports its own.
    fn lock_keys(&self) {
        memory::lock_config(&self.loaded.config);
        if memory::is_limited() {
            self.events.detail("RLIMIT_MEMLOCK is too low to keep all keys from being swapped out");
        }
    }

    fn set_clock(&mut self, runner: &mut Runner<TunnelEngine>) {
        let unix = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
        let now = runner.now();
        runner.engine_mut().tunnel.set_wall_clock(now, unix);
        self.next_clock = now.checked_add(CLOCK_EVERY).unwrap_or(Instant::MAX);
    }

    fn set_alarm(&self, runner: &mut Runner<TunnelEngine>) {
        let due = [
            Some(self.next_clock),
            self.endpoints.next_due(),
            self.timestamps.due(),
            self.peers.next_due(),
            self.rates.next_due(),
            self.host.next_due(),
            self.uapi.as_ref().and_then(UapiSocket::next_due),
        ];
        runner.set_alarm(due.into_iter().flatten().min());
    }

    /// The files were read: changes the sockets, and has the host changed.
    fn change_host(
        &mut self,
        runner: &mut Runner<TunnelEngine>,
        loaded: Loaded,
        plan: Plan,
    ) -> Result<Job<Change>> {
        let before = self.endpoints.sockets();
        self.endpoints.change(runner, &WantedSockets::new(&loaded.config, plan.mark))?;
        let (changes, actions) = (self.host.changes(), plan.actions.clone());
        self.applying = Some(Box::new(Applying { loaded, plan, before }));
        Ok(Box::new(move || {
            let mut host = lock(&changes);
            let result = host.apply(&actions);
            // Also a failure: the sockets must go back.
            Ok(Change::Host(result, host.take_warnings()))
        }))
    }

    /// The host was changed: changes the peers. If it could not be, the sockets go back.
    fn change_peers(
        &mut self,
        runner: &mut Runner<TunnelEngine>,
        result: Result<()>,
    ) -> Result<Reloaded> {
        let Some(applying) = self.applying.take() else { return Ok(Reloaded::default()) };
        let Applying { loaded, plan, before } = *applying;
        if let Err(error) = result {
            // They were open a moment ago; the first failure is the one that counts.
            let _ = self.endpoints.change(runner, &before);
            return Err(error);
        }
        self.host.is_complete();
        if plan.tunnel_mtu != self.plan.tunnel_mtu {
            runner.engine_mut().tunnel.set_mtu(u16::try_from(plan.tunnel_mtu).unwrap_or(u16::MAX));
        }
        self.plan = plan;
        let reloaded = self.reload_peers(runner, &loaded.config);
        self.events.configure_log(loaded.config.interface.log.as_ref());
        self.loaded = loaded;
        self.lock_keys();
        Ok(reloaded)
    }

    fn reload_peers(&mut self, runner: &mut Runner<TunnelEngine>, new: &Config) -> Reloaded {
        let mut reloaded = Reloaded::default();
        let (engine, now, out) = runner.engine_and_outbox();
        let key = new.interface.private_key.clone();
        if engine.tunnel.config().private_key != key {
            engine.tunnel.set_private_key(key, out);
        }
        let is_kept = |key: &PublicKey| new.peers.iter().any(|peer| peer.public_key == *key);
        let gone: Vec<PublicKey> = engine.tunnel.peers().filter(|key| !is_kept(key)).collect();
        gone.iter().for_each(|key| self.remove(runner, key));
        reloaded.removed = gone.len();
        for peer in &new.peers {
            let before = &self.loaded.config.peers;
            let old = before.iter().find(|old| old.public_key == peer.public_key);
            let current = runner.engine().tunnel.peer_config(&peer.public_key);
            let has_moved = old.is_none_or(|old| old.endpoint != peer.endpoint);
            let endpoint = current.as_ref().and_then(|config| config.endpoint);
            let known = state::known(peer);
            // A peer roams: the file's endpoint counts only if the file has another one than before.
            let endpoint = if has_moved { known.or(endpoint) } else { endpoint };
            let Some(mode) = TunnelEngine::mode_of(runner, &peer.public_key, peer.vxlan) else {
                continue;
            };
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
                self.peers.set(now, peer);
            }
            let way = |peer: &Peer| (peer.transport, peer.endpoint_tcp.clone());
            if has_moved || old.is_some_and(|old| way(old) != way(peer)) {
                self.endpoints.set(runner, peer);
            }
        }
        reloaded
    }

    fn remove(&mut self, runner: &mut Runner<TunnelEngine>, peer: &PublicKey) {
        let (engine, _, out) = runner.engine_and_outbox();
        engine.tunnel.remove_peer(peer, out);
        engine.forget(peer);
        self.endpoints.remove(runner, peer);
        self.peers.remove(peer);
    }

    /// Takes the results of the host's thread.
    fn host_results(&mut self, runner: &mut Runner<TunnelEngine>) -> Next {
        for result in self.host.results() {
            match result {
                HostResult::Recreated(result, warnings) => {
                    self.warn(&warnings);
                    let attached = result.and_then(|device| self.attach(runner, device));
                    if let Err(error) = attached {
                        let why = format!(", and cannot be recreated: {}", error.report.message);
                        return self.device_is_lost(&Gone::Deleted, &why);
                    }
                }
                HostResult::Restored(restored) => {
                    let mtu = restored.mtu;
                    self.host.restored(runner.now(), restored, &self.events);
                    self.set_mtu(runner, mtu);
                }
                HostResult::Saved(save, result) => {
                    self.timestamps.saved(save, result, &self.events);
                }
            }
        }
        Next::Continue
    }

    /// The device is gone. One that was deleted is created again, with everything that was on it; sessions do not
    /// depend on it. Hooks are not run again: what they did outside of the device is still there.
    fn device_gone(&mut self, runner: &Runner<TunnelEngine>, why: &Gone) -> Next {
        let now = runner.now();
        let is_meant = self.recreated_at.is_some_and(|at| now.since(at) < RECREATE_GAP_MIN);
        if is_meant || !matches!(why, Gone::Deleted) {
            return self.device_is_lost(why, "");
        }
        let mtu = self.plan.mtu;
        self.host.submit(move |host| {
            let result = host.recreate(mtu);
            HostResult::Recreated(result, host.take_warnings())
        });
        Next::Continue
    }

    fn attach(&mut self, runner: &mut Runner<TunnelEngine>, device: Device) -> Result<()> {
        let name = self.loaded.name;
        let port = Box::new(DevicePort::new(device)?);
        let attached = runner.attach(TunnelEngine::device(self.plan.mode), port);
        attached.map_err(|error| Error::io("wait for", name, &error))?;
        self.recreated_at = Some(runner.now());
        self.host.is_complete();
        let hooks = &self.loaded.config.interface.hooks;
        let left = if hooks.post_up.is_empty() { "" } else { "; PostUp is not run again" };
        self.events.note(format!("the device {name} was deleted; it was recreated{left}"));
        Ok(())
    }

    fn device_is_lost(&mut self, why: &Gone, more: &str) -> Next {
        let name = self.loaded.name;
        let message = format!("the device {name} is gone: {why}{more}");
        let error = Error::new(Kind::Refused, &SYSTEM, message).object(name);
        self.failure = Some(error.hint("Start the tunnel again."));
        Next::Stop
    }

    /// Another program may have given the device another MTU: packets must fit that.
    fn set_mtu(&mut self, runner: &mut Runner<TunnelEngine>, mtu: Option<u32>) {
        let Some(mtu) = mtu.filter(|&mtu| mtu != self.plan.mtu) else { return };
        self.plan.mtu = mtu;
        if self.plan.mode == Mode::Tun {
            self.plan.tunnel_mtu = mtu;
            runner.engine_mut().tunnel.set_mtu(u16::try_from(mtu).unwrap_or(u16::MAX));
        }
    }

    fn warn(&self, warnings: &[String]) {
        warnings.iter().for_each(|warning| self.events.note(format!("warning: {warning}")));
    }

    fn ready(&mut self, runner: &mut Runner<TunnelEngine>, token: Token) -> Next {
        match token {
            UAPI => {
                if let Some(mut uapi) = self.uapi.take() {
                    uapi.serve(runner.now(), |request| self.answer_wg(runner, request));
                    self.uapi = Some(uapi);
                }
            }
            MONITOR => match self.host.hear(runner.now()) {
                Ok(mtu) => self.set_mtu(runner, mtu),
                Err(_) => {
                    // It would be ready forever.
                    self.host.monitors().for_each(|fd| runner.unwatch(fd));
                }
            },
            HOST => return self.host_results(runner),
            // It was killed: the tunnel ends with the process that started it.
            PREDECESSOR => return Next::Stop,
            _ => {
                self.endpoints.ready(runner, token);
            }
        }
        Next::Continue
    }

    fn alarm(&mut self, runner: &mut Runner<TunnelEngine>) {
        let now = runner.now();
        if now >= self.next_clock {
            self.set_clock(runner);
            self.timestamps.note(now);
            self.events.flush();
        }
        if self.timestamps.due().is_some_and(|at| now >= at)
            && let Some(save) = self.timestamps.begin_save(&runner.engine().tunnel)
        {
            self.host.submit(move |_| {
                let written = save.write();
                HostResult::Saved(save, written)
            });
        }
    }

    /// What follows from every event: what is due, and what was asked for.
    fn go_on(&mut self, runner: &mut Runner<TunnelEngine>) -> Next {
        self.endpoints.run_due(runner);
        self.peers.expire(runner);
        if self.loaded.config.interface.is_transient && self.peers.is_over() {
            let message = "no peer is connected, and the tunnel must not wait (`persist = false`)";
            self.failure = Some(Error::new(Kind::Timeout, &SYSTEM, message));
            return Next::Stop;
        }
        self.host.run_due(runner.now());
        if let Some(uapi) = &mut self.uapi {
            uapi.run_due(runner.now());
        }
        self.set_alarm(runner);
        Next::Continue
    }
}

impl Service for Daemon {
    type Engine = TunnelEngine;
    type Change = Change;
    type Report = state::View;

    const ROUTES: &'static [Route] = ROUTES;

    /// Reads the files again and plans what they ask for, or starts the process that takes over.
    fn job(&self, trigger: &Trigger) -> Result<Job<Change>> {
        if let Trigger::Request(request) = trigger {
            return self.upgrade(request);
        }
        let (files, hooks) = (self.loaded.files.clone(), self.hook_policy);
        let key = self.loaded.config.interface.private_key.clone();
        let (mtu, mode, changes) = (self.plan.mtu, self.plan.mode, self.host.changes());
        let given = Given { private_key: key.is_some(), device_netns: self.has_device_netns };
        Ok(Box::new(move || {
            let mut new = load_complete(&files, hooks, given)?;
            let interface = &mut new.config.interface;
            // A key that is not in the file came from elsewhere, and an MTU was chosen at the start.
            interface.private_key = interface.private_key.take().or(key);
            interface.mtu = interface.mtu.or(Some(mtu));
            if new.config.mode() != mode && !new.config.peers.is_empty() {
                let message =
                    "the mode of the peers has changed: stop the tunnel and start it again";
                return Err(Error::usage(message));
            }
            let plan = Plan::new(new.name, &new.config, &lock(&changes).seen()?);
            // Without peers nothing says the mode.
            Ok(Change::Files(Box::new((new, Plan { mode, ..plan }))))
        }))
    }

    fn apply(
        &mut self,
        runner: &mut Runner<TunnelEngine>,
        change: Change,
    ) -> Result<Progress<Change>> {
        match change {
            Change::Files(read) => {
                let (loaded, plan) = *read;
                self.change_host(runner, loaded, plan).map(Progress::Next)
            }
            Change::Host(result, warnings) => {
                self.warn(&warnings);
                let reloaded = self.change_peers(runner, result)?;
                let Reloaded { added, changed, removed, unchanged } = &reloaded;
                let line = format!(
                    "peers: {added} added, {changed} changed, {removed} removed, {unchanged} unchanged"
                );
                self.set_alarm(runner);
                Ok(Progress::Done(Done { lines: vec![line], reply: value(&reloaded)? }))
            }
            Change::Successor(successor) => self.change_process(runner, successor),
        }
    }

    fn answer(&mut self, runner: &mut Runner<TunnelEngine>, request: &Request) -> Answer {
        match (request.method, request.path.as_str()) {
            (Method::Get, "/tunnel") => Answer::from(self.status(runner)),
            (Method::Post, "/upgrade") => Answer::Later,
            (Method::Get, "/tunnel/history") => self.rates.report(runner).into(),
            (Method::Get, "/tunnel/peers") => {
                let page = state::PeerPage::of(runner, &self.endpoints, &self.rates, request);
                Answer::from(page.and_then(|page| value(&page)))
            }
            _ => Answer::Now(Reply::unknown_path(request)),
        }
    }

    fn metrics(&mut self, runner: &mut Runner<TunnelEngine>) -> Box<dyn Snapshot> {
        metrics::sample(runner, &self.loaded, self.plan.mode)
    }

    fn report(&self, runner: &Runner<TunnelEngine>) -> state::View {
        let (name, missing) = (self.loaded.name.to_string(), self.host.missing());
        state::view(runner, &self.endpoints, &self.rates, name, self.plan.mtu, missing)
    }

    fn event(&mut self, runner: &mut Runner<TunnelEngine>, event: Event) -> Next {
        let flow = match event {
            Event::PortGone { port, why, .. } => {
                if self.endpoints.is_pipe(port) {
                    self.failure = self.endpoints.pipe_gone(&why);
                    Next::Stop
                } else {
                    match self.endpoints.ended(runner, port, &why) {
                        // An attacker may end any number of them.
                        EndedPort::Unauthenticated => return Next::Continue,
                        EndedPort::Stream => Next::Continue,
                        EndedPort::Other => self.device_gone(runner, &why),
                    }
                }
            }
            Event::Accepted(_, port) => {
                self.endpoints.accepted(runner, port);
                // Only the time to authenticate follows from it.
                self.set_alarm(runner);
                return Next::Continue;
            }
            Event::Ready(token) => self.ready(runner, token),
            Event::TooBig { to, len_max } => {
                tracing::debug!(object = %to, len_max, "the path has a smaller MTU");
                let (now, to) = (runner.now(), Endpoint::Udp(to));
                runner.engine_mut().tunnel.path_mtu_hint(now, to, len_max);
                Next::Continue
            }
            Event::Alarm => {
                self.alarm(runner);
                Next::Continue
            }
            _ => Next::Continue,
        };
        if flow == Next::Stop { Next::Stop } else { self.go_on(runner) }
    }

    fn has_successor(&self) -> bool {
        self.successor.is_some()
    }

    fn turn(&mut self, runner: &mut Runner<TunnelEngine>) {
        let mut has_news = self.rates.sample(runner);
        while let Some(event) = runner.engine_mut().tunnel.poll_event() {
            has_news = true;
            match event {
                TunnelEvent::Silent { peer } => self.endpoints.silent(peer),
                TunnelEvent::Unanswered { peer, count } => {
                    self.endpoints.unanswered(runner, &peer, count);
                }
                TunnelEvent::Connected { peer, endpoint } => {
                    let at = endpoint.map(|at| endpoint_text(runner, at)).unwrap_or_default();
                    self.events
                        .detail(format_args!("handshake with {} at {at}", *peer.to_base64()));
                    self.endpoints.heard(runner, &peer, endpoint);
                    self.timestamps.note(runner.now());
                    self.peers.heard(runner, &peer, endpoint);
                }
                TunnelEvent::Moved { peer, from, to } => {
                    let at = endpoint_text(runner, to);
                    self.events.detail(format_args!("{} is at {at} now", *peer.to_base64()));
                    self.endpoints.heard(runner, &peer, Some(to));
                    self.peers.moved(runner, &peer, from, to);
                }
                TunnelEvent::Refused { peer, from } => self.peers.refused(runner, &peer, from),
                TunnelEvent::ClockAhead { peer, by } => self.peers.clock_ahead(&peer, by),
                TunnelEvent::Cipher { peer, suite } => self.peers.cipher(&peer, suite),
                TunnelEvent::NotPostQuantum { peer } => self.peers.not_post_quantum(&peer),
                TunnelEvent::Heard { peer } => {
                    let config = runner.engine().tunnel.peer_config(&peer);
                    let endpoint = config.and_then(|config| config.endpoint);
                    self.peers.heard(runner, &peer, endpoint);
                }
                _ => {}
            }
        }
        if has_news {
            self.endpoints.run_due(runner);
            self.set_alarm(runner);
        }
    }
}
