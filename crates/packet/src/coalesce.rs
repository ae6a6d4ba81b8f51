//! Joins packets of one flow into super-packets, so that many cross in one system call.

use alloc::vec::Vec;

use crate::ipv4::DONT_FRAGMENT;
use crate::segment::{finish_ipv4, len16, pseudo_sum, put, take};
use crate::{
    FlowKey, Gso, Headers, IpVersion, Layer, PacketBuf, TcpFlags, VnetHeader, checksum, ip_protocol,
};

/// Joins packets of a batch into trains: super-packets whose payload stays in the packets' buffers.
///
/// The rules are those of the kernel's GRO (`tcp_gro_receive`, `udp_gro_receive`,
/// `inet_gro_receive`, `ipv6_gro_receive`):
///
/// - All header bytes must be equal except lengths, checksums, IPv4 identification and, in TCP,
///   sequence number, FIN and PSH. So addresses, ports, TTL, TOS, VLAN, window, acknowledgment and
///   options (timestamps) are equal.
/// - TCP payload must follow without a gap. UDP payloads must have the length of the first one; a
///   shorter one ends the train, and an empty one is not joined.
/// - FIN and PSH end a train. SYN, RST and URG are not joined, nor is CWR except on the first
///   packet.
/// - IPv4 packets have no options, are not fragments, and have a valid header checksum. Their
///   identifications count up, or are equal with DF set (RFC 6864 gives them no meaning then).
/// - The transport checksum must be valid, known to be valid (`DATA_VALID`), or partial
///   (`NEEDS_CSUM`). UDP without a checksum is not joined.
/// - A super-packet is not joined; it keeps its own virtio-net header.
///
/// A packet that cannot be joined ends its flow's train and follows it; a fragment ends all trains.
/// So the order within a flow never changes.
///
/// ```
/// use adit_packet::{Coalescer, Gso, Layer, PacketBuf, SuperPacket, VnetHeader};
///
/// # let mut bytes = vec![0x45, 0, 0x0b, 0xd4, 0, 1, 0, 0, 64, 17, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2];
/// # bytes.extend([0, 7, 0, 9, 0x0b, 0xc0, 0, 0]);
/// # bytes.resize(28 + 3000, b'x');
/// # let vnet = VnetHeader { gso: Gso::UdpL4, gso_size: 1200, ..VnetHeader::default() };
/// # let super_packet = SuperPacket::parse(&bytes, &vnet, Layer::Packet)?;
/// # let packets: Vec<PacketBuf> = super_packet.segments().map(|segment| {
/// #     let mut packet = PacketBuf::new(0, 1500);
/// #     segment.append_to(&mut packet).expect("1500 bytes");
/// #     packet
/// # }).collect();
/// // Three datagrams of one flow, with 1200, 1200 and 600 bytes.
/// let mut coalescer = Coalescer::new(Layer::Packet);
/// let trains = coalescer.join(&packets);
/// let train = trains.iter().next().expect("one train");
/// assert_eq!((trains.len(), train.count(), train.len()), (1, 3, 28 + 3000));
/// assert_eq!((train.vnet().gso, train.vnet().gso_size), (Gso::UdpL4, 1200));
/// // For writev: the headers, then each payload.
/// let pieces: Vec<&[u8]> = train.pieces().collect();
/// assert_eq!(pieces.len(), 4);
/// # Ok::<(), adit_packet::Malformed>(())
/// ```
#[derive(Debug)]
pub struct Coalescer {
    layer: Layer,
    /// The trains in order of their first packets.
    trains: Vec<Draft>,
    /// The trains that may still grow, newest last.
    open: Vec<usize>,
    /// For each packet the next one of its train, and the range of its payload.
    members: Vec<Member>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Member {
    next: Option<usize>,
    payload: (usize, usize),
}

/// A train under construction.
#[derive(Debug)]
struct Draft {
    flow: Option<FlowKey>,
    first: usize,
    last: usize,
    count: usize,
    /// The payload bytes of all its packets, and of its first one.
    payload_len: usize,
    size: usize,
    fixed_id: bool,
    /// FIN and PSH of its last packet.
    last_flags: TcpFlags,
    /// The positions of the headers, the same in all its packets.
    shape: Shape,
    headers: [u8; Coalescer::HEADERS_MAX],
    vnet: VnetHeader,
}

/// The positions of the headers in a packet that can be joined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Shape {
    version: IpVersion,
    network: usize,
    transport: usize,
    payload: usize,
    tcp: bool,
}

