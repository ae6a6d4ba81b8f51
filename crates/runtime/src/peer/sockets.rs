//! The UDP sockets behind `Endpoint::Udp`.
//!
//! A packet is one datagram or a train of datagrams of equal length, except for the last: `UDP_SEGMENT`
//! when sending, `UDP_GRO` when receiving. If the kernel or the network card refuses a train, its
//! datagrams are sent one by one, and that is counted.

mod adopt;

use crate::peer::counters::PeerCounters;
use crate::peer::options::{LATE, LAW, RECEIVE_LEN, SEND_LEN, set_fragments, state_of};
use crate::peer::sources;
use crate::peer::sources::Sources;
use crate::socket::udp::TRAIN_LEN_MAX;
use crate::wake::backoff::Backoff;
use crate::wake::reactor::{Interest, Reactor, Source};
use adit_device::broker::InetSocket;
use adit_device::rights::{open_inet, set_mark};
use adit_device::{DATAGRAMS_MAX, dropped_datagrams, recv_datagrams};
use adit_engine::Sojourn;
use adit_packet::{Batch, Ecn, Gso, Instant, PacketBuf, Pool, PoolConfig};
use quinn_udp::{EcnCodepoint, Transmit, UdpSocketState};
use rustix::io::Errno;
use std::collections::VecDeque;
use std::io::{self, IoSliceMut};
use std::iter::Peekable;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::{SystemTime, UNIX_EPOCH};

/// The system calls of open sockets; quinn-udp sets their options.
pub(crate) const SYSCALLS: &[&str] =
    &["getsockname", "getsockopt", "recvmmsg", "recvmsg", "sendmsg", "setsockopt"];

/// The maximum number of trains that wait for room in a socket: about the default size of its buffer.
const WAITING_MAX: usize = 128;

/// How many calls in a row may receive nothing but datagrams that have waited too long.
const READS_MAX: usize = 64;

/// How often to try another port when one is free for one family only.
const BIND_ATTEMPTS_MAX: usize = 16;

/// Sockets for IPv4 and IPv6 with the same port. One of them may be missing on this machine.
#[derive(Debug)]
pub struct PeerSockets {
    sockets: [Option<PeerSocket>; 2],
    port: u16,
    /// Distinguishes their events from those of earlier sockets.
    number: u32,
}

/// The options of the sockets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PeerOptions {
    /// The local port; 0 lets the kernel choose.
    pub port: u16,
    /// The mark of sent packets (`SO_MARK`); 0 for none.
    pub mark: u32,
    /// The only local address to send from and receive on.
    pub source: Option<IpAddr>,
}

/// A send that exceeded the path MTU, for the owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooBig {
    pub to: SocketAddr,
    /// The longest UDP payload for this path, as far as the kernel knows.
    pub len_max: usize,
}

impl PeerSockets {
    /// Opens the sockets in the namespace of the calling thread.
    ///
    /// # Errors
    /// EADDRINUSE: another program has the port; EADDRNOTAVAIL: `source` is no address of this
    /// machine; EPERM: a mark needs `CAP_NET_ADMIN`.
    pub fn open(options: &PeerOptions) -> io::Result<Self> {
        let mut attempt = 1;
        loop {
            match Self::open_pair(options) {
                Err(error)
                    if error.kind() == io::ErrorKind::AddrInUse
                        && options.port == 0
                        && attempt < BIND_ATTEMPTS_MAX =>
                {
                    attempt += 1;
                }
                result => return result,
            }
        }
    }

    fn open_pair(options: &PeerOptions) -> io::Result<Self> {
        let wants = |is_v4: bool| options.source.is_none_or(|source| source.is_ipv4() == is_v4);
        let mut port = options.port;
        let mut sockets = [None, None];
        for (place, any) in sockets.iter_mut().zip(ANY) {
            if !wants(any.is_ipv4()) {
                continue;
            }
            let at = SocketAddr::new(options.source.unwrap_or(any), port);
            match PeerSocket::open(at, options.mark) {
                Ok(socket) => {
                    port = socket.socket.local_addr()?.port();
                    *place = Some(socket);
                }
                // The machine does not have this family, or it is disabled.
                Err(error) if options.source.is_none() && is_without_family(&error) => {}
                Err(error) => return Err(error),
            }
        }
        if sockets.iter().all(Option::is_none) {
            return Err(Errno::AFNOSUPPORT.into());
        }
        Ok(Self { sockets, port, number: 0 })
    }

