//! The loop: an engine, the port of the inside, and what ends both.

use super::api::Api;
use super::host::Outbound;
use super::inside::INSIDE;
use super::ports::{self, Forward, Outward};
use adit_device::netlink::Listeners;
use adit_device::process::SignalReader;
use adit_engine::{PortId, Transport};
use adit_nat::Gateway;
use adit_nat::guest::GuestConfig;
use adit_packet::{Pool, PoolConfig};
use adit_runtime::{
    Event, Gone, Handler, Hub, Interest, Next, Port, Relay, Runner, Signal, Signals, Token,
};
use adit_service::control;
use adit_service::error::{Error, Kind, Result, SYSTEM};
use adit_service::namespace::life::Life;
use adit_service::namespace::{self, Running};
use adit_service::nat::publish::Follower;
use adit_service::nat::resolvers::ServerFollower;
use adit_service::sandbox::{self, Level, Needs};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::collections::BTreeSet;
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

/// The end of the command, and its signals.
const COMMAND: Token = Token(u32::MAX);
const SIGNALS: Token = Token(u32::MAX - 1);

const NAMESPACE: Token = Token(1);
const EXIT: Token = Token(2);
const API: Token = Token(3);
const RESOLVERS: Token = Token(4);
const RELAY: Token = Token(5);
const FIRST_CLIENT: u32 = 6;

const READABLE: Interest = Interest { readable: true, writable: false };

/// The loop of a drop-in.
pub(super) struct Server {
    runner: Runner<Gateway>,
    owner: Owner,
}

#[derive(Default)]
struct Owner {
    guest: Option<Guest>,
    life: Option<Life>,
    command: Option<(Running, SignalReader)>,
    exit: Option<OwnedFd>,
    api: Option<Api>,
    followers: Vec<Follower>,
    follower: Option<ServerFollower>,
    relay: Option<Relay>,
    failure: Option<Error>,
}

/// A guest behind frames.
struct Guest {
    config: GuestConfig,
    is_only: bool,
    is_connected: bool,
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

    /// Where flows to the outside come from, one address of each family.
    pub(super) fn set_outbound(&mut self, outbound: &[Outbound]) -> Result<()> {
        let addresses = outbound.iter().map(|one| one.address()).collect::<Result<_>>()?;
        self.runner.set_outbound(addresses);
        Ok(())
    }

    /// The port of the inside; its end is a failure.
    pub(super) fn attach(&mut self, id: PortId, port: Box<dyn Port>) -> Result<()> {
        self.runner.attach(id, port).map_err(failed)
    }

    /// The inside is a guest behind frames, which connects. If it is the only one, its end ends the loop;
    /// otherwise the next one may connect then.
    pub(super) fn has_guest(&mut self, config: GuestConfig, is_only: bool) {
        self.owner.guest = Some(Guest { config, is_only, is_connected: false });
    }

    /// Waits for the guest.
    pub(super) fn listen(&mut self, listener: Box<dyn Hub>) -> Result<()> {
        self.runner.listen(listener).map(drop).map_err(failed)
    }

