//! One VXLAN remote as a port (RFC 7348).
//!
//! All segments and remotes of one local address and port share a socket. So the outer source port is
//! that local port for all flows: a hash of the flow would spread them over the links of a fabric,
//! but takes a socket for each source port, and a firewall or NAT between two sites wants one. What
//! comes may have any source port; its address must be the remote's.
//!
//! Over IPv4, datagrams that are longer than the underlay's MTU go as fragments; over IPv6 they do not
//! go (they count as too big): the underlay's MTU must be 70 bytes above that of the frames.

use super::port::{Cx, PortCounters};

use super::runner::Runner;
use super::serve::{CHUNK_LEN, FRAMES_MAX};
use super::shared::Shared;
use super::udp::{
    TRAIN_COUNT_MAX, TRAIN_LEN_MAX, UdpIo, UdpOwner, UdpSocket, count_unsent, frames, recv_train,
};
use super::vxlan_header::{HEADER_LEN, header};
use super::{clock, unfinished};
use adit_engine::{Endpoint, Engine, PortId};
use adit_packet::{Batch, Layer, PacketBuf, SuperPacket, finish_checksum};
use rustix::io::Errno;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

/// A remote of one segment.
pub(super) struct VxlanPort {
    local: SocketAddr,
    remote: SocketAddr,
    vni: u32,
    /// Once it is attached.
    io: Option<Arc<UdpIo>>,
    /// Datagrams longer than this do not go as a train: the underlay's MTU is shorter.
    train_stride_max: usize,
}

impl VxlanPort {
    pub(super) fn new(local: SocketAddr, remote: SocketAddr, vni: u32) -> Self {
        Self { local, remote, vni, io: None, train_stride_max: usize::MAX }
    }

    pub(super) fn send(&mut self, cx: &mut Cx<'_>, batch: &mut Batch) {
        if let Some(io) = self.io.clone() {
            let mut train = Train::new(self, &io, &mut cx.kit.scratch, cx.counters);
            for packet in batch.iter_mut() {
                push_packet(&mut train, &mut cx.kit.headers, packet);
            }
            train.send();
        }
        batch.give_all(cx.pool);
    }
}

/// Appends what a packet stands for.
fn push_packet(train: &mut Train<'_>, headers: &mut [u8], packet: &mut PacketBuf) {
    if !packet.meta.vnet.is_super_packet() {
        if finish_checksum(packet).is_err() {
            train.counters.refused += 1;
            return;
        }
        return train.push(packet.bytes(), &[]);
    }
    let whole = SuperPacket::parse(packet.bytes(), &packet.meta.vnet, Layer::Frame).ok();
    let Some(whole) = whole else {
        train.counters.refused += 1;
        return;
    };
    let Some(headers) = headers.get_mut(..whole.header_len()) else {
        train.counters.refused += 1;
        return;
    };
    for segment in whole.segments() {
        if segment.write_headers(headers).is_ok() {
            train.push(headers, segment.payload());
        }
    }
}

/// Datagrams of one length, of which the last may be shorter, that go with one call.
struct Train<'a> {
    port: &'a mut VxlanPort,
    io: &'a UdpIo,
    counters: &'a mut PortCounters,
    header: [u8; HEADER_LEN],
    bytes: &'a mut [u8],
    len: usize,
    stride: usize,
    count: usize,
}

impl<'a> Train<'a> {
    fn new(
        port: &'a mut VxlanPort,
        io: &'a UdpIo,
        bytes: &'a mut [u8],
        counters: &'a mut PortCounters,
    ) -> Self {
        let header = header(port.vni);
        Self { port, io, counters, header, bytes, len: 0, stride: 0, count: 0 }
    }

    fn push(&mut self, head: &[u8], tail: &[u8]) {
        let total = HEADER_LEN + head.len() + tail.len();
        if total > TRAIN_LEN_MAX {
            self.counters.too_big += 1;
            return;
        }
        // A shorter one before it was the last.
        let is_closed = self.len < self.stride * self.count;
        let is_full = self.count >= TRAIN_COUNT_MAX || self.len + total > TRAIN_LEN_MAX;
        if self.count > 0 && (is_closed || is_full || total > self.stride) {
            self.send();
        }
        if self.count == 0 {
            self.stride = total;
        }
        for part in [&self.header, head, tail] {
            if let Some(room) = self.bytes.get_mut(self.len..self.len + part.len()) {
                room.copy_from_slice(part);
            }
            self.len += part.len();
        }
        self.count += 1;
    }

