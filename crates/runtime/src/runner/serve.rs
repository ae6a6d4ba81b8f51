//! The way in: from a port to the engine.

use crate::port::{Cx, Recv};
use crate::runner::Runner;
use adit_engine::{Endpoint, Engine, PortId};
use adit_packet::PacketBuf;

/// How many frames a port may bring before the next one's turn. Past 64 the cost of waking whoever is
/// behind them no longer shows: with four super-packets a turn 64 ports pass half as much. They are 1 ms
/// of one core if all are super-packets, 0.2 ms if none is.
pub const FRAMES_MAX: usize = 64;

/// How many bytes of frames are taken in before what came of them goes out: 43 full ones. A
/// super-packet goes out at once: it is written while it is in the cache, and joined with nothing.
pub const CHUNK_LEN: usize = 64 * 1024;

/// How many bytes a port or socket may bring before the next one's turn where an engine has peers, and
/// so a cipher: four super-packets, at which it works for 0.3 ms; who waits for the other direction waits
/// no longer.
pub const SHARE_LEN: usize = 256 * 1024;

impl<E: Engine> Runner<E> {
    /// Serves the ports that had more than their share.
    pub fn serve_again(&mut self) {
        for _ in 0..self.again.len() {
            let Some(id) = self.again.pop_front() else { break };
            self.read_clock();
            self.serve(id);
        }
    }

    /// Reads a port until it has nothing more, or has had its share.
    pub fn serve(&mut self, id: PortId) {
        let share_max = if self.reach.is_some() { SHARE_LEN } else { usize::MAX };
        let (mut chunk, mut share) = (0, 0);
        for _ in 0..FRAMES_MAX {
            if share >= share_max {
                break;
            }
            let Some(slot) = self.slots.get_mut(usize::from(id.0)).and_then(Option::as_mut) else {
                return;
            };
            let mut cx = Cx {
                now: self.now,
                pool: self.out.pool(),
                kit: &mut self.kit,
                counters: &mut slot.counters,
            };
            match slot.port.recv(&mut cx) {
                Recv::Packet(packet) => {
                    let is_whole = packet.meta.vnet.is_super_packet();
                    chunk += packet.len();
                    share += packet.len();
                    self.take_in(id, packet);
                    if is_whole || chunk >= CHUNK_LEN {
                        self.flush();
                        self.read_clock();
                        chunk = 0;
                    }
                }
                Recv::Dropped => {}
                Recv::Nothing => return self.flush(),
                Recv::Gone(why) => {
                    self.end(id, why);
                    return self.flush();
                }
            }
        }
        self.flush();
        let slot = self.slots.get(usize::from(id.0)).and_then(Option::as_ref);
        if slot.is_some_and(|slot| slot.port.has_more()) {
            self.serve_later(id);
        }
    }

    /// Serves a port in the next turn, whatever its descriptor says.
    pub fn serve_later(&mut self, id: PortId) {
        if !self.again.contains(&id) {
            self.again.push_back(id);
        }
    }

    /// Hands a packet that came from a port to the engine, through the port's link if it has one.
    #[inline]
    pub fn take_in(&mut self, id: PortId, packet: PacketBuf) {
        let Some(slot) = self.slots.get_mut(usize::from(id.0)).and_then(Option::as_mut) else {
            return self.out.pool().give(packet);
        };
        slot.counters.received += 1;
        slot.counters.received_bytes += u64::try_from(packet.len()).unwrap_or(0);
        if let Some(link) = &mut slot.netem.ingress {
            link.push(self.now, packet, &mut self.out);
            self.run_ingress(id);
        } else {
            self.engine.handle(self.now, Endpoint::Port(id), packet, &mut self.out);
        }
    }
}
