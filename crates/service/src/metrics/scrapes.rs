//! The thread that has the clients of `/metrics`.
//!
//! It has the clients that a control socket hands over, and those that come by TCP. While some wait it asks the
//! owner of the counters for a copy: one for all of them, and never two at a time, so a hundred clients that begin at
//! once cost the owner a few copies. A client that came after the copy was asked for gets the next one: what it reads
//! is never older than its request.

use crate::control::http::{self, Parsed};
use crate::control::socket::Listener;
use crate::metrics::accept::Format;
use crate::metrics::page;
use adit_runtime::RaisedPriority;
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::net::{RecvFlags, SendFlags};
use std::fmt;
use std::io;
use std::mem::take;
use std::net::TcpListener;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// The system calls of this file.
pub const SYSCALLS: &[&str] =
    &["accept4", "eventfd2", "fcntl", "ppoll", "read", "recvfrom", "sendto", "write"];

/// The most clients at a time: some monitoring servers, and dashboards that are open. Further ones get an error.
const CLIENTS_MAX: usize = 256;

/// How long a client may take for its request, and how long it may rest while its reply is written.
const PATIENCE: Duration = Duration::from_secs(10);

/// How often clients are looked at for being idle, and a listener that failed is tried again.
const TICK: Timespec = Timespec { tv_sec: 1, tv_nsec: 0 };

/// How long clients may take whose service has gone to another process.
const FINISH_WITHIN: Duration = Duration::from_secs(1);

/// How often that is looked at.
const LAST_TICK: Timespec = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };

/// The page: a call that writes it, away from the loop.
pub type Text = Box<dyn FnOnce() -> String + Send>;

/// Clients of `/metrics`, on a thread of their own. Readable ([`AsFd`]) when the owner must copy its counters.
pub struct Scrapes {
    sender: Sender<Message>,
    visitors: Receiver<(OwnedFd, Vec<u8>)>,
    wake: Arc<OwnedFd>,
    due: Arc<OwnedFd>,
    thread: Option<JoinHandle<()>>,
}

enum Message {
    /// A client whose request was read: its `Accept` field, and whether the method was HEAD.
    Client(OwnedFd, Format, bool),
    /// What was asked for.
    Text(Text),
    /// The last copy: for those who are there.
    Last(Text),
}

impl Scrapes {
    /// Starts the thread, which also takes clients of `listener`.
    ///
    /// # Errors
    /// EMFILE; EAGAIN: no thread could be started.
    pub fn start(listener: Option<Listener>) -> io::Result<Self> {
        let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
        let (wake, due) = (Arc::new(eventfd(0, flags)?), Arc::new(eventfd(0, flags)?));
        let ((sender, inbox), (visits, visitors)) = (channel(), channel());
        let has_page = listener.as_ref().is_some_and(|listener| listener.has_page);
        let worker = Worker {
            listener: listener.map(|listener| listener.socket),
            has_page,
            visits,
            is_resting: false,
            inbox,
            wake: Arc::clone(&wake),
            due: Arc::clone(&due),
            clients: Vec::new(),
            last: None,
        };
        let thread = std::thread::Builder::new().name("metrics".to_owned()).spawn(move || {
            RaisedPriority::lower();
            worker.run();
        })?;
        Ok(Self { sender, visitors, wake, due, thread: Some(thread) })
    }

    /// Takes a client whose request for `/metrics` was read.
    pub fn hand_over(&self, client: OwnedFd, accept: &str, is_head: bool) {
        self.send(Message::Client(client, Format::of_accept(accept), is_head));
    }

    /// A client of the page, with what it has sent: the owner answers it.
    #[must_use]
    pub fn visitor(&self) -> Option<(OwnedFd, Vec<u8>)> {
        self.visitors.try_recv().ok()
    }

    /// Whether a copy is asked for; it is asked for once.
    #[must_use]
    pub fn is_due(&self) -> bool {
        rustix::io::read(&*self.due, &mut [0; 8]).is_ok()
    }

