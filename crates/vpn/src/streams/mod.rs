//! Peers that are reached by a stream: TCP where a network blocks UDP, or the pipes of another program
//! (`ssh host adit tunnel up --stdio ...`).
//!
//! A stream is a port of the engine. A host that connects is unauthenticated until a message of a peer
//! arrives by its stream; such streams are limited in number and time (`unauthenticated`). A peer has one stream
//! to us: its latest.
//!
//! A peer that is reached by UDP or TCP, whichever is answered:
//!
//! ```text
//!            2 initiations unanswered              answered
//!   UDP ------------------------------> TCP tried ----------> TCP, and UDP is tried each minute
//!    ^<---- 2 initiations unanswered ------'                                 |
//!    '<------------------------ an initiation by UDP is answered ------------'
//! ```

mod listener;
mod state;
mod unauthenticated;

pub use state::StreamsState;

use crate::address::address;
use crate::engine::{STREAMS, TunnelEngine};
use crate::file::config::{Peer, PeerEndpoint, Transport};
use crate::host::names::{Names, News};
use crate::streams::listener::{Listener, open, stream_name};
use crate::streams::unauthenticated::{UNAUTHENTICATED_MAX, Unauthenticated};
use adit_engine::{Endpoint, PortId};
use adit_packet::Instant;
use adit_runtime::port::messages::MessagePort;
use adit_runtime::{Gone, ListenerId, PeerOptions, Port, Runner};
use adit_tunnel::{PublicKey, Source};
use rustix::io::Errno;
use rustix::process::{Resource, getrlimit};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::time::Duration;

/// How long after the end of our stream the next attempt follows, doubled up to the maximum.
const RETRY_FIRST: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_secs(30);

/// After this many unanswered initiations in a row, 5 s each, a transport counts as blocked. With fewer, one
/// lost datagram would count as a block.
const UNANSWERED_MAX: u8 = 2;

/// How often UDP is probed while a peer is reached by TCP: an initiation a minute costs nothing, and after a
/// change of the network UDP is back soon.
const PROBE_EVERY: Duration = Duration::from_secs(60);

/// The streams of a tunnel.
#[derive(Debug)]
pub struct Streams {
    /// The names of TCP endpoints.
    pub names: Names,
    probe_every: Duration,
    /// The port that is listened on, and the listener.
    port: Option<u16>,
    listener: Listening,
    /// The streams of hosts that connected and are no peers so far.
    unauthenticated: Unauthenticated,
    /// All other streams.
    streams: BTreeMap<PortId, Stream>,
    /// The port that was given last: a number is given again as late as possible.
    last_port: u16,
    /// Peers that we connect to.
    clients: BTreeMap<PublicKey, Client>,
    connections: Connections,
}

/// The listener of a tunnel.
#[derive(Debug, Default)]
enum Listening {
    #[default]
    Off,
    /// The loop does not have it yet.
    Bound(Listener),
    On(ListenerId),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stream {
    /// A pipe, or our connection to a peer.
    Ours(Option<PublicKey>),
    /// The connection of a peer to us.
    Theirs(PublicKey),
}

/// Connections to the TCP port of a tunnel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Connections {
    /// Accepted so far.
    pub accepted: u64,
    /// Of hosts that have not authenticated yet.
    pub unauthenticated: usize,
    /// Of peers.
    pub authenticated: usize,
    /// Closed because the host sent what no peer sends.
    pub invalid: u64,
    /// Closed because the host did not authenticate in time.
    pub expired: u64,
    /// Closed to make room: the oldest of the address with the most unauthenticated connections.
    pub displaced: u64,
    /// Closed because the peer has connected again.
    pub replaced: u64,
}

/// A port that has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndedPort {
    /// It was no stream.
    Other,
    /// The stream of an unauthenticated host, or one that we closed: nothing follows from it.
    Unauthenticated,
    /// The stream of a peer.
    Stream,
}

/// A peer that we connect to.
#[derive(Debug)]
struct Client {
    /// Its address; `None` until its name is resolved.
    address: Option<SocketAddr>,
    /// When to connect; `None` while it is connected, or reached by UDP.
    retry_at: Option<Instant>,
    delay: Duration,
    /// Set if it is reached by UDP where that works.
    auto: Option<Auto>,
}

