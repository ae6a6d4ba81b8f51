//! Peers that are reached by a stream: TCP where a network blocks UDP, or the pipes of another program
//! (`ssh host adit tunnel up --stdio ...`).
//!
//! A stream is a port of the engine. Whoever connects is a stranger until a message of a peer proves
//! otherwise; strangers are few, and go after a while.

use super::site::Site;
use crate::run::{PeerOptions, Port, Runner};
use adit_engine::tunnel::PublicKey;
use adit_engine::{Endpoint, PortId};
use adit_packet::Instant;
use rustix::io::Errno;
use socket2::{Domain, Protocol, Socket, Type};
use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

/// How many streams there may be: each has 260 KiB of memory.
const STREAMS_MAX: usize = 256;

/// How many of them may be strangers', so that they cannot take the places of peers.
const STRANGERS_MAX: usize = 64;

/// How long a stranger may take to prove to be a peer: two handshakes.
const PROOF_TIME: Duration = Duration::from_secs(10);

/// After a stream of ours ended, the next attempt is so much later, doubled up to the most.
const RETRY_FIRST: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_secs(30);

/// The engine's ports for streams: even, as the tunnel's are, and above those of layer 2 peers.
const PORTS: std::ops::RangeInclusive<u16> = 0xfe00..=0xfffe;

/// What may wait in the kernel: with more, what is sent is old when it leaves.
const NOT_SENT_MAX: u32 = 64 * 1024;

/// The streams of a tunnel.
#[derive(Debug, Default)]
pub(super) struct Streams {
    listener: Option<Socket>,
    /// Given up to refuse somebody when no other descriptor is left.
    spare: Option<Socket>,
    streams: BTreeMap<PortId, Stream>,
    /// Peers that we connect to.
    clients: BTreeMap<PublicKey, Client>,
}

#[derive(Debug)]
struct Stream {
    since: Instant,
    /// Whom we connected to; `None` came to us.
    peer: Option<PublicKey>,
    is_proven: bool,
}

#[derive(Debug)]
struct Client {
    /// Where to; `None` until its name is found.
    address: Option<SocketAddr>,
    retry_at: Option<Instant>,
    delay: Duration,
}

impl Streams {
    /// Listens on a TCP port, in both families where the machine has both.
    ///
    /// # Errors
    /// EADDRINUSE, EACCES for a port below 1024.
    pub(super) fn listen(&mut self, port: u16, options: &PeerOptions) -> io::Result<()> {
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

    /// The descriptor that is readable when somebody connects.
    pub(super) fn listener(&self) -> Option<BorrowedFd<'_>> {
        self.listener.as_ref().map(AsFd::as_fd)
    }

    /// Takes in whoever connects.
    pub(super) fn accept(&mut self, runner: &mut Runner<Site>) {
        let Some(listener) = &self.listener else { return };
        // Its socket does not wait.
        let (socket, from) = match listener.accept() {
            Ok(accepted) => accepted,
            Err(error) => {
                if matches!(Errno::from_io_error(&error), Some(Errno::MFILE | Errno::NFILE)) {
                    // Who is refused goes; the listener would be ready for ever else.
                    self.spare = None;
                    drop(listener.accept());
                    self.spare = listener.try_clone().ok();
                }
                return;
            }
        };
        let strangers = self.streams.values().filter(|stream| !stream.is_proven).count();
        if strangers >= STRANGERS_MAX || self.streams.len() >= STREAMS_MAX {
            return;
        }
        let from = from.as_socket().map_or(String::new(), |from| from.to_string());
        // One that cannot be taken in is closed.
        let _ = self.take_in(runner, &format!("tcp:{from}"), socket, None);
    }

    /// A peer is reached by TCP from now on, at an address that may be known later.
    pub(super) fn set_client(&mut self, peer: PublicKey, address: Option<SocketAddr>) {
        let client = Client { address, retry_at: Some(Instant::ZERO), delay: RETRY_FIRST };
        self.clients.insert(peer, client);
    }

    /// Whether we connect to that peer.
    pub(super) fn is_client(&self, peer: &PublicKey) -> bool {
        self.clients.contains_key(peer)
    }

    /// The address of a peer that we connect to is known, or is another one.
    pub(super) fn found(&mut self, peer: &PublicKey, address: SocketAddr) {
        if let Some(client) = self.clients.get_mut(peer)
            && client.address != Some(address)
        {
            *client = Client {
                address: Some(address),
                retry_at: Some(Instant::ZERO),
                delay: RETRY_FIRST,
            };
        }
    }

