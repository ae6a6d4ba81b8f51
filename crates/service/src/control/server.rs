//! The side that is asked.

use crate::config::source::Files;
use crate::control::http;
use crate::control::http::Method;
use crate::control::http::{Parsed, Request, Ticket};
use crate::control::name::Claim;
use crate::error::number_of;
use crate::error::{Error, Kind, Result};
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::fs::{Mode, Timespec};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketAddrUnix, SocketFlags, SocketType};
use rustix::time::{Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags};
use serde_json::{Value, json};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// The system calls of this file, and of the removal of the socket.
pub const SYSCALLS: &[&str] = &[
    "accept4",
    "epoll_ctl",
    "epoll_pwait",
    "epoll_wait",
    "getsockopt",
    "getuid",
    "geteuid",
    "recvfrom",
    "sendto",
    "timerfd_settime",
    "unlink",
    "unlinkat",
];

/// The most clients at a time: a page of a browser, a program that collects metrics, some that follow events.
/// Further ones get an error and are closed.
const CLIENTS_MAX: usize = 64;

/// How many connections wait to be accepted: a hundred programs may ask at once.
const BACKLOG: i32 = 128;

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
pub enum Reply {
    /// A status of HTTP and the body.
    Now(u16, Value),
    /// It comes by [`Server::reply`]: what was asked for takes its time.
    Later,
}

impl Reply {
    /// What was asked for.
    pub fn ok(body: Value) -> Self {
        Self::Now(200, body)
    }

    /// There is no such thing as the path names.
    pub fn unknown_path(request: &Request) -> Self {
        let message = format!("unknown request {} {}", request.method, request.path);
        Self::refused(404, &message)
    }

    fn refused(status: u16, message: &str) -> Self {
        Self::Now(status, json!({ "message": message }))
    }

    /// The bytes to be sent now.
    fn bytes(&self) -> Option<Vec<u8>> {
        match self {
            Self::Now(status, body) => Some(http::reply(*status, body)),
            Self::Later => None,
        }
    }
}

/// A failure has the form of `--json`, with the exit status for the client.
impl From<Error> for Reply {
    fn from(error: Error) -> Self {
        let status = match error.kind {
            Kind::Usage => 400,
            Kind::Permission => 403,
            Kind::NotFound => 404,
            Kind::Conflict => 409,
            _ => 500,
        };
        let body = json!({ "exit": number_of(&error), "error": *error.report });
        Self::Now(status, body)
    }
}

impl From<Result<Value>> for Reply {
    fn from(result: Result<Value>) -> Self {
        result.map_or_else(Self::from, Self::ok)
    }
}