    fn send(&mut self) {
        let (len, stride, count) = (self.len, self.stride, self.count);
        (self.len, self.count) = (0, 0);
        if count == 0 {
            return;
        }
        let bytes = self.bytes.get(..len).unwrap_or_default();
        if count > 1 && stride <= self.port.train_stride_max {
            match self.io.send(self.port.remote, bytes, stride) {
                Ok(()) => return counted(self.counters, count, len),
                // One by one they may go as fragments.
                Err(error) if is_too_long(&error) => self.port.train_stride_max = stride - 1,
                Err(error) => {
                    let count = u64::try_from(count).unwrap_or(0);
                    return count_unsent(self.counters, count, &error);
                }
            }
        }
        for datagram in bytes.chunks(stride.max(1)) {
            match self.io.send(self.port.remote, datagram, datagram.len()) {
                Ok(()) => counted(self.counters, 1, datagram.len()),
                Err(error) => count_unsent(self.counters, 1, &error),
            }
        }
    }
}

fn counted(counters: &mut PortCounters, count: usize, len: usize) {
    counters.sent += u64::try_from(count).unwrap_or(0);
    counters.sent_bytes += u64::try_from(len - count * HEADER_LEN).unwrap_or(0);
}

fn is_too_long(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::MSGSIZE | Errno::INVAL | Errno::IO))
}

impl<E: Engine> Runner<E> {
    /// Sends and receives the datagrams of the engine's own peers by a socket: those of its family,
    /// and of both if it is a dual one and the only one.
    ///
    /// # Errors
    /// Those of setsockopt(2) and epoll.
    pub(crate) fn attach_udp(&mut self, socket: std::net::UdpSocket) -> io::Result<()> {
        let is_ipv4 = socket.local_addr()?.is_ipv4();
        let io = Arc::new(UdpIo::new(socket)?);
        let counters = PortCounters::default();
        let owner = UdpOwner::Peers { is_ipv4, counters, spare: None };
        self.share(Shared::Udp(UdpSocket { io, owner, refused: 0 })).map(|_| ())
    }

    /// Closes the sockets of the engine's own peers.
    pub(crate) fn detach_udp(&mut self) {
        for place in 0..self.shared.len() {
            let Ok(place) = u16::try_from(place) else { return };
            let Some(Shared::Udp(socket)) = self.shared_mut(place) else { continue };
            if let UdpOwner::Peers { spare, .. } = &mut socket.owner {
                if let Some(spare) = spare.take() {
                    self.out.pool().give(spare);
                }
                self.unshare(place);
            }
        }
    }

    /// What went through the sockets of the engine's own peers since they were attached.
    pub(crate) fn udp_counters(&self) -> PortCounters {
        let mut sum = PortCounters::default();
        for slot in self.shared.iter().flatten() {
            if let Shared::Udp(UdpSocket { owner: UdpOwner::Peers { counters, .. }, .. }) =
                &slot.kind
            {
                sum.add(counters);
            }
        }
        sum
    }

    /// Sends `self.batch` to one of the engine's peers.
    pub(super) fn send_to_peer(&mut self, to: SocketAddr) {
        let mut sockets =
            self.shared.iter_mut().flatten().filter_map(|slot| match &mut slot.kind {
                Shared::Udp(UdpSocket {
                    io,
                    owner: UdpOwner::Peers { is_ipv4, counters, .. },
                    ..
                }) => Some((*is_ipv4, io, counters)),
                _ => None,
            });
        // One for IPv6 may be a dual one.
        let found = sockets.find(|(is_ipv4, ..)| *is_ipv4 == to.is_ipv4() || !is_ipv4);
        let Some((is_ipv4, io, counters)) = found else {
            self.astray += u64::try_from(self.batch.len()).unwrap_or(0);
            return self.batch.give_all(self.out.pool());
        };
        let to = match to {
            SocketAddr::V4(v4) if !is_ipv4 => {
                SocketAddr::new(v4.ip().to_ipv6_mapped().into(), v4.port())
            }
            _ => to,
        };
        for packet in self.batch.drain(..) {
            let stride = match usize::from(packet.meta.vnet.gso_size) {
                size if packet.meta.vnet.is_super_packet() && size > 0 => size,
                _ => packet.len(),
            };
            match io.send(to, packet.bytes(), stride) {
                Ok(()) => {
                    counters.sent += 1;
                    counters.sent_bytes += u64::try_from(packet.len()).unwrap_or(0);
                }
                Err(error) => count_unsent(counters, 1, &error),
            }
            self.out.pool().give(packet);
        }
    }

