//! Segments of a super-packet.

use crate::checksum::{self, Sum};
use crate::{
    Gso, Headers, IpVersion, Malformed, NoRoom, PacketBuf, TcpFlags, VnetHeader, ip_protocol,
};

/// The layer that bytes start with: Ethernet (a TAP device) or IP (a TUN device).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Layer {
    /// An Ethernet header.
    Frame,
    /// An IP header.
    Packet,
}

impl Layer {
    /// Parses the headers of `bytes`.
    ///
    /// # Errors
    ///
    /// As [`Headers::parse_frame`] and [`Headers::parse_packet`].
    pub fn parse(self, bytes: &[u8]) -> Result<Headers, Malformed> {
        match self {
            Self::Frame => Headers::parse_frame(bytes),
            Self::Packet => Headers::parse_packet(bytes),
        }
    }
}

/// A super-packet: up to 64 KiB of payload after one set of headers, segmented on demand.
///
/// ```text
///  | headers | payload 0 | payload 1 | ... | payload n - 1 (may be shorter) |
///             <-gso_size->
/// ```
///
/// Each [`Segment`] writes its own headers where the caller wants them, and refers to its payload
/// in place. So it can be sent with `writev`, or appended to a buffer with its own headroom. The
/// number of segments is unlimited.
///
/// Headers follow Linux (`tcp_gso_segment`, `__udp_gso_segment`, `inet_gso_segment`): every segment
/// has its own lengths, checksums and TCP sequence number; IPv4 identifications count up; CWR stays
/// on the first segment only, FIN and PSH on the last; and a UDP checksum of 0 is written as
/// 0xffff. Inside a UDP tunnel the same applies to the outer headers.
///
/// ```
/// use adit_packet::{Gso, Layer, PacketBuf, SuperPacket, VnetHeader};
///
/// // 3000 bytes of UDP payload, for datagrams of at most 1200 bytes.
/// let mut bytes = vec![0x45, 0, 0x0b, 0xd4, 0, 1, 0, 0, 64, 17, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2];
/// bytes.extend([0, 7, 0, 9, 0x0b, 0xc0, 0, 0]);
/// bytes.resize(28 + 3000, b'x');
/// let vnet = VnetHeader { gso: Gso::UdpL4, gso_size: 1200, ..VnetHeader::default() };
/// let super_packet = SuperPacket::parse(&bytes, &vnet, Layer::Packet)?;
///
/// let mut packet = PacketBuf::new(64, 1500);
/// for (segment, payload_len) in super_packet.segments().zip([1200, 1200, 600]) {
///     packet.reset(64); // headroom for the headers of a tunnel
///     segment.append_to(&mut packet).expect("1500 bytes");
///     assert_eq!(packet.len(), 28 + payload_len);
/// }
/// # Ok::<(), adit_packet::Malformed>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct SuperPacket<'a> {
    headers: &'a [u8],
    payload: &'a [u8],
    size: usize,
    inner: Ip,
    transport: Transport,
    at: usize,
    /// The sum of the transport header and its pseudo header, without the words of
    /// [`Transport::varying`].
    fixed: Sum,
    outer: Option<Outer>,
}

/// An IP header: its version and offset.
#[derive(Clone, Copy, Debug)]
struct Ip {
    version: IpVersion,
    at: usize,
    /// For IPv4 the sum of the header without length, identification and checksum.
    fixed: Sum,
}

impl Ip {
    fn new(bytes: &[u8], version: IpVersion, at: usize) -> Self {
        let len = bytes.get(at).map_or(0, |first| usize::from(first & 15) * 4);
        let fixed = match version {
            IpVersion::V4 => sum_without(bytes, at, at + len, &[2, 4, 10]),
            IpVersion::V6 => Sum::ZERO,
        };
        Self { version, at, fixed }
    }
}

