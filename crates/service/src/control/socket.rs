//! The control socket of a service, with the name by which it is found.

use crate::control::name::{Claim, Name, PortFiles};
use crate::control::option_of;
use crate::control::server::Server;
use crate::error::{Error, Kind, Result};
use std::io;
use std::net::TcpListener;
use std::os::fd::BorrowedFd;
use std::path::PathBuf;
use std::time::SystemTime;

/// How many services of one kind can run without a name of their own.
const NUMBER_MAX: u32 = 64;

/// A socket that listens for clients of the metrics, and of the page if there is one.
#[derive(Debug)]
pub struct Listener {
    /// The socket.
    pub socket: TcpListener,
    /// Whether it has the page.
    pub has_page: bool,
}

impl Listener {
    /// The same socket by another descriptor.
    ///
    /// # Errors
    /// EMFILE.
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(Self { socket: self.socket.try_clone()?, has_page: self.has_page })
    }
}

/// A name, and the socket that answers under it.
#[derive(Debug)]
pub struct ControlSocket {
    name: Name,
    /// What the service is, as `switch`.
    pub(crate) kind: &'static str,
    /// When it started.
    pub(crate) started: SystemTime,
    /// `None` while it serves, and where no socket can be created.
    pub(crate) server: Option<Server>,
    /// Where metrics and the page are read by TCP, if that is wanted.
    pub(crate) metrics: Option<Listener>,
    /// What the user must know: that there is no socket and why, or that the name is not the usual one.
    pub note: Option<String>,
}

impl ControlSocket {
    /// Claims `name` and listens; `kind` is what the service is, as `switch`. Without a name, the first
    /// free one of `kind`, `kind-2`, ... is used; where no socket can be created, there is none.
    ///
    /// # Errors
    /// The name that was asked for is taken, or its socket cannot be created.
    pub fn open(name: Option<Name>, kind: &'static str) -> Result<Self> {
        if let Some(name) = name {
            return Self::claim(name, kind);
        }
        for number in 1..=NUMBER_MAX {
            let name = if number == 1 { kind.to_owned() } else { format!("{kind}-{number}") };
            let name: Name = name.parse().map_err(Error::usage)?;
            match Self::claim(name.clone(), kind) {
                Err(error) if error.kind == Kind::Conflict => {}
                Err(error) => {
                    let note = Some(format!("no control socket: {}", error.report.message));
                    return Ok(Self { note, ..Self::none(name, kind) });
                }
                Ok(socket) if number == 1 => return Ok(socket),
                Ok(socket) => {
                    let note = format!(
                        "'{kind}' is already running, so this one is named '{name}': add '{} {name}' to \
                         the commands for it",
                        option_of(kind)
                    );
                    return Ok(Self { note: Some(note), ..socket });
                }
            }
        }
        Err(Error::usage(format!("{NUMBER_MAX} services of this kind are running"))
            .hint("Give this one a name: --name NAME."))
    }

    /// Claims a name that was not asked for, and listens; where no socket can be created, there is none.
    #[must_use]
    pub fn open_if_possible(name: Name, kind: &'static str) -> Self {
        Self::claim(name.clone(), kind).unwrap_or_else(|error| {
            let note = Some(format!("no control socket: {}", error.report.message));
            Self { note, ..Self::none(name, kind) }
        })
    }

    fn claim(name: Name, kind: &'static str) -> Result<Self> {
        let server = Server::bind(Claim::new(name.clone())?, kind)?;
        Ok(Self::new(name, server))
    }

    /// The socket of a server that listens already.
    pub fn new(name: Name, server: Server) -> Self {
        let socket = Self::none(name, server.kind());
        Self { server: Some(server), ..socket }
    }

    /// Serves the metrics, and the page if it has it, at this listener as well.
    pub fn set_metrics(&mut self, listener: Option<Listener>) {
        self.metrics = listener;
    }

    /// A service without a socket.
    pub fn none(name: Name, kind: &'static str) -> Self {
        let started = SystemTime::now();
        Self { name, kind, started, server: None, metrics: None, note: None }
    }

    /// The name of the service.
    pub const fn name(&self) -> &Name {
        &self.name
    }

    /// The path of the socket, if there is one.
    pub fn path(&self) -> Option<PathBuf> {
        self.server.as_ref().map(Server::path)
    }

    /// The list of the sockets of ports.
    pub fn port_files(&self) -> PortFiles {
        self.server.as_ref().map(Server::port_files).unwrap_or_default()
    }

    /// The descriptors that another process needs to take over, lock and listening socket; `None` without a socket.
    pub fn descriptors(&self) -> Option<[BorrowedFd<'_>; 2]> {
        self.server.as_ref().map(Server::descriptors)
    }

    /// The socket that listens for clients of the metrics, before the service runs.
    pub const fn metrics(&self) -> Option<&Listener> {
        self.metrics.as_ref()
    }

    /// Takes name and socket over from another process, whose server this one adopted.
    ///
    /// # Errors
    /// ENOSPC.
    pub fn own(&mut self) -> io::Result<()> {
        self.server.as_mut().map_or(Ok(()), Server::own)
    }

    /// Sends the replies that are still due, for up to a second, and leaves name and socket to a process that has taken
    /// them over.
    pub fn pass_on(self) {
        if let Some(server) = self.server {
            server.pass_on();
        }
    }

    /// Sends the replies that are still due, for up to a second, and releases the name.
    pub fn finish(self) {
        if let Some(server) = self.server {
            server.finish();
        }
    }
}
