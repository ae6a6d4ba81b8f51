//! Work beside the loop, one job after the other: to read files, to open ports, to run programs, to
//! resolve names. No packet waits for it.

use crate::control::http::{Request, Ticket};
use crate::error::{Error, Kind, Result, SYSTEM};
use adit_engine::Engine;
use adit_runtime::Runner;
use adit_runtime::{Interest, Token};
use rustix::event::{EventfdFlags, eventfd};
use std::collections::VecDeque;
use std::fmt;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};

/// Why a job runs.
#[derive(Debug)]
pub enum Trigger {
    /// The configuration must be read again: after SIGHUP, or on a client's request.
    Reload(Option<Ticket>),
    /// A client's request takes a while.
    Request(Box<Request>),
}

/// Work for the background thread.
pub type Job<T> = Box<dyn FnOnce() -> Result<T> + Send>;

/// A queue of triggers, and the job that runs now. At most one reload waits that no client asked for,
/// and one request of each client.
pub(super) struct BackgroundReader<T> {
    waiting: VecDeque<Trigger>,
    current: Option<Current<T>>,
}

/// The job that runs now.
struct Current<T> {
    trigger: Trigger,
    result: Receiver<Result<T>>,
    // Readable when the thread has ended.
    end: Arc<OwnedFd>,
}

/// Makes an eventfd readable when it is dropped, also by a panic.
struct AtEnd(Arc<OwnedFd>);

impl Drop for AtEnd {
    fn drop(&mut self) {
        // A new eventfd has room for 1.
        let _ = rustix::io::write(&self.0, &1_u64.to_ne_bytes());
    }
}

impl<T: Send + 'static> BackgroundReader<T> {
    pub(super) const fn new() -> Self {
        Self { waiting: VecDeque::new(), current: None }
    }

    /// Queues a job.
    pub(super) fn queue(&mut self, trigger: Trigger) {
        let is_plain = |trigger: &Trigger| matches!(trigger, Trigger::Reload(None));
        if !is_plain(&trigger) || !self.waiting.iter().any(is_plain) {
            self.waiting.push_back(trigger);
        }
    }

    /// The next trigger, unless a job runs.
    pub(super) fn next(&mut self) -> Option<Trigger> {
        if self.current.is_some() { None } else { self.waiting.pop_front() }
    }

    /// Starts a job; `token` becomes ready when it has ended.
    ///
    /// # Errors
    /// EMFILE, or EAGAIN: no thread could be started. The trigger comes back.
    pub(super) fn start(
        &mut self,
        runner: &Runner<impl Engine>,
        token: Token,
        trigger: Trigger,
        job: Job<T>,
    ) -> Result<(), (Trigger, Error)> {
        let started = || {
            let end = Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?);
            let at_end = AtEnd(Arc::clone(&end));
            let (sender, result) = sync_channel(1);
            let readable = Interest { readable: true, writable: false };
            runner.watch(&end, token, readable)?;
            let spawned = std::thread::Builder::new().name("reader".to_owned()).spawn(move || {
                // The sender goes first: the result is there, or never comes, when the loop wakes.
                let (_at_end, sender) = (at_end, sender);
                adit_runtime::panics::failpoint("read");
                // There is room for one; it fails only if the service has ended.
                let _ = sender.send(job());
            });
            spawned.inspect_err(|_| runner.unwatch(&end))?;
            Ok((result, end))
        };
        match started() {
            Ok((result, end)) => {
                self.current = Some(Current { trigger, result, end });
                Ok(())
            }
            Err(error) => Err((trigger, Error::io("start", "a thread", &error))),
        }
    }

    /// Takes the result of the job that has ended.
    pub(super) fn finish(&mut self, runner: &Runner<impl Engine>) -> Option<(Trigger, Result<T>)> {
        let Current { trigger, result, end } = self.current.take()?;
        runner.unwatch(&end);
        let broken =
            |_| Err(Error::new(Kind::Refused, &SYSTEM, "the background thread has panicked"));
        Some((trigger, result.recv().unwrap_or_else(broken)))
    }
}

impl<T> fmt::Debug for BackgroundReader<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BackgroundReader").field("waiting", &self.waiting).finish_non_exhaustive()
    }
}
