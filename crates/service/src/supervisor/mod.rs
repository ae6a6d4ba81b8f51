//! Runs a service: its loop, its control socket, its events and its reloads.
//!
//! ```text
//!  SIGHUP, SIGTERM ...  ->  Runner (loop, ports, engine)
//!                              | Event
//!                              v
//!  control socket  <-->  Supervisor  <-- result --  background thread: opens, reads, resolves
//!                              |
//!                              v
//!                           Service: the wanted state, the reported state, how to apply a change
//! ```
//!
//! A change takes three steps. [`Service::job`] says how to read it. The job runs on a thread of its
//! own, and [`Service::apply`] applies the result on the loop's thread, between two batches of packets,
//! or asks for another job: to open the ports that the configuration names, say.

mod background;
pub mod guest;
mod hangup;
mod limits;
mod request;
pub mod routes;
mod watch;

pub use background::{Job, Trigger};
pub use hangup::Hangup;
pub use limits::{RateLimitedLog, random, seed, times};
pub use request::{Done, DoneReply, read_request, value};
pub use watch::HealthReply;

use crate::config::value::text;
use crate::control::http::{Method, Request, Ticket};
use crate::control::notify::{Status, Watchdog, notify};
use crate::control::route::Route;
use crate::control::server::{Reply, Server};
use crate::control::socket::ControlSocket;
use crate::error::{Error, Result};
use crate::event::{Event, Events};
use crate::health::Health;
use crate::log::LogRequest;
use crate::metrics::{self, Program, Scrapes, Snapshot, Text};
use adit_engine::Engine;
use adit_runtime::Runner;
use adit_runtime::{Event as LoopEvent, Handler, Interest, Next, Signal, Token};
use background::BackgroundReader;
use serde::Serialize;
use serde_json::Value;
use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::time::{Duration, SystemTime};
use watch::Watch;

/// How often a service asks its engine for news and flushes its recordings and events: people read
/// them.
pub(crate) const TICK: Duration = Duration::from_secs(1);

/// The control socket among the descriptors of the loop.
const CONTROL: Token = Token(0);

/// The end of a background job.
const JOB: Token = Token(1);

/// The timer of the service manager's watchdog.
const WATCHDOG: Token = Token(2);

/// Clients wait for metrics.
const METRICS: Token = Token(3);

/// The first token that a service may watch descriptors with.
pub const FIRST_TOKEN: u32 = 8;

/// A program that owns an engine, its ports and a control socket. Nothing here may block: no packet
/// moves while a method runs.
pub trait Service: Sized {
    /// The engine.
    type Engine: Engine;
    /// What a background job returns: a configuration that was read, ports that were opened.
    type Change: Send + 'static;
    /// The reported state.
    type Report: Health + Serialize + fmt::Debug;

    /// The requests that [`Service::answer`] and [`Service::job`] take, beside those of every service.
    const ROUTES: &'static [Route];

    /// How to read what was asked for, given the state now. The job runs on another thread.
    ///
    /// # Errors
    /// The request can be refused without reading anything.
    fn job(&self, trigger: &Trigger) -> Result<Job<Self::Change>>;

    /// Applies what a job returned, or asks for the next job.
    ///
    /// # Errors
    /// What could not be applied, with [`Error::after`] what was.
    fn apply(
        &mut self,
        runner: &mut Runner<Self::Engine>,
        change: Self::Change,
    ) -> Result<Progress<Self::Change>>;

    /// Answers a request other than `/reload` and `/stop`.
    fn answer(&mut self, runner: &mut Runner<Self::Engine>, request: &Request) -> Answer;

    /// The reported state.
    fn report(&self, runner: &Runner<Self::Engine>) -> Self::Report;

    /// The reported state as JSON: what `show --json` prints.
    ///
    /// # Errors
    /// None in practice: a state consists of numbers and strings.
    fn status(&self, runner: &Runner<Self::Engine>) -> Result<Value> {
        value(&self.report(runner))
    }

    /// Copies the counters, for `/metrics`: it must be cheap, as all that takes time is done by the snapshot.
    fn metrics(&mut self, runner: &mut Runner<Self::Engine>) -> Box<dyn Snapshot>;

    /// Handles an event of the loop that is not the supervisor's: a port, a listener, the alarm, a
    /// descriptor that the service watches.
    fn event(&mut self, runner: &mut Runner<Self::Engine>, event: LoopEvent) -> Next;

    /// What SIGHUP does.
    fn hangup(&self) -> Hangup {
        Hangup::Reload
    }

