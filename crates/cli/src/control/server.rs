//! The side that is asked.

use super::http::{self, Parsed, Request};
use super::{Claim, Method};
use crate::error::{Error, Exit, Result};
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::fs::{Mode, Timespec};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketAddrUnix, SocketFlags, SocketType};
use rustix::time::{Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags};
use serde_json::{Value, json};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

/// The most clients at a time: people and scripts ask, and not by the hundred. Further ones are told
/// so and closed.
const CLIENTS_MAX: usize = 16;

/// How long a client may take for its request, and how long it may rest while its reply is written.
const PATIENCE: Duration = Duration::from_secs(10);

/// How often clients are looked at for being idle.
const TICK: Timespec = Timespec { tv_sec: 1, tv_nsec: 0 };

/// How long the last replies are written for at the end.
const FINISH_WITHIN: Duration = Duration::from_secs(1);

const LISTENER: u64 = u64::MAX;
const TIMER: u64 = u64::MAX - 1;

/// The reply to a request.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    status: u16,
    body: Value,
}

impl Reply {
    /// What was asked for.
    pub(crate) fn ok(body: Value) -> Self {
        Self { status: 200, body }
    }

    /// There is no such thing as the path names.
    pub(crate) fn unknown_path(request: &Request) -> Self {
        let message = format!("there is no {} {}", request.method, request.path);
        Self { status: 404, body: json!({ "message": message }) }
    }

    fn refused(status: u16, message: &str) -> Self {
        Self { status, body: json!({ "message": message }) }
    }
}

/// A failure is told as `--json` tells it, with the exit status for the client.
impl From<Error> for Reply {
    fn from(error: Error) -> Self {
        let status = match error.exit {
            Exit::Usage => 400,
            Exit::Permission => 403,
            Exit::NotFound => 404,
            Exit::Conflict => 409,
            _ => 500,
        };
        let body = json!({ "exit": error.exit as u8, "error": *error.report });
        Self { status, body }
    }
}

impl From<Result<Value>> for Reply {
    fn from(result: Result<Value>) -> Self {
        result.map_or_else(Self::from, Self::ok)
    }
}

/// A control socket that is listened on.
#[derive(Debug)]
pub(crate) struct Server {
    claim: Claim,
    kind: &'static str,
    epoll: OwnedFd,
    listener: OwnedFd,
    timer: OwnedFd,
    clients: Vec<Option<Client>>,
    /// Accepting failed, for want of descriptors perhaps: the listener rests until the next tick.
    is_resting: bool,
    is_ticking: bool,
    counts: Counts,
    start: Instant,
}

/// What happened to clients.
#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    requests: u64,
    refused: u64,
    dropped: u64,
}

#[derive(Debug)]
struct Client {
    socket: OwnedFd,
    received: Vec<u8>,
    /// Empty until the reply is there.
    reply: Vec<u8>,
    written: usize,
    since: Instant,
}

/// What becomes of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    Stay,
    Close,
}

impl Server {
    /// Listens by the name of `claim`; `kind` is what the program is, as `switch`.
    ///
    /// # Errors
    /// What the file system and the kernel say of the socket.
    pub(crate) fn bind(claim: Claim, kind: &'static str) -> Result<Self> {
        let path = claim.socket_path();
        let failed = |error: &io::Error| Error::io("listen on", path.display(), error);
        let bound = || -> rustix::io::Result<OwnedFd> {
            let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
            let listener =
                rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
            // The socket file gets its mode from here, so it is never open to more than that.
            rustix::fs::fchmod(&listener, Mode::from_raw_mode(0o660))?;
            rustix::net::bind(&listener, &SocketAddrUnix::new(&path)?)?;
            // Once more for what the umask took.
            rustix::fs::chmod(&path, Mode::from_raw_mode(0o660))?;
            rustix::net::listen(&listener, 16)?;
            Ok(listener)
        };
        let listener = bound().map_err(|errno| failed(&errno.into()))?;
        let watched = || -> rustix::io::Result<(OwnedFd, OwnedFd)> {
            let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
            let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
            let timer = rustix::time::timerfd_create(TimerfdClockId::Monotonic, flags)?;
            epoll::add(&epoll, &listener, EventData::new_u64(LISTENER), EventFlags::IN)?;
            epoll::add(&epoll, &timer, EventData::new_u64(TIMER), EventFlags::IN)?;
            Ok((epoll, timer))
        };
        let (epoll, timer) = watched().map_err(|errno| failed(&errno.into()))?;
        Ok(Self {
            claim,
            kind,
            epoll,
            listener,
            timer,
            clients: Vec::new(),
            is_resting: false,
            is_ticking: false,
            counts: Counts::default(),
            start: Instant::now(),
        })
    }