/// The sum of the header from `at` to `end`, without the 16-bit words at these offsets.
fn sum_without(bytes: &[u8], at: usize, end: usize, words: &[usize]) -> Sum {
    let header = bytes.get(at..end).unwrap_or_default();
    let without = |sum: Sum, &word: &usize| sum.add_u16(!take(header, word));
    words.iter().fold(Sum::ZERO.add_bytes(header), without)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Transport {
    Tcp,
    Udp,
}

impl Transport {
    /// The offset of its checksum in its header.
    const fn checksum_at(self) -> u16 {
        match self {
            Self::Tcp => 16,
            Self::Udp => 6,
        }
    }

    const fn protocol(self) -> u8 {
        match self {
            Self::Tcp => ip_protocol::TCP,
            Self::Udp => ip_protocol::UDP,
        }
    }

    /// The 16-bit words of its header that differ between segments: sequence number, flags and
    /// checksum, or length and checksum.
    const fn varying(self) -> &'static [usize] {
        match self {
            Self::Tcp => &[4, 6, 12, 16],
            Self::Udp => &[4, 6],
        }
    }
}

/// The outer headers of a UDP tunnel.
#[derive(Clone, Copy, Debug)]
struct Outer {
    ip: Ip,
    udp: usize,
    has_checksum: bool,
}

impl<'a> SuperPacket<'a> {
    /// Finds the headers of a super-packet. Its checksums may be partial.
    ///
    /// # Errors
    ///
    /// The fault of a header. [`Malformed::SuperPacket`] if the virtio-net header contradicts the
    /// headers, has a segment size of 0, or requests IP fragmentation ([`Gso::Udp`]).
    pub fn parse(bytes: &'a [u8], vnet: &VnetHeader, layer: Layer) -> Result<Self, Malformed> {
        // `hdr_len`, `csum_start` and the outer offset are hints that a guest may set wrong, so the
        // headers are parsed. Only where the inner headers of a tunnel start cannot be known otherwise.
        let outermost = layer.parse(bytes)?;
        let bytes = bytes.get(..outermost.end()).ok_or(Malformed::SuperPacket)?;
        let (base, headers, outer) = if vnet.tunnel.is_some() {
            let base = usize::from(vnet.inner_nh_offset);
            let outer = Outer::find(bytes, &outermost, vnet)?;
            let inner = bytes.get(base..).ok_or(Malformed::SuperPacket)?;
            (base, Headers::parse_packet(inner)?, Some(outer))
        } else {
            (0, outermost, None)
        };
        let (version, protocol) = (headers.version(), headers.protocol());
        let transport = match (vnet.gso, version, protocol) {
            (Gso::Tcp4, Some(IpVersion::V4), Some(ip_protocol::TCP))
            | (Gso::Tcp6, Some(IpVersion::V6), Some(ip_protocol::TCP)) => Transport::Tcp,
            (Gso::UdpL4, Some(_), Some(ip_protocol::UDP)) => Transport::Udp,
            _ => return Err(Malformed::SuperPacket),
        };
        let size = usize::from(vnet.gso_size);
        let (Some(at), Some(version)) = (headers.transport(), version) else {
            return Err(Malformed::SuperPacket);
        };
        if size == 0 || headers.fragment().is_some() {
            return Err(Malformed::SuperPacket);
        }
        let (at, inner) = (base + at, Ip::new(bytes, version, base + headers.network()));
        let bytes = bytes.get(..base + headers.end()).ok_or(Malformed::SuperPacket)?;
        let len = len16(bytes.len() - at);
        if transport == Transport::Udp && take(bytes, at + 4) != len {
            return Err(Malformed::SuperPacket);
        }
        let (headers_bytes, payload) =
            bytes.split_at_checked(base + headers.payload()).ok_or(Malformed::SuperPacket)?;
        Ok(Self {
            headers: headers_bytes,
            payload,
            size,
            inner,
            transport,
            at,
            // Summed once: each segment adds only the words that differ, and its payload.
            fixed: pseudo_without_len(bytes, vnet, inner, transport, at, len).add(sum_without(
                headers_bytes,
                at,
                headers_bytes.len(),
                transport.varying(),
            )),
            outer,
        })
    }

