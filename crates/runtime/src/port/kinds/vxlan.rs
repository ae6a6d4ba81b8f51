//! `vxlan:IP`: a VXLAN remote as a port (RFC 7348).
//!
//! All segments and remotes of one local address and port share a socket. So the outer source port is
//! that local port for all flows: a hash of the flow would spread them over the links of a fabric,
//! but takes a socket for each source port, and a firewall or NAT between two sites wants one. What
//! comes may have any source port; its address must be the remote's.
//!
//! Datagrams that are longer than the underlay's MTU go as fragments, with IPv4 and IPv6 alike. That
//! costs: where it can be, the underlay's MTU is 50 bytes (IPv6: 70) above that of the frames.

use crate::format::unfinished;
use crate::format::vxlan_header::{self, HEADER_LEN, header};
use crate::port::kind::{Argument, Key, Kind, Opened, Parsed, PortOptions};
use crate::port::{Arrivals, Cx, Gone, Hub, HubCx, HubRecv, Port, PortCounters, Recv};
use crate::socket::udp::{TRAIN_COUNT_MAX, TRAIN_LEN_MAX, UdpIo};
use crate::text::words::{SpecError, Words, parsed};
use adit_engine::PortId;
use adit_packet::{Batch, Layer, PacketBuf, Pool, SuperPacket, finish_checksum};
use rustix::io::Errno;
use std::any::Any;
use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

/// `vxlan:IP`: RFC 7348 over UDP.
pub static VXLAN: Kind = Kind {
    prefix: "vxlan",
    argument: "IP[+IP]",
    help: "VXLAN, RFC 7348",
    keys: &[
        Key::new("vni", "N", "the segment, below 16777216"),
        Key::new("port", "PORT", "the UDP port at both ends"),
        Key::new("local", "IP", "the local address"),
    ],
    parse,
};

/// What `vxlan:` asks for: a segment with some remotes, which make up a group: a port each, and none
/// forwards to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VxlanSpec {
    /// The other tunnel endpoints, at least one.
    pub remotes: Vec<IpAddr>,
    /// The segment, below 2^24.
    pub vni: u32,
    /// The UDP port at both ends.
    pub port: u16,
    /// Our address; any without it.
    pub local: Option<IpAddr>,
}

impl VxlanSpec {
    /// The port that IANA gave it.
    pub const PORT: u16 = 4789;
    /// More is a fabric, which wants a control plane rather than a flood list.
    pub const REMOTES_MAX: usize = 64;
}

fn parse(argument: Argument<'_>, words: &mut Words) -> Parsed {
    let Argument { at, text: remotes } = argument;
    let mut list: Vec<IpAddr> = Vec::new();
    let mut offset = at;
    for text in remotes.split('+') {
        // As in a URL: brackets around an IPv6 address are no part of it.
        let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
        let remote = parsed::<IpAddr>(offset, "an IP address", bare)?.to_canonical();
        if list.contains(&remote) {
            return Err(SpecError::new(offset, format!("'{text}' is given twice")));
        }
        offset += text.len() + 1;
        list.push(remote);
    }
    if list.len() > VxlanSpec::REMOTES_MAX {
        let max = VxlanSpec::REMOTES_MAX;
        return Err(SpecError::new(at, format!("too many remotes: the maximum is {max}")));
    }
    let local = words.take("local")?;
    let local = local.map(|(at, text)| Ok((at, parsed::<IpAddr>(at, "an IP address", &text)?)));
    let local = local.transpose()?;
    let families = list.iter().chain(local.as_ref().map(|(_, ip)| ip)).map(IpAddr::is_ipv4);
    if families.clone().any(|v4| v4) && families.clone().any(|v4| !v4) {
        return Err(SpecError::new(at, "IPv4 and IPv6 do not mix in one port")
            .hint("create a port for each, with one split-horizon group"));
    }
    let vni = words.take("vni")?;
    let vni = match vni {
        None => 0,
        Some((at, text)) => parsed::<u32>(at, "a number below 16777216", &text)
            .ok()
            .filter(|&vni| vni < 1 << 24)
            .ok_or_else(|| {
                SpecError::new(at, format!("'{text}' is not a number below 16777216"))
            })?,
    };
    let port = words.value("port", "a UDP port")?.unwrap_or(VxlanSpec::PORT);
    Ok(Box::new(VxlanSpec { remotes: list, vni, port, local: local.map(|(_, ip)| ip) }))
}

impl PortOptions for VxlanSpec {
    fn open(&self) -> crate::error::Result<Opened> {
        let any = |remote: &IpAddr| match remote {
            IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        };
        let ports = self.remotes.iter().map(|remote| -> Box<dyn Port> {
            let local = SocketAddr::new(self.local.unwrap_or_else(|| any(remote)), self.port);
            Box::new(VxlanPort::new(local, SocketAddr::new(*remote, self.port), self.vni))
        });
        Ok(Opened::Ports(ports.collect()))
    }
}

/// A remote of one segment.
pub struct VxlanPort {
    name: String,
    hub: Arc<str>,
    local: SocketAddr,
    remote: SocketAddr,
    vni: u32,
    /// Once it is attached.
    io: Option<Arc<UdpIo>>,
    /// Datagrams longer than this do not go as a train: the underlay's MTU is shorter.
    train_stride_max: usize,
}