    /// Returns the local port of both sockets.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Returns the counters of both sockets together.
    pub fn counters(&self) -> PeerCounters {
        let mut sum = PeerCounters::default();
        for PeerSocket { counters, socket, .. } in self.sockets.iter().flatten() {
            sum.add(counters);
            // The kernel has counted since 4.12.
            sum.overflow += u64::from(dropped_datagrams(socket).unwrap_or(0));
        }
        sum
    }

    /// Sets the mark of packets sent from now on.
    ///
    /// # Errors
    /// EPERM without `CAP_NET_ADMIN`.
    pub fn set_mark(&mut self, mark: u32) -> io::Result<()> {
        self.sockets.iter_mut().flatten().try_for_each(|socket| {
            socket.mark = mark;
            set_mark(&socket.socket, mark)
        })
    }

    /// Waits for them from now on.
    pub(crate) fn register(&mut self, reactor: &Reactor, number: u32) -> io::Result<()> {
        self.number = number;
        for (place, socket) in self.each() {
            reactor.add(&socket.socket, source(place, number), Interest::READ)?;
        }
        Ok(())
    }

    /// No longer waits for them.
    pub(crate) fn unregister(&self, reactor: &Reactor) {
        self.each().for_each(|(_, socket)| reactor.remove(&socket.socket));
    }

    /// Returns the number that they were registered with.
    pub(crate) fn number(&self) -> u32 {
        self.number
    }

    fn each(&self) -> impl Iterator<Item = (usize, &PeerSocket)> {
        let places = self.sockets.iter().enumerate();
        places.filter_map(|(place, socket)| Some((place, socket.as_ref()?)))
    }

    /// Receives the next train from a socket.
    #[inline]
    pub(crate) fn recv(&mut self, place: usize, pool: &mut Pool, now: Instant) -> Received {
        self.get(place).map_or(Received::Nothing, |socket| socket.recv(pool, now))
    }

    /// Whether [`Self::recv`] has trains that the socket no longer reports.
    #[inline]
    pub(crate) fn has_received(&mut self, place: usize) -> bool {
        self.get(place).is_some_and(|socket| !socket.received.is_empty())
    }

    /// Learns from an authenticated message of a peer to a local address; `began`: it began an exchange.
    #[inline]
    pub(crate) fn heard(&mut self, from: SocketAddr, at: Option<IpAddr>, began: bool) {
        if let Some(socket) = self.get(Self::place_of(from)) {
            socket.heard(from, at, began);
        }
    }

    /// Forgets the local address that a peer was answered from.
    pub(crate) fn reroute(&mut self, peer: SocketAddr) {
        if let Some(socket) = self.get(Self::place_of(peer)) {
            socket.reroute(peer);
        }
    }

    /// Sends all of `batch` to a peer; packets without room in the socket wait here. Returns `false`, with
    /// `batch` unchanged, if there is no socket for this family.
    pub(crate) fn send(
        &mut self,
        to: SocketAddr,
        batch: &mut Batch,
        pool: &mut Pool,
        reactor: &Reactor,
    ) -> (bool, Option<TooBig>) {
        let place = Self::place_of(to);
        let Some(socket) = self.get(place) else { return (false, None) };
        let too_big = socket.send(to, batch, pool);
        self.settle(place, reactor);
        (true, too_big)
    }

    /// Whether packets wait for room in a socket.
    #[inline]
    pub(crate) fn is_full(&self) -> bool {
        self.sockets.iter().flatten().any(|socket| !socket.waiting.is_empty())
    }

    /// Sends the packets that wait for room in a socket.
    pub(crate) fn flush(&mut self, place: usize, pool: &mut Pool, reactor: &Reactor) {
        if let Some(socket) = self.get(place) {
            socket.flush(pool);
            self.settle(place, reactor);
        }
    }

    /// Handles a failed read: pauses the socket if its reads keep failing.
    pub(crate) fn failed(&mut self, place: usize, now: Instant, reactor: &Reactor) {
        if let Some(socket) = self.get(place) {
            socket.backoff.failed(now);
            self.settle(place, reactor);
        }
    }