    /// The number of segments, at least 1.
    #[must_use]
    pub fn count(&self) -> usize {
        self.payload.len().div_ceil(self.size).max(1)
    }

    /// The length of each segment's headers in bytes.
    #[must_use]
    pub const fn header_len(&self) -> usize {
        self.headers.len()
    }

    /// The payload of all segments together, for example to send as one train (`UDP_SEGMENT`).
    #[must_use]
    pub const fn payload(&self) -> &'a [u8] {
        self.payload
    }

    /// The payload length in bytes of each segment but the last.
    #[must_use]
    pub const fn segment_size(&self) -> usize {
        self.size
    }

    /// The segments in order.
    pub fn segments(&self) -> impl ExactSizeIterator<Item = Segment<'a>> + use<'a> {
        let whole = *self;
        (0..self.count()).map(move |index| Segment { whole, index })
    }

    /// The segment of this index, from 0.
    #[must_use]
    pub fn segment(&self, index: usize) -> Option<Segment<'a>> {
        (index < self.count()).then_some(Segment { whole: *self, index })
    }
}

impl Outer {
    fn find(bytes: &[u8], headers: &Headers, vnet: &VnetHeader) -> Result<Self, Malformed> {
        let udp = usize::from(vnet.outer_th_offset);
        let is_udp = headers.protocol() == Some(ip_protocol::UDP);
        let behind = usize::from(vnet.inner_nh_offset) >= headers.payload();
        let (Some(version), true) =
            (headers.version(), is_udp && behind && headers.transport() == Some(udp))
        else {
            return Err(Malformed::SuperPacket);
        };
        let checksum = bytes.get(udp + 6..udp + 8).ok_or(Malformed::SuperPacket)?;
        Ok(Self {
            ip: Ip::new(bytes, version, headers.network()),
            udp,
            has_checksum: checksum != [0, 0],
        })
    }
}

/// A segment of a super-packet: one packet.
#[derive(Clone, Copy, Debug)]
pub struct Segment<'a> {
    whole: SuperPacket<'a>,
    index: usize,
}

impl<'a> Segment<'a> {
    /// Its index, from 0.
    #[must_use]
    pub const fn index(&self) -> usize {
        self.index
    }