    /// The guest is connected.
    pub(super) fn connect(&mut self, port: Box<dyn Port>) -> Result<()> {
        self.owner.connect(&mut self.runner, port)
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

    /// A command runs inside, and ends the loop with it. Signals are passed on to it.
    pub(super) fn runs(&mut self, command: Running, signals: SignalReader) -> Result<()> {
        self.runner.watch(&command, COMMAND, READABLE).map_err(failed)?;
        self.runner.watch(&signals, SIGNALS, READABLE).map_err(failed)?;
        self.owner.command = Some((command, signals));
        Ok(())
    }

    /// Serves requests.
    pub(super) fn serve(&mut self, api: Api) -> Result<()> {
        for listener in api.listeners() {
            self.runner.watch(listener, API, READABLE).map_err(failed)?;
        }
        self.owner.api = Some(api);
        Ok(())
    }

    /// The name server inside asks those of the host, also when they change.
    pub(super) fn follow(&mut self, follower: ServerFollower) -> Result<()> {
        self.runner.watch(&follower, RESOLVERS, READABLE).map_err(failed)?;
        self.owner.follower = Some(follower);
        Ok(())
    }

    /// Lets ports of the host lead to the inside, which has these addresses.
    pub(super) fn open(&mut self, forwards: &[Forward], devices: &[IpAddr]) -> Result<()> {
        ports::open_all(&mut self.runner, forwards, devices)
    }

    /// Lets sockets of the namespace lead to addresses of the host.
    pub(super) fn relay(
        &mut self,
        sockets: impl ExactSizeIterator<Item = (OwnedFd, Outward)>,
    ) -> Result<()> {
        if sockets.len() == 0 {
            return Ok(());
        }
        let mut relay = Relay::new().map_err(failed)?;
        for (socket, (transport, _, to)) in sockets {
            let added = match transport {
                Transport::Udp => relay.add_socket(socket, to),
                _ => relay.add_listener(socket, to),
            };
            added.map_err(failed)?;
        }
        self.runner.watch(&relay, RELAY, READABLE).map_err(failed)?;
        self.owner.relay = Some(relay);
        Ok(())
    }

    /// Lets the ports that listen inside be reached at these addresses of the host; `None` for all.
    pub(super) fn publish_listeners(
        &mut self,
        listeners: Option<Listeners>,
        addresses: &[(Transport, Option<IpAddr>)],
        devices: &[IpAddr],
    ) -> Result<()> {
        let failed = |error| Error::io("copy", "a descriptor", &error);
        let datagrams = listeners.as_ref().map(|all| all.of_datagrams(ports::ephemeral()));
        let datagrams = datagrams.transpose().map_err(failed)?;
        for (listeners, transport) in [(listeners, Transport::Tcp), (datagrams, Transport::Udp)] {
            let mut follower = Follower::new(listeners, devices, transport);
            let of_it = addresses.iter().filter(|one| one.0 == transport);
            let at: BTreeSet<_> = of_it.map(|(_, address)| *address).collect();
            at.into_iter().try_for_each(|address| follower.set(address, true))?;
            self.owner.followers.push(follower);
        }
        self.runner.set_alarm(Some(self.runner.now()));
        Ok(())
    }

    /// Enters the sandbox, with folders from which sockets are removed at the end; returns what it lacks.
    pub(super) fn enter_sandbox(level: Level, folders: Vec<PathBuf>) -> Result<Option<String>> {
        let mut needs = Needs { writable: folders, ..Needs::default() };
        needs.syscalls.extend(adit_runtime::syscalls());
        needs.syscalls.extend([control::server::SYSCALLS, namespace::SYSCALLS]);
        sandbox::enter(level, &needs)
    }

    /// Runs until something ends it.
    ///
    /// # Errors
    /// The port of the inside has ended.
    pub(super) fn run(mut self) -> Result<()> {
        let ended = |error: io::Error| Error::io("run", "the loop", &error);
        self.runner.run(&mut self.owner).map_err(ended)?;
        self.owner.failure.map_or(Ok(()), Err)
    }
}

impl Server {
    /// The same, until the command ends; returns its status, or that of a command that is killed.
    pub(super) fn run_for_command(mut self) -> Result<u8> {
        let ended = |error: io::Error| Error::io("run", "the loop", &error);
        let result = self.runner.run(&mut self.owner).map_err(ended);
        let Some((command, _)) = self.owner.command else { return result.map(|()| 0) };
        // If it has not ended, the device has: nothing is left of its network.
        command.kill();
        let status = command.wait();
        result.map(|()| status)
    }
}

impl Owner {
    /// Takes a guest, if there is none.
    fn connect(&mut self, runner: &mut Runner<Gateway>, port: Box<dyn Port>) -> Result<()> {
        let Some(guest) = self.guest.as_mut().filter(|guest| !guest.is_connected) else {
            return Ok(());
        };
        let added = runner.engine_mut().add_guests(INSIDE, guest.config.clone());
        added.map_err(Error::usage)?;
        runner.attach(INSIDE, port).map_err(failed)?;
        guest.is_connected = true;
        Ok(())
    }

    /// The port of the inside has ended: whether that ends the loop.
    fn port_gone(&mut self, runner: &mut Runner<Gateway>, why: &Gone) -> bool {
        let Some(guest) = &mut self.guest else {
            let message = format!("the device in the namespace has ended: {why}");
            self.failure = Some(Error::new(Kind::Refused, &SYSTEM, message));
            return true;
        };
        guest.is_connected = false;
        let (engine, _, out) = runner.engine_and_outbox();
        engine.remove_guests(INSIDE, out);
        guest.is_only
    }

    fn accept(&mut self, runner: &Runner<Gateway>) {
        if let Some((number, client)) = self.api.as_mut().and_then(|api| api.accept(runner))
            && let Ok(number) = u32::try_from(number)
        {
            // It is closed with the next clients, if it cannot be watched.
            let _ = runner.watch(client, Token(FIRST_CLIENT + number), READABLE);
        }
    }

    fn read(&mut self, client: u32, runner: &mut Runner<Gateway>) {
        if let (Some(api), Ok(number)) = (&mut self.api, usize::try_from(client)) {
            api.read(number, runner);
        }
    }

    /// Looks what listens inside, and opens and closes ports of the host. What another program has is left to it.
    fn look(&mut self, runner: &mut Runner<Gateway>) {
        // Without a list, all stays as it is.
        self.followers.iter_mut().for_each(|follower| drop(follower.look(runner, |_| ())));
        let interval = self.followers.iter().filter_map(Follower::interval).min();
        runner.set_alarm(interval.map(|interval| runner.now() + interval));
    }
}

impl Handler<Gateway> for Owner {
    fn event(&mut self, runner: &mut Runner<Gateway>, event: Event) -> Next {
        let is_over = match event {
            Event::Signal(Signal::Terminate | Signal::Interrupt) => true,
            Event::Ready(COMMAND) => true,
            Event::Ready(SIGNALS) => {
                self.command.iter().for_each(|(command, signals)| command.forward_all(signals));
                false
            }
            Event::Ready(NAMESPACE) => self.life.as_ref().is_some_and(Life::is_over),
            Event::Ready(EXIT) => self.exit.as_ref().is_some_and(is_hung_up),
            Event::PortGone { why, .. } => self.port_gone(runner, &why),
            Event::Accepted(_, port) => {
                // A second guest, or one that finds no room, sees its connection end.
                let _ = self.connect(runner, port);
                false
            }
            Event::Ready(RESOLVERS) => {
                // If that process has ended, the servers stay as they are.
                let _ = self.follower.as_ref().map(|follower| follower.update(runner));
                false
            }
            Event::Ready(RELAY) => {
                let now = runner.now();
                if let Some(Err(_)) = self.relay.as_mut().map(|relay| relay.turn(now)) {
                    // It would be ready forever.
                    self.relay.take().iter().for_each(|relay| runner.unwatch(relay));
                }
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
                self.look(runner);
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
