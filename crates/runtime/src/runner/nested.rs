//! A port behind which another engine runs, in the same loop.
//!
//! ```text
//! outer loop                         Nested, a port of the outer loop
//! engine  -- send -->  to_inner --\                      /-- ports, listeners
//!         <-- recv --  to_outer --- cable -- inner engine --- flows
//! ```
//!
//! The outer loop waits for the inner one's epoll descriptor and for its next deadline. Packets change the loop, and
//! their buffers the pool, without a copy; as many empty ones go back. So a NAT is a port of a switch, and a switch a port of a NAT.

use crate::port::{Cx, Gone, Port, PortCounters, Recv, Wait};
use crate::runner::event::Next;
use crate::runner::{Handler, Runner};
use adit_engine::{Engine, PortId};
use adit_packet::{Batch, Instant, PacketBuf, Pool};
use std::any::Any;
use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::thread::JoinHandle;
use std::time::Duration;

/// How many packets wait for the outer loop: as many as 16 flows bring in one turn.
const PACKETS_MAX: usize = 1024;

/// Their bytes: 32 flows with 256 KiB, or half of a pool's large buffers.
const BYTES_MAX: usize = 8 << 20;

/// A port behind which another engine runs, with ports and sockets of its own, in the same loop.
pub struct Nested<E, H> {
    name: String,
    mtu: Option<u32>,
    runner: Runner<E>,
    handler: H,
    cable: PortId,
}

impl<E: Engine, H: Handler<E>> Nested<E, H> {
    /// A port of this name for the engine of `runner`, whose port `cable` is the way to the outer loop. The port
    /// ends when the handler stops the loop.
    ///
    /// # Errors
    /// EEXIST: the inner loop has a port of that number.
    pub fn new(
        name: impl Into<String>,
        mtu: Option<u32>,
        mut runner: Runner<E>,
        cable: PortId,
        handler: H,
    ) -> io::Result<Self> {
        runner.attach(cable, Box::new(Cable::default()))?;
        Ok(Self { name: name.into(), mtu, runner, handler, cable })
    }

    /// The inner loop.
    pub const fn runner(&self) -> &Runner<E> {
        &self.runner
    }

    /// The inner loop and its owner. Packets that a call makes the engine send leave in the next turn.
    pub const fn runner_and_handler(&mut self) -> (&mut Runner<E>, &mut H) {
        (&mut self.runner, &mut self.handler)
    }

    fn cable(&self) -> Option<&Cable> {
        (self.runner.port(self.cable)?.0 as &dyn Any).downcast_ref()
    }

    /// The cable, and the pool of the inner loop.
    fn cable_and_pool(&mut self) -> Option<(&mut Cable, &mut Pool)> {
        let core = &mut self.runner.core;
        let slot = core.ports.get_mut(self.cable)?;
        let cable = (&mut *slot.port as &mut dyn Any).downcast_mut()?;
        Some((cable, core.out.pool()))
    }

    /// Serves the cable, and with `all` what is ready in the inner loop, and does what is due.
    fn turn(&mut self, all: bool) -> Result<(), Gone> {
        let (runner, handler, cable) = (&mut self.runner, &mut self.handler, self.cable);
        let turned = runner.owned(|runner| {
            runner.core.read_clock();
            if all {
                runner.core.reactor.wait(true)?;
                // All of it: the outer loop would not know that there is more.
                runner.serve_ready(Duration::MAX);
            } else {
                runner.core.serve(cable);
            }
            Ok(runner.react(handler))
        });
        match turned {
            Ok(Next::Continue) => Ok(()),
            Ok(Next::Stop) => Err(Gone::Closed),
            Err(error) => Err(Gone::Failed(error)),
        }
    }

    fn pop(&mut self, pool: &mut Pool) -> Option<PacketBuf> {
        let (cable, inner) = self.cable_and_pool()?;
        let packet = cable.to_outer.pop()?;
        inner.pass(&packet, pool);
        Some(packet)
    }
}

impl<E, H> std::fmt::Debug for Nested<E, H> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Nested").field("name", &self.name).finish_non_exhaustive()
    }
}

