//! The loop: an engine, the port of the inside, and what ends both.

use super::api::{Api, CLIENTS_MAX, Step};
use adit_engine::{FlowId, PortId};
use adit_nat::{Gateway, Publish, PublishError, PublishState};
use adit_packet::{Pool, PoolConfig};
use adit_runtime::{Event, Handler, Interest, Next, Port, Runner, Signal, Signals, Token};
use adit_service::error::{Error, Kind, Result, SYSTEM};
use adit_service::namespace::life::Life;
use adit_service::nat::resolvers::ServerFollower;
use adit_service::sandbox::{self, Level, Needs};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

const NAMESPACE: Token = Token(1);
const EXIT: Token = Token(2);
const API: Token = Token(3);
const RESOLVERS: Token = Token(4);
const FIRST_CLIENT: u32 = 5;

const READABLE: Interest = Interest { readable: true, writable: false };

/// How long a port may take until it is looked at again.
const RETRY: Duration = Duration::from_millis(1);

/// The loop of a drop-in.
pub(super) struct Server {
    runner: Runner<Gateway>,
    owner: Owner,
}

#[derive(Default)]
struct Owner {
    life: Option<Life>,
    exit: Option<OwnedFd>,
    api: Option<Api>,
    follower: Option<ServerFollower>,
    is_over: bool,
    failure: Option<Error>,
}

fn failed(error: io::Error) -> Error {
    Error::io("start", "the loop", &error)
}

impl Server {
    /// A loop without a port, which a signal ends.
    pub(super) fn new(engine: Gateway) -> Result<Self> {
        // Each flow is a descriptor. What is refused stays as it is.
        let limit = getrlimit(Resource::Nofile);
        let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
        let mut runner = Runner::new(engine, Pool::new(PoolConfig::default())).map_err(failed)?;
        runner.watch_signals(Signals::new().map_err(failed)?).map_err(failed)?;
        Ok(Self { runner, owner: Owner::default() })
    }

    /// The port of the inside; its end is a failure.
    pub(super) fn attach(&mut self, id: PortId, port: Box<dyn Port>) -> Result<()> {
        self.runner.attach(id, port).map_err(failed)
    }

    /// The end of the namespace ends the loop.
    pub(super) fn ends_with(&mut self, life: Life) -> Result<()> {
        self.runner.watch(&life, NAMESPACE, READABLE).map_err(failed)?;
        self.owner.life = Some(life);
        Ok(())
    }

    /// The other end of a descriptor ends the loop when it is closed.
    pub(super) fn ends_by(&mut self, exit: OwnedFd) -> Result<()> {
        self.runner.watch(&exit, EXIT, READABLE).map_err(failed)?;
        self.owner.exit = Some(exit);
        Ok(())
    }

    /// Serves requests.
    pub(super) fn serve(&mut self, api: Api) -> Result<()> {
        self.runner.watch(&api, API, READABLE).map_err(failed)?;
        self.owner.api = Some(api);
        Ok(())
    }

    /// The name server inside asks those of the host, also when they change.
    pub(super) fn follow(&mut self, follower: ServerFollower) -> Result<()> {
        self.runner.watch(&follower, RESOLVERS, READABLE).map_err(failed)?;
        self.owner.follower = Some(follower);
        Ok(())
    }

    /// Lets a port of the host lead to the inside.
    pub(super) fn publish(&mut self, publish: Publish) -> Result<FlowId, PublishError> {
        let (engine, now, out) = self.runner.engine_and_outbox();
        engine.publish(now, publish, out)
    }

    /// What became of it.
    pub(super) fn state_of(&self, flow: FlowId) -> Option<PublishState> {
        let mut published = self.runner.engine().nat().published();
        published.find(|one| one.flow == flow).map(|one| one.state)
    }

