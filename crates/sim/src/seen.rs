//! The part of a TCP segment that matters for congestion control.

use adit_packet::{Headers, Layer, Tcp, TcpFlags, TcpOption, ip_protocol};

/// The part of a segment that matters here.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen {
    pub(crate) source: u16,
    pub(crate) destination: u16,
    pub(crate) sequence: u32,
    pub(crate) ack: u32,
    pub(crate) flags: TcpFlags,
    pub(crate) len: u32,
    /// Where the TCP header begins.
    pub(crate) transport: usize,
    /// The first blocks of a selective acknowledgment.
    pub(crate) blocks: [Option<(u32, u32)>; 3],
}

impl Seen {
    /// `None` for what is not TCP.
    pub(crate) fn parse(bytes: &[u8], layer: Layer) -> Option<Self> {
        let headers: Headers = layer.parse(bytes).ok()?;
        if headers.protocol()? != ip_protocol::TCP {
            return None;
        }
        let transport = headers.transport()?;
        let segment = Tcp::parse(bytes.get(transport..headers.end())?).ok()?;
        let mut blocks = [None; 3];
        let sack = segment.options().find_map(|option| match option {
            TcpOption::Sack(edges) => Some(edges),
            _ => None,
        });
        for (block, edges) in blocks.iter_mut().zip(sack.unwrap_or_default().chunks_exact(8)) {
            if let [a, b, c, d, e, f, g, h] = *edges {
                *block = Some((u32::from_be_bytes([a, b, c, d]), u32::from_be_bytes([e, f, g, h])));
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
            blocks,
        })
    }
}
