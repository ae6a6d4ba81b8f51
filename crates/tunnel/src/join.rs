//! Which packets of a train are joined to one super-packet: the rules of the kernel's GRO.
//!
//! The same rules as in [`adit_packet::Coalescer`] for packets that lie one after another in a single
//! buffer, the payload of each moved to the end of the one before while it is decrypted.

use adit_packet::checksum::{self, Sum};
use adit_packet::{Gso, TcpFlags, VnetHeader, ip_protocol};

/// The longest headers that are joined: 1 of our own, 22 of Ethernet, 40 of IPv6, 60 of TCP are 123.
pub(crate) const HEADERS_MAX: usize = 128;
/// Packets in one super-packet, as the kernel's UDP GRO has it (`UDP_GRO_CNT_MAX`).
const COUNT_MAX: usize = 64;
/// The longest packet that IP's 16 bits of length can say.
const LEN_MAX: usize = 65_535;

const ENDS: TcpFlags = TcpFlags::FIN.with(TcpFlags::PSH);
const NEVER: TcpFlags = TcpFlags::SYN.with(TcpFlags::RST).with(TcpFlags::URG);

/// The offsets of the headers of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Shape {
    v4: bool,
    tcp: bool,
    network: usize,
    transport: usize,
    payload: usize,
}

impl Shape {
    const fn protocol(&self) -> u8 {
        if self.tcp { ip_protocol::TCP } else { ip_protocol::UDP }
    }

    const fn checksum_at(&self) -> usize {
        self.transport + if self.tcp { 16 } else { 6 }
    }

    /// The sum of the pseudo header; `len` is transport header and payload.
    fn pseudo(&self, bytes: &[u8], len: usize) -> Sum {
        let at = self.network;
        let addresses = if self.v4 { at + 12..at + 20 } else { at + 8..at + 40 };
        Sum::ZERO
            .add_bytes(bytes.get(addresses).unwrap_or_default())
            .add_u16(u16::from(self.protocol()))
            .add_u16(len16(len))
    }
}

/// A packet that can be joined, judged alone.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Candidate {
    shape: Shape,
    len: usize,
    id: u16,
    dont_fragment: bool,
    sequence: u32,
    flags: TcpFlags,
}

impl Candidate {
    /// Looks at a packet that is `bytes` from `network` on: TCP or UDP with payload over IP without
    /// options, whose checksums are right.
    ///
    /// A packet with a wrong checksum must not be joined: the super-packet would get a correct one.
    pub(crate) fn new(bytes: &[u8], network: usize) -> Option<Self> {
        let ip = bytes.get(network..)?;
        let (v4, protocol, header, len, id, dont_fragment) = match ip.first()? {
            0x45 => {
                let head = ip.first_chunk::<20>()?;
                let flags = u16::from_be_bytes([head[6], head[7]]);
                let id = u16::from_be_bytes([head[4], head[5]]);
                if flags & 0x3fff != 0 || checksum::of(head) != 0 {
                    return None;
                }
                (true, head[9], 20, u16::from_be_bytes([head[2], head[3]]), id, flags & 0x4000 != 0)
            }
            0x60..=0x6f => {
                let head = ip.first_chunk::<40>()?;
                let len = u16::from_be_bytes([head[4], head[5]]).checked_add(40)?;
                (false, head[6], 40, len, 0, false)
            }
            _ => return None,
        };
        let len = usize::from(len);
        let transport = ip.get(header..len)?;
        let (tcp, offset, sequence, flags) = match protocol {
            ip_protocol::TCP => {
                let head = transport.first_chunk::<20>()?;
                let sequence = u32::from_be_bytes([head[4], head[5], head[6], head[7]]);
                (true, usize::from(head[12] >> 4) * 4, sequence, TcpFlags(head[13]))
            }
            ip_protocol::UDP => {
                let head = transport.first_chunk::<8>()?;
                let says = usize::from(u16::from_be_bytes([head[4], head[5]]));
                if says != transport.len() || [head[6], head[7]] == [0, 0] {
                    return None;
                }
                (false, 8, 0, TcpFlags::default())
            }
            _ => return None,
        };
        let payload = network + header + offset;
        let shape = Shape { v4, tcp, network, transport: network + header, payload };
        let joinable = (!tcp || offset >= 20)
            && offset < transport.len()
            && payload <= HEADERS_MAX
            && !flags.intersects(NEVER);
        let right = || shape.pseudo(bytes, transport.len()).add_bytes(transport).finish() == 0;
        (joinable && right()).then_some(Self {
            shape,
            len: network + len,
            id,
            dont_fragment,
            sequence,
            flags,
        })
    }

    const fn payload_len(&self) -> usize {
        self.len - self.shape.payload
    }
}

/// A growing super-packet. Its bytes are in the caller's buffer, headers first.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Draft {
    first: Candidate,
    count: usize,
    payload_len: usize,
    fixed_id: bool,
    last_flags: TcpFlags,
    open: bool,
}

