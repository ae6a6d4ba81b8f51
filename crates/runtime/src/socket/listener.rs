//! Unix sockets at which guests come and go.

use crate::event::{Event, Interest};
use crate::port::Port;
use crate::runner::ListenerId;
use crate::runner::Runner;
use crate::socket::Shared;
use crate::socket::datagram::DatagramSocket;
use crate::wake::reactor::Source;
use adit_engine::Engine;
use adit_packet::Instant;
use rustix::fs::{FileType, stat};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, accept_with, bind, connect, listen,
    socket_with,
};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How many connections may wait to be accepted.
const BACKLOG: i32 = 128;

/// How many connections are accepted in one turn; the others wait.
const ACCEPTS_MAX: usize = 16;

/// How long nobody is accepted after the process had no descriptor left.
const PAUSE: Duration = Duration::from_secs(1);

/// A socket at which guests appear, each to become a port of its own.
pub struct Listener {
    pub kind: ListenerKind,
}

pub enum ListenerKind {
    Stream(StreamListener),
    Datagram(DatagramSocket),
}

impl Listener {
    /// Where it is in the file system.
    pub fn path(&self) -> &Path {
        match &self.kind {
            ListenerKind::Stream(listener) => listener.path.path(),
            ListenerKind::Datagram(socket) => socket.path(),
        }
    }
}

impl std::fmt::Debug for Listener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Listener").field(&self.path()).finish()
    }
}

/// A listening stream socket.
pub struct StreamListener {
    pub socket: OwnedFd,
    path: SocketPath,
    /// When it accepts again; `None` unless the process ran out of descriptors.
    pub paused_until: Option<Instant>,
}

impl StreamListener {
    pub fn bind(path: &Path) -> io::Result<Self> {
        let (socket, path) = bind_unix(path, SocketType::STREAM)?;
        listen(&socket, BACKLOG)?;
        Ok(Self { socket, path, paused_until: None })
    }
}

/// Connects to a listening stream socket.
pub fn connect_unix(path: &Path) -> io::Result<OwnedFd> {
    let socket = new_socket(SocketType::STREAM)?;
    connect(&socket, &SocketAddrUnix::new(path)?)?;
    Ok(socket)
}

/// Binds a socket to a path. The file of a socket whose process has ended is replaced.
///
/// # Errors
/// EADDRINUSE: a process has it; EEXIST: it is there and no socket.
pub fn bind_unix(path: &Path, kind: SocketType) -> io::Result<(OwnedFd, SocketPath)> {
    let socket = new_socket(kind)?;
    let address = SocketAddrUnix::new(path)?;
    match bind(&socket, &address) {
        Err(Errno::ADDRINUSE) => {
            if FileType::from_raw_mode(stat(path)?.st_mode) != FileType::Socket {
                return Err(Errno::EXIST.into());
            }
            if is_alive(&address)? {
                return Err(Errno::ADDRINUSE.into());
            }
            std::fs::remove_file(path)?;
            bind(&socket, &address)?;
        }
        bound => bound?,
    }
    let path = SocketPath::new(path)?;
    Ok((socket, path))
}

/// Whether a process has the socket, of whichever type it is.
fn is_alive(address: &SocketAddrUnix) -> io::Result<bool> {
    for kind in [SocketType::STREAM, SocketType::DGRAM, SocketType::SEQPACKET] {
        match connect(&new_socket(kind)?, address) {
            Err(Errno::PROTOTYPE) => {}
            Err(Errno::CONNREFUSED | Errno::NOENT) => return Ok(false),
            // Its backlog is full (EAGAIN), it has another peer (EPERM), or it took us.
            _ => return Ok(true),
        }
    }
    Ok(true)
}

fn new_socket(kind: SocketType) -> rustix::io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    socket_with(AddressFamily::UNIX, kind, flags, None)
}

/// The file of a bound socket, which goes with this value.
#[derive(Debug)]
pub struct SocketPath {
    path: PathBuf,
    identity: (u64, u64),
}