    /// Returns when the next paused socket is read again.
    pub(crate) fn next_resume(&self) -> Option<Instant> {
        self.each().filter_map(|(_, socket)| socket.backoff.until()).min()
    }

    /// Resumes sockets whose pause is over.
    pub(crate) fn resume(&mut self, now: Instant, reactor: &Reactor) {
        for place in 0..self.sockets.len() {
            if self.get(place).is_some_and(|socket| socket.backoff.resume(now)) {
                self.settle(place, reactor);
            }
        }
    }

    /// Waits for what a socket must be waited for now.
    fn settle(&mut self, place: usize, reactor: &Reactor) {
        let number = self.number;
        let Some(socket) = self.get(place) else { return };
        let interest = Interest {
            readable: socket.backoff.until().is_none(),
            writable: !socket.waiting.is_empty(),
        };
        if interest != socket.interest {
            socket.interest = interest;
            // It is registered, and a change needs no memory.
            let _ = reactor.change(&socket.socket, source(place, number), interest);
        }
    }

    fn get(&mut self, place: usize) -> Option<&mut PeerSocket> {
        self.sockets.get_mut(place)?.as_mut()
    }

    /// Returns all buffers to the pool, before the drop.
    pub(crate) fn close(&mut self, pool: &mut Pool) {
        self.sockets.iter_mut().flatten().for_each(|socket| socket.close(pool));
    }

    /// Returns the index of the socket for the family of `to`.
    const fn place_of(to: SocketAddr) -> usize {
        if to.is_ipv4() { 0 } else { 1 }
    }
}

fn source(place: usize, number: u32) -> Source {
    Source::Peers(u32::try_from(place).unwrap_or(0), number)
}

/// The wildcard addresses, in the order of the sockets.
const ANY: [IpAddr; 2] = [IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::UNSPECIFIED)];

fn is_without_family(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::AFNOSUPPORT | Errno::ADDRNOTAVAIL))
}

/// One of the sockets.
#[derive(Debug)]
struct PeerSocket {
    socket: UdpSocket,
    state: UdpSocketState,
    /// Ready to be received into.
    buffers: Vec<PacketBuf>,
    /// Received trains that were not taken yet.
    received: VecDeque<Arrival>,
    /// For room in the socket.
    waiting: VecDeque<(SocketAddr, PacketBuf)>,
    /// Whether the last call received long trains: one at a time is then fastest.
    is_bulk: bool,
    /// What the reactor waits for on its descriptor.
    interest: Interest,
    backoff: Backoff,
    counters: PeerCounters,
    /// Whether what it receives has waited too long.
    sojourn: Sojourn,
    mark: u32,
    /// Whether the network may fragment what the socket sends now.
    fragments: bool,
    /// The source addresses of peers; `None` if the socket is bound to one address.
    sources: Option<Sources>,
}

/// What [`PeerSockets::recv`] found.
#[derive(Debug)]
pub(crate) enum Received {
    Train(Arrival),
    Nothing,
    /// Reading failed.
    Failed,
}

/// A received train.
#[derive(Debug)]
pub(crate) struct Arrival {
    pub from: SocketAddr,
    /// The local address that it was sent to.
    pub at: Option<IpAddr>,
    pub packet: PacketBuf,
}

impl PeerSocket {
    fn open(at: SocketAddr, mark: u32) -> io::Result<Self> {
        let (only_v6, buffers) = (true, Some((SEND_LEN, RECEIVE_LEN)));
        let socket = open_inet(&InetSocket { only_v6, mark, buffers, ..InetSocket::udp(at) })?;
        Self::of(socket.into(), mark)
    }

    /// A socket that is bound.
    fn of(socket: UdpSocket, mark: u32) -> io::Result<Self> {
        let at = socket.local_addr()?;
        let state = state_of(&socket, at.is_ipv4())?;
        Ok(Self {
            socket,
            state,
            buffers: Vec::with_capacity(DATAGRAMS_MAX),
            received: VecDeque::with_capacity(DATAGRAMS_MAX),
            waiting: VecDeque::with_capacity(WAITING_MAX),
            is_bulk: false,
            interest: Interest::READ,
            backoff: Backoff::default(),
            counters: PeerCounters::default(),
            sojourn: Sojourn::default(),
            mark,
            fragments: false,
            sources: at.ip().is_unspecified().then(Sources::default),
        })
    }