impl VxlanPort {
    /// A port to `remote` in the segment `vni`, by the socket bound to `local`.
    #[must_use]
    pub fn new(local: SocketAddr, remote: SocketAddr, vni: u32) -> Self {
        Self {
            name: format!("vxlan:{},vni={vni}", remote.ip()),
            hub: hub_name(local),
            local,
            remote,
            vni,
            io: None,
            train_stride_max: usize::MAX,
        }
    }
}

/// The name of the hub of a local address.
fn hub_name(local: SocketAddr) -> Arc<str> {
    format!("udp:{local}").into()
}

debug_as_port!(VxlanPort);

impl Port for VxlanPort {
    fn name(&self) -> &str {
        &self.name
    }

    /// Its packets come by the hub.
    fn recv(&mut self, _: &mut Cx<'_>) -> Recv {
        Recv::Nothing
    }

    fn send(&mut self, cx: &mut Cx<'_>, batch: &mut Batch) -> Result<(), Gone> {
        if let Some(io) = self.io.clone() {
            let mut train = Train::new(self, &io, &mut cx.scratch.bytes, cx.counters);
            for packet in batch.iter_mut() {
                push_packet(&mut train, &mut cx.scratch.headers, packet);
            }
            train.send();
        }
        batch.give_all(cx.pool);
        Ok(())
    }

    fn hub(&self) -> Option<&str> {
        Some(&self.hub)
    }

    fn open_hub(&self) -> io::Result<Box<dyn Hub>> {
        Ok(Box::new(VxlanHub {
            io: Arc::new(UdpIo::bind_vxlan(self.local)?),
            name: Arc::clone(&self.hub),
            ports: HashMap::new(),
            keys: HashMap::new(),
            last: None,
            refused: 0,
        }))
    }
}

/// The UDP socket of one local address, for all segments and remotes.
struct VxlanHub {
    io: Arc<UdpIo>,
    name: Arc<str>,
    /// The ports by segment and remote.
    ports: HashMap<(u32, IpAddr), PortId>,
    keys: HashMap<PortId, (u32, IpAddr)>,
    /// The port of the last datagram: the next one is most often for the same.
    last: Option<((u32, IpAddr), PortId)>,
    /// Datagrams that are no VXLAN, or from an unknown remote or segment.
    refused: u64,
}

impl VxlanHub {
    #[inline]
    fn find(&mut self, vni: u32, remote: IpAddr) -> Option<PortId> {
        let key = (vni, remote);
        if let Some((last, id)) = self.last
            && last == key
        {
            return Some(id);
        }
        let id = *self.ports.get(&key)?;
        self.last = Some((key, id));
        Some(id)
    }

    /// Copies a frame out of what was received.
    fn take(&mut self, from: IpAddr, datagram: &[u8], pool: &mut Pool, arrivals: &mut Arrivals) {
        let frame = vxlan_header::parse(datagram);
        let Some((id, frame)) = frame.and_then(|(vni, frame)| Some((self.find(vni, from)?, frame)))
        else {
            self.refused += 1;
            return;
        };
        let Some(mut packet) = pool.take(frame.len()) else { return arrivals.no_buffer(id) };
        // It was taken with room for it.
        let _ = packet.extend(frame);
        packet.meta.vnet = unfinished::offloads(frame);
        arrivals.push(id, packet);
    }
}

impl Hub for VxlanHub {
    fn name(&self) -> &str {
        &self.name
    }

    fn fd(&self) -> BorrowedFd<'_> {
        self.io.as_fd()
    }

    fn recv(&mut self, cx: &mut HubCx<'_>) -> HubRecv {
        let HubCx { pool, scratch, arrivals, .. } = cx;
        let (from, len, stride) = match self.io.recv(&mut scratch.datagrams) {
            Ok(received) => received,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return HubRecv::Nothing,
            // Most often an error that a datagram of ours met on its way, reported once.
            Err(error) => return HubRecv::Failed(error),
        };
        let from = from.ip();
        if len == 0 {
            self.take(from, &[], pool, arrivals);
        }
        let bytes = scratch.datagrams.get(..len).unwrap_or_default();
        for datagram in bytes.chunks(stride.max(1)) {
            self.take(from, datagram, pool, arrivals);
        }
        HubRecv::Some
    }

    fn join(&mut self, id: PortId, port: &mut dyn Port) -> io::Result<()> {
        let port = (port as &mut dyn Any).downcast_mut::<VxlanPort>().ok_or(Errno::INVAL)?;
        let key = (port.vni, port.remote.ip());
        if self.ports.contains_key(&key) {
            return Err(Errno::EXIST.into());
        }
        self.ports.insert(key, id);
        self.keys.insert(id, key);
        port.io = Some(Arc::clone(&self.io));
        Ok(())
    }

    fn leave(&mut self, id: PortId) {
        if let Some(key) = self.keys.remove(&id) {
            self.ports.remove(&key);
        }
        self.last = None;
    }

    fn refused(&self) -> u64 {
        self.refused
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

/// What an error of [`UdpIo::send`] means for `count` frames.
fn count_unsent(counters: &mut PortCounters, count: u64, error: &io::Error) {
    *match Errno::from_io_error(error) {
        Some(Errno::AGAIN | Errno::NOBUFS | Errno::NOMEM) => &mut counters.queue_full,
        Some(
            Errno::NETUNREACH
            | Errno::HOSTUNREACH
            | Errno::NETDOWN
            | Errno::ADDRNOTAVAIL
            | Errno::NODEV,
        ) => &mut counters.link_down,
        Some(Errno::MSGSIZE) => &mut counters.too_big,
        _ => &mut counters.refused,
    } += count;
}