    /// Its payload, in the super-packet's memory.
    #[must_use]
    pub fn payload(&self) -> &'a [u8] {
        let start = self.index * self.whole.size;
        let end = self.whole.payload.len().min(start + self.whole.size);
        self.whole.payload.get(start..end).unwrap_or_default()
    }

    /// The length of headers and payload in bytes.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "it always has headers")]
    pub fn len(&self) -> usize {
        self.whole.headers.len() + self.payload().len()
    }

    /// Writes its headers, with checksums, to the start of `out`, and returns their length.
    ///
    /// # Errors
    ///
    /// [`NoRoom`] if `out` is shorter than [`SuperPacket::header_len`].
    pub fn write_headers(&self, out: &mut [u8]) -> Result<usize, NoRoom> {
        let headers = self.whole.headers;
        let out = out.get_mut(..headers.len()).ok_or(NoRoom)?;
        out.copy_from_slice(headers);
        self.rewrite(out, Sum::ZERO.add_bytes(self.payload()));
        Ok(headers.len())
    }

    /// Writes the whole segment to the start of `out`, and returns its length.
    ///
    /// # Errors
    ///
    /// [`NoRoom`] if `out` is shorter than [`Self::len`].
    #[inline]
    pub fn write(&self, out: &mut [u8]) -> Result<usize, NoRoom> {
        let (headers, payload) = (self.whole.headers, self.payload());
        let (to, out) = out.split_at_mut_checked(headers.len()).ok_or(NoRoom)?;
        let out = out.get_mut(..payload.len()).ok_or(NoRoom)?;
        to.copy_from_slice(headers);
        out.copy_from_slice(payload);
        // This copy of the payload is in the L1 cache now, so it is the one to sum.
        self.rewrite(to, Sum::ZERO.add_bytes(out));
        Ok(headers.len() + payload.len())
    }

    /// Appends the whole segment to `packet`. The meta stays as it is: a segment is a plain packet.
    ///
    /// # Errors
    ///
    /// [`NoRoom`] if the tailroom is smaller than [`Self::len`]; nothing is appended then.
    pub fn append_to(&self, packet: &mut PacketBuf) -> Result<(), NoRoom> {
        self.write(packet.grow(self.len()).ok_or(NoRoom)?).map(|_| ())
    }

    /// Turns a copy of the super-packet's headers into this segment's; `payload` is the sum of its
    /// payload.
    fn rewrite(&self, headers: &mut [u8], payload_sum: Sum) {
        let SuperPacket { inner, transport, at, fixed, outer, .. } = self.whole;
        let payload_len = self.payload().len();
        let len = len16(headers.len() - at + payload_len);
        self.rewrite_ip(headers, inner, payload_len);
        let varying = match transport {
            Transport::Tcp => self.rewrite_tcp(headers, at),
            Transport::Udp => {
                put(headers, at + 4, len);
                Sum::ZERO.add_u16(len)
            }
        };
        let sum = fixed.add(varying).add_u16(len).add(payload_sum);
        let check = match transport {
            Transport::Tcp => sum.finish(),
            Transport::Udp => sum.finish_udp(),
        };
        put(headers, at + usize::from(transport.checksum_at()), check);
        if let Some(Outer { ip, udp, has_checksum }) = outer {
            let len = len16(headers.len() - udp + payload_len);
            self.rewrite_ip(headers, ip, payload_len);
            put(headers, udp + 4, len);
            if has_checksum {
                // The inner headers are complete now, so the outer sum can read them; the payload's sum
                // is used again, with bytes swapped if it starts at an odd offset of the outer packet.
                let odd = !(headers.len() - udp).is_multiple_of(2);
                let payload_sum = if odd { payload_sum.swapped() } else { payload_sum };
                let pseudo = pseudo_sum(headers, ip.version, ip.at, ip_protocol::UDP, len);
                let sum = headers_sum(headers, udp, udp + 6).add(pseudo).add(payload_sum);
                put(headers, udp + 6, sum.finish_udp());
            }
        }
    }

    /// Writes the length, and for IPv4 identification and checksum.
    fn rewrite_ip(&self, headers: &mut [u8], ip: Ip, payload_len: usize) {
        let after = headers.len() - ip.at + payload_len;
        match ip.version {
            IpVersion::V4 => {
                let number = u16::try_from(self.index & 0xffff).unwrap_or_default();
                let (len, id) = (len16(after), take(headers, ip.at + 4).wrapping_add(number));
                put(headers, ip.at + 2, len);
                put(headers, ip.at + 4, id);
                put(headers, ip.at + 10, ip.fixed.add_u16(len).add_u16(id).finish());
            }
            IpVersion::V6 => put(headers, ip.at + 4, len16(after.saturating_sub(40))),
        }
    }

    /// Writes sequence number and flags; returns their sum.
    fn rewrite_tcp(&self, headers: &mut [u8], at: usize) -> Sum {
        let passed = u32::try_from(self.index * self.whole.size).unwrap_or_default();
        let mut sum = Sum::ZERO;
        if let Some(sequence) = headers.get_mut(at + 4..).and_then(|tail| tail.first_chunk_mut()) {
            *sequence = u32::from_be_bytes(*sequence).wrapping_add(passed).to_be_bytes();
            sum = sum.add_bytes(sequence);
        }
        // As `tcp_gso_segment`: CWR acknowledges one mark once, FIN and PSH belong to the last byte.
        let mut gone = TcpFlags::default();
        if self.index != 0 {
            gone = gone.with(TcpFlags::CWR);
        }
        if self.index + 1 < self.whole.count() {
            gone = gone.with(TcpFlags::FIN).with(TcpFlags::PSH);
        }
        if let Some(flags) = headers.get_mut(at + 13) {
            *flags = TcpFlags(*flags).without(gone).0;
        }
        sum.add_u16(take(headers, at + 12))
    }
}

