//! The loop itself: who is attached, and what is done in which order.

pub mod serve;

use crate::event::{Event, Flow, Gone, Handler, Interest, Token};
use crate::netem::PortNetem;
use crate::panics;
use crate::peer::reach::Reach;
use crate::port::{Cx, Kit};
use crate::port::{Port, PortCounters};
use crate::socket::SharedSlot;
use crate::wake::clock;
use crate::wake::clock::Timer;
use crate::wake::links::Links;
use crate::wake::reactor::{Reactor, Ready, Source};
use crate::wake::signals::Signals;
use adit_engine::{Endpoint, Engine, Outbox, PortId, Request};
use adit_packet::{Batch, Instant, Pool};
use std::collections::VecDeque;
use std::io;
use std::os::fd::AsFd;

/// The number of a listener, valid until it is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ListenerId(pub u16);

/// An engine with the ports that are attached to it, and the loop that runs them.
pub struct Runner<E> {
    pub engine: E,
    pub out: Outbox,
    pub slots: Vec<Option<Box<Slot>>>,
    /// Ports that may have a deadline of their own.
    pub timed: Vec<PortId>,
    /// Ports that have more, though no descriptor will say so.
    pub again: VecDeque<PortId>,
    pub reactor: Reactor,
    pub events: VecDeque<Event>,
    pub kit: Kit,
    /// Packets of one destination on their way out.
    pub batch: Batch,
    pub now: Instant,
    /// Ports of the engine that are joined to other ports of it.
    joined: Vec<Option<PortId>>,
    /// The sockets for peers.
    pub reach: Option<Reach>,
    /// Packets sent to a port or peer that is not attached.
    pub astray: u64,
    /// Sockets that ports share, and listeners.
    pub shared: Vec<Option<SharedSlot>>,
    /// Listeners that ran out of descriptors, until somebody was accepted again.
    pub paused: Vec<u16>,
    /// The namespaces that ports are in.
    pub links: Vec<Option<Links>>,
    pub namespace_check: Option<Instant>,
    timer: Timer,
    signals: Signals,
    alarm: Option<Instant>,
    /// The last number that a port or socket was given.
    attached: u32,
}

/// A port in its place.
pub struct Slot {
    pub port: Port,
    pub netem: PortNetem,
    pub number: u32,
    pub counters: PortCounters,
    /// Whether its descriptor is waited for to take more.
    pub is_armed: bool,
}

impl<E: Engine> Runner<E> {
    /// A loop without ports; `pool` is for all its packets. From here on SIGHUP, SIGINT, SIGTERM and
    /// SIGUSR1 are events of the loop instead of ends of the program.
    ///
    /// # Errors
    /// EMFILE.
    pub fn new(engine: E, pool: Pool) -> io::Result<Self> {
        let (reactor, timer, signals) = (Reactor::new()?, Timer::new()?, Signals::new()?);
        let readable = Interest { readable: true, writable: false };
        reactor.add(&timer, Source::Timer, readable)?;
        reactor.add(&signals, Source::Signals, readable)?;
        Ok(Self {
            engine,
            out: Outbox::new(pool),
            slots: Vec::new(),
            timed: Vec::new(),
            again: VecDeque::new(),
            reactor,
            events: VecDeque::new(),
            kit: Kit::new(),
            batch: Batch::new(),
            now: clock::now(),
            joined: Vec::new(),
            reach: None,
            astray: 0,
            shared: Vec::new(),
            paused: Vec::new(),
            links: Vec::new(),
            namespace_check: None,
            timer,
            signals,
            alarm: None,
            attached: 0,
        })
    }

    /// The engine.
    pub fn engine(&self) -> &E {
        &self.engine
    }

    /// The engine, to be changed between two packets.
    pub fn engine_mut(&mut self) -> &mut E {
        &mut self.engine
    }

    /// The engine, the present moment and its outbox, for what makes it send something.
    pub fn engine_and_outbox(&mut self) -> (&mut E, Instant, &mut Outbox) {
        (&mut self.engine, self.now, &mut self.out)
    }

    /// The moment of the present turn of the loop.
    pub fn now(&self) -> Instant {
        self.now
    }