    /// Gives the copy that was asked for.
    pub fn deliver(&self, text: Text) {
        self.send(Message::Text(text));
    }

    /// Answers the clients that are there from this copy, for up to a second, and ends; another process accepts the next
    /// ones. Returns clients of the page, as [`Self::visitor`].
    pub fn finish(mut self, text: Text) -> Vec<(OwnedFd, Vec<u8>)> {
        self.send(Message::Last(text));
        let _ = self.thread.take().map(JoinHandle::join);
        self.visitors.try_iter().collect()
    }

    fn send(&self, message: Message) {
        // It fails only if the thread has panicked: the client is closed.
        let _ = self.sender.send(message);
        ring(&self.wake);
    }
}

impl Drop for Scrapes {
    /// Ends the thread; clients are closed.
    fn drop(&mut self) {
        self.sender = channel().0;
        ring(&self.wake);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

impl AsFd for Scrapes {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.due.as_fd()
    }
}

impl fmt::Debug for Scrapes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scrapes").finish_non_exhaustive()
    }
}

fn ring(event: &OwnedFd) {
    // It fails only when the counter is full: the other side is woken all the same.
    let _ = rustix::io::write(event, &1_u64.to_ne_bytes());
}

struct Worker {
    listener: Option<TcpListener>,
    /// Whether clients of the listener may ask for the page as well.
    has_page: bool,
    /// Those who do.
    visits: Sender<(OwnedFd, Vec<u8>)>,
    /// Accepting failed, for want of descriptors perhaps: the listener rests until the next tick.
    is_resting: bool,
    inbox: Receiver<Message>,
    wake: Arc<OwnedFd>,
    due: Arc<OwnedFd>,
    clients: Vec<Client>,
    /// The last copy, and when this thread ends at the latest.
    last: Option<(String, Instant)>,
}

impl Worker {
    fn run(mut self) {
        loop {
            self.wait();
            if !self.take_messages() {
                return;
            }
            self.pass_visitors_on();
            match self.last.take() {
                None => self.ask(),
                Some((open, end)) => {
                    self.reply(&open, true);
                    self.last = Some((open, end));
                }
            }
            self.clients.retain(|client| !client.is_over());
            let is_over = |end| self.clients.is_empty() || end <= Instant::now();
            if self.last.as_ref().is_some_and(|(_, end)| is_over(*end)) {
                return;
            }
        }
    }

    /// Waits until something is ready, and serves it.
    fn wait(&mut self) {
        let listener = self.listener.as_ref().filter(|_| !self.is_resting);
        let mut fds = vec![PollFd::new(&*self.wake, PollFlags::IN)];
        fds.extend(
            self.clients.iter().map(|client| PollFd::new(&client.socket, client.interest())),
        );
        fds.extend(listener.map(|listener| PollFd::new(listener, PollFlags::IN)));
        let is_ticking = self.is_resting || !self.clients.is_empty();
        let tick = if self.last.is_some() { &LAST_TICK } else { &TICK };
        let waited = poll(&mut fds, is_ticking.then_some(tick));
        self.is_resting = false;
        if waited.is_err() {
            return;
        }
        let ready: Vec<bool> = fds.iter().map(|fd| !fd.revents().is_empty()).collect();
        if ready.first() == Some(&true) {
            let _ = rustix::io::read(&*self.wake, &mut [0; 8]);
        }
        let of_clients = ready.iter().skip(1);
        self.clients.iter_mut().zip(of_clients).filter(|(_, ready)| **ready).for_each(
            |(client, _)| {
                client.attend();
            },
        );
        if ready.get(1 + self.clients.len()) == Some(&true) {
            self.accept();
        }
    }

    /// Passes clients on that ask for something else than metrics.
    fn pass_visitors_on(&mut self) {
        let is_visitor = |client: &mut Client| matches!(client.state, State::Visiting(_));
        for client in self.clients.extract_if(.., is_visitor) {
            if let State::Visiting(received) = client.state {
                // It fails only if the owner has gone.
                let _ = self.visits.send((client.socket, received));
                ring(&self.due);
            }
        }
    }