impl<E: Engine + Send + 'static, H: Handler<E> + Send + 'static> Port for Nested<E, H> {
    fn name(&self) -> &str {
        &self.name
    }

    fn mtu(&self) -> Option<u32> {
        self.mtu
    }

    fn recv(&mut self, cx: &mut Cx<'_>) -> Recv {
        if let Some(packet) = self.pop(cx.pool) {
            return Recv::Packet(packet);
        }
        if let Err(gone) = self.turn(true) {
            return Recv::Gone(gone);
        }
        self.pop(cx.pool).map_or(Recv::Nothing, Recv::Packet)
    }

    fn send(&mut self, cx: &mut Cx<'_>, batch: &mut Batch) -> Result<(), Gone> {
        let Some((cable, inner)) = self.cable_and_pool() else {
            batch.give_all(cx.pool);
            return Err(Gone::Closed);
        };
        for packet in batch.drain(..) {
            cx.pool.pass(&packet, inner);
            cable.to_inner.push(packet, inner, cx.counters);
        }
        self.turn(false)
    }

    fn descriptors(&self, each: &mut dyn FnMut(BorrowedFd<'_>, Wait)) {
        each(self.runner.as_fd(), Wait::Read);
    }

    fn has_more(&self) -> bool {
        self.cable().is_some_and(|cable| !cable.to_outer.packets.is_empty())
            || self.runner.core.has_more()
    }

    fn next_timeout(&self) -> Option<Instant> {
        self.runner.next_timeout()
    }

    fn inner_drops(&self, each: &mut dyn FnMut(&str, u64)) {
        let by_engine = self.runner.counts().by_reason();
        by_engine.for_each(|(why, count)| each(why.as_str(), count));
        for (_, slot) in self.runner.core.ports.numbered() {
            let (counters, port) = (&slot.counters, &slot.port);
            let drops = counters.ingress_drops().chain(counters.egress_drops());
            drops.filter(|&(_, count)| count > 0).for_each(|(why, count)| each(why, count));
            port.inner_drops(each);
        }
    }

    fn close(&mut self, pool: &mut Pool) -> Option<JoinHandle<()>> {
        while let Some(packet) = self.pop(pool) {
            pool.give(packet);
        }
        self.runner.detach(self.cable);
        None
    }
}

/// The inner loop's end.
#[derive(Debug, Default)]
struct Cable {
    to_inner: Crossing,
    to_outer: Crossing,
}

impl Port for Cable {
    fn name(&self) -> &'static str {
        "cable"
    }

    fn recv(&mut self, _: &mut Cx<'_>) -> Recv {
        self.to_inner.pop().map_or(Recv::Nothing, Recv::Packet)
    }

    fn send(&mut self, cx: &mut Cx<'_>, batch: &mut Batch) -> Result<(), Gone> {
        for packet in batch.drain(..) {
            self.to_outer.push(packet, cx.pool, cx.counters);
        }
        Ok(())
    }

    fn has_more(&self) -> bool {
        !self.to_inner.packets.is_empty()
    }

    fn close(&mut self, pool: &mut Pool) -> Option<JoinHandle<()>> {
        for crossing in [&mut self.to_inner, &mut self.to_outer] {
            while let Some(packet) = crossing.pop() {
                pool.give(packet);
            }
        }
        None
    }
}

/// Packets on their way from one loop to the other, of the inner loop's pool.
#[derive(Debug, Default)]
struct Crossing {
    packets: VecDeque<PacketBuf>,
    bytes: usize,
}

impl Crossing {
    fn push(&mut self, packet: PacketBuf, pool: &mut Pool, counters: &mut PortCounters) {
        if self.packets.len() >= PACKETS_MAX || self.bytes + packet.len() > BYTES_MAX {
            counters.queue_full += 1;
            return pool.give(packet);
        }
        counters.sent += 1;
        counters.sent_bytes += u64::try_from(packet.len()).unwrap_or(0);
        self.bytes += packet.len();
        self.packets.push_back(packet);
    }

    fn pop(&mut self) -> Option<PacketBuf> {
        let packet = self.packets.pop_front()?;
        self.bytes -= packet.len();
        Some(packet)
    }
}