    /// Packets that the engine sent to a port or a peer that is not there.
    pub fn astray(&self) -> u64 {
        self.astray
    }

    /// Makes `port` the engine's port `id`, from the next turn on.
    ///
    /// # Errors
    /// EEXIST: there is one with that number, or to that VXLAN remote; EADDRINUSE: another program has
    /// the UDP port; EPERM: its descriptor is a file, for which nobody can wait; ENOMEM, ENOSPC.
    pub fn attach(&mut self, id: PortId, port: Port) -> io::Result<()> {
        let index = usize::from(id.0);
        if self.slots.get(index).is_some_and(Option::is_some) {
            return Err(rustix::io::Errno::EXIST.into());
        }
        let number = self.next_number();
        let source = Source::Port(id.0, number);
        let readable = Interest { readable: true, writable: false };
        if let Some(fd) = port.fd() {
            self.reactor.add(fd, source, readable)?;
        }
        if let Some(fd) = port.write_fd() {
            let added = self.reactor.add(fd, source, Interest::default());
            if let Err(error) = added {
                if let Some(fd) = port.fd() {
                    self.reactor.remove(fd);
                }
                return Err(error);
            }
        }
        if self.slots.len() <= index {
            self.slots.resize_with(index + 1, || None);
        }
        let counters = PortCounters::default();
        if port.namespace().is_some() {
            self.namespace_check.get_or_insert(self.now);
        }
        let slot = Slot { port, netem: PortNetem::default(), number, counters, is_armed: false };
        if let Some(place) = self.slots.get_mut(index) {
            *place = Some(Box::new(slot));
        }
        if let Err(error) = self.join_shared(id) {
            self.detach(id);
            return Err(error);
        }
        self.time(id);
        self.serve_later(id);
        // A sandbox may forbid netlink: then nobody is told that a link is down.
        let _ = self.follow_link(id, true);
        Ok(())
    }

    /// Takes a port out and closes it; what waited there is lost. Its links, with nothing in them any
    /// more; `None` if there is no such port.
    pub fn detach(&mut self, id: PortId) -> Option<PortNetem> {
        let slot = self.slots.get_mut(usize::from(id.0))?.take()?;
        self.read_clock();
        let Slot { mut port, mut netem, .. } = *slot;
        for fd in [port.fd(), port.write_fd()].into_iter().flatten() {
            self.reactor.remove(fd);
        }
        port.close(self.out.pool());
        netem.clear(self.now, &mut self.out);
        self.unfollow_link(id);
        self.leave_shared(id);
        self.timed.retain(|&timed| timed != id);
        self.again.retain(|&again| again != id);
        Some(netem)
    }

    /// An attached port and what went through it.
    pub fn port(&self, id: PortId) -> Option<(&Port, &PortCounters)> {
        let slot = self.slots.get(usize::from(id.0))?.as_ref()?;
        Some((&slot.port, &slot.counters))
    }

    /// Joins two ports of the engine, as by a cable: what it sends to one comes from the other. Nothing
    /// else can be attached to them.
    pub fn join(&mut self, one: PortId, other: PortId) {
        for (from, to) in [(one, other), (other, one)] {
            let at = usize::from(from.0);
            if self.joined.len() <= at {
                self.joined.resize(at + 1, None);
            }
            self.joined[at] = Some(to);
        }
    }

    #[inline]
    fn joined_to(&self, port: PortId) -> Option<PortId> {
        self.joined.get(usize::from(port.0)).copied().flatten()
    }

    /// Hands `self.batch` to the engine, as coming from a port.
    fn hand_back(&mut self, from: PortId) {
        for packet in self.batch.drain(..) {
            self.engine.handle(self.now, Endpoint::Port(from), packet, &mut self.out);
        }
    }

    /// Tells with [`Event::Ready`] when a descriptor of the owner is ready, as long as it is. Close it
    /// only after [`Self::unwatch`].
    ///
    /// # Errors
    /// EEXIST: it is watched; EPERM: it is a file.
    pub fn watch(&self, fd: impl AsFd, token: Token, interest: Interest) -> io::Result<()> {
        self.reactor.add(fd, Source::Watched(token), interest)
    }