#[derive(Debug)]
struct Auto {
    /// Its UDP address; `None` until its name is resolved.
    udp: Option<SocketAddr>,
    /// When UDP is probed; `None` while it is not reached by TCP.
    probe_at: Option<Instant>,
}

/// A peer that is reached by UDP or TCP uses the other one now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Switched {
    /// TCP to this address, because it does not answer by UDP.
    ToTcp(SocketAddr),
    /// UDP again.
    ToUdp,
}

impl Streams {
    /// No stream yet. UDP is probed `faster` times as often as usual.
    ///
    /// # Errors
    /// EMFILE.
    pub fn new(faster: u32) -> io::Result<Self> {
        Ok(Self {
            names: Names::new()?,
            probe_every: PROBE_EVERY / faster.max(1),
            port: None,
            listener: Listening::Off,
            unauthenticated: Unauthenticated::new(unauthenticated_max()),
            streams: BTreeMap::new(),
            last_port: *STREAMS.end(),
            clients: BTreeMap::new(),
            connections: Connections::default(),
        })
    }

    /// Binds a TCP port, in both families where the machine has both; [`Self::watch`] accepts connections.
    ///
    /// # Errors
    /// EADDRINUSE, EACCES for a port below 1024.
    pub fn bind(&mut self, port: u16, options: &PeerOptions) -> io::Result<()> {
        self.listener = Listening::Bound(Listener::bind(port, options)?);
        self.port = Some(port);
        Ok(())
    }

    /// Has the loop accept connections.
    ///
    /// # Errors
    /// ENOMEM, ENOSPC.
    pub fn watch(&mut self, runner: &mut Runner<TunnelEngine>) -> io::Result<()> {
        if let Listening::Bound(listener) = std::mem::take(&mut self.listener) {
            self.listener = Listening::On(runner.listen(Box::new(listener))?);
        }
        Ok(())
    }

    /// Listens on another TCP port, or on none; streams that exist continue.
    ///
    /// # Errors
    /// EADDRINUSE, EACCES for a port below 1024: then it listens on none.
    pub fn listen(
        &mut self,
        runner: &mut Runner<TunnelEngine>,
        port: Option<u16>,
        options: &PeerOptions,
    ) -> io::Result<()> {
        if let Listening::On(listener) = std::mem::take(&mut self.listener) {
            runner.close_listener(listener);
        }
        self.port = None;
        let Some(port) = port else { return Ok(()) };
        self.bind(port, options)?;
        self.watch(runner)
    }

    /// The port that is listened on.
    pub const fn port(&self) -> Option<u16> {
        self.port
    }

    /// What became of the connections to it.
    pub fn connections(&self) -> Connections {
        let theirs = |stream: &&Stream| matches!(stream, Stream::Theirs(_));
        Connections {
            unauthenticated: self.unauthenticated.count(),
            authenticated: self.streams.values().filter(theirs).count(),
            ..self.connections
        }
    }

    /// A host has connected: it is unauthenticated for now. Dropping the port closes the connection.
    pub fn accepted(&mut self, runner: &mut Runner<TunnelEngine>, stream: Box<dyn Port>) {
        self.connections.accepted += 1;
        let Some(port) = self.free_port().filter(|port| runner.attach(*port, stream).is_ok())
        else {
            return;
        };
        let host = address(runner, Endpoint::Port(port)).map(|host| host.ip());
        let source = host.map_or_else(|| Endpoint::Port(port).into(), Source::from);
        runner.engine_mut().tunnel.set_stream_source(port, Some(source));
        if let Some(displaced) = self.unauthenticated.insert(runner.now(), port, source) {
            self.connections.displaced += 1;
            turn_away(runner, displaced);
        }
    }

