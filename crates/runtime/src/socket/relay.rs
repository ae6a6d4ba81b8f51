//! Connections and datagrams that come to sockets of another network namespace, passed on to addresses of this one:
//! how programs there reach ports of this host's loopback at their own.
//!
//! ```text
//! listener  -- accept --> connection  -- Joint --  connection to the address
//! socket    -- each sender has a socket of its own -->             the address
//! ```

use crate::socket::splice::{Joint, Listener, Pipes, Turn};
use crate::wake::reactor::{Interest, Reactor, Ready, Source};
use adit_packet::Instant;
use rustix::io::Errno;
use socket2::{Domain, Socket, Type};
use std::collections::HashMap;
use std::fmt;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// What one socket may do before the others have their turn.
const SHARE: usize = 64;

/// The most senders of datagrams; beyond them the one that was silent for the longest time is forgotten.
const SENDERS_MAX: usize = 256;

/// The longest datagram.
const DATAGRAM_LEN_MAX: usize = 1 << 16;

/// Passes what comes to some sockets on to addresses, in the loop of its owner: call [`Self::turn`] when it is readable.
pub struct Relay {
    reactor: Reactor,
    listeners: Vec<(Listener, SocketAddr)>,
    sockets: Vec<(UdpSocket, SocketAddr)>,
    slots: Vec<Slot>,
    free: Vec<u32>,
    /// Slots of senders, by the socket that they send to and their address.
    senders: HashMap<(u32, SocketAddr), u32>,
    pipes: Pipes,
    buffer: Vec<u8>,
    /// Is closed to refuse a connection where no other descriptor is left.
    spare: Option<OwnedFd>,
    lost: u64,
}

/// What is passed on. The number tells it from what had the slot before.
struct Slot {
    number: u32,
    what: What,
}

enum What {
    Nothing,
    Joint(Box<Joint>),
    Sender { of: u32, from: SocketAddr, socket: UdpSocket, used: Instant },
}

impl Relay {
    /// Passes nothing on yet.
    ///
    /// # Errors
    /// EMFILE.
    pub fn new() -> io::Result<Self> {
        let reactor = Reactor::new()?;
        let spare = Some(reactor.as_fd().try_clone_to_owned()?);
        Ok(Self {
            reactor,
            listeners: Vec::new(),
            sockets: Vec::new(),
            slots: Vec::new(),
            free: Vec::new(),
            senders: HashMap::new(),
            pipes: Pipes::default(),
            buffer: vec![0; DATAGRAM_LEN_MAX],
            spare,
            lost: 0,
        })
    }

    /// Passes the connections of a listening socket on to an address.
    ///
    /// # Errors
    /// EINVAL: it is no socket; EMFILE.
    pub fn add_listener(&mut self, listener: OwnedFd, to: SocketAddr) -> io::Result<()> {
        let listener = Listener::new(listener)?;
        let index = u32::try_from(self.listeners.len()).unwrap_or(u32::MAX);
        self.reactor.add(&listener, Source::Hub(index, 0), Interest::READ)?;
        self.listeners.push((listener, to));
        Ok(())
    }

    /// Passes the datagrams of a socket on to an address, and the answers back.
    ///
    /// # Errors
    /// As [`Self::add_listener`].
    pub fn add_socket(&mut self, socket: OwnedFd, to: SocketAddr) -> io::Result<()> {
        let socket = UdpSocket::from(socket);
        socket.set_nonblocking(true)?;
        let index = u32::try_from(self.sockets.len()).unwrap_or(u32::MAX);
        self.reactor.add(&socket, Source::Peers(index, 0), Interest::READ)?;
        self.sockets.push((socket, to));
        Ok(())
    }

    /// How many datagrams were lost: a socket had no room, or there was no descriptor.
    #[must_use]
    pub const fn lost(&self) -> u64 {
        self.lost
    }

    /// Passes on what has come.
    ///
    /// # Errors
    /// Those of epoll.
    pub fn turn(&mut self, now: Instant) -> io::Result<()> {
        self.reactor.wait(true)?;
        while let Some(ready) = self.reactor.next() {
            match ready.source {
                Source::Hub(index, _) => self.accept(index, now),
                Source::Peers(index, _) => self.receive(index, now),
                Source::Flow(index, number) => self.ready(index, number, ready, now),
                _ => {}
            }
        }
        Ok(())
    }

    fn accept(&mut self, index: u32, now: Instant) {
        for _ in 0..SHARE {
            let Some((listener, to)) = place(index).and_then(|at| self.listeners.get(at)) else {
                return;
            };
            let to = *to;
            match listener.accept() {
                Ok(Some((inside, _))) => {
                    // What cannot connect is closed, which is a RST.
                    if let Ok(outside) = connect(to) {
                        let joint = Joint::new(outside, inside, now);
                        self.add(What::Joint(Box::new(joint)));
                    }
                }
                Ok(None) => return,
                // Left in the backlog, it would keep the listener readable forever.
                Err(_) => {
                    self.spare = None;
                    drop(listener.accept());
                    self.spare = self.reactor.as_fd().try_clone_to_owned().ok();
                    return;
                }
            }
        }
    }