    /// Replies to requests that were answered with [`Answer::Promised`], once they are known.
    fn replies(&mut self) -> Vec<(Ticket, Result<Value>)> {
        Vec::new()
    }

    /// Whether another process has taken the service over: the loop ends, and the service goes on there.
    fn has_successor(&self) -> bool {
        false
    }

    /// Called once a turn of the loop, for engines that report events often.
    fn turn(&mut self, runner: &mut Runner<Self::Engine>) {
        let _ = runner;
    }
}

/// How far a change has come.
pub enum Progress<T> {
    /// It is applied.
    Done(Done),
    /// Another job must run first; its result goes to [`Service::apply`].
    Next(Job<T>),
    /// It goes on; the reply to the client comes from [`Service::replies`].
    Promised,
}

impl<T> fmt::Debug for Progress<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Done(done) => f.debug_tuple("Done").field(done).finish(),
            Self::Next(_) => f.write_str("Next"),
            Self::Promised => f.write_str("Promised"),
        }
    }
}

/// The answer to a request.
#[derive(Clone, Debug)]
pub enum Answer {
    /// The reply.
    Now(Reply),
    /// [`Service::job`] reads what the request asks for; the reply follows.
    Later,
    /// The reply comes from [`Service::replies`], after an event.
    Promised,
}

impl From<Result<Value>> for Answer {
    fn from(result: Result<Value>) -> Self {
        Self::Now(result.into())
    }
}

/// Runs a [`Service`].
#[derive(Debug)]
pub struct Supervisor<S: Service> {
    /// The service.
    pub service: S,
    socket: ControlSocket,
    events: Events,
    background: BackgroundReader<S::Change>,
    health: Watch<S::Report>,
    /// Made before a sandbox forbids it.
    watchdog: io::Result<Option<Watchdog>>,
    /// The clients of `/metrics`, once there was one.
    scrapes: Option<Scrapes>,
    is_stopping: bool,
}

impl<S: Service> Supervisor<S> {
    /// A supervisor that answers at `socket` and reports to `events`.
    pub fn new(service: S, mut socket: ControlSocket, events: Events) -> Self {
        let (background, health) = (BackgroundReader::new(), Watch::new());
        let watchdog = Watchdog::of_environment();
        if let Some(server) = &mut socket.server {
            server.describe(routes::all(S::ROUTES), events.journal().clone());
            if socket.metrics.as_ref().is_some_and(|listener| listener.has_page) {
                server.serve_page();
            }
        }
        let (scrapes, is_stopping) = (None, false);
        Self { service, socket, events, background, health, watchdog, scrapes, is_stopping }
    }

    /// Reports that the service is running, to the observer and the service manager.
    pub fn ready(&self, ports: Vec<String>) {
        let (name, socket) = (self.socket.name().to_string(), self.socket.path());
        self.events.send(&Event::Ready { name, socket, ports });
        notify(Status::Ready);
    }

    /// Runs the loop until SIGINT, SIGTERM, a `stop` request, or [`Next::Stop`] from the service.
    ///
    /// # Errors
    /// Those of epoll, which no packet and no peer can cause.
    pub fn run(&mut self, runner: &mut Runner<S::Engine>) -> Result<()> {
        self.events.start();
        let readable = Interest { readable: true, writable: false };
        let watchdog = std::mem::replace(&mut self.watchdog, Ok(None)).and_then(|watchdog| {
            let timer = watchdog.as_ref().map(|watchdog| &watchdog.0);
            timer.map_or(Ok(()), |timer| runner.watch(timer, WATCHDOG, readable))?;
            Ok(watchdog)
        });
        let failed = |error| Error::io("watch", "the timer of the watchdog", &error);
        self.watchdog = Ok(watchdog.map_err(failed)?);
        if let Some(server) = &self.socket.server {
            let watched = runner.watch(server, CONTROL, readable);
            watched.map_err(|error| Error::io("watch", "the control socket", &error))?;
        }
        if self.socket.metrics.is_some() {
            let started = self.start_scrapes(runner);
            started.map_err(|error| Error::io("start", "the thread for metrics", &error))?;
        }
        let result = runner.run(self);
        if self.service.has_successor() {
            self.finish_scrapes(runner);
        } else {
            self.scrapes = None;
            notify(Status::Stopping);
        }
        result.map_err(|error| Error::io("run", "the loop", &error))
    }

    /// Whether a `stop` request ended the loop, and not a signal or a failure.
    pub const fn was_stopped(&self) -> bool {
        self.is_stopping
    }

    /// The service and its socket, for a service that has things to do before its name is released.
    pub fn into_parts(self) -> (S, ControlSocket) {
        (self.service, self.socket)
    }