    /// Sets how a peer is reached. [`Self::forget`] must have ended its old streams.
    pub fn set_client(&mut self, peer: &Peer) {
        let (key, tcp) = (peer.public_key, peer.endpoint_tcp());
        self.names.set(key, tcp);
        let Some(tcp) = tcp else { return };
        let auto = (peer.transport == Transport::Auto).then(|| {
            let udp = peer.endpoint_udp().and_then(PeerEndpoint::address);
            Auto { udp, probe_at: None }
        });
        let retry_at = auto.is_none().then_some(Instant::ZERO);
        let client = Client { address: tcp.address(), retry_at, delay: RETRY_FIRST, auto };
        self.clients.insert(key, client);
    }

    /// The transport of a peer that we connect to by TCP.
    pub fn transport(&self, peer: &PublicKey) -> Option<Transport> {
        let client = self.clients.get(peer)?;
        Some(if client.auto.is_some() { Transport::Auto } else { Transport::Tcp })
    }

    /// Takes in resolved addresses; returns the failures.
    pub fn hear_names(&mut self, now: Instant) -> Vec<String> {
        let Self { names, clients, .. } = self;
        let mut failures = Vec::new();
        for news in names.news(now, |peer| clients.get(peer)?.address) {
            match news {
                News::Failed(why) => failures.push(why),
                News::Found(peer, address) => {
                    if let Some(client) = clients.get_mut(&peer)
                        && client.address.replace(address) != Some(address)
                    {
                        client.delay = RETRY_FIRST;
                        if client.auto.is_none() {
                            client.retry_at = Some(Instant::ZERO);
                        }
                    }
                }
            }
        }
        failures
    }

    /// The UDP address of a peer was resolved; returns whether the peer must be sent to it now.
    pub fn found_udp(&mut self, peer: &PublicKey, address: SocketAddr) -> bool {
        let auto = self.clients.get_mut(peer).and_then(|client| client.auto.as_mut());
        auto.is_none_or(|auto| {
            auto.udp = Some(address);
            auto.probe_at.is_none()
        })
    }

    /// A peer did not answer `count` initiations in a row at its endpoint.
    pub fn unanswered(&mut self, runner: &mut Runner<TunnelEngine>, peer: &PublicKey, count: u8) {
        if count < UNANSWERED_MAX {
            return;
        }
        let (now, is_by_stream) = (runner.now(), !self.ports_of(peer).is_empty());
        let Some(client) = self.clients.get_mut(peer) else { return };
        self.names.ask(*peer);
        match &mut client.auto {
            Some(auto) if is_by_stream => auto.probe_at = None,
            Some(_) => client.retry_at = Some(now),
            None => client.retry_again(now),
        }
        if is_by_stream {
            self.hang_up(runner, peer);
        }
    }

    /// A peer was heard at an endpoint. Returns a change of its transport.
    pub fn heard(
        &mut self,
        runner: &mut Runner<TunnelEngine>,
        peer: &PublicKey,
        at: Endpoint,
    ) -> Option<Switched> {
        if let Endpoint::Port(port) = at
            && self.unauthenticated.remove(port)
        {
            self.close_theirs(runner, peer);
            self.streams.insert(port, Stream::Theirs(*peer));
        }
        let is_here = matches!(at, Endpoint::Port(port) if self.streams.contains_key(&port));
        let client = self.clients.get_mut(peer)?;
        match at {
            Endpoint::Port(_) | Endpoint::Flow(_) if !is_here => None,
            Endpoint::Port(_) | Endpoint::Flow(_) => {
                // It works: the first attempt after its end is a quick one again.
                client.delay = RETRY_FIRST;
                let auto = client.auto.as_mut().filter(|auto| auto.probe_at.is_none())?;
                auto.probe_at = runner.now().checked_add(self.probe_every);
                client.address.map(Switched::ToTcp)
            }
            Endpoint::Udp(_) => {
                let auto = client.auto.as_mut()?;
                client.retry_at = None;
                let was_by_tcp = auto.probe_at.take().is_some();
                if !self.ports_of(peer).is_empty() {
                    self.hang_up(runner, peer);
                    let (engine, now, out) = runner.engine_and_outbox();
                    // A packet that was under way by TCP may have made the peer's endpoint our stream
                    // again, which is closed now: this packet moves it back to UDP.
                    engine.tunnel.send_keepalive(now, peer, out);
                }
                was_by_tcp.then_some(Switched::ToUdp)
            }
        }
    }

