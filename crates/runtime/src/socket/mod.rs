//! Sockets that several ports share, and listeners.

pub mod datagram;
pub mod listener;
pub mod udp;
pub mod vxlan;

use crate::event::{Gone, Interest};
use crate::runner::Runner;
use crate::socket::datagram::DatagramSocket;
use crate::socket::listener::StreamListener;
use crate::socket::udp::UdpSocket;
use crate::wake::reactor::Source;
use adit_engine::{Engine, PortId};
use rustix::io::Errno;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

/// The kinds of them.
pub enum Shared {
    /// Streams are accepted there.
    Stream(StreamListener),
    /// Guests' datagrams come there.
    Datagram(DatagramSocket),
    /// VXLAN.
    Udp(UdpSocket),
}

/// One of them in its place.
pub struct SharedSlot {
    pub kind: Shared,
    pub number: u32,
}

impl Shared {
    pub fn fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Stream(listener) => listener.socket.as_fd(),
            Self::Datagram(socket) => socket.fd(),
            Self::Udp(socket) => socket.fd(),
        }
    }
}

impl<E: Engine> Runner<E> {
    /// Datagrams that came to sockets which ports share, and were nobody's: of strangers, of other
    /// VXLAN segments, or no frames.
    pub fn strangers(&self) -> u64 {
        let sockets = self.shared.iter().flatten().map(|slot| match &slot.kind {
            Shared::Stream(_) => 0,
            Shared::Datagram(socket) => socket.refused,
            Shared::Udp(socket) => socket.refused,
        });
        sockets.sum()
    }

    /// Puts a socket in a place, which it gives.
    pub fn share(&mut self, kind: Shared) -> io::Result<u16> {
        let place = self.shared.iter().position(Option::is_none).unwrap_or(self.shared.len());
        let place = u16::try_from(place).map_err(|_| Errno::NOSPC)?;
        let number = self.next_number();
        let readable = Interest { readable: true, writable: false };
        self.reactor.add(kind.fd(), Source::Shared(place, number), readable)?;
        let slot = SharedSlot { kind, number };
        match self.shared.get_mut(usize::from(place)) {
            Some(free) => *free = Some(slot),
            None => self.shared.push(Some(slot)),
        }
        Ok(place)
    }

    /// Closes a socket; ports that cannot be without it end.
    pub fn unshare(&mut self, place: u16) {
        let slot = self.shared.get_mut(usize::from(place)).and_then(Option::take);
        let Some(slot) = slot else { return };
        self.reactor.remove(slot.kind.fd());
        self.paused.retain(|&paused| paused != place);
        if let Shared::Datagram(socket) = slot.kind {
            for id in socket.members() {
                self.end(id, Gone::Closed);
            }
        }
    }

    pub fn shared_mut(&mut self, place: u16) -> Option<&mut Shared> {
        let slot = self.shared.get_mut(usize::from(place))?.as_mut()?;
        Some(&mut slot.kind)
    }

    /// Reads a socket that is ready.
    pub fn serve_shared(&mut self, place: u16, number: u32) {
        let slot = self.shared.get(usize::from(place)).and_then(Option::as_ref);
        match slot.filter(|slot| slot.number == number).map(|slot| &slot.kind) {
            None => {}
            Some(Shared::Stream(_)) => self.accept(place),
            Some(Shared::Datagram(_)) => self.serve_datagrams(place),
            Some(Shared::Udp(_)) => self.serve_udp(place),
        }
    }

    /// A port was attached: if it shares a socket, its packets are known from now on.
    pub fn join_shared(&mut self, id: PortId) -> io::Result<()> {
        let Some(slot) = self.slots.get(usize::from(id.0)).and_then(Option::as_ref) else {
            return Ok(());
        };
        if let Some((place, peer)) = slot.port.datagram_peer() {
            if let Some(Shared::Datagram(socket)) = self.shared_mut(place) {
                return socket.join(peer, id);
            }
            return Err(Errno::NOTCONN.into());
        }
        if slot.port.is_vxlan() {
            return self.join_vxlan(id);
        }
        Ok(())
    }

    /// A port was detached.
    pub fn leave_shared(&mut self, id: PortId) {
        for place in 0..self.shared.len() {
            let Ok(place) = u16::try_from(place) else { return };
            let is_empty = match self.shared_mut(place) {
                Some(Shared::Datagram(socket)) => {
                    socket.leave(id);
                    false
                }
                Some(Shared::Udp(socket)) => socket.leave(id),
                _ => false,
            };
            if is_empty {
                self.unshare(place);
            }
        }
    }
}