    fn accept(&mut self) {
        let Some(listener) = &self.listener else { return };
        match listener.accept() {
            Ok((stream, _)) => {
                if stream.set_nonblocking(true).is_ok() {
                    let received = Vec::new();
                    self.admit(stream.into(), State::Reading { received, has_page: self.has_page });
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            // It stays readable: without rest this would be a busy loop.
            Err(_) => self.is_resting = true,
        }
    }

    fn admit(&mut self, socket: OwnedFd, state: State) {
        let mut client = Client { socket, state, since: Instant::now() };
        if self.clients.len() >= CLIENTS_MAX {
            // What does not fit into the empty buffer of the socket is not worth waiting for.
            client
                .reply(error(503, "Service Unavailable", "", "too many requests at a time"), false);
            return;
        }
        self.clients.push(client);
    }

    /// Takes clients and the copy; `false` if the owner has gone.
    fn take_messages(&mut self) -> bool {
        loop {
            match self.inbox.try_recv() {
                Ok(Message::Client(socket, format, is_head)) => {
                    self.admit(socket, State::Waiting { format, is_head, is_asked: false });
                }
                Ok(Message::Text(text)) => self.reply(&text(), false),
                Ok(Message::Last(text)) => {
                    self.listener = None;
                    self.last = Some((text(), Instant::now() + FINISH_WITHIN));
                }
                Err(TryRecvError::Empty) => return true,
                Err(TryRecvError::Disconnected) => return false,
            }
        }
    }

    /// Asks the owner for a copy, if clients wait for one and none is on its way.
    fn ask(&mut self) {
        let waits = |client: &Client, asked| matches!(client.state, State::Waiting { is_asked, .. } if is_asked == asked);
        if self.clients.iter().any(|client| waits(client, true)) {
            return;
        }
        let mut is_needed = false;
        for client in &mut self.clients {
            if let State::Waiting { is_asked, .. } = &mut client.state {
                (*is_asked, is_needed) = (true, true);
            }
        }
        if is_needed {
            ring(&self.due);
        }
    }

    /// Replies to those for whom the copy was asked for, or to all. They share the text.
    fn reply(&mut self, open: &str, to_all: bool) {
        let (mut as_open, mut as_plain) = (None, None);
        for client in &mut self.clients {
            let State::Waiting { format, is_head, is_asked } = client.state else { continue };
            if !is_asked && !to_all {
                continue;
            }
            let bytes: &Arc<[u8]> = match format {
                Format::OpenMetrics => as_open.get_or_insert_with(|| found(format, open)),
                Format::Plain => as_plain.get_or_insert_with(|| found(format, &page::plain(open))),
            };
            client.reply(Arc::clone(bytes), is_head);
        }
    }
}

fn found(format: Format, text: &str) -> Arc<[u8]> {
    response(200, "OK", format.media_type(), "", text)
}

/// A client that has no metrics from us, with what is wrong; `fields` are further lines of the head.
fn error(status: u16, reason: &str, fields: &str, message: &str) -> Arc<[u8]> {
    response(status, reason, "text/plain; charset=utf-8", fields, &format!("{message}\n"))
}

fn response(status: u16, reason: &str, media: &str, fields: &str, body: &str) -> Arc<[u8]> {
    let len = body.len();
    let head = format!(
        "HTTP/1.1 {status} {reason}\r\nContent-Type: {media}\r\nContent-Length: {len}\r\nVary: Accept\r\n\
         {fields}Connection: close\r\n\r\n"
    );
    [head.as_bytes(), body.as_bytes()].concat().into()
}

struct Client {
    socket: OwnedFd,
    state: State,
    since: Instant,
}

enum State {
    /// Its request so far, and whether it may ask for the page.
    Reading { received: Vec<u8>, has_page: bool },
    /// It asks for something else: its request.
    Visiting(Vec<u8>),
    /// It waits for a copy; for one that is on its way if `is_asked`.
    Waiting { format: Format, is_head: bool, is_asked: bool },
    /// It gets the bytes from `at` to `end`.
    Writing { bytes: Arc<[u8]>, at: usize, end: usize },
    /// It has its reply, or has gone.
    Over,
}

impl Client {
    const fn interest(&self) -> PollFlags {
        match self.state {
            State::Reading { .. } => PollFlags::IN,
            State::Writing { .. } => PollFlags::OUT,
            // Its end is always reported.
            State::Waiting { .. } | State::Visiting(_) | State::Over => PollFlags::empty(),
        }
    }

    /// Whether it has its reply, has gone, or is idle for too long. One that waits for the owner is not idle.
    fn is_over(&self) -> bool {
        match self.state {
            State::Over => true,
            State::Waiting { .. } | State::Visiting(_) => false,
            State::Reading { .. } | State::Writing { .. } => self.since.elapsed() > PATIENCE,
        }
    }

    /// Its socket is ready.
    fn attend(&mut self) {
        match &self.state {
            State::Reading { .. } => self.read(),
            State::Writing { .. } => self.write(),
            State::Waiting { .. } | State::Visiting(_) | State::Over => self.state = State::Over,
        }
    }

    fn read(&mut self) {
        let State::Reading { received, .. } = &mut self.state else { return };
        let mut buf = [0; 4 << 10];
        match rustix::net::recv(&self.socket, &mut buf, RecvFlags::empty()) {
            Ok((0, _)) => self.state = State::Over,
            Ok((len, _)) => {
                received.extend_from_slice(buf.get(..len).unwrap_or_default());
                self.parse();
            }
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => {}
            Err(_) => self.state = State::Over,
        }
    }

    /// Answers its request, if it is whole.
    fn parse(&mut self) {
        let State::Reading { received, has_page } = &mut self.state else { return };
        match http::parse(received) {
            Parsed::Partial if received.len() <= http::HEAD_LEN_MAX => {}
            Parsed::Partial => {
                self.reply(error(413, "Content Too Large", "", "no body is taken"), false)
            }
            Parsed::Refused(405, message) => {
                let fields = "Allow: GET, HEAD\r\n";
                self.reply(error(405, "Method Not Allowed", fields, &message), false);
            }
            Parsed::Refused(status, message) => {
                self.reply(error(status, "Refused", "", &message), false)
            }
            Parsed::Request(request) => {
                let is_head = request.is_head;
                match (request.method, request.path.as_str()) {
                    (http::Method::Get, "/metrics") => {
                        let format = Format::of_accept(&request.accept);
                        self.state = State::Waiting { format, is_head, is_asked: false };
                    }
                    (_, "/metrics") => {
                        let message = "use GET or HEAD";
                        let fields = "Allow: GET, HEAD\r\n";
                        self.reply(error(405, "Method Not Allowed", fields, message), is_head);
                    }
                    _ if *has_page => self.state = State::Visiting(take(received)),
                    _ => self
                        .reply(error(404, "Not Found", "", "the metrics are at /metrics"), is_head),
                }
            }
        }
    }

    /// Begins to reply; to HEAD with the head alone.
    fn reply(&mut self, bytes: Arc<[u8]>, is_head: bool) {
        const END: &[u8] = b"\r\n\r\n";
        let head = bytes.windows(END.len()).position(|four| four == END).map(|at| at + END.len());
        let end = head.filter(|_| is_head).unwrap_or(bytes.len());
        self.state = State::Writing { bytes, at: 0, end };
        self.since = Instant::now();
        self.write();
    }

    fn write(&mut self) {
        let State::Writing { bytes, at, end } = &mut self.state else { return };
        let rest = bytes.get(*at..*end).unwrap_or_default();
        match rustix::net::send(&self.socket, rest, SendFlags::NOSIGNAL) {
            Ok(len) => {
                *at += len;
                let is_done = *at >= *end;
                self.since = Instant::now();
                if is_done {
                    self.state = State::Over;
                }
            }
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => {}
            Err(_) => self.state = State::Over,
        }
    }
}
