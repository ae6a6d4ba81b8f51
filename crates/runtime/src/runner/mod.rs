//! The loop itself: the parts, and what is done in which order.
//!
//! ```text
//! Runner            when: the timer, signals, requests of other threads, the handler
//!   Core            the way of packets
//!     Ports         the ports and their deadlines
//!     Hubs          sockets that several ports share, and listeners
//!     Interfaces    the kernel interfaces behind ports, and their namespaces
//!     PeerSockets   the sockets for Endpoint::Udp
//!     Flows         the sockets for Endpoint::Flow
//!     Accelerator   what the kernel forwards in the engine's stead
//! ```
//!
//! Each part owns its state and knows nothing of those above it, which ask and act on the answers.

pub(crate) mod accelerator;
pub(crate) mod ahead;
pub(crate) mod closing;
pub(crate) mod core;
pub(crate) mod event;
pub(crate) mod hubs;
pub(crate) mod interfaces;
pub(crate) mod nested;
pub(crate) mod ports;
pub(crate) mod segment;
pub(crate) mod turns;

use crate::netem::PortNetem;
use crate::panics;
use crate::peer::sockets::PeerSockets;
use crate::port::{Hub, Port, PortCounters};
use crate::runner::accelerator::Acceleration;
use crate::runner::core::Core;
use crate::runner::event::{Event, Next};
use crate::runner::hubs::ListenerId;
use crate::runner::ports::Slot;
use crate::runner::turns::TurnTimes;
use crate::socket::splice::{Listener, SpliceCounts};
use crate::wake::clock::{self, Timer};
use crate::wake::mailbox::{Mailbox, Remote};
use crate::wake::reactor::{Interest, Ready, Source, Token};
use crate::wake::signals::{Signal, Signals};
use adit_engine::{Counts, Engine, FlowId, Outbox, PortId};
use adit_packet::{Instant, Pool};
use rustix::io::Errno;
use std::fmt;
use std::io;
use std::net::IpAddr;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

/// How long ports and flows are served, those that have more and then those that are ready, before the owner's
/// turn: a thousand ports that flood each other have work for seconds.
const SHARE_MAX: Duration = Duration::from_millis(10);

/// How long [`Runner::drain`] waits between two attempts.
const DRAIN_PAUSE: Duration = Duration::from_micros(200);

/// The owner of a loop: takes its events, between two batches, on the loop's thread.
pub trait Handler<E: Engine> {
    /// Takes an event. It must not block: until it returns, no packet moves.
    fn event(&mut self, runner: &mut Runner<E>, event: Event) -> Next;

    /// Called once each turn, to poll the engine for news. It must not block either.
    fn turn(&mut self, runner: &mut Runner<E>) {
        let _ = runner;
    }
}

/// An engine with its ports, and the loop that moves packets between them, on one thread.
///
/// [`Self::run`] blocks; to nest it in another loop, wait for its descriptor ([`AsFd`]) and call
/// [`Self::turn`].
pub struct Runner<E> {
    core: Core<E>,
    timer: Timer,
    signals: Option<Signals>,
    mailbox: Option<Mailbox<Self>>,
    alarm: Option<Instant>,
    turns: TurnTimes,
}

impl<E: Engine> Runner<E> {
    /// A loop without ports; `pool` is for all its packets.
    ///
    /// # Errors
    /// EMFILE.
    pub fn new(engine: E, pool: Pool) -> io::Result<Self> {
        let (core, timer) = (Core::new(engine, pool)?, Timer::new()?);
        core.reactor.add(&timer, Source::Timer, Interest::READ)?;
        let turns = TurnTimes::default();
        Ok(Self { core, timer, signals: None, mailbox: None, alarm: None, turns })
    }

    /// The engine.
    pub fn engine(&self) -> &E {
        &self.core.engine
    }

    /// The engine, to change it between two packets.
    pub fn engine_mut(&mut self) -> &mut E {
        &mut self.core.engine
    }

    /// The engine, the present time and its outbox, for calls that make it send something.
    pub fn engine_and_outbox(&mut self) -> (&mut E, Instant, &mut Outbox) {
        (&mut self.core.engine, self.core.now, &mut self.core.out)
    }