    /// Sends the replies that are still due, for up to a second, and releases the name.
    pub fn finish(self) -> S {
        self.socket.finish();
        self.service
    }

    fn serve(&mut self, runner: &mut Runner<S::Engine>) {
        self.with_server(runner, |server, handle| server.serve(handle));
    }

    /// Lets the server do something for which it may ask the service.
    fn with_server(
        &mut self,
        runner: &mut Runner<S::Engine>,
        work: impl FnOnce(&mut Server, &mut dyn FnMut(&Request) -> Reply),
    ) {
        let Some(mut server) = self.socket.server.take() else { return };
        let mut scrapes = Vec::new();
        work(&mut server, &mut |request| {
            if (request.method, request.path.as_str()) == (Method::Get, "/metrics") {
                scrapes.push((request.from, request.accept.clone(), request.is_head));
                return Reply::Later;
            }
            self.answer(runner, request)
        });
        for (client, accept, is_head) in scrapes {
            let started = match self.scrapes {
                Some(_) => Ok(()),
                None => self.start_scrapes(runner),
            };
            match (started, &self.scrapes) {
                (Ok(()), Some(scrapes)) => {
                    let socket = server.take(client);
                    socket.into_iter().for_each(|it| scrapes.hand_over(it, &accept, is_head));
                }
                (Err(error), _) => {
                    let error = Error::io("start", "the thread for metrics", &error);
                    server.reply(client, &error.into());
                }
                (Ok(()), None) => {}
            }
        }
        self.socket.server = Some(server);
    }

    fn answer(&mut self, runner: &mut Runner<S::Engine>, request: &Request) -> Reply {
        let answer = match (request.method, request.path.as_str()) {
            (Method::Get, "/health") => {
                runner.sync();
                let report = self.service.report(runner);
                let reply = self.health.judge(report, runner.now());
                let status = if reply.healthy { 200 } else { 503 };
                return value(&reply).map_or_else(Reply::from, |body| Reply::Now(status, body));
            }
            (Method::Post, "/reload") => {
                self.background.queue(Trigger::Reload(Some(request.from)));
                return Reply::Later;
            }
            (Method::Post, "/stop") => {
                self.is_stopping = true;
                let done = vec![format!("'{}' stopped", self.socket.name())];
                Answer::from(Ok(Done::new(done).reply))
            }
            (Method::Get, "/log") => self.log(LogRequest::Show),
            (Method::Patch, "/log") => self.change_log(request),
            _ => self.service.answer(runner, request),
        };
        tracing::debug!("{} {}", request.method, request.path);
        match answer {
            Answer::Now(reply) => reply,
            Answer::Promised => Reply::Later,
            Answer::Later => {
                self.background.queue(Trigger::Request(Box::new(request.clone())));
                Reply::Later
            }
        }
    }

    /// Starts the thread for clients of `/metrics`.
    fn start_scrapes(&mut self, runner: &Runner<S::Engine>) -> io::Result<()> {
        let scrapes = Scrapes::start(self.socket.metrics.take())?;
        runner.watch(&scrapes, METRICS, Interest { readable: true, writable: false })?;
        self.scrapes = Some(scrapes);
        Ok(())
    }

    /// Copies the counters for those who wait for them.
    fn scrape(&mut self, runner: &mut Runner<S::Engine>) {
        while let Some(visitor) = self.scrapes.as_ref().and_then(Scrapes::visitor) {
            self.admit_visitor(runner, visitor);
        }
        if self.scrapes.as_ref().is_some_and(Scrapes::is_due) {
            let copy = self.copy(runner);
            if let Some(scrapes) = &self.scrapes {
                scrapes.deliver(copy);
            }
        }
    }

    /// Answers the clients of the metrics that are there, after another process has taken over.
    fn finish_scrapes(&mut self, runner: &mut Runner<S::Engine>) {
        let Some(scrapes) = self.scrapes.take() else { return };
        let copy = self.copy(runner);
        let visitors = scrapes.finish(copy);
        visitors.into_iter().for_each(|visitor| self.admit_visitor(runner, visitor));
    }

    fn admit_visitor(&mut self, runner: &mut Runner<S::Engine>, visitor: (OwnedFd, Vec<u8>)) {
        let (socket, received) = visitor;
        self.with_server(runner, |server, handle| server.admit_visitor(socket, received, handle));
    }