    /// The name of the program.
    pub(crate) fn name(&self) -> String {
        self.claim.name().to_string()
    }

    /// Does what there is to do, without waiting; to be called when the descriptor is readable.
    pub(crate) fn serve(&mut self, mut handle: impl FnMut(&Request) -> Reply) {
        let mut events = Vec::with_capacity(CLIENTS_MAX + 2);
        let none = Timespec { tv_sec: 0, tv_nsec: 0 };
        // EINTR alone may come of it; the descriptor stays readable then.
        let waited =
            epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut events), Some(&none));
        if waited.is_err() {
            return;
        }
        for event in events {
            match event.data.u64() {
                LISTENER => self.accept(),
                TIMER => self.tick(),
                slot => self.attend(usize::try_from(slot).unwrap_or(usize::MAX), &mut handle),
            }
        }
    }

    /// Writes the replies that are left, for a second at most, and gives up the name.
    pub(crate) fn finish(mut self) {
        let end = Instant::now() + FINISH_WITHIN;
        let waits = |client: &Option<Client>| client.as_ref().is_some_and(|c| !c.reply.is_empty());
        while self.clients.iter().any(waits) && Instant::now() < end {
            for slot in 0..self.clients.len() {
                self.attend(slot, &mut |request| Reply::unknown_path(request));
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn accept(&mut self) {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let socket = match rustix::net::accept_with(&self.listener, flags) {
            Ok(socket) => socket,
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::CONNABORTED) => return,
            Err(_) => {
                // It stays readable: without rest this would be a busy loop.
                self.is_resting = epoll::delete(&self.epoll, &self.listener).is_ok();
                return self.arm(true);
            }
        };
        let refuse = |message: &str, status| {
            let bytes = http::reply(status, &Reply::refused(status, message).body);
            // What does not fit into the empty buffer of the socket is not worth waiting for.
            let _ = rustix::net::send(&socket, &bytes, SendFlags::NOSIGNAL);
        };
        if !is_welcome(socket.as_fd()) {
            self.counts.refused += 1;
            return refuse("only root, the user who runs this and the group may ask", 403);
        }
        let free = self.clients.iter().position(Option::is_none).unwrap_or(self.clients.len());
        if free >= CLIENTS_MAX {
            self.counts.refused += 1;
            return refuse("too many ask at a time", 503);
        }
        let data = EventData::new_u64(u64::try_from(free).unwrap_or(TIMER));
        if epoll::add(&self.epoll, &socket, data, EventFlags::IN).is_err() {
            return;
        }
        let since = Instant::now();
        let (received, reply) = (Vec::new(), Vec::new());
        let client = Some(Client { socket, received, reply, written: 0, since });
        match self.clients.get_mut(free) {
            Some(slot) => *slot = client,
            None => self.clients.push(client),
        }
        self.arm(true);
    }

    /// Lets those go that were idle for too long.
    fn tick(&mut self) {
        let _ = rustix::io::read(&self.timer, &mut [0; 8]);
        for slot in &mut self.clients {
            if slot.as_ref().is_some_and(|client| client.since.elapsed() > PATIENCE) {
                self.counts.dropped += 1;
                *slot = None;
            }
        }
        if self.is_resting {
            let data = EventData::new_u64(LISTENER);
            self.is_resting =
                epoll::add(&self.epoll, &self.listener, data, EventFlags::IN).is_err();
        }
        let is_needed = self.is_resting || self.clients.iter().any(Option::is_some);
        self.arm(is_needed);
    }

    /// Starts or stops the ticks; those that go on are not put off by it.
    fn arm(&mut self, on: bool) {
        if self.is_ticking == on {
            return;
        }
        self.is_ticking = on;
        let every = if on { TICK } else { Timespec { tv_sec: 0, tv_nsec: 0 } };
        let spec = Itimerspec { it_interval: every, it_value: every };
        // It cannot fail for a timer of ours and a time that is one.
        let _ = rustix::time::timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &spec);
    }

    fn attend(&mut self, slot: usize, handle: &mut impl FnMut(&Request) -> Reply) {
        let Some(Some(client)) = self.clients.get_mut(slot) else { return };
        let mut then = Then::Stay;
        if client.reply.is_empty() {
            then = client.receive();
            match http::parse(&client.received) {
                Parsed::Partial => {}
                Parsed::Refused(status, message) => {
                    let body = Reply::refused(status, &message).body;
                    client.reply = http::reply(status, &body);
                    self.counts.refused += 1;
                }
                Parsed::Request(request) => {
                    self.counts.requests += 1;
                    let reply = match (request.method, request.path.as_str()) {
                        (Method::Get, "/") => Reply::ok(self.about()),
                        _ => handle(&request),
                    };
                    let Some(Some(client)) = self.clients.get_mut(slot) else { return };
                    client.reply = http::reply(reply.status, &reply.body);
                }
            }
        }
        let Some(Some(client)) = self.clients.get_mut(slot) else { return };
        if !client.reply.is_empty() {
            then = client.send();
            let data = EventData::new_u64(u64::try_from(slot).unwrap_or(TIMER));
            let wants = epoll::modify(&self.epoll, &client.socket, data, EventFlags::OUT);
            if wants.is_err() {
                then = Then::Close;
            }
        }
        if then == Then::Close {
            // Its end takes it out of the epoll set as well.
            if let Some(slot) = self.clients.get_mut(slot) {
                *slot = None;
            }
        }
    }

    /// What everybody may know of the program.
    fn about(&self) -> Value {
        json!({
            "name": self.name(),
            "kind": self.kind,
            "pid": std::process::id(),
            "version": env!("CARGO_PKG_VERSION"),
            "uptime_s": self.start.elapsed().as_secs(),
            "requests": self.counts.requests,
            "requests_refused": self.counts.refused,
            "clients_dropped": self.counts.dropped,
        })
    }
}

