//! Encodes requests and decodes answers.
//!
//! ```text
//! message    | len u32 | kind u16 | flags u16 | sequence u32 | port u32 | family header | attribute ...
//! attribute  | len u16 | kind u16 | value (len - 4 bytes) | padding to 4 |
//! ```
//! All in the machine's byte order; both lengths count their own header. Source: `linux/netlink.h`.

use netlink_packet_core::{
    NLA_F_NESTED, NLM_F_ACK, NLM_F_REQUEST, NLMSG_ALIGNTO, NetlinkBuffer, NlaBuffer, NlasIterator,
};
use rustix::io::Errno;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The bytes before a message's family header.
const HEADER_LEN: usize = 16;
/// The bytes before an attribute's value.
const ATTRIBUTE_HEADER_LEN: usize = 4;
/// The low bits of an attribute's kind; the two above are flags.
const KIND_MASK: u16 = 0x3fff;

/// A request under construction.
#[derive(Debug)]
pub(super) struct Request {
    bytes: Vec<u8>,
    /// A value did not fit into an attribute: the request must not be sent.
    too_long: bool,
}

impl Request {
    /// A request of this kind, with an acknowledgement as the last answer (a dump ends with
    /// NLMSG_DONE instead). `header` is the family header.
    pub(super) fn new(kind: u16, flags: u16, header: &[u8]) -> Self {
        let mut bytes = vec![0; HEADER_LEN];
        let mut message = NetlinkBuffer::new(&mut bytes);
        message.set_message_type(kind);
        message.set_flags(flags | NLM_F_REQUEST | NLM_F_ACK);
        bytes.extend_from_slice(header);
        let mut request = Self { bytes, too_long: false };
        request.pad();
        request
    }

    pub(super) fn attribute(&mut self, kind: u16, value: &[u8]) -> &mut Self {
        self.nest(kind, |request| request.bytes.extend_from_slice(value));
        self
    }

    pub(super) fn u32(&mut self, kind: u16, value: u32) -> &mut Self {
        self.attribute(kind, &value.to_ne_bytes())
    }

    pub(super) fn ip(&mut self, kind: u16, ip: IpAddr) -> &mut Self {
        match ip {
            IpAddr::V4(ip) => self.attribute(kind, &ip.octets()),
            IpAddr::V6(ip) => self.attribute(kind, &ip.octets()),
        }
    }

    /// Text with the NUL that the kernel expects after names.
    pub(super) fn string(&mut self, kind: u16, text: &[u8]) -> &mut Self {
        self.nest(kind, |request| {
            request.bytes.extend_from_slice(text);
            request.bytes.push(0);
        });
        self
    }

    /// A nested attribute, marked as such; `fill` writes its contents.
    pub(super) fn nested(&mut self, kind: u16, fill: impl FnOnce(&mut Self)) -> &mut Self {
        self.nest(kind | NLA_F_NESTED, fill);
        self
    }

    /// A bare family header in the middle of a request, as a veth's peer has one.
    pub(super) fn header(&mut self, header: &[u8]) -> &mut Self {
        self.bytes.extend_from_slice(header);
        self.pad();
        self
    }

    /// A `struct rtnexthop`: its own length (u16), which includes what `fill` writes, then
    /// `header`.
    pub(super) fn sized(&mut self, header: &[u8], fill: impl FnOnce(&mut Self)) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0; 2]);
        self.bytes.extend_from_slice(header);
        fill(self);
        match u16::try_from(self.bytes.len() - start) {
            Ok(len) => self.bytes[start..start + 2].copy_from_slice(&len.to_ne_bytes()),
            Err(_) => self.too_long = true,
        }
        self.pad();
    }

    /// The finished message.
    ///
    /// # Errors
    /// EMSGSIZE if a value exceeded the maximum length of an attribute.
    pub(super) fn finish(&mut self, sequence: u32) -> io::Result<&[u8]> {
        let len = u32::try_from(self.bytes.len()).map_err(|_| Errno::MSGSIZE)?;
        if self.too_long {
            return Err(Errno::MSGSIZE.into());
        }
        let mut message = NetlinkBuffer::new(&mut self.bytes);
        message.set_length(len);
        message.set_sequence_number(sequence);
        Ok(&self.bytes)
    }

    fn nest(&mut self, kind: u16, fill: impl FnOnce(&mut Self)) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0; ATTRIBUTE_HEADER_LEN]);
        fill(self);
        match u16::try_from(self.bytes.len() - start) {
            Ok(len) => {
                let mut attribute = NlaBuffer::new(&mut self.bytes[start..]);
                attribute.set_length(len);
                attribute.set_kind(kind & !NLA_F_NESTED);
                if kind & NLA_F_NESTED != 0 {
                    attribute.set_nested_flag();
                }
            }
            Err(_) => self.too_long = true,
        }
        self.pad();
    }

    fn pad(&mut self) {
        let len = self.bytes.len().next_multiple_of(NLMSG_ALIGNTO.into());
        self.bytes.resize(len, 0);
    }
}

/// A message from the kernel.
#[derive(Clone, Copy, Debug)]
pub(super) struct Message<'a> {
    pub(super) kind: u16,
    pub(super) flags: u16,
    pub(super) sequence: u32,
    /// The family header and the attributes.
    pub(super) body: &'a [u8],
}

/// The messages of one datagram. A truncated one, or one with an invalid length, ends the
/// iteration.
pub(super) fn messages(mut datagram: &[u8]) -> impl Iterator<Item = Message<'_>> {
    std::iter::from_fn(move || {
        let message = NetlinkBuffer::new_checked(datagram).ok()?;
        let len = usize::try_from(message.length()).ok()?;
        datagram = datagram.get(len.next_multiple_of(NLMSG_ALIGNTO.into())..).unwrap_or(&[]);
        Some(Message {
            kind: message.message_type(),
            flags: message.flags(),
            sequence: message.sequence_number(),
            body: message.payload(),
        })
    })
}

/// The attributes in `bytes`: kind without flags, and value. A malformed one ends the iteration.
pub(super) fn attributes(bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    NlasIterator::new(bytes).map_while(Result::ok).map(|attribute| {
        let value = attribute.into_inner();
        let len = NlaBuffer::new(value).length();
        (NlaBuffer::new(value).kind() & KIND_MASK, &value[ATTRIBUTE_HEADER_LEN..usize::from(len)])
    })
}

/// Splits off the first `N` bytes.
pub(super) fn split<const N: usize>(bytes: &[u8]) -> Option<(&[u8; N], &[u8])> {
    bytes.split_first_chunk()
}

pub(super) fn read_u8(value: &[u8]) -> Option<u8> {
    value.first().copied()
}

pub(super) fn read_u32(value: &[u8]) -> Option<u32> {
    value.first_chunk().map(|bytes| u32::from_ne_bytes(*bytes))
}

pub(super) fn read_i32(value: &[u8]) -> Option<i32> {
    value.first_chunk().map(|bytes| i32::from_ne_bytes(*bytes))
}

/// An address of exactly four or sixteen bytes.
pub(super) fn read_ip(value: &[u8]) -> Option<IpAddr> {
    if let Ok(octets) = <[u8; 4]>::try_from(value) {
        return Some(Ipv4Addr::from(octets).into());
    }
    <[u8; 16]>::try_from(value).ok().map(|octets| Ipv6Addr::from(octets).into())
}

/// The bytes before the first NUL.
pub(super) fn read_string(value: &[u8]) -> &[u8] {
    value.split(|&byte| byte == 0).next().unwrap_or(&[])
}