    /// Removes a peer and ends all streams to and from it.
    pub fn remove(&mut self, runner: &mut Runner<TunnelEngine>, peer: &PublicKey) {
        self.forget(runner, peer);
        self.close_theirs(runner, peer);
    }

    /// Forgets how a peer is reached, and ends our streams to it.
    pub fn forget(&mut self, runner: &mut Runner<TunnelEngine>, peer: &PublicKey) {
        self.clients.remove(peer);
        self.names.set(*peer, None);
        self.hang_up(runner, peer);
    }

    /// Ends our streams to a peer.
    fn hang_up(&mut self, runner: &mut Runner<TunnelEngine>, peer: &PublicKey) {
        for port in self.ports_of(peer) {
            self.streams.remove(&port);
            close(runner, port);
        }
    }

    /// Ends the stream of a peer to us.
    fn close_theirs(&mut self, runner: &mut Runner<TunnelEngine>, peer: &PublicKey) {
        let theirs = |stream: &Stream| *stream == Stream::Theirs(*peer);
        let found = self.streams.iter().find(|(_, stream)| theirs(stream));
        if let Some(port) = found.map(|(port, _)| *port) {
            self.streams.remove(&port);
            self.connections.replaced += 1;
            close(runner, port);
        }
    }

    /// A port ended. If it was our stream to a peer, the next attempt is scheduled.
    pub fn ended(
        &mut self,
        runner: &mut Runner<TunnelEngine>,
        port: PortId,
        why: &Gone,
    ) -> EndedPort {
        if self.unauthenticated.remove(port) {
            self.connections.invalid += u64::from(matches!(why, Gone::Protocol(_)));
            runner.engine_mut().tunnel.set_stream_source(port, None);
            return EndedPort::Unauthenticated;
        }
        let Some(stream) = self.streams.remove(&port) else {
            // A stream may end by itself and be closed by us in the same turn.
            let is_stream = STREAMS.contains(&port.0);
            return if is_stream { EndedPort::Unauthenticated } else { EndedPort::Other };
        };
        forget(runner, port);
        if let Stream::Ours(Some(peer)) = stream
            && let Some(client) = self.clients.get_mut(&peer)
        {
            // A peer that never answered by TCP is tried by UDP first.
            if client.auto.as_mut().is_none_or(|auto| auto.probe_at.take().is_some()) {
                client.retry_again(runner.now());
            }
        }
        EndedPort::Stream
    }

    /// When [`Self::run_due`] must be called.
    pub fn next_due(&self) -> Option<Instant> {
        let clients = self.clients.values().filter(|client| client.address.is_some());
        let retries = clients.filter_map(|client| client.retry_at);
        let autos = self.clients.values().filter_map(|client| client.auto.as_ref());
        let probes = autos.filter_map(|auto| auto.probe_at);
        [self.names.next_retry()]
            .into_iter()
            .flatten()
            .chain(self.unauthenticated.next_due())
            .chain(retries)
            .chain(probes)
            .min()
    }

    /// Connects and probes where it is time to, and closes streams that did not authenticate.
    pub fn run_due(&mut self, runner: &mut Runner<TunnelEngine>, options: &PeerOptions) {
        let now = runner.now();
        let due = |client: &Client| client.retry_at.is_some_and(|at| at <= now);
        let peers: Vec<(PublicKey, SocketAddr)> = self
            .clients
            .iter()
            .filter(|(_, client)| due(client))
            .filter_map(|(peer, client)| Some((*peer, client.address?)))
            .collect();
        for client in self.clients.values_mut().filter(|client| due(client)) {
            client.retry_at = None;
        }
        for (peer, address) in peers {
            if self.connect(runner, peer, address, options).is_err()
                && let Some(client) = self.clients.get_mut(&peer).filter(|c| c.auto.is_none())
            {
                client.retry_again(now);
            }
        }
        self.try_udp(runner, now);
        self.names.retry(now);
        while let Some(port) = self.unauthenticated.expired(now) {
            self.connections.expired += 1;
            turn_away(runner, port);
        }
    }

