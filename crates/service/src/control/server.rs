//! The side that is asked.

use crate::control::browser;
use crate::control::connection::{Connection, Stream, Then};
use crate::control::http::{self, Method, Parsed, Request, Ticket};
use crate::control::name::{Claim, PortFiles};
use crate::control::openapi;
use crate::control::rights::{Rights, give_to_group};
use crate::control::route::{self, Listed, Refusal, Route};
use crate::error::number_of;
use crate::error::{Error, Kind, Result};
use crate::journal::{Format, Journal, Mark};
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::fs::{Mode, Timespec};
use rustix::net::{AddressFamily, SendFlags, SocketAddrUnix, SocketFlags, SocketType};
use rustix::time::{Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value, json};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The system calls of this file, and of the removal of the socket.
pub const SYSCALLS: &[&str] = &[
    "accept4",
    "epoll_ctl",
    "epoll_pwait",
    "getsockopt",
    "recvfrom",
    "sendto",
    "timerfd_settime",
    "unlink",
];

/// The most clients at a time: a page of a browser, a program that collects metrics, some that follow events.
/// Further ones get an error and are closed.
const CLIENTS_MAX: usize = 64;

/// How many connections wait to be accepted: a hundred programs may ask at once.
const BACKLOG: i32 = 128;
/// The most of them that are others: they keep no member out.
const OTHERS_MAX: usize = 16;

/// The most requests of others in a second: each of them costs packets the time of its reply.
const OTHERS_PER_SECOND: u32 = 50;

/// The most bytes of replies that wait for slow readers.
const REPLIES_LEN_MAX: usize = 64 << 20;

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
    /// A whole response, that of [`http::response`]; several clients may share it.
    Whole(Arc<[u8]>),
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
    fn bytes(&self) -> Option<Arc<[u8]>> {
        match self {
            Self::Now(status, body) => Some(http::reply(*status, body).into()),
            Self::Whole(bytes) => Some(Arc::clone(bytes)),
            Self::Later => None,
        }
    }
}

/// A request that is refused by what is known of requests.
impl From<Refusal> for Reply {
    fn from(Refusal { status, allow, body }: Refusal) -> Self {
        let fields = allow.map(|allow| format!("Allow: {allow}\r\n")).unwrap_or_default();
        Self::Whole(http::response(status, http::JSON, &fields, &format!("{body}\n")).into())
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
            // The request is in order, and the system refuses what it asks for.
            Kind::Refused => 422,
            Kind::Timeout => 504,
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
    /// The groups whose members may change things: that of the socket's file, and that of this process.
    groups: [u32; 2],
    epoll: OwnedFd,
    listener: OwnedFd,
    timer: OwnedFd,
    clients: Vec<Option<Connection>>,
    /// What may be asked; empty: anything, for the handler to judge.
    routes: Vec<Route>,
    journal: Option<Arc<Journal>>,
    /// The reply with the OpenAPI document, once somebody has asked for it.
    document: Option<Arc<[u8]>>,
    /// Whether the page is served.
    has_page: bool,
    /// Accepting failed, for want of descriptors perhaps: the listener rests until the next tick.
    is_resting: bool,
    is_ticking: bool,
    /// Requests of others since the last tick.
    of_others: u32,
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

/// What a program says of itself at `/`.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct About {
    /// Its name.
    name: String,
    /// What it is: switch, netem, nat, tunnel or lab.
    kind: &'static str,
    /// Its process.
    pid: u32,
    /// Its version of adit.
    version: &'static str,
    /// For how many seconds it has been running.
    uptime_s: u64,
    /// Requests so far.
    requests: u64,
    /// Those that were refused before they were passed on.
    requests_refused: u64,
    /// Clients that were too slow.
    clients_dropped: u64,
    /// What may be asked.
    paths: Vec<Listed>,
}

impl Server {
    /// Listens by the name of `claim`; `kind` is what the program is, as `switch`.
    ///
    /// # Errors
    /// What the file system and the kernel say of the socket.
    pub fn bind(claim: Claim, kind: &'static str) -> Result<Self> {
        let path = claim.socket_path();
        let failed = |error: &io::Error| Error::io("listen on", path.display(), error);
        let is_private = route::PRIVATE.contains(&kind);
        let mode = Mode::from_raw_mode(if is_private { 0o660 } else { 0o666 });
        let bound = || -> rustix::io::Result<OwnedFd> {
            let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
            let listener =
                rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
            // The socket file gets its mode from here, so it is never open to more than that.
            rustix::fs::fchmod(&listener, mode)?;
            rustix::net::bind(&listener, &SocketAddrUnix::new(&path)?)?;
            // Once more for what the umask took.
            rustix::fs::chmod(&path, mode)?;
            rustix::net::listen(&listener, BACKLOG)?;
            Ok(listener)
        };
        let listener = bound().map_err(|errno| failed(&errno.into()))?;
        Self::of(claim, kind, listener)
    }