    /// No longer watches a descriptor.
    pub fn unwatch(&self, fd: impl AsFd) {
        self.reactor.remove(fd);
    }

    /// Tells with [`Event::Alarm`], once, when a moment has come; there is one alarm.
    pub fn set_alarm(&mut self, at: Option<Instant>) {
        self.alarm = at;
    }

    /// Runs until the handler says stop.
    ///
    /// # Errors
    /// Those of epoll and timerfd, none of which a packet or a peer can cause; a panic, after which
    /// nothing is to be done with it but to drop it.
    pub fn run(&mut self, handler: &mut impl Handler<E>) -> io::Result<()> {
        panics::caught(|| self.turn_until_stopped(handler))
    }

    fn turn_until_stopped(&mut self, handler: &mut impl Handler<E>) -> io::Result<()> {
        loop {
            self.begin_turn();
            self.run_due();
            handler.turn(self);
            while let Some(event) = self.events.pop_front() {
                if handler.event(self, event) == Flow::Stop {
                    return Ok(());
                }
            }
            // What the handler made the engine send.
            self.flush();
            if !self.events.is_empty() {
                continue;
            }
            let poll = !self.again.is_empty();
            if !poll {
                let at = self.next_timeout();
                self.timer.set(at, self.now)?;
            }
            self.reactor.wait(poll)?;
            if !poll {
                // What ended the sleep came before the thread was awake.
                self.now = self.now.max(clock::now() - self.timer.wake_age());
            }
            self.serve_again();
            for at in 0..self.reactor.len() {
                let Some(ready) = self.reactor.ready(at) else { break };
                self.dispatch(ready);
                // What came is stamped when its turn has come, not with those before it.
                self.read_clock();
            }
        }
    }

    fn dispatch(&mut self, ready: Ready) {
        let interest = Interest { readable: ready.readable, writable: ready.writable };
        match ready.source {
            Source::Timer => self.timer.fired(clock::now()),
            Source::Signals => self.signals.read(&mut self.events),
            Source::Port(index, number) => {
                let id = PortId(index);
                let slot = self.slots.get(usize::from(index)).and_then(Option::as_ref);
                if slot.is_none_or(|slot| slot.number != number) {
                    return;
                }
                if ready.failed && slot.is_some_and(|slot| slot.port.has_lost_its_reader()) {
                    return self.end(id, Gone::Closed);
                }
                if interest.writable {
                    self.flush_port(id);
                }
                if interest.readable {
                    self.serve(id);
                }
            }
            Source::Shared(place, number) => self.serve_shared(place, number),
            Source::Links(place, number) => self.read_links(place, number),
            Source::Peers(place, number) => self.serve_peers(place, number, ready),
            Source::Watched(token) => self.events.push_back(Event::Ready(token)),
        }
    }

    /// Looks at the clock. What is due within a moment is due: to sleep again would take longer.
    fn begin_turn(&mut self) {
        self.read_clock();
        if let Some(due) = self.next_timeout()
            && due <= self.now + Timer::EARLY_MAX
        {
            self.now = self.now.max(due);
        }
    }

    /// Looks at the clock; the moment of the loop never goes back.
    pub fn read_clock(&mut self) {
        self.now = self.now.max(clock::now());
    }

    /// The earliest moment at which something is to be done.
    fn next_timeout(&self) -> Option<Instant> {
        let ports = self.timed.iter().filter_map(|id| {
            let slot = self.slots.get(usize::from(id.0))?.as_ref()?;
            [slot.port.next_timeout(), slot.netem.next_timeout()].into_iter().flatten().min()
        });
        let own =
            [self.engine.next_timeout(), self.alarm, self.namespace_check, self.accepting_at()];
        ports.chain(own.into_iter().flatten()).min()
    }

    /// Does what is due at `self.now`.
    fn run_due(&mut self) {
        if self.engine.next_timeout().is_some_and(|at| at <= self.now) {
            self.engine.handle_timeout(self.now, &mut self.out);
        }
        if self.alarm.is_some_and(|at| at <= self.now) {
            self.alarm = None;
            self.events.push_back(Event::Alarm);
        }
        self.check_namespaces();
        self.run_listeners();
        self.flush();
        self.run_timed();
    }