/// Completes a partial checksum (`NEEDS_CSUM`) and clears the flag; without the flag nothing
/// happens. Not for super-packets.
///
/// Source: Linux `skb_checksum_help`.
///
/// # Errors
///
/// [`Malformed::VnetChecksum`] if the checksum lies beyond the end of the packet; nothing changes
/// then.
pub fn finish_checksum(packet: &mut PacketBuf) -> Result<(), Malformed> {
    let vnet = packet.meta.vnet;
    if !vnet.needs_csum() {
        return Ok(());
    }
    let offset = usize::from(vnet.csum_offset);
    let covered = packet.bytes_mut().get_mut(usize::from(vnet.csum_start)..);
    let covered = covered.ok_or(Malformed::VnetChecksum)?;
    if covered.len() < offset + 2 {
        return Err(Malformed::VnetChecksum);
    }
    // The field holds the sum of the pseudo header, so summing it as it is adds that.
    let check = Sum::ZERO.add_bytes(covered).finish_udp();
    put(covered, offset, check);
    packet.meta.vnet.flags &= !VnetHeader::NEEDS_CSUM;
    (packet.meta.vnet.csum_start, packet.meta.vnet.csum_offset) = (0, 0);
    Ok(())
}

/// The sum of the transport's pseudo header without its length.
///
/// A partial checksum holds it already, and correctly even where the header's addresses are not
/// those of the pseudo header (IPv6 routing header, RFC 8200, 8.1).
fn pseudo_without_len(
    bytes: &[u8],
    vnet: &VnetHeader,
    ip: Ip,
    transport: Transport,
    at: usize,
    len: u16,
) -> Sum {
    let field = (usize::from(vnet.csum_start), vnet.csum_offset);
    if vnet.needs_csum() && field == (at, transport.checksum_at()) {
        let held = take(bytes, at + usize::from(transport.checksum_at()));
        Sum::ZERO.add_u16(held).add_u16(!len)
    } else {
        pseudo_sum(bytes, ip.version, ip.at, transport.protocol(), 0)
    }
}

/// The sum of the headers from `at` on, with the checksum at `field` as zero.
fn headers_sum(headers: &mut [u8], at: usize, field: usize) -> Sum {
    put(headers, field, 0);
    Sum::ZERO.add_bytes(headers.get(at..).unwrap_or_default())
}

/// The sum of the pseudo header of the IP header at `at`.
pub(crate) fn pseudo_sum(
    headers: &[u8],
    version: IpVersion,
    at: usize,
    protocol: u8,
    len: u16,
) -> Sum {
    let addresses = match version {
        IpVersion::V4 => headers.get(at + 12..at + 20),
        IpVersion::V6 => headers.get(at + 8..at + 40),
    };
    Sum::ZERO.add_bytes(addresses.unwrap_or_default()).add_u16(u16::from(protocol)).add_u16(len)
}

/// Writes the checksum of the IPv4 header at `at`.
pub(crate) fn finish_ipv4(headers: &mut [u8], at: usize) {
    put(headers, at + 10, 0);
    let len = headers.get(at).map_or(0, |first| usize::from(first & 15) * 4);
    let check = checksum::of(headers.get(at..at + len).unwrap_or_default());
    put(headers, at + 10, check);
}

/// Writes a 16-bit field.
pub(crate) fn put(bytes: &mut [u8], at: usize, value: u16) {
    if let Some(field) = bytes.get_mut(at..).and_then(|tail| tail.first_chunk_mut()) {
        *field = value.to_be_bytes();
    }
}

/// Reads a 16-bit field.
pub(crate) fn take(bytes: &[u8], at: usize) -> u16 {
    let field = bytes.get(at..).and_then(|tail| tail.first_chunk());
    field.map_or(0, |&field| u16::from_be_bytes(field))
}

/// A length as u16: no packet exceeds its own 16-bit length field.
pub(crate) fn len16(len: usize) -> u16 {
    u16::try_from(len).unwrap_or(u16::MAX)
}

#[cfg(test)]
pub(crate) mod tests;