impl Coalescer {
    /// The maximum number of packets in a train, 64: as many as the kernel's UDP GRO joins
    /// (`UDP_GRO_CNT_MAX`), half of what the kernel accepts from a TUN device (128), and far below
    /// the limit of `writev` (1024).
    pub const COUNT_MAX: usize = 64;
    /// The maximum number of open trains, as in the kernel (8 buckets of 8); the oldest one is
    /// ended first.
    pub const OPEN_MAX: usize = 64;
    /// The maximum length of headers that are joined: 22 of Ethernet, 40 of IPv6 and 60 of TCP are
    /// 122.
    pub const HEADERS_MAX: usize = 128;
    /// The maximum length of an IP packet, set by its 16-bit length field.
    const IP_LEN_MAX: usize = 65_535;

    /// A coalescer for packets (TUN) or frames (TAP). It has allocated nothing yet.
    #[must_use]
    pub const fn new(layer: Layer) -> Self {
        Self { layer, trains: Vec::new(), open: Vec::new(), members: Vec::new() }
    }

    /// Joins `packets` where possible. Each packet is in exactly one train, usually alone.
    ///
    /// Copies headers only. Keeps its memory from batch to batch.
    #[must_use]
    pub fn join<'a>(&'a mut self, packets: &'a [PacketBuf]) -> Trains<'a> {
        self.trains.clear();
        self.open.clear();
        self.members.clear();
        self.members.resize(packets.len(), Member::default());
        for (index, packet) in packets.iter().enumerate() {
            self.add(index, packet);
        }
        for draft in self.trains.iter_mut().filter(|draft| draft.count > 1) {
            draft.finish();
        }
        Trains { trains: &self.trains, members: &self.members, packets }
    }

    /// Puts a packet into a train: its flow's open one if it continues that, otherwise its own.
    fn add(&mut self, index: usize, packet: &PacketBuf) {
        if let Some(candidate) = self.like_the_youngest(packet) {
            return self.extend(self.open.len() - 1, index, packet, candidate);
        }
        let bytes = packet.bytes();
        let headers = self.layer.parse(bytes).ok();
        let flow = headers.and_then(|headers| headers.flow(bytes));
        let candidate = headers.and_then(|headers| Candidate::new(packet, &headers));
        let Some((flow, candidate)) = flow.zip(candidate) else {
            // It cannot be joined, and must not overtake packets of its flow, or be overtaken. The flow of
            // a later fragment is unknown (it has no ports), so a fragment ends all trains.
            match headers.and_then(|headers| headers.fragment()) {
                Some(_) => self.open.clear(),
                None => self.close(flow),
            }
            return self.start(index, packet, None, None);
        };
        if let Some(place) = self.place_of(&flow) {
            if self.draft(place).is_some_and(|draft| draft.agrees(&candidate.shape, bytes)) {
                return self.extend(place, index, packet, candidate);
            }
            self.open.remove(place);
        }
        self.start(index, packet, Some(flow), Some(candidate));
    }

    /// Tries the newest open train without parsing: in a stream most packets have the same headers.
    fn like_the_youngest(&self, packet: &PacketBuf) -> Option<Candidate> {
        let draft = self.draft(self.open.len().checked_sub(1)?)?;
        let shape = &draft.shape;
        if draft.agrees(shape, packet.bytes()) { Candidate::of_shape(packet, shape) } else { None }
    }

    fn draft(&self, place: usize) -> Option<&Draft> {
        self.trains.get(*self.open.get(place)?)
    }

    /// Appends a packet to the open train with equal headers. If it does not continue the train,
    /// ends that and starts another one.
    fn extend(&mut self, place: usize, index: usize, packet: &PacketBuf, candidate: Candidate) {
        let at = self.open.get(place).copied().unwrap_or_default();
        let Some(draft) = self.trains.get_mut(at) else { return };
        // The checksum is summed last: it reads the whole payload.
        if draft.takes(&candidate) && candidate.is_right(packet) {
            if draft.append(index, &candidate, &mut self.members) {
                self.open.remove(place);
            }
            return;
        }
        let flow = draft.flow;
        self.open.remove(place);
        self.start(index, packet, flow, Some(candidate));
    }

    /// The position in `open` of a flow's train, searched from the newest.
    fn place_of(&self, flow: &FlowKey) -> Option<usize> {
        self.open.iter().rposition(|&at| {
            self.trains.get(at).is_some_and(|draft| draft.flow.as_ref() == Some(flow))
        })
    }

