//! How a loop reaches peers: what an engine sends to `Endpoint::Udp`, and what comes from there.

use crate::event::{Event, Interest};
use crate::peer::peers::PeerSockets;
use crate::peer::peers::{Arrival, TooBig};
use crate::runner::Runner;
use crate::runner::serve::{CHUNK_LEN, SHARE_LEN};
use crate::wake::reactor::{Ready, Source};
use adit_engine::{Endpoint, Engine};
use std::io;
use std::net::SocketAddr;

/// What a datagram counts for beside its bytes: a short one costs as much as a kilobyte, for the call,
/// the headers and the cipher's start.
const DATAGRAM_COST: usize = 1024;

/// The sockets of a loop, and the number that tells their events from those of the ones before.
#[derive(Debug)]
pub struct Reach {
    sockets: PeerSockets,
    number: u32,
}

impl<E: Engine> Runner<E> {
    /// Sends to and receives from peers by these sockets, in the place of those before.
    ///
    /// # Errors
    /// ENOMEM, ENOSPC: those before are gone as well.
    pub fn set_peers(&mut self, sockets: Option<PeerSockets>) -> io::Result<()> {
        if let Some(mut before) = self.reach.take() {
            for (_, socket) in before.sockets.each() {
                self.reactor.remove(socket.fd());
            }
            before.sockets.close(self.out.pool());
        }
        let Some(sockets) = sockets else { return Ok(()) };
        let number = self.next_number();
        for (place, socket) in sockets.each() {
            let readable = Interest { readable: true, writable: false };
            self.reactor.add(socket.fd(), source(place, number), readable)?;
        }
        self.reach = Some(Reach { sockets, number });
        Ok(())
    }

    /// The sockets for peers, to be changed.
    pub fn peers_mut(&mut self) -> Option<&mut PeerSockets> {
        self.reach.as_mut().map(|reach| &mut reach.sockets)
    }

    /// The sockets for peers.
    pub fn peers(&self) -> Option<&PeerSockets> {
        self.reach.as_ref().map(|reach| &reach.sockets)
    }

    /// An exchange with a peer begins: the kernel chooses the address that it is sent from.
    pub fn reroute(&mut self, peer: SocketAddr) {
        let place = PeerSockets::place_of(peer);
        if let Some(socket) = self.reach.as_mut().and_then(|reach| reach.sockets.get(place)) {
            socket.reroute(peer);
        }
    }

    /// Sends `self.batch` to a peer.
    pub fn send_to_peer(&mut self, to: SocketAddr) {
        let place = PeerSockets::place_of(to);
        let socket = self.reach.as_mut().and_then(|reach| reach.sockets.get(place));
        let Some(socket) = socket else {
            self.astray += u64::try_from(self.batch.len()).unwrap_or(0);
            return self.batch.give_all(self.out.pool());
        };
        let too_big = socket.send(to, &mut self.batch, self.out.pool());
        if let Some(TooBig { to, len_max }) = too_big {
            self.events.push_back(Event::TooBig { to, len_max });
        }
        self.await_room(place);
    }

    /// A socket for peers is ready.
    pub fn serve_peers(&mut self, place: u16, number: u32, ready: Ready) {
        let place = usize::from(place);
        let Some(reach) = self.reach.as_mut().filter(|reach| reach.number == number) else {
            return;
        };
        if ready.writable
            && let Some(socket) = reach.sockets.get(place)
        {
            socket.flush(self.out.pool());
            self.await_room(place);
        }
        if ready.readable {
            self.receive_from_peers(place);
        }
    }

    /// Reads a socket until it has nothing more, or has had its share.
    fn receive_from_peers(&mut self, place: usize) {
        let (mut chunk, mut share) = (0, 0);
        while share < SHARE_LEN {
            let socket = self.reach.as_mut().and_then(|reach| reach.sockets.get(place));
            let Some(Arrival { from, at, packet }) =
                socket.and_then(|socket| socket.recv(self.out.pool()))
            else {
                break;
            };
            chunk += packet.len();
            share += packet.len() + DATAGRAM_COST;
            let handled = self.engine.handle(self.now, Endpoint::Udp(from), packet, &mut self.out);
            if handled.authenticated
                && let Some(socket) = self.reach.as_mut().and_then(|reach| reach.sockets.get(place))
            {
                socket.heard(from, at, handled.began);
            }
            if chunk >= CHUNK_LEN {
                self.flush();
                self.read_clock();
                chunk = 0;
            }
        }
        self.flush();
    }

    /// Waits for room in a socket if something is left there.
    fn await_room(&mut self, place: usize) {
        let Some(reach) = &mut self.reach else { return };
        let number = reach.number;
        let Some(socket) = reach.sockets.get(place) else { return };
        if socket.is_waiting() == socket.is_armed {
            return;
        }
        socket.is_armed = socket.is_waiting();
        let interest = Interest { readable: true, writable: socket.is_armed };
        // It is watched, and a change needs no memory.
        let _ = self.reactor.change(socket.fd(), source(place, number), interest);
    }
}

fn source(place: usize, number: u32) -> Source {
    Source::Peers(u16::try_from(place).unwrap_or(u16::MAX), number)
}
