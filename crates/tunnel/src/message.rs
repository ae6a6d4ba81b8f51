//! The four messages on the wire (NDSS 2017, 5.4.2 to 5.4.7).
//!
//! ```text
//! initiation  | 1 | 0 0 0 | sender 4 | ephemeral 32 | static 32 + 16 | timestamp 12 + 16 | mac1 16 | mac2 16 |
//! response    | 2 | 0 0 0 | sender 4 | receiver 4 | ephemeral 32 | nothing 0 + 16 | mac1 16 | mac2 16 |
//! cookie      | 3 | 0 0 0 | receiver 4 | nonce 24 | cookie 16 + 16 |
//! data        | 4 | 0 0 0 | receiver 4 | counter 8 | packet n, padded, + 16 |
//! ```
//!
//! All numbers are little endian.

use crate::keys::KEY_LEN;
use crate::noise::TAG_LEN;
use crate::tai64n::Tai64n;

/// The length of an initiation.
pub(crate) const INITIATION_LEN: usize = 148;
/// The length of a response.
pub(crate) const RESPONSE_LEN: usize = 92;
/// The length of a cookie reply.
pub(crate) const COOKIE_LEN: usize = 64;
/// The length of a data message's header.
pub(crate) const DATA_HEADER_LEN: usize = 16;
/// The overhead of a data message.
pub(crate) const DATA_OVERHEAD: usize = DATA_HEADER_LEN + TAG_LEN;
/// The length of mac1 and of mac2.
pub(crate) const MAC_LEN: usize = 16;
/// The length of a cookie reply's nonce (XChaCha20-Poly1305).
pub(crate) const COOKIE_NONCE_LEN: usize = 24;

/// Kinds of messages: the first byte.
const INITIATION: u8 = 1;
const RESPONSE: u8 = 2;
const COOKIE: u8 = 3;
const DATA: u8 = 4;

/// A message of a valid length and type; its contents are not checked yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Message<'a> {
    Initiation(&'a [u8; INITIATION_LEN]),
    Response(&'a [u8; RESPONSE_LEN]),
    Cookie(&'a [u8; COOKIE_LEN]),
    Data,
}

impl<'a> Message<'a> {
    /// Determines the kind of a message; `None` if it is not one, or if a reserved byte is not 0.
    pub(crate) fn parse(bytes: &'a [u8]) -> Option<Self> {
        let &[kind, 0, 0, 0] = bytes.first_chunk()? else { return None };
        match kind {
            INITIATION => bytes.try_into().ok().map(Self::Initiation),
            RESPONSE => bytes.try_into().ok().map(Self::Response),
            COOKIE => bytes.try_into().ok().map(Self::Cookie),
            DATA if bytes.len() >= DATA_OVERHEAD => Some(Self::Data),
            _ => None,
        }
    }
}

/// An encrypted field: text and tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sealed<const N: usize> {
    pub(crate) text: [u8; N],
    pub(crate) tag: [u8; TAG_LEN],
}

/// An initiation without its two MACs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Initiation {
    pub(crate) sender: u32,
    pub(crate) ephemeral: [u8; KEY_LEN],
    pub(crate) public: Sealed<KEY_LEN>,
    pub(crate) timestamp: Sealed<{ Tai64n::LEN }>,
}

impl Initiation {
    pub(crate) fn parse(bytes: &[u8; INITIATION_LEN]) -> Option<Self> {
        let mut reader = Reader(bytes.get(4..)?);
        Some(Self {
            sender: reader.index()?,
            ephemeral: reader.take()?,
            public: reader.sealed()?,
            timestamp: reader.sealed()?,
        })
    }

    /// The message with both MACs zero.
    pub(crate) fn to_bytes(self) -> [u8; INITIATION_LEN] {
        let mut bytes = [0; INITIATION_LEN];
        write(
            &mut bytes,
            &[
                &[INITIATION, 0, 0, 0],
                &self.sender.to_le_bytes(),
                &self.ephemeral,
                &self.public.text,
                &self.public.tag,
                &self.timestamp.text,
                &self.timestamp.tag,
            ],
        );
        bytes
    }
}

/// A response without its two MACs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Response {
    pub(crate) sender: u32,
    pub(crate) receiver: u32,
    pub(crate) ephemeral: [u8; KEY_LEN],
    pub(crate) nothing: Sealed<0>,
}

impl Response {
    pub(crate) fn parse(bytes: &[u8; RESPONSE_LEN]) -> Option<Self> {
        let mut reader = Reader(bytes.get(4..)?);
        Some(Self {
            sender: reader.index()?,
            receiver: reader.index()?,
            ephemeral: reader.take()?,
            nothing: reader.sealed()?,
        })
    }

    /// The message with both MACs zero.
    pub(crate) fn to_bytes(self) -> [u8; RESPONSE_LEN] {
        let mut bytes = [0; RESPONSE_LEN];
        write(
            &mut bytes,
            &[
                &[RESPONSE, 0, 0, 0],
                &self.sender.to_le_bytes(),
                &self.receiver.to_le_bytes(),
                &self.ephemeral,
                &self.nothing.tag,
            ],
        );
        bytes
    }
}

/// A cookie reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CookieReply {
    pub(crate) receiver: u32,
    pub(crate) nonce: [u8; COOKIE_NONCE_LEN],
    pub(crate) cookie: Sealed<MAC_LEN>,
}

