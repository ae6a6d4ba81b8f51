//! The part of a TCP segment that matters for congestion control and acknowledgments.

use core::net::IpAddr;

use adit_packet::{
    Ethernet, Headers, Ipv4, Layer, MacAddr, Tcp, TcpFlags, TcpMut, TcpOption, checksum::Sum,
    ip_protocol,
};

/// The part of a segment that matters here.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Seen {
    pub(crate) source: u16,
    pub(crate) destination: u16,
    pub(crate) sequence: u32,
    pub(crate) ack: u32,
    pub(crate) flags: TcpFlags,
    pub(crate) len: u32,
    /// Where the TCP header begins.
    pub(crate) transport: usize,
    pub(crate) window: u16,
    /// The first blocks of a selective acknowledgment.
    pub(crate) blocks: [Option<(u32, u32)>; 3],
    /// Whether the sender understands them.
    pub(crate) permits_sack: bool,
    /// The sender's timestamp.
    pub(crate) timestamp: Option<u32>,
}

impl Seen {
    /// A segment that arrives for a station with this MAC address, or without Ethernet. `None` for what smoltcp discards:
    /// frames for others, and wrong checksums.
    pub(crate) fn arrived(bytes: &[u8], mac: Option<MacAddr>) -> Option<Self> {
        let layer = if mac.is_some() { Layer::Frame } else { Layer::Packet };
        let headers: Headers = layer.parse(bytes).ok()?;
        let seen = Self::of(bytes, &headers)?;
        if let Some(mac) = mac {
            let to = Ethernet::parse(bytes).ok()?.destination();
            (to == mac || to.is_multicast()).then_some(())?;
        }
        if let Ok(ip) = Ipv4::parse(bytes.get(headers.network()..)?) {
            ip.has_valid_checksum().then_some(())?;
        }
        let segment = bytes.get(seen.transport..headers.end())?;
        let len = u16::try_from(segment.len()).ok()?;
        let sum = match headers.addresses(bytes)? {
            (IpAddr::V4(from), IpAddr::V4(to)) => Sum::pseudo_v4(from, to, ip_protocol::TCP, len),
            (IpAddr::V6(from), IpAddr::V6(to)) => {
                Sum::pseudo_v6(from, to, ip_protocol::TCP, u32::from(len))
            }
            _ => return None,
        };
        (sum.add_bytes(segment).finish() == 0).then_some(seen)
    }

    /// `None` for what is not TCP.
    pub(crate) fn parse(bytes: &[u8], layer: Layer) -> Option<Self> {
        Self::of(bytes, &layer.parse(bytes).ok()?)
    }

    fn of(bytes: &[u8], headers: &Headers) -> Option<Self> {
        if headers.protocol()? != ip_protocol::TCP {
            return None;
        }
        let transport = headers.transport()?;
        let segment = Tcp::parse(bytes.get(transport..headers.end())?).ok()?;
        let (mut blocks, mut permits_sack, mut timestamp) = ([None; 3], false, None);
        for option in segment.options() {
            match option {
                TcpOption::Sack(edges) => {
                    for (block, edges) in blocks.iter_mut().zip(edges.as_chunks::<8>().0) {
                        let [a, b, c, d, e, f, g, h] = *edges;
                        let (left, right) = ([a, b, c, d], [e, f, g, h]);
                        *block = Some((u32::from_be_bytes(left), u32::from_be_bytes(right)));
                    }
                }
                TcpOption::SackPermitted => permits_sack = true,
                TcpOption::Timestamps { value, .. } => timestamp = Some(value),
                _ => {}
            }
        }
        Some(Self {
            source: segment.source_port(),
            destination: segment.destination_port(),
            sequence: segment.sequence(),
            ack: segment.acknowledgment(),
            flags: segment.flags(),
            len: u32::try_from(headers.end() - headers.payload()).ok()?,
            transport,
            window: segment.window(),
            blocks,
            permits_sack,
            timestamp,
        })
    }
}

/// Writes another acknowledgment into a segment.
pub(crate) fn set_ack(segment: &mut [u8], ack: u32) {
    if let Ok(mut header) = TcpMut::parse(segment) {
        let [.., a, b, c, d] = *header.head_mut().first_chunk::<12>().expect("20 bytes");
        header.adjust32(u32::from_be_bytes([a, b, c, d]), ack);
        header.head_mut()[8..12].copy_from_slice(&ack.to_be_bytes());
    }
}
