//! A service that runs for one command: it begins before the command and ends with it.

use crate::control::http::Request;
use crate::control::route::Route;
use crate::error::{Error, Result};
use crate::metrics::Snapshot;
use crate::namespace::{Namespaces, Running};
use crate::supervisor::{Answer, Job, Progress, Service, Trigger};
use adit_device::process::SignalReader;
use adit_runtime::{Event, Interest, Next, Runner, Token};

/// The end of the command, and the signals that are passed on to it: above all tokens of services.
const COMMAND: Token = Token(u32::MAX);
const SIGNALS: Token = Token(u32::MAX - 1);

const READABLE: Interest = Interest { readable: true, writable: false };

/// A service beside a command.
#[derive(Debug)]
pub struct Guest<S> {
    /// The service.
    pub service: S,
    command: Option<(Running, SignalReader)>,
}

impl<S: Service> Guest<S> {
    /// The service, before the command is there.
    pub const fn new(service: S) -> Self {
        Self { service, command: None }
    }

    /// Starts the command; the loop stops when it has ended.
    ///
    /// # Errors
    /// The command cannot be started.
    pub fn start(
        &mut self,
        runner: &Runner<S::Engine>,
        namespaces: Namespaces,
        signals: SignalReader,
    ) -> Result<()> {
        let running = namespaces.start()?;
        let failed = |error| Error::io("wait for", "the command", &error);
        runner.watch(&running, COMMAND, READABLE).map_err(failed)?;
        runner.watch(&signals, SIGNALS, READABLE).map_err(failed)?;
        self.command = Some((running, signals));
        Ok(())
    }

    /// The service, and the status of the command. If the command has not ended, it is killed, and has none.
    pub fn end(self) -> (S, Option<u8>) {
        let Some((running, _)) = self.command else { return (self.service, None) };
        // The device of a command that has just ended may be gone before its end was reported.
        let has_ended = running.has_ended();
        running.kill();
        let status = running.wait();
        (self.service, has_ended.then_some(status))
    }
}

impl<S: Service> Service for Guest<S> {
    type Engine = S::Engine;
    type Change = S::Change;
    type Report = S::Report;

    const ROUTES: &'static [Route] = S::ROUTES;

    fn job(&self, trigger: &Trigger) -> Result<Job<S::Change>> {
        if let Trigger::Reload(_) = trigger {
            let error = Error::usage("the network of 'adit run' is as it was at the start");
            return Err(error.hint("End the command, and run it again."));
        }
        self.service.job(trigger)
    }

    fn apply(
        &mut self,
        runner: &mut Runner<S::Engine>,
        change: S::Change,
    ) -> Result<Progress<S::Change>> {
        self.service.apply(runner, change)
    }

    fn answer(&mut self, runner: &mut Runner<S::Engine>, request: &Request) -> Answer {
        self.service.answer(runner, request)
    }

    fn metrics(&mut self, runner: &mut Runner<S::Engine>) -> Box<dyn Snapshot> {
        self.service.metrics(runner)
    }

    fn report(&self, runner: &Runner<S::Engine>) -> S::Report {
        self.service.report(runner)
    }

    fn event(&mut self, runner: &mut Runner<S::Engine>, event: Event) -> Next {
        match (event, &self.command) {
            (Event::Ready(COMMAND), _) => Next::Stop,
            (Event::Ready(SIGNALS), Some((running, signals))) => {
                running.forward_all(signals);
                Next::Continue
            }
            (event, _) => self.service.event(runner, event),
        }
    }

    fn turn(&mut self, runner: &mut Runner<S::Engine>) {
        self.service.turn(runner);
    }
}