    /// A number that no port or socket had before, as far back as events may be on their way.
    pub fn next_number(&mut self) -> u32 {
        self.attached = self.attached.wrapping_add(1);
        self.attached
    }

    /// Takes a port that ended out, and tells of it.
    pub fn end(&mut self, port: PortId, why: Gone) {
        if let Some(netem) = self.detach(port) {
            self.events.push_back(Event::PortGone { port, why, netem });
        }
    }

    /// Sends all that the engine has sent.
    pub fn flush(&mut self) {
        while let Some(request) = self.out.next_request() {
            if let Request::Reroute(peer) = request {
                self.reroute(peer);
            }
        }
        while let Some(to) = self.out.next_group(&mut self.batch) {
            match to {
                Endpoint::Port(id) => match self.joined_to(id) {
                    None => self.deliver(id),
                    Some(other) => self.hand_back(other),
                },
                Endpoint::Udp(peer) => self.send_to_peer(peer),
                Endpoint::Flow(_) => {
                    self.astray += u64::try_from(self.batch.len()).unwrap_or(0);
                    self.batch.give_all(self.out.pool());
                }
            }
        }
    }

    /// Sends `self.batch` to a port, through its link if it has one.
    fn deliver(&mut self, id: PortId) {
        let slot = self.slots.get_mut(usize::from(id.0)).and_then(Option::as_mut);
        let Some(link) = slot.and_then(|slot| slot.netem.egress.as_mut()) else {
            return self.send_batch(id);
        };
        for packet in self.batch.drain(..) {
            link.push(self.now, packet, &mut self.out);
        }
        self.run_egress(id);
    }

    /// Sends `self.batch` to a port.
    pub fn send_batch(&mut self, id: PortId) {
        let Some(slot) = self.slots.get_mut(usize::from(id.0)).and_then(Option::as_mut) else {
            self.astray += u64::try_from(self.batch.len()).unwrap_or(0);
            return self.batch.give_all(self.out.pool());
        };
        let mut cx = Cx {
            now: self.now,
            pool: self.out.pool(),
            kit: &mut self.kit,
            counters: &mut slot.counters,
        };
        let sent = slot.port.send(&mut cx, &mut self.batch);
        self.sent(id, sent);
    }

    /// Sends what waits at a port; writes what waits for a recording.
    pub fn flush_port(&mut self, id: PortId) {
        let Some(slot) = self.slots.get_mut(usize::from(id.0)).and_then(Option::as_mut) else {
            return;
        };
        let mut cx = Cx {
            now: self.now,
            pool: self.out.pool(),
            kit: &mut self.kit,
            counters: &mut slot.counters,
        };
        let sent = slot.port.flush(&mut cx);
        self.sent(id, sent);
    }

    /// After sending: waits for room if something is left, ends the port if it is gone.
    fn sent(&mut self, id: PortId, result: Result<(), Gone>) {
        if let Err(why) = result {
            return self.end(id, why);
        }
        let Some(slot) = self.slots.get_mut(usize::from(id.0)).and_then(Option::as_mut) else {
            return;
        };
        let waits = slot.port.wants_room();
        if waits == slot.is_armed {
            return;
        }
        slot.is_armed = waits;
        let source = Source::Port(id.0, slot.number);
        let changed = match (slot.port.write_fd(), slot.port.fd()) {
            (Some(fd), _) => {
                let interest = Interest { readable: false, writable: waits };
                self.reactor.change(fd, source, interest)
            }
            (None, Some(fd)) => {
                let interest = Interest { readable: true, writable: waits };
                self.reactor.change(fd, source, interest)
            }
            (None, None) => Ok(()),
        };
        if let Err(error) = changed {
            self.end(id, Gone::Failed(error));
        }
    }
}

impl<E> std::fmt::Debug for Runner<E> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let ports = self.slots.iter().flatten().map(|slot| &slot.port);
        f.debug_struct("Runner").field("ports", &ports.collect::<Vec<_>>()).finish_non_exhaustive()
    }
}