    /// Probes UDP for peers that are reached by TCP, where it is time to.
    fn try_udp(&mut self, runner: &mut Runner<TunnelEngine>, now: Instant) {
        for (peer, client) in &mut self.clients {
            let auto = client.auto.as_mut();
            let Some(auto) = auto.filter(|auto| auto.probe_at.is_some_and(|at| at <= now)) else {
                continue;
            };
            auto.probe_at = now.checked_add(self.probe_every);
            if let Some(address) = auto.udp {
                let (engine, now, out) = runner.engine_and_outbox();
                engine.tunnel.probe(now, peer, Endpoint::Udp(address), out);
            }
        }
    }

    /// Adds a stream that is open: to `peer`, or to a peer that authenticates.
    ///
    /// # Errors
    /// ENOSPC: there are 4096 streams.
    pub fn attach(
        &mut self,
        runner: &mut Runner<TunnelEngine>,
        stream: Box<dyn Port>,
        peer: Option<PublicKey>,
    ) -> io::Result<PortId> {
        let port = self.free_port().ok_or(Errno::NOSPC)?;
        runner.attach(port, stream)?;
        self.streams.insert(port, Stream::Ours(peer));
        if let Some(peer) = peer {
            let (engine, now, out) = runner.engine_and_outbox();
            engine.tunnel.connect_by(now, &peer, port, out);
        }
        Ok(port)
    }

    fn connect(
        &mut self,
        runner: &mut Runner<TunnelEngine>,
        peer: PublicKey,
        address: SocketAddr,
        options: &PeerOptions,
    ) -> io::Result<()> {
        self.hang_up(runner, &peer);
        let any = match options.source {
            Some(source) => source,
            None if address.is_ipv4() => Ipv4Addr::UNSPECIFIED.into(),
            None => Ipv6Addr::UNSPECIFIED.into(),
        };
        let socket = open(SocketAddr::new(any, 0), Some(address), options)?;
        let stream = Box::new(MessagePort::socket(stream_name(address), OwnedFd::from(socket))?);
        self.attach(runner, stream, Some(peer))?;
        Ok(())
    }

    fn ports_of(&self, peer: &PublicKey) -> Vec<PortId> {
        let is_of_peer = |stream: &Stream| *stream == Stream::Ours(Some(*peer));
        let of_peer = self.streams.iter().filter(|(_, stream)| is_of_peer(stream));
        of_peer.map(|(port, _)| *port).collect()
    }

    fn free_port(&mut self) -> Option<PortId> {
        let after = (self.last_port..=*STREAMS.end()).chain(STREAMS).step_by(2).map(PortId).skip(1);
        let is_free = |port: &PortId| {
            !self.streams.contains_key(port) && !self.unauthenticated.contains(*port)
        };
        let port =
            after.take(usize::from(STREAMS.end() - STREAMS.start()) / 2 + 1).find(is_free)?;
        self.last_port = port.0;
        Some(port)
    }
}

/// How many hosts may wait to be authenticated: a quarter of the process's descriptors at most.
fn unauthenticated_max() -> usize {
    let descriptors = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    usize::try_from(descriptors / 4).unwrap_or(usize::MAX).clamp(1, UNAUTHENTICATED_MAX)
}

/// Closes a stream of a peer.
fn close(runner: &mut Runner<TunnelEngine>, port: PortId) {
    runner.detach(port);
    forget(runner, port);
}

/// The stream of a peer was closed: it is reached as before, or not at all.
fn forget(runner: &mut Runner<TunnelEngine>, port: PortId) {
    let tunnel = &mut runner.engine_mut().tunnel;
    tunnel.set_stream_source(port, None);
    tunnel.forget_endpoint(Endpoint::Port(port));
}

/// Closes the stream of an unauthenticated host, by which no peer is reached.
fn turn_away(runner: &mut Runner<TunnelEngine>, port: PortId) {
    runner.detach(port);
    runner.engine_mut().tunnel.set_stream_source(port, None);
}

impl Client {
    fn retry_again(&mut self, now: Instant) {
        self.retry_at = now.checked_add(self.delay);
        self.delay = (self.delay * 2).min(RETRY_MAX);
    }
}
