//! Requests for ports of the host while a program runs, at Unix sockets and at an address of the inside: one request a
//! connection, which is closed behind the reply.

pub(super) mod gvproxy;
pub(super) mod slirp4netns;

use adit_nat::Gateway;
use adit_runtime::Runner;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
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

    /// Does what a request asks for, and replies.
    fn answer(&mut self, request: &[u8], runner: &mut Runner<Gateway>) -> Vec<u8>;
}

/// The sockets, their clients, and what they have asked for.
pub(super) struct Api {
    listeners: Vec<Listener>,
    clients: [Option<Client>; CLIENTS_MAX],
    next_client: usize,
    protocol: Box<dyn Protocol>,
}

struct Client {
    stream: Box<dyn Stream>,
    request: Vec<u8>,
}

trait Stream: Read + Write + AsFd {}

impl Stream for UnixStream {}
impl Stream for TcpStream {}

/// A socket that listens.
enum Listener {
    Unix(UnixListener),
    /// On the host's loopback, for the inside, which knows it by this address.
    Inside(TcpListener, SocketAddr),
}

impl Listener {
    /// The next connection, if there is one.
    fn accept(&self, runner: &Runner<Gateway>) -> Option<Box<dyn Stream>> {
        match self {
            Self::Unix(listener) => {
                let (stream, _) = listener.accept().ok()?;
                stream.set_nonblocking(true).ok()?;
                Some(Box::new(stream))
            }
            Self::Inside(listener, at) => {
                let (stream, from) = listener.accept().ok()?;
                // Other programs of the host reach the loopback as well.
                let mut flows = runner.engine().nat().flows();
                let is_of_inside = flows
                    .any(|row| row.remote == Some(*at) && runner.local_of(row.flow) == Some(from));
                stream.set_nonblocking(true).ok().filter(|()| is_of_inside)?;
                Some(Box::new(stream))
            }
        }
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Unix(listener) => listener.as_fd(),
            Self::Inside(listener, _) => listener.as_fd(),
        }
    }
}

impl Api {
    /// Serves requests of this protocol, at no socket yet.
    pub(super) fn new(protocol: Box<dyn Protocol>) -> Self {
        Self { listeners: Vec::new(), clients: Default::default(), next_client: 0, protocol }
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
        self.listeners.push(Listener::Unix(listener));
        Ok(())
    }

    /// Serves the inside, whose connections to `at` lead to this socket of the host's loopback.
    ///
    /// # Errors
    /// None that is known.
    pub(super) fn serve_inside(&mut self, listener: TcpListener, at: SocketAddr) -> io::Result<()> {
        listener.set_nonblocking(true)?;
        self.listeners.push(Listener::Inside(listener, at));
        Ok(())
    }

    /// The sockets, which are readable when a client connects.
    pub(super) fn listeners(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.listeners.iter().map(AsFd::as_fd)
    }

    /// Takes a connection: its number, and the descriptor to wait for. `None`: there is none.
    pub(super) fn accept(&mut self, runner: &Runner<Gateway>) -> Option<(usize, BorrowedFd<'_>)> {
        let stream = self.listeners.iter().find_map(|listener| listener.accept(runner))?;
        let number = self.next_client;
        self.next_client = (number + 1) % CLIENTS_MAX;
        let client = self.clients.get_mut(number)?.insert(Client { stream, request: Vec::new() });
        Some((number, client.stream.as_fd()))
    }

    /// Reads what a client has sent, and does what it asks for.
    pub(super) fn read(&mut self, number: usize, runner: &mut Runner<Gateway>) {
        let Some(slot) = self.clients.get_mut(number) else { return };
        let Some(client) = slot else { return };
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
                return;
            }
        };
        if is_whole && let Some(client) = slot.take() {
            send(client.stream, &self.protocol.answer(&client.request, runner));
        }
    }
}

/// Sends the reply and closes. A client that is gone, or that reads nothing, loses it.
fn send(mut stream: Box<dyn Stream>, reply: &[u8]) {
    let _ = stream.write_all(reply);
}