    /// Where a peer that we connect to is.
    pub(super) fn address(&self, peer: &PublicKey) -> Option<SocketAddr> {
        self.clients.get(peer)?.address
    }

    /// The peer has gone.
    pub(super) fn forget(&mut self, runner: &mut Runner<Site>, peer: &PublicKey) {
        self.clients.remove(peer);
        for port in self.ports_of(peer) {
            self.streams.remove(&port);
            runner.detach(port);
        }
    }

    /// A stream has ended: whoever was there is connected to again, if it was us who connected.
    pub(super) fn ended(&mut self, runner: &mut Runner<Site>, port: PortId) -> bool {
        let Some(stream) = self.streams.remove(&port) else { return false };
        runner.engine_mut().tunnel.forget_endpoint(Endpoint::Port(port));
        if let Some(client) = stream.peer.and_then(|peer| self.clients.get_mut(&peer)) {
            client.retry_at = runner.now().checked_add(client.delay);
            client.delay = (client.delay * 2).min(RETRY_MAX);
        }
        true
    }

    /// When [`Self::run_due`] is to be called.
    pub(super) fn next_due(&self) -> Option<Instant> {
        let strangers = self.streams.values().filter(|stream| !stream.is_proven);
        let ends = strangers.filter_map(|stream| stream.since.checked_add(PROOF_TIME));
        self.clients.values().filter_map(|client| client.retry_at).chain(ends).min()
    }

    /// Connects where it is time to, and lets strangers go.
    pub(super) fn run_due(&mut self, runner: &mut Runner<Site>, options: &PeerOptions) {
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
                && let Some(client) = self.clients.get_mut(&peer)
            {
                client.retry_at = now.checked_add(client.delay);
                client.delay = (client.delay * 2).min(RETRY_MAX);
            }
        }
        self.prove(runner, now);
    }

    /// A stream of descriptors that are open, to the only peer or to whoever proves to be one.
    pub(super) fn attach(
        &mut self,
        runner: &mut Runner<Site>,
        stream: Port,
        peer: Option<PublicKey>,
    ) -> io::Result<PortId> {
        let port = self.free_port().ok_or(Errno::NOSPC)?;
        runner.attach(port, stream)?;
        let since = runner.now();
        self.streams.insert(port, Stream { since, peer, is_proven: true });
        if let Some(peer) = peer {
            let (site, now, out) = runner.engine_and_outbox();
            site.tunnel.set_endpoint(&peer, Endpoint::Port(port));
            site.tunnel.connect(now, &peer, out);
        }
        Ok(port)
    }

    fn connect(
        &mut self,
        runner: &mut Runner<Site>,
        peer: PublicKey,
        address: SocketAddr,
        options: &PeerOptions,
    ) -> io::Result<()> {
        for port in self.ports_of(&peer) {
            self.streams.remove(&port);
            runner.detach(port);
        }
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
        runner: &mut Runner<Site>,
        name: &str,
        socket: Socket,
        peer: Option<PublicKey>,
    ) -> io::Result<()> {
        socket.set_tcp_nodelay(true)?;
        // An old kernel may not have it: then more waits.
        let _ = socket.set_tcp_notsent_lowat(NOT_SENT_MAX);
        let stream = Port::messages(name, OwnedFd::from(socket))?;
        let port = self.attach(runner, stream, peer)?;
        if let Some(stream) = self.streams.get_mut(&port) {
            stream.is_proven = peer.is_some();
        }
        Ok(())
    }

    /// Looks which strangers are peers by now; those who were not in time go.
    fn prove(&mut self, runner: &mut Runner<Site>, now: Instant) {
        if self.streams.values().all(|stream| stream.is_proven) {
            return;
        }
        let tunnel = &runner.engine().tunnel;
        for key in tunnel.peers() {
            if let Some(Endpoint::Port(port)) = tunnel.status(now, &key).and_then(|s| s.endpoint)
                && let Some(stream) = self.streams.get_mut(&port)
            {
                stream.is_proven = true;
            }
        }
        let is_late = |stream: &Stream| !stream.is_proven && now.since(stream.since) >= PROOF_TIME;
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

    /// A stream proved to work: the next attempt after it is a quick one again.
    pub(super) fn connected(&mut self, peer: &PublicKey) {
        if let Some(client) = self.clients.get_mut(peer) {
            client.delay = RETRY_FIRST;
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

/// A TCP socket that does not wait, bound and marked.
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