    fn close(&mut self, flow: Option<FlowKey>) {
        if let Some(place) = flow.and_then(|flow| self.place_of(&flow)) {
            self.open.remove(place);
        }
    }

    /// Starts a train with a packet, open for more if the packet can be joined.
    fn start(
        &mut self,
        index: usize,
        packet: &PacketBuf,
        flow: Option<FlowKey>,
        candidate: Option<Candidate>,
    ) {
        let mut draft = Draft {
            flow,
            first: index,
            last: index,
            count: 1,
            payload_len: 0,
            size: 0,
            fixed_id: false,
            last_flags: TcpFlags::default(),
            shape: Shape {
                version: IpVersion::V4,
                network: 0,
                transport: 0,
                payload: 0,
                tcp: false,
            },
            headers: [0; Self::HEADERS_MAX],
            vnet: packet.meta.vnet,
        };
        // A packet that would end its train at once, or whose checksum is invalid, stays alone. Its
        // headers are not copied then: that is the common case of flows that cannot be joined.
        let candidate = candidate.filter(|candidate| {
            !candidate.flags.intersects(Candidate::ENDS) && candidate.is_right(packet)
        });
        if let Some(candidate) = candidate
            && let Some(from) = packet.bytes().get(..candidate.shape.payload)
            && let Some(to) = draft.headers.get_mut(..candidate.shape.payload)
        {
            to.copy_from_slice(from);
            draft.shape = candidate.shape;
            draft.size = candidate.payload_len();
            draft.payload_len = draft.size;
            if let Some(member) = self.members.get_mut(index) {
                member.payload = (candidate.shape.payload, candidate.end);
            }
            if self.open.len() >= Self::OPEN_MAX {
                self.open.remove(0);
            }
            self.open.push(self.trains.len());
        }
        self.trains.push(draft);
    }
}

/// A packet that can be joined, judging by itself.
#[derive(Clone, Copy, Debug)]
struct Candidate {
    shape: Shape,
    end: usize,
    sequence: u32,
    flags: TcpFlags,
    id: u16,
    dont_fragment: bool,
}

impl Candidate {
    /// With one of these flags a packet is the last of its train, if it can be joined at all.
    const ENDS: TcpFlags = TcpFlags::FIN.with(TcpFlags::PSH);
    const NEVER: TcpFlags = TcpFlags::SYN.with(TcpFlags::RST).with(TcpFlags::URG);

    fn new(packet: &PacketBuf, headers: &Headers) -> Option<Self> {
        let transport = headers.transport()?;
        let tcp = headers.protocol()? == ip_protocol::TCP;
        let version = headers.version()?;
        let shape = Shape {
            version,
            network: headers.network(),
            transport,
            payload: headers.payload(),
            tcp,
        };
        if version == IpVersion::V4 && transport != shape.network + 20 {
            // It has options.
            return None;
        }
        let fits = headers.fragment().is_none()
            && (tcp || headers.protocol()? == ip_protocol::UDP)
            && headers.payload() <= Coalescer::HEADERS_MAX;
        Self::of_shape(packet, &shape).filter(|candidate| {
            fits && candidate.end == headers.end() && !candidate.flags.intersects(Self::NEVER)
        })
    }

    /// Parses a packet whose headers are known to have this shape.
    fn of_shape(packet: &PacketBuf, shape: &Shape) -> Option<Self> {
        let bytes = packet.bytes();
        let Shape { version, network, transport, payload, tcp } = *shape;
        let vnet = &packet.meta.vnet;
        let mut candidate = Self {
            shape: *shape,
            end: network,
            sequence: 0,
            flags: TcpFlags::default(),
            id: 0,
            dont_fragment: false,
        };
        match version {
            IpVersion::V4 => {
                let header = bytes.get(network..network + 20)?;
                if checksum::of(header) != 0 {
                    return None;
                }
                candidate.end += usize::from(take(header, 2));
                candidate.id = take(header, 4);
                candidate.dont_fragment = take(header, 6) & DONT_FRAGMENT != 0;
            }
            IpVersion::V6 => candidate.end += 40 + usize::from(take(bytes, network + 4)),
        }
        if tcp {
            let sequence = bytes.get(transport + 4..)?.first_chunk()?;
            candidate.sequence = u32::from_be_bytes(*sequence);
            candidate.flags = TcpFlags(*bytes.get(transport + 13)?);
        // UDP without a checksum, or with a length that contradicts that of IP.
        } else if take(bytes, transport + 6) == 0
            || usize::from(take(bytes, transport + 4)) != candidate.end.checked_sub(transport)?
        {
            return None;
        }
        let fits = payload < candidate.end
            && candidate.end <= bytes.len()
            && !vnet.is_super_packet()
            && shape.is_checksum_of(vnet);
        fits.then_some(candidate)
    }

