//! What a supervisor reads beside its loop, one thing after the other: files may be large or on a slow
//! disk, and a filter is compiled by another program, for which no packet is to wait.
//!
//! ```text
//! SIGHUP, POST /reload, PATCH ...  ->  Asked  -- job -->  thread  -- READ -->  apply, reply
//! ```

use crate::control::http::{Method, Request, Ticket};
use crate::control::notify::Status;
use crate::control::notify::notify;
use crate::control::server::Reply;
use crate::error::{Error, Exit, Result, SYSTEM};
use crate::supervisor::{CONTROL, Event as Told, Panel, value};
use crate::switch::model;
use adit_engine::Engine;
use adit_runtime::Runner;
use adit_runtime::{Event, Flow, Interest, Signal, Token};
use std::collections::VecDeque;
use std::io::PipeReader;
use std::sync::mpsc::{Receiver, sync_channel};

/// What tells the loop that something was read.
const READ: Token = Token(1);

/// What is to be read.
#[derive(Debug)]
pub enum Asked {
    /// The configuration, once more: after SIGHUP, or for who asks for it.
    Reload(Option<Ticket>),
    /// What a request says, and the files that it names.
    Change(Request),
}

/// How something is read, on a thread of its own.
pub type Job<T> = Box<dyn FnOnce() -> Result<T> + Send>;

/// What is read, and what waits for that: one reload at most that nobody waits for, and a request of
/// each client.
#[derive(Debug)]
pub struct Aside<T> {
    waiting: VecDeque<Asked>,
    current: Option<Current<T>>,
}

impl<T> Default for Aside<T> {
    fn default() -> Self {
        Self { waiting: VecDeque::new(), current: None }
    }
}

/// A reading that is going on.
#[derive(Debug)]
struct Current<T> {
    asked: Asked,
    result: Receiver<Result<T>>,
    // Readable when its other end is closed, by the thread that ends.
    end: PipeReader,
}

/// Who owns the loop of an engine, is asked at the control socket, and reads beside the loop.
pub trait Supervise: Sized {
    /// The engine.
    type Engine: Engine;
    /// What is read.
    type Read: Send + 'static;

    fn panel(&mut self) -> &mut Panel;

    fn aside(&mut self) -> &mut Aside<Self::Read>;

    /// How to read what was asked for, as things are now.
    fn job(&self, asked: &Asked) -> Result<Job<Self::Read>>;

    /// Makes it as was read, and says what was done.
    fn apply(&mut self, runner: &mut Runner<Self::Engine>, read: Self::Read)
    -> Result<Vec<String>>;

    /// Answers a request that is its own.
    fn answer(&mut self, runner: &mut Runner<Self::Engine>, request: &Request) -> Reply;

    /// How it goes, for people.
    fn text(&self, runner: &Runner<Self::Engine>) -> String;

    /// Has what a request says be read: the reply comes later.
    fn read_later(&mut self, request: &Request) -> Reply {
        self.aside().waiting.push_back(Asked::Change(request.clone()));
        Reply::Later
    }

    /// Takes notice of an event that is no port's.
    fn heard(&mut self, runner: &mut Runner<Self::Engine>, event: Event) -> Flow {
        match event {
            Event::AcceptPaused(error) => {
                let message = format!("nobody is accepted for a while: {error}");
                self.panel().tell(&Told::Failed { message });
            }
            Event::Ready(CONTROL) => {
                if let Some(mut server) = self.panel().server.take() {
                    server.serve(|request| respond(self, runner, request));
                    self.panel().server = Some(server);
                }
            }
            Event::Ready(READ) => finish(self, runner),
            Event::Signal(Signal::Hangup) => {
                let waits = |asked: &Asked| matches!(asked, Asked::Reload(None));
                if !self.aside().waiting.iter().any(waits) {
                    self.aside().waiting.push_back(Asked::Reload(None));
                }
            }
            Event::Signal(Signal::Interrupt | Signal::Terminate) => return Flow::Stop,
            // With --json there is `show --json` for that.
            Event::Signal(Signal::User1) if !self.panel().output.json => {
                let text = self.text(runner);
                self.panel().write(&text);
            }
            _ => {}
        }
        begin(self, runner);
        if self.panel().is_ending { Flow::Stop } else { Flow::Continue }
    }
}

fn respond<S: Supervise>(
    supervisor: &mut S,
    runner: &mut Runner<S::Engine>,
    request: &Request,
) -> Reply {
    match (request.method, request.path.as_str()) {
        (Method::Post, "/reload") => {
            supervisor.aside().waiting.push_back(Asked::Reload(Some(request.from)));
            Reply::Later
        }
        (Method::Post, "/stop") => {
            let panel = supervisor.panel();
            panel.is_ending = true;
            value(&model::Done { done: vec![format!("'{}' stopped", panel.name)] }).into()
        }
        _ => supervisor.answer(runner, request),
    }
}

/// Begins to read what waits first, unless something is being read.
fn begin<S: Supervise>(supervisor: &mut S, runner: &mut Runner<S::Engine>) {
    while supervisor.aside().current.is_none() {
        let Some(asked) = supervisor.aside().waiting.pop_front() else { return };
        if matches!(asked, Asked::Reload(_)) {
            notify(Status::Reloading);
        }
        match supervisor.job(&asked).and_then(|job| start(runner, job)) {
            Ok((result, end)) => {
                supervisor.aside().current = Some(Current { asked, result, end });
            }
            Err(error) => done(supervisor.panel(), &asked, Err(error)),
        }
    }
}

fn start<T: Send + 'static>(
    runner: &Runner<impl Engine>,
    job: Job<T>,
) -> Result<(Receiver<Result<T>>, PipeReader)> {
    let failed = |error| Error::io("begin", "to read it", &error);
    let (end, writer) = std::io::pipe().map_err(failed)?;
    let (sender, result) = sync_channel(1);
    let readable = Interest { readable: true, writable: false };
    runner.watch(&end, READ, readable).map_err(failed)?;
    let spawned = std::thread::Builder::new().name("read".to_owned()).spawn(move || {
        adit_runtime::panics::failpoint("read");
        // There is room for it; nobody takes it only if the program ends.
        let _ = sender.send(job());
        drop(writer);
    });
    if let Err(error) = spawned {
        runner.unwatch(&end);
        return Err(failed(error));
    }
    Ok((result, end))
}

/// Takes what was read, to be called on [`READ`].
fn finish<S: Supervise>(supervisor: &mut S, runner: &mut Runner<S::Engine>) {
    let Some(Current { asked, result, end }) = supervisor.aside().current.take() else { return };
    runner.unwatch(&end);
    let read = result
        .recv()
        .unwrap_or_else(|_| Err(Error::new(Exit::Refused, &SYSTEM, "the reading of it broke off")));
    let result = read.and_then(|read| supervisor.apply(runner, read));
    done(supervisor.panel(), &asked, result);
}

/// Tells what came of it, and replies to who asked.
fn done(panel: &mut Panel, asked: &Asked, result: Result<Vec<String>>) {
    if matches!(asked, Asked::Reload(_)) {
        notify(Status::Ready);
        match &result {
            Ok(done) => panel.tell(&Told::Reloaded { done: done.clone() }),
            Err(error) => panel.failed("not all is as the configuration has it", error),
        }
    }
    let to = match asked {
        Asked::Reload(ticket) => *ticket,
        Asked::Change(request) => Some(request.from),
    };
    if let (Some(to), Some(server)) = (to, &mut panel.server) {
        server.reply(to, &result.and_then(|done| value(&model::Done { done })).into());
    }
}