impl AsFd for Server {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.epoll.as_fd()
    }
}

impl Client {
    /// Takes what is there, once: the rest is there next time, after the packets.
    fn receive(&mut self) -> Then {
        let mut buf = [0; 16 << 10];
        match rustix::net::recv(&self.socket, &mut buf, RecvFlags::empty()) {
            Ok((0, _)) => Then::Close,
            Ok((len, _)) => {
                self.received.extend_from_slice(buf.get(..len).unwrap_or_default());
                // Beyond the longest request `parse` has refused it.
                Then::Stay
            }
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => Then::Stay,
            Err(_) => Then::Close,
        }
    }

    fn send(&mut self) -> Then {
        let rest = self.reply.get(self.written..).unwrap_or_default();
        match rustix::net::send(&self.socket, rest, SendFlags::NOSIGNAL) {
            Ok(len) => {
                self.written += len;
                self.since = Instant::now();
                if self.written < self.reply.len() { Then::Stay } else { Then::Close }
            }
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => Then::Stay,
            Err(_) => Then::Close,
        }
    }
}

/// Whether the peer may ask: root, our user, our group. One that has no process id here, for it is
/// outside our namespace of processes, may not.
fn is_welcome(socket: BorrowedFd<'_>) -> bool {
    let Ok(peer) = rustix::net::sockopt::socket_peercred(socket) else { return false };
    peer.uid.is_root()
        || peer.uid == rustix::process::geteuid()
        || peer.gid == rustix::process::getegid()
}