    const fn payload_len(&self) -> usize {
        self.end - self.shape.payload
    }

    /// Whether its transport checksum is valid, or need not be checked here.
    fn is_right(&self, packet: &PacketBuf) -> bool {
        let vnet = &packet.meta.vnet;
        if vnet.needs_csum() || vnet.flags & VnetHeader::DATA_VALID != 0 {
            return true;
        }
        let Shape { version, network, transport, .. } = self.shape;
        let Some(segment) = packet.bytes().get(transport..self.end) else { return false };
        pseudo_sum(packet.bytes(), version, network, self.shape.protocol(), len16(segment.len()))
            .add_bytes(segment)
            .finish()
            == 0
    }
}

impl Shape {
    /// The position of the transport checksum in the transport header.
    const fn checksum_at(&self) -> u16 {
        if self.tcp { 16 } else { 6 }
    }

    /// Whether the partial checksum is that of this transport header, and not one further inside,
    /// behind the headers of a tunnel.
    fn is_checksum_of(&self, vnet: &VnetHeader) -> bool {
        let at = (usize::from(vnet.csum_start), vnet.csum_offset);
        !vnet.needs_csum() || at == (self.transport, self.checksum_at())
    }

    const fn protocol(&self) -> u8 {
        if self.tcp { ip_protocol::TCP } else { ip_protocol::UDP }
    }

    /// Whether the headers of two packets of this shape are equal where they must be.
    fn agree(&self, a: &[u8], b: &[u8]) -> bool {
        let same = |from: usize, to: usize| match (a.get(from..to), b.get(from..to)) {
            (Some(a), Some(b)) => a == b,
            _ => false,
        };
        let Self { network, transport, payload, .. } = *self;
        let ip = match self.version {
            // Link header, version to TOS; flags to protocol; addresses.
            IpVersion::V4 => {
                same(0, network + 2)
                    && same(network + 6, network + 10)
                    && same(network + 12, transport)
            }
            // Link header, version to flow label; next header to the end of the extension headers.
            IpVersion::V6 => same(0, network + 4) && same(network + 6, transport),
        };
        let flags = |bytes: &[u8]| bytes.get(transport + 13).copied().map(TcpFlags);
        let flags = |bytes: &[u8]| flags(bytes).map(|flags| flags.without(Candidate::ENDS));
        ip && same(transport, transport + 4)
            && (!self.tcp
                || same(transport + 8, transport + 13) // acknowledgment, header length
                    && flags(a).map(|flags| flags.without(TcpFlags::CWR)) == flags(b)
                    && same(transport + 14, transport + 16) // window
                    && same(transport + 18, payload)) // urgent pointer, options
    }
}

impl Draft {
    /// Whether the headers of a packet equal those of the train where they must.
    fn agrees(&self, shape: &Shape, bytes: &[u8]) -> bool {
        *shape == self.shape && shape.agree(&self.headers, bytes)
    }

    /// Whether a packet with equal headers continues the train.
    fn takes(&mut self, candidate: &Candidate) -> bool {
        let len = candidate.payload_len();
        let total = self.shape.payload - self.shape.network + self.payload_len + len;
        if len > self.size || self.count >= Coalescer::COUNT_MAX || total > Coalescer::IP_LEN_MAX {
            return false;
        }
        if self.shape.tcp {
            let first =
                self.headers.get(self.shape.transport + 4..).and_then(|tail| tail.first_chunk());
            let passed = u32::try_from(self.payload_len).unwrap_or_default();
            if first.map(|&first| u32::from_be_bytes(first).wrapping_add(passed))
                != Some(candidate.sequence)
            {
                return false;
            }
        }
        if self.shape.version == IpVersion::V4 {
            // The second packet decides whether the identifications are equal or count up.
            let id = take(&self.headers, self.shape.network + 4);
            if self.count == 1 && candidate.dont_fragment && candidate.id == id {
                self.fixed_id = true;
            }
            let passed = if self.fixed_id { 0 } else { len16(self.count) };
            return candidate.id == id.wrapping_add(passed);
        }
        true
    }

