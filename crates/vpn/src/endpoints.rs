//! How the peers of a tunnel are reached: UDP sockets, streams, and names of endpoints.

use crate::address::udp;
use crate::engine::TunnelEngine;
use crate::file::config::{Config, Peer, Transport};
use crate::file::keys::Key;
use crate::host::error::port_error;
use crate::host::names::{Names, News};
use crate::pipe::{OpenPipe, Program};
use crate::streams::{Connections, EndedPort, Streams, Switched};
use adit_engine::{Endpoint, PortId};
use adit_packet::Instant;
use adit_runtime::{Gone, Interest, PeerOptions, PeerSockets, Port, Runner, Token};
use adit_service::error::{Error, Kind, Result, SYSTEM};
use adit_service::event::Events;
use adit_service::supervisor::FIRST_TOKEN;
use adit_tunnel::PublicKey;
use std::io;
use std::time::Duration;

const NAMES: Token = Token(FIRST_TOKEN + 3);
const STREAM_NAMES: Token = Token(FIRST_TOKEN + 4);

const READABLE: Interest = Interest { readable: true, writable: false };

/// How long a start waits for names: as long as a resolver waits for its first server.
const NAMES_TIME_MAX: Duration = Duration::from_secs(5);

/// The sockets of a tunnel, and where its peers are.
#[derive(Debug)]
pub struct Endpoints {
    events: Events,
    names: Names,
    /// How the sockets are, the port as the configuration has it.
    options: PeerOptions,
    streams: Streams,
    /// The port of standard input and output, or of the program in their place: the tunnel ends with it.
    pipe: Option<PortId>,
    /// That program.
    program: Option<Program>,
    /// Whether the other end closed the pipe.
    is_pipe_closed: bool,
}

/// The sockets of a configuration.
#[derive(Clone, Copy, Debug)]
pub struct WantedSockets {
    /// UDP.
    pub udp: PeerOptions,
    /// The TCP port to listen on.
    pub tcp: Option<u16>,
}

impl WantedSockets {
    /// Those of a configuration, with this mark.
    #[must_use]
    pub fn new(config: &Config, mark: u32) -> Self {
        let interface = &config.interface;
        let udp = PeerOptions { port: config.port(), mark, source: interface.source };
        Self { udp, tcp: interface.listen_tcp }
    }
}

impl Endpoints {
    /// Continues with the sockets of another process, without peers.
    ///
    /// # Errors
    /// EMFILE.
    pub fn adopt(options: PeerOptions, faster: u32, events: Events) -> Result<Self> {
        let failed = |error| Error::io("create", "an eventfd", &error);
        Ok(Self {
            events,
            names: Names::new().map_err(failed)?,
            options,
            streams: Streams::new(faster).map_err(failed)?,
            pipe: None,
            program: None,
            is_pipe_closed: false,
        })
    }

    /// The streams, and how they are passed on.
    #[must_use]
    pub const fn streams(&self) -> &Streams {
        &self.streams
    }

    /// The streams, to continue those of another process.
    pub const fn streams_mut(&mut self) -> &mut Streams {
        &mut self.streams
    }

    /// Adds a peer of another process: its names were resolved there.
    pub fn resume(&mut self, peer: &Peer) {
        self.names.resume(peer.public_key, peer.endpoint_udp());
        self.streams.names.resume(peer.public_key, peer.endpoint_tcp());
        self.streams.set_client(peer);
    }

    /// Opens the UDP sockets and listens on TCP. All intervals are shorter by the factor `faster`.
    ///
    /// # Errors
    /// EADDRINUSE, EACCES for a port below 1024, EMFILE.
    pub fn open(
        wanted: &WantedSockets,
        faster: u32,
        events: Events,
    ) -> Result<(Self, PeerSockets)> {
        let options = wanted.udp;
        let failed = |error| port_error(&format!("UDP port {}", options.port), &options, &error);
        let peers = PeerSockets::open(&options).map_err(failed)?;
        let failed = |error| Error::io("create", "an eventfd", &error);
        let mut streams = Streams::new(faster).map_err(failed)?;
        if let Some(port) = wanted.tcp {
            let failed = |error| port_error(&format!("TCP port {port}"), &options, &error);
            streams.bind(port, &options).map_err(failed)?;
        }
        let endpoints = Self { streams, ..Self::adopt(options, faster, events)? };
        Ok((endpoints, peers))
    }

    /// Resolves names before the way to their servers changes; waits for at most 5 s.
    pub fn resolve(&mut self, config: &Config) {
        for peer in &config.peers {
            self.names.set(peer.public_key, peer.endpoint_udp());
            self.streams.names.set(peer.public_key, peer.endpoint_tcp());
        }
        self.names.wait(NAMES_TIME_MAX);
        self.streams.names.wait(NAMES_TIME_MAX);
    }