/// A control socket that is listened on.
#[derive(Debug)]
pub struct Server {
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
    /// The number that the last client was given.
    accepted: u64,
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
    number: u64,
    files: Files,
    received: Vec<u8>,
    /// Its request was passed on, and the reply comes later: the client is not waited for.
    is_asked: bool,
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
    pub fn bind(claim: Claim, kind: &'static str) -> Result<Self> {
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
            rustix::net::listen(&listener, BACKLOG)?;
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
            accepted: 0,
            start: Instant::now(),
        })
    }

    /// The name of the program.
    pub fn name(&self) -> String {
        self.claim.name().to_string()
    }

    /// The path of its socket.
    pub fn path(&self) -> PathBuf {
        self.claim.socket_path()
    }

    /// Does what there is to do, without waiting; to be called when the descriptor is readable.
    pub fn serve(&mut self, mut handle: impl FnMut(&Request) -> Reply) {
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

    /// Sends the reply to a request that was to come later, unless the client has gone.
    pub fn reply(&mut self, to: Ticket, reply: &Reply) {
        let client = self.clients.get_mut(to.slot).and_then(Option::as_mut);
        let Some(client) = client.filter(|client| client.number == to.number) else { return };
        if let Some(bytes) = reply.bytes() {
            (client.reply, client.since) = (bytes, Instant::now());
            self.attend(to.slot, &mut |request| Reply::unknown_path(request));
        }
    }

    /// Gives away a client whose request will be answered elsewhere, with its socket; `None` if it has gone.
    pub fn take(&mut self, client: Ticket) -> Option<OwnedFd> {
        let slot = self.clients.get_mut(client.slot)?;
        let socket = slot.take_if(|found| found.number == client.number)?.socket;
        // The descriptor stays open, so it does not leave the epoll set by itself.
        epoll::delete(&self.epoll, &socket).ok()?;
        Some(socket)
    }

    /// How many requests were passed on, how many clients were refused, and how many were closed because they were
    /// idle, each with the word for it.
    pub const fn counts(&self) -> [(&'static str, u64); 3] {
        let Counts { requests, refused, dropped } = self.counts;
        [("answered", requests), ("refused", refused), ("idle", dropped)]
    }

    /// What the program is.
    pub const fn kind(&self) -> &'static str {
        self.kind
    }

    /// Writes the replies that are left, for a second at most, and gives up the name.
    pub fn finish(mut self) {
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
            let bytes = Reply::refused(status, message).bytes().unwrap_or_default();
            // What does not fit into the empty buffer of the socket is not worth waiting for.
            let _ = rustix::net::send(&socket, &bytes, SendFlags::NOSIGNAL);
        };
        let Some(files) = rights_of(socket.as_fd()) else {
            self.counts.refused += 1;
            return refuse(
                "only root, the user of this program and its group may send requests",
                403,
            );
        };
        let free = self.clients.iter().position(Option::is_none).unwrap_or(self.clients.len());
        if free >= CLIENTS_MAX {
            self.counts.refused += 1;
            return refuse("too many requests at a time", 503);
        }
        let data = EventData::new_u64(u64::try_from(free).unwrap_or(TIMER));
        if epoll::add(&self.epoll, &socket, data, EventFlags::IN).is_err() {
            return;
        }
        let since = Instant::now();
        self.accepted += 1;
        let client = Some(Client {
            socket,
            number: self.accepted,
            files,
            received: Vec::new(),
            is_asked: false,
            reply: Vec::new(),
            written: 0,
            since,
        });
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
            let is_idle = |client: &Client| {
                let waits_for_us = client.is_asked && client.reply.is_empty();
                !waits_for_us && client.since.elapsed() > PATIENCE
            };
            if slot.as_ref().is_some_and(is_idle) {
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
            if !client.is_asked {
                self.parse(slot, handle);
            }
        }
        let Some(Some(client)) = self.clients.get_mut(slot) else { return };
        if !client.reply.is_empty() {
            then = client.send();
            if self.expect(slot, EventFlags::OUT).is_err() {
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

    /// Answers the request of a client, if it is whole.
    fn parse(&mut self, slot: usize, handle: &mut impl FnMut(&Request) -> Reply) {
        let Some(Some(client)) = self.clients.get_mut(slot) else { return };
        let reply = match http::parse(&client.received) {
            Parsed::Partial => return,
            Parsed::Refused(status, message) => {
                self.counts.refused += 1;
                Reply::refused(status, &message)
            }
            Parsed::Request(mut request) => {
                request.from = Ticket { slot, number: client.number };
                request.files = client.files;
                (client.is_asked, client.received) = (true, Vec::new());
                self.counts.requests += 1;
                match (request.method, request.path.as_str()) {
                    (Method::Get, "/") => Reply::ok(self.about()),
                    _ => handle(&request),
                }
            }
        };
        match (reply.bytes(), self.clients.get_mut(slot)) {
            (Some(bytes), Some(Some(client))) => client.reply = bytes,
            // Until then only its end is of interest, which is always told.
            (None, _) => drop(self.expect(slot, EventFlags::empty())),
            _ => {}
        }
    }

    /// What a client's socket is waited for.
    fn expect(&self, slot: usize, what: EventFlags) -> rustix::io::Result<()> {
        let Some(Some(client)) = self.clients.get(slot) else { return Ok(()) };
        let data = EventData::new_u64(u64::try_from(slot).unwrap_or(TIMER));
        epoll::modify(&self.epoll, &client.socket, data, what)
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

/// Whether the peer may ask: root, our user, our group; and whether it may name files. A peer without a
/// process ID in our namespace may not ask.
fn rights_of(socket: BorrowedFd<'_>) -> Option<Files> {
    let peer = rustix::net::sockopt::socket_peercred(socket).ok()?;
    if peer.uid.is_root() || peer.uid == rustix::process::geteuid() {
        return Some(Files::Allowed);
    }
    (peer.gid == rustix::process::getegid()).then_some(Files::Refused)
}