impl CookieReply {
    pub(crate) fn parse(bytes: &[u8; COOKIE_LEN]) -> Option<Self> {
        let mut reader = Reader(bytes.get(4..)?);
        Some(Self { receiver: reader.index()?, nonce: reader.take()?, cookie: reader.sealed()? })
    }

    pub(crate) fn to_bytes(self) -> [u8; COOKIE_LEN] {
        let mut bytes = [0; COOKIE_LEN];
        write(
            &mut bytes,
            &[
                &[COOKIE, 0, 0, 0],
                &self.receiver.to_le_bytes(),
                &self.nonce,
                &self.cookie.text,
                &self.cookie.tag,
            ],
        );
        bytes
    }
}

/// The header of a data message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DataHeader {
    pub(crate) receiver: u32,
    pub(crate) counter: u64,
}

impl DataHeader {
    /// Parses the header of a data message that is long enough for a tag.
    pub(crate) fn parse(message: &[u8]) -> Option<Self> {
        if message.len() < DATA_OVERHEAD {
            return None;
        }
        let &[DATA, 0, 0, 0, i0, i1, i2, i3, c0, c1, c2, c3, c4, c5, c6, c7] =
            message.first_chunk()?
        else {
            return None;
        };
        Some(Self {
            receiver: u32::from_le_bytes([i0, i1, i2, i3]),
            counter: u64::from_le_bytes([c0, c1, c2, c3, c4, c5, c6, c7]),
        })
    }

    pub(crate) const fn to_bytes(self) -> [u8; DATA_HEADER_LEN] {
        let [i0, i1, i2, i3] = self.receiver.to_le_bytes();
        let [c0, c1, c2, c3, c4, c5, c6, c7] = self.counter.to_le_bytes();
        [DATA, 0, 0, 0, i0, i1, i2, i3, c0, c1, c2, c3, c4, c5, c6, c7]
    }
}

/// Writes the pieces one after another.
fn write(out: &mut [u8], pieces: &[&[u8]]) {
    let from = pieces.iter().copied().flatten();
    out.iter_mut().zip(from).for_each(|(to, from)| *to = *from);
}

/// Fields in their order.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (field, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*field)
    }

    fn index(&mut self) -> Option<u32> {
        self.take().map(u32::from_le_bytes)
    }

    fn sealed<const N: usize>(&mut self) -> Option<Sealed<N>> {
        Some(Sealed { text: self.take()?, tag: self.take()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    #[test]
    fn bytes_both_ways() {
        let initiation = Initiation {
            sender: 0x0403_0201,
            ephemeral: [5; 32],
            public: Sealed { text: [6; 32], tag: [7; 16] },
            timestamp: Sealed { text: [8; 12], tag: [9; 16] },
        };
        let bytes = initiation.to_bytes();
        assert_eq!(bytes[..9], [1, 0, 0, 0, 1, 2, 3, 4, 5]);
        assert_eq!((bytes[39], bytes[40], bytes[72], bytes[88]), (5, 6, 7, 8));
        assert_eq!((bytes[100], bytes[115], bytes[116], bytes[147]), (9, 9, 0, 0));
        assert_eq!(Initiation::parse(&bytes), Some(initiation));
        assert!(matches!(Message::parse(&bytes), Some(Message::Initiation(_))));

        let nothing = Sealed { text: [], tag: [3; 16] };
        let response = Response { sender: 1, receiver: 2, ephemeral: [4; 32], nothing };
        let bytes = response.to_bytes();
        assert_eq!((bytes[0], bytes[4], bytes[8], bytes[12]), (2, 1, 2, 4));
        assert_eq!((bytes[44], bytes[59], bytes[60]), (3, 3, 0));
        assert_eq!(Response::parse(&bytes), Some(response));

        let cookie = Sealed { text: [3; 16], tag: [4; 16] };
        let reply = CookieReply { receiver: 9, nonce: [2; 24], cookie };
        let bytes = reply.to_bytes();
        assert_eq!((bytes[0], bytes[4], bytes[8], bytes[32], bytes[48]), (3, 9, 2, 3, 4));
        assert_eq!(CookieReply::parse(&bytes), Some(reply));

        let header = DataHeader { receiver: 7, counter: 0x0102 };
        let mut bytes: Vec<u8> = header.to_bytes().to_vec();
        assert_eq!(bytes, [4, 0, 0, 0, 7, 0, 0, 0, 2, 1, 0, 0, 0, 0, 0, 0]);
        assert_eq!(DataHeader::parse(&bytes), None, "no tag");
        bytes.resize(32, 0);
        assert_eq!(DataHeader::parse(&bytes), Some(header));
    }

    #[test]
    fn another_length_or_type_is_no_message() {
        for kind in 0..=255 {
            for len in [0, 1, 3, 4, 31, 32, 63, 64, 65, 91, 92, 93, 147, 148, 149, 1500] {
                let mut bytes = [0; 1500];
                bytes[0] = kind;
                let known =
                    matches!((kind, len), (1, 148) | (2, 92) | (3, 64)) || kind == 4 && len >= 32;
                assert_eq!(Message::parse(&bytes[..len]).is_some(), known, "{kind} {len}");
                bytes[2] = 1;
                assert_eq!(Message::parse(&bytes[..len]), None, "a reserved byte");
            }
        }
    }
}
