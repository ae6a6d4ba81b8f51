//! Packets read from a port before their turn: where many flows share a queue of the kernel, a flow that sends little does
//! not wait for those that fill the queue.

use crate::port::{Cx, Port, Recv};
use adit_engine::FlowQueue;
use adit_packet::Pool;
use std::hash::{BuildHasher, RandomState};

/// What was read from one port.
#[derive(Debug, Default)]
pub(crate) struct Ahead {
    /// `None`: the packets of the port take no turns.
    queue: Option<Box<FlowQueue>>,
    /// Whether the port had nothing more in this turn.
    is_dry: bool,
}

impl Ahead {
    /// Begins a turn of the port. If the engine has peers, and the port a queue of many flows, they take turns from now on.
    #[inline]
    pub(crate) fn begin(&mut self, port: &dyn Port, has_peers: bool) {
        self.is_dry = false;
        if has_peers
            && self.queue.is_none()
            && let Some(layer) = port.queues()
        {
            let key = RandomState::new().hash_one(0);
            self.queue = Some(Box::new(FlowQueue::new(layer, key)));
        }
    }

    /// Reads the port while there is room, and takes the packet whose turn it is.
    #[inline]
    pub(crate) fn recv(&mut self, port: &mut dyn Port, cx: &mut Cx<'_>) -> Recv {
        let Some(queue) = &mut self.queue else { return port.recv(cx) };
        while !self.is_dry && queue.has_room() {
            match port.recv(cx) {
                Recv::Packet(packet) => {
                    if let Err(packet) = queue.push(packet) {
                        return Recv::Packet(packet);
                    }
                }
                Recv::Dropped => {}
                Recv::Nothing => self.is_dry = true,
                ended => return ended,
            }
        }
        queue.pop().map_or(Recv::Nothing, Recv::Packet)
    }

    /// Whether packets wait here.
    #[inline]
    pub(crate) fn has_more(&self) -> bool {
        self.queue.as_ref().is_some_and(|queue| !queue.is_empty())
    }

    /// Gives all buffers back.
    pub(crate) fn clear(&mut self, pool: &mut Pool) {
        while let Some(packet) = self.queue.as_mut().and_then(|queue| queue.pop()) {
            pool.give(packet);
        }
    }
}