    /// Learns from an authenticated message of a peer to a local address.
    #[inline]
    fn heard(&mut self, from: SocketAddr, at: Option<IpAddr>, began: bool) {
        if let (Some(sources), Some(at)) = (&mut self.sources, at) {
            if began {
                sources.forget(from);
            }
            sources.heard(from, at, || sources::chosen(from, self.mark));
        }
    }

    /// Forgets the local address that a peer was answered from.
    fn reroute(&mut self, peer: SocketAddr) {
        if let Some(sources) = &mut self.sources {
            sources.forget(peer);
        }
    }

    /// Receives the next train, if there is one now.
    fn recv(&mut self, pool: &mut Pool, now: Instant) -> Received {
        for _ in 0..READS_MAX {
            if let Some(arrival) = self.received.pop_front() {
                return Received::Train(arrival);
            }
            if let Some(end) = self.read(pool, now) {
                return end;
            }
        }
        self.received.pop_front().map_or(Received::Nothing, Received::Train)
    }

    /// Reads trains; returns what ended the reading, if anything.
    fn read(&mut self, pool: &mut Pool, now: Instant) -> Option<Received> {
        while self.buffers.len() < DATAGRAMS_MAX {
            let Some(buffer) = pool.take_large() else { break };
            self.buffers.push(buffer);
        }
        if self.buffers.is_empty() {
            return Some(self.skip());
        }
        let wanted = if self.is_bulk { 1 } else { self.buffers.len() };
        let mut metas = [None; DATAGRAMS_MAX];
        let mut buffers = self.buffers.iter_mut();
        let mut slices: [IoSliceMut<'_>; DATAGRAMS_MAX] = std::array::from_fn(|_| {
            IoSliceMut::new(buffers.next().map(PacketBuf::spare_mut).unwrap_or_default())
        });
        let received = recv_datagrams(&self.socket, &mut slices[..wanted], |at, meta| {
            metas[at] = Some(meta);
        });
        match received {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.sojourn.rest();
                return Some(Received::Nothing);
            }
            // An ICMP error for a datagram sent before, e.g. port unreachable. It is reported once.
            Err(_) => return Some(Received::Failed),
        }
        self.backoff.succeeded();
        self.is_bulk = false;
        let clock = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let mut place = 0;
        for meta in metas.into_iter().flatten() {
            let waited = clock.saturating_sub(meta.time.unwrap_or(clock));
            let congested = self.sojourn.must_drop(now, waited, LAW);
            if self.sojourn.stands() && waited > LATE {
                self.counters.late += datagrams(meta.len, meta.stride);
                place += 1;
                continue;
            }
            let ecn = Ecn::from_bits(meta.traffic_class);
            let is_train = meta.len > meta.stride;
            self.is_bulk |= is_train;
            self.counters.received += 1;
            self.counters.received_datagrams += datagrams(meta.len, meta.stride);
            let copied =
                if is_train { None } else { copy(&mut self.buffers[place], meta.len, pool) };
            let mut packet = if let Some(packet) = copied {
                place += 1;
                packet
            } else {
                let mut packet = self.buffers.remove(place);
                // The kernel never writes more than the buffer holds.
                if packet.set_len(meta.len).is_err() {
                    pool.give(packet);
                    continue;
                }
                packet
            };
            (packet.meta.ecn, packet.meta.congested) = (ecn, congested);
            if is_train {
                packet.meta.vnet.gso = Gso::UdpL4;
                packet.meta.vnet.gso_size = u16::try_from(meta.stride).unwrap_or(u16::MAX);
            }
            self.received.push_back(Arrival { from: meta.from, at: meta.to, packet });
        }
        None
    }

    /// Reads and drops a train when there is no buffer: epoll reports unread data forever.
    #[cold]
    fn skip(&mut self) -> Received {
        for _ in 0..DATAGRAMS_MAX {
            if self.socket.recv_from(&mut [0]).is_ok() {
                self.counters.no_buffer += 1;
            }
        }
        Received::Nothing
    }

    /// Sends all of `batch` to a peer. Packets without room in the socket are queued; if the queue is full,
    /// they are dropped and counted.
    fn send(&mut self, to: SocketAddr, batch: &mut Batch, pool: &mut Pool) -> Option<TooBig> {
        let mut too_big = None;
        let mut packets = batch.drain(..).peekable();
        while let Some(first) = packets.next() {
            let packet = self.gather(first, &mut packets, pool);
            if self.waiting.is_empty() {
                match self.send_one(to, &packet) {
                    Sent::Wait => {}
                    Sent::Done => {
                        pool.give(packet);
                        continue;
                    }
                    Sent::TooBig(len_max) => {
                        too_big = Some(TooBig { to, len_max });
                        pool.give(packet);
                        continue;
                    }
                }
            }
            if self.waiting.len() >= WAITING_MAX {
                self.counters.queue_full += 1;
                pool.give(packet);
            } else {
                self.waiting.push_back((to, packet));
            }
        }
        too_big
    }

    /// Joins a datagram and those after it with the same length and ECN codepoint into a train: one system
    /// call and one pass through the kernel for all of them, for the price of a copy.
    fn gather(
        &self,
        first: PacketBuf,
        packets: &mut Peekable<impl Iterator<Item = PacketBuf>>,
        pool: &mut Pool,
    ) -> PacketBuf {
        let (len, ecn) = (first.len(), first.meta.ecn);
        let may_fragment = first.meta.may_fragment;
        let is_alike = |next: &PacketBuf| {
            next.len() == len
                && next.meta.ecn == ecn
                && next.meta.may_fragment == may_fragment
                && next.meta.vnet.gso == Gso::None
        };
        let count_max = self.state.max_gso_segments().min(TRAIN_LEN_MAX / len.max(1));
        if count_max < 2
            || first.meta.vnet.gso != Gso::None
            || !packets.peek().is_some_and(is_alike)
        {
            return first;
        }
        let Some(mut train) = pool.take(count_max * len) else { return first };
        train.meta = first.meta;
        (train.meta.vnet.gso, train.meta.vnet.gso_size) =
            (Gso::UdpL4, u16::try_from(len).unwrap_or(u16::MAX));
        // It has room for so many.
        let _ = train.extend(first.bytes());
        pool.give(first);
        for _ in 1..count_max {
            let Some(next) = packets.next_if(is_alike) else { break };
            let _ = train.extend(next.bytes());
            pool.give(next);
        }
        train
    }

    /// Sends the queued packets, now that there may be room.
    fn flush(&mut self, pool: &mut Pool) {
        while let Some((to, packet)) = self.waiting.pop_front() {
            if matches!(self.send_one(to, &packet), Sent::Wait) {
                self.waiting.push_front((to, packet));
                return;
            }
            pool.give(packet);
        }
    }

    /// Returns all buffers to the pool, before the drop.
    fn close(&mut self, pool: &mut Pool) {
        let received = self.received.drain(..).map(|arrival| arrival.packet);
        let waiting = self.waiting.drain(..).map(|(_, packet)| packet);
        received.chain(waiting).chain(self.buffers.drain(..)).for_each(|p| pool.give(p));
    }

    fn send_one(&mut self, to: SocketAddr, packet: &PacketBuf) -> Sent {
        let vnet = &packet.meta.vnet;
        let is_train = vnet.gso == Gso::UdpL4 && packet.len() > usize::from(vnet.gso_size);
        let stride = if is_train { usize::from(vnet.gso_size).max(1) } else { packet.len() };
        let may_fragment = packet.meta.may_fragment;
        self.allow_fragments(may_fragment, to.is_ipv4());
        if !is_train || self.state.max_gso_segments() > 1 {
            match self.transmit(to, packet.meta.ecn, packet.bytes(), is_train.then_some(stride)) {
                Ok(()) => {
                    self.counters.sent += 1;
                    self.counters.sent_datagrams += datagrams(packet.len(), stride);
                    return Sent::Done;
                }
                Err(Errno::AGAIN) => return Sent::Wait,
                // The kernel's errors for "trains are not supported": send one by one.
                Err(Errno::INVAL | Errno::IO) if is_train => {}
                Err(Errno::MSGSIZE) if is_train && may_fragment => {}
                Err(error) => return self.refused(to, error),
            }
        }
        self.counters.cut += 1;
        for datagram in packet.bytes().chunks(stride) {
            match self.transmit(to, packet.meta.ecn, datagram, None) {
                Ok(()) => self.counters.sent_datagrams += 1,
                // The length failed, not the train: try trains again.
                Err(Errno::MSGSIZE) => {
                    self.reset(to.is_ipv4());
                    return self.refused(to, Errno::MSGSIZE);
                }
                // A part was sent already: drop the rest, as a full link does.
                Err(Errno::AGAIN) => {
                    self.counters.queue_full += 1;
                    return Sent::Done;
                }
                Err(error) => return self.refused(to, error),
            }
        }
        if may_fragment {
            // The kernel does not fragment trains. Trains that need no fragments still work.
            self.reset(to.is_ipv4());
        }
        self.counters.sent += 1;
        Sent::Done
    }

    /// Whether the network may fragment what the socket sends from now on. The engine decides for each packet;
    /// the option is set when the decision changes.
    #[inline]
    fn allow_fragments(&mut self, on: bool, is_v4: bool) {
        if on != self.fragments && set_fragments(&self.socket, is_v4, on).is_ok() {
            self.fragments = on;
        }
    }

    /// Tries trains again.
    fn reset(&mut self, is_v4: bool) {
        if let Ok(state) = state_of(&self.socket, is_v4) {
            (self.state, self.fragments) = (state, false);
        }
    }

    fn transmit(
        &mut self,
        to: SocketAddr,
        ecn: Ecn,
        contents: &[u8],
        stride: Option<usize>,
    ) -> Result<(), Errno> {
        let src_ip = self.sources.as_ref().and_then(|sources| sources.of(to));
        let ecn = EcnCodepoint::from_bits(ecn.bits());
        let transmit = Transmit { destination: to, ecn, contents, segment_size: stride, src_ip };
        let send = |state: &UdpSocketState, transmit| {
            let sent = state.try_send((&self.socket).into(), transmit);
            sent.map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))
        };
        match (send(&self.state, &transmit), &mut self.sources) {
            // The source address is no longer local. EINVAL made `state` disable features.
            (Err(Errno::INVAL | Errno::NETUNREACH | Errno::HOSTUNREACH), Some(sources))
                if src_ip.is_some() =>
            {
                sources.forget(to);
                if let Ok(state) = state_of(&self.socket, to.is_ipv4()) {
                    (self.state, self.fragments) = (state, false);
                }
                send(&self.state, &Transmit { src_ip: None, ..transmit })
            }
            (sent, _) => sent,
        }
    }

    /// Counts an error of the network. It ends nothing: the next handshake or packet tries again.
    #[cold]
    fn refused(&mut self, to: SocketAddr, error: Errno) -> Sent {
        if error != Errno::MSGSIZE {
            self.counters.refused += 1;
            return Sent::Done;
        }
        self.counters.too_big += 1;
        let headers = if to.is_ipv4() { 20 + 8 } else { 40 + 8 };
        match sources::path_mtu(to) {
            Ok(mtu) => Sent::TooBig(usize::try_from(mtu).unwrap_or(0).saturating_sub(headers)),
            Err(_) => Sent::Done,
        }
    }
}

/// Copies a datagram into a small buffer if it fits. Most do, and the large buffer stays in the cache.
fn copy(from: &mut PacketBuf, len: usize, pool: &mut Pool) -> Option<PacketBuf> {
    if len > PoolConfig::SMALL_ROOM {
        return None;
    }
    let mut packet = pool.take_small()?;
    if packet.extend(from.spare_mut().get(..len)?).is_err() {
        pool.give(packet);
        return None;
    }
    Some(packet)
}

/// The result of sending one train.
enum Sent {
    /// Sent, or refused and counted.
    Done,
    /// The socket has no room now.
    Wait,
    /// Too big: the path takes this many bytes of UDP payload.
    TooBig(usize),
}

fn datagrams(len: usize, stride: usize) -> u64 {
    u64::try_from(len.div_ceil(stride.max(1))).unwrap_or(0)
}

#[cfg(test)]
mod tests;