    /// Keeps a listening socket, for the flow by which the engine will listen at its address: that is returned.
    ///
    /// # Errors
    /// EINVAL: it does not listen for TCP; EAFNOSUPPORT: it listens at `[::]` for IPv4 as well.
    pub fn give_listener(&mut self, socket: OwnedFd) -> io::Result<SocketAddr> {
        self.core.flows.give(socket)
    }

    /// Does what the engine has asked for, and sends what it has sent, now and not at the end of the turn: so
    /// that an owner sees the result of a call before it replies.
    pub fn flush(&mut self) {
        self.core.flush();
    }

    /// Sends what waits for room in ports and in the sockets for peers, for at most `within`: the one call that blocks.
    /// Returns whether nothing is left, for an owner who takes the descriptors elsewhere.
    pub fn drain(&mut self, within: Duration) -> bool {
        let end = clock::now() + within;
        loop {
            self.core.flush();
            let wants_room = |slot: &Slot| slot.port.wants_room();
            let ports = self.core.ports.numbered().filter(|(_, slot)| wants_room(slot));
            let ports: Vec<PortId> = ports.map(|(id, _)| id).collect();
            ports.into_iter().for_each(|id| self.core.flush_port(id));
            let is_full = self.core.peers.as_mut().is_some_and(|peers| {
                let pool = self.core.out.pool();
                [0, 1].into_iter().for_each(|place| peers.flush(place, pool, &self.core.reactor));
                peers.is_full()
            });
            if !is_full && !self.core.ports.numbered().any(|(_, slot)| wants_room(slot)) {
                return true;
            }
            if clock::now() >= end {
                return false;
            }
            std::thread::sleep(DRAIN_PAUSE);
        }
    }

    /// Flows of the engine that are opened from now on come from these addresses of the host, one of each family;
    /// of a family without one, from the address that the routes give.
    pub fn set_outbound(&mut self, addresses: Vec<IpAddr>) {
        self.core.flows.set_outbound(addresses);
    }

    /// The time of the present turn of the loop.
    pub fn now(&self) -> Instant {
        self.core.now
    }

    /// How long the turns took so far.
    pub const fn turns(&self) -> &TurnTimes {
        &self.turns
    }

    /// What the engine made, sent and discarded.
    pub fn counts(&self) -> &Counts {
        self.core.out.counts()
    }

    /// Lets the kernel forward between ports that are interfaces of one namespace what the engine declares
    /// ([`Engine::fast_path`]), or not. It needs `CAP_BPF` and `CAP_NET_ADMIN` in the initial user namespace;
    /// [`Self::acceleration`] says whether it works.
    ///
    /// A change of the engine holds for frames in the kernel after [`Self::flush`], or after the turn; what the
    /// kernel forwarded is in the counters after [`Self::sync`].
    pub fn accelerate(&mut self, on: bool) {
        self.core.accelerator.set(on, &mut self.core.engine, &self.core.ports);
    }

    /// As [`Self::accelerate`], as on an older kernel.
    #[cfg(test)]
    pub(crate) fn accelerate_by(&mut self, hook: adit_fastpath::Hook) {
        self.core.accelerator.hook = hook;
        self.accelerate(true);
    }