    /// Watches the descriptors.
    ///
    /// # Errors
    /// ENOMEM, ENOSPC.
    pub fn watch(&mut self, runner: &mut Runner<TunnelEngine>) -> io::Result<()> {
        runner.watch(&self.names, NAMES, READABLE)?;
        runner.watch(&self.streams.names, STREAM_NAMES, READABLE)?;
        self.streams.watch(runner)
    }

    /// A host has connected by TCP.
    pub fn accepted(&mut self, runner: &mut Runner<TunnelEngine>, stream: Box<dyn Port>) {
        self.streams.accepted(runner, stream);
    }

    /// What became of the connections to the TCP port; `None` without one.
    #[must_use]
    pub fn connections(&self) -> Option<Connections> {
        self.streams.port().map(|_| self.streams.connections())
    }

    /// Handles a descriptor that is ready; `false` if it belongs to something else.
    pub fn ready(&mut self, runner: &mut Runner<TunnelEngine>, token: Token) -> bool {
        match token {
            STREAM_NAMES => {
                for why in self.streams.hear_names(runner.now()) {
                    self.unresolved(&why);
                }
            }
            NAMES => self.hear_names(runner),
            _ => return false,
        }
        true
    }

    /// How the UDP sockets are.
    #[must_use]
    pub const fn options(&self) -> &PeerOptions {
        &self.options
    }

    /// The sockets as they are now, as wanted ones.
    #[must_use]
    pub fn sockets(&self) -> WantedSockets {
        WantedSockets { udp: self.options, tcp: self.streams.port() }
    }

    /// The name of a peer's endpoint, if it has one.
    #[must_use]
    pub fn name_of(&self, peer: &PublicKey) -> Option<String> {
        self.names.name_of(peer).or_else(|| self.streams.names.name_of(peer))
    }

    /// How a peer is reached that we connect to by TCP.
    #[must_use]
    pub fn transport(&self, peer: &PublicKey) -> Option<Transport> {
        self.streams.transport(peer)
    }

    /// Adds a peer, or changes how it is reached.
    pub fn set(&mut self, runner: &mut Runner<TunnelEngine>, peer: &Peer) {
        self.names.set(peer.public_key, peer.endpoint_udp());
        self.streams.forget(runner, &peer.public_key);
        self.streams.set_client(peer);
    }

    /// Removes a peer: its name, and the streams to it.
    pub fn remove(&mut self, runner: &mut Runner<TunnelEngine>, peer: &PublicKey) {
        self.names.set(*peer, None);
        self.streams.remove(runner, peer);
    }

    /// A peer got an endpoint from `wg`: that counts instead of its name.
    pub fn set_address(&mut self, peer: &PublicKey, address: std::net::SocketAddr) {
        self.names.set(*peer, None);
        self.streams.found_udp(peer, address);
    }

    /// Moves messages through a pipe: to and from `peer`, or a peer that authenticates.
    ///
    /// # Errors
    /// ENOSPC.
    pub fn attach_pipe(
        &mut self,
        runner: &mut Runner<TunnelEngine>,
        pipe: OpenPipe,
        peer: Option<PublicKey>,
    ) -> io::Result<()> {
        self.pipe = Some(self.streams.attach(runner, pipe.port, peer)?);
        self.program = pipe.program;
        Ok(())
    }

    /// The pipe ended. That is a failure unless the other end closed it.
    pub fn pipe_gone(&mut self, why: &Gone) -> Option<Error> {
        self.is_pipe_closed = matches!(why, Gone::Closed);
        if self.is_pipe_closed {
            self.events.note("the other end closed the pipe");
            return None;
        }
        let message = format!("the pipe to the peer failed: {why}");
        Some(Error::new(Kind::Refused, &SYSTEM, message))
    }

    /// The program of the pipe, if it closed the pipe.
    pub fn take_ended_program(&mut self) -> Option<Program> {
        self.program.take().filter(|_| self.is_pipe_closed)
    }

    /// Whether a port is that of the pipe.
    #[must_use]
    pub fn is_pipe(&self, port: PortId) -> bool {
        self.pipe == Some(port)
    }

    /// A port ended.
    pub fn ended(
        &mut self,
        runner: &mut Runner<TunnelEngine>,
        port: PortId,
        why: &Gone,
    ) -> EndedPort {
        self.streams.ended(runner, port, why)
    }

    /// A peer is silent: its name may lead elsewhere by now.
    pub fn silent(&mut self, peer: PublicKey) {
        tracing::debug!(peer = %*peer.to_base64(), "the peer is silent");
        self.names.ask(peer);
    }

    /// A peer did not answer this many initiations in a row.
    pub fn unanswered(&mut self, runner: &mut Runner<TunnelEngine>, peer: &PublicKey, count: u8) {
        tracing::debug!(peer = %*peer.to_base64(), count, "handshakes are not answered");
        self.streams.unanswered(runner, peer, count);
    }

