//! The streams of a tunnel for a process that takes over.

use crate::engine::TunnelEngine;
use crate::streams::listener::Listener;
use crate::streams::{Connections, Listening, Stream, Streams};
use adit_engine::{Endpoint, PortId};
use adit_runtime::port::messages::MessagePort;
use adit_runtime::{Port, Runner};
use adit_tunnel::{PublicKey, Source};
use serde::{Deserialize, Serialize};
use std::any::Any;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{BorrowedFd, OwnedFd};

/// The streams of peers. Those of hosts that have not authenticated end: their hosts connect again.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct StreamsState {
    streams: Vec<StreamState>,
    clients: Vec<ClientState>,
    connections: Connections,
}

#[derive(Debug, Serialize, Deserialize)]
struct StreamState {
    port: u16,
    name: String,
    /// Whether the peer connected to us.
    theirs: bool,
    peer: Option<[u8; 32]>,
    /// What was received and not taken; what waits to be sent.
    received: Vec<u8>,
    unsent: Vec<u8>,
}

/// Where a peer is that we connect to, as far as names were resolved.
#[derive(Debug, Serialize, Deserialize)]
struct ClientState {
    peer: [u8; 32],
    address: Option<SocketAddr>,
    udp: Option<SocketAddr>,
    /// Whether a peer with both transports is reached by TCP.
    is_by_tcp: bool,
}

impl StreamsState {
    /// How many descriptors belong to it.
    #[must_use]
    pub fn len(&self) -> usize {
        self.streams.len()
    }

    /// Whether no descriptor belongs to it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.streams.is_empty()
    }
}

impl Streams {
    /// The listening socket, if the loop has it.
    pub fn listener_fd<'a>(&self, runner: &'a Runner<TunnelEngine>) -> Option<BorrowedFd<'a>> {
        match self.listener {
            Listening::On(listener) => runner.listener(listener),
            _ => None,
        }
    }

    /// The state, and the descriptor of each stream.
    pub fn state<'a>(
        &self,
        runner: &'a Runner<TunnelEngine>,
    ) -> (StreamsState, Vec<BorrowedFd<'a>>) {
        let (mut streams, mut fds) = (Vec::new(), Vec::new());
        for (port, stream) in &self.streams {
            let Some((open, _)) = runner.port(*port) else { continue };
            let Some(open) = (open as &dyn Any).downcast_ref::<MessagePort>() else { continue };
            let Some((fd, received, unsent)) = open.parts() else { continue };
            let (theirs, peer) = match stream {
                Stream::Ours(peer) => (false, *peer),
                Stream::Theirs(peer) => (true, Some(*peer)),
            };
            streams.push(StreamState {
                port: port.0,
                name: open.name().to_owned(),
                theirs,
                peer: peer.map(|peer| peer.0),
                received: received.to_vec(),
                unsent: unsent.to_vec(),
            });
            fds.push(fd);
        }
        let clients = self.clients.iter().map(|(peer, client)| ClientState {
            peer: peer.0,
            address: client.address,
            udp: client.auto.as_ref().and_then(|auto| auto.udp),
            is_by_tcp: client.auto.as_ref().is_some_and(|auto| auto.probe_at.is_some()),
        });
        let clients = clients.collect();
        (StreamsState { streams, clients, connections: self.connections }, fds)
    }

    /// Continues to listen with the socket of another process.
    pub fn resume_listener(&mut self, port: u16, listener: OwnedFd) {
        self.listener = Listening::Bound(Listener::adopt(port, listener));
        self.port = Some(port);
    }

    /// Continues with the streams of another process, after its clients were set.
    ///
    /// # Errors
    /// EEXIST, EMSGSIZE: the state contradicts itself; ENOMEM, ENOSPC of epoll.
    pub fn resume(
        &mut self,
        runner: &mut Runner<TunnelEngine>,
        state: StreamsState,
        fds: impl Iterator<Item = OwnedFd>,
    ) -> io::Result<()> {
        let now = runner.now();
        self.connections = state.connections;
        for known in state.clients {
            let Some(client) = self.clients.get_mut(&PublicKey(known.peer)) else { continue };
            client.address = client.address.or(known.address);
            if let Some(auto) = &mut client.auto {
                auto.udp = auto.udp.or(known.udp);
                auto.probe_at = known.is_by_tcp.then(|| now + self.probe_every);
            }
        }
        for (stream, fd) in state.streams.into_iter().zip(fds) {
            let id = PortId(stream.port);
            let port = MessagePort::resume(stream.name, fd, &stream.received, &stream.unsent)?;
            runner.attach(id, Box::new(port))?;
            let peer = stream.peer.map(PublicKey);
            let kind = match peer {
                Some(peer) if stream.theirs => Stream::Theirs(peer),
                peer => Stream::Ours(peer),
            };
            self.streams.insert(id, kind);
            self.last_port = self.last_port.max(stream.port);
            let host = crate::address::address(runner, Endpoint::Port(id)).map(|host| host.ip());
            let source = host.filter(|_| stream.theirs).map(Source::from);
            runner.engine_mut().tunnel.set_stream_source(id, source);
            if let Some(client) = peer.and_then(|peer| self.clients.get_mut(&peer))
                && !stream.theirs
            {
                client.retry_at = None;
            }
        }
        Ok(())
    }
}
