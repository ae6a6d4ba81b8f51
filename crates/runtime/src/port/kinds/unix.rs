//! `unix:PATH`: a unix socket: a listener whose connections become ports, a connection to one, or
//! datagrams.

use crate::error::{Error, Result};
use crate::port::datagram::DatagramHub;
use crate::port::kind::{Argument, Key, Kind, Opened, Parsed, PortOptions};
use crate::port::stream::StreamPort;
use crate::port::{Hub, HubCx, HubRecv};
use crate::socket::unix::{SocketPath, bind_unix};
use crate::text::words::{SpecError, Words};
use adit_device::broker::UnixSocket;
use adit_device::rights::open_unix;
use rustix::io::Errno;
use rustix::net::{SocketFlags, accept_with, listen};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

/// The system calls of an open socket: connections, and the removal of its file.
pub(crate) const SYSCALLS: &[&str] = &["accept4", "fcntl", "listen", "unlink"];

/// The maximum number of connections that wait for accept(2).
const BACKLOG: i32 = 128;

/// `unix:PATH`: QEMU's `-netdev stream` and `-netdev dgram`.
pub static UNIX: Kind = Kind {
    prefix: "unix",
    argument: "PATH",
    help: "QEMU's -netdev stream and dgram",
    keys: &[
        Key::new("type", "stream|dgram", "a stream of frames, or a datagram a frame"),
        Key::new("connect", "", "connect to a listener instead of listening"),
        Key::new("remote", "PATH", "the only socket to exchange datagrams with"),
    ],
    parse,
};

/// What `unix:` asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnixSpec {
    /// The path of the socket.
    pub path: PathBuf,
    /// Which end of the connection is ours.
    pub role: UnixRole,
}

/// Which end of a unix socket is ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UnixRole {
    /// Listen: each connection becomes a port.
    Listen,
    /// Connect to a listener.
    Connect,
    /// Receive datagrams: each sender becomes a port, unless `remote` is given.
    Datagram {
        /// The only socket to exchange frames with.
        remote: Option<PathBuf>,
    },
}

fn parse(argument: Argument<'_>, words: &mut Words) -> Parsed {
    let kind = words.take("type")?;
    let connect = words.flag("connect")?;
    let remote = words.take("remote")?;
    let at = kind.as_ref().map_or(0, |(at, _)| *at);
    let role = match kind.as_ref().map_or("stream", |(_, kind)| kind) {
        "stream" if connect => UnixRole::Connect,
        "stream" => UnixRole::Listen,
        "dgram" if connect => {
            return Err(SpecError::new(at, "a datagram socket cannot connect")
                .hint("give the other end with 'remote=PATH'"));
        }
        "dgram" => {
            UnixRole::Datagram { remote: remote.as_ref().map(|(_, path)| path.clone().into()) }
        }
        other => {
            return Err(SpecError::new(at, format!("'{other}' is not a type of unix socket"))
                .hint("write 'type=stream' or 'type=dgram'"));
        }
    };
    match (remote, &role) {
        (Some((at, _)), UnixRole::Listen | UnixRole::Connect) => {
            Err(SpecError::new(at, "'remote' requires type=dgram").hint("add 'type=dgram'"))
        }
        _ => Ok(Box::new(UnixSpec { path: argument.text.into(), role })),
    }
}

impl PortOptions for UnixSpec {
    fn open(&self) -> Result<Opened> {
        let path = &self.path;
        let bind_failed = |error| in_use(path, &error);
        match &self.role {
            UnixRole::Listen => {
                let listener = StreamListener::bind(path).map_err(bind_failed)?;
                Ok(Opened::Listener(Box::new(listener)))
            }
            UnixRole::Connect => {
                let failed = |error| Error::io("connect to", path.display(), &error);
                let socket = open_unix(&UnixSocket::Connected(path.clone())).map_err(failed)?;
                let name = format!("unix:{}", path.display());
                Ok(Opened::port(StreamPort::socket(name, socket).map_err(failed)?))
            }
            UnixRole::Datagram { remote: None } => {
                let hub = DatagramHub::bind(path).map_err(bind_failed)?;
                Ok(Opened::Listener(Box::new(hub)))
            }
            UnixRole::Datagram { remote: Some(remote) } => {
                let hub = DatagramHub::bind(path).map_err(bind_failed)?;
                let failed = |error| Error::io("send to", remote.display(), &error);
                let name = format!("unix:{}", path.display());
                Ok(Opened::port(hub.into_port(name, remote).map_err(failed)?))
            }
        }
    }

    fn needs_owner(&self) -> bool {
        true
    }

    fn socket_file(&self) -> Option<&Path> {
        (self.role != UnixRole::Connect).then_some(&self.path)
    }

    fn with_path(&self, change: &dyn Fn(&Path) -> PathBuf) -> Option<Box<dyn PortOptions>> {
        let role = match &self.role {
            UnixRole::Datagram { remote: Some(remote) } => {
                UnixRole::Datagram { remote: Some(change(remote)) }
            }
            role => role.clone(),
        };
        Some(Box::new(Self { path: change(&self.path), role }))
    }
}

fn in_use(path: &Path, error: &io::Error) -> Error {
    let hint = match Errno::from_io_error(error) {
        Some(Errno::ADDRINUSE) => "a process has that socket: stop it, or choose another path",
        Some(Errno::EXIST) => "a file of that name exists and is not a socket",
        Some(Errno::NAMETOOLONG) => "the path of a socket has at most 107 bytes",
        _ => return Error::io("bind", path.display(), error),
    };
    Error::io("bind", path.display(), error).hint(hint)
}

/// A listening stream socket: each connection becomes a port.
#[derive(Debug)]
pub struct StreamListener {
    socket: OwnedFd,
    path: SocketPath,
    name: String,
}

impl StreamListener {
    /// Listens on a path; the listener removes the file when it is dropped.
    ///
    /// # Errors
    /// EADDRINUSE: a process listens there; EEXIST: the path is a file that is not a socket.
    pub fn bind(path: &Path) -> io::Result<Self> {
        let (socket, path) = bind_unix(path, UnixSocket::Stream)?;
        listen(&socket, BACKLOG)?;
        let name = format!("unix:{}", path.path().display());
        Ok(Self { socket, path, name })
    }

    /// Returns its absolute path.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.path.path()
    }
}

impl Hub for StreamListener {
    fn name(&self) -> &str {
        &self.name
    }

    fn fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    fn recv(&mut self, _: &mut HubCx<'_>) -> HubRecv {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        match accept_with(&self.socket, flags) {
            Ok(socket) => match StreamPort::socket(self.name.clone(), socket) {
                Ok(port) => HubRecv::Accepted(Box::new(port)),
                Err(error) => HubRecv::Failed(error),
            },
            Err(Errno::AGAIN) => HubRecv::Nothing,
            // The connection was closed before accept(2).
            Err(Errno::CONNABORTED | Errno::INTR | Errno::PROTO | Errno::PERM) => HubRecv::Some,
            Err(error @ (Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM)) => {
                HubRecv::Exhausted(error.into())
            }
            Err(error) => HubRecv::Gone(error.into()),
        }
    }
}