impl Draft {
    pub(crate) const fn new(first: Candidate) -> Self {
        Self {
            count: 1,
            payload_len: first.payload_len(),
            fixed_id: false,
            last_flags: first.flags,
            open: !first.flags.intersects(ENDS),
            first,
        }
    }

    /// The length of the headers of all its packets; `None` if it accepts no more packets.
    pub(crate) const fn header_len(&self) -> Option<usize> {
        if self.open { Some(self.first.shape.payload) } else { None }
    }

    /// Accepts `packet` if it continues the super-packet at the start of `bytes`. Returns the length of its
    /// payload, which the caller puts behind that of the super-packet.
    pub(crate) fn take(&mut self, bytes: &[u8], packet: &[u8], next: &Candidate) -> Option<usize> {
        let shape = self.first.shape;
        let len = next.payload_len();
        let total = shape.payload - shape.network + self.payload_len + len;
        let fits = self.open
            && next.shape == shape
            && len <= self.first.payload_len()
            && self.count < COUNT_MAX
            && total <= LEN_MAX
            && agree(&shape, bytes, packet);
        if !fits {
            return None;
        }
        let passed = u32::try_from(self.payload_len).unwrap_or_default();
        if shape.tcp && next.sequence != self.first.sequence.wrapping_add(passed) {
            return None;
        }
        if shape.v4 {
            // Where DF is set the identification may stay the same (RFC 6864).
            if self.count == 1 && next.dont_fragment && next.id == self.first.id {
                self.fixed_id = true;
            }
            let passed = if self.fixed_id { 0 } else { len16(self.count) };
            if next.id != self.first.id.wrapping_add(passed) {
                return None;
            }
        }
        self.count += 1;
        self.payload_len += len;
        self.last_flags = next.flags;
        self.open = len == self.first.payload_len() && !next.flags.intersects(ENDS);
        Some(len)
    }

    /// Writes the headers of the super-packet to the front of `bytes` and returns its virtio-net header. A
    /// single packet stays unchanged.
    pub(crate) fn finish(&self, bytes: &mut [u8]) -> VnetHeader {
        let Shape { v4, tcp, network, transport, payload } = self.first.shape;
        if self.count < 2 {
            return VnetHeader::default();
        }
        let after_transport = payload - transport + self.payload_len;
        if v4 {
            put(bytes, network + 2, len16(payload - network + self.payload_len));
            put(bytes, network + 10, 0);
            let header = bytes.get(network..network + 20).unwrap_or_default();
            put(bytes, network + 10, checksum::of(header));
        } else {
            put(bytes, network + 4, len16(payload - network - 40 + self.payload_len));
        }
        let mut ecn = false;
        if tcp {
            if let Some(flags) = bytes.get_mut(transport + 13) {
                *flags |= self.last_flags.0 & ENDS.0;
                ecn = TcpFlags(*flags).contains(TcpFlags::CWR);
            }
        } else {
            put(bytes, transport + 4, len16(after_transport));
        }
        let pseudo = self.first.shape.pseudo(bytes, after_transport);
        put(bytes, self.first.shape.checksum_at(), pseudo.fold());
        VnetHeader {
            flags: VnetHeader::NEEDS_CSUM,
            gso: match (tcp, v4) {
                (true, true) => Gso::Tcp4,
                (true, false) => Gso::Tcp6,
                (false, _) => Gso::UdpL4,
            },
            ecn,
            hdr_len: len16(payload),
            gso_size: len16(self.first.payload_len()),
            csum_start: len16(transport),
            csum_offset: if tcp { 16 } else { 6 },
            ..VnetHeader::default()
        }
    }
}

/// Whether the headers of two packets of that shape are equal, except lengths, checksums, identification,
/// sequence number, FIN and PSH.
fn agree(shape: &Shape, a: &[u8], b: &[u8]) -> bool {
    let Shape { v4, tcp, network, transport, payload } = *shape;
    let same = |from: usize, to: usize| match (a.get(from..to), b.get(from..to)) {
        (Some(a), Some(b)) => a == b,
        _ => false,
    };
    let ip = if v4 {
        same(0, network + 2) && same(network + 6, network + 10) && same(network + 12, transport)
    } else {
        same(0, network + 4) && same(network + 6, transport)
    };
    let flags =
        |bytes: &[u8]| bytes.get(transport + 13).map(|&flags| TcpFlags(flags).without(ENDS));
    ip && same(transport, transport + 4)
        && (!tcp
            || same(transport + 8, transport + 13)
                && flags(a).map(|flags| flags.without(TcpFlags::CWR)) == flags(b)
                && same(transport + 14, transport + 16)
                && same(transport + 18, payload))
}

fn put(bytes: &mut [u8], at: usize, value: u16) {
    if let Some(field) = bytes.get_mut(at..).and_then(<[u8]>::first_chunk_mut) {
        *field = value.to_be_bytes();
    }
}

/// A length that was checked to fit.
fn len16(len: usize) -> u16 {
    u16::try_from(len).unwrap_or(u16::MAX)
}