    /// Takes datagrams of the other namespace.
    fn receive(&mut self, index: u32, now: Instant) {
        for _ in 0..SHARE {
            let Some((socket, to)) = place(index).and_then(|at| self.sockets.get(at)) else {
                return;
            };
            let to = *to;
            let (len, from) = match socket.recv_from(&mut self.buffer) {
                Ok(received) => received,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                // An answer met no socket.
                Err(_) => continue,
            };
            let slot = self.senders.get(&(index, from)).copied();
            let slot = slot.or_else(|| self.add_sender(index, from, to, now));
            let what = slot.and_then(place).and_then(|at| self.slots.get_mut(at));
            let sent = match what.map(|slot| &mut slot.what) {
                Some(What::Sender { socket, used, .. }) => {
                    *used = now;
                    socket.send(self.buffer.get(..len).unwrap_or_default()).is_ok()
                }
                _ => false,
            };
            self.lost += u64::from(!sent);
        }
    }

    fn add_sender(
        &mut self,
        of: u32,
        from: SocketAddr,
        to: SocketAddr,
        now: Instant,
    ) -> Option<u32> {
        if self.senders.len() >= SENDERS_MAX {
            let used = |slot: &Slot| match slot.what {
                What::Sender { used, .. } => Some(used),
                _ => None,
            };
            let all = self.slots.iter().zip(0..).filter_map(|(slot, at)| Some((used(slot)?, at)));
            let (_, oldest) = all.min()?;
            self.remove(oldest);
        }
        let socket = UdpSocket::bind(SocketAddr::new(any_of(to), 0)).ok()?;
        socket.connect(to).ok()?;
        socket.set_nonblocking(true).ok()?;
        let slot = self.add(What::Sender { of, from, socket, used: now })?;
        self.senders.insert((of, from), slot);
        Some(slot)
    }

    /// A connection, or an answer to a sender.
    fn ready(&mut self, index: u32, number: u32, ready: Ready, now: Instant) {
        let slot = place(index).and_then(|at| self.slots.get_mut(at));
        let Some(slot) = slot.filter(|slot| slot.number == number) else { return };
        match &mut slot.what {
            What::Nothing => {}
            What::Joint(joint) => {
                joint.note(ready);
                let has_ended = joint.run(&mut self.pipes, now) == Turn::Ended;
                let source = Source::Flow(index, number);
                // What is ready is reported once more.
                let is_lost = joint.has_more()
                    && [joint.fd(), joint.inside()]
                        .into_iter()
                        .any(|fd| self.reactor.renew_edge(fd, source).is_err());
                if has_ended || is_lost {
                    self.remove(index);
                }
            }
            What::Sender { of, from, socket, used } => {
                *used = now;
                let inside = place(*of).and_then(|at| self.sockets.get(at));
                for _ in 0..SHARE {
                    match socket.recv(&mut self.buffer) {
                        Ok(len) => {
                            let answer = self.buffer.get(..len).unwrap_or_default();
                            let sent =
                                inside.is_some_and(|(to, _)| to.send_to(answer, *from).is_ok());
                            self.lost += u64::from(!sent);
                        }
                        Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                        // Nobody listens there.
                        Err(_) => {}
                    }
                }
            }
        }
    }

    /// Puts it into a slot, and waits for it.
    fn add(&mut self, what: What) -> Option<u32> {
        let index = match self.free.pop() {
            Some(index) => index,
            None => {
                let index =
                    u32::try_from(self.slots.len()).ok().filter(|index| *index < 1 << 24)?;
                self.slots.push(Slot { number: 0, what: What::Nothing });
                index
            }
        };
        let slot = self.slots.get_mut(place(index)?)?;
        slot.what = what;
        let source = Source::Flow(index, slot.number);
        let is_added = match &slot.what {
            What::Joint(joint) => {
                let both = [joint.inside(), joint.fd()];
                both.into_iter().try_for_each(|fd| self.reactor.add_edge(fd, source))
            }
            What::Sender { socket, .. } => self.reactor.add(socket, source, Interest::READ),
            What::Nothing => Ok(()),
        };
        if is_added.is_err() {
            self.remove(index);
            return None;
        }
        Some(index)
    }

    /// Ends what is in a slot.
    fn remove(&mut self, index: u32) {
        let Some(slot) = place(index).and_then(|at| self.slots.get_mut(at)) else { return };
        slot.number = slot.number.wrapping_add(1);
        match std::mem::replace(&mut slot.what, What::Nothing) {
            What::Joint(mut joint) => joint.clear(&mut self.pipes),
            What::Sender { of, from, .. } => drop(self.senders.remove(&(of, from))),
            What::Nothing => {}
        }
        self.free.push(index);
    }
}

impl AsFd for Relay {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.reactor.as_fd()
    }
}

impl fmt::Debug for Relay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Relay").field("reactor", &self.reactor).finish_non_exhaustive()
    }
}

/// Begins to connect; a failure is seen later, too.
fn connect(to: SocketAddr) -> io::Result<Socket> {
    let kind = Type::STREAM.nonblocking().cloexec();
    let socket = Socket::new(Domain::for_address(to), kind, None)?;
    socket.set_tcp_nodelay(true)?;
    socket.set_out_of_band_inline(true)?;
    match socket.connect(&to.into()) {
        Err(error) if error.raw_os_error() != Some(Errno::INPROGRESS.raw_os_error()) => Err(error),
        _ => Ok(socket),
    }
}

/// Any local address of the family of another one.
const fn any_of(to: SocketAddr) -> IpAddr {
    match to {
        SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    }
}

fn place(index: u32) -> Option<usize> {
    usize::try_from(index).ok()
}

#[cfg(test)]
mod tests;