    /// Lets the loop work before it runs.
    pub(super) fn turn(&mut self) -> Result<()> {
        let ended = |error: io::Error| Error::io("run", "the loop", &error);
        if self.runner.turn(&mut self.owner).map_err(ended)? == Next::Stop {
            self.owner.is_over = true;
        }
        let mut fds = [PollFd::new(&self.runner, PollFlags::IN)];
        let wait = Timespec { tv_sec: 0, tv_nsec: RETRY.subsec_nanos().into() };
        // Whether it was ready or not, the next turn shows.
        let _ = poll(&mut fds, Some(&wait));
        Ok(())
    }

    /// Enters the sandbox; returns what it lacks.
    pub(super) fn enter_sandbox(level: Level) -> Result<Option<String>> {
        let needs = Needs { syscalls: adit_runtime::syscalls().collect(), ..Needs::default() };
        sandbox::enter(level, &needs)
    }

    /// Runs until something ends it.
    ///
    /// # Errors
    /// The port of the inside has ended.
    pub(super) fn run(mut self) -> Result<()> {
        if !self.owner.is_over {
            let ended = |error: io::Error| Error::io("run", "the loop", &error);
            self.runner.run(&mut self.owner).map_err(ended)?;
        }
        self.owner.failure.map_or(Ok(()), Err)
    }
}

impl Owner {
    fn accept(&mut self, runner: &Runner<Gateway>) {
        if let Some((number, client)) = self.api.as_mut().and_then(Api::accept)
            && let Ok(number) = u32::try_from(number)
        {
            // It is closed with the next clients, if it cannot be watched.
            let _ = runner.watch(client, Token(FIRST_CLIENT + number), READABLE);
        }
    }

    fn read(&mut self, client: u32, runner: &mut Runner<Gateway>) {
        let (engine, now, out) = runner.engine_and_outbox();
        let (Some(api), Ok(number)) = (&mut self.api, usize::try_from(client)) else { return };
        if number < CLIENTS_MAX && api.read(number, engine, now, out) == Step::Served {
            // The runtime opens the port at the end of this turn.
            runner.set_alarm(Some(now));
        }
    }

    fn settle(&mut self, runner: &mut Runner<Gateway>) {
        let Some(api) = &mut self.api else { return };
        let (engine, now, out) = runner.engine_and_outbox();
        api.settle(engine, now, out);
        if api.is_opening() {
            runner.set_alarm(Some(now + RETRY));
        }
    }
}

impl Handler<Gateway> for Owner {
    fn event(&mut self, runner: &mut Runner<Gateway>, event: Event) -> Next {
        let is_over = match event {
            Event::Signal(Signal::Terminate | Signal::Interrupt) => true,
            Event::Ready(NAMESPACE) => self.life.as_ref().is_some_and(Life::is_over),
            Event::Ready(EXIT) => self.exit.as_ref().is_some_and(is_hung_up),
            Event::PortGone { why, .. } => {
                let message = format!("the device in the namespace has ended: {why}");
                self.failure = Some(Error::new(Kind::Refused, &SYSTEM, message));
                true
            }
            Event::Ready(RESOLVERS) => {
                // If that process has ended, the servers stay as they are.
                let _ = self.follower.as_ref().map(|follower| follower.update(runner));
                false
            }
            Event::Ready(API) => {
                self.accept(runner);
                false
            }
            Event::Ready(Token(token)) => {
                self.read(token.saturating_sub(FIRST_CLIENT), runner);
                false
            }
            Event::Alarm => {
                self.settle(runner);
                false
            }
            _ => false,
        };
        if is_over { Next::Stop } else { Next::Continue }
    }
}

/// Whether the other end of a descriptor is closed. What it sends is of no meaning.
fn is_hung_up(fd: impl AsFd) -> bool {
    let mut fds = [PollFd::new(&fd, PollFlags::IN)];
    let no_wait = Timespec { tv_sec: 0, tv_nsec: 0 };
    if poll(&mut fds, Some(&no_wait)).is_err() {
        return false;
    }
    let events = fds[0].revents();
    if events.contains(PollFlags::IN) {
        // A socket whose other end is closed is readable as well, at its end.
        return !matches!(rustix::io::read(&fd, &mut [0; 256]), Ok(1..) | Err(_));
    }
    !events.is_empty()
}
