//! One VXLAN remote as a port (RFC 7348).
//!
//! All segments and remotes of one local address and port share a socket. So the outer source port is
//! that local port for all flows: a hash of the flow would spread them over the links of a fabric,
//! but takes a socket for each source port, and a firewall or NAT between two sites wants one. What
//! comes may have any source port; its address must be the remote's.
//!
//! Datagrams that are longer than the underlay's MTU go as fragments, with IPv4 and IPv6 alike. That
//! costs: where it can be, the underlay's MTU is 50 bytes (IPv6: 70) above that of the frames.

use crate::format::unfinished;
use crate::format::vxlan_header::{HEADER_LEN, header};
use crate::port::{Cx, PortCounters};
use crate::runner::Runner;
use crate::runner::serve::{CHUNK_LEN, FRAMES_MAX};
use crate::socket::Shared;
use crate::socket::udp::{TRAIN_COUNT_MAX, TRAIN_LEN_MAX, UdpIo, UdpSocket, count_unsent, frames};
use adit_engine::{Engine, PortId};
use adit_packet::{Batch, Layer, PacketBuf, SuperPacket, finish_checksum};
use rustix::io::Errno;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

/// A remote of one segment.
pub struct VxlanPort {
    local: SocketAddr,
    remote: SocketAddr,
    vni: u32,
    /// Once it is attached.
    io: Option<Arc<UdpIo>>,
    /// Datagrams longer than this do not go as a train: the underlay's MTU is shorter.
    train_stride_max: usize,
}

impl VxlanPort {
    pub fn new(local: SocketAddr, remote: SocketAddr, vni: u32) -> Self {
        Self { local, remote, vni, io: None, train_stride_max: usize::MAX }
    }

    pub fn send(&mut self, cx: &mut Cx<'_>, batch: &mut Batch) {
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
    /// The socket of a VXLAN port that was attached: one that is there, or a new one.
    pub fn join_vxlan(&mut self, id: PortId) -> io::Result<()> {
        let Some(port) = self.slots.get_mut(usize::from(id.0)).and_then(Option::as_mut) else {
            return Ok(());
        };
        let Some(port) = port.port.vxlan_mut() else { return Ok(()) };
        let (wanted, key) = (port.local, (port.vni, port.remote.ip(), id));
        let mut there = self.shared.iter_mut().flatten().filter_map(|slot| match &mut slot.kind {
            Shared::Udp(UdpSocket { io, local, members, .. }) => {
                (*local == wanted).then_some((io, members))
            }
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
        let socket = UdpSocket { io, local: wanted, members: vec![key], last: 0, refused: 0 };
        self.share(Shared::Udp(socket)).map(|_| ())
    }

    /// Reads a UDP socket until it has nothing more, or has had its share.
    pub fn serve_udp(&mut self, place: u16) {
        let mut chunk = 0;
        for _ in 0..FRAMES_MAX {
            match self.recv_vxlan(place) {
                Ok(len) => chunk += len,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                // An error that some datagram of ours met on its way: the next one may not.
                Err(_) => {}
            }
            if chunk >= CHUNK_LEN {
                self.flush();
                self.read_clock();
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
}
