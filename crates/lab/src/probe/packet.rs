//! Echo requests and replies (RFC 792, RFC 4443).
//!
//! ```text
//! | type u8 | code u8 | checksum u16 | identifier u16 | sequence u16 | token u32 | number u32 |
//! ```

use adit_packet::checksum;

const LEN: usize = 16;
const REQUEST_V4: u8 = 8;
const REPLY_V4: u8 = 0;
const REQUEST_V6: u8 = 128;
const REPLY_V6: u8 = 129;

/// What an echo carries there and back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Echo {
    /// Whose it is.
    pub(super) token: u32,
    /// Which ping.
    pub(super) number: u32,
    /// Which try of it.
    pub(super) attempt: u16,
}

impl Echo {
    /// The request. The kernel fills the checksum of ICMPv6 in.
    pub(super) fn request(self, is_v6: bool) -> [u8; LEN] {
        let mut bytes = [0; LEN];
        bytes[0] = if is_v6 { REQUEST_V6 } else { REQUEST_V4 };
        // Only a hint for people who look at packets: replies are known by the token.
        bytes[4..6].copy_from_slice(&self.token.to_be_bytes()[..2]);
        bytes[6..8].copy_from_slice(&self.attempt.to_be_bytes());
        bytes[8..12].copy_from_slice(&self.token.to_be_bytes());
        bytes[12..].copy_from_slice(&self.number.to_be_bytes());
        if !is_v6 {
            let sum = checksum::of(&bytes);
            bytes[2..4].copy_from_slice(&sum.to_be_bytes());
        }
        bytes
    }

    /// Reads what a raw socket received: with the IP header for IPv4, without it for IPv6.
    pub(super) fn of_reply(bytes: &[u8], is_v6: bool) -> Option<Self> {
        let skip = if is_v6 { 0 } else { usize::from(bytes.first()? & 0xf) * 4 };
        let bytes: &[u8; LEN] = bytes.get(skip..)?.first_chunk()?;
        if bytes[0] != if is_v6 { REPLY_V6 } else { REPLY_V4 } {
            return None;
        }
        Some(Self {
            attempt: u16::from_be_bytes([bytes[6], bytes[7]]),
            token: u32::from_be_bytes([bytes[8], bytes[9], bytes[10], bytes[11]]),
            number: u32::from_be_bytes([bytes[12], bytes[13], bytes[14], bytes[15]]),
        })
    }
}