    /// Whether the kernel forwards; `None` if it must not.
    pub fn acceleration(&self) -> Option<Acceleration<'_>> {
        self.core.accelerator.state()
    }

    /// Counts what the kernel has forwarded so far, at the ports and in the engine.
    pub fn sync(&mut self) {
        self.core.sync();
    }

    /// How many packets the engine sent to a port, a peer or a flow that is not there.
    pub fn misrouted(&self) -> u64 {
        self.core.misrouted
    }

    /// How many packets came to sockets that ports share and were for none of them: from unknown
    /// senders, of other VXLAN segments, or no frames.
    pub fn refused_by_hubs(&self) -> u64 {
        self.core.hubs.refused()
    }

    /// Makes `port` the engine's port `id`, from the next turn on.
    ///
    /// # Errors
    /// EEXIST: there is one with that number, or to that VXLAN remote; EADDRINUSE: another program has
    /// the UDP port; EPERM: its descriptor is a file, which epoll cannot wait for; ENOMEM, ENOSPC.
    pub fn attach(&mut self, id: PortId, port: Box<dyn Port>) -> io::Result<()> {
        self.core.attach(id, port)
    }

    /// Takes a port out and closes it; packets queued there are lost. Returns its emulated links, with
    /// nothing in them any more; `None` if there is no such port.
    pub fn detach(&mut self, id: PortId) -> Option<PortNetem> {
        self.core.detach(id).map(|slot| slot.netem)
    }

    /// As [`Self::detach`], but another thread closes the port: for the end of a loop with many devices, each of which
    /// takes the kernel 20 ms. The loop's end waits for these threads.
    pub fn detach_in_background(&mut self, id: PortId) -> Option<PortNetem> {
        let Slot { port, netem, .. } = *self.core.detach(id)?;
        let thread = std::thread::Builder::new().name("close".into()).spawn(move || drop(port));
        // Without a thread it was closed here.
        self.core.closing.extend(thread);
        Some(netem)
    }

    /// An attached port and its counters.
    pub fn port(&self, id: PortId) -> Option<(&dyn Port, &PortCounters)> {
        let slot = self.core.ports.get(id)?;
        Some((&*slot.port, &slot.counters))
    }

    /// The IP MTU of the device behind a port; `None` if there is none.
    pub fn mtu(&self, id: PortId) -> Option<u32> {
        self.core.ports.get(id)?.mtu
    }

    /// An attached port, to change it between two packets.
    pub fn port_mut(&mut self, id: PortId) -> Option<&mut dyn Port> {
        self.core.ports.touch(id);
        Some(&mut *self.core.ports.get_mut(id)?.port)
    }

    /// Joins connections that reach a transparent TCP listening socket (`IP_TRANSPARENT`) to flows that the engine
    /// hands over ([`FlowRequest::Splice`](adit_engine::FlowRequest::Splice)).
    ///
    /// # Errors
    /// ENOMEM, ENOSPC of epoll; ENOTSOCK.
    pub fn splice_at(&mut self, listener: OwnedFd) -> io::Result<()> {
        self.core.flows.splice_at(Listener::new(listener)?, &self.core.reactor)
    }

    /// The bytes of a spliced flow from the engine's client and to it, and when it moved some; `None`: it is not
    /// spliced.
    pub fn spliced(&self, flow: FlowId) -> Option<(u64, u64, Instant)> {
        self.core.flows.spliced(flow)
    }

    /// The address of this host that a flow's socket has.
    pub fn local_of(&self, flow: FlowId) -> Option<SocketAddr> {
        self.core.flows.local_of(flow)
    }

    /// What all spliced flows have moved so far.
    pub fn splice_counts(&self) -> SpliceCounts {
        self.core.flows.splice_counts()
    }

    /// Accepts ports at a listener from now on; each is reported with [`Event::Accepted`].
    ///
    /// # Errors
    /// EEXIST: there is one with that name; ENOMEM, ENOSPC of epoll.
    pub fn listen(&mut self, listener: Box<dyn Hub>) -> io::Result<ListenerId> {
        self.core.listen(listener)
    }

    /// The descriptor of a listener.
    pub fn listener(&self, listener: ListenerId) -> Option<BorrowedFd<'_>> {
        self.core.hubs.get(listener)
    }

    /// Closes a listener. Connections stay; ports that share its socket end, and are reported as any port
    /// that ends.
    pub fn close_listener(&mut self, listener: ListenerId) {
        self.core.close_listener(listener);
    }

    /// Sends to and receives from peers by these sockets, in the place of those before.
    ///
    /// # Errors
    /// ENOMEM, ENOSPC: those before are closed as well.
    pub fn set_peers(&mut self, sockets: Option<PeerSockets>) -> io::Result<()> {
        self.core.set_peers(sockets)
    }

    /// The sockets for peers.
    pub fn peers(&self) -> Option<&PeerSockets> {
        self.core.peers.as_ref()
    }

    /// The sockets for peers, to change them.
    pub fn peers_mut(&mut self) -> Option<&mut PeerSockets> {
        self.core.peers.as_mut()
    }

    /// Puts emulated links between a port and the engine, or takes them away; returns the old ones, with
    /// nothing in them any more. To change one in place, see [`Self::netem_mut`].
    pub fn set_netem(&mut self, id: PortId, netem: PortNetem) -> Option<PortNetem> {
        self.core.set_netem(id, netem)
    }

    /// The emulated links of a port, to read their reports.
    pub fn netem(&self, id: PortId) -> Option<&PortNetem> {
        self.core.ports.get(id).map(|slot| &slot.netem)
    }

    /// The emulated links of a port, to change them between two packets.
    pub fn netem_mut(&mut self, id: PortId) -> Option<&mut PortNetem> {
        self.core.ports.touch(id);
        self.core.ports.get_mut(id).map(|slot| &mut slot.netem)
    }

    /// Has a port send what is queued, now; a recording writes what is buffered.
    pub fn flush_port(&mut self, id: PortId) {
        self.core.flush_port(id);
    }

    /// Reports signals as events from now on.
    ///
    /// # Errors
    /// EEXIST: the loop has signals already; ENOMEM, ENOSPC of epoll.
    pub fn watch_signals(&mut self, signals: Signals) -> io::Result<()> {
        if self.signals.is_some() {
            return Err(Errno::EXIST.into());
        }
        self.core.reactor.add(&signals, Source::Signals, Interest::READ)?;
        self.signals = Some(signals);
        Ok(())
    }

    /// Reports with [`Event::Ready`] when a descriptor of the owner is ready, in every turn in which it
    /// is. Close it only after [`Self::unwatch`].
    ///
    /// # Errors
    /// EEXIST: it is watched; EPERM: it is a file.
    pub fn watch(&self, fd: impl AsFd, token: Token, interest: Interest) -> io::Result<()> {
        self.core.reactor.add(fd, Source::Watched(token), interest)
    }

    /// No longer watches a descriptor.
    pub fn unwatch(&self, fd: impl AsFd) {
        self.core.reactor.remove(fd);
    }

    /// Reports with [`Event::Alarm`], once, when a moment has come; there is one alarm.
    pub fn set_alarm(&mut self, at: Option<Instant>) {
        self.alarm = at;
    }

    /// A handle by which other threads ask this loop to do something while it runs.
    ///
    /// # Errors
    /// EMFILE; ENOMEM, ENOSPC of epoll.
    pub fn remote(&mut self) -> io::Result<Remote<Self>> {
        if let Some(mailbox) = &self.mailbox {
            return Ok(mailbox.remote());
        }
        let mailbox = Mailbox::new()?;
        self.core.reactor.add(&mailbox, Source::Remote, Interest::READ)?;
        Ok(self.mailbox.insert(mailbox).remote())
    }

    /// Runs until the handler stops it.
    ///
    /// # Errors
    /// Those of epoll and timerfd, none of which a packet or a peer can cause; a panic, after which the
    /// runner can only be dropped.
    pub fn run(&mut self, handler: &mut impl Handler<E>) -> io::Result<()> {
        self.owned(|runner| {
            while runner.react(handler) == Next::Continue {
                runner.sleep()?;
            }
            Ok(())
        })
    }

    /// Does what there is to do now, and returns: for a loop of another kind, which waits until the
    /// runner's descriptor ([`AsFd`]) is readable. Call it once before the first wait.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub fn turn(&mut self, handler: &mut impl Handler<E>) -> io::Result<Next> {
        self.owned(|runner| {
            runner.core.reactor.wait(true)?;
            runner.turns.begin(clock::now());
            runner.serve_ready(SHARE_MAX);
            let flow = runner.react(handler);
            runner.turns.end(clock::now());
            let has_more = runner.has_more();
            let at = if has_more { Some(runner.core.now) } else { runner.next_timeout() };
            runner.timer.set(at, runner.core.now)?;
            Ok(flow)
        })
    }

    /// Does `work` as the owner of the mailbox; a panic becomes an error.
    fn owned<T>(&mut self, work: impl FnOnce(&mut Self) -> io::Result<T>) -> io::Result<T> {
        self.mailbox.iter().for_each(|mailbox| mailbox.set_owned(true));
        let result = panics::caught(|| work(self));
        self.mailbox.iter().for_each(|mailbox| mailbox.set_owned(false));
        result
    }

    /// Does what is due, reports what happened, and sends what the handler made the engine send.
    fn react(&mut self, handler: &mut impl Handler<E>) -> Next {
        loop {
            self.begin_turn();
            self.run_due();
            handler.turn(self);
            while let Some(event) = self.core.events.pop_front() {
                if handler.event(self, event) == Next::Stop {
                    return Next::Stop;
                }
            }
            self.core.flush();
            if self.core.events.is_empty() {
                return Next::Continue;
            }
        }
    }

    /// Whether there is something to do although no descriptor is ready.
    fn has_more(&self) -> bool {
        self.core.has_more() || self.core.reactor.has_ready()
    }

    /// Waits until something is ready or due, and serves it.
    fn sleep(&mut self) -> io::Result<()> {
        let has_more = self.has_more();
        if !has_more {
            self.core.ports.retime_touched();
            let at = self.next_timeout();
            self.timer.set(at, self.core.now)?;
        }
        self.turns.end(clock::now());
        self.core.reactor.wait(has_more)?;
        let awake = clock::now();
        self.turns.begin(awake);
        if !has_more {
            // What ended the sleep came before the thread was awake.
            self.core.now = self.core.now.max(awake - self.timer.wake_age());
        }
        self.serve_ready(SHARE_MAX);
        Ok(())
    }

    /// Serves what the owner waits for, and then ports and flows for a limited time; others have the next turn.
    fn serve_ready(&mut self, share: Duration) {
        for ready in self.core.reactor.take_first() {
            self.dispatch(ready);
        }
        self.core.serve_queued(self.core.now + share);
        let until = self.core.now + share;
        while let Some(ready) = self.core.reactor.next() {
            self.dispatch(ready);
            // Packets are stamped when their turn has come, not with those before them.
            self.core.read_clock();
            if self.core.now >= until {
                break;
            }
        }
    }

    fn dispatch(&mut self, ready: Ready) {
        match ready.source {
            Source::First => {}
            Source::Timer => self.timer.fired(clock::now()),
            Source::Signals => self.read_signals(),
            Source::Remote => {
                let jobs = self.mailbox.as_ref().map_or(Vec::new(), Mailbox::take);
                jobs.into_iter().for_each(|job| job(self));
            }
            Source::Port(index, number) => self.core.serve_port(index, number, ready),
            Source::Hub(place, number) => self.core.serve_hub(place, number),
            Source::Links(place, number) => self.core.serve_links(place, number),
            Source::Peers(place, number) => self.core.serve_peers(place, number, ready),
            Source::Flow(at, number) => self.core.serve_flow(at, number, ready),
            Source::Splices => {
                self.core.flows.accept_splices(self.core.now, &self.core.reactor);
                self.core.flush();
            }
            Source::Watched(token) => self.core.events.push_back(Event::Ready(token)),
        }
    }

    fn read_signals(&mut self) {
        for signal in self.signals.iter().flat_map(Signals::read) {
            if signal == Signal::User1 {
                panics::failpoint("loop");
            }
            self.core.events.push_back(Event::Signal(signal));
        }
    }

    /// Looks at the clock. What is due within a moment is due: to sleep again would take longer.
    fn begin_turn(&mut self) {
        self.core.read_clock();
        self.core.ports.retime_touched();
        if let Some(due) = self.next_timeout()
            && due <= self.core.now + Timer::EARLY_MAX
        {
            self.core.now = self.core.now.max(due);
        }
    }

    /// Does what is due.
    fn run_due(&mut self) {
        if self.alarm.is_some_and(|at| at <= self.core.now) {
            self.alarm = None;
            self.core.events.push_back(Event::Alarm);
        }
        self.core.run_due();
    }

    /// The earliest deadline of all.
    fn next_timeout(&self) -> Option<Instant> {
        self.core.next_timeout().into_iter().chain(self.alarm).min()
    }
}

impl<E> AsFd for Runner<E> {
    /// Readable when there is something to do: see [`Runner::turn`].
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.core.reactor.as_fd()
    }
}

impl<E> fmt::Debug for Runner<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ports = self.core.ports.numbered().map(|(_, slot)| &slot.port);
        f.debug_struct("Runner").field("ports", &ports.collect::<Vec<_>>()).finish_non_exhaustive()
    }
}
