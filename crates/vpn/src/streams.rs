//! Peers that are reached by a stream: TCP where a network blocks UDP, or the pipes of another program
//! (`ssh host adit tunnel up --stdio ...`).
//!
//! A stream is a port of the engine. A host that connects is unauthenticated until a message of a peer
//! arrives by its stream; such streams are limited in number and time.
//!
//! A peer that is reached by UDP or TCP, whichever is answered:
//!
//! ```text
//!            2 initiations unanswered              answered
//!   UDP ------------------------------> TCP tried ----------> TCP, and UDP is tried each minute
//!    ^<---- 2 initiations unanswered ------'                                 |
//!    '<------------------------ an initiation by UDP is answered ------------'
//! ```

use crate::address::canonical;
use crate::engine::TunnelEngine;
use crate::file::config::{Peer, PeerEndpoint, Transport};
use crate::host::names::{Names, News};
use adit_engine::{Endpoint, PortId};
use adit_packet::Instant;
use adit_runtime::port::messages::MessagePort;
use adit_runtime::{PeerOptions, Port, Runner};
use adit_tunnel::PublicKey;
use rustix::io::Errno;
use socket2::{Domain, Protocol, Socket, TcpKeepalive, Type};
use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

/// How many streams there may be: each has 260 KiB of memory.
const STREAMS_MAX: usize = 256;

/// How many of them may be unauthenticated, so that these cannot take the places of peers.
const UNAUTHENTICATED_MAX: usize = 64;

/// How long a host may take to authenticate as a peer: two handshakes.
const AUTHENTICATION_TIME: Duration = Duration::from_secs(10);

/// How long after the end of our stream the next attempt follows, doubled up to the maximum.
const RETRY_FIRST: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_secs(30);

/// After this many unanswered initiations in a row, 5 s each, a transport counts as blocked. With fewer, one
/// lost datagram would count as a block.
const UNANSWERED_MAX: u8 = 2;

/// How often UDP is probed while a peer is reached by TCP: an initiation a minute costs nothing, and after a
/// change of the network UDP is back soon.
const PROBE_EVERY: Duration = Duration::from_secs(60);

/// A connection counts as dead when sent data is not acknowledged for this time; idle connections are probed
/// as often. TCP's own 15 minutes would keep a place occupied, and a peer waiting.
const DEAD_AFTER: Duration = Duration::from_secs(30);

/// The engine's ports for streams: even, as the tunnel's are, and above those of layer 2 peers.
const PORTS: std::ops::RangeInclusive<u16> = 0xfe00..=0xfffe;

/// How many bytes may wait in the kernel: with more, a packet would be old when it leaves.
const NOT_SENT_MAX: u32 = 64 * 1024;

/// The streams of a tunnel.
#[derive(Debug)]
pub struct Streams {
    /// The names of TCP endpoints.
    pub names: Names,
    probe_every: Duration,
    listener: Option<Socket>,
    /// Closed to accept and refuse a connection when no descriptor is left.
    spare: Option<Socket>,
    streams: BTreeMap<PortId, Stream>,
    /// Peers that we connect to.
    clients: BTreeMap<PublicKey, Client>,
}