    /// A peer was heard at an endpoint. A peer that is reached by UDP or TCP stays where it answers.
    pub fn heard(
        &mut self,
        runner: &mut Runner<TunnelEngine>,
        peer: &PublicKey,
        at: Option<Endpoint>,
    ) {
        let name = peer.to_base64();
        match at.and_then(|at| self.streams.heard(runner, peer, at)) {
            None => {}
            Some(Switched::ToTcp(address)) => {
                self.events.note(format!(
                    "{} does not answer by UDP: using TCP to {address} until it does",
                    *name
                ));
                self.names.ask(*peer);
            }
            Some(Switched::ToUdp) => {
                self.events.note(format!("{} answers by UDP again", *name));
            }
        }
    }

    /// When [`Self::run_due`] must be called.
    #[must_use]
    pub fn next_due(&self) -> Option<Instant> {
        self.names.next_retry().into_iter().chain(self.streams.next_due()).min()
    }

    /// Connects, probes and resolves names again where it is time to.
    pub fn run_due(&mut self, runner: &mut Runner<TunnelEngine>) {
        self.names.retry(runner.now());
        self.streams.run_due(runner, &self.options);
    }

    /// Takes in the addresses that were found for names.
    fn hear_names(&mut self, runner: &mut Runner<TunnelEngine>) {
        let now = runner.now();
        let tunnel = &runner.engine().tunnel;
        let current = |key: &PublicKey| tunnel.peer_config(key)?.endpoint.and_then(udp);
        for news in self.names.news(now, current) {
            match news {
                // The peer is reached by TCP for now: the address is for the next probe.
                News::Found(key, address) if !self.streams.found_udp(&key, address) => {}
                News::Failed(why) => self.unresolved(&why),
                News::Found(key, address) => {
                    tracing::debug!(peer = %*key.to_base64(), %address, "resolved the name");
                    let (TunnelEngine { tunnel, .. }, now, out) = runner.engine_and_outbox();
                    tunnel.set_endpoint(&key, Endpoint::Udp(address));
                    let keeps_alive = tunnel
                        .peer_config(&key)
                        .is_some_and(|config| config.persistent_keepalive.is_some());
                    let status = tunnel.status(now, &key);
                    // Packets that waited for the name go at once; a peer without keepalive and without
                    // packets is contacted with the first packet.
                    if status.is_some_and(|s| !s.connected && (keeps_alive || s.queued > 0)) {
                        tunnel.connect(now, &key, out);
                    }
                }
            }
        }
    }

    fn unresolved(&self, why: &str) {
        self.events.note(format!("cannot resolve {why}; will retry"));
    }

    /// Opens other sockets where they differ.
    ///
    /// # Errors
    /// EADDRINUSE, EACCES: then all sockets are as they were.
    pub fn change(
        &mut self,
        runner: &mut Runner<TunnelEngine>,
        wanted: &WantedSockets,
    ) -> Result<()> {
        let before = self.sockets();
        self.listen(runner, wanted)?;
        self.set_udp(runner, wanted.udp).map_err(|error| {
            // The first failure is the one that counts.
            let _ = self.listen(runner, &before);
            port_error(&format!("UDP port {}", wanted.udp.port), &wanted.udp, &error)
        })
    }

    /// Opens other UDP sockets where they differ: another port needs new sockets, another mark does not.
    ///
    /// # Errors
    /// EADDRINUSE, EACCES.
    pub fn set_udp(
        &mut self,
        runner: &mut Runner<TunnelEngine>,
        wanted: PeerOptions,
    ) -> io::Result<()> {
        let has_port = |port: u16| runner.peers().is_some_and(|peers| peers.port() == port);
        let same_port = wanted.port == self.options.port || has_port(wanted.port);
        if !same_port || wanted.source != self.options.source {
            let sockets = PeerSockets::open(&wanted)?;
            runner.set_peers(Some(sockets))?;
        } else if wanted.mark != self.options.mark
            && let Some(peers) = runner.peers_mut()
        {
            peers.set_mark(wanted.mark)?;
        }
        self.options = wanted;
        Ok(())
    }

    /// Listens on another TCP port, or on none; streams that exist continue. A failure changes nothing.
    fn listen(&mut self, runner: &mut Runner<TunnelEngine>, wanted: &WantedSockets) -> Result<()> {
        let (port, now, options) = (wanted.tcp, self.streams.port(), &wanted.udp);
        let is_same =
            |other: &PeerOptions| (other.mark, other.source) == (options.mark, options.source);
        if port == now && is_same(&self.options) {
            return Ok(());
        }
        self.streams.listen(runner, port, options).map_err(|error| {
            // It had the port a moment ago.
            let _ = self.streams.listen(runner, now, &self.options);
            port_error(&format!("TCP port {}", port.unwrap_or_default()), options, &error)
        })
    }
}