impl SocketPath {
    fn new(path: &Path) -> io::Result<Self> {
        let stat = stat(path)?;
        // A later change of the working directory must not make it another file.
        let path = std::path::absolute(path)?;
        Ok(Self { path, identity: (stat.st_dev, stat.st_ino) })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for SocketPath {
    fn drop(&mut self) {
        // Somebody may have put another one there.
        if stat(&self.path).is_ok_and(|stat| (stat.st_dev, stat.st_ino) == self.identity) {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

impl<E: Engine> Runner<E> {
    /// Takes guests at a listener from now on; each is told with [`Event::Accepted`].
    ///
    /// # Errors
    /// ENOMEM, ENOSPC of epoll.
    pub fn listen(&mut self, listener: Listener) -> io::Result<ListenerId> {
        let shared = match listener.kind {
            ListenerKind::Stream(listener) => Shared::Stream(listener),
            ListenerKind::Datagram(socket) => Shared::Datagram(socket),
        };
        self.share(shared).map(ListenerId)
    }

    /// Closes a listener. Guests on a stream socket stay; those of a datagram socket go with it, and
    /// are told of as any port that goes.
    pub fn close_listener(&mut self, listener: ListenerId) {
        self.unshare(listener.0);
    }

    /// Accepts who waits at a stream listener.
    pub fn accept(&mut self, place: u16) {
        for _ in 0..ACCEPTS_MAX {
            let Some(Shared::Stream(listener)) = self.shared_mut(place) else { return };
            let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
            let name = format!("unix:{}", listener.path.path().display());
            match accept_with(&listener.socket, flags) {
                Ok(socket) => match Port::from_stream(name, socket) {
                    Ok(port) => {
                        self.events.push_back(Event::Accepted(ListenerId(place), port));
                        self.paused.retain(|&paused| paused != place);
                    }
                    Err(_) => return,
                },
                Err(Errno::AGAIN) => return,
                // It went before we looked.
                Err(Errno::CONNABORTED | Errno::INTR | Errno::PROTO | Errno::PERM) => {}
                Err(error) => return self.not_accepted(place, error),
            }
        }
    }

    /// There is no descriptor or memory left: those who are here go on, those who wait do so until
    /// there is.
    fn not_accepted(&mut self, place: u16, error: Errno) {
        let is_short = matches!(error, Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM);
        if !is_short {
            self.unshare(place);
            return self.events.push_back(Event::ListenerGone(ListenerId(place), error.into()));
        }
        self.set_accepting(place, false);
        // Told once, until somebody was accepted again.
        if !self.paused.contains(&place) {
            self.paused.push(place);
            self.events.push_back(Event::AcceptPaused(error.into()));
        }
    }

    /// Stops to accept for a while, or starts again.
    fn set_accepting(&mut self, place: u16, accepting: bool) {
        let until = (!accepting).then(|| self.now + PAUSE);
        let Some(slot) = self.shared.get_mut(usize::from(place)).and_then(Option::as_mut) else {
            return;
        };
        let Shared::Stream(listener) = &mut slot.kind else { return };
        listener.paused_until = until;
        let interest = Interest { readable: accepting, writable: false };
        let source = Source::Shared(place, slot.number);
        // One that cannot be changed is ready again at once, and tried again.
        let _ = self.reactor.change(listener.socket.as_fd(), source, interest);
    }

    /// When a listener that paused accepts again.
    pub fn accepting_at(&self) -> Option<Instant> {
        let listeners = self.paused.iter().filter_map(|&place| {
            match &self.shared.get(usize::from(place))?.as_ref()?.kind {
                Shared::Stream(listener) => listener.paused_until,
                _ => None,
            }
        });
        listeners.min()
    }

    /// Lets listeners accept again whose pause is over.
    pub fn run_listeners(&mut self) {
        let mut at = 0;
        while let Some(&place) = self.paused.get(at) {
            at += 1;
            let Some(Shared::Stream(listener)) = self.shared_mut(place) else { continue };
            if listener.paused_until.is_some_and(|until| until <= self.now) {
                self.set_accepting(place, true);
            }
        }
    }
}