#[derive(Debug)]
struct Stream {
    since: Instant,
    /// The peer that we connected to; `None` for an incoming stream.
    peer: Option<PublicKey>,
    is_authenticated: bool,
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
            listener: None,
            spare: None,
            streams: BTreeMap::new(),
            clients: BTreeMap::new(),
        })
    }

    /// Listens on a TCP port, in both families where the machine has both, or on none, instead of the
    /// previous one.
    ///
    /// # Errors
    /// EADDRINUSE, EACCES for a port below 1024: then it listens on none.
    pub fn listen(&mut self, port: Option<u16>, options: &PeerOptions) -> io::Result<()> {
        (self.listener, self.spare) = (None, None);
        let Some(port) = port else { return Ok(()) };
        let any_v6 = SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), port);
        let any_v4 = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), port);
        let socket = match options.source {
            Some(source) => open(SocketAddr::new(source, port), options)?,
            None => match open(any_v6, options) {
                // A machine without IPv6.
                Err(error) if error.raw_os_error() == Some(Errno::AFNOSUPPORT.raw_os_error()) => {
                    open(any_v4, options)?
                }
                opened => opened?,
            },
        };
        socket.listen(128)?;
        self.spare = socket.try_clone().ok();
        self.listener = Some(socket);
        Ok(())
    }

    /// The port that is listened on.
    pub fn port(&self) -> Option<u16> {
        Some(self.listener.as_ref()?.local_addr().ok()?.as_socket()?.port())
    }

    /// The descriptor that is readable when a host connects.
    pub fn listener(&self) -> Option<BorrowedFd<'_>> {
        self.listener.as_ref().map(AsFd::as_fd)
    }

    /// Accepts a connection.
    pub fn accept(&mut self, runner: &mut Runner<TunnelEngine>) {
        let Some(listener) = &self.listener else { return };
        // The accepted socket is non-blocking, too.
        let (socket, from) = match listener.accept() {
            Ok(accepted) => accepted,
            Err(error) => {
                if matches!(Errno::from_io_error(&error), Some(Errno::MFILE | Errno::NFILE)) {
                    // Accept and close: a connection left in the backlog keeps the listener readable
                    // forever.
                    self.spare = None;
                    drop(listener.accept());
                    self.spare = listener.try_clone().ok();
                }
                return;
            }
        };
        let pending = self.streams.values().filter(|stream| !stream.is_authenticated).count();
        if pending >= UNAUTHENTICATED_MAX || self.streams.len() >= STREAMS_MAX {
            return;
        }
        let from = from.as_socket().map(canonical).map_or(String::new(), |from| from.to_string());
        // A failure closes the connection.
        let _ = self.take_in(runner, &format!("tcp:{from}"), socket, None);
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

    /// Removes a peer and ends its streams.
    pub fn forget(&mut self, runner: &mut Runner<TunnelEngine>, peer: &PublicKey) {
        self.clients.remove(peer);
        self.names.set(*peer, None);
        self.hang_up(runner, peer);
    }

    /// Ends the streams to a peer.
    fn hang_up(&mut self, runner: &mut Runner<TunnelEngine>, peer: &PublicKey) {
        for port in self.ports_of(peer) {
            self.streams.remove(&port);
            runner.detach(port);
            runner.engine_mut().tunnel.forget_endpoint(Endpoint::Port(port));
        }
    }

    /// A port ended; returns whether it was a stream. If we had connected it, the next attempt is scheduled.
    pub fn ended(&mut self, runner: &mut Runner<TunnelEngine>, port: PortId) -> bool {
        let Some(stream) = self.streams.remove(&port) else { return false };
        runner.engine_mut().tunnel.forget_endpoint(Endpoint::Port(port));
        if let Some(client) = stream.peer.and_then(|peer| self.clients.get_mut(&peer)) {
            // A peer that never answered by TCP is tried by UDP first.
            if client.auto.as_mut().is_none_or(|auto| auto.probe_at.take().is_some()) {
                client.retry_again(runner.now());
            }
        }
        true
    }

    /// When [`Self::run_due`] must be called.
    pub fn next_due(&self) -> Option<Instant> {
        let pending = self.streams.values().filter(|stream| !stream.is_authenticated);
        let ends = pending.filter_map(|stream| stream.since.checked_add(AUTHENTICATION_TIME));
        let clients = self.clients.values().filter(|client| client.address.is_some());
        let retries = clients.filter_map(|client| client.retry_at);
        let autos = self.clients.values().filter_map(|client| client.auto.as_ref());
        let probes = autos.filter_map(|auto| auto.probe_at);
        [self.names.next_retry()]
            .into_iter()
            .flatten()
            .chain(ends)
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
        self.check_authentication(runner, now);
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
    /// ENOSPC: there are 256 streams.
    pub fn attach(
        &mut self,
        runner: &mut Runner<TunnelEngine>,
        stream: Box<dyn Port>,
        peer: Option<PublicKey>,
    ) -> io::Result<PortId> {
        let port = self.free_port().ok_or(Errno::NOSPC)?;
        runner.attach(port, stream)?;
        let since = runner.now();
        self.streams.insert(port, Stream { since, peer, is_authenticated: true });
        if let Some(peer) = peer {
            let (engine, now, out) = runner.engine_and_outbox();
            engine.tunnel.set_endpoint(&peer, Endpoint::Port(port));
            engine.tunnel.connect(now, &peer, out);
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
        let socket = open(SocketAddr::new(any, 0), options)?;
        match socket.connect(&address.into()) {
            Err(error) if error.raw_os_error() != Some(Errno::INPROGRESS.raw_os_error()) => {
                return Err(error);
            }
            _ => {}
        }
        self.take_in(runner, &format!("tcp:{address}"), socket, Some(peer))?;
        Ok(())
    }

    fn take_in(
        &mut self,
        runner: &mut Runner<TunnelEngine>,
        name: &str,
        socket: Socket,
        peer: Option<PublicKey>,
    ) -> io::Result<()> {
        socket.set_tcp_nodelay(true)?;
        // Old kernels do not have it: then more waits.
        let _ = socket.set_tcp_notsent_lowat(NOT_SENT_MAX);
        socket.set_tcp_user_timeout(Some(DEAD_AFTER))?;
        let keepalive = TcpKeepalive::new().with_time(DEAD_AFTER).with_interval(DEAD_AFTER / 3);
        socket.set_tcp_keepalive(&keepalive)?;
        let stream = Box::new(MessagePort::socket(name, OwnedFd::from(socket))?);
        let port = self.attach(runner, stream, peer)?;
        if let Some(stream) = self.streams.get_mut(&port) {
            stream.is_authenticated = peer.is_some();
        }
        Ok(())
    }

    /// Marks the streams whose peers have authenticated by now; closes those that were too late.
    fn check_authentication(&mut self, runner: &mut Runner<TunnelEngine>, now: Instant) {
        if self.streams.values().all(|stream| stream.is_authenticated) {
            return;
        }
        let tunnel = &runner.engine().tunnel;
        for key in tunnel.peers() {
            if let Some(Endpoint::Port(port)) = tunnel.status(now, &key).and_then(|s| s.endpoint)
                && let Some(stream) = self.streams.get_mut(&port)
            {
                stream.is_authenticated = true;
            }
        }
        let is_late = |stream: &Stream| {
            !stream.is_authenticated && now.since(stream.since) >= AUTHENTICATION_TIME
        };
        let late: Vec<PortId> = self
            .streams
            .iter()
            .filter(|(_, stream)| is_late(stream))
            .map(|(port, _)| *port)
            .collect();
        for port in late {
            self.streams.remove(&port);
            runner.detach(port);
        }
    }

    fn ports_of(&self, peer: &PublicKey) -> Vec<PortId> {
        let of_peer = self.streams.iter().filter(|(_, stream)| stream.peer == Some(*peer));
        of_peer.map(|(port, _)| *port).collect()
    }

    fn free_port(&self) -> Option<PortId> {
        PORTS.step_by(2).map(PortId).find(|port| !self.streams.contains_key(port))
    }
}

impl Client {
    fn retry_again(&mut self, now: Instant) {
        self.retry_at = now.checked_add(self.delay);
        self.delay = (self.delay * 2).min(RETRY_MAX);
    }
}

/// A non-blocking TCP socket, bound and marked.
fn open(at: SocketAddr, options: &PeerOptions) -> io::Result<Socket> {
    let kind = Type::STREAM.nonblocking();
    let socket = Socket::new(Domain::for_address(at), kind, Some(Protocol::TCP))?;
    if options.mark != 0 {
        socket.set_mark(options.mark)?;
    }
    socket.set_reuse_address(true)?;
    if at.is_ipv6() && at.port() != 0 {
        socket.set_only_v6(!at.ip().is_unspecified())?;
    }
    socket.bind(&at.into())?;
    Ok(socket)
}