    /// The server of another process, with its listening socket and the name that `claim` adopted. Name and socket file
    /// stay that process's until [`Self::own`].
    ///
    /// # Errors
    /// EMFILE, ENOMEM.
    pub fn adopt(claim: Claim, kind: &'static str, listener: OwnedFd) -> Result<Self> {
        Self::of(claim, kind, listener)
    }

    /// Takes name and socket over from the other process.
    ///
    /// # Errors
    /// ENOSPC.
    pub fn own(&mut self) -> io::Result<()> {
        self.claim.own()?;
        // Again, so that the kernel shows our process to clients.
        Ok(rustix::net::listen(&self.listener, BACKLOG)?)
    }

    /// The descriptors that another process needs to take over: of the lock, and of the listening socket.
    pub fn descriptors(&self) -> [BorrowedFd<'_>; 2] {
        [self.claim.lock(), self.listener.as_fd()]
    }

    fn of(claim: Claim, kind: &'static str, listener: OwnedFd) -> Result<Self> {
        let path = claim.socket_path();
        let failed = |error: &io::Error| Error::io("listen on", path.display(), error);
        let watched = || -> rustix::io::Result<(OwnedFd, OwnedFd)> {
            let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
            let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
            let timer = rustix::time::timerfd_create(TimerfdClockId::Monotonic, flags)?;
            epoll::add(&epoll, &listener, EventData::new_u64(LISTENER), EventFlags::IN)?;
            epoll::add(&epoll, &timer, EventData::new_u64(TIMER), EventFlags::IN)?;
            Ok((epoll, timer))
        };
        let (epoll, timer) = watched().map_err(|errno| failed(&errno.into()))?;
        let groups = give_to_group(&claim.socket_path());
        Ok(Self {
            claim,
            kind,
            groups,
            epoll,
            listener,
            timer,
            clients: Vec::new(),
            routes: Vec::new(),
            journal: None,
            document: None,
            has_page: false,
            is_resting: false,
            is_ticking: false,
            of_others: 0,
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

    /// The list of the sockets of ports.
    pub fn port_files(&self) -> PortFiles {
        self.claim.port_files()
    }

    /// Answers these requests alone, and those for the events of `journal`.
    pub fn describe(&mut self, routes: Vec<Route>, journal: Arc<Journal>) {
        (self.routes, self.journal) = (route::of_kind(self.kind, routes), Some(journal));
    }

    /// Serves the page as well.
    pub const fn serve_page(&mut self) {
        self.has_page = true;
    }

    /// Takes a client of the page's address, with what it has sent.
    pub fn admit_visitor(
        &mut self,
        socket: OwnedFd,
        received: Vec<u8>,
        mut handle: impl FnMut(&Request) -> Reply,
    ) {
        if let Some(slot) = self.admit(socket, Rights::Web, received) {
            self.parse(slot, &mut handle);
            self.write(slot);
        }
    }

    /// Sends new events to those who follow them.
    pub fn publish(&mut self) {
        let Some(journal) = &self.journal else { return };
        let last = journal.last();
        // One whose socket is full gets them when it has room.
        let is_behind = |client: &Option<Connection>| {
            let client = client.as_ref().filter(|client| client.reply.is_empty());
            client.and_then(|client| client.stream).is_some_and(|stream| stream.after != last)
        };
        for slot in 0..self.clients.len() {
            if self.clients.get(slot).is_some_and(is_behind) {
                self.write(slot);
            }
        }
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
                slot => {
                    let slot = usize::try_from(slot).unwrap_or(usize::MAX);
                    self.attend(slot, event.flags, &mut handle);
                }
            }
        }
    }

    /// Sends the reply to a request that was to come later, unless the client has gone.
    pub fn reply(&mut self, to: Ticket, reply: &Reply) {
        let client = self.clients.get_mut(to.slot).and_then(Option::as_mut);
        let Some(client) = client.filter(|client| client.number == to.number) else { return };
        if let Some(bytes) = reply.bytes() {
            client.give(bytes);
            self.write(to.slot);
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
        self.send_replies();
    }

    /// As [`Self::finish`], but the name and the socket belong to a process that has taken them over.
    pub fn pass_on(mut self) {
        let message = "the service continues in another process: ask again";
        let later: Arc<[u8]> = http::reply(503, &json!({ "message": message })).into();
        for client in self.clients.iter_mut().flatten() {
            if client.reply.is_empty() && client.stream.is_none() {
                client.give(Arc::clone(&later));
            }
        }
        self.send_replies();
        self.claim.pass_on();
    }

    fn send_replies(&mut self) {
        let end = Instant::now() + FINISH_WITHIN;
        let waits = |client: &Option<Connection>| {
            client.as_ref().is_some_and(|client| !client.reply.is_empty())
        };
        self.publish();
        while self.clients.iter().any(waits) && Instant::now() < end {
            for slot in 0..self.clients.len() {
                self.write(slot);
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
        match Rights::of_peer(socket.as_fd(), self.groups) {
            Some(rights) => {
                self.admit(socket, rights, Vec::new());
            }
            None => {
                self.refuse(&socket, "the kernel does not say which user sends the request", 403)
            }
        }
    }

    fn refuse(&mut self, socket: &OwnedFd, message: &str, status: u16) {
        self.counts.refused += 1;
        let bytes = http::reply(status, &json!({ "message": message }));
        // What does not fit into the empty buffer of the socket is not worth waiting for.
        let _ = rustix::net::send(socket, &bytes, SendFlags::NOSIGNAL);
    }

    /// Takes a client, unless there are too many; returns its place.
    fn admit(&mut self, socket: OwnedFd, rights: Rights, received: Vec<u8>) -> Option<usize> {
        let others = self.clients.iter().flatten().filter(|one| one.rights <= Rights::Others);
        let is_full = rights <= Rights::Others && others.count() >= OTHERS_MAX;
        let free = self.clients.iter().position(Option::is_none).unwrap_or(self.clients.len());
        if free >= CLIENTS_MAX || is_full {
            self.refuse(&socket, "too many requests at a time", 503);
            return None;
        }
        let data = EventData::new_u64(u64::try_from(free).unwrap_or(TIMER));
        epoll::add(&self.epoll, &socket, data, EventFlags::IN).ok()?;
        self.accepted += 1;
        let mut client = Connection::new(socket, self.accepted, rights);
        client.received = received;
        match self.clients.get_mut(free) {
            Some(slot) => *slot = Some(client),
            None => self.clients.push(Some(client)),
        }
        self.arm(true);
        Some(free)
    }

    /// Lets those go that were idle for too long.
    fn tick(&mut self) {
        let _ = rustix::io::read(&self.timer, &mut [0; 8]);
        self.of_others = 0;
        for slot in 0..self.clients.len() {
            let Some(client) = self.clients.get_mut(slot) else { continue };
            if client.as_ref().is_some_and(|client| client.is_late(PATIENCE)) {
                self.counts.dropped += 1;
                *client = None;
            } else if client.as_ref().is_some_and(|client| client.stream.is_some()) {
                self.write(slot);
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

    fn attend(
        &mut self,
        slot: usize,
        flags: EventFlags,
        handle: &mut impl FnMut(&Request) -> Reply,
    ) {
        let Some(Some(client)) = self.clients.get_mut(slot) else { return };
        if client.is_asked && flags.intersects(EventFlags::HUP | EventFlags::ERR) {
            return self.close(slot);
        }
        if !client.is_asked && client.reply.is_empty() {
            if client.receive() == Then::Close {
                return self.close(slot);
            }
            self.parse(slot, handle);
        }
        self.write(slot);
    }

    /// Sends what waits for a client.
    fn write(&mut self, slot: usize) {
        let Some(Some(client)) = self.clients.get_mut(slot) else { return };
        if let Some(journal) = &self.journal {
            client.follow(journal);
        }
        if client.reply.is_empty() {
            return;
        }
        let then = client.send();
        // An event that follows at once is sent when there is room for it.
        let is_behind = match (&self.journal, client.stream) {
            (Some(journal), Some(stream)) => stream.after != journal.last(),
            _ => false,
        };
        let waits = !client.reply.is_empty() || is_behind;
        // Without a reply its end alone is of interest, which is always reported.
        let what = if waits { EventFlags::OUT } else { EventFlags::empty() };
        if then == Then::Close || self.expect(slot, what).is_err() {
            self.close(slot);
        }
    }

    /// Its end takes it out of the epoll set as well.
    fn close(&mut self, slot: usize) {
        if let Some(slot) = self.clients.get_mut(slot) {
            *slot = None;
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
                (request.rights, request.files) = (client.rights, client.rights.files());
                (client.is_asked, client.received) = (true, Vec::new());
                client.is_head = request.is_head;
                self.counts.requests += 1;
                match self.answer(&request) {
                    Some(reply) => reply,
                    None => handle(&request),
                }
            }
        };
        match (reply.bytes(), self.clients.get_mut(slot)) {
            (Some(bytes), Some(Some(client))) => client.give(bytes),
            // Until then only its end is of interest, which is always told.
            (None, _) => drop(self.expect(slot, EventFlags::empty())),
            _ => {}
        }
    }

    /// The reply, unless the program has it.
    fn answer(&mut self, request: &Request) -> Option<Reply> {
        if let Err(refusal) = route::check_origin(request) {
            self.counts.refused += 1;
            return Some(refusal.into());
        }
        if let Some(file) = self.file(request) {
            return Some(Reply::Whole(file));
        }
        if !self.routes.is_empty()
            && let Err(refusal) = route::check(&self.routes, request)
        {
            self.counts.refused += 1;
            return Some(refusal.into());
        }
        if request.rights <= Rights::Others {
            self.of_others += 1;
            if self.of_others > OTHERS_PER_SECOND {
                self.counts.refused += 1;
                return Some(Reply::refused(429, "too many requests in this second"));
            }
        }
        let waiting = self.clients.iter().flatten().map(|client| client.reply.len());
        if waiting.sum::<usize>() > REPLIES_LEN_MAX {
            self.counts.refused += 1;
            return Some(Reply::refused(503, "too many replies wait for slow readers"));
        }
        match (request.method, request.path.as_str()) {
            (Method::Get, "/") => Some(Reply::Now(200, json!(self.about()))),
            (_, "/") => Some(Reply::unknown_path(request)),
            (Method::Get, "/openapi.json") => {
                let (kind, routes) = (self.kind, &self.routes);
                let make = || http::reply(200, &openapi::document(kind, routes)).into();
                Some(Reply::Whole(self.document.get_or_insert_with(make).clone()))
            }
            (Method::Get, "/events") => Some(self.follow(request)),
            _ => None,
        }
    }

    /// A file of the page, if that is what is asked for.
    fn file(&self, request: &Request) -> Option<Arc<[u8]>> {
        let is_browser = request.accept.contains("text/html");
        match (request.method, request.path.as_str()) {
            (Method::Get, "/") if self.has_page && is_browser => browser::file("/page"),
            (Method::Get, path) if self.has_page => browser::file(path),
            _ => None,
        }
    }

    /// Lets a client follow events.
    fn follow(&mut self, request: &Request) -> Reply {
        let Some(journal) = self.journal.clone() else { return Reply::unknown_path(request) };
        // A browser that comes again has the number in the field, and the old one in its address.
        let after = request.last_event.as_deref().or(request.query_of("after"));
        let Ok(after) = after.map_or(Ok(journal.last()), str::parse) else {
            return Reply::refused(400, "`after` must be the number of an event");
        };
        let follows = request.query_of("follow").map_or(Ok(true), str::parse);
        let Ok(follows) = follows else {
            return Reply::refused(400, "`follow` must be true or false");
        };
        let (format, media) = if request.accept.contains("text/event-stream") {
            (Format::ServerSent, "text/event-stream")
        } else {
            (Format::Lines, "application/x-ndjson")
        };
        let mut bytes = http::head(200, media, "");
        Journal::mark(Mark::Start { seq: after }, format, &mut bytes);
        let mut stream = Stream { format, after, follows };
        if !follows {
            while stream.after != journal.last() {
                stream.after = journal.read(stream.after, format, &mut bytes);
            }
        }
        if let Some(Some(client)) = self.clients.get_mut(request.from.slot) {
            client.stream = Some(stream).filter(|_| !request.is_head);
        }
        Reply::Whole(bytes.into())
    }

    /// What a client's socket is waited for.
    fn expect(&self, slot: usize, what: EventFlags) -> rustix::io::Result<()> {
        let Some(Some(client)) = self.clients.get(slot) else { return Ok(()) };
        let data = EventData::new_u64(u64::try_from(slot).unwrap_or(TIMER));
        epoll::modify(&self.epoll, &client.socket, data, what)
    }

    /// What everybody may know of the program.
    fn about(&self) -> About {
        About {
            name: self.name(),
            kind: self.kind,
            pid: std::process::id(),
            version: env!("CARGO_PKG_VERSION"),
            uptime_s: self.start.elapsed().as_secs(),
            requests: self.counts.requests,
            requests_refused: self.counts.refused,
            clients_dropped: self.counts.dropped,
            paths: self.routes.iter().map(Listed::from).collect(),
        }
    }
}

impl AsFd for Server {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.epoll.as_fd()
    }
}