    /// The socket of a VXLAN port that was attached: one that is there, or a new one.
    pub(super) fn join_vxlan(&mut self, id: PortId) -> io::Result<()> {
        let Some(port) = self.slots.get_mut(usize::from(id.0)).and_then(Option::as_mut) else {
            return Ok(());
        };
        let Some(port) = port.port.vxlan_mut() else { return Ok(()) };
        let (wanted, key) = (port.local, (port.vni, port.remote.ip(), id));
        let mut there = self.shared.iter_mut().flatten().filter_map(|slot| match &mut slot.kind {
            Shared::Udp(UdpSocket {
                io, owner: UdpOwner::Vxlan { local, members, .. }, ..
            }) => (*local == wanted).then_some((io, members)),
            _ => None,
        });
        if let Some((io, members)) = there.next() {
            if members.iter().any(|&(vni, ip, _)| (vni, ip) == (key.0, key.1)) {
                return Err(Errno::EXIST.into());
            }
            members.push(key);
            port.io = Some(Arc::clone(io));
            return Ok(());
        }
        let io = Arc::new(UdpIo::bind_vxlan(wanted)?);
        port.io = Some(Arc::clone(&io));
        let owner = UdpOwner::Vxlan { local: wanted, members: vec![key], last: 0 };
        self.share(Shared::Udp(UdpSocket { io, owner, refused: 0 })).map(|_| ())
    }

    /// Reads a UDP socket until it has nothing more, or has had its share.
    pub(super) fn serve_udp(&mut self, place: u16) {
        let mut chunk = 0;
        for _ in 0..FRAMES_MAX {
            let received = match self.shared_mut(place) {
                Some(Shared::Udp(UdpSocket { owner: UdpOwner::Vxlan { .. }, .. })) => {
                    self.recv_vxlan(place)
                }
                Some(Shared::Udp(_)) => self.recv_peers(place),
                _ => return,
            };
            match received {
                Ok(len) => chunk += len,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                // An error that some datagram of ours met on its way: the next one may not.
                Err(_) => {}
            }
            if chunk >= CHUNK_LEN {
                self.flush();
                self.now = clock::now();
                chunk = 0;
            }
        }
        self.flush();
    }

    /// Receives frames in VXLAN; how many bytes.
    fn recv_vxlan(&mut self, place: u16) -> io::Result<usize> {
        let Some(Shared::Udp(socket)) = self.shared_mut(place) else { return Ok(0) };
        let io = Arc::clone(&socket.io);
        // Frames are handed on while they lie in it.
        let mut bytes = std::mem::take(&mut self.kit.datagrams);
        let received = io.recv(&mut bytes);
        if let Ok((from, len, stride)) = received {
            if len == 0 {
                self.take_vxlan(place, from, None);
            }
            for frame in frames(bytes.get(..len).unwrap_or_default(), stride) {
                self.take_vxlan(place, from, frame);
            }
        }
        self.kit.datagrams = bytes;
        received.map(|(_, len, _)| len)
    }

    fn take_vxlan(&mut self, place: u16, from: SocketAddr, frame: Option<(u32, &[u8])>) {
        let slot = self.shared.get_mut(usize::from(place)).and_then(Option::as_mut);
        let Some(Shared::Udp(socket)) = slot.map(|slot| &mut slot.kind) else { return };
        let port = frame.and_then(|(vni, frame)| Some((socket.find(vni, from.ip())?, frame)));
        let Some((id, frame)) = port else {
            socket.refused += 1;
            return;
        };
        let Some(mut packet) = self.out.pool().take(frame.len()) else {
            if let Some(Some(slot)) = self.slots.get_mut(usize::from(id.0)) {
                slot.counters.no_buffer += 1;
            }
            return;
        };
        // It was taken with room for it.
        let _ = packet.extend(frame);
        packet.meta.vnet = unfinished::offloads(frame);
        self.take_in(id, packet);
    }

    /// Receives from the engine's own peers; how many bytes.
    fn recv_peers(&mut self, place: u16) -> io::Result<usize> {
        let slot = self.shared.get_mut(usize::from(place)).and_then(Option::as_mut);
        let Some(Shared::Udp(socket)) = slot.map(|slot| &mut slot.kind) else { return Ok(0) };
        let UdpOwner::Peers { counters, spare, .. } = &mut socket.owner else { return Ok(0) };
        match recv_train(&socket.io, spare, self.out.pool()) {
            Ok((from, packet)) => {
                let len = packet.len();
                counters.received += 1;
                counters.received_bytes += u64::try_from(len).unwrap_or(0);
                self.engine.handle(self.now, Endpoint::Udp(from), packet, &mut self.out);
                Ok(len)
            }
            Err(error) if Errno::from_io_error(&error) == Some(Errno::NOBUFS) => {
                // What stays unread would be ready for ever.
                let (_, len, _) = socket.io.recv(&mut self.kit.scratch)?;
                counters.no_buffer += 1;
                Ok(len)
            }
            Err(error) => Err(error),
        }
    }
}