    /// Appends a packet that continues the train; returns whether it was the last.
    fn append(&mut self, index: usize, candidate: &Candidate, members: &mut [Member]) -> bool {
        if let Some(last) = members.get_mut(self.last) {
            last.next = Some(index);
        }
        if let Some(member) = members.get_mut(index) {
            member.payload = (candidate.shape.payload, candidate.end);
        }
        let len = candidate.payload_len();
        self.last = index;
        self.count += 1;
        self.payload_len += len;
        self.last_flags = candidate.flags;
        len < self.size || candidate.flags.intersects(Candidate::ENDS)
    }

    /// Rewrites the headers to those of the super-packet, with a partial transport checksum.
    fn finish(&mut self) {
        let Shape { version, network, transport, payload, tcp } = self.shape;
        let Some(headers) = self.headers.get_mut(..payload) else { return };
        let after_network = payload - network + self.payload_len;
        let after_transport = len16(payload - transport + self.payload_len);
        match version {
            IpVersion::V4 => {
                put(headers, network + 2, len16(after_network));
                finish_ipv4(headers, network);
            }
            IpVersion::V6 => put(headers, network + 4, len16(after_network.saturating_sub(40))),
        }
        let mut cwr = false;
        let csum_offset = self.shape.checksum_at();
        if tcp {
            if let Some(flags) = headers.get_mut(transport + 13) {
                *flags |= self.last_flags.0 & Candidate::ENDS.0;
                cwr = TcpFlags(*flags).contains(TcpFlags::CWR);
            }
        } else {
            put(headers, transport + 4, after_transport);
        }
        let protocol = self.shape.protocol();
        let pseudo = pseudo_sum(headers, version, network, protocol, after_transport);
        put(headers, transport + usize::from(csum_offset), pseudo.fold());
        let gso = match (tcp, version) {
            (true, IpVersion::V4) => Gso::Tcp4,
            (true, IpVersion::V6) => Gso::Tcp6,
            (false, _) => Gso::UdpL4,
        };
        self.vnet = VnetHeader {
            flags: VnetHeader::NEEDS_CSUM,
            gso,
            ecn: cwr,
            hdr_len: len16(payload),
            gso_size: len16(self.size),
            csum_start: len16(transport),
            csum_offset,
            ..VnetHeader::default()
        };
    }
}

/// The trains of one batch, in the order of their first packets.
#[derive(Clone, Copy, Debug)]
pub struct Trains<'a> {
    trains: &'a [Draft],
    members: &'a [Member],
    packets: &'a [PacketBuf],
}

impl<'a> Trains<'a> {
    /// The number of trains.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.trains.len()
    }

    /// Whether the batch was empty.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.trains.is_empty()
    }

    /// The trains, in the order in which they must be sent.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Train<'a>> + use<'a> {
        let Self { members, packets, .. } = *self;
        self.trains.iter().map(move |draft| Train { draft, members, packets })
    }
}

/// One or more packets that are sent as one.
#[derive(Clone, Copy, Debug)]
pub struct Train<'a> {
    draft: &'a Draft,
    members: &'a [Member],
    packets: &'a [PacketBuf],
}

impl<'a> Train<'a> {
    /// The number of its packets, at least 1.
    #[must_use]
    pub const fn count(&self) -> usize {
        self.draft.count
    }

    /// The virtio-net header to send it with; that of the packet if it is alone.
    #[must_use]
    pub const fn vnet(&self) -> VnetHeader {
        self.draft.vnet
    }

    /// The indices of its packets in order, for sending them one by one if the kernel rejects the
    /// train.
    pub fn members(&self) -> impl Iterator<Item = usize> + use<'a> {
        let members = self.members;
        let first = Some(self.draft.first);
        core::iter::successors(first, move |&at| members.get(at).and_then(|member| member.next))
    }

    /// The bytes to send: the headers, then each packet's payload; or the packet if it is alone.
    pub fn pieces(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let Self { draft, members, packets } = *self;
        let alone = draft.count == 1;
        let front: &[u8] = if alone {
            packets.get(draft.first).map(PacketBuf::bytes).unwrap_or_default()
        } else {
            draft.headers.get(..draft.shape.payload).unwrap_or_default()
        };
        let payloads = self.members().filter(move |_| !alone).map(move |at| {
            let (start, end) = members.get(at).map(|member| member.payload).unwrap_or_default();
            packets.get(at).and_then(|packet| packet.bytes().get(start..end)).unwrap_or_default()
        });
        core::iter::once(front).chain(payloads)
    }

    /// The length of all pieces in bytes.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "it has at least one packet")]
    pub fn len(&self) -> usize {
        self.pieces().map(<[u8]>::len).sum()
    }
}

#[cfg(test)]
mod tests;
