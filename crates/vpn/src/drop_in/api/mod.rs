//! Requests for ports of the host while a program runs, at Unix sockets: one request a connection, which is closed
//! behind the reply.

pub(super) mod gvproxy;
pub(super) mod slirp4netns;

use adit_engine::{FlowId, Outbox};
use adit_nat::{Gateway, PublishState};
use adit_packet::Instant;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

/// The longest request: that of slirp4netns.
const REQUEST_MAX: usize = 4096;

/// The most clients that have not sent their request: beyond it the first one is closed.
pub(super) const CLIENTS_MAX: usize = 16;

/// The language of the requests.
pub(super) trait Protocol {
    /// Whether these bytes are a request, and not the beginning of one.
    fn is_whole(&self, request: &[u8]) -> bool;

    /// Does what a request asks for.
    fn answer(&mut self, request: &[u8], cx: &mut Cx<'_>) -> Answer;

    /// The reply to a request for a port that is open now, or could not be opened.
    fn opened(&mut self, flow: FlowId, result: Result<(), String>) -> Vec<u8>;
}

/// What requests are about.
pub(super) struct Cx<'a> {
    pub(super) engine: &'a mut Gateway,
    pub(super) now: Instant,
    pub(super) out: &'a mut Outbox,
}

/// The answer to a request.
pub(super) enum Answer {
    /// This reply.
    Now(Vec<u8>),
    /// That of [`Protocol::opened`], when the port is open.
    WhenOpen(FlowId),
}

/// The sockets, their clients, and what they have asked for.
pub(super) struct Api {
    listeners: Vec<UnixListener>,
    clients: [Option<Client>; CLIENTS_MAX],
    next_client: usize,
    protocol: Box<dyn Protocol>,
    /// Clients whose port is being opened.
    opening: Vec<(UnixStream, FlowId)>,
}

struct Client {
    stream: UnixStream,
    request: Vec<u8>,
}

/// What a ready client needs next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing: its request is not whole.
    Wait,
    /// It is served: call [`Api::settle`] in the next turn.
    Served,
}

impl Api {
    /// Serves requests of this protocol, at no socket yet.
    pub(super) fn new(protocol: Box<dyn Protocol>) -> Self {
        Self {
            listeners: Vec::new(),
            clients: Default::default(),
            next_client: 0,
            protocol,
            opening: Vec::new(),
        }
    }

    /// Listens at a path; a socket that is there is replaced, as other programs do.
    ///
    /// # Errors
    /// Those of bind(2).
    pub(super) fn listen(&mut self, path: &Path) -> io::Result<()> {
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(path)?;
        listener.set_nonblocking(true)?;
        self.listeners.push(listener);
        Ok(())
    }

    /// The sockets, which are readable when a client connects.
    pub(super) fn listeners(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.listeners.iter().map(AsFd::as_fd)
    }

    /// Takes a connection: its number, and the descriptor to wait for. `None`: there is none.
    pub(super) fn accept(&mut self) -> Option<(usize, BorrowedFd<'_>)> {
        let stream = self.listeners.iter().find_map(|listener| listener.accept().ok())?.0;
        stream.set_nonblocking(true).ok()?;
        let number = self.next_client;
        self.next_client = (number + 1) % CLIENTS_MAX;
        let client = self.clients.get_mut(number)?.insert(Client { stream, request: Vec::new() });
        Some((number, client.stream.as_fd()))
    }

    /// Reads what a client has sent, and does what it asks for.
    pub(super) fn read(&mut self, number: usize, cx: &mut Cx<'_>) -> Step {
        let Some(slot) = self.clients.get_mut(number) else { return Step::Wait };
        let Some(client) = slot else { return Step::Wait };
        let mut bytes = [0; REQUEST_MAX];
        let is_whole = match client.stream.read(&mut bytes) {
            Ok(0) => true,
            Ok(len) => {
                client.request.extend(bytes.iter().take(len));
                client.request.len() > REQUEST_MAX || self.protocol.is_whole(&client.request)
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => false,
            Err(_) => {
                *slot = None;
                return Step::Served;
            }
        };
        if !is_whole {
            return Step::Wait;
        }
        let Some(client) = slot.take() else { return Step::Wait };
        match self.protocol.answer(&client.request, cx) {
            Answer::Now(reply) => send(client.stream, &reply),
            Answer::WhenOpen(flow) => self.opening.push((client.stream, flow)),
        }
        Step::Served
    }

    /// Replies to the clients whose ports are open, or could not be opened.
    pub(super) fn settle(&mut self, cx: &mut Cx<'_>) {
        for (stream, flow) in std::mem::take(&mut self.opening) {
            let state = cx.engine.nat().published().find(|one| one.flow == flow);
            let result = match state.map(|published| published.state) {
                Some(PublishState::Opening) => {
                    self.opening.push((stream, flow));
                    continue;
                }
                Some(PublishState::Open(_)) => Ok(()),
                Some(PublishState::Failed(error)) => Err(error.to_string()),
                _ => Err("it has ended".to_owned()),
            };
            if result.is_err() {
                cx.engine.unpublish(cx.now, flow, cx.out);
            }
            send(stream, &self.protocol.opened(flow, result));
        }
    }

    /// Whether a port is being opened.
    pub(super) const fn is_opening(&self) -> bool {
        !self.opening.is_empty()
    }
}

/// Sends the reply and closes. A client that is gone, or that reads nothing, loses it.
fn send(mut stream: UnixStream, reply: &[u8]) {
    let _ = stream.write_all(reply);
}