    /// The counters as they are now.
    fn copy(&mut self, runner: &mut Runner<S::Engine>) -> Text {
        let server = self.socket.server.as_ref();
        let program = Program {
            kind: self.socket.kind,
            started: self.socket.started.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default(),
            turns: *runner.turns(),
            requests: server.map(Server::counts).unwrap_or_default(),
        };
        let snapshot = (program, self.service.metrics(runner));
        let name = self.socket.name().to_string();
        Box::new(move || metrics::text(name, snapshot))
    }

    /// Sends new events to clients that follow them.
    fn publish(&mut self) {
        if let Some(server) = &mut self.socket.server {
            server.publish();
        }
    }

    fn log(&self, request: LogRequest) -> Answer {
        self.events.log(request).and_then(|status| value(&status)).into()
    }

    fn change_log(&self, request: &Request) -> Answer {
        let filter =
            read_request(&request.body, request.files, |table| table.required("filter", text));
        let change = filter.and_then(|filter| LogRequest::parse(&filter.unwrap_or_default()));
        change.map_or_else(|error| Answer::Now(error.into()), |change| self.log(change))
    }

    /// Starts the next job, unless one runs.
    fn start_next(&mut self, runner: &mut Runner<S::Engine>) {
        while let Some(trigger) = self.background.next() {
            if matches!(trigger, Trigger::Reload(_)) {
                notify(Status::Reloading);
            }
            match self.service.job(&trigger) {
                Ok(job) => self.start(runner, trigger, job),
                Err(error) => self.done(&trigger, Err(error)),
            }
        }
    }

    fn start(&mut self, runner: &Runner<S::Engine>, trigger: Trigger, job: Job<S::Change>) {
        if let Err((trigger, error)) = self.background.start(runner, JOB, trigger, job) {
            self.done(&trigger, Err(error));
        }
    }

    fn apply(&mut self, runner: &mut Runner<S::Engine>) {
        let Some((trigger, result)) = self.background.finish(runner) else { return };
        tracing::debug!("a job has ended: {}", if result.is_ok() { "done" } else { "failed" });
        match result.and_then(|change| self.service.apply(runner, change)) {
            Ok(Progress::Next(job)) => self.start(runner, trigger, job),
            Ok(Progress::Done(done)) => self.done(&trigger, Ok(done)),
            Ok(Progress::Promised) => notify(Status::Ready),
            Err(error) => self.done(&trigger, Err(error)),
        }
    }

    /// Reports the result of a change, and replies to the client.
    fn done(&mut self, trigger: &Trigger, result: Result<Done>) {
        let client = match trigger {
            Trigger::Request(request) => Some(request.from),
            Trigger::Reload(client) => {
                notify(Status::Ready);
                match &result {
                    Ok(done) => self.events.send(&Event::Reloaded { done: done.lines.clone() }),
                    Err(error) => self.events.failed("reload failed", error),
                }
                *client
            }
        };
        if let (Some(client), Some(server)) = (client, &mut self.socket.server) {
            server.reply(client, &result.map(|done| done.reply).into());
        }
    }
}

impl<S: Service> Handler<S::Engine> for Supervisor<S> {
    fn event(&mut self, runner: &mut Runner<S::Engine>, event: LoopEvent) -> Next {
        let mut flow = Next::Continue;
        match event {
            LoopEvent::AcceptPaused(error) => {
                let message = format!("cannot accept connections for now: {error}");
                self.events.send(&Event::Failed { message });
            }
            LoopEvent::Ready(CONTROL) => self.serve(runner),
            LoopEvent::Ready(JOB) => self.apply(runner),
            LoopEvent::Ready(METRICS) => self.scrape(runner),
            LoopEvent::Ready(WATCHDOG) => {
                self.watchdog.iter().flatten().for_each(Watchdog::report);
            }
            LoopEvent::Signal(Signal::Hangup) => match self.service.hangup() {
                Hangup::Reload => self.background.queue(Trigger::Reload(None)),
                Hangup::Stop => return Next::Stop,
                Hangup::Ignore => {}
            },
            LoopEvent::Signal(Signal::Interrupt | Signal::Terminate) => return Next::Stop,
            LoopEvent::Signal(Signal::User1) => {
                if let Ok(status) = self.service.status(runner) {
                    self.events.send(&Event::Status { status });
                }
            }
            event => flow = self.service.event(runner, event),
        }
        if self.service.has_successor() {
            return Next::Stop;
        }
        self.start_next(runner);
        for (client, result) in self.service.replies() {
            if let Some(server) = &mut self.socket.server {
                server.reply(client, &result.into());
            }
        }
        self.publish();
        if self.is_stopping { Next::Stop } else { flow }
    }

    fn turn(&mut self, runner: &mut Runner<S::Engine>) {
        self.service.turn(runner);
        self.publish();
    }
}
